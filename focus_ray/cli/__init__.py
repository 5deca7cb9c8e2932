"""Command line: each command reads its options, calls one function of the package and prints the result.

Slow imports happen inside commands, so that `focus-ray --help` responds at once.

Exit codes: 0 ok, 2 usage or configuration, 3 input data, 4 model or checkpoint, 5 storage or tracking, 6 stopped by a
guard, 130 interrupted, 1 anything else. Errors are one line on stderr: error[CODE]: what is wrong; what to do.
"""

from focus_ray.cli import data, doctor, evaluate, face, model, prepare, prior, reconstruct, serve, train, tune
from focus_ray.cli.apps import app
from focus_ray.cli.main import error_code, main

__all__ = [
    "app",
    "data",
    "doctor",
    "error_code",
    "evaluate",
    "face",
    "main",
    "model",
    "prepare",
    "prior",
    "reconstruct",
    "serve",
    "train",
    "tune",
]
