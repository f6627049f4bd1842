"""Forms: neither a schema nor an answer keeps the process busy, and nothing is fetched."""

from __future__ import annotations

import re
import time
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import AnswerRefused, GraphBuilder, GraphSetupError
from perdure.graph.nodes import schemas
from perdure.graph.nodes.forms import answered, form_schema
from perdure.graph.nodes.patterns import MAX_WAYS, Hazard, ways_of

SLOW = [
    r"(a+)+$", r"^(a|a)*$", r"^(a|ab)*c", r"(.*)*", r"^(\w+\s?)*$", "a?" * 40 + "a" * 40, r"(x+x+)+y", r"^.*.*.*.*=$", r"^(a{1,30}){1,30}$",
    r"((ab)*)*", r"^(([a-z])+.)+[A-Z]([a-z])+$", r"^(a?b?)*c$", r"(?:a|aa)+$", r"^([ab]*?([ab]?)\.)*?$", r"(a)\1", r"(?i)(a+A)b", "[", "a" * 2000,
]  # fmt: skip
QUICK = [
    r"^[^@]+@[^@]+\.[^@]+$", r"^\d+(\.\d+)*$", r"^[A-Z]{2}\d{4}$", r"^([a-z0-9]+-)*[a-z0-9]+$", r"^\d{4}-\d{2}-\d{2}$",
    r"^(https?)://[^/]+/.*$", r"^(?=.*\d)(?=.*[a-z]).{8,64}$", r"^[\w.+-]+@[\w-]+\.[\w.-]+$", r"^\s*$", r"^(aa|b)*$", r"\s+$", r"^\+?[0-9 ]{6,20}$",
]  # fmt: skip


@pytest.mark.parametrize("pattern", SLOW, ids=lambda pattern: pattern[:20])
def test_a_pattern_without_a_bound_is_refused_when_the_graph_is_built(pattern: str) -> None:
    g = GraphBuilder(name="form", input_type=None, output_type=Any)  # type: ignore[arg-type]
    with pytest.raises(GraphSetupError, match="pattern"):
        g.human("ask", form={"type": "string", "pattern": pattern})
    with pytest.raises(GraphSetupError, match="patternProperties"):
        g.human("ask", form={"properties": {"a": {"patternProperties": {pattern: {}}}}})


def test_a_pattern_of_a_type_is_looked_at_as_well() -> None:
    class Form(msgspec.Struct):
        name: Annotated[str, msgspec.Meta(pattern=r"^(\w+\s?)*$")]

    with pytest.raises(GraphSetupError, match="may take very long"):
        form_schema(Form)


@pytest.mark.parametrize("pattern", QUICK)
def test_patterns_that_people_write_are_taken(pattern: str) -> None:
    form_schema({"type": "string", "pattern": pattern})


SHAPES = st.recursive(
    st.sampled_from(["a", "b", r"\.", "[ab]", "[^a]", ".", r"\w"]),
    lambda inner: (
        st.builds("({}{})".format, inner, inner)
        | st.builds("({}|{})".format, inner, inner)
        | st.builds("{}{}".format, st.builds("({})".format, inner), st.sampled_from(["*", "+", "?", "{1,3}", "*?"]))
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(SHAPES, st.sampled_from(["a", "b", "ab", "aab", "ba."]))
def test_a_pattern_with_a_bound_keeps_to_it(pattern: str, unit: str) -> None:
    """Were one of these exponential, it would not come back for a text of this length."""
    try:
        ways = ways_of(pattern)
    except Hazard:
        return
    length = next(length for length in (500, 100, 60, 30, 1) if ways.of(length) <= MAX_WAYS)
    re.search(pattern, (unit * length)[:length] + "!")


def test_a_text_that_is_too_long_for_a_pattern_is_refused() -> None:
    form = {"type": "object", "properties": {"mail": {"type": "string", "pattern": r"^[^@]+@[^@]+\.[^@]+$"}}}
    assert answered(form, b'{"mail":"a@b.example"}') == {"mail": "a@b.example"}
    with pytest.raises(AnswerRefused, match="5,000 characters"):
        answered(form, msgspec.json.encode({"mail": "a" * 5000}))

    class Form(msgspec.Struct):
        mail: Annotated[str, msgspec.Meta(pattern=r"\s+$")]

    with pytest.raises(AnswerRefused, match="100,000 characters"):
        answered(Form, msgspec.json.encode({"mail": " " * 100_000}))


@pytest.mark.parametrize(
    "reference", ["https://example.org/schema.json", "file:///etc/passwd", "other.json", "//host/x", "urn:a:b"]
)
def test_a_reference_to_elsewhere_is_refused(reference: str) -> None:
    for keyword in ("$ref", "$dynamicRef"):
        with pytest.raises(GraphSetupError, match="outside of itself"):
            form_schema({"properties": {"a": {keyword: reference}}})


def test_references_inside_of_a_schema_are_followed() -> None:
    form = {
        "$defs": {"tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}}}},
        "$ref": "#/$defs/tree",
    }
    assert answered(form, b'{"left":{"left":{}}}') == {"left": {"left": {}}}
    with pytest.raises(GraphSetupError, match="doesn't hold"):
        form_schema({"$ref": "#/$defs/nothing"})


def test_a_schema_that_multiplies_is_refused() -> None:
    doubling = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    with pytest.raises(GraphSetupError, match="10,000"):
        form_schema({"$defs": {**doubling, "d40": {"type": "string"}}, "$ref": "#/$defs/d0"})
    with pytest.raises(GraphSetupError, match="10,000"):
        form_schema({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"})
    with pytest.raises(GraphSetupError, match="bytes"):
        form_schema({"enum": ["x" * 300_000]})


def test_a_check_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "DEADLINE_S", -1.0)
    with pytest.raises(AnswerRefused, match="takes longer"):
        answered({"type": "string"}, b'"a"')


def test_many_different_items_are_compared_in_no_time() -> None:
    began = time.monotonic()
    form = {"type": "array", "uniqueItems": True}
    assert len(answered(form, msgspec.json.encode([{"n": n} for n in range(50_000)]))) == 50_000
    assert time.monotonic() - began < 20
    for twice in ([1, 1.0], [{"a": 1, "b": 2}, {"b": 2, "a": 1}], ["x", "x"]):
        with pytest.raises(AnswerRefused, match="equal"):
            answered(form, msgspec.json.encode(twice))
    assert answered(form, b'[1,true,"1",null]') == [1, True, "1", None]
