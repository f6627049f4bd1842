"""Redaction: what of users' values is kept out of the store.

The hook is called before a value is written, for the value and for every part of it, the outer ones first. What it returns takes
the part's place, in the log and for everything that follows: successors, joins, results and recovery read what was written. So a
run that has been interrupted goes on with what it would have had. (If live successors had the real value, a recovered run could
end differently from one that wasn't interrupted; see decisions/011.)

Everything that users' code makes and that is recorded passes here, values and texts alike: inputs, outputs, items, states and
changes of them, answers, signals, messages of errors with their tracebacks, titles of waits. Logs and spans tell what was
recorded, so they pass here, too.
"""

from __future__ import annotations

import copy
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from types import NoneType
from typing import Any, Final, TypeAlias

import msgspec

from perdure.codec.classes import is_enum, is_namedtuple, is_registrable
from perdure.codec.recipes import recipe_of
from perdure.codec.refusal import Refusal, at_field, at_key
from perdure.codec.tags import MAX_DEPTH
from perdure.errors import CodecError
from perdure.events import ErrorInfo
from perdure.kernel.state.draft import load
from perdure.kernel.state.operations import APPEND, EXCLUDE, INCLUDE, ORDER, SPLICE, Operation, frozen_operation
from perdure.kernel.state.tree import CONTAINERS, Opaque, Record, thaw
from perdure.kernel.state.versions import DictVersion, ListVersion, SetVersion

Redact: TypeAlias = Callable[[str, str, Any], Any]
"""A hook ``(where, path, value) -> value``.

``where`` is what the value belongs to: ``inputs``, ``output of fetch``, ``items of fetch``, ``state``, ``value`` (behind a transform
or out of a join), ``answer``, ``signal``, ``error``, ``title``. ``path`` is the place in it: ``$`` for the whole, ``$.user.password``,
``$.rows[3]['token']``, ``$.index.keys()`` for a key, ``$.message``, ``$.traceback`` and ``$.notes[0]`` of an error. What it returns takes
the place of the value; the same object leaves it as it is, and its parts are looked at. It must return the same for the
same arguments, and something that fits where the value was.
"""

_LEAVES: Final = frozenset({NoneType, bool, int, float, str, bytes, bytearray, complex})
_VERSIONS: Final = (ListVersion, DictVersion, SetVersion, Record, Opaque)
_FAILED: Final = "(left out: redact= has raised)"


class Redaction:
    """Calls a hook with values and their parts."""

    def __init__(self, hook: Redact) -> None:
        self._hook = hook

    def value(self, where: str, value: Any, path: str = "$", depth: int = 0) -> Any:
        """Return a value in which what the hook has replaced is replaced; the value itself is left alone.

        Raises:
            CodecError: the hook has raised. What was to be written isn't.
        """
        value = _plain(value)
        try:
            found = self._hook(where, path, value)
        except Exception as error:
            raise CodecError(
                f"redact= has raised {type(error).__name__}",  # and not what, which may hold what it was to keep out
                path=path,
                type_name=type(value).__name__,
                remedy="Nothing was written; make the hook take values of every type",
                where=where,
            ) from None
        if found is not value:
            return found
        return value if type(value) in _LEAVES or depth >= MAX_DEPTH else self._inside(where, value, path, depth + 1)

    def text(self, where: str, path: str, text: str) -> str:
        """Return a text, or what is to stand there; it never raises."""
        try:
            return str(self._hook(where, path, text))
        except Exception:  # what can't be looked at is left out
            return _FAILED

    def error(self, info: ErrorInfo) -> ErrorInfo:
        """Return an exception as data, without what isn't to be stored."""
        return ErrorInfo(
            info.type,
            self.text("error", "$.message", info.message),
            self.text("error", "$.traceback", info.traceback),
            tuple(self.text("error", f"$.notes[{place}]", note) for place, note in enumerate(info.notes)),
        )

    def json(self, where: str, data: bytes) -> bytes:
        """Return JSON from outside, without what isn't to be stored."""
        try:
            value = msgspec.json.decode(data)
        except msgspec.DecodeError:
            return data  # what is no JSON is refused by whoever reads it
        return msgspec.json.encode(self.value(where, value))

    def operations(self, operations: list[Operation]) -> list[Operation]:
        """Return changes of a state; the keys on the way to what is changed are looked at as well."""
        return [self._operation(operation) for operation in operations]

    def _operation(self, operation: Operation) -> Operation:
        verb, value, at = operation.verb, operation.value, "$"
        path: list[Any] = []
        for step in operation.path:
            is_field = type(step) is str and step.isidentifier()
            path.append(step if type(step) is int else self.value("state", step, f"{at}.keys()"))
            at += at_field(step) if is_field else at_key(step)
        if verb in (APPEND, INCLUDE, EXCLUDE, ORDER):
            value = self._parts("state", value, at, 1)
        elif verb == SPLICE:
            start, count, elements = value
            value = (start, count, self._parts("state", elements, at, 1))
        elif value is not None:
            value = self.value("state", value, at)
        return frozen_operation(verb, tuple(path), value)

    # --- parts ---

    def _parts(self, where: str, values: Iterable[Any], path: str, depth: int) -> list[Any]:
        return [self.value(where, part, f"{path}[{place}]", depth) for place, part in enumerate(values)]

    def _inside(self, where: str, value: Any, path: str, depth: int) -> Any:
        kind: Any = type(value)
        if isinstance(value, dict):
            return self._of_dict(where, value, path, depth)
        if isinstance(value, list | tuple | set | frozenset | deque) and not is_namedtuple(kind):
            parts = self._parts(where, value, path, depth)
            if all(new is old for new, old in zip(parts, value, strict=True)):
                return value
            return deque(parts, value.maxlen) if isinstance(value, deque) else kind(parts)
        if is_enum(kind) or not is_registrable(kind):
            return value  # what can't be stored is refused by whoever writes it
        try:
            recipe = recipe_of(kind)
            fields = recipe.parts(value)
            changed = {
                name: new
                for name, old in fields.items()
                if (new := self.value(where, old, path + at_field(name), depth)) is not old
            }
            return recipe.made({**fields, **changed}) if changed else value
        except Refusal as refusal:
            raise refusal.error().at(where) from None

    def _of_dict(self, where: str, value: dict[Any, Any], path: str, depth: int) -> Any:
        old = list(value.items())
        new = [
            (self.value(where, key, f"{path}.keys()", depth), self.value(where, part, path + at_key(key), depth))
            for key, part in old
        ]
        if all(key is known and part is there for (key, part), (known, there) in zip(new, old, strict=True)):
            return value
        made: Any = copy.copy(value)  # a defaultdict keeps its factory
        made.clear()
        for key, part in new:
            made[key] = part
        return made


def _plain(value: Any) -> Any:
    """Return the plain container that a draft, or a version, of one in the state stands for."""
    kind = type(value)
    if kind in _VERSIONS:
        return thaw(value)
    plain: Any = CONTAINERS.get(kind)
    if plain is None or plain is kind:
        return value
    load(value)
    return defaultdict(value.default_factory, value) if plain is defaultdict else plain(value)
