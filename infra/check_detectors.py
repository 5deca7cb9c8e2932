"""Runs the real face-alignment and insightface on random weights in their published layouts.

    python infra/check_detectors.py [--environment build/detectors]

Both packages are installed from the package index into a virtual environment of their own, which sees the packages of
this one; this one does not change. The tests that are skipped without them run there. Nothing else is downloaded.
"""

import argparse
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("face-alignment>=1.5", "insightface>=2.1", "onnxruntime", "onnx")
TESTS = "tests/data/detectors/test_user_packages_installed.py"
# A .pth file of this kind also follows those of the other folder, such as that of an editable installation.
SEE = "import site; site.addsitedir({!r})\n"


def install(environment: Path) -> Path:
    """Create the environment, or complete it.

    Returns:
        Its Python.
    """
    python = environment / "bin" / "python"
    if not python.exists():
        run([sys.executable, "-m", "venv", "--without-pip", str(environment)])
        (packages,) = (environment / "lib").glob("python3*/site-packages")
        (packages / "outer.pth").write_text(SEE.format(sysconfig.get_paths()["purelib"]))
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    run([sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *constraints, *PACKAGES])
    return python


def run(command: list[str]) -> None:
    """Run a command. Raises SystemExit with its status if it fails."""
    if status := subprocess.run(command, cwd=ROOT).returncode:
        raise SystemExit(status)


def main() -> None:
    """Install both packages and run their tests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, default=ROOT / "build" / "detectors", metavar="DIR")
    python = install(parser.parse_args().environment.absolute())
    run([str(python), "-m", "pytest", "-q", TESTS])


if __name__ == "__main__":
    main()
