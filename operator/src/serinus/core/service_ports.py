"""The ports of a Service: those that the pods behind it have, each leading to the pods that have one of its name.

So one Service serves pods with TLS and pods without, each to the clients that speak as they do, while a rollout goes
over from the one to the other.
"""

from collections.abc import Iterable
from typing import Final

from serinus.ports import Manifest

_PORTS: Final = (
    ("http", 80, "http"),
    ("https", 443, "https"),
    ("grpc", 9000, "kubernetes.io/h2c"),
    ("grpcs", 9443, "https"),
)
"""Name, the Service's number, and what is spoken there."""


def service_ports(templates: Iterable[Manifest]) -> list[Manifest]:
    """The ports of a Service with pods of these templates behind it."""
    there = {name for template in templates for name in _port_names(template)}
    return [
        {"name": name, "port": number, "targetPort": name, "protocol": "TCP", "appProtocol": protocol}
        for name, number, protocol in _PORTS
        if name in there
    ]


def speaks_tls(template: Manifest) -> bool:
    """Whether clients of such pods have to speak TLS."""
    return "https" in _port_names(template)


def _port_names(template: Manifest) -> list[str]:
    """Names of the server's ports; other containers, which admission may add, have theirs for themselves."""
    containers = (one for one in template["spec"]["containers"] if one["name"] == "server")
    return [port["name"] for one in containers for port in one.get("ports", ())]
