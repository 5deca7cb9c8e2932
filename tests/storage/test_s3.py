"""S3: what may pass is tried again, what will not is told at once in a line that says what to do."""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from focus_ray.errors import NoSuchObject, StorageError
from focus_ray.storage import s3, s3_errors
from focus_ray.storage.object_store import Entry
from focus_ray.storage.open_store import open_store
from focus_ray.storage.s3 import S3Connection, S3Store
from tests.system.faulty_proxy import FaultyProxy
from tests.system.servers import new_bucket, use_s3


class Answers(ThreadingHTTPServer):
    """A server that gives the answers it is told to, the last one for ever, and keeps what it was asked."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.answers: list[tuple[int, str]] = [(200, "")]
        self.asked: list[tuple[str, str, dict[str, str]]] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Answers

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = self.server.asked
        status, code = self.server.answers[min(len(asked), len(self.server.answers) - 1)]
        asked.append((self.command, self.path, dict(self.headers.items())))
        content = f"<Error><Code>{code}</Code><Message>No.\nNo!</Message></Error>".encode() if code else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_HEAD = do_DELETE = answer

    def log_message(self, *_) -> None:
        """What is asked is kept in `asked`."""


@pytest.fixture
def server(monkeypatch) -> Iterator[Answers]:
    server = Answers()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    use_s3(monkeypatch, server.url)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """Waiting takes no time; how long it would have been."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


# --- what will not pass

FINAL = {
    (404, "NoSuchBucket"): r"there is no bucket 'bucket' at http://127\.0\.0\.1:\d+; create it, or correct its name",
    (403, "InvalidAccessKeyId"): r"refuses the credentials \(InvalidAccessKeyId\); set AWS_ACCESS_KEY_ID and",
    (403, "SignatureDoesNotMatch"): r"refuses the credentials \(SignatureDoesNotMatch\); set AWS_ACCESS_KEY_ID and",
    (400, "ExpiredToken"): r"refuses the credentials \(ExpiredToken\); set",
    (403, "AccessDenied"): r"do not allow PutObject on s3://bucket/run/.*; allow ListBucket, GetObject, PutObject and",
    (403, "RequestTimeTooSkewed"): "the clock of this machine differs from that of .*; correct it",
    (400, "AuthorizationHeaderMalformed"): "the bucket 'bucket' belongs to another region; set AWS_REGION",
    (400, "InvalidRequest"): "PutObject failed on s3://bucket/run/.*: .*InvalidRequest.*; check bucket, endpoint and",
    (501, "NotImplemented"): "PutObject failed on s3://bucket/run/.*: .*NotImplemented.*; check bucket, endpoint and",
}


@pytest.mark.parametrize("answer", FINAL, ids=lambda answer: answer[1])
def test_a_refusal_is_told_at_once(server, pauses, answer):
    server.answers = [answer]
    for call in (S3Store("bucket", "run").check, lambda: S3Store("bucket", "run").write("a", b"1")):
        with pytest.raises(StorageError, match=FINAL[answer]) as caught:
            call()
        message = str(caught.value)
        assert "\n" not in message
        assert "test-key" not in message
        assert "test-secret" not in message
    assert pauses == []
    assert len(server.asked) <= 4  # boto3 itself looks once where a bucket's region is


def test_a_server_that_redirects_everything_is_told(server):
    server.answers = [(301, "PermanentRedirect")]
    with pytest.raises(StorageError, match=r"redirects without end; correct AWS_ENDPOINT_URL_S3 \(https"):
        S3Store("bucket", "run").check()


@pytest.mark.parametrize("answer", [(503, "SlowDown"), (500, "InternalError"), (429, "")])
def test_a_check_does_not_wait_for_a_service_that_is_ill(server, pauses, answer):
    server.answers = [answer]
    with pytest.raises(StorageError, match=r"http://127\.0\.0\.1:\d+ returned a transient error .*; try again later"):
        S3Store("bucket", "run").check()
    assert len(server.asked) == 3


def test_a_service_that_forgets_is_found_out(server):
    with pytest.raises(StorageError, match="returns other content than was written to it; choose another location"):
        S3Store("bucket", "run").check()


def test_no_credentials(server, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(StorageError, match="no credentials for s3://bucket; set AWS_ACCESS_KEY_ID"):
        open_store("s3://bucket/run").check()
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StorageError, match=r"s3://bucket/run/.* cannot be used: .*nobody.*; correct the AWS settings"):
        open_store("s3://bucket/run").check()
    assert server.asked == []


@pytest.mark.timeout(60)
def test_an_endpoint_that_is_not_there(server, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cases = {
        f"http://127.0.0.1:{port}": f"cannot connect to http://127.0.0.1:{port}; start the server, or correct AWS_",
        f"http://user:hunter2@127.0.0.1:{port}": f"cannot connect to http://127.0.0.1:{port}; start",
        "http://no-such-host.invalid:9000": "cannot resolve the host name no-such-host.invalid; correct AWS_ENDPOINT",
        "localhost:9000": "the endpoint of S3 is not a URL; set AWS_ENDPOINT_URL_S3 to http://host:port",
    }
    for endpoint, message in cases.items():
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        began = time.monotonic()
        with pytest.raises(StorageError, match=message):
            open_store("s3://bucket/run").check()
        assert time.monotonic() - began < 20


def test_an_endpoint_is_told_by_what_it_is_not_by_words(monkeypatch):
    for endpoint in ("localhost:9000", "http://[::1"):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        said = s3_errors.to_storage_error(ValueError("?"), "s3://bucket/a", "bucket", "S3")
        assert str(said).startswith("the endpoint of S3 is not a URL"), endpoint
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://localhost:9000")
    said = s3_errors.to_storage_error(ValueError("no endpoint of a range"), "s3://bucket/a", "bucket", "S3")
    assert str(said).startswith("s3://bucket/a cannot be used: no endpoint of a range")


def test_a_server_of_another_kind(server):
    server.answers = [(404, "")]
    with pytest.raises(NoSuchObject):
        S3Store("bucket", "run").read("a")


# --- what may pass


@pytest.mark.parametrize("answer", [(503, "SlowDown"), (500, "InternalError"), (429, ""), (400, "RequestTimeout")])
def test_a_service_that_is_ill_is_asked_again(server, pauses, caplog, answer):
    server.answers = [answer] * 12 + [(200, "")]
    with caplog.at_level(logging.WARNING, logger=s3.__name__):
        S3Store("bucket", "run").write("a", b"1")
    assert len(server.asked) == 13
    # boto3 asks five times; the longer pauses are ours, and told.
    assert len(caplog.records) == 2
    assert f"{answer[1]}, status {answer[0]}; retrying for up to 300 s" in caplog.text


def test_patience_ends(server, pauses, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    server.answers = [(503, "SlowDown")]
    with pytest.raises(StorageError, match=r"returned a transient error \(SlowDown, status 503\); try again later"):
        S3Store("bucket", "run", retry_seconds=200.0).write("a", b"1")
    assert 150 < now[0] < 250


def test_credentials_are_looked_up_again_between_attempts(server, pauses, monkeypatch):
    server.answers = [(503, "SlowDown")] * 5 + [(200, "")]
    monkeypatch.setattr(time, "sleep", lambda _: os.environ.__setitem__("AWS_ACCESS_KEY_ID", "renewed"))
    S3Store("bucket", "run").write("a", b"1")
    keys = [headers["Authorization"].partition("Credential=")[2].split("/")[0] for _, _, headers in server.asked]
    assert keys == ["test-key"] * 5 + ["renewed"]


def test_a_region_and_the_bucket_in_the_path(server, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    S3Store("bucket", "run").write("a", b"1")
    (method, path, headers) = server.asked[0]
    assert (method, path) == ("PUT", "/bucket/run/a")
    assert "/eu-central-1/s3/" in headers["Authorization"]
    assert not any(name.lower().startswith("x-amz-checksum") for name in headers)


def test_at_amazon_the_bucket_is_a_host(monkeypatch):
    use_s3(monkeypatch, "http://127.0.0.1:9")
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name)
    client = S3Connection().client()  # asks nothing
    link = client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "run/a"})
    assert link.startswith("https://bucket.s3.")


# --- connections that break


@pytest.fixture
def proxied(s3_url, monkeypatch) -> Iterator[tuple[FaultyProxy, S3Store]]:
    """A store in a bucket behind a proxy."""
    monkeypatch.setattr(time, "sleep", lambda _, sleep=time.sleep: sleep(0.01))
    with FaultyProxy(s3_url) as proxy:
        use_s3(monkeypatch, proxy.url)
        yield proxy, S3Store(new_bucket(s3_url), "run")


@pytest.mark.parametrize("fault", ["reset", "lost", "cut", "busy"])
def test_a_large_file_gets_through(proxied, tmp_path, fault):
    proxy, store = proxied
    setattr(proxy.faults, fault, 0.4)
    content = os.urandom(18 << 20)
    (tmp_path / "file").write_bytes(content)
    while not proxy.counts[fault]:
        store.upload(tmp_path / "file", "a")
        store.download("a", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == content
        assert store.list() == [Entry("a", len(content))]


def test_answers_that_are_cut_are_read_again(proxied):
    proxy, store = proxied
    store.write("a", content := os.urandom(100_000))
    proxy.faults.cut = 0.6
    while proxy.counts["cut"] < 3:
        assert store.read("a") == content
        assert store.list() == [Entry("a", 100_000)]


def test_a_full_disk_is_not_tried_again(proxied, tmp_path, monkeypatch):
    _, store = proxied
    store.write("a", b"1")
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(
        s3.atomic.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(StorageError, match=r"cannot write .*copy: No space left on device; free space"):
        store.download("a", tmp_path / "folder" / "copy")
    assert list((tmp_path / "folder").iterdir()) == []
