"""The mark in the storage of a lazy container, where its content isn't yet.

C code that is handed a list or a dict may read its storage without calling any method: heapq does, orjson, msgspec and
pydantic do. It must not take the mark for content. Comparing the mark, calling it, iterating over it, looking at its
attributes raises. Encoders don't do any of that with an object they don't know: pydantic passes it through, with no more
than a warning. So it declares itself a dataclass, which they do take apart: the first field holds an object that no encoder
knows, and reading the second raises.

Three marks are in the storage of a list, because with fewer heapq finds nothing to compare.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NoReturn

from perdure.errors import GraphRuntimeError

_REMEDY = (
    "this part of the state hasn't been read yet, and C code looked straight into its storage; hand it a copy instead: "
    "copy.deepcopy(…), list(…), dict(…) or set(…)"
)

# encoders name the type of what they can't encode, so its name is the message
_Unknown = type("part of the state that hasn't been read: hand over a copy.deepcopy(…) of it", (), {"__slots__": ()})


@dataclasses.dataclass(init=False, repr=False, eq=False)
class Unread:
    """What the storage of a lazy container holds instead of its content."""

    __slots__ = ("content", "unknown")
    unknown: Any
    content: Any

    def __init__(self) -> None:
        self.unknown = _Unknown()

    def _refuse(self, *_: object) -> NoReturn:
        raise refusal()

    __lt__ = __gt__ = __le__ = __ge__ = __eq__ = __ne__ = __add__ = __radd__ = _refuse
    __iter__ = __len__ = __bool__ = __getitem__ = __contains__ = __call__ = __str__ = __reduce_ex__ = _refuse
    __hash__ = object.__hash__

    def __getattr__(self, name: str) -> NoReturn:
        raise refusal()

    def __repr__(self) -> str:
        return f"<unread: {_REMEDY}>"


def refusal() -> GraphRuntimeError:
    """Return the error for code that looked into the storage of a lazy container."""
    return GraphRuntimeError(_REMEDY)


UNREAD = Unread()
MARKS = (UNREAD, UNREAD, UNREAD)
