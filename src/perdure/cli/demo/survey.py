"""Surveying one Python file: what is tokenised and parsed, in a process of its own."""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Survey:
    """What one file holds.

    Attributes:
        path: the file.
        lines: all its lines.
        code_lines: those that hold code.
        comment_lines: those that hold a comment.
        functions: how many functions and methods it defines.
        classes: how many classes.
        imports: the modules it imports, by their top-level names.
        complexity: the cyclomatic complexity of its most complex function (McCabe, 1976); 0 without functions.
        most_complex: the name of that function.
    """

    path: str
    lines: int
    code_lines: int
    comment_lines: int
    functions: int
    classes: int
    imports: list[str] = field(default_factory=list)
    complexity: int = 0
    most_complex: str = ""


@dataclass
class Unreadable:
    """A file that can't be read, or isn't valid Python.

    Attributes:
        path: the file.
        reason: what the system or the parser says.
    """

    path: str
    reason: str


_NO_CODE = frozenset(
    {
        tokenize.ENCODING,
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
)
_BRANCHES = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.IfExp,
    ast.Assert,
    ast.comprehension,
    ast.match_case,
)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def survey(path: str) -> Survey | Unreadable:
    """Survey one file."""
    try:
        source = Path(path).read_bytes()
        code, comments = _lines_of(source)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of doubtful code; it isn't ours
            tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:
        return Unreadable(path, f"{type(error).__name__}: {error}"[:200])
    nodes = list(ast.walk(tree))
    functions = [node for node in nodes if isinstance(node, _FUNCTIONS)]
    measured = [(_complexity(function), function.name) for function in functions]
    complexity, name = max(measured, default=(0, ""))
    return Survey(
        path=path,
        lines=len(source.splitlines()),
        code_lines=code,
        comment_lines=comments,
        functions=len(functions),
        classes=sum(isinstance(node, ast.ClassDef) for node in nodes),
        imports=sorted(_imports(nodes)),
        complexity=complexity,
        most_complex=name,
    )


def _lines_of(source: bytes) -> tuple[int, int]:
    """Return how many lines hold code, and how many hold a comment."""
    code: set[int] = set()
    comments: set[int] = set()
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.type not in _NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code), len(comments)


def _imports(nodes: list[ast.AST]) -> set[str]:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _complexity(function: ast.AST) -> int:
    """Return one more than the number of branches in a function, those of functions inside it included."""
    count = 1
    for node in ast.walk(function):
        if isinstance(node, _BRANCHES):
            count += 1
        elif isinstance(node, ast.BoolOp):
            count += len(node.values) - 1
    return count
