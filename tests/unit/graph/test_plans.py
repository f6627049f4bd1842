"""Plans are stored, and read where the user's code isn't."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from perdure import GraphBuilder
from perdure.graph.plan import Plan


@dataclass
class Verdict:
    ok: bool
    why: str = ""


def test_a_plan_with_waits_is_read_as_it_was_written() -> None:
    g = GraphBuilder(name="asks", output_type=object)
    ask = g.human("ask", form=Verdict)
    paid = g.signal("paid", int)
    nap = g.sleep(timedelta(hours=1), node_id="nap")
    g.add(
        g.edge_from(g.start_node).to(ask),
        g.edge_from(ask).to(paid),
        g.edge_from(paid).to(nap),
        g.edge_from(nap).to(g.end_node),
    )
    plan = g.build().plan
    read = Plan.decoded(plan.encoded())
    assert read == plan
    waits = {name: node.wait for name, node in read.nodes.items() if node.wait is not None}
    assert b'"why"' in bytes(waits["ask"].schema)
    assert bytes(waits["nap"].schema) == bytes(waits["paid"].schema) == b"null"
