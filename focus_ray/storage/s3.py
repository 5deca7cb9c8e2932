"""Object store in an S3 bucket, on boto3: retries transient errors for 300 s, raises permanent ones at once."""

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import botocore.session
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.loaders import create_loader

from focus_ray.storage import atomic, s3_errors
from focus_ray.storage.object_store import Entries, Entry, probe_store, read_error, validate_key

if TYPE_CHECKING:
    import pyarrow.fs

# How long an operation is retried after its first failure, so that it survives an outage of minutes.
RETRY_SECONDS = 300.0
MAX_BACKOFF_SECONDS = 5.0
# A connection without progress for this long is closed, and the request is sent again.
CONNECT_SECONDS, READ_SECONDS = 10, 20
# boto3's own attempts. They cover short faults of a single request, such as a part of a multipart upload; boto3 stops
# retrying after many failures of a client, so that `S3Store._retry` handles longer outages.
ATTEMPTS = 5
MULTIPART = {"multipart_threshold": 8 << 20, "multipart_chunksize": 8 << 20, "preferred_transfer_client": "classic"}
# Uploads send one part at a time: they are not urgent and must not slow down the training beside them.
UPLOAD, DOWNLOAD = TransferConfig(max_concurrency=1, **MULTIPART), TransferConfig(max_concurrency=4, **MULTIPART)
# The service description is slow to read, so that all clients share it.
SERVICE_MODEL_LOADER = create_loader()

Result = TypeVar("Result")
logger = logging.getLogger(__name__)


class S3Connection:
    """The S3 client of one process, created from the environment on first use.

    boto3 finds endpoint, region and credentials: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION,
    AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE, the files in ~/.aws, or a role. Only the
    settings are pickled: another process creates its own client.

    Args:
        attempts: boto3's attempts for each request.
        connect: time limit of a connection attempt, s.
        read: time limit of waiting for data, s.
    """

    def __init__(self, attempts: int = ATTEMPTS, connect: int = CONNECT_SECONDS, read: int = READ_SECONDS) -> None:
        self._settings = (attempts, connect, read)
        self._lock = threading.Lock()
        self._client: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return S3Connection, self._settings

    def client(self) -> Any:
        """Return the client, which any number of threads can use; boto3's errors for invalid settings pass through."""
        with self._lock:
            if self._client is None:
                self._client = _client(*self._settings)
            return self._client

    def renew(self, failed: Any) -> None:
        """Discard a client that failed, with its connections, credentials and count of failures.

        Args:
            failed: the client; ignored if another thread has renewed it already.
        """
        with self._lock:
            if self._client is failed:
                self._client = None


@dataclass(frozen=True)
class S3Store:
    """The objects below s3://bucket/prefix.

    Transient errors (service unreachable, busy, connection lost) are retried for `retry_seconds`; permanent ones
    (missing bucket, refused credentials) raise at once.
    """

    bucket: str
    prefix: str = ""
    retry_seconds: float = field(default=RETRY_SECONDS, compare=False)
    connection: S3Connection = field(default_factory=S3Connection, compare=False, repr=False)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def at(self, key: str) -> "S3Store":
        return replace(self, prefix=self._full_key(key))

    def read(self, key: str) -> bytes:
        full = self._full_key(key)
        return self._retry(key, lambda client: client.get_object(Bucket=self.bucket, Key=full)["Body"].read())

    def write(self, key: str, content: bytes) -> None:
        full = self._full_key(key)
        self._retry(key, lambda client: client.put_object(Bucket=self.bucket, Key=full, Body=content))

    def upload(self, path: Path, key: str) -> None:
        full = self._full_key(key)

        def send(client: Any) -> None:
            with path.open("rb") as file:
                client.upload_fileobj(file, self.bucket, full, Config=UPLOAD)

        try:
            self._retry(key, send)
        except OSError as error:
            raise read_error(path, error) from error

    def download(self, key: str, path: Path) -> None:
        full = self._full_key(key)

        def fetch(client: Any) -> None:
            with partial.open("wb") as file:
                client.download_fileobj(self.bucket, full, file, Config=DOWNLOAD)

        with atomic.new_file(path) as partial:
            self._retry(key, fetch)

    def size(self, key: str) -> int:
        full = self._full_key(key)
        return self._retry(key, lambda client: client.head_object(Bucket=self.bucket, Key=full)["ContentLength"])

    def list(self, prefix: str = "", *, limit: int | None = None) -> Entries:
        start = f"{self.prefix}/" if self.prefix else ""
        below = f"{self._full_key(prefix)}/" if prefix else start

        def listed(client: Any) -> Entries:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=below)
            found = ((entry["Key"], entry["Size"]) for page in pages for entry in page.get("Contents", []))
            # Other programs mark an empty folder by a key with a trailing slash.
            objects = (Entry(key.removeprefix(start), size) for key, size in found if not key.endswith("/"))
            return sorted(islice(objects, limit))

        return self._retry(prefix, listed)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            full = self._full_key(key)
            self._retry(key, lambda client, full=full: client.delete_object(Bucket=self.bucket, Key=full))

    def check(self) -> None:
        probe_store(replace(self, retry_seconds=0.0, connection=S3Connection(attempts=3, connect=5, read=READ_SECONDS)))

    def filesystem(self) -> "tuple[pyarrow.fs.FileSystem, str]":
        from focus_ray.storage.arrow import arrow_filesystem

        return arrow_filesystem(replace(self, prefix=""), root=self.bucket), str(self).removeprefix("s3://")

    def _full_key(self, key: str) -> str:
        return "/".join(filter(None, (self.prefix, validate_key(key))))

    def _retry(self, key: str, action: Callable[[Any], Result]) -> Result:
        """Return the result of `action` with the client, retrying transient errors for `retry_seconds`."""
        location, began, pause = f"{self}/{key}".rstrip("/"), None, 1.0
        while True:
            client = None
            try:
                client = self.connection.client()
                return action(client)
            except s3_errors.REQUEST_ERRORS as error:
                began = began or time.monotonic()
                left = began + self.retry_seconds - time.monotonic()
                if left <= pause or not s3_errors.is_transient(error):
                    raise self._to_storage_error(error, location, client) from error
                logger.warning("%s: %s; retrying for up to %.0f s", location, s3_errors.reason(error), left)
            # Jitter: many workers that wait for one service do not retry at the same time.
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, MAX_BACKOFF_SECONDS)
            self.connection.renew(client)

    def _to_storage_error(self, error: Exception, location: str, client: Any) -> Exception:
        if isinstance(error, OSError) and not s3_errors.is_transient(error):
            return error  # of the local disk: the caller translates it
        endpoint = s3_errors.redact_endpoint(client.meta.endpoint_url) if client else "S3"
        return s3_errors.to_storage_error(error, location, self.bucket, endpoint)


def _client(attempts: int, connect: int, read: int) -> Any:
    config = Config(
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=connect,
        read_timeout=read,
        # Not every S3-compatible service supports the newer checksums; manifests hold their own.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    settings = botocore.session.get_session()
    settings.register_component("data_loader", SERVICE_MODEL_LOADER)
    # boto3 itself reads AWS_DEFAULT_REGION only.
    session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None, botocore_session=settings)
    client = session.client("s3", config=config)
    if s3_errors.is_aws(client.meta.endpoint_url) or (client.meta.config.s3 or {}).get("addressing_style"):
        return client
    # Other services seldom offer buckets as host names.
    return session.client("s3", config=config.merge(Config(s3={"addressing_style": "path"})))
