"""A cluster on loopback: an S3 server, an MLflow server and a Ray head, one process group each.

Only the head's environment has addresses and credentials of the stores: its jobs inherit them.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from focus_ray.errors import ClusterError, FocusRayError
from focus_ray.runtime import ray_cluster as settings
from focus_ray.tracking.database_file import sqlite_uri

ROOT = Path(__file__).resolve().parent.parent
MARK = "FOCUS_RAY_DEMO_CLUSTER"  # environment variable of all processes that are started here, and of their children
SECONDS_TO_START = 600  # a Ray node takes minutes to start on a busy machine
SECONDS_TO_END = 30
LINES_OF_A_LOG = 20
# The server exits at the end of its input, also when its parent process is killed.
S3_SERVER = """
import sys
from moto.server import ThreadedMotoServer
ThreadedMotoServer("127.0.0.1", int(sys.argv[1]), verbose=False).start()
sys.stdin.read()
"""


def free_ports(count: int) -> list[int]:
    """Return free ports on loopback."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


@dataclass
class Cluster:
    """Addresses, folders and environments of the servers.

    Attributes:
        scratch: folder of all files.
        mark: value of the environment variable MARK, which identifies the processes of this cluster.
        token: token of Ray's dashboard and agent.
        aws_secret: secret key of the S3 server.
        ports: of S3, MLflow, Ray's dashboard, dashboard agent, head and client server.
    """

    scratch: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    token: str = field(default_factory=lambda: secrets.token_hex(32))
    aws_secret: str = field(default_factory=lambda: secrets.token_hex(20))
    ports: list[int] = field(default_factory=lambda: free_ports(6))

    @property
    def s3(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def mlflow(self) -> str:
        return f"http://127.0.0.1:{self.ports[1]}"

    @property
    def dashboard(self) -> str:
        return f"http://127.0.0.1:{self.ports[2]}"

    @property
    def agent(self) -> str:
        return f"http://127.0.0.1:{self.ports[3]}"

    @property
    def token_file(self) -> Path:
        return self.scratch / "token"

    @property
    def ray_folder(self) -> Path:
        """Ray's folder, with its logs."""
        return self.scratch / "ray"

    @property
    def mlflow_folder(self) -> Path:
        """MLflow's database and files."""
        return self.scratch / "mlflow"

    def base_environment(self) -> dict[str, str]:
        """Return this process's environment without settings of other clusters, stores and servers."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "MLFLOW_", "RAY_"))}
        programs = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
        return kept | {MARK: self.mark, "PATH": programs, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

    def client_environment(self) -> dict[str, str]:
        """Return the environment to submit jobs: with the token, without settings of S3 and MLflow."""
        return self.base_environment() | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token_file)}

    def storage_environment(self) -> dict[str, str]:
        """Return the variables with addresses and credentials of S3 and MLflow."""
        return {
            "AWS_ENDPOINT_URL": self.s3,
            "AWS_ACCESS_KEY_ID": "demo",
            "AWS_SECRET_ACCESS_KEY": self.aws_secret,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "MLFLOW_TRACKING_URI": self.mlflow,
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def head_environment(self) -> dict[str, str]:
        """Return the environment of the head, which jobs inherit."""
        start_timeout = {"RAY_raylet_start_wait_time_s": str(SECONDS_TO_START)}
        return (
            self.client_environment()
            | self.storage_environment()
            | settings.RAY_ENVIRONMENT
            | settings.LOCAL_RAY_ENVIRONMENT
            | start_timeout
        )

    @contextmanager
    def run(self, workers: int) -> Iterator[None]:
        """Start the three servers, and wait until they are ready; stop them in reverse order after the block.

        Args:
            workers: CPUs of the Ray head.

        Raises:
            ClusterError: a server did not start.
        """
        for folder in (self.ray_folder, self.mlflow_folder):
            folder.mkdir()
        self.token_file.touch(0o600)
        self.token_file.write_text(self.token)
        with ExitStack() as stack:
            stack.callback(self._kill_leftovers)
            s3 = stack.enter_context(self._server("s3", self._s3_command(), self.base_environment()))
            mlflow = stack.enter_context(self._server("mlflow", self._mlflow_command(), self._mlflow_environment()))
            head = stack.enter_context(self._server("ray", self._head_command(workers), self.head_environment()))
            self._wait_until_ready("s3", s3, f"{self.s3}/moto-api/")
            self._wait_until_ready("mlflow", mlflow, f"{self.mlflow}/health")
            self._wait_until_ready("ray", head, f"{self.dashboard}/api/version")
            self._wait_until_ready("ray", head, f"{self.agent}/api/local_raylet_healthz")
            yield

    def _s3_command(self) -> list[str]:
        return [sys.executable, "-c", S3_SERVER, str(self.ports[0])]

    def _mlflow_command(self) -> list[str]:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.ports[1])]
        command += ["--workers", "1", "--backend-store-uri", sqlite_uri(self.mlflow_folder / "mlflow.db")]
        return [*command, "--artifacts-destination", str(self.mlflow_folder / "artifacts")]

    def _mlflow_environment(self) -> dict[str, str]:
        return self.base_environment() | {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def _head_command(self, workers: int) -> list[str]:
        dashboard, agent, port, client = (str(number) for number in self.ports[2:])
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        command += ["--num-cpus", str(workers), "--num-gpus", "0", "--port", port]
        command += ["--dashboard-host", "127.0.0.1", "--dashboard-port", dashboard]
        command += ["--dashboard-agent-listen-port", agent, "--ray-client-server-port", client]
        command += ["--min-worker-port", "0", "--max-worker-port", "0"]
        command += ["--object-store-memory", str(settings.OBJECT_STORE_BYTES)]
        return [*command, "--temp-dir", str(self.ray_folder)]

    @contextmanager
    def _server(self, name: str, command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """Run a server in its own process group with a log file; print the log's last lines after a failure."""
        log = self.scratch / f"{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=self.scratch,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
        except FocusRayError:
            lines = log.read_text(errors="replace").splitlines()[-LINES_OF_A_LOG:]
            sys.stderr.write("".join(f"{name}: {line}\n" for line in lines))
            raise
        finally:
            terminate(process)

    def _wait_until_ready(self, name: str, process: subprocess.Popen[bytes], url: str) -> None:
        """Wait until a server answers. Raises ClusterError."""
        deadline = time.monotonic() + SECONDS_TO_START
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(OSError):
                self.get(url)
                return
            time.sleep(0.5)
        raise ClusterError(
            f"{name} did not start: {'it exited' if process.poll() is not None else 'no answer'} ({url})"
        )

    def submit(self, script: str, arguments: list[str]) -> str:
        """Submit a job of this checkout with `ray job submit`, and wait until it finishes.

        Args:
            script: script of the job, relative to the checkout.
            arguments: the script's arguments.

        Returns:
            Submission id of the job.

        Raises:
            ClusterError: the job failed.
        """
        name = f"demo-{uuid.uuid4().hex[:8]}"
        command = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", self.dashboard]
        command += ["--submission-id", name, "--working-dir", ".", "--", "python", script, *arguments]
        environment = self.client_environment() | {"PYTHONUNBUFFERED": "1"}
        ended = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False)
        status = json.loads(self.get(f"{self.dashboard}/api/jobs/{name}"))
        if ended.returncode != 0 or status["status"] != "SUCCEEDED":
            raise ClusterError(f"the job failed: {status.get('message')}")
        return name

    def get(self, url: str) -> bytes:
        """Request a URL of one of the servers.

        Returns:
            Body of the response.

        Raises:
            OSError: no answer, or an HTTP error.
        """
        request = urllib.request.Request(url)
        if url.startswith((self.dashboard, self.agent)):
            request.add_header("Authorization", f"Bearer {self.token}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return answer.read()

    def _kill_leftovers(self) -> None:
        """Kill processes that outlive their node: Ray's workers have their own process groups."""
        deadline = time.monotonic() + SECONDS_TO_END
        while (left := find_marked(self.mark)) and time.monotonic() < deadline:
            time.sleep(0.2)
        for number in left:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


def terminate(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to a process group, and SIGKILL after SECONDS_TO_END."""
    for number, seconds in ((signal.SIGTERM, SECONDS_TO_END), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            break
    if process.stdin is not None:
        process.stdin.close()


def find_marked(mark: str) -> list[int]:
    """Return the ids of processes with this mark in their environment; empty on systems without /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"{MARK}={mark}".encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found
