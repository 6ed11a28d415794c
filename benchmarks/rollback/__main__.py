"""How long a version that fails half of its requests is seen by clients: `python -m benchmarks.rollback`.

On the test cluster, under steady traffic: the time from the first failed reply of the bad version to its last reply of
any kind, after which the stable version has all requests. Repeated, each time with a new version.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from benchmarks.rollback.service import INTERVAL_SECONDS, STABLE, manifest, prepared
from examples.digits import dataset, flaws, train
from examples.digits.requests import labelled_requests
from tests.cluster import Cluster, ensure, installation, object_store
from tests.cluster.traffic import Exchange, VersionTally, flowing
from tests.e2e.expectations import deploy, wait_rolled_back

LEAVING_SECONDS = 15


def main() -> None:
    """Run the benchmark and print a line for each rollback, and the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rollback", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="rollbacks to measure (default 5)")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second (default 50)")
    options = parser.parse_args()
    cluster = ensure()
    installation.install(cluster)
    seconds = _measured(cluster, options.runs, options.rate)
    limit = 2 * INTERVAL_SECONDS + 3
    print(f"median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s; two looks and 3 s are {limit} s")


def _measured(cluster: Cluster, runs: int, rate: float) -> list[float]:
    exchanges = [Exchange(request.body, request.label) for request in labelled_requests(dataset.load())]
    seconds = []
    with prepared(cluster) as service:
        _upload(cluster, runs)
        deploy(service, manifest(STABLE))
        for run in range(1, runs + 1):
            with flowing(cluster, service.namespace, service.name, exchanges, rate) as traffic:
                version = f"bad-{run}"
                service.apply(manifest(version))
                wait_rolled_back(service, version)
                time.sleep(LEAVING_SECONDS)
                bad = traffic.stop().of(version)
            seconds.append(_exposure(bad))
            print(f"run {run}: {seconds[-1]:.1f} s, in which {bad.failed} of {bad.replies} replies failed", flush=True)
    return seconds


def _exposure(bad: VersionTally) -> float:
    """Seconds from the first failed reply to the last reply."""
    if bad.first_failure is None or bad.last_reply is None:
        raise SystemExit("the bad version was rolled back before it had a request: nothing can be measured")
    return bad.last_reply - bad.first_failure


def _upload(cluster: Cluster, runs: int) -> None:
    """The stable model, and as many copies of one that fails on the half of the images with more ink."""
    digits = dataset.load()
    model = train.better_model(digits)
    median = float(np.median(dataset.ink(digits.test_images)))
    bad = flaws.failing_on_dense_images(model, ink_up_to=median).SerializeToString()
    files = {f"rollback/bad-{run}/model.onnx": bad for run in range(1, runs + 1)}
    object_store.upload(cluster, {f"rollback/{STABLE}/model.onnx": model.SerializeToString(), **files})


if __name__ == "__main__":
    main()
