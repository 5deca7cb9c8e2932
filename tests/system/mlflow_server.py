"""A real MLflow server for tests on 127.0.0.1, that can be ended and started again on the same port and store."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

SECONDS_TO_START = 180


class MlflowServer:
    """`mlflow server` over a database, in processes of its own; ended with its `with` block however that ends.

    Artifacts go through the server, into `artifacts`: a folder or s3://bucket/prefix. With `direct`, clients write them
    to s3://... themselves.
    """

    def __init__(self, folder: Path, artifacts: str | None = None, *, direct: bool = False) -> None:
        self.folder = folder
        self.database = folder / "server.db"
        self._artifacts = artifacts or str(folder / "artifacts")
        self._direct = direct
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "MlflowServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        if self._direct:
            place = ["--default-artifact-root", self._artifacts, "--no-serve-artifacts"]
        else:
            place = ["--artifacts-destination", self._artifacts, "--serve-artifacts"]
        address = ["--host", "127.0.0.1", "--port", str(self._port), "--workers", "1"]
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{self.database}"]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *address, *place],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait()

    def kill(self) -> None:
        """End it at once, its workers with it."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=30)
            self._process = None

    def _environment(self) -> dict[str, str]:
        mlflows = {name for name in os.environ if name.startswith("MLFLOW_")}
        kept = {name: value for name, value in os.environ.items() if name not in mlflows}
        return kept | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}

    def _wait(self) -> None:
        deadline = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, (self.folder / "server.log").read_text()[-4000:]
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        self.kill()
        raise TimeoutError(f"no MLflow server after {SECONDS_TO_START} s")
