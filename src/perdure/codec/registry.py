"""The registry of types that stored values may be of.

A stored value names its type by a tag, and a tag is only ever looked up here: decoding imports nothing. The registry is
filled from the types the application's graphs mention, and from the subclasses of those that exist in the process.

    @tagged("order")                   the name to store values under; the class can then be renamed or moved
    @versioned(2)                      the type has changed in a way that defaults can't bridge
    @upcast(Order, from_version=1)     how to bring fields of version 1 to version 2

Where a class is defined again, as in a notebook or by a reload, the newest definition wins: values of the older one are
written as before and read as the newest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from typing_extensions import is_typeddict

from perdure.codec.classes import is_registrable
from perdure.codec.hints import classes_in
from perdure.codec.refusal import Refusal
from perdure.codec.tags import RESERVED
from perdure.errors import GraphSetupError

ClassT = TypeVar("ClassT", bound=type)
Fields = dict[str, Any]

_VERSION = "__perdure_version__"
_TAG = "__perdure_tag__"
_upcasts: dict[tuple[type, int], Callable[[Fields], Fields]] = {}


def tagged(name: str) -> Callable[[ClassT], ClassT]:
    """Give a class the name its values are stored under, so that the class itself can be renamed or moved.

    Raises:
        GraphSetupError: the name is taken by the codec itself, empty, or has an ``@``.
    """
    if not name or "@" in name or name in RESERVED:
        why = "the codec uses that name itself" if name in RESERVED else "a name has a character or more, and no @"
        raise GraphSetupError(f"tagged({name!r}): {why}; choose another one")

    def mark(cls: ClassT) -> ClassT:
        setattr(cls, _TAG, name)
        return cls

    return mark


def versioned(version: int) -> Callable[[ClassT], ClassT]:
    """Say which version of its fields a class stores; the first is 1.

    Raises:
        GraphSetupError: the version is less than 1, or the class is a TypedDict.
    """
    if version < 1:
        raise GraphSetupError(f"versioned({version}): versions begin at 1")

    def mark(cls: ClassT) -> ClassT:
        if is_typeddict(cls):
            raise GraphSetupError(
                f"versioned({version}): values of the TypedDict {cls.__name__} are plain dicts, which have no version; make "
                "it a dataclass or a msgspec Struct"
            )
        setattr(cls, _VERSION, version)
        return cls

    return mark


def upcast(cls: type, from_version: int) -> Callable[[Callable[[Fields], Fields]], Callable[[Fields], Fields]]:
    """Register how to bring the fields of an earlier version of a class to the next version.

    The function gets the fields by name, already read. A field that the class no longer has, and that held an object
    of a class, may come as a plain dict.

    Args:
        cls: the class, marked with :func:`versioned`.
        from_version: the version the function starts from; it returns the fields of ``from_version + 1``.

    Raises:
        GraphSetupError: the class has no later version.
    """
    if not 1 <= from_version < version_of(cls):
        raise GraphSetupError(
            f"upcast({cls.__name__}, from_version={from_version}): the class is of version {version_of(cls)}; "
            + (f"mark it with @versioned({from_version + 1})" if from_version >= 1 else "versions begin at 1")
        )

    def register(function: Callable[[Fields], Fields]) -> Callable[[Fields], Fields]:
        _upcasts[cls, from_version] = function
        return function

    return register


def version_of(cls: type) -> int:
    """Return the version of the fields a class stores."""
    version: int = vars(cls).get(_VERSION, 1)
    return version


def upcasted(cls: type, version: int, fields: Fields, known: frozenset[str]) -> Fields:
    """Bring stored fields to the present version of a class; of what upcasts leave over, only ``known`` names are kept.

    Raises:
        Refusal: a version in between has no upcast, an upcast fails, or the stored version is newer than the class.
    """
    present = version_of(cls)
    if version > present:
        raise Refusal(
            f"it was stored as version {version}, and this process only knows version {present}",
            "Run the newer code, or undo the change of the type",
            cls.__name__,
        )
    for step in range(version, present):
        function = _upcasts.get((cls, step))
        if function is None:
            raise Refusal(
                f"it was stored as version {step}, and nothing brings that to version {step + 1}",
                f"Add @upcast({cls.__name__}, from_version={step})",
                cls.__name__,
            )
        try:
            fields = function(fields)
        except Exception as error:
            raise Refusal(
                f"the upcast from version {step} raised {type(error).__name__}: {error}",
                "Mend the upcast",
                cls.__name__,
            ) from error
        if type(fields) is not dict:
            raise Refusal(
                f"the upcast from version {step} returned a {type(fields).__name__}",
                "Make it return the fields, as a dict",
                cls.__name__,
            )
    return {name: part for name, part in fields.items() if name in known}


def tag_of(cls: type) -> str:
    """Return the name a class is stored under: the one it was given, or its own without where it is defined."""
    name: str = vars(cls).get(_TAG) or cls.__qualname__.rpartition("<locals>.")[2]
    return name


class Registry:
    """The types that values may be of, by tag."""

    def __init__(self, annotations: Iterable[Any] = ()) -> None:
        self._by_tag: dict[str, type] = {}
        self._roots: dict[type, None] = {}
        for annotation in annotations:
            self.add(annotation)

    def add(self, annotation: Any) -> None:
        """Register every class that an annotation mentions, inside its fields too.

        Raises:
            GraphSetupError: a class would be stored under a name of the codec's own, or two under the same.
        """
        for cls in classes_in(annotation):
            if is_registrable(cls):
                self._add_class(cls)
            elif cls.__module__.partition(".")[0] not in sys.stdlib_module_names:
                self._roots[cls] = None  # an abstract class, a protocol: its subclasses are what values are of

    def _add_class(self, cls: type) -> None:
        tag = tag_of(cls)
        if tag in RESERVED:
            raise GraphSetupError(
                f"{_full_name(cls)} would be stored as {tag!r}, a name of the codec's own: mark it with "
                '@tagged("another name")'
            )
        known = self._by_tag.get(tag, cls)
        if not _same_definition(known, cls):
            raise GraphSetupError(
                f"the types {_full_name(known)} and {_full_name(cls)} would both be stored as {tag!r}: mark one of them "
                'with @tagged("another name")'
            )
        self._by_tag[tag] = _newer(known, cls)
        self._roots[cls] = None

    def name_for(self, cls: type) -> str:
        """Return what values of a class are tagged with: its name, and its version after an ``@`` if it has one.

        Raises:
            Refusal: they can't be stored, because the class isn't known or its name isn't its own.
        """
        tag = tag_of(cls)
        known = self._by_tag.get(tag)
        if known is not cls:
            known = self._checked(tag, cls, known)
        self._by_tag[tag] = known
        version = version_of(cls)
        return tag if version == 1 else f"{tag}@{version}"

    def _checked(self, tag: str, cls: type, known: type | None) -> type:
        """Return the class to store under a tag: a newly met one, or the newer of two definitions."""
        if known is None and tag not in RESERVED:
            found = self._found(tag)
            if found is not None and _same_definition(found, cls):
                return _newer(found, cls)
        elif known is not None and _same_definition(known, cls) and "<locals>" not in cls.__qualname__:
            return _newer(known, cls)
        if known is not None or (tag in RESERVED and self._is_below_root(cls)):
            raise Refusal(
                f"the name it would be stored under, {tag!r}, is taken by "
                + (_full_name(known) if known is not None else "the codec itself"),
                'Mark the type with @tagged("another name")',
                cls.__name__,
            )
        raise Refusal(
            "this type isn't known to the graph",
            "Name it in an annotation of a step, or give GraphBuilder(types=[…])",
            cls.__name__,
        )

    def find(self, tag: str) -> type:
        """Return the class that values with this tag are of.

        Raises:
            Refusal: there is none, or more than one.
        """
        known = self._by_tag.get(tag) or self._found(tag)
        if known is None:
            raise Refusal(
                "the stored value is of a type that no graph of this process mentions",
                "Name the type in an annotation of a step, or give GraphBuilder(types=[…])",
                tag,
            )
        self._by_tag[tag] = known
        return known

    def _found(self, tag: str) -> type | None:
        """Look for a tag among the subclasses of the classes that were mentioned."""
        found: type | None = None
        if tag in RESERVED:
            return None
        for root in self._roots:
            for cls in _subclasses(root):
                if tag_of(cls) != tag or not is_registrable(cls):
                    continue
                if found is not None and not _same_definition(found, cls):
                    raise Refusal(
                        f"the types {_full_name(found)} and {_full_name(cls)} would both be stored as {tag!r}",
                        'Mark one of them with @tagged("another name")',
                        tag,
                    )
                found = cls if found is None else _newer(found, cls)
        return found

    def _is_below_root(self, cls: type) -> bool:
        return any(root in cls.__mro__ for root in self._roots)


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _same_definition(left: type, right: type) -> bool:
    return left is right or _full_name(left) == _full_name(right)


def _newer(known: type, cls: type) -> type:
    """Return the newer of two classes that were defined at the same place: the one found there now, or else the second."""
    if known is cls:
        return cls
    found: Any = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return known if found is known else cls


def _subclasses(cls: type) -> Iterator[type]:
    sub: type
    for sub in type.__subclasses__(cls):
        yield sub
        yield from _subclasses(sub)
