"""What is logged inside of a step says which attempt it comes from."""

import asyncio
import logging
from typing import Any

import pytest
import structlog
from structlog.testing import CapturingLogger

from perdure import GraphBuilder, StepContext, add_attempt


@pytest.fixture
def captured() -> Any:
    logger = CapturingLogger()
    structlog.configure(processors=[add_attempt, lambda _, name, event: ((), event)], logger_factory=lambda *_: logger)
    yield logger
    structlog.reset_defaults()


def graph_of(function: Any) -> Any:
    g = GraphBuilder(name="logging", input_type=int, output_type=int)
    step = g.step(function, node_id="work")
    g.add(g.edge_from(g.start_node).to(step), g.edge_from(step).to(g.end_node))
    return g.build()


def test_an_event_of_a_step_carries_run_task_path_and_attempt(captured: Any) -> None:
    seen = []

    async def work(ctx: StepContext[None, None, int]) -> int:
        structlog.get_logger().info("at work", weight=3)
        seen.append(ctx.task_id)
        return ctx.inputs

    assert graph_of(work).run_sync(inputs=1, run_id="r-1") == 1
    [event] = [call.kwargs for call in captured.calls if call.kwargs.get("event") == "at work"]
    assert event == {"event": "at work", "weight": 3, "run": "r-1", "task": seen[0], "path": "work", "attempt": 1}


def test_an_event_of_a_plain_step_in_its_thread_carries_them_too(captured: Any) -> None:
    def work(ctx: StepContext[None, None, int]) -> int:
        structlog.get_logger().info("in a thread")
        return ctx.inputs

    assert graph_of(work).run_sync(inputs=1, run_id="r-2") == 1
    [event] = [call.kwargs for call in captured.calls if call.kwargs.get("event") == "in a thread"]
    assert (event["run"], event["path"], event["attempt"]) == ("r-2", "work", 1)


def test_an_event_outside_of_steps_is_left_alone(captured: Any) -> None:
    structlog.get_logger().info("outside")
    assert captured.calls[0].kwargs == {"event": "outside"}


def test_a_failed_attempt_is_logged_with_its_run_task_and_attempt(captured: Any) -> None:
    async def work(ctx: StepContext[None, None, int]) -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(graph_of(work).run(inputs=1, run_id="r-3"))
    [event] = [call.kwargs for call in captured.calls if call.kwargs.get("event") == "attempt failed"]
    assert (event["run"], event["path"], event["attempt"], event["error"]) == ("r-3", "work", 1, "ValueError: no")


def test_without_structlog_configured_events_go_to_the_standard_library(caplog: pytest.LogCaptureFixture) -> None:
    async def work(ctx: StepContext[None, None, int]) -> int:
        raise ValueError("no")

    with caplog.at_level(logging.INFO, "perdure"), pytest.raises(ValueError, match="no"):
        asyncio.run(graph_of(work).run(inputs=1))
    assert "attempt failed" in caplog.text
