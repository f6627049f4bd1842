"""Evaluating flows: what user code decides on the way out of a node.

Transforms and matches are called here, once, in the attempt of the node they follow; what they say becomes a
:class:`~perdure.events.Route`, which the kernel walks. A map over a collection is taken apart at once. A map over
anything else that can be iterated is a stream: its items are taken while the task goes on (``streams.py``).
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Collection, Coroutine, Iterable, Sequence
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

import msgspec

from perdure.engine.calling.context import EntryContext
from perdure.engine.calling.values import Values
from perdure.errors import GraphRuntimeError
from perdure.events import Items, Route
from perdure.graph.flow import (
    Choose,
    Enter,
    Flow,
    Leaf,
    Pick,
    Split,
    Spread,
    Transform,
    flows_within,
    needs_value,
    subflows,
)
from perdure.graph.graph import Graph
from perdure.graph.nodes.conditions import Condition
from perdure.graph.nodes.router import Send
from perdure.graph.nodes.step import AnyStep, Step
from perdure.graph.plan import NodeKind
from perdure.kernel.decide.results import Chunks

T = TypeVar("T")

_DEEPEST = 1000


def _awaited(node: Any) -> AnyStep | None:
    """Return a step that runs in the event loop for as long as it likes; None for any other node."""
    if not isinstance(node, Step) or node.is_plain or node.policies.timeout_s is not None:
        return None
    return node


class Context(Protocol):
    """What a transform is given, and how it is made for the next one."""

    @property
    def state(self) -> Any:
        """The state of the run."""
        ...

    def with_inputs(self, inputs: Any) -> Any:
        """Return the same context with other inputs."""
        ...


class Evaluated(msgspec.Struct):
    """What was decided.

    Attributes:
        route: what the kernel needs to walk the flow, or None where nothing was decided.
        maps: for each map directly behind the node, its items.
        stream: what is to be iterated for all its maps, if it is no collection.
        mapped: the maps that a stream feeds, each with the node whose output type describes the items.
    """

    route: Route | None = None
    maps: tuple[Chunks, ...] = ()
    stream: Any = None
    mapped: tuple[tuple[Spread, str], ...] = ()


class Flows:
    """The flows of a graph with the functions that belong to them."""

    def __init__(self, graph: Graph[Any, Any, Any, Any]) -> None:
        self._nodes = graph.plan.nodes
        self._transforms = graph.transforms
        self._matches = graph.matches
        self._static: dict[int, bool] = {}
        self.is_static: dict[str, bool] = {id_: self._decides_nothing(node.flow) for id_, node in self._nodes.items()}
        self.needs_output: dict[str, bool] = {
            id_: self._needs_output(node.flow, frozenset()) for id_, node in self._nodes.items()
        }
        self.awaited: dict[str, AnyStep | None] = {
            id_: _awaited(graph.nodes.get(id_)) if node.kind is NodeKind.STEP else None
            for id_, node in self._nodes.items()
        }
        """The steps whose bodies are just awaited, and None for every other node."""
        self.has_waits: bool = any(node.kind is NodeKind.WAIT for node in self._nodes.values())

    def _needs_output(self, flow: Flow | None, through: frozenset[str]) -> bool:
        """Say whether a value itself travels on, also through decisions, and not only what is made of it on its way."""
        if flow is None or not needs_value(flow):
            return flow is None
        return any(
            flow_through is None
            or (leaf.target not in through and self._needs_output(flow_through, through | {leaf.target}))
            for leaf in _leaves_with_the_value(flow)
            for flow_through in (self._flow_through(leaf),)
        )

    def _decides_nothing(self, flow: Flow | None) -> bool:
        """Say whether a flow is only edges and broadcasts."""
        if flow is None:
            return True
        known = self._static.get(id(flow))
        if known is None:
            known = all(
                isinstance(part, Split)
                or (isinstance(part, Enter) and not part.has_state)
                or (isinstance(part, Leaf) and self._decides_nothing(self._flow_through(part)))
                for part in flows_within(flow)
            )
            self._static[id(flow)] = known
        return known

    def _flow_through(self, leaf: Leaf) -> Flow | None:
        """Return where a value goes at once that arrives at a decision or at the entry of a group."""
        node = self._nodes[leaf.target]
        return node.flow if node.kind in (NodeKind.DECISION, NodeKind.GROUP) else None

    def calls_user_code(self, flow: Flow | None) -> bool:
        """Say whether evaluating a flow calls a transform or a match."""
        return flow is not None and any(
            isinstance(part, Transform | Choose | Pick)
            or (isinstance(part, Enter) and part.has_state)
            or (isinstance(part, Leaf) and self.calls_user_code(self._flow_through(part)))
            for part in flows_within(flow)
        )

    async def evaluate(self, node: str, value: Any, context: Context, values: Values, choices: Any = None) -> Evaluated:
        """Decide the ways on from a node that gave out a value.

        Args:
            node: the node.
            value: the value.
            context: what transforms are given.
            values: how values are recorded.
            choices: what a router has returned.

        Raises:
            Exception: what a transform or a match raised.
            GraphRuntimeError: no branch of a decision takes a value, or something that is mapped can't be iterated.
            CodecError: with a store, a value can't be stored.
        """
        flow = self._nodes[node].flow
        if flow is None or self.is_static[node]:
            return Evaluated()
        evaluation = _Evaluation(self, node, context, values)
        if isinstance(flow, Pick):
            await evaluation.pick(flow, choices, value)
        else:
            await evaluation.follow(flow, value, node, 0)
        return evaluation.outcome()

    async def evaluate_arrival(self, target: str, value: Any, context: Context, values: Values) -> Evaluated:
        """Decide the ways on of a value that is put at a node: through a decision, or into a group.

        Raises:
            Exception: as for :meth:`evaluate`.
        """
        evaluation = _Evaluation(self, target, context, values)
        await evaluation.follow(Leaf(target), value, "", 0)
        return evaluation.outcome()

    async def evaluate_item(self, spread: Spread, item: Any, by: str, context: Context, values: Values) -> Route | None:
        """Decide the way of one item of a stream behind its map."""
        if self._decides_nothing(spread.then):
            return None
        evaluation = _Evaluation(self, spread.fork, context, values, inner=True)
        await evaluation.follow(spread.then, item, by, 0)
        return evaluation.route() or Route()


def _leaves_with_the_value(flow: Flow) -> list[Leaf]:
    """Return where the value itself arrives."""
    if isinstance(flow, Leaf):
        return [flow]
    if isinstance(flow, Transform | Spread):
        return []
    return [leaf for part in subflows(flow) for leaf in _leaves_with_the_value(part)]


_known: WeakKeyDictionary[Graph[Any, Any, Any, Any], Flows] = WeakKeyDictionary()


def flows_of(graph: Graph[Any, Any, Any, Any]) -> Flows:
    """Return the flows of a graph, made once for each."""
    flows = _known.get(graph)
    if flows is None:
        flows = _known[graph] = Flows(graph)
    return flows


class _Evaluation:
    """One evaluation: the decisions made so far."""

    def __init__(self, flows: Flows, node: str, context: Context, values: Values, *, inner: bool = False) -> None:
        self._flows = flows
        self._node = node
        self._context = context
        self._values = values
        self._inner = inner
        self._chosen: list[int] = []
        self._recorded: list[Any] = []
        self._spreads: list[Items] = []
        self._maps: list[Chunks] = []
        self._stream: Any = None
        self._mapped: list[tuple[Spread, str]] = []

    def route(self) -> Route | None:
        if self._chosen or self._recorded or self._spreads:
            return Route(tuple(self._chosen), tuple(self._recorded), tuple(self._spreads))
        return None

    def outcome(self) -> Evaluated:
        if self._mapped and self._maps:
            raise GraphRuntimeError(
                f"node {self._node!r} maps a stream on one edge and a collection on another: turn the one into a list, or "
                "give out the items in two steps"
            )
        return Evaluated(self.route(), tuple(self._maps), self._stream, tuple(self._mapped))

    async def follow(self, flow: Flow, value: Any, by: str, depth: int) -> None:
        if depth > _DEEPEST:
            raise GraphRuntimeError(f"node {self._node!r}: its value goes through decisions and maps without an end")
        if isinstance(flow, Leaf):
            through = self._flows._flow_through(flow)
            if isinstance(through, Choose):
                await self._choose(flow.target, through, value, by, depth)
            elif through is not None:
                await self.follow(through, value, by, depth + 1)
        elif isinstance(flow, Transform):
            await self.follow(flow.then, self._transformed(flow, value), "", depth + 1)
        elif isinstance(flow, Split):
            for arm in flow.arms:
                await self.follow(arm, value, by, depth + 1)
        elif isinstance(flow, Spread):
            await self._spread(flow, value, by, depth)
        elif isinstance(flow, Enter):
            await self._enter(flow, value, by, depth)

    async def _enter(self, flow: Enter, value: Any, by: str, depth: int) -> None:
        """Go into a subgraph; what follows at once works on the state that begins there, before it is recorded."""
        if not flow.has_state:
            await self.follow(flow.then, value, by, depth + 1)
            return
        outer = self._context
        begun = self._flows._transforms[flow.slot](outer.with_inputs(value))
        place = len(self._recorded)
        self._recorded.append(None)
        self._context = EntryContext(outer.with_inputs(value), begun, value)
        try:
            await self.follow(flow.then, value, by, depth + 1)
        finally:
            self._context = outer
        self._recorded[place] = self._values.record("", begun)

    def _transformed(self, flow: Transform, value: Any) -> Any:
        changed = self._flows._transforms[flow.slot](self._context.with_inputs(value))
        if isinstance(changed, Coroutine):
            changed.close()
            raise GraphRuntimeError(f"node {self._node!r}: a transform is async; make it a plain function, or a step")
        needed = needs_value(flow.then)
        self._recorded.append(self._values.record("", changed) if needed else self._values.nothing)
        return changed

    async def pick(self, flow: Pick, choices: Any, value: Any) -> None:
        """Take the ways that a router has chosen."""
        chosen = [choices] if isinstance(choices, str | Send) or not isinstance(choices, Sequence) else list(choices)
        ways = [_way(self._node, flow, choice) for choice in chosen]
        if not ways:
            if flow.empty is None:
                raise GraphRuntimeError(
                    f"router {self._node!r} has chosen nothing: return at least one node, or say where a value goes then, "
                    "@g.router(empty=…)"
                )
            ways = [flow.empty]
            chosen = [None]
        self._chosen.append(len(ways))
        for way, choice in zip(ways, chosen, strict=True):
            sent = choice.value if isinstance(choice, Send) else value
            self._chosen.append(2 * way + isinstance(choice, Send))
            if isinstance(choice, Send):
                self._recorded.append(self._values.record("", sent))
            await self.follow(flow.arms[way], sent, "" if isinstance(choice, Send) else self._node, 1)

    async def _choose(self, decision: str, flow: Choose, value: Any, by: str, depth: int) -> None:
        for place, branch in enumerate(flow.branches):
            test = self._flows._matches[branch.slot]
            if test.holds(self._context, value) if isinstance(test, Condition) else test(value):
                self._chosen.append(place)
                await self.follow(branch.then, value, by, depth + 1)
                return
        raise GraphRuntimeError(
            f"decision {decision!r}: no branch takes {value!r:.100} of type {type(value).__name__}; add a branch for it, "
            "or a last one that takes everything: .branch(g.match(object).to(…)), in JSON an edge without a condition"
        )

    async def _spread(self, flow: Spread, value: Any, by: str, depth: int) -> None:
        if isinstance(value, Collection):
            items = list(value)
        elif self._inner:
            items = await _collected(value, self._node)
        elif isinstance(value, AsyncIterable | Iterable):
            self._feed(flow, value, by)
            return
        else:
            raise _not_iterable(self._node, value)
        routes = None
        if not self._flows._decides_nothing(flow.then):
            routes = []
            for item in items:
                inner = _Evaluation(self._flows, flow.fork, self._context, self._values, inner=True)
                await inner.follow(flow.then, item, "", depth + 1)
                routes.append(inner.route() or Route())
        if self._inner:
            self._spreads.append(self._as_one(by, items, routes, flow))
        else:
            self._maps.append(self._values.record_items(by, items, routes, needs_value(flow.then)))

    def _as_one(self, by: str, items: list[Any], routes: list[Route] | None, flow: Spread) -> Items:
        recorded = self._values.record("", items) if needs_value(flow.then) else self._values.nothing
        return Items(len(items), recorded, tuple(routes) if routes is not None else None)

    def _feed(self, flow: Spread, value: Any, by: str) -> None:
        if isinstance(self._context, EntryContext) and self._flows.calls_user_code(flow.then):
            raise GraphRuntimeError(
                f"node {self._node!r} gives a stream into a subgraph that maps it at once, with a transform or a decision "
                "behind the map: put a step before the map, inside the subgraph"
            )
        if self._stream is not None and self._stream is not value:
            raise GraphRuntimeError(
                f"node {self._node!r} gives two different streams to map: give out one, and transform its items in steps"
            )
        self._stream = value
        self._mapped.append((flow, by))


def _way(router: str, flow: Pick, choice: Any) -> int:
    """Return the way that a choice names."""
    node = choice.node if isinstance(choice, Send) else choice
    name = node if isinstance(node, str) else getattr(node, "id", None)
    if name not in flow.targets:
        shown = repr(name) if name is not None else f"{node!r:.80}"
        raise GraphRuntimeError(
            f"router {router!r} has chosen {shown}, to which it has no edge; it has edges to "
            f"{', '.join(map(repr, flow.targets))}"
        )
    return flow.targets.index(name)


def _not_iterable(node: str, value: Any) -> GraphRuntimeError:
    return GraphRuntimeError(
        f"node {node!r}: the output of type {type(value).__name__} is mapped, but can't be iterated; return a list, or "
        "another iterable"
    )


async def _collected(value: Any, node: str) -> list[Any]:
    """Return the items of an inner map, which are recorded with those of the outer one."""
    if isinstance(value, AsyncIterable):
        return [item async for item in value]
    if isinstance(value, Iterable):
        return list(value)
    raise _not_iterable(node, value)


def run_now(coroutine: Coroutine[Any, Any, T], what: str) -> T:
    """Run a coroutine that doesn't wait for anything.

    Raises:
        GraphRuntimeError: it does.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise GraphRuntimeError(f"{what} would have to wait here; put a step behind it that does")
