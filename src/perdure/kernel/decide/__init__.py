"""From results to events."""
