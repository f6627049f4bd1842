"""Versions of graphs: which of two is the later one.

The order is that of Semantic Versioning 2.0.0 (https://semver.org, item 11), with any count of numbers: parts are compared
as numbers, so 1.10 is later than 1.9; a pre-release is earlier than its release, and its own parts are compared one by
one, numbers as numbers and before words; what follows a ``+`` doesn't count. 1.0 and 1.0.0 are the same version.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from perdure.errors import GraphSetupError

VersionOrder: TypeAlias = tuple[tuple[int, ...], tuple[int, ...] | tuple[int, tuple[tuple[int, int, str], ...]]]
"""What versions are compared by."""

UNVERSIONED: Final[VersionOrder] = ((), (1,))
"""The place of a graph without a version: before all others."""

_LONGEST = 64
_FORM = re.compile(r"v?([0-9]+(?:\.[0-9]+)*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?")


def version_order(version: str) -> VersionOrder:
    """Return what a version is compared by; an empty text stands for no version.

    Raises:
        GraphSetupError: it is no version.
    """
    if version == "":
        return UNVERSIONED
    found = _FORM.fullmatch(version) if isinstance(version, str) and len(version) <= _LONGEST else None
    if found is None:
        raise GraphSetupError(
            f"version={version!r:.100} is no version: write numbers with dots between, as in '1.10' or '2.0.0', and for a "
            "pre-release a hyphen and its name, as in '2.0.0-rc.1'"
        )
    numbers, pre_release = found.groups()
    release = [int(number) for number in numbers.split(".")]
    while len(release) > 1 and release[-1] == 0:
        release.pop()
    if pre_release is None:
        return tuple(release), (1,)
    parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in pre_release.split("."))
    return tuple(release), (0, parts)


def is_pre_release(order: VersionOrder) -> bool:
    """Say whether a version comes before the release it is named after."""
    return order[1][0] == 0


def checked_version(version: str | None) -> str:
    """Return a version, or an empty text for None.

    Raises:
        GraphSetupError: it is no version.
    """
    if version is None:
        return ""
    if version == "":
        raise GraphSetupError("version='' is no version: leave it out, or write one as in '1.10'")
    version_order(version)
    return version
