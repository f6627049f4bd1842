"""Telemetry: what is committed, told as spans, metrics and log fields."""
