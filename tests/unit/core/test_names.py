"""Names and labels of the children."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.api.v1beta1 import NAME_MAX_LENGTH, NAME_PATTERN
from serinus.core import names

LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
service_names = st.from_regex(NAME_PATTERN, fullmatch=True).filter(lambda name: len(name) <= NAME_MAX_LENGTH)
revisions = st.from_regex("[0-9a-f]{10}", fullmatch=True)


@given(service_names, revisions)
def test_names_and_labels_are_what_kubernetes_takes(service: str, revision: str) -> None:
    name = names.workload_name(service, revision)
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name)
    for value in names.revision_labels(service, revision, "7").values():
        assert LABEL_VALUE.fullmatch(value)


@given(service_names, service_names, revisions, revisions)
def test_no_two_revisions_share_a_name(one: str, other: str, first: str, second: str) -> None:
    same = names.workload_name(one, first) == names.workload_name(other, second)
    assert same is ((one, first) == (other, second))


def test_the_longest_name_fits() -> None:
    assert len(names.workload_name("a" * NAME_MAX_LENGTH, "0" * 10)) == 63


@pytest.mark.parametrize("selector", [names.service_selector("fraud"), names.revision_selector("fraud", "aaa")])
def test_selectors_find_the_pods(selector: dict[str, str]) -> None:
    assert selector.items() <= names.revision_labels("fraud", "aaa", "7").items()


def test_recommended_labels() -> None:
    assert names.revision_labels("fraud", "aaa", "7") == {
        "app.kubernetes.io/name": "serinus-server",
        "app.kubernetes.io/instance": "fraud",
        "app.kubernetes.io/component": "model-server",
        "app.kubernetes.io/managed-by": "serinus",
        "app.kubernetes.io/version": "7",
        "serinus.dev/inferenceservice": "fraud",
        "serinus.dev/revision": "aaa",
    }
