"""JSON schemas of forms: what is refused when a graph is built, and how an answer is checked in bounded time.

A schema may come from a file, and an answer comes from outside, so neither is to keep the process busy. A schema refers to
nothing outside of itself, and is small once its references are followed; its patterns have a bound (``patterns.py``). An answer is
looked at for its size first. Then it is checked with a deadline, which is looked at before each keyword: a single keyword can't be
interrupted, but takes no longer than its pattern's bound or its array's length allow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from perdure.errors import AnswerRefused, GraphSetupError
from perdure.graph.nodes.patterns import MAX_WAYS, Hazard, Ways, ways_of

MAX_SCHEMA_BYTES: Final = 256 << 10
MAX_ANSWER_BYTES: Final = 1 << 20
MAX_ANSWER_DEPTH: Final = 64
MAX_EXPANDED: Final = 10_000
"""How many schemas one value may be checked against."""
DEADLINE_S: Final = 2.0
MAX_REFUSAL: Final = 2000
"""How many characters of reasons are told."""

_deadline: ContextVar[float] = ContextVar("perdure_deadline")

_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_IN_PLACE: Final = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas")

_encode = msgspec.json.Encoder(order="deterministic").encode


def check_is_schema(schema: dict[str, Any]) -> None:
    """Refuse a JSON schema that is none, that refers to others, or that checking an answer against could take long.

    Raises:
        GraphSetupError: it is refused; the message says where and why.
    """
    try:
        data = _encode(schema)
    except (TypeError, ValueError, RecursionError) as error:
        raise GraphSetupError(f"form= is no JSON schema: {error}") from error
    if len(data) > MAX_SCHEMA_BYTES:
        raise GraphSetupError(f"form= is a JSON schema of {len(data):,} bytes: it may have {MAX_SCHEMA_BYTES:,}")
    for path, part in _parts(schema, "$"):
        for keyword in _REFERENCES:
            if isinstance(part.get(keyword), str):
                _check_reference(schema, f"{path}.{keyword}", part[keyword])
    check_patterns(schema)
    _check_expansion(schema)
    try:
        import jsonschema  # noqa: PLC0415 - an extra
    except ImportError:
        return  # as far as that can be told without it
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise GraphSetupError(f"form= is no JSON schema: at {error.json_path}, {error.message}") from error


def check_patterns(schema: Any) -> None:
    """Refuse a schema with a pattern that may take exponentially long.

    Raises:
        GraphSetupError: there is one.
    """
    for path, pattern in _patterns(schema):
        try:
            ways_of(pattern)
        except Hazard as hazard:
            raise GraphSetupError(
                f"the pattern {pattern!r:.120} of the form, at {path}, may take very long: {hazard}. Anchor it with ^, bound its "
                "repeats as in {0,20}, and put no repeat into a repeat"
            ) from None


def check_schema(schema: dict[str, Any], value: Any) -> None:
    """Check a value against a JSON schema.

    Raises:
        AnswerRefused: it doesn't fit, or checking it takes too long.
        GraphSetupError: the library for that isn't installed, or the schema is one that is refused.
    """
    try:
        import jsonschema  # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise GraphSetupError(
            "a form given as a JSON schema needs the jsonschema package: pip install 'perdure[forms]'"
        ) from None
    check_is_schema(schema)
    check_texts(patterns_of(schema), value)
    token = _deadline.set(time.monotonic() + DEADLINE_S)
    try:
        problems = sorted(_validator()(schema).iter_errors(value), key=lambda error: str(error.json_path))
    except AnswerRefused:
        raise
    except Exception as error:  # of a reference under another $id, or of a depth that can't be followed
        raise AnswerRefused(f"the answer can't be checked against the form ({type(error).__name__})") from error
    finally:
        _deadline.reset(token)
    if problems:
        listed = "; ".join(f"{problem.json_path}: {problem.message}" for problem in problems)
        raise AnswerRefused(f"the answer doesn't fit the form: {listed}"[:MAX_REFUSAL])


@lru_cache(maxsize=1)
def _validator() -> Any:
    """Return a class of validators that look at a deadline before each keyword."""
    import jsonschema  # noqa: PLC0415 - an extra

    def timed(check: Callable[..., Any]) -> Callable[..., Any]:
        def checked(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any]:
            if time.monotonic() > _deadline.get():
                raise AnswerRefused(f"checking the answer against its form takes longer than {DEADLINE_S:g} s")
            yield from check(validator, wanted, instance, schema) or ()

        return checked

    keywords = {**jsonschema.Draft202012Validator.VALIDATORS, "uniqueItems": _unique}
    extended: Any = jsonschema.validators.extend
    return extended(jsonschema.Draft202012Validator, {name: timed(check) for name, check in keywords.items()})


def _unique(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """Check that items differ, without comparing each with each."""
    import jsonschema  # noqa: PLC0415 - an extra

    if (
        wanted
        and isinstance(instance, list)
        and len({_encode(_number_free(item)) for item in instance}) < len(instance)
    ):
        yield jsonschema.ValidationError("it has items that are equal")


def _number_free(value: Any) -> Any:
    """Return a value in which numbers that are equal are one: 1.0 is 1."""
    if type(value) is float and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_number_free(part) for part in value]
    return {key: _number_free(part) for key, part in value.items()} if isinstance(value, dict) else value


# --- answers ---


def decoded_answer(data: bytes) -> Any:
    """Return an answer in JSON as plain data, if it is of a size to be looked at.

    Raises:
        AnswerRefused: it is too large, nests too deep, or is no JSON.
    """
    if len(data) > MAX_ANSWER_BYTES:
        raise AnswerRefused(
            f"the answer takes {len(data):,} bytes, and may take {MAX_ANSWER_BYTES:,}: put what is large where the run can read "
            "it, and answer with its name"
        )
    try:
        value = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise AnswerRefused(f"the answer is no JSON: {error}") from error
    except RecursionError:
        value = None
        depth = MAX_ANSWER_DEPTH + 1
    else:
        depth = _depth(value)
    if depth > MAX_ANSWER_DEPTH:
        raise AnswerRefused(f"the answer nests deeper than {MAX_ANSWER_DEPTH} levels: flatten it")
    return value


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while depth <= MAX_ANSWER_DEPTH:
        level = [
            part
            for whole in level
            if isinstance(whole, dict | list)
            for part in (whole.values() if isinstance(whole, dict) else whole)
        ]
        if not level:
            return depth
        depth += 1
    return depth


def patterns_of(schema: Any) -> tuple[str, ...]:
    """Return the patterns that a schema checks texts by."""
    return tuple(pattern for _, pattern in _patterns(schema))


def check_texts(patterns: Sequence[str], value: Any) -> None:
    """Refuse an answer with a text that is too long for the patterns of its form.

    Raises:
        AnswerRefused: there is one.
    """
    if not patterns:
        return
    ways = [_known_ways(pattern) for pattern in patterns]
    longest = max(map(len, _texts(value)), default=0)
    if any(each.of(longest) > MAX_WAYS for each in ways):
        raise AnswerRefused(
            f"the answer has a text of {longest:,} characters, too long for a form that checks texts by a pattern"
        )


@lru_cache(maxsize=1024)
def _known_ways(pattern: str) -> Ways:
    return ways_of(pattern)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


# --- schemas ---


def _parts(schema: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object in a schema: also those that are no schemas, as a default or an enum holds."""
    if isinstance(schema, dict):
        yield path, schema
        for name, part in schema.items():
            yield from _parts(part, f"{path}.{name}")
    elif isinstance(schema, list):
        for place, part in enumerate(schema):
            yield from _parts(part, f"{path}[{place}]")


def _patterns(schema: Any) -> Iterator[tuple[str, str]]:
    for path, part in _parts(schema, "$"):
        if isinstance(part.get("pattern"), str):
            yield f"{path}.pattern", part["pattern"]
        if isinstance(part.get("patternProperties"), dict):
            for pattern in part["patternProperties"]:
                yield f"{path}.patternProperties", pattern


def _check_reference(schema: dict[str, Any], path: str, reference: str) -> None:
    if not reference.startswith("#"):
        raise GraphSetupError(
            f"the form refers to {reference!r:.120} at {path}, outside of itself: put that into its $defs and refer to "
            "'#/$defs/…'; nothing is fetched"
        )
    if _target(schema, reference) is None:
        raise GraphSetupError(f"the form refers to {reference!r:.120} at {path}, which it doesn't hold")


def _target(schema: dict[str, Any], reference: str) -> Any:
    """Return what a reference names in its own schema, or None."""
    name = unquote(reference[1:])
    if name and not name.startswith("/"):
        return next(
            (part for _, part in _parts(schema, "") if name in (part.get("$anchor"), part.get("$dynamicAnchor"))), None
        )
    found: Any = schema
    for step in name.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        elif isinstance(found, dict) and key in found:
            found = found[key]
        else:
            return None
    return found


def _check_expansion(schema: dict[str, Any]) -> None:
    """Refuse a schema that checks one value against very many schemas, or for ever, by referring to itself in place."""
    counts: dict[int, int] = {}

    def count(part: Any) -> int:
        if not isinstance(part, dict):
            return 1
        known = counts.get(id(part))
        if known is not None:
            return known
        counts[id(part)] = MAX_EXPANDED + 1  # what comes back to itself has no end
        inner: list[Any] = [_target(schema, part[name]) for name in _REFERENCES if isinstance(part.get(name), str)]
        for keyword in _IN_PLACE:
            found = part.get(keyword)
            inner += (
                found
                if isinstance(found, list)
                else found.values()
                if keyword == "dependentSchemas" and isinstance(found, dict)
                else [found]
            )
        total = 1 + sum(count(each) for each in inner if isinstance(each, dict))
        counts[id(part)] = min(total, MAX_EXPANDED + 1)
        return counts[id(part)]

    for path, part in _parts(schema, "$"):
        if count(part) > MAX_EXPANDED:
            raise GraphSetupError(
                f"the form checks one value against more than {MAX_EXPANDED:,} schemas, at {path}: let it refer to fewer, and to "
                "itself only for parts of a value"
            )
