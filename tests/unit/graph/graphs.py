"""Small pieces that the tests of the graph floor build from."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import GraphBuilder, GraphBuildingError


async def same(ctx: Any) -> Any:
    return ctx.inputs


def builder(**options: Any) -> GraphBuilder[Any, Any, Any, Any]:
    return GraphBuilder(input_type=object, output_type=object, **options)


def steps(g: GraphBuilder[Any, Any, Any, Any], names: str) -> list[Any]:
    """Return a step for each name."""
    return [g.step(same, node_id=name) for name in names.split()]


def problems(g: GraphBuilder[Any, Any, Any, Any]) -> tuple[str, ...]:
    """Return what is wrong with a graph."""
    with pytest.raises(GraphBuildingError) as caught:
        g.build()
    return caught.value.problems
