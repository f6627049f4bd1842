"""The form of stored values: JSON text, in which everything JSON has no word for says what it is.

    null  true  3  0.5  "a"  […]  {"k": …}     what JSON has, as it is
    {"$": tag, "v": content}                    everything else, by its type at run time

Tags cost room and time, so where an annotation settles the type of every part of a value (it is *closed*), the value is
written without any. To read it back needs to be told apart from a real dict, hence the one rule of this format:

    **A stored value has all of its tags or none. If it has none, its annotation says what it is.**

A value that isn't what a closed annotation says, and has no tag of its own, is put into ``{"$":"any","v":…}``. Whether a
text has tags needs no parsing: inside a JSON string quotes are escaped, so ``{"$":`` only ever begins a tagged value. (A
dict with the key ``$`` is written as a list of pairs.) The rule holds when the code changes: a class that was closed when
a value was written, and has since got a version, a ``__post_init__`` or a tuple, still reads its old values.
"""

from __future__ import annotations

from typing import Final

TAG: Final = "$"
TAGGED: Final = b'{"$":'
"""What a tagged value, and nothing else, begins with."""

ANY: Final = "any"
"""The tag of a value that is not of the type its annotation says."""

BLOB: Final = "blob"
"""The tag of a reference to a value that is kept apart because of its size."""

MAX_DEPTH: Final = 64
"""How many lists, dicts and objects a value may nest."""

RESERVED: Final = frozenset({
    ANY, BLOB, "int", "float", "complex", "decimal", "fraction", "range", "bytes", "bytearray", "datetime", "date", "time",
    "timedelta", "uuid", "path", "purepath", "unset", "tuple", "set", "frozenset", "dict", "Counter", "OrderedDict",
    "defaultdict", "deque",
})  # fmt: skip
"""Names that no class may be stored under."""
