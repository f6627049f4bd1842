"""Graphs defined in JSON: analyses side by side, notes to several people, drafts in a loop, and ways by condition."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from examples import example
from perdure import Graph, StepContext, StepType


@dataclass
class Desk:
    """What the steps of a definition share."""

    notes: dict[str, Any] = field(default_factory=dict)
    rounds: int = 0


Ctx = StepContext[Desk, None, Any]


async def take_text(ctx: Ctx) -> str:
    ctx.state.notes["text"] = ctx.inputs
    return str(ctx.inputs)


async def mood(ctx: Ctx) -> str:
    found = "glad" if "good" in ctx.inputs else "grim"
    ctx.state.notes["mood"] = found
    return found


async def names(ctx: Ctx) -> list[str]:
    found = [word for word in ctx.inputs.split() if word.istitle()]
    ctx.state.notes["names"] = found
    return found


async def sort_names(ctx: StepContext[Desk, None, list[str]]) -> list[str]:
    return sorted(ctx.inputs)


async def gather(ctx: Ctx) -> list[Any]:
    ctx.state.notes["merged"] = ctx.state.notes.get("merged", 0) + 1
    return list(ctx.inputs)


async def write_draft(ctx: Ctx) -> dict[str, Any]:
    ctx.state.rounds += 1
    return {"score": ctx.state.rounds * 3, "tags": ["urgent"] if ctx.state.rounds == 3 else []}


async def pass_on(ctx: Ctx) -> Any:
    return ctx.inputs


STEPS = {
    "Take": take_text,
    "Mood": mood,
    "Names": StepType(names, retry=3),
    "Sort": sort_names,
    "Gather": gather,
    "Draft": write_draft,
    "Pass": pass_on,
}


def defined(text: str) -> Graph[Any, Any, Any, Any]:
    return Graph.from_json(text, steps=STEPS, state_type=Desk)


ANALYSES = """{
    "id": "analyses",
    "version": "1.0",
    "nodes": [
        {"id": "take", "stepType": "Take"},
        {"id": "mood", "stepType": "Mood"},
        {"id": "names", "stepType": "Names"},
        {"id": "merge", "stepType": "Gather", "waitForAll": true}
    ],
    "edges": [
        {"source": "take", "target": "mood"},
        {"source": "take", "target": "names"},
        {"source": "mood", "target": "merge"},
        {"source": "names", "target": "merge"}
    ]
}"""


@example(
    ["glad", ["Zoe", "Ann"]],
    inputs="Zoe met Ann and all was good",
    state=Desk,
    expected_state=lambda desk: desk.notes["merged"] == 1 and desk.notes["mood"] == "glad",
)
def analyses_defined_in_json() -> Graph[Any, Any, Any, Any]:
    return defined(ANALYSES)


@example(
    ["glad", ["Ann", "Zoe"]],
    inputs="Zoe met Ann and all was good",
    state=Desk,
    expected_state=lambda desk: desk.notes["merged"] == 1,
)
def analyses_of_unequal_depth_defined_in_json() -> Graph[Any, Any, Any, Any]:
    definition = json.loads(ANALYSES)
    definition["maxConcurrency"] = 1
    definition["nodes"].append({"id": "sort", "stepType": "Sort"})
    definition["edges"][3]["target"] = "sort"
    definition["edges"].append({"source": "sort", "target": "merge"})
    return defined(json.dumps(definition))


@example(
    {"score": 9, "tags": ["urgent"]},
    state=Desk,
    expected_state=lambda desk: desk.rounds == 3,
)
def drafts_in_a_loop_defined_in_json() -> Graph[Any, Any, Any, Any]:
    return defined("""{
        "name": "drafts",
        "nodes": [{"id": "draft", "step": "Draft"}, {"id": "review", "step": "Pass"}, {"id": "out", "step": "Pass"}],
        "edges": [
            {"from": "draft", "to": "review"},
            {"from": "review", "to": "draft", "condition": "score < 8 and not state.rounds >= 5"},
            {"from": "review", "to": "out", "condition": "tags contains 'urgent'", "label": "urgent"}
        ],
        "start": "draft"
    }""")


@example(["grim"], inputs="a dull day", state=Desk)
def a_way_not_taken_is_not_waited_for_in_json() -> Graph[Any, Any, Any, Any]:
    return defined("""{
        "name": "ways",
        "nodes": [
            {"id": "take", "stepType": "Take"},
            {"id": "mood", "stepType": "Mood"},
            {"id": "names", "stepType": "Names"},
            {"id": "merge", "stepType": "Gather", "waitForAll": true}
        ],
        "edges": [
            {"source": "take", "target": "names", "condition": "output contains 'Zoe'"},
            {"source": "take", "target": "mood", "condition": "output contains 'Zoe'"},
            {"source": "take", "target": "mood"},
            {"source": "mood", "target": "merge"},
            {"source": "names", "target": "merge"}
        ]
    }""")


@example(
    "x",
    inputs="x",
    state=Desk,
    expected_state=lambda desk: desk.notes == {"text": "x", "mail": True, "chat": True, "phone": True},
)
def notes_without_a_join_are_all_sent_in_json() -> Graph[Any, Any, Any, Any]:
    def sender(name: str) -> Any:
        async def send(ctx: Ctx) -> Any:
            ctx.state.notes[name] = True
            return ctx.inputs

        return send

    definition = {
        "id": "notes",
        "nodes": [
            {"id": "take", "stepType": "Take"},
            *({"id": name, "stepType": name} for name in ("mail", "chat", "phone")),
        ],
        "edges": [{"from": "take", "to": name} for name in ("mail", "chat", "phone")],
    }
    steps = {**STEPS, **{name: sender(name) for name in ("mail", "chat", "phone")}}
    return Graph.from_json(json.dumps(definition), steps=steps, state_type=Desk)
