"""Apply, serve, promote, roll back, on a real cluster: `make demo`, or `make demo ARGS=--keep`.

Brings the test cluster up, installs the chart, trains four versions of a digits model, and applies one after the
other under steady traffic. The first is deployed, the second is better and promoted, the third is too slow and the
fourth fails on some images: both are rolled back. Ends with status 1 if anything went another way.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from examples.demo.act import Act, Outcome, play
from examples.demo.display import Display, percent
from examples.digits import dataset, train
from examples.digits.requests import labelled_requests
from tests.cluster import Cluster, ClusterError, ensure, installation, object_store
from tests.cluster.inference_service import InferenceServiceHandle
from tests.cluster.progress import step
from tests.cluster.selection import choose
from tests.cluster.traffic import Exchange, Totals, Traffic, flowing

NAMESPACE = "demo"
SERVICE = "digits"
RATE = 50.0
"""Requests a second."""

FIRST = Act("1", "Version 1 is deployed", ends_with="1", reason="Stable")
ACTS = (
    Act("2", "Version 2, more accurate: judged, then promoted", ends_with="2", reason="Promoted"),
    Act("3", "Version 3, too slow on dense images: rolled back", ends_with="2", reason="HighLatency"),
    Act("4", "Version 4, fails on the densest images: rolled back", ends_with="2", reason="HighErrorRate"),
)
ITS_OWN_FAULT = frozenset({"3", "4"})
"""Versions whose own failures are what the demo is about."""


def main() -> int:
    """Run the demo; 0 when all went as it should."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the cluster up, with everything in it")
    keep = parser.parse_args().keep
    display = Display()
    try:
        was_up = choose().running()
        cluster = ensure()
        try:
            return _run(cluster, display, stays=keep or was_up)
        finally:
            if not (keep or was_up):
                cluster.down()
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(cluster: Cluster, display: Display, *, stays: bool) -> int:
    begun = time.monotonic()
    installation.install(cluster)
    service = _prepare(cluster)
    digits = dataset.load()
    exchanges = [Exchange(request.body, request.label) for request in labelled_requests(digits)]
    outcomes = [play(FIRST, service, None, display)]
    with flowing(cluster, NAMESPACE, SERVICE, exchanges, RATE) as traffic:
        outcomes += [play(act, service, traffic, display) for act in ACTS]
        totals = _last_requests(traffic)
    lost = lost_requests(totals)
    _show_results(display, outcomes, totals, lost, time.monotonic() - begun)
    _show_commands(cluster, display, stays=stays)
    return 0 if not lost and all(outcome.as_promised for outcome in outcomes) else 1


def _prepare(cluster: Cluster) -> InferenceServiceHandle:
    """An empty namespace with the Secret, and the models in the object store."""
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s")
    cluster.kubectl("apply", "--server-side", "-f", "-", input=installation.restricted_namespace(NAMESPACE))
    object_store.grant_access(cluster, NAMESPACE)
    with tempfile.TemporaryDirectory() as folder:
        with step("training four versions of the model on scikit-learn's digits"):
            models = train.train(Path(folder))
        with step("uploading them to the object store"):
            object_store.upload(cluster, {f"digits/{one.version}/model.onnx": one.path for one in models})
    return InferenceServiceHandle(cluster, NAMESPACE, SERVICE)


def _last_requests(traffic: Traffic) -> Totals:
    """Stop only after the last canary's pods have had time to leave: their leaving may lose requests, too."""
    with step("watching the last canary's pods leave"):
        time.sleep(15)
    return traffic.stop()


def lost_requests(totals: Totals) -> int:
    """Requests that got no reply, or an error that was not a bad version's own."""
    errors = sum(tally.failed for version, tally in totals.versions.items() if version not in ITS_OWN_FAULT)
    return totals.lost + errors


def _show_results(display: Display, outcomes: list[Outcome], totals: Totals, lost: int, seconds: float) -> None:
    display.table(
        "What the operator decided",
        ("version", "decision", "serving then", "after apply", "after its first reply", "as it should"),
        [
            (
                outcome.act.version,
                outcome.reason,
                f"version {outcome.serving}",
                f"{outcome.seconds:.1f} s",
                f"{outcome.exposed:.1f} s" if outcome.exposed is not None else "-",
                "yes" if outcome.as_promised else f"NO: {outcome.message}",
            )
            for outcome in outcomes
        ],
    )
    display.table(
        "What the clients saw",
        ("version", "replies", "failed", "accuracy of what it answered"),
        [
            (version, str(tally.replies), str(tally.failed), percent(tally.accuracy))
            for version, tally in sorted(totals.versions.items())
        ],
    )
    display.text(f"{totals.sent} requests were sent at {RATE:.0f} a second.")
    display.text(f"Lost outside the bad canaries: {lost}. {' '.join(totals.troubles)}")
    display.text(f"All of it took {seconds:.0f} s.")


def _show_commands(cluster: Cluster, display: Display, *, stays: bool) -> None:
    tools = cluster.provider.tools
    if not stays:
        display.text("\nTo look around in it yourself: make demo ARGS=--keep")
        return
    display.text(f"""
The cluster stays up. To look around:
  export KUBECONFIG={cluster.kubeconfig} PATH={tools}:$PATH
  kubectl get inferenceservices -n {NAMESPACE} -o wide
  kubectl describe inferenceservice {SERVICE} -n {NAMESPACE}
  kubectl get events -n {NAMESPACE} --field-selector involvedObject.kind=InferenceService
  kubectl get deployments,pods,hpa,pdb,services -n {NAMESPACE}
  kubectl logs -n {installation.NAMESPACE} deployment/{installation.RELEASE}
To take it down: make cluster-down""")


if __name__ == "__main__":
    sys.exit(main())
