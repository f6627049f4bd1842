"""What a step's function is annotated with: the types of its inputs and of its output.

Annotations may be strings (``from __future__ import annotations``), and may name classes that are local to the function
a step is defined in. Such names are looked up as Python itself would have: in the scopes the function is written in,
inner ones first, then in its module. A local scope can still be read, because a step is decorated while the function
around it is running. An annotation that can't be resolved counts as Any; the other one isn't affected.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FrameType, FunctionType, SimpleNamespace, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from perdure.graph.nodes.step import StepContext


def annotated_types(call: Callable[..., Any]) -> tuple[Any, Any]:
    """Return the types of a step's inputs and output, each Any where it can't be told."""
    function = written_function(call)
    if not isinstance(function, FunctionType):
        return Any, Any
    names = {**_closure(function), **_enclosing_scopes(function)}
    try:
        written = inspect.get_annotations(function)
    except NameError:  # from Python 3.14 on, where annotations are evaluated when they are asked for
        return Any, Any
    hints = {name: _resolved(hint, function, names) for name, hint in written.items()}
    output = hints.pop("return", Any)
    for hint in hints.values():
        if inspect.isclass(origin := get_origin(hint)) and issubclass(origin, StepContext):
            return get_args(hint)[-1], output
    return Any, output


def return_hints(function: Callable[..., Any]) -> tuple[Any, ...]:
    """Return the members of what a function is annotated to return, with their marks; none if that can't be told."""
    written = written_function(function)
    if not isinstance(written, FunctionType):
        return ()
    names = {**_closure(written), **_enclosing_scopes(written)}
    try:
        hint = _resolved(inspect.get_annotations(written)["return"], written, names, with_marks=True)
    except (KeyError, NameError):
        return ()
    if hint is Any:
        return ()
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def written_function(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function somebody wrote, behind partial application, decorators, methods and callable objects."""
    function: Callable[..., Any] = inspect.unwrap(getattr(call, "func", call))
    if not inspect.isroutine(function):
        function = type(function).__call__
    return function.__func__ if inspect.ismethod(function) else function


def _resolved(hint: Any, function: FunctionType, names: dict[str, Any], *, with_marks: bool = False) -> Any:
    bearer = SimpleNamespace(__annotations__={"hint": hint}, __type_params__=getattr(function, "__type_params__", ()))
    try:
        return get_type_hints(bearer, function.__globals__, names, include_extras=with_marks)["hint"]
    except Exception:
        return Any


def _closure(function: FunctionType) -> dict[str, Any]:
    names = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # the name isn't bound yet
            continue
    return names


def _enclosing_scopes(function: FunctionType) -> dict[str, Any]:
    """Return the names of the functions and classes that a function is written in, as far as they are being run."""
    frames: list[FrameType] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        around = f"{frame.f_code.co_qualname}."
        if frame.f_globals is function.__globals__ and function.__qualname__.startswith(around):
            frames.append(frame)
        frame = frame.f_back
    names: dict[str, Any] = {}
    for outer in reversed(frames):
        names.update(outer.f_locals)
    return names
