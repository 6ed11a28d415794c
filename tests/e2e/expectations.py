"""What the end-to-end tests wait for and hold the clients' counts to."""

import time
from collections.abc import Callable

from serinus.api.status import InferenceServiceStatus, Phase, Stage
from tests.cluster.inference_service import InferenceServiceHandle
from tests.cluster.traffic import Totals
from tests.e2e.manifests import Manifest

DEPLOY_SECONDS = 60
ROLLOUT_SECONDS = 180
RATE = 50.0
"""Requests a second."""

HIGH_RATE = 200.0
"""Requests a second, where it is counted that none is lost."""

LEAVING_SECONDS = 15
"""How long the pods of a version that goes take to leave: what they lose, they lose in this time."""

KUBELET_SECONDS = 150
"""Within which a kubelet has changes of ConfigMaps and Secrets in the pods."""

QUIET_SECONDS = 10
"""For so long nothing happens where nothing is to happen."""


def within(seconds: float, holds: Callable[[], object], what: str) -> None:
    """Wait until `holds` returns something true, which may take so long."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(1)


def deploy(service: InferenceServiceHandle, manifest: Manifest) -> InferenceServiceStatus:
    """Apply the first version and wait until it serves with all its pods."""
    service.apply(manifest)
    return wait_serves(service)


def wait_serves(service: InferenceServiceHandle) -> InferenceServiceStatus:
    """Wait until the first version serves with all its pods."""
    return service.wait_until(lambda status: status.rollout.phase is Phase.STABLE, "it serves", DEPLOY_SECONDS)


def is_being_judged(status: InferenceServiceStatus) -> bool:
    """Whether a step of a rollout has begun."""
    return status.rollout.phase is Phase.PROGRESSING and status.rollout.stage is Stage.ANALYZING


def wait_promoted(service: InferenceServiceHandle, version: str) -> InferenceServiceStatus:
    """Wait until `version` is the stable one and its rollout over."""
    return service.wait_until(
        lambda status: (
            status.rollout.phase is Phase.STABLE and status.stable is not None and status.stable.version == version
        ),
        f"version {version} is promoted",
        ROLLOUT_SECONDS,
    )


def wait_rolled_back(service: InferenceServiceHandle, version: str) -> InferenceServiceStatus:
    """Wait until `version` is rolled back and all requests go to the stable version again."""
    return service.wait_until(
        lambda status: (
            status.rollout.phase is Phase.ROLLED_BACK
            and any(failed.version == version for failed in status.rollout.failed_revisions)
        ),
        f"version {version} is rolled back",
        ROLLOUT_SECONDS,
    )


def assert_nothing_lost(totals: Totals, *, but_errors_of: str = "") -> None:
    """Every request had a reply, and every one of a good version succeeded."""
    assert totals.lost == 0, totals.troubles
    failed = {version: tally.status for version, tally in totals.versions.items() if tally.failed}
    assert not failed.keys() - {but_errors_of}, failed
