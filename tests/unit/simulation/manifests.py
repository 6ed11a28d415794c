"""Specs for simulated rollouts."""

from typing import Any

from serinus.api.v1beta1 import InferenceServiceSpec
from serinus.simulation.scenario import Quality, Scenario

STEPS = [{"weightPercent": 20, "duration": "2m"}, {"weightPercent": 50, "duration": "3m"}]


def spec(**canary: Any) -> InferenceServiceSpec:  # noqa: ANN401 - fields of spec.canary, named as there
    return InferenceServiceSpec.model_validate(
        {
            "model": {"uri": "s3://models/fraud/2/model.onnx", "version": "2"},
            "autoscaling": {"minReplicas": 4},
            "canary": {"steps": STEPS, "analysis": {"latency": [{"percentile": 95, "threshold": "100ms"}]}} | canary,
        }
    )


def scenario(
    requests_per_second: float = 50,
    stable: Quality = Quality(0.002, {95: 0.01}),  # noqa: B008 - immutable
    canary: Quality = Quality(0.002, {95: 0.01}),  # noqa: B008
    has_gateway: bool = False,
    **policy: Any,  # noqa: ANN401
) -> Scenario:
    return Scenario(spec(**policy), requests_per_second, stable, canary, 4, has_gateway)
