"""Runs one command; every error becomes one line on stderr and an exit code."""

import atexit
import gc
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from focus_ray.cli.apps import app
from focus_ray.cli.printing import echo_json
from focus_ray.errors import FocusRayError, StorageError

EXIT_UNEXPECTED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
_HELP = "NoArgsIsHelpError"  # type raised by a group without a command; typer has no public name for it


def error_code(kind: type[FocusRayError]) -> str:
    """Return the short stable name of an error type: ConfigError is config, MaskCollapse is mask-collapse."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__.removesuffix("Error")).lower()


def main(arguments: list[str] | None = None) -> int:
    """Run one command; print any error as one line on stderr.

    Args:
        arguments: command line without the program's name; None: sys.argv.

    Returns:
        The exit code.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    _set_wait_policy()
    # Python ends with a collection that traverses every module: half a second once torch is loaded, to free memory that
    # the system takes back in any case. It leaves out frozen objects.
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    try:
        with interrupt_on_sigterm():
            # typer turns typer.Exit and Ctrl-C into a return value; commands themselves return None.
            exit_code = app(arguments, prog_name="focus-ray", standalone_mode=False) or 0
        if exit_code == EXIT_INTERRUPTED:
            raise KeyboardInterrupt
    except (Exception, KeyboardInterrupt) as error:
        return _report(error, arguments)
    return exit_code


def _set_wait_policy() -> None:
    """Let idle threads sleep instead of spin; to be called before torch and NumPy are loaded.

    Spinning is up to a third faster on an idle machine, but many times slower as soon as another program runs on it.
    OpenBLAS's threads spin before their first task too, which takes 0.1 s of processor time whenever NumPy is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # spin for 2^4 cycles, the least; the default is 2^26


@contextmanager
def interrupt_on_sigterm() -> Iterator[None]:
    """Make SIGTERM end a command as Ctrl-C does; outside the main thread, signal handlers are left as they are."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _report(error: BaseException, arguments: list[str]) -> int:
    """Print an error once and return its exit code."""
    if isinstance(error, typer.TyperException) and type(error).__name__ == _HELP:
        typer.echo(error.format_message(), err=True)
        return EXIT_USAGE
    if "--debug" in arguments:
        traceback.print_exception(error, file=sys.stderr)
    code, exit_code, message = _explain(error)
    message = " ".join(message.split())
    typer.echo(f"error[{code}]: {message}", err=True)
    if "--json" in arguments:
        echo_json({"error": {"code": code, "message": message}, "exit_code": exit_code})
    return exit_code


def _explain(error: BaseException) -> tuple[str, int, str]:
    """Return code, exit code and message of an exception."""
    match error:
        case FocusRayError():
            return error_code(type(error)), error.exit_code, str(error)
        case typer.TyperException():
            context = getattr(error, "ctx", None)
            command = context.command_path if context else "focus-ray"
            return "usage", EXIT_USAGE, f"{error.format_message().rstrip('.')}; see {command} --help"
        case typer.Abort() | KeyboardInterrupt():
            return "interrupted", EXIT_INTERRUPTED, "interrupted; no file is left partially written"
        case OSError():
            return error_code(StorageError), StorageError.exit_code, f"{error}; check the disk and the permissions"
    hint = "this is a bug: run focus-ray --debug COMMAND and report what it shows"
    return "internal", EXIT_UNEXPECTED, f"{type(error).__name__}: {error}; {hint}"
