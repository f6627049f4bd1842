"""Routers, groups and policies that are wrong, read by type checkers only: every marked line has to be an error."""

from __future__ import annotations

from typing import Any

from perdure import GraphBuilder, StepContext

g = GraphBuilder(input_type=int, output_type=str)


@g.step
async def to_text(ctx: StepContext[None, None, int]) -> str:
    return ""


@g.step
async def to_int(ctx: StepContext[None, None, int]) -> int:
    return 1


@g.step(join="all")
async def texts(ctx: StepContext[None, None, list[str]]) -> str:
    return ""


@g.router
async def choose(ctx: StepContext[None, None, int]) -> Any:
    return to_text


g.add(g.edge_from(to_int).to(texts))  # type: ignore[arg-type]
g.add(g.edge_from(to_text).to(choose))  # type: ignore[arg-type]
g.add(g.edge_from(choose).to(texts))  # type: ignore[arg-type]
g.add(g.edge_from(g.parallel(to_text, to_text)).to(texts))  # type: ignore[arg-type]
g.add(g.edge_from(to_text).to(g.race(to_text, to_text)))  # type: ignore[arg-type]
g.chain(to_text, to_int)  # type: ignore[misc]
g.parallel(to_int, then=texts)  # type: ignore[arg-type]
g.step(join="most")  # type: ignore[call-overload]
g.step(on_error="ignore")  # type: ignore[call-overload]
g.step(tiemout=3)  # type: ignore[call-overload]
