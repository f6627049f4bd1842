"""Operations: what a commit does to the state, as recorded.

    set     put a value at a path                    add      add to a number whose field is declared additive
    delete  remove what is at a path                 merge    add to a number because others had changed it too
    append  add elements to the end of a list        splice   replace a stretch of a list: (start, count, elements)
    include add members to a set                     exclude  remove members from a set
    order   move keys to the end of a dict, in this order

They are resolved against the state at commit, so applying them, live and on replay, is mechanical and calls nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from perdure.errors import GraphRuntimeError
from perdure.kernel.state.tree import Record, freeze
from perdure.kernel.state.versions import ABSENT, DictVersion, ListVersion

SET: Final = "set"
DELETE: Final = "delete"
ADD: Final = "add"
MERGE: Final = "merge"
APPEND: Final = "append"
SPLICE: Final = "splice"
INCLUDE: Final = "include"
EXCLUDE: Final = "exclude"
ORDER: Final = "order"


class Operation(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One change of the state; the value is in committed form."""

    verb: str
    path: tuple[Any, ...]
    value: Any = None


def frozen_operation(verb: str, path: tuple[Any, ...], value: Any) -> Operation:
    """Return an operation that was read from a log, with its value in committed form."""
    if verb == APPEND:
        return Operation(verb, path, [freeze(part) for part in value])
    if verb == SPLICE:
        start, count, elements = value
        return Operation(verb, path, (start, count, [freeze(part) for part in elements]))
    return Operation(verb, path, value if verb in (INCLUDE, EXCLUDE, ORDER) else freeze(value))


def apply_operations(tree: Any, operations: Sequence[Operation]) -> Any:
    """Return the next version of a state.

    Raises:
        GraphRuntimeError: an operation doesn't fit the state it is applied to.
    """
    for operation in operations:
        try:
            tree = _at(tree, operation.path, 0, operation)
        except (TypeError, LookupError, AttributeError, OverflowError) as error:
            raise _misfit(operation) from error
    return tree


def _at(tree: Any, path: tuple[Any, ...], depth: int, operation: Operation) -> Any:
    if depth == len(path):
        return _VERBS[operation.verb](tree, operation.value)
    key = path[depth]
    kind = type(tree)
    if kind is Record:
        value = _at(tree.fields.get(key, ABSENT), path, depth + 1, operation)
        return tree.changed({}, (key,)) if value is ABSENT else tree.changed({key: value})
    if kind is DictVersion:
        value = _at(tree.get(key), path, depth + 1, operation)
        return tree.changed({}, (key,)) if value is ABSENT else tree.changed({key: value})
    if kind is ListVersion:
        return tree.changed({key: _at(tree.get(key), path, depth + 1, operation)})
    raise _misfit(operation)


def _misfit(operation: Operation) -> GraphRuntimeError:
    return GraphRuntimeError(
        f"the state holds nothing at {'.'.join(map(str, operation.path))!r} that {operation.verb!r} could be done to. The "
        "type of the state must have changed in a way that old changes don't fit; add an upcast for it"
    )


def _splice(tree: ListVersion, value: tuple[int, int, list[Any]]) -> ListVersion:
    start, count, elements = value
    if start + count == len(tree):
        return tree.changed({}, elements, keep=start)
    data = tree.to_list()
    data[start : start + count] = elements
    return ListVersion(data)


def _order(tree: DictVersion, keys: list[Any]) -> DictVersion:
    return tree.changed({key: value for key in keys if (value := tree.get(key)) is not ABSENT}, keys)


_VERBS: dict[str, Callable[[Any, Any], Any]] = {
    SET: lambda tree, value: value,
    DELETE: lambda tree, value: ABSENT,
    ADD: lambda tree, value: tree + value,
    MERGE: lambda tree, value: tree + value,
    APPEND: lambda tree, value: tree.changed({}, value),
    SPLICE: _splice,
    INCLUDE: lambda tree, value: tree.changed(value, ()),
    EXCLUDE: lambda tree, value: tree.changed((), value),
    ORDER: _order,
}
