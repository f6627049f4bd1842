"""What the docs say of metrics and attributes is what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from perdure.telemetry.metrics import Instruments

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "docs/monitoring/grafana-dashboard.json"
ALERTS = ROOT / "docs/monitoring/prometheus-alerts.yaml"
REFERENCE = ROOT / "docs/reference/telemetry.md"
PACKAGE = ROOT / "src/perdure/telemetry"

KEYWORDS = {"sum", "by", "le", "rate", "increase", "histogram_quantile", "label_values"}


class Meter:
    """Notes which instruments are made, and with which units."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[str, str]] = {}

    def create_counter(self, name: str, unit: str, description: str) -> None:
        assert description
        self.made[name] = ("counter", unit)

    def create_histogram(
        self, name: str, unit: str, description: str, *, explicit_bucket_boundaries_advisory: Any
    ) -> None:
        assert description
        assert list(explicit_bucket_boundaries_advisory) == sorted(explicit_bucket_boundaries_advisory)
        self.made[name] = ("histogram", unit)


def instruments() -> dict[str, tuple[str, str]]:
    meter = Meter()
    Instruments(meter)  # type: ignore[arg-type]
    return meter.made


def exposed() -> set[str]:
    """Return the names that Prometheus sees: dots are underscores, units and kinds are appended, annotations left out."""
    names = set()
    for name, (kind, unit) in instruments().items():
        base = name.replace(".", "_") + ("_seconds" if unit == "s" else "")
        names |= {f"{base}_total"} if kind == "counter" else {f"{base}_{part}" for part in ("bucket", "sum", "count")}
    return names


def labels() -> set[str]:
    """Return the attributes that the reference names in its table of metrics."""
    text = REFERENCE.read_text("utf-8").split("## Metrics")[1].split("## Logs")[0]
    return {name.replace(".", "_") for name in re.findall(r"`((?:perdure|error)\.[\w.]+)`", text)}


def expressions() -> list[str]:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    found += [part["query"] for part in board["templating"]["list"] if part["type"] == "query"]
    return found + re.findall(r"^ +expr: '(.+)'$", ALERTS.read_text("utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("expression", expressions())
def test_every_query_names_metrics_and_labels_that_exist(expression: str) -> None:
    bare = re.sub(r'"[^"]*"', "", re.sub(r"\[[^\]]*\]", "", expression))
    words = set(re.findall(r"[A-Za-z_]\w*", bare)) - KEYWORDS
    metrics = {word for word in words if word in exposed()}
    assert metrics
    assert words - metrics <= labels()
    assert bare.count("(") == bare.count(")")
    assert bare.count("{") == bare.count("}")


def test_every_metric_is_on_the_dashboard() -> None:
    shown = " ".join(expressions())
    assert [name for name in instruments() if name.replace(".", "_") not in shown] == []


def test_every_metric_is_documented_with_its_kind_and_unit() -> None:
    rows = re.findall(r"^\| `(perdure\.[\w.]+)` \| (\w+), (\w+)", REFERENCE.read_text("utf-8"), flags=re.MULTILINE)
    units = {"s": "s", "{run}": "runs", "{attempt}": "attempts", "{branch}": "branches", "{event}": "events",
             "{lease}": "leases"}  # fmt: skip
    assert {name: (kind, unit) for name, kind, unit in rows} == {
        name: (kind, units[unit]) for name, (kind, unit) in instruments().items()
    }


def test_every_attribute_is_documented_and_every_documented_one_exists() -> None:
    text = REFERENCE.read_text("utf-8")
    source = "\n".join(path.read_text("utf-8") for path in sorted(PACKAGE.glob("*.py")) if path.name != "metrics.py")
    written = set(re.findall(r"\"(perdure(?:\.\w+)+)\"", source)) - {"perdure.telemetry", "perdure.engine"}
    written |= {f"perdure.batch.{part}" for part in ("completed", "failed", "cancelled")}
    documented = set(re.findall(r"`(perdure(?:\.\w+)+)`", text)) - (set(instruments()) - written)
    documented -= {
        "perdure.engine",
        "perdure.telemetry",
        "perdure.telemetry.add_trace",
        "perdure.engine.logging.add_attempt",
    }
    assert written == documented


def test_every_span_is_documented() -> None:
    from typing import get_args

    from perdure.telemetry.spans import SpanKind

    text = REFERENCE.read_text("utf-8").split("## Attributes")[0]
    rows = {
        row.split()[-1] if row.endswith("branches") else row.split()[0]
        for row in re.findall(r"^\| `([^`]+)`", text, flags=re.MULTILINE)
    }
    assert rows == set(get_args(SpanKind))
