"""Bringing a committed state back into the object the caller gave.

It is changed in place as far as it can be, because others may hold it and its parts. A part that stands in two places of
the caller's object is changed at the first; at the second a new one takes its place, since the state is a tree, in which
the two went their own ways. What can't be taken apart is replaced, and only if it was changed; at the top, where nothing
holds what would be replaced, it takes over what its new self holds.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from perdure.kernel.state.equality import same
from perdure.kernel.state.shapes import slots_of
from perdure.kernel.state.tree import Opaque, Record, thaw
from perdure.kernel.state.versions import DictVersion, ListVersion, SetVersion


def restore(target: Any, tree: Any) -> Any:
    """Change an object, in place as far as it can be, to what a tree holds; return it, or what has to take its place."""
    restored = _Restoring().restore(target, tree)
    if restored is not target and isinstance(tree, Opaque) and type(restored) is type(target):
        _become(target, restored)
        return target
    return restored


class _Restoring:
    """One state being brought back."""

    def __init__(self) -> None:
        self._done: dict[int, Any] = {}  # by id; they are held, so that no other object gets an id of theirs

    def restore(self, target: Any, tree: Any) -> Any:
        if id(target) in self._done:
            return thaw(tree)
        if isinstance(tree, Record) and type(target) is tree.shape.cls:
            self._done[id(target)] = target
            self._record(target, tree)
            return target
        if isinstance(tree, ListVersion) and type(target) is list:
            self._done[id(target)] = target
            elements = tree.to_list()
            kept = [self.restore(*pair) for pair in zip(target, elements, strict=False)]
            target[:] = kept + [thaw(value) for value in elements[len(kept) :]]
            return target
        if isinstance(tree, DictVersion) and isinstance(target, dict) and type(target) is tree.kind:
            self._done[id(target)] = target
            items = {
                key: self.restore(target[key], value) if key in target else thaw(value)
                for key, value in tree.to_dict().items()
            }
            target.clear()
            target.update(items)
            return target
        if isinstance(tree, SetVersion) and type(target) is set:
            self._done[id(target)] = target
            members = tree.to_set()
            target.intersection_update(members)
            target.update(members)
            return target
        if isinstance(tree, Opaque):
            return target if same(tree.value, target) else thaw(tree)
        return thaw(tree)

    def _record(self, target: Any, tree: Record) -> None:
        shape = tree.shape
        present = dict(shape.read(target))
        for name, value in tree.fields.items():
            if name not in present:
                shape.write(target, name, thaw(value))
                continue
            restored = self.restore(present[name], value)
            if restored is not present[name]:
                shape.write(target, name, restored)
        for name in present.keys() - tree.fields.keys():
            shape.delete(target, name)


def _become(target: Any, other: Any) -> None:
    """Let an object take over what another one of its class holds."""
    if isinstance(target, list | bytearray):
        target[:] = other
    elif isinstance(target, deque):
        target.clear()
        target.extend(other)
    elif isinstance(target, dict | set):
        target.clear()
        target.update(other)
    if hasattr(target, "__dict__"):
        target.__dict__.clear()
        target.__dict__.update(other.__dict__)
    for slot in slots_of(type(target)).values():
        try:
            slot.__set__(target, slot.__get__(other))
        except AttributeError:  # never set there, or read only
            continue
