"""What the children of a service should be, as a function of its spec, its rollout and what is pinned."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from serinus.api.status import Phase
from serinus.api.v1beta1 import InferenceServiceSpec
from serinus.config import GatewaySettings, ServerSettings
from serinus.core import names
from serinus.core.hindrance import Autoscaler
from serinus.core.identity import Identity
from serinus.core.matching import matches
from serinus.core.observe import Observed, Workload
from serinus.core.pod_template import pod_template
from serinus.core.policy import policy_document
from serinus.core.replicas import Pods, canary_replicas, pods_that_make, replicas_for_share
from serinus.core.revision import Revision
from serinus.core.service_ports import service_ports, speaks_tls
from serinus.core.state import State
from serinus.core.templates import render
from serinus.core.traffic import TrafficMode, is_strict, route_weights, service_target, traffic_mode
from serinus.ports import Manifest


@dataclass(frozen=True, slots=True)
class Desired:
    """The manifests to apply, and the replicas to scale Deployments to."""

    manifests: tuple[Manifest, ...]
    replicas: Mapping[str, int]
    """By Deployment name; one that is left out keeps what it has."""
    kept_revisions: frozenset[str]
    """Revisions whose ControllerRevision stays."""
    routed_revisions: frozenset[str] = frozenset()
    """Revisions whose own Service stays, since the route has yet to let go of it."""


def desired(
    identity: Identity,
    spec: InferenceServiceSpec,
    asked: Revision,
    state: State,
    observed: Observed,
    server: ServerSettings,
    gateway: GatewaySettings | None = None,
) -> Desired:
    """The children for `state`. `asked` is the revision that `spec` stands for."""
    mode = traffic_mode(state.rollout.policy or spec.canary, has_gateway=gateway is not None)
    # The policy comes first: a pod does not start without it.
    manifests = [_policy_manifest(identity, spec)]
    replicas: dict[str, int] = {}
    templates: list[Manifest] = []
    for revision in state.deployed:
        template = _pinned_template(identity, spec, asked, revision, observed, server)
        if template is not None:
            templates.append(template)
            number = _number(revision, state, observed.history)
            manifests += _revision_manifests(identity, revision, template, number)
    ports = service_ports(templates or [pod_template(identity, spec, asked, server)])
    manifests += _service_manifests(identity, state, mode, ports)
    if has_autoscaler(spec):
        manifests += _autoscalers(identity, spec, state, observed, mode)
    routed: frozenset[str] = frozenset()
    if gateway is not None and mode is TrafficMode.GATEWAY_API:
        manifests += _route_manifests(identity, state, gateway, ports)
        routed = frozenset(observed.route.weights if observed.route else ())
    replicas[names.workload_name(identity.name, state.stable.name)] = stable_replicas(spec, state, observed, mode)
    if state.canary is not None and state.rollout.phase is not Phase.ROLLING_BACK:
        replicas[names.workload_name(identity.name, state.canary.name)] = wanted_canary_replicas(
            spec, state, observed, mode
        )
    kept = _kept_revisions(state, observed.history, spec.revision_history_limit)
    return Desired(tuple(manifests), replicas, kept, routed)


def _pinned_template(
    identity: Identity,
    spec: InferenceServiceSpec,
    asked: Revision,
    revision: Revision,
    observed: Observed,
    server: ServerSettings,
) -> Manifest | None:
    """The pod template that `revision` is pinned to; None where nothing is known of it.

    Where somebody has deleted its ControllerRevision, it is pinned to what its pods run, so that none is restarted.
    """
    pinned, running = observed.pinned.get(revision.name), observed.running.get(revision.name)
    if pinned is not None or revision != asked:
        return pinned or running
    present = pod_template(identity, spec, asked, server)
    return present if running is None or matches(present, running) else running


def has_autoscaler(spec: InferenceServiceSpec) -> bool:
    """Whether the number of stable pods is the autoscaler's to decide."""
    return (spec.autoscaling.max_replicas or 0) > spec.autoscaling.min_replicas


def stable_replicas(
    spec: InferenceServiceSpec, state: State, observed: Observed, mode: TrafficMode = TrafficMode.REPLICAS
) -> int:
    """Stable pods wanted: what the autoscaler has made of them, and never fewer than before the rollout.

    More, where a weight is to be met strictly and the autoscaler's maximum leaves room for the pods that make it.
    """
    floor = _stable_floor(spec, state)
    wanted = max(floor, observed.replicas(state.stable.name)) if has_autoscaler(spec) else floor
    strict = _pods_of_strict_step(spec, state, wanted, mode)
    return strict.stable if strict else wanted


def _stable_floor(spec: InferenceServiceSpec, state: State) -> int:
    """The fewest stable pods, whatever the autoscaler says."""
    floor = spec.autoscaling.min_replicas
    return floor if state.canary is None else max(floor, state.rollout.baseline_replicas)


def _step_weight(spec: InferenceServiceSpec, state: State) -> int:
    """What the step at hand asks for, in percent."""
    return (state.rollout.policy or spec.canary).step_at(state.rollout.step_index).weight_percent


def _pods_of_strict_step(spec: InferenceServiceSpec, state: State, stable: int, mode: TrafficMode) -> Pods | None:
    """The pods that make the step's weight, at least `stable` ones; None where it need not be met, or cannot be."""
    within_steps = state.canary is not None and state.rollout.phase not in (Phase.PROMOTING, Phase.ROLLING_BACK)
    if not within_steps or not is_strict(state.rollout.policy or spec.canary, mode):
        return None
    return pods_that_make(_step_weight(spec, state), stable, max(stable, spec.autoscaling.max_replicas or 0))


def as_begun(spec: InferenceServiceSpec, state: State, observed: Observed) -> Observed:
    """What is there once the stable revision has its Deployment and its autoscaler, and nothing has come of them yet.

    Said at once, it need not be said by one more write of the status.
    """
    name = state.stable.name
    workload = observed.workloads.get(name) or Workload(replicas=stable_replicas(spec, state, observed), ready=0)
    autoscaler = observed.autoscaler or (Autoscaler(is_known=False) if has_autoscaler(spec) else None)
    return replace(observed, workloads={**observed.workloads, name: workload}, autoscaler=autoscaler)


def wanted_canary_replicas(
    spec: InferenceServiceSpec, state: State, observed: Observed, mode: TrafficMode = TrafficMode.REPLICAS
) -> int:
    """Canary pods wanted: those that make the step's weight, or all when it is being promoted.

    Behind a Gateway those that bear the weight, or what the canary's own autoscaler has made of them.
    """
    current = observed.replicas(state.canary.name if state.canary else None)
    floor = _canary_floor(spec, state, observed, mode)
    own_autoscaler = mode is TrafficMode.GATEWAY_API and has_autoscaler(spec)
    # What is being promoted keeps the pods that it has, though the old revision loses its own with its requests.
    return max(floor, current) if own_autoscaler or state.rollout.phase is Phase.PROMOTING else floor


def _canary_floor(spec: InferenceServiceSpec, state: State, observed: Observed, mode: TrafficMode) -> int:
    """The fewest canary pods."""
    stable = stable_replicas(spec, state, observed, mode)
    if state.rollout.phase is Phase.PROMOTING:
        return stable
    weight = _step_weight(spec, state)
    if mode is TrafficMode.GATEWAY_API:
        return replicas_for_share(weight, stable)
    strict = _pods_of_strict_step(spec, state, stable, mode)
    return strict.canary if strict else canary_replicas(weight, stable)


def _revision_manifests(identity: Identity, revision: Revision, template: Manifest, number: int) -> list[Manifest]:
    values: dict[str, Any] = {
        "name": names.workload_name(identity.name, revision.name),
        "namespace": identity.namespace,
        "labels": names.revision_labels(identity.name, revision.name, revision.version),
        "owners": [identity.owner_reference()],
        "selector": names.revision_selector(identity.name, revision.name),
        "pod_template": template,
    }
    return [
        render("controllerrevision.yaml.j2", number=number, **values),
        render("deployment.yaml.j2", **values),
    ]


def service_url(
    identity: Identity,
    state: State,
    spec: InferenceServiceSpec,
    observed: Observed,
    gateway: GatewaySettings | None,
) -> str:
    """Where the service answers: at the Gateway where a route leads to it, else at its Service, as its stable pods do.

    The pods of the first revision are not there yet at first; they will be as `spec` says.
    """
    mode = traffic_mode(state.rollout.policy or spec.canary, has_gateway=gateway is not None)
    if gateway is not None and mode is TrafficMode.GATEWAY_API:
        return f"http://{_host(identity, gateway)}"
    template = observed.pinned.get(state.stable.name) or observed.running.get(state.stable.name)
    has_tls = speaks_tls(template) if template is not None else spec.server.tls is not None
    return f"{'https' if has_tls else 'http'}://{identity.name}.{identity.namespace}.svc"


def _host(identity: Identity, gateway: GatewaySettings) -> str:
    return f"{identity.name}.{identity.namespace}.{gateway.domain}"


def _policy_manifest(identity: Identity, spec: InferenceServiceSpec) -> Manifest:
    return render(
        "configmap.yaml.j2",
        name=names.policy_name(identity.name),
        namespace=identity.namespace,
        labels=names.service_labels(identity.name),
        owners=[identity.owner_reference()],
        policy=policy_document(spec, identity.namespace, identity.name),
    )


def _route_manifests(
    identity: Identity, state: State, gateway: GatewaySettings, ports: list[Manifest]
) -> list[Manifest]:
    """A Service for each revision, and the route that shares the requests out between them."""
    owned: dict[str, Any] = {"namespace": identity.namespace, "owners": [identity.owner_reference()]}
    services = [
        render(
            "service.yaml.j2",
            name=names.workload_name(identity.name, revision.name),
            labels=names.revision_labels(identity.name, revision.name, revision.version),
            selector=names.revision_selector(identity.name, revision.name),
            ports=ports,
            **owned,
        )
        for revision in state.deployed
    ]
    backends = [
        {"name": names.workload_name(identity.name, revision), "port": 80, "weight": weight}
        for revision, weight in route_weights(state).items()
    ]
    route = render(
        "httproute.yaml.j2",
        name=identity.name,
        labels=names.service_labels(identity.name),
        gateway_name=gateway.name,
        gateway_namespace=gateway.namespace,
        host=_host(identity, gateway),
        backends=backends,
        **owned,
    )
    return [*services, route]


def _service_manifests(identity: Identity, state: State, mode: TrafficMode, ports: list[Manifest]) -> list[Manifest]:
    values: dict[str, Any] = {
        "name": identity.name,
        "namespace": identity.namespace,
        "labels": names.service_labels(identity.name),
        "owners": [identity.owner_reference()],
    }
    target = service_target(state, mode)
    everything = names.service_selector(identity.name)
    selector = names.revision_selector(identity.name, target) if target else everything
    return [
        render("service.yaml.j2", selector=selector, ports=ports, **values),
        render("poddisruptionbudget.yaml.j2", selector=everything, **values),
    ]


def _autoscalers(
    identity: Identity, spec: InferenceServiceSpec, state: State, observed: Observed, mode: TrafficMode
) -> list[Manifest]:
    """The stable revision's, and behind a Gateway one of the canary's own.

    Where numbers of pods share the requests out, the canary's follows from the stable one's, and no autoscaler's.
    """
    stable = names.workload_name(identity.name, state.stable.name)
    minimum = _stable_floor(spec, state)
    if _pods_of_strict_step(spec, state, minimum, mode):
        minimum = stable_replicas(spec, state, observed, mode)
    autoscalers = [_autoscaler(identity, spec, identity.name, stable, minimum, names.service_labels(identity.name))]
    if mode is TrafficMode.GATEWAY_API and state.canary is not None and state.rollout.phase is not Phase.ROLLING_BACK:
        canary = names.workload_name(identity.name, state.canary.name)
        labels = names.revision_labels(identity.name, state.canary.name, state.canary.version)
        minimum = _canary_floor(spec, state, observed, mode)
        autoscalers.append(_autoscaler(identity, spec, canary, canary, minimum, labels))
    return autoscalers


def _autoscaler(
    identity: Identity, spec: InferenceServiceSpec, name: str, target: str, minimum: int, labels: Mapping[str, str]
) -> Manifest:
    return render(
        "horizontalpodautoscaler.yaml.j2",
        name=name,
        namespace=identity.namespace,
        labels=labels,
        owners=[identity.owner_reference()],
        target=target,
        min_replicas=minimum,
        max_replicas=max(spec.autoscaling.max_replicas or minimum, minimum),
        cpu_utilization_percent=spec.autoscaling.targets.cpu_utilization_percent,
        in_flight_requests=spec.autoscaling.targets.in_flight_requests,
    )


def _number(revision: Revision, state: State, history: Mapping[str, int]) -> int:
    """The number that `revision` has, or gets: the greatest is that of the revision that was begun last.

    One that is begun again, as after its successor turned out worse, is numbered again, as in a Deployment's history.
    """
    newest = max(history.values(), default=0)
    begins = state.canary or (state.stable if state.rollout.phase is Phase.INITIALIZING else None)
    if revision.name not in history or (revision == begins and history[revision.name] < newest):
        return newest + 1
    return history[revision.name]


def _kept_revisions(state: State, history: Mapping[str, int], limit: int) -> frozenset[str]:
    """Those in use, and of the others the newest.

    One that was rolled back is not kept: tried again, it gets the present pod template, in which what failed it may be
    mended.
    """
    live = {revision.name for revision in state.deployed}
    failed = {one.revision for one in state.rollout.failed_revisions}
    former = sorted(history.keys() - live - failed, key=lambda name: -history[name])
    return frozenset(live | set(former[:limit]))
