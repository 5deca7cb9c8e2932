"""Writes the tree of README.md: a line for each file of the package, in the words of its own docstring.

python infra/readme_tree.py            rewrites the block between the two markers of README.md
"""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- tree: `python infra/readme_tree.py` writes this block -->", "<!-- end of the tree -->"
PACKAGE = "focus_ray"
NAME_COLUMN = 36
# What stands beside the package, a line each.
OTHER_ENTRIES = {
    "README.md": "what it is, two commands, this tree",
    "pyproject.toml": "package, tools, import contracts",
    "constraints.txt": "exact versions for development, the demo and continuous integration",
    "Makefile": "install, demo, test, check, drill, bench: the only commands a newcomer needs",
    "jobs/": "what `ray job submit` runs",
    "serve/": "the endpoint as Ray Serve's own commands deploy it",
    "tune_configs/": "what sweeps search",
    "infra/": "a demonstration cluster; how .venv, this tree, the pictures and the table of results are made",
    ".ci/": "what continuous integration runs",
    "docs/": "method, evaluation, sweeps, serving, operations, data, rasterizers, how to add, responsible use",
    "benchmarks/": "a file for each figure that is measured",
    "drills/": "results of the long failure and load drills",
    "tests/": "mirrors focus_ray path for path; house/ keeps documents, names and dependencies in step",
}


def tree() -> str:
    """The tree as a Markdown code block."""
    beside = [f"{name:<{NAME_COLUMN}}{text}" for name, text in OTHER_ENTRIES.items() if (ROOT / name).exists()]
    return "\n".join(["```text", *beside, *_package(ROOT / PACKAGE, 0), "```"])


def _package(folder: Path, depth: int) -> list[str]:
    """A folder's own line, its files, then its folders."""
    lines = [_line(folder.name + "/", folder / "__init__.py", depth)]
    files = sorted(path for path in folder.iterdir() if path.suffix == ".py" and path.name != "__init__.py")
    lines += [_line(path.name, path, depth + 1) for path in files]
    others = sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix not in (".py", ".pyc"))
    lines += ["  " * (depth + 1) + name for name in others]
    for path in sorted(folder.iterdir()):
        if (path / "__init__.py").is_file():
            lines += _package(path, depth + 1)
        elif path.is_dir() and path.name != "__pycache__" and any(path.iterdir()):
            lines.append("  " * (depth + 1) + path.name + "/")
    return lines


def _line(name: str, module: Path, depth: int) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_text())) or ""
    title = "  " * depth + name
    return f"{title:<{NAME_COLUMN}}{docstring.partition(chr(10))[0]}".rstrip()


def update_readme(readme: str) -> str:
    """README.md with the tree as it should be."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tree()}\n{END}{after}"


def main() -> int:
    """Rewrite README.md."""
    path = ROOT / "README.md"
    path.write_text(update_readme(path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
