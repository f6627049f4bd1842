"""Every Python snippet of the README and the docs runs, and every console session prints what it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from sybil import Sybil
from sybil.document import Document
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# What differs from run to run.
_VARYING = [
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "<moment>"),
    (re.compile(r"\d\d:\d\d:\d\d\.\d{3}"), "<time>"),
    (re.compile(r"[\w.-]+:\d+:[0-9a-f]{16}"), "<worker>"),
    (re.compile(r"pid \d+ on [\w.-]+"), "<process>"),
    (re.compile(r"\d+ ms later|[\d.]+ s later"), "<later>"),
    (re.compile(r"  +|-{3,}"), "  "),
]
_COMMANDS = {"python": [sys.executable], "perdure": [sys.executable, "-m", "perdure.cli.main"]}


def same(text: str) -> str:
    for varying, name in _VARYING:
        text = varying.sub(name, text)
    return text.strip()


def in_any_order(text: str) -> list[str]:
    """Return the events of a log without their places: whether two results make one decision or two depends on timing."""
    lines = [re.sub(r"^ *\d+ ", "", line) for line in same(text).splitlines()]
    return sorted(re.sub(r" state \[\[.*", " state <change>", line) for line in lines)


def parsed(page: Path) -> Document:
    parsers = [PythonCodeBlockParser(), CodeBlockParser("console", evaluate_console)]
    return Sybil(parsers=parsers).parse(page)


def evaluate_console(example: object) -> None:
    for command, expected in sessions(str(example.parsed)):  # type: ignore[attr-defined]
        program, *arguments = shlex.split(command)
        done = subprocess.run(
            [*_COMMANDS[program], *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PERDURE_DB": ""},
        )
        alike = in_any_order if "history" in arguments else same
        assert alike(done.stdout) == alike(expected), f"$ {command}\n{done.stdout}\n{done.stderr}"


def sessions(block: str) -> Iterator[tuple[str, str]]:
    """Yield the commands of a console block, each with what it prints."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def files(text: str) -> dict[str, str]:
    """Return the files that a page asks its reader to save."""
    blocks = re.findall(r'^```python title="([^"]+)"\n(.*?)^```', text, flags=re.MULTILINE | re.DOTALL)
    return dict(blocks)


@pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])
def test_the_snippets_of_a_page_do_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("PERDURE_DB", raising=False)
    saved = files(page.read_text("utf-8"))
    for name, content in saved.items():
        (tmp_path / name).write_text(content)
    module = ModuleType(f"snippets_of_{page.stem.replace('-', '_')}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    document = parsed(page)
    document.namespace = module.__dict__
    for example in document.examples():
        if str(example.parsed) not in saved.values():
            example.evaluate()


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs/explanation/decisions"
    index = (folder / "README.md").read_text("utf-8")
    assert [path.name for path in sorted(folder.glob("0*.md")) if f"({path.name})" not in index] == []
