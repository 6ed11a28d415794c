"""Where two pod templates differ, in words."""

import pytest
from pydantic import JsonValue

from serinus.core.pinning import differences, summary


def pod(*containers: dict[str, JsonValue], **spec: JsonValue) -> dict[str, JsonValue]:
    return {"spec": {"containers": list(containers), **spec}}


SERVER: dict[str, JsonValue] = {"name": "server", "image": "server:1", "args": ["serve", "--drain-delay=10s"]}
FETCH: dict[str, JsonValue] = {"name": "fetch", "image": "server:1"}


@pytest.mark.parametrize(
    ("pinned", "present", "told"),
    [
        pytest.param(pod(SERVER), pod(SERVER), [], id="the same"),
        pytest.param(pod(SERVER), {"spec": {"containers": [dict(reversed(SERVER.items()))]}}, [], id="in other order"),
        pytest.param(
            pod(SERVER),
            pod(SERVER | {"image": "server:2"}),
            ["spec.containers[server].image: server:1 -> server:2"],
            id="another image",
        ),
        pytest.param(
            pod(SERVER),
            pod(SERVER | {"args": ["serve", "--drain-delay=5s"]}),
            ["spec.containers[server].args[1]: --drain-delay=10s -> --drain-delay=5s"],
            id="another argument",
        ),
        pytest.param(
            pod(SERVER),
            pod(SERVER | {"args": ["serve", "--drain-delay=10s", "--grpc-port=8081"]}),
            ["spec.containers[server].args[2]: nothing -> --grpc-port=8081"],
            id="one argument more",
        ),
        pytest.param(
            pod(SERVER, FETCH), pod(SERVER), ["spec.containers[fetch]: other settings -> nothing"], id="one less"
        ),
        pytest.param(
            pod(SERVER),
            pod(SERVER, terminationGracePeriodSeconds=60),
            ["spec.terminationGracePeriodSeconds: nothing -> 60"],
            id="a new setting",
        ),
        pytest.param(
            pod(SERVER, securityContext={"runAsUser": 1}),
            pod(SERVER, securityContext={}),
            ["spec.securityContext: other settings -> nothing"],
            id="emptied",
        ),
        pytest.param(
            pod(SERVER, hostname="a"), pod(SERVER, hostname="b" * 500), [f"spec.hostname: a -> {'b' * 100}…"], id="long"
        ),
        pytest.param({"a": 1, "b": 2}, {"b": 3, "c": 4}, ["a: 1 -> nothing", "b: 2 -> 3", "c: nothing -> 4"], id="all"),
    ],
)
def test_differences(pinned: JsonValue, present: JsonValue, told: list[str]) -> None:
    assert list(differences(pinned, present)) == told


@pytest.mark.parametrize(
    ("changes", "told"),
    [(("a",), "a"), (("a", "b", "c"), "a; b; c"), (("a", "b", "c", "d", "e"), "a; b; c; and 2 more"), ((), "")],
)
def test_summary(changes: tuple[str, ...], told: str) -> None:
    assert summary(changes) == told
