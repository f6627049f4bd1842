"""Changes: what differs between two versions of a graph, by node, in words."""

from __future__ import annotations

from perdure.graph.plan import Plan, structure_of


def plan_changes(before: Plan, after: Plan) -> tuple[str, ...]:
    """Return what has changed from one plan to another: a sentence for each node, in the order of their ids."""
    found = []
    for name in sorted({*before.nodes, *after.nodes}):
        old, new = before.nodes.get(name), after.nodes.get(name)
        if old is None:
            found.append(f"node {name!r} is new")
        elif new is None:
            found.append(f"node {name!r} is gone")
        else:
            was, now = structure_of(old), structure_of(new)
            parts = [part for part in sorted({*was, *now}) if was.get(part) != now.get(part)]
            if parts:
                found.append(f"node {name!r} differs in {', '.join(_WORDS.get(part, part) for part in parts)}")
    if before.end != after.end:
        found.append(f"the end is {after.end!r}, and was {before.end!r}")
    return tuple(found)


_WORDS = {
    "flow": "where it leads",
    "parent": "its parent fork",
    "kind": "what it is",
    "join": "the join behind it",
    "catch": "what a failure comes to",
    "wait": "what it waits for",
    "state": "the state it works on",
}
