"""The command line of the test cluster: `python -m tests.cluster --help`."""

import argparse
import os
import shlex
import sys
from pathlib import Path

from tests.cluster import images
from tests.cluster.cluster import Cluster, ensure, running
from tests.cluster.errors import ClusterError
from tests.cluster.progress import say
from tests.cluster.selection import choose


def main() -> int:
    """Carry out one command and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="bring the cluster up, unless it runs, and say how to use it")
    commands.add_parser("down", help="take the cluster away")
    build = commands.add_parser("images", help="build the project's images and print their archives")
    build.add_argument("--architecture", choices=("amd64", "arm64"), help="what they run on (default: this machine's)")
    load = commands.add_parser("load", help="load image archives, or without any the project's images")
    load.add_argument("archives", nargs="*", type=Path)
    commands.add_parser("kubeconfig", help="print the path of the running cluster's kubeconfig")
    commands.add_parser("env", help="print shell lines after which kubectl and helm use the cluster")
    arguments = parser.parse_args()
    try:
        carry_out(arguments)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def carry_out(arguments: argparse.Namespace) -> None:
    """Do what the parsed command line says."""
    match arguments.command:
        case "up":
            cluster = ensure()
            say("the test cluster is up; to use it from here:")
            print(shell_lines(cluster))
        case "down":
            Cluster(choose()).down()
            say("the test cluster is down")
        case "images":
            for archive in images.build(arguments.architecture):
                say(f"{archive.name}: {archive.stat().st_size / 1e6:.0f} MB")
                print(archive)
        case "load":
            cluster = running()
            for archive in arguments.archives or images.build():
                cluster.load_image(archive)
        case "kubeconfig":
            print(running().kubeconfig)
        case "env":
            print(shell_lines(running()))


def shell_lines(cluster: Cluster) -> str:
    """Return what a shell has to do for kubectl and helm to use the cluster."""
    tools = shlex.quote(str(cluster.provider.tools))
    return f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}\nexport PATH={tools}{os.pathsep}$PATH"


if __name__ == "__main__":
    sys.exit(main())
