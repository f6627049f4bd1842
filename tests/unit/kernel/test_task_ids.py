"""A task is identified by how it came about: equal in every run of the same graph, whatever the timing."""

from __future__ import annotations

from base64 import b32encode
from hashlib import blake2b
from itertools import permutations
from random import Random
from typing import Any

import pytest

from perdure import Graph, InvalidIdentifier, reduce_list_append
from perdure.ids import ROOT_INSTANCE, START_TASK, checked_identifier, digest, identify, prefix
from unit.graph.graphs import builder, same, steps
from unit.kernel.bench import Bench

# Arms that meet without a join are what some of these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore::perdure.errors.ConvergenceWarning")


def h(*parts: str) -> str:
    """Return H of semantics: sixteen base32 characters of blake2b over length-prefixed parts."""
    data = b"".join(str(len(part.encode())).encode() + b":" + part.encode() for part in parts)
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    return "".join(alphabet[byte & 31] for byte in blake2b(data, digest_size=16).digest())


def test_h_is_what_it_is_and_stays_it() -> None:
    assert identify("a", "b") == h("a", "b") == digest(prefix("a") + prefix("b"))
    assert (h("start"), h("fork", h("start"), "__start__")) == (START_TASK, ROOT_INSTANCE)
    # Written down, because ids are in logs for ever.
    assert identify("a", "b") == "aoxv5mds325kqoad"
    assert set(identify("x")) <= set(b32encode(bytes(range(256))).decode().lower())


def test_parts_are_kept_apart() -> None:
    ids = {
        identify("ab", "c"),
        identify("a", "bc"),
        identify("abc"),
        identify("a", "b", "c"),
        identify("1:a"),
        identify("a"),
    }
    assert len(ids) == 6


def graph(rng: Random | None = None) -> Graph[Any, Any, Any, Any]:
    g = builder(end="all")
    a, b, c, d = steps(g, "a b c d")
    joined = g.join(reduce_list_append, initial_factory=list, node_id="joined")
    edges = [
        g.edge_from(g.start_node).to(a),
        g.edge_from(a).map(fork_id="items").to(b),
        g.edge_from(b).to(c, d, fork_id="both"),
        g.edge_from(b).to(c),
        g.edge_from(c, d).to(joined),
        g.edge_from(joined).to(g.end_node),
    ]
    if rng is not None:
        rng.shuffle(edges)
    g.add(*edges)
    return g.build()


def placed(bench: Bench) -> dict[str, str]:
    """Return the path of every task there was, by id."""
    found: dict[str, str] = {}
    while running := bench.running():
        found.update({task.id: task.shown_path for task in bench.run.tasks.values()})
        bench.finish(running[0])
    return found


def test_ids_are_made_of_the_parent_the_destination_the_ordinal_and_the_indices_crossed() -> None:
    bench = Bench(graph(), [7, 8])
    first = bench.task("a")
    assert first.id == h(START_TASK, "a", "0")
    bench.finish("a")
    items = h("fork", first.id, "items")
    second = bench.task("items[1]/b")
    assert second.scope.id == items
    assert second.id == h(first.id, "b", "0", "1")
    bench.finish("items[1]/b")
    [outer] = {task.scope.id for task in bench.run.tasks.values() if task.node.id == "c"} - {
        h("fork", second.id, "both", str(rank)) for rank in range(2)
    }
    assert outer == h("fork", second.id, "b_broadcast")
    found = {task.id for task in bench.run.tasks.values() if task.node.id in ("c", "d")}
    possible = {
        h(second.id, node, str(ordinal), *hops)
        for node in ("c", "d")
        for ordinal in range(2)
        for hops in (("0",), ("1",), ("0", "0"), ("0", "1"), ("1", "0"), ("1", "1"))
    }
    assert len(found) == 3
    assert found <= possible


def test_the_output_of_a_join_is_made_of_the_join_and_its_parent_instance() -> None:
    g = builder()
    a, b = steps(g, "a b")
    joined = g.join(reduce_list_append, initial_factory=list, node_id="joined")
    g.add(
        g.edge_from(g.start_node).map(fork_id="items").to(a),
        g.edge_from(a).to(joined),
        g.edge_from(joined).to(b),
        g.edge_from(b).to(g.end_node),
    )
    expected = h(h("join", "joined", h("fork", START_TASK, "items")), "b", "0")
    for order in permutations(["items[0]/a", "items[1]/a", "items[2]/a"]):
        bench = Bench(g.build(), [1, 2, 3])
        for path in order:
            bench.finish(path)
        assert bench.task("b").id == expected


def test_ids_do_not_depend_on_the_order_of_add_nor_on_timing() -> None:
    expected = placed(Bench(graph(), [7, 8]))
    assert len(expected) == 1 + 2 + 2 * 3
    for seed in range(20):
        rng = Random(seed)
        bench = Bench(graph(rng), [7, 8])
        found: dict[str, str] = {}
        while running := bench.running():
            found.update({task.id: task.node.id for task in bench.run.tasks.values()})
            bench.finish(*rng.sample(running, 1))
        assert set(found) == set(expected)


def test_the_same_step_reached_twice_is_two_tasks() -> None:
    g = builder(end="all")
    a, b = steps(g, "a b")
    g.add(
        g.edge_from(g.start_node).to(a),
        g.edge_from(a).broadcast(lambda e: [e.to(b), e.to(b), e.map().to(b)], fork_id="f"),
        g.edge_from(b).to(g.end_node),
    )
    bench = Bench(g.build(), [1, 2])
    bench.finish("a")
    assert bench.run.plan.nodes.keys() >= {"f"}
    assert len({task.id for task in bench.run.tasks.values()}) == 4


def test_each_round_of_a_loop_is_another_task() -> None:
    g = builder()
    go = g.step(same, node_id="go")

    @g.step
    async def less(ctx: Any) -> int:
        result: int = ctx.inputs - 1
        return result

    g.add(
        g.edge_from(g.start_node).to(go),
        g.edge_from(go).to(less),
        g.edge_from(less).to(
            g.decision().branch(g.match(int, matches=lambda n: n > 0).to(go)).branch(g.match(int).to(g.end_node))
        ),
    )
    found = placed(Bench(g.build(), 5))
    assert len(found) == 10
    assert sorted(set(found.values())) == ["go", "less"]


def test_tasks_start_in_the_order_of_their_paths() -> None:
    bench = Bench(graph(), [7, 8, 9])
    bench.finish("a")
    bench.finish("items[2]/b", "items[0]/b")
    started = [event for event in bench.events if type(event).__name__ == "NodeStarted"][-6:]
    tasks = {task.id: task for task in bench.run.tasks.values()}
    paths = [tasks[event.task].path for event in started]
    assert paths == sorted(paths)


@pytest.mark.parametrize("value", ["", "x" * 201, "a\nb", "\0", 5, None])
def test_an_identifier_is_short_printable_text(value: Any) -> None:
    with pytest.raises(InvalidIdentifier, match="can't be a run id: give a string of 1 to 200 printable characters"):
        checked_identifier("run id", value)


def test_an_identifier_may_be_in_any_language() -> None:
    assert checked_identifier("run id", "Bestellung 42 – größer") == "Bestellung 42 – größer"
