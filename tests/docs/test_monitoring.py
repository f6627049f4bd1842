"""What the docs say of metrics and attributes is what there is."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from openinference.semconv.trace import OpenInferenceSpanKindValues, SpanAttributes
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from perdure import Engine, GraphBuilder, MemoryStore, Retry, StepContext, events, reduce_list_append
from perdure.telemetry import Telemetry, gen_ai, openinference
from perdure.telemetry.metrics import Instruments
from unit.telemetry.telling import told

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "docs/monitoring/grafana-dashboard.json"
ALERTS = ROOT / "docs/monitoring/prometheus-alerts.yaml"
REFERENCE = ROOT / "docs/reference/telemetry.md"
PACKAGE = ROOT / "src/perdure/telemetry"


class Meter:
    """Notes which instruments are made, and with which units."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[str, str]] = {}
        self.buckets: dict[str, Any] = {}

    def create_counter(self, name: str, unit: str, description: str) -> None:
        assert description
        self.made[name] = ("counter", unit)

    def create_histogram(
        self, name: str, unit: str, description: str, *, explicit_bucket_boundaries_advisory: Any
    ) -> None:
        assert description
        assert list(explicit_bucket_boundaries_advisory) == sorted(explicit_bucket_boundaries_advisory)
        self.made[name] = ("histogram", unit)
        self.buckets[name] = explicit_bucket_boundaries_advisory


def instruments() -> dict[str, tuple[str, str]]:
    meter = Meter()
    Instruments(meter)  # type: ignore[arg-type]
    return meter.made


def flaky_graph() -> Any:
    g = GraphBuilder(name="shop", output_type=list)

    @g.step
    async def spread(ctx: StepContext[None, None, None]) -> list[int]:
        return [1, 2]

    @g.step(retry=Retry(max_attempts=2, initial_interval=0.001, jitter=False))
    async def work(ctx: StepContext[None, None, int]) -> int:
        if ctx.attempt == 1:
            raise ValueError("once")
        return ctx.inputs

    nap = g.sleep(timedelta(milliseconds=1))
    collect = g.join(reduce_list_append, initial_factory=list[int], node_id="collect")
    g.add(
        g.edge_from(g.start_node).to(nap),
        g.edge_from(nap).to(spread),
        g.edge_from(spread).map(fork_id="items").to(work),
        g.edge_from(work).to(collect),
        g.edge_from(collect).to(g.end_node),
    )
    return g.build()


async def _counted(telemetry: Telemetry) -> None:
    graph = flaky_graph()
    async with Engine.open(MemoryStore(), [graph], telemetry=telemetry) as engine:
        await (await engine.start(graph)).result()
    live = await telemetry.opened(MemoryStore())
    assert live is not None
    live.lease_lost("shop")
    await live.closed()


@cache
def scraped() -> dict[str, frozenset[str]]:
    """Return what Prometheus scrapes after a run: each name, with its labels."""
    reader = PrometheusMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    try:
        asyncio.run(_counted(Telemetry(meter_provider=provider)))
        text = generate_latest().decode()
    finally:
        provider.shutdown()
    found: dict[str, frozenset[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, frozenset()) | frozenset(sample.labels)
    return found


def expressions() -> list[str]:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    found += [part["query"] for part in board["templating"]["list"] if part["type"] == "query"]
    return found + re.findall(r"^ +expr: '(.+)'$", ALERTS.read_text("utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("expression", expressions())
def test_every_query_can_be_parsed_and_names_metrics_and_labels_that_prometheus_scrapes(expression: str) -> None:
    if expression.startswith("label_values("):  # Grafana's own
        name, label = re.findall(r"\w+", expression)[1:]
        assert label in scraped()[name]
        return
    promql_parser.parse(expression.replace("$__rate_interval", "5m"))
    bare = re.sub(r'"[^"]*"', "", re.sub(r"\[[^\]]*\]", "", expression))
    words = set(re.findall(r"\b(?:perdure|error|le)\w*", bare))
    names = words & set(scraped())
    assert names
    assert words - names <= frozenset().union(*(scraped()[name] for name in names))


def test_no_metric_carries_a_run_or_a_task() -> None:
    labels = frozenset().union(*(found for name, found in scraped().items() if name.startswith("perdure_")))
    assert {label for label in labels if not label.startswith("otel_scope")} == {
        *("perdure_graph_name", "perdure_node_id", "perdure_batch_fork", "perdure_wait_kind", "perdure_outcome"),
        *("error_type", "le"),
    }


def test_buckets_reach_from_what_is_short_to_what_is_long() -> None:
    meter = Meter()
    Instruments(meter)  # type: ignore[arg-type]
    assert {name: (bounds[0], bounds[-1]) for name, bounds in meter.buckets.items()} == {
        **dict.fromkeys(("perdure.step.queued", "perdure.commit.duration", "perdure.timer.lag"), (0.0005, 10)),
        **{f"perdure.{what}.duration": (0.005, 86400) for what in ("run", "step", "batch", "wait")},
        "perdure.batch.size": (1, 1_000_000),
    }


def test_what_every_event_is_told_as_is_documented() -> None:
    table = REFERENCE.read_text("utf-8").split("## Events")[1].split("## Attributes")[0]
    kinds = {
        name for name, kind in vars(events).items()
        if isinstance(kind, type) and issubclass(kind, events.Event) and kind is not events.Event
    }  # fmt: skip
    first = [row.split("|")[1] for row in table.splitlines() if row.startswith("|")]
    assert sorted(name for cell in first for name in re.findall(r"`(\w+)`", cell)) == sorted(kinds)
    named = set(re.findall(r"`(perdure(?:\.\w+)+)`", table))
    assert set(instruments()) <= named


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
        "perdure.add_attempt",
    }
    assert written == documented


def test_every_span_is_documented() -> None:
    from typing import get_args

    from perdure.telemetry.spans import SpanKind

    text = REFERENCE.read_text("utf-8").split("## Events")[0]
    rows = {
        row.split()[-1] if row.endswith("branches") else row.split()[0]
        for row in re.findall(r"^\| `([^`]+)`", text, flags=re.MULTILINE)
    }
    assert rows == set(get_args(SpanKind))


def constants(of: Any) -> set[Any]:
    return {value for name, value in vars(of).items() if name.isupper() and isinstance(value, str)}


def test_mappers_use_the_names_that_the_conventions_have() -> None:
    spans = asyncio.run(told(flaky_graph()))
    mapped = [openinference(span) for span in spans]
    assert {name for attributes in mapped for name in attributes} <= constants(SpanAttributes)
    kinds = {kind.value for kind in OpenInferenceSpanKindValues}
    assert {attributes["openinference.span.kind"] for attributes in mapped} <= kinds
    mapped = [gen_ai(span) for span in spans]
    assert {name for attributes in mapped for name in attributes} <= constants(gen_ai_attributes)
    operations = {value.value for value in gen_ai_attributes.GenAiOperationNameValues}
    assert {a["gen_ai.operation.name"] for a in mapped if "gen_ai.operation.name" in a} <= operations
