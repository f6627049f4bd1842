"""The graph of the demo: find the files of a folder, survey each, and join what was found into one report."""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import anyio.to_process
import anyio.to_thread

from perdure.cli.demo.survey import Survey, Unreadable, survey
from perdure.graph.builder.builder import GraphBuilder
from perdure.graph.graph import Graph
from perdure.graph.nodes.join import reduce_list_append, reduce_null
from perdure.graph.nodes.step import StepContext
from perdure.kernel.state.reducers import add

LARGEST_TEST = 16 << 10
"""Test modules of the standard library that are larger, in bytes, are left out, so that the demo stays short."""

LISTED_IMPORTS = 10
"""How many of the most frequent imports the report names."""


@dataclass
class Census:
    """The state of a run: counted by every task that surveys a file."""

    files: Annotated[int, add] = 0
    lines: Annotated[int, add] = 0
    unreadable: list[str] = field(default_factory=list)


@dataclass
class Totals:
    """Sums over all files."""

    files: int = 0
    lines: int = 0
    code_lines: int = 0
    comment_lines: int = 0
    functions: int = 0
    classes: int = 0


@dataclass
class Peak:
    """The most complex function of all."""

    complexity: int = 0
    function: str = ""
    path: str = ""


@dataclass
class Report:
    """What the run gives out."""

    totals: Totals = field(default_factory=Totals)
    imports: dict[str, int] = field(default_factory=dict)
    peak: Peak = field(default_factory=Peak)
    unreadable: list[str] = field(default_factory=list)


def standard_library() -> str:
    """Return the folder of the standard library's sources."""
    return sysconfig.get_paths()["stdlib"]


def _is_surveyed(root: Path, path: Path) -> bool:
    parts = path.relative_to(root).parts
    if "site-packages" in parts or path.is_dir():
        return False
    is_test = str(root) == standard_library() and not {"test", "tests", "idle_test"}.isdisjoint(parts)
    return not is_test or path.stat().st_size < LARGEST_TEST


def files_of(folder: str) -> list[str]:
    """Return the Python files of a folder, in order; what is installed in it is left out.

    A name that isn't text, which no value of a run can hold, comes escaped; so its file is found to be unreadable.
    """
    root = Path(folder)
    paths = [str(path) for path in root.rglob("*.py") if _is_surveyed(root, path)]
    return sorted(path.encode(errors="backslashreplace").decode() for path in paths)


def add_totals(current: Totals, item: Survey) -> Totals:
    """Add one file to the sums."""
    return Totals(
        current.files + 1,
        current.lines + item.lines,
        current.code_lines + item.code_lines,
        current.comment_lines + item.comment_lines,
        current.functions + item.functions,
        current.classes + item.classes,
    )


def count_imports(current: dict[str, int], item: list[str]) -> dict[str, int]:
    """Count one file's imports."""
    for name in item:
        current[name] = current.get(name, 0) + 1
    return current


def most_frequent(counts: dict[str, int]) -> dict[str, int]:
    """Return the most frequent imports; of equal ones the first by name, so that the order of counting doesn't matter."""
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:LISTED_IMPORTS])


def higher(current: Peak, item: Peak) -> Peak:
    """Keep the more complex function; of two equal ones the last by name, so that the order doesn't matter."""
    return max(current, item, key=lambda peak: (peak.complexity, peak.path, peak.function))


@lru_cache(maxsize=1)
def census() -> Graph[Census, None, str, Report]:
    """Return the graph.

    A file is tokenised and parsed in a process of its own (``anyio.to_process``), so that all cores are at work. What is
    made of it is broadcast to three steps whose joins fold one thing each, and a last join waits for these.
    """
    g = GraphBuilder(name="census", state_type=Census, input_type=str, output_type=Report)

    @g.step(label="find the files")
    async def find(ctx: StepContext[Census, None, str]) -> list[str]:
        return await anyio.to_thread.run_sync(files_of, ctx.inputs)

    @g.step(label="tokenise and parse")
    async def look(ctx: StepContext[Census, None, str]) -> Survey | Unreadable:
        found = await anyio.to_process.run_sync(survey, ctx.inputs)
        ctx.state.files += 1
        return found

    @g.step(label="note what is unreadable")
    async def note(ctx: StepContext[Census, None, Unreadable]) -> None:
        ctx.state.unreadable.append(ctx.inputs.path)

    @g.step(label="measure")
    async def measure(ctx: StepContext[Census, None, Survey]) -> Survey:
        ctx.state.lines += ctx.inputs.lines
        return ctx.inputs

    @g.step(label="list imports")
    async def imports(ctx: StepContext[Census, None, Survey]) -> list[str]:
        return ctx.inputs.imports

    @g.step(label="find the peak")
    async def peak(ctx: StepContext[Census, None, Survey]) -> Peak:
        return Peak(ctx.inputs.complexity, ctx.inputs.most_complex, ctx.inputs.path)

    totals = g.join(add_totals, initial_factory=Totals, node_id="totals")
    imported = g.join(count_imports, initial_factory=dict[str, int], node_id="imported")
    highest = g.join(higher, initial_factory=Peak, node_id="highest")
    noted = g.join(reduce_null, initial=None, node_id="noted")
    parts = g.join(reduce_list_append, initial_factory=list[object], node_id="parts")

    @g.step(label="write the report")
    async def report(ctx: StepContext[Census, None, list[object]]) -> Report:
        made = Report(unreadable=sorted(ctx.state.unreadable))
        for part in ctx.inputs:
            if isinstance(part, Totals):
                made.totals = part
            elif isinstance(part, Peak):
                made.peak = part
            elif isinstance(part, dict):
                made.imports = most_frequent(part)
        return made

    g.add(
        g.edge_from(g.start_node).to(find),
        g.edge_from(find).map(fork_id="files", downstream_join_id="parts").to(look),
        g.edge_from(look).to(
            g.decision(node_id="readable")
            .branch(g.match(Unreadable).label("unreadable").to(note))
            .branch(g.match(Survey).label("readable").to(measure, imports, peak))
        ),
        g.edge_from(note).to(noted),
        g.edge_from(measure).to(totals),
        g.edge_from(imports).to(imported),
        g.edge_from(peak).to(highest),
        g.edge_from(totals, imported, highest).to(parts),
        g.edge_from(noted).to(parts),
        g.edge_from(parts).to(report),
        g.edge_from(report).to(g.end_node),
    )
    return g.build()
