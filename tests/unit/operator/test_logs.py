"""What a log line looks like."""

import asyncio
import contextvars
import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from serinus import logs

Said = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """The test framework's handlers come back after each test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def said() -> Said:
    """The lines that were logged since."""
    logs.configure()
    [handler] = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    written = io.StringIO()
    handler.setStream(written)
    return lambda: [json.loads(line) for line in written.getvalue().splitlines()]


logger = logging.getLogger("serinus.test")


def test_a_line_says_when_how_bad_and_what(said: Said) -> None:
    logger.warning("%s of %d", "one", 2)
    [line] = said()
    assert line["time"].endswith("Z")
    assert len(line.pop("time")) == len("2026-11-24T09:00:00.000Z")
    assert line == {"level": "warning", "logger": "serinus.test", "message": "one of 2"}


@pytest.mark.parametrize("hostile", ['"}\n{"level": "error"', "a\r\nb", "\u2028\x00\x1b[31m", "é\ud800"])
def test_a_hostile_message_stays_on_its_line(hostile: str, said: Said) -> None:
    logger.info(hostile)
    [line] = said()
    assert line["message"] == hostile
    assert line["level"] == "info"


def test_within_a_visit_each_line_says_whose_it_is(said: Said) -> None:
    with logs.visiting("risk", "fraud") as visit:
        logger.info("inside")
        logging.getLogger("urllib3.connectionpool").warning("retrying")
    logger.info("outside")
    inside, library, outside = said()
    whose = {"namespace": "risk", "name": "fraud", "reconcile_id": visit.reconcile_id}
    assert whose.items() <= inside.items()
    assert whose.items() <= library.items()
    assert not whose.keys() & outside.keys()


def test_visits_side_by_side_are_told_apart(said: Said) -> None:
    async def visit(name: str) -> None:
        with logs.visiting("risk", name):
            await asyncio.sleep(0)
            context = contextvars.copy_context()
            await asyncio.get_running_loop().run_in_executor(None, context.run, logger.info, "a step")

    async def both() -> None:
        await asyncio.gather(visit("a"), visit("b"), visit("a"))

    asyncio.run(both())
    lines = said()
    assert sorted(line["name"] for line in lines) == ["a", "a", "b"]
    assert len({line["reconcile_id"] for line in lines}) == 3


def test_an_exception_is_text_in_one_field(said: Said) -> None:
    try:
        int("one\ntwo")
    except ValueError:
        logger.exception("failed")
    [line] = said()
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("'one\\ntwo'")
    assert line["level"] == "error"


def test_kopf_speaks_the_same_way_and_only_of_what_is_wrong(said: Said) -> None:
    reference = {"namespace": "risk", "name": "fraud", "uid": "1", "kind": "InferenceService"}
    kopf_logger = logging.getLogger("kopf.objects")
    kopf_logger.info("Handler succeeded.", extra={"k8s_ref": reference})
    kopf_logger.error("Handler failed.", extra={"k8s_ref": reference})
    [line] = said()
    assert (line["message"], line["namespace"], line["name"]) == ("Handler failed.", "risk", "fraud")


def test_there_is_no_id_outside_a_visit() -> None:
    assert logs.reconcile_id() is None
    with logs.visiting("risk", "fraud") as visit:
        assert logs.reconcile_id() == visit.reconcile_id
