"""A run's spans are printed and given out from its log alone."""

from __future__ import annotations

import json

from perdure.cli.exits import Exit


def test_a_run_is_shown_as_a_tree_of_its_spans(perdure, db) -> None:
    code, out, _ = perdure("trace", "good", "--db", db)
    assert code == 0
    lines = [line[23:] for line in out.splitlines()]
    assert lines[0].startswith("start ")
    assert lines[1].startswith("  run ")
    assert any(line.startswith("    segment 1 (") for line in lines)
    assert [line for line in lines if line.startswith("    batch ")]
    assert [line for line in lines if line.startswith("      step ")]
    assert [line for line in lines if line.startswith("    join ") and line.endswith("of 2")]


def test_what_is_under_way_is_shown_as_unfinished(perdure, db) -> None:
    spans = perdure("trace", "left", "--db", db, "--json").lines
    there = {span["span_id"] for span in spans}
    assert all(span["parent_id"] in there for span in spans if span["parent_id"])
    assert {span["attributes"].get("perdure.outcome") for span in spans if span["kind"] == "batch"} >= {"unfinished"}


def test_the_tree_says_what_it_leaves_out(perdure, db) -> None:
    out = perdure("trace", "good", "--db", db, "--limit", "1").out
    assert "… and 1 more of kind step; see --limit" in out


def test_a_failed_step_is_shown_with_its_error(perdure, db) -> None:
    assert "failed (ValueError)" in perdure("trace", "bad", "--db", db).out


def test_each_segment_can_be_a_trace(perdure, db) -> None:
    spans = perdure("trace", "good", "--db", db, "--scope", "segment", "--json").lines
    assert {span["kind"] for span in spans if span["parent_id"] is None} == {"start"}


def test_otlp_json_holds_every_span_with_hex_ids_and_nanoseconds(perdure, db) -> None:
    spans = perdure("trace", "good", "--db", db, "--json").lines
    data = json.loads(perdure("export", "good", "--format", "otlp", "--db", db, "--service", "shop").out)
    (resource,) = data["resourceSpans"]
    assert resource["resource"]["attributes"] == [{"key": "service.name", "value": {"stringValue": "shop"}}]
    (scoped,) = resource["scopeSpans"]
    assert {span["spanId"] for span in scoped["spans"]} == {span["span_id"] for span in spans}
    assert all(len(span["traceId"]) == 32 and len(span["spanId"]) == 16 for span in scoped["spans"])
    assert all(int(span["endTimeUnixNano"]) >= int(span["startTimeUnixNano"]) for span in scoped["spans"])


def test_chrome_trace_events_never_overlap_in_a_row(perdure, db) -> None:
    data = json.loads(perdure("export", "good", "--db", db, "--format", "chrome-trace").out)
    rows: dict[int, int] = {}
    for event in data["traceEvents"]:
        assert event["ts"] >= rows.get(event["tid"], 0)
        rows[event["tid"]] = event["ts"] + event["dur"]


def test_a_run_that_is_not_there_has_no_spans(perdure, db) -> None:
    assert perdure("trace", "none", "--db", db).code == Exit.NOT_FOUND
    assert perdure("export", "none", "--db", db).code == Exit.NOT_FOUND


def test_an_endpoint_takes_otlp_only(perdure, db) -> None:
    code, _, err = perdure(
        "export", "good", "--db", db, "--format", "chrome-trace", "--endpoint", "http://127.0.0.1:1/v1/traces"
    )
    assert code == Exit.USAGE
    assert "OTLP" in err
