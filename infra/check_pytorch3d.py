"""Builds PyTorch3D's CPU extension from a checkout of its repository and compares its rasterizer with numba.

    python infra/check_pytorch3d.py CHECKOUT [--build build/pytorch3d]

The build is PyTorch3D's own (its setup.py), in a copy of the sources in the build folder: the checkout is only read,
nothing is installed into this environment, and a second call compiles only what changed. It takes 20 to 40 minutes of
processor time; MAX_JOBS limits the compilers that run at once. Without a checkout there is nothing to do: the package
index has no build of PyTorch3D for Linux.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from torch.utils import cpp_extension

ROOT = Path(__file__).resolve().parent.parent
EXTENSION = "pytorch3d/csrc/ext.cpp"  # a file that only a checkout has
PACKAGES = ("iopath>=0.1.10", "portalocker>=2")  # that pytorch3d imports and this environment lacks
TESTS = (  # those that are skipped without it are among them
    "tests/focus/render/test_rasterize_pytorch3d.py",
    "tests/training/test_run_rasterizer.py",
    "tests/inference/test_reconstructor_rasterizer.py",
)


def build(checkout: Path, folder: Path) -> str:
    """Build pytorch3d and what it imports in a folder.

    Returns:
        The entries of PYTHONPATH by which it is imported.

    Raises:
        SystemExit: the folder is no checkout, or there is no compiler.
    """
    if not (checkout / EXTENSION).is_file():
        raise SystemExit(f"{checkout} is no checkout of PyTorch3D: it has no {EXTENSION}")
    compiler = cpp_extension.get_cxx_compiler()
    if shutil.which(compiler) is None:
        raise SystemExit(f"there is no C++ compiler {compiler!r}; install one, or name one in the variable CXX")
    source, packages = folder / "source", folder / "packages"
    shutil.copytree(checkout / "pytorch3d", source / "pytorch3d", dirs_exist_ok=True)
    shutil.copy2(checkout / "setup.py", source)
    if not packages.is_dir():
        run([sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(packages), *PACKAGES])
    without_ninja = {} if cpp_extension.is_ninja_available() else {"PYTORCH3D_NO_NINJA": "1"}
    run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=source,
        environment={"PYTORCH3D_FORCE_NO_CUDA": "1", **without_ninja},
    )
    return os.pathsep.join(map(str, (source, packages)))


def say(line: str) -> None:
    """Print a line before what the next command prints."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(command: list[str], *, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> None:
    """Run a command. Raises SystemExit with its status if it fails."""
    say(f"+ {' '.join(command)}")
    status = subprocess.run(command, cwd=cwd, env=os.environ | (environment or {})).returncode
    if status:
        raise SystemExit(status)


def main() -> None:
    """Build, run the tests that need pytorch3d, print ids, gradients and the ratio of the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, nargs="?", help="work tree of PyTorch3D's repository")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "pytorch3d", metavar="DIR")
    options = parser.parse_args()
    if options.checkout is None:
        say("skipped: no checkout of PyTorch3D is given: make check-pytorch3d PYTORCH3D_SOURCE=CHECKOUT")
        return
    path = build(options.checkout.resolve(), options.build.resolve())
    before = os.environ.get("PYTHONPATH")
    environment = {"PYTHONPATH": path if not before else path + os.pathsep + before}
    run([sys.executable, "-m", "pytest", "-q", "-m", "not drill", *TESTS], environment=environment)
    run([sys.executable, "benchmarks/rasterizer.py", "--pytorch3d"], environment=environment)
    say(f"to use it: export PYTHONPATH={path}")


if __name__ == "__main__":
    main()
