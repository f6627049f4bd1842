"""Types made at random: dataclasses, Structs, NamedTuples, TypedDicts and models whose fields are of any type."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import msgspec
import pydantic
from hypothesis import strategies as st
from typing_extensions import TypedDict

from property.test_codec_round_trip import CLASSES, Typed, annotated

KINDS = ("dataclass", "frozen", "slots", "struct", "array", "tuple", "dict", "model")

_HASHABLE: dict[str, Any] = {"frozen": {"frozen": True}, "slots": {"slots": True}, "dataclass": {}}


@st.composite
def made(draw: st.DrawFn, name: str) -> tuple[Any, st.SearchStrategy[Any]]:
    """Draw a class with up to four fields, and a strategy for its values."""
    fields = {f"f{place}": draw(annotated()) for place in range(draw(st.integers(1, 4)))}
    hints = {field: hint for field, (hint, _) in fields.items()}
    values = {field: strategy for field, (_, strategy) in fields.items()}
    kind = draw(st.sampled_from(KINDS))
    if kind in _HASHABLE:
        cls: Any = dataclasses.make_dataclass(name, [*hints.items()], **_HASHABLE[kind])
    elif kind in ("struct", "array"):
        cls = msgspec.defstruct(name, [*hints.items()], array_like=kind == "array")
    elif kind == "tuple":
        cls = typing.NamedTuple(name, [*hints.items()])
    elif kind == "dict":
        return TypedDict(name, hints), st.fixed_dictionaries(values)
    else:
        model: Any = pydantic.create_model(
            name,
            __config__=pydantic.ConfigDict(arbitrary_types_allowed=True),
            **dict.fromkeys(hints, (Any, ...)),
        )
        return model, st.fixed_dictionaries(values).map(lambda parts: model.model_construct(**parts))
    return cls, st.builds(cls, **values)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Any, Any, tuple[Any, ...]]:
    """Draw an annotation that holds classes made at random, a value of it, and the classes."""
    first, of_first = draw(made("Made0"))
    second, of_second = draw(made("Made1"))
    hint, of_hint = draw(annotated(2))
    both: Typed = draw(
        st.sampled_from(
            [
                (first, of_first),
                (list[first], st.lists(of_first, max_size=3)),
                (dict[str, first | None], st.dictionaries(st.sampled_from("abc"), of_first | st.none())),
                (tuple[first, hint, second], st.tuples(of_first, of_hint, of_second)),
                (first | second | None, of_first | of_second | st.none()),
                (list[first | hint if hint is not None else first], st.lists(of_first | of_hint, max_size=3)),
            ]
        )
    )
    return both[0], draw(both[1]), (first, second, *CLASSES)
