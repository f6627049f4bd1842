"""The house keeps its own rules: where names are, how large files get, where SQL is, what events there are."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest

import perdure
from perdure import events
from perdure.kernel.fold import apply

ROOT = Path(perdure.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
NOT_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base", "core", "shared"}
LONGEST_MODULE = 500
LONGEST_FUNCTION = 70


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def trees() -> list[tuple[str, ast.Module]]:
    return [(shown(path), ast.parse(path.read_text("utf-8"))) for path in MODULES]


# --- the public surface ---


def test_the_public_names_are_sorted_and_there() -> None:
    assert list(perdure.__all__) == sorted(perdure.__all__, key=lambda name: (not name.isupper(), name))
    assert len(set(perdure.__all__)) == len(perdure.__all__)
    assert [name for name in perdure.__all__ if not hasattr(perdure, name)] == []


def test_what_can_be_seen_in_the_package_is_public() -> None:
    visible = {
        name for name, value in vars(perdure).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert visible - set(perdure.__all__) == set()


def exported() -> dict[str, list[str]]:
    """Return the names each module lists for export."""
    return {
        name: [element.value for element in node.value.elts if isinstance(element, ast.Constant)]
        for name, tree in trees()
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.List | ast.Tuple)
        and any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
    }


def test_a_public_name_is_exported_in_one_place() -> None:
    # The events are a vocabulary of their own, some words of which are those of errors.
    others = {name: names for name, names in exported().items() if name not in ("__init__.py", "events/__init__.py")}
    assert {
        name: set(names) & set(perdure.__all__) for name, names in others.items() if set(names) & set(perdure.__all__)
    } == {}
    packages = [name for name in others if name.endswith("__init__.py")]
    assert packages in ([], ["testing/__init__.py"])


def test_the_public_surface_holds_no_logic() -> None:
    [tree] = [tree for name, tree in trees() if name == "__init__.py"]
    assert [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
    ] == []


def public_objects() -> list[tuple[str, Any]]:
    """Return the public classes and functions, and their public methods and properties."""
    found: list[tuple[str, Any]] = []
    for name in perdure.__all__:
        value = getattr(perdure, name)
        if inspect.isclass(value) and value.__module__.startswith("perdure"):
            found.append((name, value))
            for attribute, member in vars(value).items():
                inner = inspect.unwrap(
                    member.fget if isinstance(member, property) else getattr(member, "__func__", member)
                )
                if not attribute.startswith("_") and inspect.isfunction(inner):
                    found.append((f"{name}.{attribute}", inner))
        elif inspect.isfunction(value):
            found.append((name, value))
    return found


def test_every_public_class_function_and_method_says_what_it_does() -> None:
    without = [
        name
        for name, value in public_objects()
        if not (value.__doc__ or "").strip() or value.__doc__.startswith(f"{name}(")
    ]
    assert without == []


def test_a_docstring_begins_with_a_sentence() -> None:
    loose = []
    for name, value in public_objects():
        first = inspect.cleandoc(value.__doc__ or "").split("\n\n")[0].rstrip()
        if not first.endswith((".", "``.", ":", ")")):
            loose.append(name)
    assert loose == []


def test_every_module_says_what_it_is_about() -> None:
    assert [name for name, tree in trees() if tree.body and not ast.get_docstring(tree)] == []


# --- files ---


def test_no_module_is_named_after_nothing() -> None:
    names = {shown(path): set(path.relative_to(ROOT).with_suffix("").parts) for path in MODULES}
    assert [name for name, parts in names.items() if parts & NOT_NAMES] == []


def test_no_module_is_long() -> None:
    lengths = {shown(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_no_function_is_long() -> None:
    def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0

    long = {
        f"{name}:{node.name}": length(node)
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) > LONGEST_FUNCTION
    }
    assert long == {}


def test_sql_lives_in_sql_files() -> None:
    statement = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|REPLACE|WITH)\s+[\w\"*(]", re.DOTALL)
    found = [
        f"{name}:{node.lineno}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and statement.match(node.value)
        and node.value.split()[0].isupper()
    ]
    assert found == []


EXECUTING = {"execute", "executemany", "executescript", "execute_fetchall", "execute_insert"}


def is_constant_sql(argument: ast.expr, function: ast.AST) -> bool:
    """Say whether what is executed is a query from a file, or a name that stands for nothing else in its function."""
    if isinstance(argument, ast.Subscript):
        return isinstance(argument.value, ast.Name) and argument.value.id == "QUERIES"
    if not isinstance(argument, ast.Name):
        return False
    if argument.id == "_FUNCTIONS":
        return True  # a marker, and no statement
    loops = [node for node in ast.walk(function) if isinstance(node, ast.For)]
    return any(
        isinstance(loop.target, ast.Name)
        and loop.target.id == argument.id
        and isinstance(loop.iter, ast.Call)
        and isinstance(loop.iter.func, ast.Name)
        and loop.iter.func.id == "statements"
        for loop in loops
    )


def test_only_constant_sql_is_executed() -> None:
    """No statement is put together: each is a named query, or one of a migration, both from .sql files."""
    built = []
    for name, tree in trees():
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        for function in functions:
            given = {argument.arg for argument in function.args.args + function.args.posonlyargs}
            for node in ast.walk(function):
                if not (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in EXECUTING
                    and node.args
                ):
                    continue
                is_handed_on = (
                    isinstance(node.args[0], ast.Name)
                    and node.args[0].id in given
                    and name == "store/sqlite/connection.py"
                )
                if not is_handed_on and not is_constant_sql(node.args[0], function):
                    built.append(f"{name}:{node.lineno}")
    assert built == []


def test_nothing_in_the_sources_is_left_to_be_done() -> None:
    mark = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    assert [shown(path) for path in MODULES if mark.search(path.read_text("utf-8"))] == []


# --- events ---

KINDS: list[Any] = sorted(get_args(events.AnyEvent), key=lambda kind: kind.__name__)


def test_every_kind_of_event_is_applied() -> None:
    assert set(apply._APPLY) == set(KINDS)


def test_every_kind_of_event_says_what_has_happened() -> None:
    assert [kind.__name__ for kind in KINDS if not inspect.cleandoc(kind.__doc__ or "").endswith(".")] == []
    assert [kind.__name__ for kind in KINDS if kind.__doc__.startswith(f"{kind.__name__}(")] == []


# --- imports ---


def run_python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# structlog imports rich by itself where it is installed, so it is looked whether perdure can do without.
OPTIONAL = (
    "click",
    "rich",
    "opentelemetry.sdk",
    "pydantic",
    "cryptography",
    "jsonschema",
    "psycopg",
    "starlette",
    "htpy",
)


def test_perdure_is_imported_without_what_only_some_need() -> None:
    run_python(f"import sys\nsys.modules.update(dict.fromkeys({OPTIONAL}))\nimport perdure")


def test_importing_perdure_does_not_import_pydantic_click_or_the_telemetry_sdk() -> None:
    loaded = run_python("import perdure, sys\nprint(*sys.modules)").split()
    assert sorted({*OPTIONAL} & set(loaded) - {"rich"}) == []


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_every_module_can_be_imported_on_its_own(path: Path) -> None:
    name = ".".join(["perdure", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
    if path.name == "__main__.py":
        pytest.skip("a module that runs when it is imported")
    import_module(name)
