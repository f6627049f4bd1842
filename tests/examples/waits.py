"""Graphs that wait: each with what is answered, and sent, when it waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from perdure import Escalate, Graph, GraphBuilder, StepContext, Waiting, reduce_list_append


class Review(msgspec.Struct):
    """What somebody thinks."""

    approved: bool
    comment: str = ""


@dataclass(frozen=True)
class WaitingExample:
    """A graph that waits, with what should come of it."""

    name: str
    build: Callable[[], Graph[Any, Any, Any, Any]]
    expected: Any
    inputs: Any
    answer: Callable[[Waiting], Any]
    """What is answered, or comes with a signal."""
    view: Callable[[Any], Any] = lambda result: result


WAITING: list[WaitingExample] = []


def waiting_example(
    expected: Any,
    *,
    inputs: Any = None,
    answer: Callable[[Waiting], Any] = lambda wait: None,
    view: Callable[[Any], Any] = lambda result: result,
) -> Callable[[Callable[[], Graph[Any, Any, Any, Any]]], Callable[[], Graph[Any, Any, Any, Any]]]:
    """Register a function that builds a graph that waits."""

    def register(build: Callable[[], Graph[Any, Any, Any, Any]]) -> Callable[[], Graph[Any, Any, Any, Any]]:
        WAITING.append(WaitingExample(build.__name__, build, expected, inputs, answer, view))
        return build

    return register


@waiting_example("published after 2 reviews", answer=lambda wait: Review(approved=True))
def two_gates_in_a_row() -> Graph[Any, Any, Any, Any]:
    """An editor and then a lawyer has to approve."""
    g = GraphBuilder(name="two_gates_in_a_row", output_type=str)
    editor = g.human("editor", form=Review, title="Read it")
    lawyer = g.human("lawyer", form=Review, assignee=lambda ctx: "law" if ctx.inputs.approved else "nobody")

    @g.step
    async def publish(ctx: StepContext[None, None, Review]) -> str:
        return "published after 2 reviews" if ctx.inputs.approved else "dropped"

    g.add(
        g.edge_from(g.start_node).to(editor),
        g.edge_from(editor).to(lawyer),
        g.edge_from(lawyer).to(publish),
        g.edge_from(publish).to(g.end_node),
    )
    return g.build()


RISKS = {"type": "string", "enum": ["low", "medium", "high"]}


def approval(**more: Any) -> dict[str, Any]:
    """Return the schema of a form with a tick, and more fields."""
    return {
        "type": "object",
        "properties": {"approved": {"type": "boolean"}, **more},
        "required": ["approved", *more],
    }


@waiting_example(
    {"legal": True, "finance": True, "security": "low", "all": True},
    inputs="contract",
    answer=lambda wait: {
        "approved": True,
        **(
            {"risk_level": "low"}
            if wait.name == "security"
            else {"budget_code": "A1"}
            if wait.name == "finance"
            else {}
        ),
    },
)
def three_departments_approve() -> Graph[Any, Any, Any, Any]:
    """Three people are asked at once, and one function gets all of their answers."""
    g = GraphBuilder(name="three_departments_approve", input_type=str, output_type=dict[str, Any])
    legal = g.human("legal", form=approval(), title="Legal review required")
    finance = g.human("finance", form=approval(budget_code={"type": "string"}), title="Finance review required")
    security = g.human("security", form=approval(risk_level=RISKS), title="Security review required")

    @g.step
    async def check(ctx: StepContext[None, None, list[Any]]) -> dict[str, Any]:
        by_law, by_finance, by_security = ctx.inputs
        return {
            "legal": by_law["approved"],
            "finance": by_finance["approved"],
            "security": by_security["risk_level"],
            "all": all(answer["approved"] for answer in ctx.inputs),
        }

    approvals = g.parallel(legal, finance, security, then=check)
    g.add(g.edge_from(g.start_node).to(approvals), g.edge_from(approvals).to(g.end_node))
    return g.build()


@waiting_example(
    [("a", 1), ("b", 2), ("c", 3)], inputs=["a", "b", "c"], answer=lambda wait: len(wait.title), view=sorted
)
def a_person_for_each_item() -> Graph[Any, Any, Any, Any]:
    """Each arm of a map asks somebody."""
    g = GraphBuilder(name="a_person_for_each_item", input_type=list[str], output_type=list[tuple[str, int]])
    size = g.human("size", form=int, title=lambda ctx: "x" * (ord(ctx.inputs) - ord("a") + 1))

    @g.step
    async def name(ctx: StepContext[None, None, int]) -> tuple[str, int]:
        return chr(ord("a") + ctx.inputs - 1), ctx.inputs

    named = g.join(reduce_list_append, initial_factory=list[tuple[str, int]])
    g.add(
        g.edge_from(g.start_node).map().to(size),
        g.edge_from(size).to(name),
        g.edge_from(name).to(named),
        g.edge_from(named).to(g.end_node),
    )
    return g.build()


@waiting_example("in time", answer=lambda wait: "in time")
def a_person_against_a_timer() -> Graph[Any, Any, Any, Any]:
    """Somebody answers before the time is up."""
    g = GraphBuilder(name="a_person_against_a_timer", output_type=str)
    ask = g.human("ask", form=str, deadline=timedelta(hours=1), on_deadline=Escalate("boss"))
    late = g.chain(g.sleep(timedelta(days=1)), g.step(_too_late, node_id="too_late"))
    first = g.race(ask, late)
    g.add(g.edge_from(g.start_node).to(first), g.edge_from(first).to(g.end_node))
    return g.build()


async def _too_late(ctx: StepContext[None, None, None]) -> str:
    return "too late"


@waiting_example([7, "x"], answer=lambda wait: 7 if wait.name == "paid" else "x")
def two_signals_and_a_nap() -> Graph[Any, Any, Any, Any]:
    """Two signals are waited for at once, and then a little time."""
    g = GraphBuilder(name="two_signals_and_a_nap", output_type=list[Any])
    both = g.parallel(g.signal("paid", int), g.signal("shipped", str))
    nap = g.sleep(timedelta(milliseconds=3))
    g.add(g.edge_from(g.start_node).to(both), g.edge_from(both).to(nap), g.edge_from(nap).to(g.end_node))
    return g.build()
