"""Declaring nodes: steps, streams, routers, joins and decisions."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import AsyncIterable, Callable
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any, Generic, Literal, Never, Protocol, TypedDict, TypeVar, Unpack, cast, overload

from perdure.errors import GraphSetupError
from perdure.graph.builder.annotations import annotated_types
from perdure.graph.builder.arguments import function_behind, is_immutable, is_local, one_of, why_not_local
from perdure.graph.nodes.decision import Decision, DecisionBranchBuilder
from perdure.graph.nodes.join import FoldOrder, Join, ReduceFirstValue, ReducerFunction
from perdure.graph.nodes.policies import JoinPolicy, OnError, StepOptions, join_policies, step_policies
from perdure.graph.nodes.router import Router, RouterFunction
from perdure.graph.nodes.step import PlainStepFunction, Step, StepFunction, StreamFunction
from perdure.graph.types import (
    MISSING,
    DepsT,
    InputT,
    Missing,
    OutputT,
    StateT,
    T,
    TypeExpression,
    callable_name,
    optional_text,
    text,
)

SourceT = TypeVar("SourceT")


class _JoinOptions(TypedDict, total=False):
    node_id: str | None
    parent_fork_id: str | None
    preferred_parent_fork: Literal["farthest", "closest"]
    order: FoldOrder
    on_error: OnError | None
    min_ok: int | None


class _Meeting(TypedDict, total=False):
    """What goes with a join policy."""

    cancel: bool
    on_error: OnError | None
    min_ok: int | None


class _JoinedStepOptions(StepOptions, _Meeting, total=False):
    pass


class StepDecorator(Protocol[StateT, DepsT]):
    """What ``@g.step(…)`` decorates with."""

    @overload
    def __call__(
        self, call: StepFunction[StateT, DepsT, InputT, OutputT], /
    ) -> Step[StateT, DepsT, InputT, OutputT]: ...

    @overload
    def __call__(
        self, call: PlainStepFunction[StateT, DepsT, InputT, OutputT], /
    ) -> Step[StateT, DepsT, InputT, OutputT]: ...

    def __call__(self, call: Any, /) -> Any:
        """Make a step of a function."""
        ...


class GatheringStepDecorator(Protocol[StateT, DepsT]):
    """What ``@g.step(join="all")`` decorates with: the function takes the list of what arrives."""

    @overload
    def __call__(
        self, call: StepFunction[StateT, DepsT, list[InputT], OutputT], /
    ) -> Step[StateT, DepsT, InputT, OutputT]: ...

    @overload
    def __call__(
        self, call: PlainStepFunction[StateT, DepsT, list[InputT], OutputT], /
    ) -> Step[StateT, DepsT, InputT, OutputT]: ...

    def __call__(self, call: Any, /) -> Any:
        """Make a step of a function."""
        ...


class NodeDeclarations(Generic[StateT, DepsT]):
    """The part of the builder that makes nodes which call user code, and those between them."""

    def __init__(self) -> None:
        self._problems: list[str] = []
        self._default_ids: Counter[str] = Counter()
        self._types: list[Any] = []

    @overload
    def step(
        self, *, join: Literal["each", "any"] = "each", **options: Unpack[_JoinedStepOptions]
    ) -> StepDecorator[StateT, DepsT]: ...

    @overload
    def step(
        self, *, join: Literal["all"] | int, **options: Unpack[_JoinedStepOptions]
    ) -> GatheringStepDecorator[StateT, DepsT]: ...

    @overload
    def step(
        self,
        call: StepFunction[StateT, DepsT, InputT, OutputT],
        *,
        join: Literal["each", "any"] = "each",
        **options: Unpack[_JoinedStepOptions],
    ) -> Step[StateT, DepsT, InputT, OutputT]: ...

    @overload
    def step(
        self,
        call: PlainStepFunction[StateT, DepsT, InputT, OutputT],
        *,
        join: Literal["each", "any"] = "each",
        **options: Unpack[_JoinedStepOptions],
    ) -> Step[StateT, DepsT, InputT, OutputT]: ...

    @overload
    def step(
        self,
        call: StepFunction[StateT, DepsT, list[InputT], OutputT],
        *,
        join: Literal["all"] | int,
        **options: Unpack[_JoinedStepOptions],
    ) -> Step[StateT, DepsT, InputT, OutputT]: ...

    def step(
        self,
        call: Callable[..., Any] | None = None,
        *,
        node_id: str | None = None,
        label: str | None = None,
        join: JoinPolicy = "each",
        cancel: bool = False,
        on_error: OnError | None = None,
        min_ok: int | None = None,
        **options: Any,
    ) -> Any:
        """Make a step of a function: an async one, or a plain one, which runs in a thread.

        Args:
            call: the function.
            node_id: the node's id; the function's name if it isn't given.
            label: what renderings show instead of the id.
            join: when it runs if several arms of a fork lead to it: ``"each"`` for every arrival, ``"all"`` once with the
                list of what they gave out, ``"any"`` with the first, a number k with the list of the first k.
            cancel: whether the arms that are left are cancelled when it has enough.
            on_error: with a join, what a failure in the arms comes to: ``"fail"``, ``"collect"`` or ``"wait"``.
            min_ok: with ``join="all"``, how many arms have to succeed at least.
            options: ``retry``, a ``Retry`` or a number of attempts; ``timeout`` of an attempt in seconds; ``executor`` for a
                plain function: ``"thread"``, ``"process"`` or the name of one of the engine's; ``effect`` and
                ``on_uncertain`` for what mustn't happen twice; ``max_crashes``; ``max_concurrency`` of this step.

        Raises:
            GraphSetupError: what is given is no function, or yields items, or an option can't be.
        """
        meeting: dict[str, Any] = {"join": join, "cancel": cancel, "on_error": on_error, "min_ok": min_ok}
        if call is None:
            given: dict[str, Any] = {**meeting, **options}
            return lambda function: self.step(function, node_id=node_id, label=label, **given)
        function = function_behind("g.step", call)
        if isasyncgenfunction(function):
            raise GraphSetupError(f"g.step: {callable_name(call)!r} yields items: decorate it with @g.stream")
        inputs, output = annotated_types(call)
        id_ = text("node_id", node_id if node_id is not None else callable_name(call))
        policies = step_policies(f"step {id_!r}", **_known_options("g.step", options))
        is_plain = not iscoroutinefunction(function)
        if policies.executor is not None and not is_plain:
            raise GraphSetupError(f"step {id_!r}: executor= is for plain functions, and this one is async")
        if policies.executor == "process" and is_local(call):
            raise GraphSetupError(why_not_local(id_, call))
        return Step(
            id=id_,
            call=call,
            label=optional_text("label", label),
            is_plain=is_plain,
            policies=policies,
            joining=join_policies(f"step {id_!r}", **meeting),
            input_type=inputs,
            output_type=output,
        )

    @overload
    def stream(
        self, *, resume: Literal["skip", "seek"] = "skip", **options: Unpack[StepOptions]
    ) -> Callable[
        [StreamFunction[StateT, DepsT, InputT, OutputT]], Step[StateT, DepsT, InputT, AsyncIterable[OutputT]]
    ]: ...

    @overload
    def stream(
        self,
        call: StreamFunction[StateT, DepsT, InputT, OutputT],
        *,
        resume: Literal["skip", "seek"] = "skip",
        **options: Unpack[StepOptions],
    ) -> Step[StateT, DepsT, InputT, AsyncIterable[OutputT]]: ...

    def stream(
        self,
        call: Callable[..., Any] | None = None,
        *,
        node_id: str | None = None,
        label: str | None = None,
        resume: Literal["skip", "seek"] = "skip",
        **options: Any,
    ) -> Any:
        """Make a stream step of an async generator function; each item it yields is mapped while it goes on.

        Args:
            call: the function.
            node_id: the node's id; the function's name if it isn't given.
            label: what renderings show instead of the id.
            resume: after a crash, ``"skip"`` runs the function from its beginning and drops the items that are
                recorded already; ``"seek"`` expects it to start at ``ctx.stream_offset``.
            options: as for :meth:`step`; ``timeout`` is between two items.

        Raises:
            GraphSetupError: what is given is no function, or yields no items, or an option can't be.
        """
        one_of("resume", resume, ("skip", "seek"))
        if call is None:
            return lambda function: self.stream(function, node_id=node_id, label=label, resume=resume, **options)
        if iscoroutinefunction(function_behind("g.stream", call)):
            raise GraphSetupError(
                f"g.stream: {callable_name(call)!r} yields no items: decorate it with @g.step, and map what it returns"
            )
        function = cast("StepFunction[StateT, DepsT, Any, AsyncIterable[Any]]", call)
        inputs, output = annotated_types(call)
        id_ = text("node_id", node_id if node_id is not None else callable_name(call))
        policies = step_policies(f"stream {id_!r}", **_known_options("g.stream", options))
        if policies.executor is not None:
            raise GraphSetupError(f"stream {id_!r}: executor= is for plain functions, and a stream is async")
        return Step(
            id=id_,
            call=function,
            label=optional_text("label", label),
            is_stream=True,
            resume=resume,
            policies=policies,
            input_type=inputs,
            output_type=output,
        )

    @overload
    def router(
        self, *, join: Literal["each", "any"] = "each", empty: Any = None, **options: Unpack[_JoinedStepOptions]
    ) -> Callable[[RouterFunction[StateT, DepsT, InputT]], Router[StateT, DepsT, InputT, InputT]]: ...

    @overload
    def router(
        self, *, join: Literal["all"] | int, empty: Any = None, **options: Unpack[_JoinedStepOptions]
    ) -> Callable[[RouterFunction[StateT, DepsT, list[InputT]]], Router[StateT, DepsT, InputT, list[InputT]]]: ...

    @overload
    def router(
        self,
        call: RouterFunction[StateT, DepsT, InputT],
        *,
        empty: Any = None,
        **options: Unpack[_JoinedStepOptions],
    ) -> Router[StateT, DepsT, InputT, InputT]: ...

    def router(
        self,
        call: Callable[..., Any] | None = None,
        *,
        node_id: str | None = None,
        label: str | None = None,
        empty: Any = None,
        join: JoinPolicy = "each",
        cancel: bool = False,
        on_error: OnError | None = None,
        min_ok: int | None = None,
        **options: Any,
    ) -> Any:
        """Make a router of an async function that says which of the node's edges a value takes.

        The function returns a node, the id of one, a ``Send(node, value)``, or a list of these; all that it chooses runs at
        once, as one batch. What isn't ``Send`` gets the router's own input.

        Args:
            call: the function.
            node_id: the node's id; the function's name if it isn't given.
            label: what renderings show instead of the id.
            empty: the node that a value goes to when the list is empty; without it, that is an error.
            join: as for :meth:`step`.
            cancel: as for :meth:`step`.
            on_error: as for :meth:`step`.
            min_ok: as for :meth:`step`.
            options: as for :meth:`step`, but for ``executor``.

        Raises:
            GraphSetupError: what is given is no async function, or an option can't be.
        """
        meeting: dict[str, Any] = {"join": join, "cancel": cancel, "on_error": on_error, "min_ok": min_ok}
        if call is None:
            given: dict[str, Any] = {**meeting, **options}
            return lambda function: self.router(function, node_id=node_id, label=label, empty=empty, **given)
        if not iscoroutinefunction(function_behind("g.router", call)):
            raise GraphSetupError(f"g.router: {callable_name(call)!r} isn't async: write async def")
        id_ = text("node_id", node_id if node_id is not None else callable_name(call))
        policies = step_policies(f"router {id_!r}", **_known_options("g.router", options))
        if policies.executor is not None:
            raise GraphSetupError(f"router {id_!r}: executor= is for plain functions, and a router is async")
        return Router(
            id=id_,
            call=call,
            label=optional_text("label", label),
            empty=empty,
            policies=policies,
            joining=join_policies(f"router {id_!r}", **meeting),
            input_type=annotated_types(call)[0],
        )

    # Its first value is what a race gives out, so it doesn't matter that what it starts from is of another type.
    @overload
    def join(
        self, reducer: ReduceFirstValue[T], *, initial: T | None, **options: Unpack[_JoinOptions]
    ) -> Join[StateT, DepsT, T, T]: ...

    @overload
    def join(
        self,
        reducer: ReducerFunction[StateT, DepsT, InputT, OutputT],
        *,
        initial: OutputT,
        **options: Unpack[_JoinOptions],
    ) -> Join[StateT, DepsT, InputT, OutputT]: ...

    @overload
    def join(
        self,
        reducer: ReducerFunction[StateT, DepsT, InputT, OutputT],
        *,
        initial_factory: Callable[[], OutputT],
        **options: Unpack[_JoinOptions],
    ) -> Join[StateT, DepsT, InputT, OutputT]: ...

    def join(
        self,
        reducer: Callable[..., Any],
        *,
        initial: Any = MISSING,
        initial_factory: Callable[[], Any] | Missing = MISSING,
        node_id: str | None = None,
        parent_fork_id: str | None = None,
        preferred_parent_fork: Literal["farthest", "closest"] = "farthest",
        order: FoldOrder = "arrival",
        on_error: OnError | None = None,
        min_ok: int | None = None,
    ) -> Join[StateT, DepsT, Any, Any]:
        """Make a join, which folds what arrives from the arms of a fork into one value.

        Args:
            reducer: a function of ``(current, item)`` or ``(ctx, current, item)`` that returns the new current value.
            initial: what every instance of the join starts from; a mutable one is copied for each instance.
            initial_factory: a function that makes what an instance starts from; give this or ``initial``.
            node_id: the node's id; the reducer's name if it isn't given.
            parent_fork_id: the fork whose arms are joined, where the default isn't the one meant.
            preferred_parent_fork: among the forks that qualify, take the farthest from the join, or the closest.
            order: fold in the order of ``"arrival"``, or of the ``"branch"``, which doesn't depend on timing.
            on_error: what a failure of a task before this join comes to: ``"fail"`` fails the run at once, ``"collect"``
                lets a ``Failure`` arrive here in place of a value, ``"wait"`` fails the run when the others are done.
            min_ok: how many of the arrivals have to be no failures; else the run fails with ``QuorumNotReached``.

        Raises:
            GraphSetupError: the reducer takes neither two nor three arguments, or both ``initial`` and
                ``initial_factory`` are given.
        """
        one_of("preferred_parent_fork", preferred_parent_fork, ("farthest", "closest"))
        one_of("order", order, ("arrival", "branch"))
        if iscoroutinefunction(function_behind("g.join", reducer)):
            raise GraphSetupError(f"g.join: the reducer {callable_name(reducer)!r} is async; make it a plain function")
        name = self._id_for(node_id, callable_name(reducer))
        policies = join_policies(f"join {name!r}", "all", on_error=on_error, min_ok=min_ok)
        return Join(
            id=name,
            reducer=reducer,
            initial_factory=self._initial(name, initial, initial_factory),
            parent_fork_id=optional_text("parent_fork_id", parent_fork_id),
            preferred_parent_fork=preferred_parent_fork,
            order=order,
            policies=policies,
        )

    def _initial(self, join: str, initial: Any, initial_factory: Callable[[], Any] | Missing) -> Callable[[], Any]:
        """Return a function that makes what an instance of a join starts from."""
        if not isinstance(initial_factory, Missing):
            if initial is not MISSING:
                raise GraphSetupError(f"g.join: join {join!r} is given both initial= and initial_factory=; give one")
            function_behind("initial_factory", initial_factory)
            return initial_factory
        if initial is MISSING:
            self._problems.append(f"join {join!r} has nothing to start from: give initial= or initial_factory=")
        return (lambda: initial) if is_immutable(initial) else (lambda: copy.deepcopy(initial))

    def decision(self, *, note: str | None = None, node_id: str | None = None) -> Decision[StateT, DepsT, Never]:
        """Make a decision; add its ways out with ``.branch(g.match(…).to(…))``.

        Args:
            note: text shown beside the node in renderings.
            node_id: the node's id; ``decision``, ``decision_2`` … if it isn't given.
        """
        return Decision(id=self._id_for(node_id, "decision"), note=optional_text("note", note))

    @overload
    def match(
        self, source: type[TypeExpression[SourceT]], *, matches: Callable[[Any], bool] | None = None
    ) -> DecisionBranchBuilder[StateT, DepsT, SourceT, SourceT, Never]: ...

    @overload
    def match(
        self, source: type[SourceT], *, matches: Callable[[Any], bool] | None = None
    ) -> DecisionBranchBuilder[StateT, DepsT, SourceT, SourceT, Never]: ...

    def match(
        self, source: Any, *, matches: Callable[[Any], bool] | None = None
    ) -> DecisionBranchBuilder[StateT, DepsT, Any, Any, Never]:
        """Begin a branch of a decision, for values of a type.

        Args:
            source: a class, a Literal, a union of these, or a ``TypeExpression``.
            matches: a further test; the branch is taken if it returns a true value.
        """
        return DecisionBranchBuilder(source=source, matches=matches)

    def _id_for(self, node_id: str | None, base: str) -> str:
        if node_id is not None:
            return text("node_id", node_id)
        self._default_ids[base] += 1
        count = self._default_ids[base]
        return base if count == 1 else f"{base}_{count}"


def _known_options(where: str, options: dict[str, Any]) -> dict[str, Any]:
    unknown = options.keys() - StepOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"{where}() has no argument {min(unknown)!r}")
    return options
