"""The command line of `serinus simulate`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from serinus.api.problems import spec_problems
from serinus.api.units import parse_duration
from serinus.api.v1beta1 import API_VERSION, KIND, Analysis, InferenceServiceSpec
from serinus.core.traffic import unreachable_weight
from serinus.simulation.plot import PlotError, check_plot, plot
from serinus.simulation.report import as_json, as_text, make_report
from serinus.simulation.scenario import Quality, Scenario

_USAGE_ERROR: Final = 2
_MOST_SEEDS: Final = 100_000


class ManifestError(Exception):
    """The manifest cannot be used; the message says where and why."""


def add_simulate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `serinus`; it runs by the default `execute`."""
    parser = commands.add_parser(
        "simulate",
        help="tell what a canary policy would do with a good or a bad version",
        description="Simulates whole rollouts, decided by the operator's own code, for versions of known quality.",
    )
    parser.add_argument("-f", "--filename", type=Path, required=True, metavar="FILE", help="the InferenceService")
    parser.add_argument("--requests-per-second", type=float, required=True, metavar="R", help="of the whole service")
    for arm, name in (("stable", "the stable version"), ("canary", "the new version")):
        parser.add_argument(
            f"--{arm}-error-rate", type=_share, required=True, metavar="RATE", help=f"failing requests of {name}"
        )
        parser.add_argument(
            f"--{arm}-slow-rate",
            type=_slow_rate,
            action="append",
            default=[],
            metavar="[Pn=]RATE",
            help=f"requests of {name} over its latency threshold (0); P99=RATE where several percentiles are judged",
        )
    parser.add_argument(
        "--replicas", type=int, metavar="N", help="pods of the stable version (spec.autoscaling.minReplicas)"
    )
    parser.add_argument("--gateway", action="store_true", help="the platform has a Gateway, which shares requests out")
    parser.add_argument(
        "--scrape-interval", default="15s", metavar="TIME", help="how often Prometheus scrapes the pods (15s)"
    )
    parser.add_argument("--seeds", type=_seeds, default=200, metavar="N", help="rollouts to simulate (200)")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table", help="table or json (table)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw how soon rollouts end; .svg, .png or .pdf")
    parser.set_defaults(execute=run)


def run(arguments: argparse.Namespace) -> int:
    """Simulate and print; the exit status is 2 for a manifest or an option that cannot be used."""
    try:
        if arguments.plot:
            check_plot(arguments.plot)
        report = make_report(_scenario(arguments), arguments.seeds)
        if arguments.plot:
            plot(report, arguments.plot)
    except (ManifestError, PlotError, OSError, ValueError) as error:
        print(f"serinus simulate: {error}", file=sys.stderr)  # noqa: T201
        return _USAGE_ERROR
    print(json.dumps(as_json(report), indent=2) if arguments.output == "json" else as_text(report))  # noqa: T201
    return 0


def read_spec(path: Path) -> InferenceServiceSpec:
    """The spec of the one InferenceService in the file.

    Raises ManifestError for a file without one, or with several, and for a spec that the operator would refuse.
    """
    try:
        documents = [one for one in yaml.safe_load_all(path.read_text()) if isinstance(one, dict)]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ManifestError(f"{path}: {error}") from error
    services = [one for one in documents if (one.get("apiVersion"), one.get("kind")) == (API_VERSION, KIND)]
    if len(services) != 1:
        raise ManifestError(f"{path} holds {len(services)} objects {KIND} of {API_VERSION}, and should hold one")
    return _validated(path, services[0])


def _validated(path: Path, service: dict[str, Any]) -> InferenceServiceSpec:
    try:
        return InferenceServiceSpec.model_validate(service.get("spec"))
    except ValidationError as error:
        raise ManifestError(f"{path}: {spec_problems(error)}") from error


def _scenario(arguments: argparse.Namespace) -> Scenario:
    spec = read_spec(arguments.filename)
    if spec.canary.traffic.mode == "GatewayAPI" and not arguments.gateway:
        raise ManifestError(
            f"{arguments.filename}: spec.canary.traffic.mode: GatewayAPI needs a platform with a Gateway: --gateway"
        )
    if problem := unreachable_weight(spec, has_gateway=arguments.gateway):
        raise ManifestError(f"{arguments.filename}: {problem}")
    replicas = spec.autoscaling.min_replicas if arguments.replicas is None else arguments.replicas
    return Scenario(
        spec=spec,
        requests_per_second=arguments.requests_per_second,
        stable=Quality(arguments.stable_error_rate, _slow_rates(spec.canary.analysis, arguments.stable_slow_rate)),
        canary=Quality(arguments.canary_error_rate, _slow_rates(spec.canary.analysis, arguments.canary_slow_rate)),
        stable_replicas=replicas,
        has_gateway=arguments.gateway,
        scrape_interval=parse_duration(arguments.scrape_interval),
    )


def _slow_rates(analysis: Analysis, given: Sequence[tuple[int | None, float]]) -> dict[int, float]:
    """The rates by percentile. Raises ManifestError for one that the policy does not judge, or that may be of several.

    A percentile without a rate has the largest of the higher ones': what is slower than those is slower than it.
    """
    judged = sorted(one.percentile for one in analysis.latency)
    words = " and ".join(f"P{percentile}" for percentile in judged) or "no latency"
    stated: dict[int, float] = {}
    for percentile, rate in given:
        if percentile is None and len(judged) > 1:
            raise ManifestError(f"the policy judges {words}: say whose slow rate it is, as in P{judged[0]}={rate:g}")
        of = percentile if percentile is not None else next(iter(judged), None)
        if of is None or of not in judged:
            raise ManifestError(f"a slow rate is given that nothing is held to: the policy judges {words}")
        stated[of] = rate
    return {one: stated.get(one, max((stated[two] for two in stated if two > one), default=0.0)) for one in judged}


def _slow_rate(text: str) -> tuple[int | None, float]:
    """A share, and the percentile that it is of if that is said: P99=2%."""
    percentile, _, rate = text.rpartition("=")
    if not percentile:
        return None, _share(rate)
    if not (percentile[0] in "pP" and percentile[1:].isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a share, nor one of a percentile such as P99=2%")
    return int(percentile[1:]), _share(rate)


def _share(text: str) -> float:
    """A share between 0 and 1, written as 0.05 or as 5%."""
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = -1.0
    share = number / 100 if text.endswith("%") else number
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 0.05 or 5%")
    return share


def _seeds(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= _MOST_SEEDS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_MOST_SEEDS}")
    return int(text)
