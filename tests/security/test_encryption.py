"""Encryption: what is in a store can't be read, moved or swapped without its key, and everything goes on to work with it."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perdure import (
    AES256GCM,
    AnswerRefused,
    EncryptionError,
    Engine,
    GraphBuilder,
    MemoryStore,
    RunStalled,
    SQLiteStore,
    StepContext,
    reduce_list_append,
)
from perdure.cli.exits import Exit
from perdure.cli.main import run as command
from perdure.engine.inspection.verify import verify_run
from perdure.store.encryption import sealed_store
from perdure.store.export import export_run, import_run, read_export

KEYS = AES256GCM({"k1": bytes(range(32))})
OTHER = AES256GCM({"k1": bytes(32)})
CANARY = "canary-5d41402a"


@dataclass
class Seen:
    names: list[str]
    large: str = ""


def asking() -> Any:
    g = GraphBuilder(name="asking", state_type=Seen, input_type=list[str], output_type=str)

    @g.step
    async def look(ctx: StepContext[Seen, None, str]) -> str:
        ctx.state.names.append(ctx.inputs)
        ctx.state.large = CANARY * 30_000
        return ctx.inputs * 30_000

    collect = g.join(reduce_list_append, initial_factory=list[str])
    approve = g.human("approve", form=str, title=lambda ctx: f"approve {len(ctx.inputs)} of {CANARY}")
    told = g.signal("told", str)

    @g.step
    async def fail(ctx: StepContext[Seen, None, str]) -> str:
        if ctx.inputs == "fail":
            raise ValueError(CANARY)
        return ctx.inputs

    g.add(
        g.edge_from(g.start_node).map().to(look),
        g.edge_from(look).to(collect),
        g.edge_from(collect).to(approve),
        g.edge_from(approve).to(told),
        g.edge_from(told).to(fail),
        g.edge_from(fail).to(g.end_node),
    )
    return g.build()


GRAPH = asking()


def bytes_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file())


async def until_asked(engine: Engine, inputs: list[str], run_id: str = "r") -> Any:
    handle = await engine.start(GRAPH, inputs=inputs, state=Seen([]), run_id=run_id, tags={"team": "x"})
    waits = await handle.until_waiting()
    return handle, waits[0]


async def through(engine: Engine, last: str = "done") -> Any:
    handle, wait = await until_asked(engine, [CANARY, CANARY + "2"])
    assert wait.title == f"approve 2 of {CANARY}"
    assert wait.form == {"type": "string"}
    await engine.respond("r", wait.task_id, CANARY, by="me")
    await engine.respond("r", wait.task_id, CANARY, by="me")  # the same once more
    with pytest.raises(AnswerRefused, match="differently"):
        await engine.respond("r", wait.task_id, "another", by="me")
    await engine.signal("r", "told", last)
    return handle


# --- what can be read ---


def test_nothing_of_a_users_values_is_in_an_encrypted_store(tmp_path: Path) -> None:
    async def running() -> None:
        async with Engine.open(tmp_path / "e.db", [GRAPH], encryption=KEYS) as engine:
            handle = await through(engine, "fail")
            with pytest.raises(ValueError, match=CANARY):
                await handle.result()
            info = await engine.get("r")
            assert info.error == f"ValueError: {CANARY}"
            assert CANARY.encode() not in bytes_in(tmp_path)
        assert CANARY.encode() not in bytes_in(tmp_path)

    asyncio.run(running())
    with closing(sqlite3.connect(tmp_path / "e.db")) as connection:
        kinds = {kind for (kind,) in connection.execute("SELECT kind FROM events").fetchall()}
        assert kinds == {"Encrypted"}
        assert connection.execute("SELECT run_id, status FROM runs").fetchall() == [("r", "FAILED")]
        blobs = connection.execute("SELECT data FROM blob").fetchall()
        assert blobs
        assert all(data.startswith(b"perdure-encrypted:k1:") for (data,) in blobs)


@pytest.mark.parametrize("make", [MemoryStore, None], ids=["memory", "sqlite"])
def test_a_run_goes_its_way_in_an_encrypted_store(make: Callable[[], Any] | None, tmp_path: Path) -> None:
    async def running() -> None:
        store = make() if make is not None else SQLiteStore(tmp_path / "e.db")
        async with Engine.open(store, [GRAPH], encryption=KEYS) as engine:
            handle = await through(engine)
            assert await handle.result() == "done"
            assert {event.kind async for event in handle.events()} >= {"RunStarted", "Answered"}
            assert (await handle.state()).names == [CANARY, CANARY + "2"]
            fork = await engine.fork_run("r", at=1, new_run_id="f")
            assert (await fork.until_waiting())[0].title.endswith(CANARY)
            again = await engine.start(GRAPH, inputs=[CANARY, CANARY + "2"], state=Seen([]), run_id="r")
            assert await again.result() == "done"
        async with Engine.open(store, [GRAPH], encryption=KEYS) as engine:
            assert await engine.attach("r").result() == "done"

    asyncio.run(running())


def test_a_snapshot_is_sealed_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.engine.driving.snapshots.WORTHWHILE_BYTES", 1000)
    monkeypatch.setattr("perdure.engine.driving.recovery.SHORT", 1)

    async def running() -> None:
        async with Engine.open(tmp_path / "e.db", [GRAPH], encryption=KEYS) as engine:
            await until_asked(engine, [CANARY] * 50)
        async with Engine.open(tmp_path / "e.db", [GRAPH], encryption=KEYS) as engine:
            store = sealed_store(SQLiteStore(tmp_path / "e.db"), KEYS)
            await store.open()
            snapshot = await store.snapshot("r")
            assert snapshot is not None
            assert CANARY.encode() in snapshot.data
            await store.close()
            [wait] = await engine.waiting("r")
            await engine.respond("r", wait.task_id, "yes")
            await engine.signal("r", "told", "done")
            assert await engine.attach("r").result() == "done"

    asyncio.run(running())
    assert CANARY.encode() not in bytes_in(tmp_path)


# --- keys ---


async def left_waiting(path: Path, encryption: Any = KEYS) -> None:
    async with Engine.open(path, [GRAPH], encryption=encryption) as engine:
        handle, _ = await until_asked(engine, [CANARY])
        assert handle.run_id == "r"


@pytest.mark.parametrize(
    ("encryption", "said"),
    [(None, "encrypted with key 'k1'"), (OTHER, "can't be opened"), (AES256GCM({"k2": bytes(32)}), "'k1'")],
)
def test_a_run_whose_key_is_missing_is_refused_parked_and_not_lost(tmp_path: Path, encryption: Any, said: str) -> None:
    db = tmp_path / "e.db"

    async def running() -> None:
        await left_waiting(db)
        async with Engine.open(db, [GRAPH], encryption=encryption, recover=False) as engine:
            with pytest.raises(EncryptionError, match="'k1'"):
                await engine.signal("r", "told", "in the clear")
            with pytest.raises(EncryptionError, match="'k1'"):
                await engine.cancel("r")
            with pytest.raises(EncryptionError, match="'k1'"):
                await engine.recover_run("r")
            with pytest.raises(EncryptionError, match="'k1'"):
                await engine.start(GRAPH, inputs=[CANARY], state=Seen([]), run_id="r")
        async with Engine.open(db, [GRAPH], encryption=KEYS, drive=False) as client:
            [wait] = await client.waiting("r")
            await client.respond("r", wait.task_id, "yes")
        async with Engine.open(db, [GRAPH], encryption=encryption) as engine:
            with pytest.raises(RunStalled):
                await engine.attach("r").result()
            error = (await engine.get("r")).error
            assert said in error
        async with Engine.open(db, [GRAPH], encryption=KEYS) as engine:
            await engine.signal("r", "told", "done")
            assert await engine.attach("r").result() == "done"

    asyncio.run(running())


def test_keys_are_changed_while_runs_go_on(tmp_path: Path) -> None:
    both = AES256GCM({"k2": os.urandom(32), "k1": bytes(range(32))})

    async def running() -> None:
        await left_waiting(tmp_path / "e.db")
        async with Engine.open(tmp_path / "e.db", [GRAPH], encryption=both) as engine:
            [wait] = await engine.waiting("r")
            await engine.respond("r", wait.task_id, "yes")
            await engine.signal("r", "told", "done")
            assert await engine.attach("r").result() == "done"

    asyncio.run(running())
    with closing(sqlite3.connect(tmp_path / "e.db")) as connection:
        keys = [
            text.split('"')[3].split(":")[1] for (text,) in connection.execute("SELECT events FROM log ORDER BY first")
        ]
    assert keys[0] == "k1"
    assert keys[-1] == "k2"


def test_a_run_in_the_clear_is_refused_under_an_encryption(tmp_path: Path) -> None:
    async def running() -> None:
        await left_waiting(tmp_path / "e.db", None)
        async with Engine.open(tmp_path / "e.db", [GRAPH], drive=False) as client:
            [wait] = await client.waiting("r")
            await client.respond("r", wait.task_id, "yes")
        async with Engine.open(tmp_path / "e.db", [GRAPH], encryption=KEYS) as engine:
            with pytest.raises(EncryptionError, match="isn't encrypted"):
                await engine.signal("r", "told", "secret")
            with pytest.raises(RunStalled):
                await engine.attach("r").result()

    asyncio.run(running())


# --- what is bound to its place ---


def tampered(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"DROP TRIGGER log_never_changes; {sql}")


def test_rows_of_two_runs_cannot_be_swapped_even_with_new_hashes(tmp_path: Path) -> None:
    async def running() -> None:
        store = sealed_store(MemoryStore(), KEYS)
        async with Engine.open(store, [GRAPH]) as engine:
            await until_asked(engine, ["a"], "one")
            await until_asked(engine, ["b"], "two")
            beneath = store.sealed  # type: ignore[attr-defined]
            [theirs, *_] = await beneath.read("two")
            with pytest.raises(EncryptionError, match="changed or moved"):
                store.sealing.open_row("one", theirs)  # type: ignore[attr-defined]

    asyncio.run(running())


@pytest.mark.parametrize("field", ["first", "count", "epoch", "ts"])
def test_a_row_is_bound_to_its_place_and_time(field: str) -> None:
    import msgspec

    from perdure.store.encryption import Sealing
    from perdure.store.records import Row

    sealing = Sealing(KEYS)
    row = Row(1, 2, 3, 4, sealing.row("r", 1, 2, 3, 4, b'[["X"]]'), b"")
    assert sealing.open_row("r", row).events == b'[["X"]]'
    with pytest.raises(EncryptionError):
        sealing.open_row("r", msgspec.structs.replace(row, **{field: 9}))
    with pytest.raises(EncryptionError):
        sealing.open_row("s", row)


def test_the_chain_of_hashes_is_verified_without_the_key(tmp_path: Path) -> None:
    db = tmp_path / "e.db"

    async def verified() -> Any:
        store = SQLiteStore(db)
        await store.open()
        try:
            info = await store.get("r")
            assert info is not None
            return await verify_run(store, info)
        finally:
            await store.close()

    asyncio.run(left_waiting(db))
    verdict = asyncio.run(verified())
    assert verdict.is_sound
    assert verdict.blobs >= 2
    tampered(db, "UPDATE log SET events = replace(events, 'encrypted:k1:A', 'encrypted:k1:B'), ts = ts + (first = 1);")
    assert not asyncio.run(verified()).is_sound


# --- exports and the command line ---


def test_an_export_stays_encrypted_and_is_opened_elsewhere_with_the_key(tmp_path: Path) -> None:
    async def running() -> None:
        await left_waiting(tmp_path / "e.db")
        store = sealed_store(SQLiteStore(tmp_path / "e.db"), KEYS)
        await store.open()
        info = await store.get("r")
        assert info is not None
        lines = [line async for line in export_run(store, info)]
        await store.close()
        assert CANARY.encode() not in b"".join(lines)
        there = SQLiteStore(tmp_path / "there.db")
        await there.open()
        await import_run(there, read_export(lines, "export"))
        await there.close()
        async with Engine.open(tmp_path / "there.db", [GRAPH], encryption=KEYS) as engine:
            [wait] = await engine.waiting("r")
            await engine.respond("r", wait.task_id, "yes")
            await engine.signal("r", "told", "done")
            assert await engine.attach("r").result() == "done"

    asyncio.run(running())


READING = ["show", "history", "explain", "timeline", "trace", "state"]


@pytest.mark.parametrize("verb", READING)
def test_the_command_line_says_which_key_is_missing_and_works_with_it(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    db = tmp_path / "e.db"
    asyncio.run(left_waiting(db))
    code = command([verb, "r", "--db", str(db)])
    told = capsys.readouterr()
    assert code == Exit.STORE
    assert "encrypted with key 'k1'" in told.err
    assert "Traceback" not in told.err
    keys = tmp_path / "keys"
    keys.write_text("# ours\nk1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")
    keys.chmod(0o600)
    monkeypatch.setenv("PERDURE_KEYS", str(keys))
    code = command([verb, "r", "--db", str(db)])
    assert "encrypted" not in capsys.readouterr().err
    assert code in (0, 3)
    keys.chmod(0o644)
    assert command([verb, "r", "--db", str(db)]) == Exit.STORE
    assert "chmod 600" in capsys.readouterr().err


def test_lists_and_checks_of_files_need_no_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db = tmp_path / "e.db"
    asyncio.run(left_waiting(db))
    for arguments in (["runs"], ["verify"], ["du"], ["waiting"], ["export", "r", "-o", str(tmp_path / "out")]):
        assert command([*arguments, "--db", str(db)]) == 0, arguments
    assert CANARY not in capsys.readouterr().out
    assert CANARY.encode() not in bytes_in(tmp_path)


# --- crashes ---

PROGRAM = """
import asyncio, sys
from perdure import AES256GCM, Engine, GraphBuilder, StepContext, reduce_sum

g = GraphBuilder(name="counting", input_type=list[int], output_type=int)

@g.step
async def count(ctx: StepContext[None, None, int]) -> int:
    print(ctx.inputs, flush=True)
    if sys.argv[2] == "stand" and ctx.inputs >= 20:
        await asyncio.sleep(3600)
    return ctx.inputs

total = g.join(reduce_sum, initial=0)
g.add(g.edge_from(g.start_node).map(max_concurrency=1).to(count), g.edge_from(count).to(total), g.edge_from(total).to(g.end_node))
graph = g.build()

async def main():
    async with Engine.open(sys.argv[1], [graph], encryption=AES256GCM({"k": bytes(32)})) as engine:
        handle = await engine.start(graph, inputs=list(range(40)), run_id="r")
        print("result", await handle.result(), flush=True)

asyncio.run(main())
"""


def test_a_run_that_was_killed_goes_on_from_its_encrypted_log(tmp_path: Path) -> None:
    program = [sys.executable, "-c", PROGRAM, str(tmp_path / "e.db")]
    with subprocess.Popen([*program, "stand"], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        for line in killed.stdout:
            if line.strip() == "20":
                break
        os.kill(killed.pid, signal.SIGKILL)
    again = subprocess.run([*program, "go"], capture_output=True, text=True, timeout=60, check=True)
    *ran, result = again.stdout.split("\n")[:-1]
    assert result == "result 780"
    assert ran == [str(number) for number in range(20, 40)]


# --- the cipher ---


def test_equal_things_in_different_places_look_different_and_in_the_same_place_alike() -> None:
    assert KEYS.encrypt(b"yes", b"here") == KEYS.encrypt(b"yes", b"here")
    assert KEYS.encrypt(b"yes", b"here")[12:] != KEYS.encrypt(b"yes", b"there")[12:]
    assert KEYS.encrypt(b"yes", b"here")[:12] != KEYS.encrypt(b"yet", b"here")[:12]
    with pytest.raises(EncryptionError):
        KEYS.decrypt("k1", KEYS.encrypt(b"yes", b"here"), b"there")
    with pytest.raises(EncryptionError):
        KEYS.decrypt("k1", b"short", b"here")


def test_keys_are_checked_and_never_shown() -> None:
    for keys in ({}, {"k": b"short"}, {"k": "x" * 32}):
        with pytest.raises(EncryptionError):
            AES256GCM(keys)  # type: ignore[arg-type]
    with pytest.raises(EncryptionError, match="to write with"):
        AES256GCM({"k": bytes(32)}, write_with="j")
    secret = b"0123456789abcdef0123456789abcdef"
    assert "0123456789abcdef" not in repr(AES256GCM({"k": secret}))
    with pytest.raises(EncryptionError, match="id of a key"):
        Engine.open(MemoryStore(), encryption=AES256GCM({"a:b": secret}))


def test_encryption_and_redaction_need_a_store() -> None:
    g = GraphBuilder(name="short", input_type=int, output_type=int)
    g.add(g.edge_from(g.start_node).to(g.end_node))
    graph = g.build()
    for option in ({"encryption": KEYS}, {"redact": lambda where, path, value: value}):
        with pytest.raises(TypeError, match="store="):
            graph.run_sync(inputs=1, **option)  # type: ignore[arg-type]
