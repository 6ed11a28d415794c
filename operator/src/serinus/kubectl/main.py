"""The command line of `kubectl serinus`."""

import argparse
import json
import os
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from serinus.api.units import format_duration
from serinus.core.analysis import log_e_values
from serinus.core.command import Verb
from serinus.kubectl.cluster import Cluster, ClusterError
from serinus.kubectl.history import PastRevision, history
from serinus.kubectl.live import follow
from serinus.kubectl.service import Service
from serinus.kubectl.verbs import MEANINGS, Refusal, sensible_verbs, subject_of
from serinus.kubectl.view import headline, status_lines, table

_WAIT_SECONDS: Final = 15
_POLL_SECONDS: Final = 0.5


def main(arguments: list[str] | None = None) -> int:
    """Run the plugin; the exit status is 1 for what cannot be done now."""
    options = _parser().parse_args(arguments)
    try:
        cluster = Cluster.connect(options.kubeconfig, options.context, options.namespace)
        options.execute(cluster, options)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:  # who reads has read enough, such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kubectl serinus", description="Look at, and decide, canary rollouts.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    status = _add(commands, "status", "show where the rollout stands, and on what evidence", _status)
    watch_or_json = status.add_mutually_exclusive_group()
    watch_or_json.add_argument("-w", "--watch", action="store_true", help="go on showing it until interrupted")
    watch_or_json.add_argument("-o", "--output", choices=["json"], help="for programs")
    for verb in Verb:
        command = _add(commands, verb.value, MEANINGS[verb], _give)
        command.set_defaults(verb=verb)
        command.add_argument("--no-wait", action="store_true", help="do not wait until the operator has heard it")
    past = _add(commands, "history", "list the revisions, and what became of each", _history)
    past.add_argument("-o", "--output", choices=["json"], help="for programs")
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    help_text: str,
    execute: Callable[[Cluster, argparse.Namespace], None],
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help_text, description=help_text.capitalize() + ".")
    command.add_argument("name", metavar="NAME", help="the InferenceService")
    command.add_argument("-n", "--namespace", help="its namespace (the context's)")
    command.add_argument("--context", help="the context of the kubeconfig (the current one)")
    command.add_argument("--kubeconfig", type=Path, help="the kubeconfig (kubectl's)")
    command.set_defaults(execute=execute)
    return command


def _status(cluster: Cluster, options: argparse.Namespace) -> None:
    if options.watch:
        follow(cluster, options.name, sys.stdout)
        return
    service = cluster.service(options.name)
    if options.output == "json":
        _print(json.dumps(_status_json(service), indent=2))
    else:
        _print("\n".join(status_lines(service, datetime.now(UTC))))


def _status_json(service: Service) -> dict[str, Any]:
    """The status as the operator wrote it, with what has to be worked out of it; e-values as natural logarithms."""
    analysis, policy = service.status.analysis, service.policy
    e_values = log_e_values(policy.analysis, analysis) if policy and analysis else ()
    return {
        "namespace": service.namespace,
        "name": service.name,
        "observed": service.is_observed,
        "status": service.status.to_wire(),
        "logEValues": [asdict(one) for one in e_values],
        "commands": list(sensible_verbs(service)),
    }


def _give(cluster: Cluster, options: argparse.Namespace) -> None:
    """Give a command that makes sense now, and wait until the operator has heard it."""
    verb: Verb = options.verb
    service = cluster.service(options.name)
    subject = subject_of(service, verb)
    if isinstance(subject, Refusal):
        raise ClusterError(subject.message)
    command_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    cluster.give_command(options.name, f"{command_id}:{verb}:{subject}")
    if options.no_wait:
        _print(f"{service.target}: asked to {verb} revision {subject}")
        return
    heard = _wait_until_heard(cluster, service, command_id)
    _print(f"{headline(heard)}\n{heard.status.rollout.message}")


def _wait_until_heard(cluster: Cluster, service: Service, command_id: str) -> Service:
    """The service once the operator has heard the command. Raises ClusterError when it does not."""
    end = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < end:
        now = cluster.service(service.name)
        if now.status.rollout.last_command == command_id:
            return now
        time.sleep(_POLL_SECONDS)
    raise ClusterError(
        f"the operator has not heard the command within {_WAIT_SECONDS} s; it does as soon as it can. Is it running, "
        f"and does it watch namespace {service.namespace}?"
    )


def _history(cluster: Cluster, options: argparse.Namespace) -> None:
    service = cluster.service(options.name)
    revisions = history(service, cluster.controller_revisions(options.name))
    if options.output == "json":
        _print(json.dumps([asdict(one) for one in revisions], indent=2, default=datetime.isoformat))
        return
    now = datetime.now(UTC)
    rows = [_history_row(one, now) for one in revisions]
    _print("\n".join(table([["NUMBER", "VERSION", "REVISION", "AGE", "STATE"], *rows])))


def _history_row(one: PastRevision, now: datetime) -> list[str]:
    age = format_duration(timedelta(seconds=max(0, round((now - one.created_at).total_seconds()))))
    state = f"{one.state}: {one.reason}" if one.reason else one.state
    number = "-" if one.number is None else str(one.number)
    return [number, one.version, one.revision, age, state]


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
