"""The page of the models tells of every kind of URI and of every fault of a claim."""

from pathlib import Path

from serinus.api.model_uri import FORMS
from serinus.core.hindrance import CLAIM_FAULTS

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "models.md").read_text()


def test_every_kind_of_uri_is_explained() -> None:
    schemes = [word.partition("://")[0] for word in FORMS.split() if "://" in word]
    assert {"s3", "gs", "az", "https", "hf", "oci", "pvc"} <= set(schemes)
    assert [scheme for scheme in schemes if f"| `{scheme}://" not in PAGE] == []


def test_every_fault_of_a_claim_is_explained() -> None:
    for page in (PAGE, (DOCS / "canary.md").read_text()):
        assert [reason for _, reason, _ in CLAIM_FAULTS if f"`{reason}`" not in page] == []
