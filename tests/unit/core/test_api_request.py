"""How requests to the Kubernetes API are counted."""

import pytest

from serinus.core.api_request import namespace_of, resource_of, verb_of

APPS = "/apis/apps/v1"
RISK = f"{APPS}/namespaces/risk/deployments"


@pytest.mark.parametrize(
    ("method", "path", "verb", "resource", "namespace"),
    [
        ("GET", f"{APPS}/deployments", "LIST", "deployments", ""),
        ("GET", RISK, "LIST", "deployments", "risk"),
        ("GET", f"{RISK}/fraud", "GET", "deployments", "risk"),
        ("GET", "/api/v1/pods", "LIST", "pods", ""),
        ("GET", "/api/v1/namespaces/risk/pods/fraud-1", "GET", "pods", "risk"),
        ("GET", "/api/v1/namespaces", "LIST", "namespaces", ""),
        ("GET", "/api/v1/namespaces/risk", "GET", "namespaces", ""),
        ("POST", "/apis/events.k8s.io/v1/namespaces/risk/events", "POST", "events", "risk"),
        ("PATCH", f"{RISK}/fraud/scale", "PATCH", "deployments/scale", "risk"),
        ("PUT", f"{RISK}/fraud/status", "PUT", "deployments/status", "risk"),
        ("DELETE", f"{RISK}/fraud", "DELETE", "deployments", "risk"),
        ("GET", "/apis", "LIST", "", ""),
        ("GET", APPS, "LIST", "", ""),
        ("GET", "/version", "LIST", "", ""),
    ],
)
def test_verb_resource_and_namespace(method: str, path: str, verb: str, resource: str, namespace: str) -> None:
    assert (verb_of(method, path), resource_of(path), namespace_of(path)) == (verb, resource, namespace)


def test_a_watch_is_no_list() -> None:
    assert verb_of("GET", RISK, watches=True) == "WATCH"


def test_server_side_apply_has_a_verb_of_its_own() -> None:
    assert verb_of("PATCH", f"{RISK}/fraud", applies=True) == "APPLY"
