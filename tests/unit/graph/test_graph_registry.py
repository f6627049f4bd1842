"""Graphs by name and version: which is later, which is the latest, and what is refused."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import Graph, GraphBuilder, GraphSetupError, Registry, StepContext
from perdure.graph.plan import Plan
from perdure.graph.version_order import version_order


def graph(name: str = "orders", version: str | None = None, node_id: str = "work") -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name=name, version=version, input_type=int, output_type=int)

    @g.step(node_id=node_id)
    async def work(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    g.add(g.edge_from(g.start_node).to(work), g.edge_from(work).to(g.end_node))
    return g.build()


# In the order of semver.org, item 11, with 1.9 and 1.10.
IN_ORDER = [
    "0", "0.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
    "1.0.0-rc.1", "1.0.0", "1.9", "1.9.1", "v1.10", "2-1", "2",
]  # fmt: skip


def test_versions_are_ordered_by_number_and_a_pre_release_comes_first() -> None:
    shuffled = random.Random(1).sample(IN_ORDER, len(IN_ORDER))
    assert sorted(shuffled, key=version_order) == IN_ORDER
    assert len({version_order(version) for version in IN_ORDER}) == len(IN_ORDER)


@given(st.lists(st.integers(0, 99), min_size=1, max_size=4), st.lists(st.integers(0, 99), min_size=1, max_size=4))
def test_the_order_of_releases_is_that_of_their_numbers(one: list[int], other: list[int]) -> None:
    longest = max(len(one), len(other))
    padded = [numbers + [0] * (longest - len(numbers)) for numbers in (one, other)]
    texts = [".".join(map(str, numbers)) for numbers in (one, other)]
    assert (version_order(texts[0]) < version_order(texts[1])) == (padded[0] < padded[1])
    assert (version_order(texts[0]) == version_order(texts[1])) == (padded[0] == padded[1])


@pytest.mark.parametrize("text", ["", "one", "1.", ".1", "1.0rc1", "1-", "1.0 ", "１.0", "1" * 65, "1.0-a..b", "-1"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(GraphSetupError, match="version="):
        GraphBuilder(version=text)


def test_the_latest_version_is_given_unless_one_is_asked_for() -> None:
    registry = Registry()
    for version in ("1.9", "1.10", "2.0-rc.1", "1.2"):
        registry.add(graph(version=version))
    assert registry.get("orders").version == "1.10"
    assert registry.get("orders", "1.2.0").version == "1.2"
    assert registry.get("orders", "2.0-rc.1").version == "2.0-rc.1"
    assert registry.versions("orders") == ("1.2", "1.9", "1.10", "2.0-rc.1")
    assert [found.version for found in registry] == ["1.2", "1.9", "1.10", "2.0-rc.1"]
    assert (len(registry), "orders" in registry, "bills" in registry) == (4, True, False)


def test_of_pre_releases_alone_the_latest_is_given() -> None:
    registry = Registry([graph(version="1-a"), graph(version="1-b")])
    assert registry.get("orders").version == "1-b"


def test_a_graph_without_a_version_comes_before_all_versions() -> None:
    plain, named = graph(), graph(version="0")
    assert Registry([plain]).get("orders") is plain
    assert Registry([named, plain]).get("orders") is named
    assert Registry([named, plain]).versions("orders") == ("", "0")


def test_a_graph_can_be_given_its_version_when_it_is_added() -> None:
    registry, plain = Registry(), graph()
    added = registry.add(plain, version="1.1")
    assert added.version == "1.1"
    assert plain.version == ""
    assert registry.get("orders") is added
    assert added.fingerprint == graph(version="1.1").fingerprint != plain.fingerprint
    assert registry.add(plain, version="1.1") is added
    assert Plan.decoded(added.plan.encoded()).version == "1.1"


def test_two_graphs_of_one_version_are_refused() -> None:
    registry = Registry([graph(version="1.0")])
    with pytest.raises(GraphSetupError, match=r"already with version '1\.0'"):
        registry.add(graph(version="1.0.0", node_id="other"))
    with pytest.raises(GraphSetupError, match=r"built with version '1\.0'"):
        registry.add(graph(version="1.0"), version="1.1")
    with pytest.raises(GraphSetupError, match="is no graph"):
        registry.add("orders")  # type: ignore[type-var]


def test_what_is_missing_is_told_with_what_is_there() -> None:
    registry = Registry([graph(version="1.0")])
    with pytest.raises(GraphSetupError, match=r"no graph 'bills'; it has \['orders'\]"):
        registry.get("bills")
    with pytest.raises(GraphSetupError, match=r"no 'orders' with version '2'; it has \['1\.0'\]"):
        registry.get("orders", "2")
