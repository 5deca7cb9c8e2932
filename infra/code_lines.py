"""Counts lines of code per package, without blank lines, comments and docstrings.

python infra/code_lines.py              files on disk
python infra/code_lines.py 74f2ed2      a commit and the files on disk
"""

import ast
import io
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "focus_ray"
REST = "all but focus and face_models"
NOT_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING,
    tokenize.ENDMARKER,
}  # fmt: skip


def code_lines(source: str) -> int:
    """Count the lines of Python source that hold a token of code and are not part of a docstring."""
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOT_CODE:
            found.update(range(token.start[0], token.end[0] + 1))
    return len(found - _docstring_lines(source))


def _docstring_lines(source: str) -> set[int]:
    found: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                found.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return found


def by_package(files: Iterable[tuple[str, str]]) -> Counter[str]:
    """Count the code lines of each package directly below focus_ray.

    Args:
        files: (path, source); focus/face, the earlier place of face_models, counts as face_models.
    """
    counts: Counter[str] = Counter()
    for path, source in files:
        parts = PurePosixPath(path).parts[1:]
        name = "(modules)" if len(parts) == 1 else "face_models" if parts[:2] == ("focus", "face") else parts[0]
        counts[name] += code_lines(source)
    return counts


def on_disk() -> list[tuple[str, str]]:
    """Return (path, source) of the package's Python files on disk."""
    return [(path.relative_to(ROOT).as_posix(), path.read_text()) for path in sorted((ROOT / PACKAGE).rglob("*.py"))]


def of_commit(revision: str) -> list[tuple[str, str]]:
    """Return (path, source) of the package's Python files in a commit."""
    paths = _git("ls-tree", "-r", "--name-only", revision, PACKAGE).splitlines()
    return [(path, _git("show", f"{revision}:{path}")) for path in paths if path.endswith(".py")]


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def main(arguments: Sequence[str]) -> None:
    """Print a table, a row per package."""
    columns = {"now": by_package(on_disk())}
    if arguments:
        columns = {arguments[0]: by_package(of_commit(arguments[0])), **columns}
    names = sorted(set().union(*columns.values()))
    for column in columns.values():
        column["all"] = sum(column.values())
        column[REST] = column["all"] - column["focus"] - column["face_models"]
    width = max(len(name) for name in names) + 22
    sys.stdout.write(f"{'':<{width}}" + "".join(f"{title:>10}" for title in columns) + "\n")
    for name in [*names, "all", REST]:
        sys.stdout.write(f"{name:<{width}}" + "".join(f"{column[name]:>10,}" for column in columns.values()) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
