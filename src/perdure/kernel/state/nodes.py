"""The nodes of a committed tree: what the values of a state are kept as (``tree.py``)."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from types import NoneType
from typing import Any

from perdure.kernel.state.shapes import Shape

SIMPLE = frozenset({NoneType, bool, int, float, str, bytes, complex})
"""Types whose values are their own nodes, found out fast."""

CONTAINERS: dict[type, type] = {kind: kind for kind in (list, set, dict, Counter, OrderedDict, defaultdict)}
"""The classes whose objects are kept as versions, and the builtin each stands for; drafts add theirs."""


class Record:
    """An object of a user's class in a committed state: immutable, with fields in committed form."""

    __slots__ = ("fields", "shape")

    def __init__(self, shape: Shape, fields: dict[str, Any]) -> None:
        self.shape: Shape = shape
        self.fields: dict[str, Any] = fields

    def changed(self, replaced: dict[str, Any], deleted: tuple[str, ...] = ()) -> Record:
        """Return the record with fields replaced and others deleted."""
        fields = {**self.fields, **replaced}
        for name in deleted:
            fields.pop(name, None)
        return Record(self.shape, fields)


class Opaque:
    """A mutable value whose inside isn't known or can't be changed by parts; it is replaced as a whole or not at all.

    Attributes:
        inside: the parts of an immutable object with mutable ones inside, so that its drafts needn't be deep copies;
            made when the first draft is.
    """

    __slots__ = ("inside", "value")

    def __init__(self, value: Any) -> None:
        self.value: Any = value
        self.inside: Record | None = None
