"""Rendering of a plan as a Mermaid state diagram (``stateDiagram-v2``).

Ids of nodes may be any printable text, and Mermaid's grammar is narrow, so each node gets a name that Mermaid takes as
one: letters, digits and underscores, no keyword. Text is written as it is, but for the characters that end a text,
begin a comment or are taken for markup; those become Mermaid's entities (``#59;``). What this escapes was found by
giving texts to Mermaid's own parser, version 11.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final, Literal

from perdure.graph.compile.topology import Topology
from perdure.graph.flow import Enter, Flow, Leaf, Pick, Split, Spread, subflows
from perdure.graph.nodes.nodes import END_ID, START_ID
from perdure.graph.plan import NodeKind, NodePlan, Plan

Direction = Literal["TB", "LR", "RL", "BT"]

_SHAPES: Final = {
    NodeKind.BROADCAST: "<<fork>>",
    NodeKind.MAP: "<<fork>>",
    NodeKind.ROUTES: "<<fork>>",
    NodeKind.JOIN: "<<join>>",
    NodeKind.DECISION: "<<choice>>",
}
# Mermaid's lexer doesn't look at case. The last three are names it gives to states of its own.
_KEYWORD: Final = re.compile(
    "accdescr|acctitle|as|choice|class|classdef|click|concurrent|default|direction|end|fork|hide|href|join|left|note|of|"
    "right|scale|state|statediagram|style|title|divider|root|root_end|root_start",
    re.IGNORECASE,
)
_MARKUP: Final = re.compile(
    r"[#;&<>%\\]|^:|:(?=:|$)|(?<=:):|(?<=\bend)\s(?=note\b)|(?<=direction)\s(?=tb|bt|lr|rl)", re.IGNORECASE
)
_PLAIN_TITLE: Final = re.compile(r"(?!(?:true|false|null|yes|no|on|off)$)[^\W\d_][\w ,.()/-]*", re.IGNORECASE)


def render(plan: Plan, *, title: str | None = None, direction: Direction | None = None) -> str:
    """Return the plan as Mermaid text; nodes and edges stand in the order in which a run can reach them."""
    reached = Topology(plan).order
    order = [*reached, *(id_ for id_ in plan.nodes if id_ not in reached)]
    names = {START_ID: "[*]", END_ID: "[*]", **_names(id_ for id_ in order if id_ not in (START_ID, END_ID))}
    lines = ["---", f"title: {_quoted(title)}", "---"] if title else []
    lines.append("stateDiagram-v2")
    if direction:
        lines.append(f"  direction {direction}")
    for id_ in order:
        lines += _node_lines(plan.nodes[id_], names[id_])
    lines.append("")
    drawn: set[str] = set()
    for id_ in order:
        flow = plan.nodes[id_].flow
        if flow is not None:
            lines += _edge_lines(id_, flow, names, drawn)
    return "\n".join(lines)


def _quoted(title: str) -> str:
    title = " ".join(title.split())
    return title if _PLAIN_TITLE.fullmatch(title) else json.dumps(title, ensure_ascii=False)


def _names(ids: Iterable[str]) -> dict[str, str]:
    """Return a name that Mermaid takes for every node."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for id_ in ids:
        base = re.sub(r"\W", "_", id_)
        if _KEYWORD.fullmatch(base):
            base += "_"
        name, count = base, 1
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        taken.add(name)
        names[id_] = name
    return names


def _node_lines(node: NodePlan, name: str) -> list[str]:
    if node.id in (START_ID, END_ID):
        return []
    shape = _SHAPES.get(node.kind)
    shown = _text(node.label or "") or _text(node.id)
    if shape is not None:
        lines = [f"  state {name} {shape}"]
    elif shown != name:
        lines = [f"  {name}: {shown}"]
    else:
        lines = [f"  {name}"]
    note = [line for line in map(_text, (node.note or "").splitlines()) if line]
    if note:
        lines += [f"  note right of {name}", *(f"    {line}" for line in note), "  end note"]
    return lines


def _text(text: str) -> str:
    return _MARKUP.sub(lambda found: f"#{ord(found[0])};", " ".join(text.split()))


def _edge_lines(source: str, flow: Flow, names: dict[str, str], drawn: set[str]) -> list[str]:
    """Return the edges behind a node; what lies behind a fork hangs on the fork, and is drawn once."""
    lines: list[str] = []
    pending: list[tuple[str, Flow]] = [(source, flow)]
    for origin, part in pending:
        if isinstance(part, Leaf):
            lines.append(_edge(names[origin], names[part.target], part.label))
        elif isinstance(part, Split | Spread | Pick | Enter):
            label = part.label if isinstance(part, Split | Spread) else None
            lines.append(_edge(names[origin], names[part.fork], label))
            if part.fork not in drawn:
                drawn.add(part.fork)
                pending += [(part.fork, inner) for inner in subflows(part)]
        else:
            pending += [(origin, inner) for inner in subflows(part)]
    return lines


def _edge(begin: str, end: str, label: str | None) -> str:
    shown = _text(label or "")
    return f"  {begin} --> {end}" + (f": {shown}" if shown else "")
