"""The engine's log.

An application that has configured structlog gets the events as it wants them. In one that hasn't, they go to the standard
library's logging, under ``perdure``, so that a library doesn't print to standard output.
"""

from __future__ import annotations

import logging
from typing import Any

import structlog


def get_logger(name: str) -> Any:
    """Return a logger, chosen when it is asked for."""
    if structlog.is_configured():
        return structlog.get_logger(name)
    return structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
