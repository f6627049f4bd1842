"""Pages name what is there, and lead to each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import perdure

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "benchmarks/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]*))?\)")


def anchors(page: Path) -> set[str]:
    """Return what headings of a page are called in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    astray = []
    for path, anchor in LINK.findall(page.read_text("utf-8")):
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            astray.append(f"{path}#{anchor}")
    assert astray == []


def test_the_index_leads_to_every_page() -> None:
    index = ROOT / "docs/README.md"
    linked = {(index.parent / path).resolve() for path, _ in LINK.findall(index.read_text("utf-8"))}
    pages = {page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "decisions"}
    assert pages - {index} - linked == set()


def test_the_map_names_every_room_and_no_other() -> None:
    source = Path(perdure.__file__).parent
    rooms = {
        f"{folder.relative_to(source).as_posix()}/"
        for folder in source.rglob("*")
        if folder.is_dir() and any(path.suffix in (".py", ".sql") for path in folder.iterdir())
    }
    text = (ROOT / "docs/explanation/where-things-are.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([\w/]+/)` \|", text, flags=re.MULTILINE)) == rooms
    modules = {path.name for path in source.glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"`(\w+\.py)`", text)) == modules
