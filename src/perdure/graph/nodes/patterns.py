"""Patterns: how long a regular expression may take, told before it is used.

Python's engine goes back and tries again, and can't be interrupted. A pattern in which a text can be read in many ways takes as long as
there are ways: ``(a+)+$`` doubles its time with each letter. So the number of ways is bounded beforehand:

    a repeat, where the text doesn't say how long     as many ways as it may have lengths, at most n; repeats multiply. It says so
    it is                                             where nothing that the repeat matches can come right behind it
    a pattern that isn't anchored at its beginning    n places to begin
    a repeat inside of a repeat, an alternative       exponentially many, unless each round can be told from the text: it begins
    inside of a repeat                                or ends with a character that nothing else in it matches, or its
                                                      alternatives begin with different ones

The bound is strict: not all that is refused would really take long. What has no bound is refused when a graph
is built; a text that is so long that its bound is too large is refused when it comes in.
"""

from __future__ import annotations

import math
import re
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, Final, NamedTuple

MAX_WAYS: Final = 10_000_000
"""How many ways to read a text are tried at most; that takes about half a second."""

SHORT: Final = 64
"""A pattern must be able to take texts of as many characters."""

MAX_PATTERN_LENGTH: Final = 1000

_ANY: Final = frozenset(range(257))  # 256 stands for all other characters
_CATEGORIES: Final = {
    op.CATEGORY_DIGIT: r"\d", op.CATEGORY_NOT_DIGIT: r"\D", op.CATEGORY_SPACE: r"\s", op.CATEGORY_NOT_SPACE: r"\S",
    op.CATEGORY_WORD: r"\w", op.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip


_EXPONENTIAL: Final = "a repeat inside of a repeat can read the same text in exponentially many ways"


class Hazard(Exception):
    """A pattern has no bound, or isn't understood."""


class Ways(NamedTuple):
    """In how many ways a text can be read.

    Attributes:
        groups: for the pattern, and for each look ahead or behind in it, how many lengths each repeat may have that decide; these
            are multiplied, and each is no more than the length of the text.
    """

    groups: tuple[tuple[float, ...], ...]

    def of(self, length: int) -> float:
        """Return a bound for a text of a length."""
        return (length + 1) * sum(math.prod(min(lengths, length + 1) for lengths in group) for group in self.groups)


def ways_of(pattern: str) -> Ways:
    """Return in how many ways a pattern reads a text.

    Raises:
        Hazard: there is no bound; the message says why.
    """
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise Hazard(f"it has {len(pattern)} characters, and may have {MAX_PATTERN_LENGTH}")
    try:
        parsed = parser.parse(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise Hazard(f"it is no regular expression: {error}") from None
    if parsed.state.flags & ~re.UNICODE:
        raise Hazard("it sets flags, under which other characters match")
    parsed = list(parsed)
    aside: list[tuple[float, ...]] = []
    before = [] if parsed and parsed[0] in _BEGINNINGS else [math.inf]
    repeats = _repeats(parsed, frozenset(), before, aside)
    ways = Ways((tuple(repeats), *aside))
    if ways.of(SHORT) > MAX_WAYS:
        raise Hazard(f"it can read a text of {SHORT} characters in {ways.of(SHORT):.0e} ways")
    return ways


_BEGINNINGS: Final = ((op.AT, op.AT_BEGINNING), (op.AT, op.AT_BEGINNING_STRING))
_ENDS: Final = ((op.AT, op.AT_END), (op.AT, op.AT_END_STRING))
_REPEATS: Final = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)


def _repeats(
    items: list[Any], follows: frozenset[int], before: list[float], aside: list[tuple[float, ...]]
) -> list[float]:
    """Return the numbers of lengths that the repeats in a sequence may have, where the text doesn't settle them.

    Args:
        items: the sequence.
        follows: the characters that what comes behind it may begin with.
        before: the numbers for what comes before it.
        aside: where those of looks ahead and behind are put.
    """
    found = list(before)
    for place, (kind, argument) in enumerate(items):
        rest = _first(items[place + 1 :], follows)
        if kind in _REPEATS:
            found = _of_repeat((kind, argument), rest, found, aside)
        elif kind is op.SUBPATTERN:
            if argument[1] or argument[2]:
                raise Hazard("it sets flags, under which other characters match")
            found = _repeats(list(argument[3]), rest, found, aside)
        elif kind is op.ATOMIC_GROUP:
            found = _repeats(list(argument), rest, found, aside)
        elif kind in (op.ASSERT, op.ASSERT_NOT):
            aside.append(tuple(_repeats(list(argument[1]), frozenset(), found, aside)))
        elif kind is op.BRANCH:
            firsts = [_first(list(branch), rest) for branch in argument[1]]
            if len(frozenset[int]().union(*firsts)) < sum(map(len, firsts)):
                found.append(float(len(firsts)))
            for branch in argument[1]:
                found = _repeats(list(branch), rest, found, aside)
        elif kind not in (op.LITERAL, op.NOT_LITERAL, op.IN, op.ANY, op.AT):
            raise Hazard(f"it uses {str(kind).lower()}, of which no bound is known")
    return found


def _of_repeat(
    item: tuple[Any, Any], rest: frozenset[int], before: list[float], aside: list[tuple[float, ...]]
) -> list[float]:
    least, most, body = item[1][0], item[1][1], list(item[1][2])
    found = list(before)
    if most != least and _chars(item) & rest:
        found.append(math.inf if most is op.MAXREPEAT else float(most - least + 1))
    if most is not op.MAXREPEAT and most <= 1:
        return _repeats(body, rest, found, aside)
    _check_rounds(body)
    if _repeats(body, rest | _first(body, frozenset()), [], aside):
        raise Hazard(_EXPONENTIAL)  # what has two ways in a round has 2^n in n rounds
    return found


def _first(items: list[Any], follows: frozenset[int]) -> frozenset[int]:
    """Return the characters that a text may begin with that a sequence reads."""
    found: set[int] = set()
    for kind, argument in items:
        if (kind, argument) in _ENDS:
            return frozenset(found)
        if kind in (op.AT, op.ASSERT, op.ASSERT_NOT):
            continue
        if kind is op.SUBPATTERN:
            return frozenset(found) | _first([*argument[3], *items[items.index((kind, argument)) + 1 :]], follows)
        if kind in _REPEATS:
            found |= _first(list(argument[2]), frozenset())
            if argument[0] == 0 or _is_empty(list(argument[2])):
                continue
            return frozenset(found)
        return frozenset(found) | _chars((kind, argument))
    return frozenset(found) | follows


def _is_empty(items: list[Any]) -> bool:
    """Say whether a sequence may read nothing."""
    least: int = parser.SubPattern(parser.State(), items).getwidth()[0]
    return least == 0


def _check_rounds(body: list[Any]) -> None:
    """See to it that the rounds of a repeat can be told apart, if they can be of several lengths.

    Raises:
        Hazard: they can't.
    """
    body = _unwrapped(body)
    if not _varies(body):
        return
    if len(body) == 1 and body[0][0] is op.BRANCH:
        branches = [_unwrapped(list(branch)) for branch in body[0][1][1]]
        firsts = [_chars(branch[0]) if branch else _ANY for branch in branches]
        are_told_apart = len(frozenset[int]().union(*firsts)) == sum(map(len, firsts))
        if not are_told_apart or any(map(_varies, branches)):
            raise Hazard("alternatives inside of a repeat can read the same text")
        return
    for marker, others in ((body[0], body[1:]), (body[-1], body[:-1])):
        rest = frozenset[int]().union(*(_chars(other) for other in others))
        if marker[0] in (op.LITERAL, op.IN, op.NOT_LITERAL) and not _chars(marker) & rest:
            return
    raise Hazard(_EXPONENTIAL)


def _unwrapped(items: list[Any]) -> list[Any]:
    while len(items) == 1 and items[0][0] is op.SUBPATTERN:
        items = list(items[0][1][3])
    return items


def _varies(items: list[Any]) -> bool:
    """Say whether what a sequence reads can have several lengths, or be read in several ways."""
    for kind, argument in items:
        if kind in _REPEATS:
            if argument[0] != argument[1] or _varies(list(argument[2])):
                return True
        elif kind is op.BRANCH:
            return True
        elif kind is op.SUBPATTERN:
            if _varies(list(argument[3])):
                return True
        elif kind in (op.ASSERT, op.ASSERT_NOT, op.ATOMIC_GROUP):
            return True
    return False


def _chars(item: tuple[Any, Any]) -> frozenset[int]:
    """Return which characters an item can read; all of them where that isn't plain to see."""
    kind, argument = item
    if kind is op.LITERAL:
        return frozenset({min(argument, 256)})
    if kind is op.NOT_LITERAL:
        return _ANY - {argument}
    if kind is op.AT:
        return frozenset()
    if kind in _REPEATS:
        return frozenset[int]().union(*map(_chars, argument[2]))
    if kind is op.SUBPATTERN:
        return frozenset[int]().union(*map(_chars, argument[3]))
    return _set(argument) if kind is op.IN else _ANY


def _set(parts: list[tuple[Any, Any]]) -> frozenset[int]:
    chars: set[int] = set()
    is_negated = bool(parts) and parts[0][0] is op.NEGATE
    for kind, argument in parts[is_negated:]:
        if kind is op.LITERAL:
            chars.add(min(argument, 256))
        elif kind is op.RANGE:
            chars.update(range(min(argument[0], 256), min(argument[1], 256) + 1))
        elif argument in _CATEGORIES:
            known = re.compile(_CATEGORIES[argument])
            chars.update(code for code in range(256) if known.match(chr(code)))
            chars.add(256)
        else:
            return _ANY
    # what is beyond the first 256 is one thing here: a set that holds some of it may leave out others
    return (_ANY - chars) | {256} if is_negated else frozenset(chars)
