"""The committed state of a run, and the transactions that tasks work in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from perdure.errors import StateConflict
from perdure.kernel.state.declared import Declared
from perdure.kernel.state.difference import Difference, Fields, difference
from perdure.kernel.state.draft import draft
from perdure.kernel.state.merge import Merged
from perdure.kernel.state.operations import Operation, apply_operations
from perdure.kernel.state.tree import SIMPLE, freeze, not_a_tree
from perdure.kernel.state.versions import DictVersion


class Proposal(msgspec.Struct, frozen=True, gc=False):
    """What a transaction wants to change."""

    base: Any
    base_seq: int
    change: Difference


class Committed:
    """The newest version of a run's state.

    Attributes:
        declared: the merges declared for the keys of a TypedDict, which carries no class of its own.
    """

    __slots__ = ("_frozen", "_newest", "declared")

    def __init__(self, value: Any = None, declared: Mapping[str, Declared] | None = None, seq: int = 0) -> None:
        """Take a copy of a value.

        Raises:
            GraphRuntimeError: the value isn't a tree, or can't be copied.
        """
        try:
            tree = freeze(value)
        except RecursionError as error:
            raise not_a_tree() from error
        # one attribute, so that a task in a thread can't see the tree of one version and the seq of another
        self._newest = (tree, seq)
        self._frozen: Committed | None = None
        self.declared: Mapping[str, Declared] = declared or {}

    @property
    def tree(self) -> Any:
        """The state in committed form."""
        return self._newest[0]

    @property
    def seq(self) -> int:
        """The seq of the event that made this version."""
        return self._newest[1]

    @property
    def newest(self) -> tuple[Any, int]:
        """The state in committed form, and the seq of the event that made it."""
        return self._newest

    def frozen(self) -> Committed:
        """Return this version, to be read after others have followed."""
        version = self._frozen
        if version is None or version._newest is not self._newest:  # many arrivals in a row see the same version
            version = self._frozen = Committed.__new__(Committed)
            version._newest, version._frozen, version.declared = self._newest, None, self.declared
        return version

    def merged(self, proposal: Proposal) -> Merged:
        """Return what a proposal comes to against the state as it is now.

        Raises:
            StateConflict: a declared merge refuses, or fails.
        """
        merged = Merged()
        base, change, current = proposal.base, proposal.change, self._newest[0]
        if self.declared and isinstance(base, DictVersion) and isinstance(change, Fields):
            merged.items(base, change, current, (), self.declared.get)
        else:
            merged.merge(base, change, current, ())
        return merged

    def apply(self, operations: list[Operation], seq: int) -> None:
        """Make the next version.

        Raises:
            GraphRuntimeError: an operation doesn't fit the state.
        """
        self._newest = (apply_operations(self._newest[0], operations), seq)


class Transaction:
    """One attempt's work on the state: pinned at the first touch, compared at the end."""

    __slots__ = ("_base", "_committed", "_draft", "_pinned", "_seq")

    def __init__(self, committed: Committed) -> None:
        self._committed = committed
        self._pinned = False
        self._base: Any = None
        self._seq = 0
        self._draft: Any = None

    @property
    def state(self) -> Any:
        """The state to work on."""
        if not self._pinned:
            self._base, self._seq = self._committed.newest
            self._draft = draft(self._base)
            self._pinned = True
        return self._draft

    @property
    def base(self) -> Any:
        """The version that is worked on, in committed form; asking for it touches the state."""
        _ = self.state
        return self._base

    def proposal(self) -> Proposal | None:
        """Return what was changed, or None.

        Raises:
            GraphRuntimeError: the changed state isn't a tree, or can't be copied.
        """
        if not self._pinned or type(self._base) in SIMPLE:
            return None
        try:
            change = difference(self._base, self._draft)
        except RecursionError as error:
            raise not_a_tree() from error
        return Proposal(self._base, self._seq, change) if change is not None else None


def refuse_conflicts(merged: Merged) -> None:
    """Raise if a merge overwrote or added up concurrent changes.

    Raises:
        StateConflict: it did.
    """
    if merged.conflicts or merged.additions:
        paths = ", ".join(sorted({*merged.conflicts, *merged.additions}))
        raise StateConflict(
            f"two tasks changed {paths} of the state at once: declare how to merge it, as in Annotated[int, add], or let "
            "only one of them write it"
        )
