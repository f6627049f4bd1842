"""Graphs that are right, read by type checkers only: not a line here may be an error."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypedDict, assert_type

from perdure import (
    BaseNode,
    Decision,
    End,
    EndMarker,
    EndNode,
    Fork,
    Graph,
    GraphBuilder,
    GraphRunContext,
    GraphTask,
    GraphTaskRequest,
    Join,
    JoinNode,
    ReduceFirstValue,
    ReducerContext,
    ReducerFunction,
    StartNode,
    Step,
    StepContext,
    StepNode,
    TypeExpression,
    reduce_dict_update,
    reduce_list_append,
    reduce_list_extend,
    reduce_null,
    reduce_sum,
)


@dataclass
class State:
    total: int = 0
    seen: list[str] = field(default_factory=list)


@dataclass
class Deps:
    factor: int


class Base: ...


class Derived(Base): ...


class Row(TypedDict):
    id: int


# --- chains, and what a graph is known to be ---

plain = GraphBuilder(state_type=State, deps_type=Deps, input_type=int, output_type=str)
assert_type(plain, GraphBuilder[State, Deps, int, str])


@plain.step
async def double(ctx: StepContext[State, Deps, int]) -> int:
    ctx.state.total += ctx.inputs
    return ctx.inputs * ctx.deps.factor


@plain.step(node_id="shown", label="show it")
async def show(ctx: StepContext[State, Deps, int]) -> str:
    return str(ctx.inputs)


assert_type(double, Step[State, Deps, int, int])
assert_type(show, Step[State, Deps, int, str])
plain.add(
    plain.edge_from(plain.start_node).to(double),
    plain.edge_from(double).label("doubled").to(show),
    plain.edge_from(show).to(plain.end_node),
)
plain.add_edge(double, show, label="again")
graph = plain.build()
assert_type(graph, Graph[State, Deps, int, str])


async def run_it() -> None:
    assert_type(await graph.run(state=State(), deps=Deps(2), inputs=3), str)
    assert_type(graph.run_sync(state=State(), deps=Deps(2), inputs=3), str)


# --- defaults: no state, no dependencies, no inputs, no output ---

bare = GraphBuilder()
assert_type(bare, GraphBuilder[None, None, None, None])


@bare.step
async def nothing(ctx: StepContext[None, None, None]) -> None: ...


@bare.step
async def takes_anything(ctx: StepContext[Any, Any, Any]) -> None: ...


@bare.step
async def takes_objects(ctx: StepContext[object, object, object]) -> None: ...


bare.add(bare.edge_from(bare.start_node).to(nothing), bare.edge_from(nothing).to(takes_objects, takes_anything))
bare.add(bare.edge_from(takes_objects, takes_anything).to(bare.end_node))

# --- variance: a step that takes more, or gives less, than it must ---

kin = GraphBuilder(input_type=Derived, output_type=Base)


@kin.step
async def takes_base(ctx: StepContext[None, None, Base]) -> Derived:
    return Derived()


kin.add(kin.edge_from(kin.start_node).to(takes_base), kin.edge_from(takes_base).to(kin.end_node))

# --- types that aren't classes ---

wide = GraphBuilder(
    input_type=TypeExpression[int | str],
    output_type=TypeExpression[Literal["yes", "no"] | None],
)
assert_type(wide, GraphBuilder[None, None, int | str, Literal["yes", "no"] | None])
half_wide = GraphBuilder(state_type=State, output_type=TypeExpression[int | None], end="all")
assert_type(half_wide, GraphBuilder[State, None, None, int | None])
optional_state: GraphBuilder[State | None, None, None, None] = GraphBuilder(state_type=TypeExpression[State | None])

# --- maps ---

mapped = GraphBuilder(output_type=list[int])


@mapped.step
async def numbers(ctx: StepContext[None, None, None]) -> list[int]:
    return [1]


@mapped.step
async def sequence(ctx: StepContext[None, None, None]) -> Sequence[int]:
    return [1]


@mapped.step
async def lazily(ctx: StepContext[None, None, None]) -> AsyncIterator[int]:
    async def items() -> AsyncIterator[int]:
        yield 1

    return items()


@mapped.step
async def square(ctx: StepContext[None, None, int]) -> int:
    return ctx.inputs**2


@mapped.stream
async def counting(ctx: StepContext[None, None, None]) -> AsyncIterator[int]:
    yield ctx.stream_offset


@mapped.stream(node_id="seeking", label="seek", resume="seek")
async def seeking(ctx: StepContext[None, None, None]) -> AsyncIterator[int]:
    yield ctx.stream_offset


collect = mapped.join(reduce_list_append, initial_factory=list[int], node_id="collect")
assert_type(collect, Join[None, None, int, list[int]])
mapped.add(
    mapped.edge_from(mapped.start_node).to(numbers, sequence, lazily, counting, seeking, fork_id="all"),
    mapped.edge_from(numbers)
    .label("before")
    .map(fork_id="each", downstream_join_id="collect")
    .label("after")
    .to(square),
    mapped.edge_from(sequence).map().to(square, collect),
    mapped.edge_from(lazily).map().to(square),
    mapped.edge_from(counting).map().to(square),
    mapped.edge_from(seeking).map().to(square),
    mapped.edge_from(square).to(collect),
    mapped.edge_from(collect).to(mapped.end_node),
)
mapped.add_mapping_edge(
    numbers, square, pre_map_label="a", post_map_label="b", fork_id="f", downstream_join_id=collect.id
)
mapped.add_mapping_edge(counting, square)
mapped.add_mapping_edge(collect, square)

# --- transforms, with functions and lambdas, and what becomes of the type behind them ---


def halved(ctx: StepContext[object, object, int]) -> float:
    return ctx.inputs / 2


bent = GraphBuilder(input_type=int, output_type=str)


@bent.step
async def takes_float(ctx: StepContext[None, None, float]) -> dict[str, int]:
    return {}


@bent.step
async def takes_text(ctx: StepContext[None, None, str]) -> str:
    return ctx.inputs


bent.add(
    bent.edge_from(bent.start_node).transform(halved).to(takes_float),
    bent.edge_from(bent.start_node)
    .transform(lambda ctx: ctx.inputs * 2)
    .transform(lambda ctx: str(ctx.inputs))
    .to(takes_text),
    bent.edge_from(takes_float).transform(lambda ctx: list(ctx.inputs)).map().to(takes_text),
    bent.edge_from(takes_float).transform(lambda ctx: ctx.inputs.keys()).map().to(takes_text),
    bent.edge_from(takes_text).to(bent.end_node),
)

# --- broadcasts, several sources ---

broad = GraphBuilder(output_type=object)


@broad.step
async def gives_int(ctx: StepContext[None, None, None]) -> int:
    return 1


@broad.step
async def gives_text(ctx: StepContext[None, None, None]) -> str:
    return ""


@broad.step
async def takes_int(ctx: StepContext[None, None, int]) -> list[int]:
    return []


@broad.step
async def takes_either(ctx: StepContext[None, None, int | str]) -> list[int]:
    return []


@broad.step
async def takes_object(ctx: StepContext[None, None, object]) -> list[int]:
    return []


broad.add(
    broad.edge_from(broad.start_node).to(gives_int, gives_text),
    broad.edge_from(gives_int).to(takes_int, takes_either, takes_object),
    broad.edge_from(gives_int, gives_text).to(takes_either),
    broad.edge_from(gives_int, gives_text).to(takes_object),
    broad.edge_from(gives_int).broadcast(
        lambda e: [
            e.to(takes_int),
            e.label("x").to(takes_either),
            e.transform(lambda ctx: [ctx.inputs]).map().to(takes_int),
        ],
        fork_id="three",
    ),
    broad.edge_from(takes_int, takes_either, takes_object).to(broad.end_node),
)

# --- decisions ---

choosing = GraphBuilder(input_type=TypeExpression[int | str | None], output_type=str)


@choosing.step
async def of_int(ctx: StepContext[None, None, int]) -> str:
    return ""


@choosing.step
async def of_text(ctx: StepContext[None, None, str]) -> str:
    return ""


@choosing.step
async def of_none(ctx: StepContext[None, None, None]) -> str:
    return ""


@choosing.step
async def gives_words(ctx: StepContext[None, None, object]) -> list[Literal["left", "right"]]:
    return ["left"]


decision = (
    choosing.decision(note="which?", node_id="which")
    .branch(choosing.match(int, matches=lambda value: value > 0).label("positive").to(of_int))
    .branch(choosing.match(int).transform(lambda ctx: str(ctx.inputs)).to(of_text))
    .branch(choosing.match(str).to(of_text, gives_words, fork_id="both"))
    .branch(choosing.match(TypeExpression[None]).to(of_none))
)
assert_type(decision, Decision[None, None, int | str | None])
choosing.add(
    choosing.edge_from(choosing.start_node).to(decision),
    choosing.edge_from(gives_words)
    .map()
    .to(
        choosing.decision()
        .branch(choosing.match(TypeExpression[Literal["left"]]).label("left").to(of_text))
        .branch(
            choosing.match(TypeExpression[Literal["right"]]).broadcast(lambda e: [e.to(of_text), e.to(gives_words)])
        )
    ),
    choosing.edge_from(of_int).to(
        choosing.decision()
        .branch(choosing.match(str, matches=str.isdigit).to(choosing.end_node))
        .branch(choosing.match(TypeExpression[Any]).to(of_text))
    ),
    choosing.edge_from(of_text).to(choosing.decision().branch(choosing.match(str).map().to(of_text))),
    choosing.edge_from(of_none).to(choosing.end_node),
)

# --- joins ---

folding = GraphBuilder(state_type=State, deps_type=Deps, input_type=list[int], output_type=int)


def longest(current: str, item: str) -> str:
    return max(current, item, key=len)


def tallied(ctx: ReducerContext[State, Deps], current: dict[str, int], item: str) -> dict[str, int]:
    ctx.state.total += ctx.deps.factor
    ctx.cancel_sibling_tasks()
    return {**current, item: 1}


def found(ctx: ReducerContext[State, object], current: str | None, item: str) -> str | None:
    return current or item


listed = folding.join(reduce_list_append, initial_factory=list[str], order="branch", preferred_parent_fork="closest")
assert_type(listed, Join[State, Deps, str, list[str]])
extended = folding.join(reduce_list_extend, initial_factory=list[int], parent_fork_id="f")
assert_type(extended, Join[State, Deps, Iterable[int], list[int]])
merged = folding.join(reduce_dict_update, initial_factory=dict[str, int])
assert_type(merged, Join[State, Deps, Mapping[str, int], dict[str, int]])
summed = folding.join(reduce_sum, initial=0)
assert_type(summed, Join[State, Deps, int, int])
waiting = folding.join(reduce_null, initial=None)
assert_type(waiting, Join[State, Deps, Any, None])
first = folding.join(ReduceFirstValue[str](), initial=None)
assert_type(first, Join[State, Deps, str, str])
first_or_empty = folding.join(ReduceFirstValue[str](), initial="")
assert_type(first_or_empty, Join[State, Deps, str, str])
longest_one = folding.join(longest, initial="")
assert_type(longest_one, Join[State, Deps, str, str])
tally = folding.join(tallied, initial_factory=dict[str, int])
assert_type(tally, Join[State, Deps, str, dict[str, int]])
search = folding.join(found, initial=None)
assert_type(search, Join[State, Deps, str, str | None])
typed: ReducerFunction[State, Deps, str, dict[str, int]] = tallied


@folding.step
async def worded(ctx: StepContext[State, Deps, int]) -> str:
    return ""


@folding.step
async def takes_str(ctx: StepContext[State, Deps, str]) -> int:
    return 1


@folding.step
async def takes_list(ctx: StepContext[State, Deps, list[str]]) -> int:
    return 1


folding.add(
    folding.edge_from(folding.start_node).map().to(worded),
    folding.edge_from(worded).to(listed, first, longest_one, tally, search, waiting),
    folding.edge_from(listed).to(takes_list),
    folding.edge_from(first, longest_one).to(takes_str),
    folding.edge_from(takes_str, takes_list).to(summed),
    folding.edge_from(tally).to(merged),
    folding.edge_from(summed).to(folding.end_node),
)

# --- a step on its own ---


async def alone() -> None:
    assert_type(await double.call(StepContext(state=State(), deps=Deps(1), inputs=2)), int)
    rows: Annotated[list[Row], "unused"] = []
    del rows


# --- every form a call can take ---

formal = GraphBuilder(
    name="formal", output_type=object, end="first", state_conflicts="error", max_steps=5, max_tasks=None
)


async def undecorated(ctx: StepContext[None, None, int]) -> str:
    return ""


async def yielding(ctx: StepContext[None, None, int]) -> AsyncIterator[str]:
    yield ""


named = formal.step(call=undecorated, node_id="named", label=None)
assert_type(named, Step[None, None, int, str])
assert_type(formal.step(node_id="other")(undecorated), Step[None, None, int, str])
assert_type(formal.stream(call=yielding), Step[None, None, int, AsyncIterable[str]])
assert_type(formal.start_node, StartNode[None])
assert_type(formal.end_node, EndNode[object])


@formal.step
async def one(ctx: StepContext[None, None, None]) -> int:
    return 1


@formal.step
async def words(ctx: StepContext[None, None, str]) -> tuple[str, ...]:
    return ()


formal.add(
    formal.edge_from(formal.start_node).label(label="by name").to(one, fork_id=None),
    formal.edge_from(one).broadcast(
        lambda e: [
            e.to(named),
            e.broadcast(lambda inner: [inner.to(named), inner.label("x").to(formal.end_node)], fork_id="inner"),
            e.to(formal.decision().branch(formal.match(int).label(label="all").to(named))),
        ]
    ),
    formal.edge_from(named, named, named, named, named).to(words),
    formal.edge_from(words).map().transform(lambda ctx: len(ctx.inputs)).to(formal.end_node),
)
formal.add_edge(source=one, destination=named)
formal.add_mapping_edge(source=words, map_to=words)
by_name = formal.join(reducer=reduce_sum, initial_factory=int, node_id="sum", parent_fork_id=None, order="arrival")
assert_type(by_name, Join[None, None, int, int])
built = formal.build(validate_graph_structure=False)
fork = built.nodes["one_broadcast"]
if isinstance(fork, Fork):
    assert_type(fork.is_map, bool)
shown: str = built.render(title="T", direction="LR")


@dataclass
class Count(BaseNode[State, Deps, int]):
    left: int

    async def run(self, ctx: GraphRunContext[State, Deps]) -> Count | End[int]:
        ctx.state.total += ctx.deps.factor
        return Count(self.left - 1) if self.left else End(ctx.state.total)


def class_nodes() -> Graph[State, Deps, int, int]:
    g = GraphBuilder(state_type=State, deps_type=Deps, input_type=int, output_type=int)

    @g.step
    async def begin(ctx: StepContext[State, Deps, int]) -> Count:
        return Count(ctx.inputs)

    add_up = g.join(reduce_sum, initial=0)
    assert_type(begin.as_node(3), StepNode[State, Deps])
    assert_type(add_up.as_node(3), JoinNode[State, Deps])
    g.add(g.node(Count), g.edge_from(g.start_node).to(begin), g.edge_from(begin).to(Count))
    g.add(g.edge_from(begin).to(g.decision().branch(g.match_node(Count))))
    return g.build()


async def stepping(graph: Graph[State, Deps, int, int]) -> int | None:
    async with graph.iter(state=State(), deps=Deps(2), inputs=3) as run:
        assert_type(run.state, State)
        assert_type(run.deps, Deps)
        assert_type(run.output, int | None)
        async for item in run:
            assert_type(item, EndMarker[int] | Sequence[GraphTask])
            if not isinstance(item, EndMarker):
                run.override_next([*item, GraphTaskRequest("begin", 3, item[0].fork_stack)])
        assert_type(await run.next(EndMarker(3)), EndMarker[int] | Sequence[GraphTask])
        return run.output
