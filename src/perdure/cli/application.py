"""``--app module:attr``: the application's graph, its graphs, or its engine, found by name."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

import click

from perdure.cli.database import encryption_given
from perdure.engine.engine import Engine
from perdure.errors import PerdureError
from perdure.graph.graph import Graph
from perdure.graph.registry import Registry
from perdure.store.sqlite.store import SQLiteStore


def engine_of(app: str, db: Path, *, only_reads: bool = False, **options: Any) -> Engine:
    """Return the engine for a graph, for several or a registry of them, or that an application makes.

    Args:
        app: ``module:attr``, looked up from the current directory on. The attribute is a graph, a list of graphs, a
            registry, or a function that returns one of these or an engine; a function that takes an argument is given the
            path of the database.
        db: the database, for graphs.
        only_reads: whether it is opened for reading, for graphs; an engine that an application makes is its own affair.
        options: more of ``Engine.open``, for graphs.

    Raises:
        BadParameter: it can't be imported, or isn't any of these.
    """
    found = _called(app, _looked_up(app), db)
    if isinstance(found, Graph):
        found = [found]
    if isinstance(found, Registry) or _are_graphs(found):
        store = SQLiteStore(db, read_only=only_reads)
        return Engine.open(store, graphs=found, **{"recover": False, "encryption": encryption_given(), **options})
    if isinstance(found, Engine):
        return found
    raise _refusal(
        f"{app} is {_article(type(found).__name__)}: give a Graph, a list of them or a Registry, or a function that returns "
        "one of these or an Engine"
    )


def _are_graphs(found: Any) -> bool:
    return isinstance(found, list | tuple) and bool(found) and all(isinstance(graph, Graph) for graph in found)


def _looked_up(app: str) -> Any:
    module, colon, attribute = app.partition(":")
    if not module or not colon or not attribute:
        raise _refusal(f"{app!r} isn't of the form module:attr, as in orders.flow:graph")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.import_module(module)
        for name in attribute.split("."):
            found = getattr(found, name)
    except ModuleNotFoundError as error:
        place = f" on {Path.cwd()} and sys.path" if error.name == module else f", which {module} imports"
        raise _refusal(f"there is no module {error.name!r}{place}") from error
    except AttributeError as error:
        raise _refusal(f"{app}: {error}") from error
    except PerdureError:
        raise
    except Exception as error:
        raise _refusal(f"importing {module} raised {type(error).__name__}: {error}") from error
    return found


def _called(app: str, found: Any, db: Path) -> Any:
    if isinstance(found, Graph | Engine) or not callable(found):
        return found
    try:
        wants_db = any(
            parameter.default is parameter.empty and parameter.kind in (0, 1)
            for parameter in inspect.signature(found).parameters.values()
        )
    except (TypeError, ValueError):
        wants_db = False
    try:
        return found(db) if wants_db else found()
    except PerdureError:
        raise
    except Exception as error:
        raise _refusal(f"calling {app} raised {type(error).__name__}: {error}") from error


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiouAEIOU" else f"a {noun}"


def _refusal(message: str) -> click.BadParameter:
    return click.BadParameter(message, param_hint="--app")
