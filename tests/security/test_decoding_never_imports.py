"""Decoding never imports: whatever a log, a snapshot, a definition or an exported run names, no code is looked up by it."""

from __future__ import annotations

import asyncio
import builtins
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import perdure.graph.definitions.defining  # noqa: F401 - imported when a definition is first loaded
from perdure import CodecError, Engine, Graph, GraphBuilder, PerdureError, RunStalled, SQLiteStore, StepContext
from perdure.codec.blobs import Blobs
from perdure.codec.codec import Codec
from perdure.codec.refusal import Refusal
from perdure.engine.inspection.inspect import inspect_run
from perdure.engine.inspection.untyped import UntypedValues
from perdure.store.chain import chain_start, chained
from perdure.store.export import read_export

CALLED: list[str] = []
UNUSED = [
    "this",
    "antigravity",
    "turtledemo",
    "idlelib",
    "lib2to3.pgen2",
    "xmlrpc.server",
    "ensurepip",
    "wsgiref.simple_server",
]


@dataclass
class Known:
    value: Any = None


def trap(*arguments: Any) -> None:
    CALLED.append(repr(arguments))


def graph() -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name="known", input_type=Any, output_type=Any, state_type=Known)  # type: ignore[arg-type]

    @g.step
    async def same(ctx: StepContext[Known, None, Any]) -> Any:
        return ctx.inputs

    g.add(g.edge_from(g.start_node).to(same), g.edge_from(same).to(g.end_node))
    return g.build()


GRAPH = graph()
CODEC = Codec(GRAPH)

names = st.sampled_from(
    [
        *UNUSED, "os.system", "os:system", "builtins.eval", "builtins:exec", "subprocess.Popen", f"{__name__}.trap", f"{__name__}:trap",
        "__main__", "pickle.loads", "perdure.engine.engine.Engine", "Known.__init__", "Known.__class__", "__import__", "object", "type",
        "..os", "os.system@1", "this@2", "@", "Known@999999999999", "Known@x", "py/object", "!!python/object/apply:os.system",
    ]
)  # fmt: skip
tags = names | st.builds("{}@{}".format, names, st.integers(-1, 3)) | st.text(max_size=20)
plain = st.none() | st.integers() | st.text(max_size=20) | names
content = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["value", "$", "v", "__reduce__", "__class__", "cmd"]), inner, max_size=3)
        | st.builds(lambda tag, value: {"$": tag, "v": value}, tags, inner)
    ),
    max_leaves=12,
)
stored = st.builds(lambda tag, value: msgspec.json.encode({"$": tag, "v": value}), tags, content)


@pytest.fixture(autouse=True)
def nothing_is_called(monkeypatch: pytest.MonkeyPatch) -> Any:
    CALLED.clear()
    monkeypatch.setattr(os, "system", trap)
    monkeypatch.setattr(subprocess, "Popen", trap)
    for name in ("eval", "exec"):
        real = getattr(builtins, name)
        monkeypatch.setattr(
            builtins, name, lambda *a, _real=real, **k: trap(*a) if a and a[0] in UNUSED else _real(*a, **k)
        )
    before = set(sys.modules)
    yield
    assert [
        name for name in set(sys.modules) - before if name.split(".")[0] in {one.split(".")[0] for one in UNUSED}
    ] == []
    assert CALLED == []


RELAXED = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@RELAXED
@given(stored)
def test_a_stored_value_names_only_types_that_are_registered(data: bytes) -> None:
    before = set(sys.modules)
    for by in ("same", "__start__", ""):
        try:
            CODEC.read(by, msgspec.Raw(data), Blobs())
        except PerdureError:
            pass
        except Exception as error:
            assert type(error).__name__ == "BlobMissing", error  # a reference to a large value
    assert set(sys.modules) == before


@RELAXED
@given(stored)
def test_inspection_without_types_looks_up_nothing(data: bytes) -> None:
    before = set(sys.modules)
    try:
        UntypedValues().value(msgspec.Raw(data))
    except (PerdureError, Refusal, LookupError, TypeError, ValueError):
        pass
    except Exception as error:
        assert type(error).__name__ == "BlobMissing", error
    assert set(sys.modules) == before


@RELAXED
@given(stored)
def test_a_state_and_its_changes_look_up_nothing(data: bytes) -> None:
    before = set(sys.modules)
    for read in (CODEC.read_state, CODEC.read_operations):
        try:
            read(msgspec.Raw(data), Blobs())
        except PerdureError:
            pass
        except Exception as error:
            assert type(error).__name__ in ("BlobMissing", "TypeError", "KeyError", "IndexError", "ValueError"), error
    assert set(sys.modules) == before


@pytest.mark.parametrize("tag", [*UNUSED, "os.system", f"{__name__}:trap", "builtins:eval@1"])
def test_a_run_whose_log_names_code_is_stalled_and_can_be_inspected(tag: str, tmp_path: Path) -> None:
    """The hashes are made new, as somebody who owns the file can."""
    db = tmp_path / "r.db"
    asyncio.run(GRAPH.run(inputs="INPUT", state=Known(), store=db, run_id="r"))
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("DROP TRIGGER log_never_changes")
        rows = connection.execute("SELECT first, count, epoch, ts, events FROM log ORDER BY first").fetchall()
        head = chain_start("r", "known")
        for first, count, epoch, ts, events in rows[:1]:
            changed = events.replace('"INPUT"', msgspec.json.encode({"$": tag, "v": {"value": "x"}}).decode())
            assert changed != events
            head = chained(head, "r", first, count, epoch, ts, changed.encode())
            connection.execute("UPDATE log SET events = ?, hash = ? WHERE first = ?", (changed, head, first))
        connection.execute("DELETE FROM run WHERE 0")
        connection.execute("DROP TRIGGER log_never_shrinks")
        connection.execute("DELETE FROM log WHERE first > ?", (rows[0][0],))
        connection.execute(
            "UPDATE run SET status = 'RUNNING', known_seq = ?, owner = NULL, lease_until = 0", (rows[0][1],)
        )
        connection.commit()

    async def looking() -> None:
        store = SQLiteStore(db)
        await store.open()
        assert (await inspect_run(store, "r")).inputs in ({"value": "x"}, "x")
        await store.close()
        async with Engine.open(db, [GRAPH]) as engine:
            with pytest.raises((CodecError, RunStalled, PerdureError)):
                await asyncio.wait_for(engine.attach("r").result(), 10)

    asyncio.run(looking())


@RELAXED
@given(names)
def test_a_definition_names_only_steps_it_is_given(name: str) -> None:
    before = set(sys.modules)
    definition = {
        "name": "hostile",
        "nodes": [{"id": "a", "step": name}],
        "edges": [{"from": "START", "to": "a"}, {"from": "a", "to": "END"}],
    }
    with pytest.raises(PerdureError):
        Graph.from_json(msgspec.json.encode(definition).decode(), steps={})
    assert set(sys.modules) == before


@RELAXED
@given(st.lists(stored | st.binary(max_size=30), max_size=4))
def test_an_exported_run_that_is_hostile_is_refused(lines: list[bytes]) -> None:
    before = set(sys.modules)
    header = b'{"type":"perdure-export","format":1}'
    with pytest.raises(PerdureError):
        read_export([header, *lines], "hostile")
    with pytest.raises(PerdureError):
        read_export([header, b"[" * 100_000, *lines], "hostile")
    assert set(sys.modules) == before
