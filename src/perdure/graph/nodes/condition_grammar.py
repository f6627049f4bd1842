"""The grammar of conditions: from text to a tree of tests. Nothing is ever evaluated as Python.

    either      = both { "or" both }
    both        = inverted { "and" inverted }
    inverted    = "not" inverted | "(" either ")" | test
    test        = path [ operator literal ]
    operator    = "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not" "in" | "contains"
    path        = name { "." name | "[" whole number or string "]" }
    literal     = number | string | "true" | "false" | "null" | "[" [ literal { "," literal } ] "]"

A path begins with ``output`` (the value that the edge leads on) or ``state``; any other name is a field of the output.
Strings stand in double or single quotes, with the escapes of JSON.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from perdure.errors import GraphSetupError

Operator: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">=", "in", "contains"]
LiteralValue: TypeAlias = "bool | int | float | str | list[LiteralValue] | None"

LONGEST: Final = 2000
"""How many characters a condition may have."""
DEEPEST: Final = 32
"""How deep it may be nested."""

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.]))
      | (?P<name>[^\W\d]\w*)
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<sign>==|!=|<=|>=|<|>|\(|\)|\[|\]|\.|,)
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_WORDS: Final = {"true": True, "false": False, "null": None}
_RESERVED: Final = frozenset({"and", "or", "not", "in", "contains", *_WORDS})
_SIGNS: Final[dict[str, Operator]] = {
    "==": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=", "in": "in", "contains": "contains"
}  # fmt: skip


@dataclass(frozen=True)
class PathTo:
    """Where a value is found: in the output, or in the state."""

    root: Literal["output", "state"]
    keys: tuple[str | int, ...]

    def __str__(self) -> str:
        return self.root + "".join(map(_shown_key, self.keys))


@dataclass(frozen=True)
class Comparison:
    """A value compared with a literal."""

    path: PathTo
    operator: Operator
    literal: LiteralValue

    def __str__(self) -> str:
        return f"{self.path} {self.operator} {json.dumps(self.literal, ensure_ascii=False)}"


@dataclass(frozen=True)
class Flag:
    """A value that is true or false itself."""

    path: PathTo

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class Inverted:
    """The contrary of a test."""

    test: Test

    def __str__(self) -> str:
        return f"not {_inner(self.test)}"


@dataclass(frozen=True)
class Several:
    """Several tests, all of which have to hold, or any."""

    word: Literal["and", "or"]
    tests: tuple[Test, ...]

    def __str__(self) -> str:
        return f" {self.word} ".join(map(_inner, self.tests))


Test: TypeAlias = Comparison | Flag | Inverted | Several


def _inner(test: Test) -> str:
    return f"({test})" if isinstance(test, Several) else str(test)


def _shown_key(key: str | int) -> str:
    return f".{key}" if isinstance(key, str) and re.fullmatch(r"[^\W\d]\w*", key) else f"[{json.dumps(key)}]"


def _inverted(test: Test) -> Test:
    return test.test if isinstance(test, Inverted) else Inverted(test)


def read_condition(text: str) -> Test:
    """Return the tree of a condition.

    Raises:
        GraphSetupError: it can't be read; the message says where, and what was expected there.
    """
    if not isinstance(text, str):
        raise GraphSetupError(f"condition {text!r:.80} is no string: write it as in 'score >= 0.8'")
    if len(text) > LONGEST:
        raise GraphSetupError(f"condition {text[:40]!r}… has {len(text)} characters, and {LONGEST} are the most")
    return _Reader(text).whole()


class _Reader:
    """Reads one condition, a token at a time."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._depth = 0
        self._after = 0
        self._advance()

    def _advance(self) -> None:
        found = _TOKEN.match(self._text, self._after)
        if found is None:
            rest = self._text[self._after :].lstrip()
            self._at = len(self._text) - len(rest)
            raise self._refusal(f"{rest[:12]!r} can't stand")
        self._kind: str = found.lastgroup or ""
        self._token: str = found[self._kind]
        self._at = found.start(self._kind)
        self._after = found.end()

    def _refusal(self, problem: str) -> GraphSetupError:
        return GraphSetupError(f"condition {self._text!r}: {problem} at character {self._at + 1}")

    def _expected(self, what: str) -> GraphSetupError:
        return self._refusal(f"{what} is expected, and there is {repr(self._token) if self._token else 'nothing'}")

    def _takes(self, *tokens: str) -> bool:
        """Go on if the next token is one of some names or signs."""
        if self._kind not in ("name", "sign") or self._token not in tokens:
            return False
        self._advance()
        return True

    def whole(self) -> Test:
        test = self._either()
        if self._kind != "end":
            raise self._expected("'and', 'or' or the end")
        return test

    def _either(self) -> Test:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._refusal(f"the nesting is deeper than {DEEPEST}")
        tests = [self._both()]
        while self._takes("or"):
            tests.append(self._both())
        self._depth -= 1
        return tests[0] if len(tests) == 1 else Several("or", tuple(tests))

    def _both(self) -> Test:
        tests = [self._inverted()]
        while self._takes("and"):
            tests.append(self._inverted())
        return tests[0] if len(tests) == 1 else Several("and", tuple(tests))

    def _inverted(self) -> Test:
        is_inverted = False
        while self._takes("not"):
            is_inverted = not is_inverted
        if self._takes("("):
            test = self._either()
            if not self._takes(")"):
                raise self._expected("')'")
        else:
            test = self._test()
        return _inverted(test) if is_inverted else test

    def _test(self) -> Test:
        path = self._path()
        is_inverted = self._kind == "name" and self._takes("not")
        operator = _SIGNS.get(self._token) if self._kind in ("name", "sign") else None
        if operator is None or (is_inverted and operator != "in"):
            if is_inverted:
                raise self._expected("'in'")
            if self._kind == "end" or self._token in ("and", "or", ")"):
                return Flag(path)
            raise self._expected("one of == != < <= > >= in contains")
        self._advance()
        at = self._at
        literal = self._literal()
        self._check(operator, literal, at)
        comparison = Comparison(path, operator, literal)
        return _inverted(comparison) if is_inverted else comparison

    def _check(self, operator: Operator, literal: LiteralValue, at: int) -> None:
        self._at = at
        if operator == "in" and not isinstance(literal, list):
            raise self._refusal("'in' asks for a list, as in [1, 2],")
        if operator == "contains" and isinstance(literal, list):
            raise self._refusal("'contains' asks for one value, and there is a list")
        if operator in ("<", "<=", ">", ">=") and (
            isinstance(literal, bool) or not isinstance(literal, int | float | str)
        ):
            raise self._refusal(f"{operator!r} asks for a number or a string")

    def _path(self) -> PathTo:
        if self._kind != "name" or self._token in _RESERVED:
            raise self._expected("a path, as in output.score,")
        first = self._token
        self._advance()
        keys: list[str | int] = [] if first in ("output", "state") else [first]
        while True:
            if self._takes("."):
                if self._kind != "name":
                    raise self._expected("a name")
                keys.append(self._token)
                self._advance()
            elif self._takes("["):
                keys.append(self._key())
                if not self._takes("]"):
                    raise self._expected("']'")
            else:
                return PathTo("state" if first == "state" else "output", tuple(keys))

    def _key(self) -> str | int:
        if self._kind not in ("number", "string"):
            raise self._expected("a whole number or a string")
        key = self._literal()
        if isinstance(key, int | str) and not isinstance(key, bool):
            return key
        raise self._refusal(f"{key!r} is no whole number and no string, before what stands")

    def _literal(self) -> LiteralValue:
        if self._takes("["):
            return self._list()
        token, kind = self._token, self._kind
        if kind == "number":
            value: LiteralValue = json.loads(token)
            if isinstance(value, float) and not math.isfinite(value):
                raise self._refusal(f"{token} is beyond all numbers")
        elif kind == "string":
            value = self._string(token)
        elif kind == "name" and token in _WORDS:
            value = _WORDS[token]
        else:
            raise self._expected("a number, a string in quotes, true, false, null or a list")
        self._advance()
        return value

    def _list(self) -> list[LiteralValue]:
        values: list[LiteralValue] = []
        if self._takes("]"):
            return values
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._refusal(f"the nesting is deeper than {DEEPEST}")
        while True:
            values.append(self._literal())
            if self._takes("]"):
                self._depth -= 1
                return values
            if not self._takes(","):
                raise self._expected("',' or ']'")

    def _string(self, token: str) -> str:
        if token[0] == "'":
            inside = re.sub(r"\\.|\"", lambda found: {"\\'": "'", '"': '\\"'}.get(found[0], found[0]), token[1:-1])
            token = f'"{inside}"'
        try:
            text: str = json.loads(token)
        except ValueError as error:
            raise self._refusal(f"the string is none of JSON ({error})") from None
        return text
