"""Telemetry: what is committed, told as spans, metrics and log fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.telemetry.correlation import add_trace as add_trace
    from perdure.telemetry.live import Telemetry as Telemetry
    from perdure.telemetry.mappers import gen_ai as gen_ai
    from perdure.telemetry.mappers import openinference as openinference

_HOMES = {"Telemetry": "live", "add_trace": "correlation", "gen_ai": "mappers", "openinference": "mappers"}


def __getattr__(name: str) -> Any:
    """Import what is asked for: who only reads spans shouldn't wait for the SDK."""
    from importlib import import_module  # noqa: PLC0415

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
