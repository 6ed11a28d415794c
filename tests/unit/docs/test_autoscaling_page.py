"""The rule that the page gives for prometheus-adapter is the one that the test cluster's runs with."""

import itertools
from pathlib import Path

import yaml

from tests.cluster import custom_metrics

PAGE = Path(__file__).parents[3] / "docs" / "autoscaling.md"


def test_the_rule_is_the_one_that_is_tried() -> None:
    (config,) = (one for one in yaml.safe_load_all(custom_metrics.MANIFEST.read_text()) if one["kind"] == "ConfigMap")
    tried = yaml.safe_load(config["data"]["config.yaml"])
    indented = [line for line in PAGE.read_text().partition("with this rule:")[2].splitlines() if line]
    shown = itertools.takewhile(lambda line: line.startswith("    "), indented)
    assert yaml.safe_load("\n".join(shown)) == tried
