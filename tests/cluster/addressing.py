"""Which addresses and names a cluster uses, so that several of them live side by side on a machine."""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

SLOTS = 64


@dataclass(frozen=True)
class Slot:
    """The share of one embedded cluster: slot `index` of 0 to 63 shares nothing with any other."""

    index: int

    @property
    def link(self) -> IPv4Network:
        """Subnet of the veth pair between the host and the node."""
        return IPv4Network(f"10.87.{self.index}.0/30")

    @property
    def host_ip(self) -> IPv4Address:
        """Address of the host's end of the pair."""
        return self.link[1]

    @property
    def node_ip(self) -> IPv4Address:
        """Address of the node, where its API listens too."""
        return self.link[2]

    @property
    def pods(self) -> IPv4Network:
        """Subnet of the pods."""
        return IPv4Network(f"10.88.{4 * self.index}.0/22")

    @property
    def services(self) -> IPv4Network:
        """Subnet of the ClusterIPs."""
        return IPv4Network(f"10.{96 + self.index}.0.0/16")

    @property
    def api_ip(self) -> IPv4Address:
        """ClusterIP of the API."""
        return self.services[1]

    @property
    def dns_ip(self) -> IPv4Address:
        """ClusterIP of the cluster's DNS."""
        return self.services[10]

    @property
    def networks(self) -> tuple[IPv4Network, IPv4Network, IPv4Network]:
        """All subnets of the slot."""
        return (self.link, self.pods, self.services)

    @property
    def host_link(self) -> str:
        """Name of the veth's end in the host."""
        return f"serinus{self.index}"

    @property
    def uplink(self) -> str:
        """Name of the veth's end in the node."""
        return f"uplink{self.index}"

    @property
    def cgroup(self) -> str:
        """Control group, below the root, that holds all pods."""
        return f"/serinus-test-{self.index}"


def default_name(checkout: Path) -> str:
    """Return the cluster's name for a checkout: the same each time, another for another path."""
    return f"serinus-test-{hashlib.sha256(str(checkout).encode()).hexdigest()[:8]}"


def free_slot(taken: Collection[int], routed: Iterable[IPv4Network]) -> Slot | None:
    """Return the lowest slot that no cluster has and that overlaps no network the machine routes.

    Returns None when there is none left.
    """
    routes = [network for network in routed if network.prefixlen > 0]
    for index in range(SLOTS):
        slot = Slot(index)
        clash = any(route.overlaps(network) for route in routes for network in slot.networks)
        if index not in taken and not clash:
            return slot
    return None
