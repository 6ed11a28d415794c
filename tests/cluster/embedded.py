"""A one-node Kubernetes without Docker, in network, mount and PID namespaces of its own."""

import os
import shutil
import string
import subprocess
import time
from pathlib import Path

from tests.cluster import archives, binaries, cache, commands, host, node_images, registry
from tests.cluster.addressing import Slot
from tests.cluster.errors import ClusterError
from tests.cluster.processes import Process, first_child
from tests.cluster.progress import say, step

HERE = Path(__file__).parent
NODE = HERE / "node"
START_SECONDS = 180.0
CGROUP_ATTEMPTS = 50
_CONTAINERD = (binaries.CONTAINERD, binaries.CONTAINERD_SHIM, binaries.CTR)
RENDERED = {
    "containerd.toml": "containerd.toml",
    "kubelet.yaml": "kubelet.yaml",
    "kube-proxy.yaml": "kube-proxy.yaml",
    "resolv.conf": "resolv.conf",
    "10-pods.conflist": "cni/10-pods.conflist",
}


class EmbeddedProvider:
    """The node `name` of this machine; its run directory holds all that it writes."""

    addons = ("dns.yaml", "metrics-server.yaml", "prometheus.yaml", "object-store.yaml")

    def __init__(self, name: str) -> None:
        self.run = registry.run_directory(name)
        self.name = name
        self.kubeconfig = self.run / "admin.kubeconfig"
        self.tools = self.run / "bin"

    @property
    def variables(self) -> dict[str, str]:
        """The ClusterIP that the kubelet tells pods to ask for names."""
        return {"dns": str(self._slot().dns_ip)}

    def running(self) -> bool:
        """Return whether the node runs, answers and was made from the files as they are now."""
        process = Process.read(self.run / "process.json")
        if process is None or not process.runs() or not (self.run / "started").exists():
            return False
        if (self.run / "key").read_text() != self._key():
            say("the running test cluster was made from other files than those of now")
            return False
        answer = subprocess.run(
            [self.tools / "kubectl", "--kubeconfig", self.kubeconfig, "get", "--raw", "/readyz"],
            capture_output=True,
            check=False,
        )
        return answer.returncode == 0

    def up(self) -> None:
        """Start the node, after taking a leftover one away."""
        host.require_root()
        host.require_packages(host.NODE_PACKAGES)
        images = [node_images.pause(), node_images.addons()]
        programs = self._programs()
        self.down()
        slot = registry.claim(self.name)
        binaries.link(programs, self.tools)
        self._render(slot)
        (self.run / "key").write_text(self._key())
        with step(f"starting the embedded node {self.name} (slot {slot.index})"):
            self._start(slot, images)
        for image in images:
            self._note_loaded(image)

    def load(self, archive: Path) -> None:
        """Import the archive into the node, unless it already has the same images."""
        note = self._loaded_note(archive)
        if note.exists() and note.read_text() == archives.contents(archive).digest:
            return
        with step(f"loading {' '.join(archives.contents(archive).names)} into the node"):
            socket = self.run / "containerd.sock"
            commands.run([self.tools / "ctr", "-a", socket, "-n", "k8s.io", "images", "import", archive])
        self._note_loaded(archive)

    def down(self) -> None:
        """Kill the node and remove what it leaves, except the routes that hold its traffic back."""
        slot = registry.lookup(self.name)
        process = Process.read(self.run / "process.json")
        if process is not None and process.runs():
            with step(f"taking the embedded node {self.name} down"):
                process.kill()
        if slot is not None:
            _ip("link", "delete", slot.host_link, check=False)
            _remove_cgroups(slot)
        if self.run.exists():
            shutil.rmtree(self.run)
        registry.release(self.name)

    def _slot(self) -> Slot:
        slot = registry.lookup(self.name)
        if slot is None:
            raise ClusterError(f"the test cluster {self.name} is not up: make cluster")
        return slot

    def _programs(self) -> dict[str, Path]:
        kubernetes = binaries.built(binaries.KUBERNETES)
        return {
            **dict.fromkeys(binaries.KUBERNETES_COMPONENTS, kubernetes),
            **{program.name: binaries.built(program) for program in (*_CONTAINERD, binaries.HELM)},
        }

    def _key(self) -> str:
        programs = (binaries.KUBERNETES, *_CONTAINERD, binaries.HELM, binaries.PAUSE, *node_images.ADDONS)
        return cache.content_key(HERE, [NODE, HERE / "addons"], *(program.key() for program in programs))

    def _render(self, slot: Slot) -> None:
        values = {
            "run": str(self.run),
            "pods": str(slot.pods),
            "dns": str(slot.dns_ip),
            "cgroup": slot.cgroup,
            "pause_image": node_images.PAUSE_TAG,
        }
        for source, target in RENDERED.items():
            file = self.run / target
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(string.Template((NODE / source).read_text()).substitute(values))

    def _start(self, slot: Slot, images: list[Path]) -> None:
        (self.run / "log").mkdir()
        environment = {
            # The node's own containerd looks there for its shim, too.
            "PATH": os.pathsep.join([str(self.tools), host.SEARCH_PATH]),
            "RUN": str(self.run),
            "BIN": str(self.tools),
            "UPLINK": slot.uplink,
            "NODE_IP": str(slot.node_ip),
            "HOST_IP": str(slot.host_ip),
            "API_IP": str(slot.api_ip),
            "SERVICES": str(slot.services),
            "CGROUP": slot.cgroup,
            "IMAGES": "\n".join(map(str, images)),
        }
        namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        script = str(NODE / "node.sh")
        with (self.run / "log" / "node.log").open("w") as log:
            outer = subprocess.Popen(
                # The run directory, otherwise unused there, marks the process as this cluster's.
                ["unshare", *namespaces, "bash", script, str(self.run)],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while (pid := first_child(outer.pid)) is None:
            self._fail_if_over(outer, deadline)
            time.sleep(0.02)
        Process.of(pid, str(self.run)).write(self.run / "process.json")
        connect(slot, pid)
        while not (self.run / "started").exists():
            self._fail_if_over(outer, deadline)
            time.sleep(0.1)

    def _fail_if_over(self, outer: subprocess.Popen[bytes], deadline: float) -> None:
        if outer.poll() is None and time.monotonic() < deadline:
            return
        log = self.run / "log" / "node.log"
        tail = "\n".join(log.read_text().splitlines()[-20:])
        raise ClusterError(f"the embedded node did not start; the logs are in {log.parent}, node.log ends:\n{tail}")

    def _loaded_note(self, archive: Path) -> Path:
        names = " ".join(archives.contents(archive).names)
        return self.run / "loaded" / names.replace("/", "_")

    def _note_loaded(self, archive: Path) -> None:
        note = self._loaded_note(archive)
        note.parent.mkdir(exist_ok=True)
        note.write_text(archives.contents(archive).digest)


def connect(slot: Slot, pid: int) -> None:
    """Lay the veth pair between the host and the network namespace of process `pid`, and the routes."""
    # The blackholes come first and stay when the node goes: what a forgotten client still sends
    # to the node's addresses must never leave this machine by its default route.
    for network in slot.networks:
        _ip("route", "replace", "blackhole", str(network), "metric", str(registry.BLACKHOLE_METRIC))
    _ip("link", "delete", slot.host_link, check=False)
    _ip("link", "add", slot.host_link, "type", "veth", "peer", "name", slot.uplink, "netns", str(pid))
    _ip("address", "add", f"{slot.host_ip}/{slot.link.prefixlen}", "dev", slot.host_link)
    _ip("link", "set", slot.host_link, "up")
    for network in (slot.pods, slot.services):
        _ip("route", "replace", str(network), "via", str(slot.node_ip), "dev", slot.host_link)


def _ip(*arguments: str, check: bool = True) -> None:
    if check:
        commands.run(["ip", *arguments])
    else:
        subprocess.run(["ip", *arguments], capture_output=True, check=False)


def _remove_cgroups(slot: Slot) -> None:
    name = slot.cgroup.removeprefix("/")
    mounted = Path("/sys/fs/cgroup")
    for root in [mounted / name, *(hierarchy / name for hierarchy in mounted.iterdir())]:
        for folder, _, _ in os.walk(root, topdown=False):
            _remove_cgroup(Path(folder))


def _remove_cgroup(folder: Path) -> None:
    for attempt in range(CGROUP_ATTEMPTS):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:  # killed processes are still on their way out
            if attempt == CGROUP_ATTEMPTS - 1:
                say(f"the control group {folder} stays: something still runs in it")
            time.sleep(0.1)
        else:
            return
