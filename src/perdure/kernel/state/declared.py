"""Declared merges: what an annotation says of how a field is merged, as in ``total: Annotated[int, add]``.

Objects carry their class, and with it the declarations of their fields. A TypedDict carries none: to its keys they apply
wherever the annotations above say that it stands, at the top of the state, in a field, or in a list or dict.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Final, ForwardRef, Union, get_args, get_origin, get_type_hints

import msgspec
import typing_extensions as te

from perdure.errors import GraphSetupError

FieldMerge = Callable[[Any, Any, Any], Any]


class Declared(msgspec.Struct, frozen=True):
    """What is declared of one place in the state.

    Attributes:
        merge: the function that merges it.
        typed: the TypedDict that it holds.
        parts: what is declared of the elements of a list, or the values of a dict, that it holds.
    """

    merge: FieldMerge | None = None
    typed: Any = None
    parts: Declared | None = None

    def key(self, key: Any) -> Declared | None:
        """Return what is declared of a key of a dict."""
        return self.parts if self.typed is None else declared_merges(self.typed).get(key)


@functools.cache
def declared_merges(cls: Any) -> Mapping[str, Declared]:
    """Return what is declared of the fields of a class, or of the keys of a TypedDict.

    Raises:
        GraphSetupError: a declaration can't be evaluated, or what it names isn't a function of (current, base, mine).
    """
    found = {name: _declared(hint, f"{cls.__name__}.{name}") for name, hint in _hints(cls).items()}
    return {name: declared for name, declared in found.items() if declared is not None}


def _hints(cls: Any) -> dict[str, Any]:
    try:
        return get_type_hints(cls, include_extras=True)
    except Exception:
        return _hints_one_by_one(cls)


def _hints_one_by_one(cls: Any) -> dict[str, Any]:
    """Evaluate what can be evaluated: a name that only a type checker imports must not cost the other fields theirs."""
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        scope = {**vars(sys.modules.get(base.__module__, types)), **vars(base)}
        for name, annotation in inspect.get_annotations(base).items():
            text = annotation.__forward_arg__ if isinstance(annotation, ForwardRef) else annotation
            if not isinstance(text, str):
                hints[name] = annotation
                continue
            try:
                hints[name] = eval(text, scope)  # noqa: S307
            except Exception as error:
                if "Annotated" in text:
                    raise GraphSetupError(
                        f"the annotation {text!r} of {cls.__name__}.{name} may declare how the field is merged, and can't "
                        f"be evaluated ({error}): define what it names where modules can see it, at the top of a module"
                    ) from error
    return hints


_QUALIFIERS = (te.Required, te.NotRequired, te.ReadOnly, Final, ClassVar)


_MAX_DEPTH = 8
"""How deep an annotation is looked into; the alias of a recursive type has no end."""


def _declared(hint: Any, where: str, depth: int = 0) -> Declared | None:
    merge: FieldMerge | None = None
    while True:
        origin = get_origin(hint)
        if isinstance(hint, dataclasses.InitVar):
            hint = hint.type
        elif origin is Annotated:
            hint, *extras = get_args(hint)
            merge = merge or next((extra for extra in extras if _is_merge(extra, where)), None)
        elif origin in _QUALIFIERS:
            hint = get_args(hint)[0]
        elif isinstance(hint, te.TypeAliasType):
            hint = hint.__value__
        else:
            break
    typed = next((kind for kind in (hint, origin) if te.is_typeddict(kind)), None)
    parts = _parts(origin, get_args(hint), where, depth + 1) if depth < _MAX_DEPTH else None
    if parts is not None and origin in (Union, types.UnionType):
        typed, parts = parts.typed, parts.parts
    return Declared(merge, typed, parts) if merge or typed or parts else None


def _parts(origin: Any, arguments: tuple[Any, ...], where: str, depth: int) -> Declared | None:
    if origin in (Union, types.UnionType):
        arms = [arm for arm in arguments if arm is not types.NoneType]
        return _declared(arms[0], where, depth) if len(arms) == 1 else None
    if inspect.isclass(origin) and issubclass(origin, list | dict | Mapping) and arguments:
        return _declared(arguments[-1], where, depth)
    return None


def _is_merge(extra: Any, where: str) -> bool:
    """Say whether what an annotation carries is a merge; it may as well be something for other libraries."""
    if not callable(extra) or isinstance(extra, type):
        return False
    try:
        inspect.signature(extra).bind(None, None, None)
    except ValueError:  # a builtin that doesn't tell its signature
        return True
    except TypeError:
        if isinstance(extra, types.FunctionType | types.BuiltinFunctionType | functools.partial):
            raise GraphSetupError(
                f"the merge declared for {where} has to take (current, base, mine), and {extra!r} doesn't: write "
                "Annotated[…, add], append, union, merge, max_value, min_value, first, last, forbid, or such a function"
            ) from None
        return False
    return True
