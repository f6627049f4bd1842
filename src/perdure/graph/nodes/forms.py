"""Forms: what an answer or a signal has to look like, and how it is told.

A form is a type (a msgspec Struct, a dataclass, a pydantic model, a builtin) or a JSON schema. An answer comes in as plain
JSON, from a person or another process, and is made into a value of the form's type; or it is refused, with the reason.
"""

from __future__ import annotations

from functools import lru_cache
from math import isfinite
from typing import Any

import msgspec

from perdure.errors import AnswerRefused, GraphSetupError
from perdure.graph.nodes.schemas import (
    check_is_schema,
    check_patterns,
    check_schema,
    check_texts,
    decoded_answer,
    patterns_of,
)

_encode = msgspec.json.Encoder(order="deterministic").encode


def is_model(form: Any) -> bool:
    """Say whether a form is a pydantic model, without importing pydantic."""
    return isinstance(form, type) and hasattr(form, "model_json_schema") and hasattr(form, "model_validate")


def is_open(form: Any) -> bool:
    """Say whether a form takes everything."""
    return form is Any or form is object


def form_schema(form: Any) -> msgspec.Raw:
    """Return a form as a JSON schema.

    Raises:
        GraphSetupError: there is none for this type.
    """
    if is_open(form):
        return msgspec.Raw(b"{}")
    if isinstance(form, dict):
        check_is_schema(form)
        return msgspec.Raw(_encode(form))
    if is_model(form):
        return msgspec.Raw(_encode(form.model_json_schema()))  # whose patterns pydantic matches in linear time
    try:
        schema = msgspec.json.schema(form)
        check_patterns(schema)
        return msgspec.Raw(_encode(schema))
    except GraphSetupError:
        raise
    except (TypeError, RuntimeError) as error:
        raise GraphSetupError(
            f"form={form!r:.80} can't be described as a JSON schema ({error}): give a msgspec Struct, a dataclass, a pydantic "
            "model, a builtin type, or a JSON schema as a dict"
        ) from error


def answered(form: Any, data: bytes) -> Any:
    """Return the value of a form that an answer in JSON stands for.

    Raises:
        AnswerRefused: it doesn't fit the form; the message says where and why.
    """
    plain = decoded_answer(data)
    if isinstance(form, dict):
        check_schema(form, plain)
        return plain
    if is_open(form):
        return plain
    if is_model(form):
        try:
            return form.model_validate_json(data)
        except ValueError as error:
            raise AnswerRefused(f"the answer doesn't fit the form {form.__name__}: {error}") from error
    check_texts(_patterns_of(form), plain)
    try:
        return msgspec.json.decode(data, type=form, dec_hook=_nothing_else)
    except (msgspec.ValidationError, NotImplementedError) as error:
        name = getattr(form, "__name__", str(form))
        raise AnswerRefused(f"the answer doesn't fit the form {name}: {error}") from error


def _patterns_of(form: Any) -> tuple[str, ...]:
    """Return the patterns that a type checks texts by."""
    try:
        return _known_patterns(form)
    except TypeError:  # it has no hash
        return _known_patterns.__wrapped__(form)


@lru_cache(maxsize=1024)
def _known_patterns(form: Any) -> tuple[str, ...]:
    try:
        return patterns_of(msgspec.json.schema(form))
    except (TypeError, RuntimeError):  # it has no schema, and so no patterns
        return ()


def _nothing_else(form: type, value: Any) -> Any:
    raise NotImplementedError(f"no answer can be made into a {form.__name__}")


def plain_answer(value: Any) -> bytes:
    """Return an answer given in Python as JSON.

    Raises:
        AnswerRefused: it can't be.
    """
    try:
        if is_model(type(value)):
            data = str(value.model_dump_json(by_alias=True)).encode()
            plain = value.model_dump() if b"null" in data else None
        else:
            data = msgspec.json.encode(value)
            plain = msgspec.to_builtins(value) if b"null" in data else None
        _check_finite(plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise AnswerRefused(f"the answer of type {type(value).__name__} can't be given as JSON: {error}") from error
    return data


def _check_finite(plain: Any) -> None:
    """Raise if there is a float that JSON has no number for, where encoders write null.

    Raises:
        ValueError: there is one.
    """
    if isinstance(plain, float) and not isfinite(plain):
        raise ValueError(f"JSON has no number for {plain}")
    parts = plain.values() if isinstance(plain, dict) else plain if isinstance(plain, list | tuple | set) else ()
    for part in parts:
        _check_finite(part)
