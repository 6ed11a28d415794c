"""Whether there is a lock on the endpoint, by what the spec says and what the pods have."""

from typing import Any

import pytest

from serinus.api.v1beta1 import InferenceServiceSpec
from serinus.config import ServerSettings
from serinus.core.access_control import access_controlled
from serinus.core.identity import Identity
from serinus.core.observe import Observed
from serinus.core.pod_template import pod_template
from serinus.core.revision import Revision, revision_of
from serinus.ports import Manifest

FRAUD = Identity("risk", "fraud", "11111111-0000-0000-0000-000000000000")
SERVER = ServerSettings(image="registry.example/serinus-server:1.0")
KEYS, TOKENS = {"access": {"mode": "APIKey"}}, {"access": {"mode": "KubernetesToken"}}


def spec_of(**more: Any) -> InferenceServiceSpec:  # noqa: ANN401 - parts of a spec
    model = {"uri": "s3://models/fraud/7/model.onnx", "version": "7"}
    return InferenceServiceSpec.model_validate({"model": model} | more)


def template(**more: Any) -> Manifest:  # noqa: ANN401
    spec = spec_of(**more)
    return pod_template(FRAUD, spec, revision_of(spec), SERVER)


FORMER: Manifest = {"spec": {"volumes": [{"name": "model"}, {"name": "tmp"}]}}


@pytest.mark.parametrize(
    ("spec", "pods", "expected", "says"),
    [
        pytest.param({}, template(), ("False", "Open"), "set spec.access", id="open"),
        pytest.param({}, FORMER, ("False", "Open"), "Everyone", id="open, by a former operator"),
        pytest.param(KEYS, template(), ("True", "APIKey"), "the Secret fraud-api-keys;", id="keys"),
        pytest.param(KEYS, FORMER, ("False", "NotInForce"), "were made without", id="keys that no pod asks for"),
        pytest.param(TOKENS, template(**TOKENS), ("True", "KubernetesToken"), "fraud.risk.svc", id="tokens"),
        pytest.param(TOKENS, template(), ("False", "NotInForce"), "once a rollout has", id="tokens, before"),
        pytest.param(KEYS, None, ("True", "APIKey"), "Secret", id="before there are pods"),
    ],
)
@pytest.mark.parametrize("place", ["pinned", "running"])
def test_access_controlled(
    spec: dict[str, Any], pods: Manifest | None, expected: tuple[str, str], says: str, place: str
) -> None:
    revision = Revision("0a", "7")
    observed = Observed() if pods is None else Observed(**{place: {"0a": pods}})  # type: ignore[arg-type]
    told = access_controlled(FRAUD, spec_of(**spec), (revision,), observed)
    assert (told.type, told.status, told.reason) == ("AccessControlled", *expected)
    assert says in told.message


def test_every_revision_that_serves_needs_the_lock() -> None:
    old, new = Revision("0a", "6"), Revision("0b", "7")
    observed = Observed(pinned={"0a": FORMER, "0b": template()})
    assert access_controlled(FRAUD, spec_of(**KEYS), (new,), observed).status == "True"
    told = access_controlled(FRAUD, spec_of(**KEYS), (old, new), observed)
    assert told.status == "False"
    assert "revision 0a (version 6)" in told.message
