"""Bytes that nobody writes: JSON with tags, names and numbers that are meant to do harm, and logs with a byte changed."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from perdure.codec.tags import RESERVED

HISTORIES = Path(__file__).parents[1] / "replay" / "histories"

NAMES = [
    *sorted(RESERVED), "Point", "Order", "Order@2", "Pair", "Model", "Color", "os.system", "subprocess.Popen", "antigravity", "this",
    "builtins.eval", "__main__", "perdure.Failure", "Order@9", "@", "", 5, None,
]  # fmt: skip

NASTY: list[Any] = [
    "9" * 5_000, "-1e999999", "1e999999999", "NaN", "sNaN", "0x" + "f" * 5_000, "../../etc/passwd", "/etc/passwd", "Europe/Berlin", "antigravity",
    "2024-01-01", "2024-01-01T00:00:00", "99999-01-01", "\x00", "é" * 99, "=" * 8, 2**63, 2**64 - 1, -(2**63), 0, 1, -1, 1.5, 1e308, None, True,
    [], {}, [[]], [0, 0, 0], [1, 2**63, 3], ["list", []], [[], -1], [[], 2**62], ["2024-01-01", "UTC", 0], ["2024-01-01", [0, 99999, 0], 5],
    {"f0": 1, "f1": []}, [["a", 1], ["a", 2]], [[[], 1]],
]  # fmt: skip


def seeds() -> list[bytes]:
    """Return commits of real logs."""
    found = []
    for path in sorted(HISTORIES.rglob("*.json")):
        found += [row["events"].encode() for row in json.loads(path.read_text("utf-8"))["rows"]]
    return found


def hostile_json(chance: Random, depth: int = 4) -> Any:
    """Return a value, half of the time tagged."""
    if depth == 0 or chance.random() < 0.3:
        return chance.choice(NASTY)
    if chance.random() < 0.6:
        return {"$": chance.choice(NAMES), "v": hostile_json(chance, depth - 1)}
    if chance.random() < 0.5:
        return [hostile_json(chance, depth - 1) for _ in range(chance.randrange(4))]
    return {
        chance.choice(["a", "$", "v", "f0", "left"]): hostile_json(chance, depth - 1)
        for _ in range(chance.randrange(3))
    }


def deep(chance: Random) -> bytes:
    """Return JSON that nests deeper than anything does."""
    levels = chance.choice([63, 64, 65, 66, 300, 5_000, 50_000])
    before, after = chance.choice(
        [(b"[", b"]"), (b'{"$":"tuple","v":[', b"]}"), (b'{"a":', b"}"), (b'{"$":"any","v":', b"}")]
    )
    return before * levels + b"1" + after * levels


def spoilt(data: bytes, chance: Random) -> bytes:
    """Return bytes with a few changed, lost or doubled."""
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(data) + 1)
        way = chance.randrange(4)
        if way == 0:
            data = data[:at] + chance.randbytes(1) + data[at + 1 :]
        elif way == 1:
            data = data[:at]
        elif way == 2:
            data = data[:at] + data[at : at + 20] * 2 + data[at + 20 :]
        else:
            word = chance.choice(
                [b"[", b"]", b"null", b'"', b"-1", b"9" * 30, b"\xff", b'{"$":"any","v":1}', b"\\ud800", b"1e999"]
            )
            data = data[:at] + word + data[at:]
    return data


def hostile(chance: Random, known: list[bytes]) -> bytes:
    """Return something to be read."""
    way = chance.random()
    if way < 0.45:
        return json.dumps(hostile_json(chance)).encode()
    if way < 0.5:
        return deep(chance)
    if way < 0.95:
        return spoilt(chance.choice(known), chance)
    return spoilt(json.dumps(hostile_json(chance)).encode(), chance)
