"""HTTP client of the endpoint. Retries when it is busy or starting; sends the API key to this host only."""

import base64
import binascii
import io
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
import requests
from jaxtyping import UInt8
from pydantic import BaseModel, ValidationError
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, InvalidHeader, MaxRetryError, ResponseError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry

from focus_ray.errors import ConfigError, ServiceError
from focus_ray.serving.problems import MEDIA_TYPE
from focus_ray.serving.schema import BatchResponse, ModelResponse, Output, ProblemDetails, Reconstruction

ImageInput = str | Path | bytes | UInt8[np.ndarray, "H W 3"]
ResponseT = TypeVar("ResponseT", bound=BaseModel)

_CRASHED = 500
_RETRY_STATUSES = (429, 502, 503, 504, _CRASHED)
_BACKOFF = 0.2  # s before the first retry, then twice as long each time, and up to as much again by chance
_MAX_BACKOFF = 10.0  # s, unless Retry-After says more
_CONNECTIONS = 32  # that are kept open; more are made and closed


class Client:
    """HTTP client of one endpoint, also a context manager. Threads may share it: a request changes nothing
    in it, and they share its connections.

    A request may be repeated without harm, so a lost connection and a busy endpoint are tried again: after what
    Retry-After says, else after a growing pause. Redirects are not followed: the key is for this endpoint alone.
    """

    def __init__(self, url: str, key: str | None = None, *, retries: int = 3, timeout: float = 60.0) -> None:
        """timeout [s]: of connecting, of each silence while an answer comes, and of trying again, from the first
        failure on. Raises ConfigError for what is no address or no key.
        """
        self._url = _normalize_url(url)
        self._timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False  # no credentials of ~/.netrc, no proxies
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        if key is not None:
            self._session.headers["Authorization"] = f"Bearer {_validate_key(key)}"
        adapter = HTTPAdapter(pool_maxsize=_CONNECTIONS, max_retries=_retry_policy(retries, timeout))
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._session.mount(self._url + "readyz", HTTPAdapter())  # asks about now: without patience

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._session.close()

    def reconstruct(self, image: ImageInput, **options: Any) -> Reconstruction:
        """The faces of one picture: a file, its bytes, or an RGB array. Options are those of schema.Options.

        Raises ServiceError for what the endpoint refuses, and where it cannot be reached or understood.
        """
        files = [("image", _encode_upload(image))]
        return self._request_model("POST", "v1/reconstructions", Reconstruction, files=files, data=_form(options))

    def reconstruct_batch(self, images: Iterable[ImageInput], **options: Any) -> BatchResponse:
        """The faces of several pictures; what is refused stands in its place. Raises ServiceError."""
        files = [("images", _encode_upload(picture)) for picture in images]
        return self._request_model("POST", "v1/reconstructions:batch", BatchResponse, files=files, data=_form(options))

    def model(self) -> ModelResponse:
        """The model of the endpoint. Raises ServiceError."""
        return self._request_model("GET", "v1/model", ModelResponse)

    def is_ready(self) -> bool:
        """Whether the endpoint has a model that is ready."""
        try:
            with self._session.get(self._url + "readyz", timeout=self._timeout, allow_redirects=False) as response:
                return response.status_code == requests.codes.ok
        except (requests.RequestException, HTTPError):
            return False

    def download(self, output: Output) -> bytes:
        """The content of a file that belongs to an answer. Raises ServiceError, also for a link to somewhere else."""
        if output.base64 is not None:
            try:
                return base64.b64decode(output.base64, validate=True)
            except binascii.Error:
                raise ServiceError("a file of the answer is damaged; ask for it again") from None
        href = output.href or ""
        if not href.startswith("/") or href.startswith("//"):
            raise ServiceError("the link is no path of the endpoint; it is not followed")
        return self._request("GET", self._url + href[1:]).content

    def _request_model(self, method: str, path: str, kind: type[ResponseT], **sent: Any) -> ResponseT:
        response = self._request(method, self._url + path, **sent)
        try:
            return kind.model_validate_json(response.content)
        except ValidationError:
            raise ServiceError("the endpoint's answer cannot be understood; check its address and version") from None

    def _request(self, method: str, url: str, **sent: Any) -> requests.Response:
        try:
            response = self._send(method, url, **sent)
        except (requests.RequestException, HTTPError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ServiceError(f"the endpoint {self._url} does not answer: {reason}") from None
        if response.status_code != requests.codes.ok:
            raise _service_error(response)
        return response

    def _send(self, method: str, url: str, **sent: Any) -> requests.Response:
        ask = partial(self._session.request, method, url, timeout=self._timeout, allow_redirects=False, **sent)
        try:
            return ask()
        except requests.exceptions.ChunkedEncodingError:  # it broke off: Retry sees only answers that do not begin
            return ask()


class _TimedRetry(Retry):
    """Retry policy: which responses, how long after, until when. Like urllib3's own, each failure creates a new one."""

    seconds = 0.0  # of trying again
    deadline: float | None = None  # known from the first failure on

    def new(self, **changed: Any) -> "_TimedRetry":
        again = super().new(**changed)
        again.seconds, again.deadline = self.seconds, self.deadline
        return again

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: TracebackType | None = None,
    ) -> "_TimedRetry":
        """Raises MaxRetryError where it is over; what has been answered is the answer then."""
        again = super().increment(method, url, response, error, _pool, _stacktrace)
        now = time.monotonic()
        again.deadline = now + self.seconds if self.deadline is None else self.deadline
        pause = (response and again.get_retry_after(response)) or again.get_backoff_time()
        if _is_reported_bug(response) or now + pause > again.deadline:
            raise MaxRetryError(_pool, url or "", error or ResponseError("no time is left"))
        return again

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Seconds; None also for what is no time."""
        try:
            seconds = super().get_retry_after(response)
        except InvalidHeader:
            return None
        return None if seconds is None else float(seconds)

    def get_backoff_time(self) -> float:
        """Seconds; urllib3's own begins with none."""
        pause = _BACKOFF * 2 ** (len(self.history) - 1)
        return min(_MAX_BACKOFF, pause * (1 + random.random()))


def _is_reported_bug(response: BaseHTTPResponse | None) -> bool:
    """Whether the endpoint reports an internal error of its own: a retry would not help."""
    if response is None or response.status != _CRASHED:
        return False
    return response.headers.get("Content-Type", "").partition(";")[0].strip() == MEDIA_TYPE


def _retry_policy(retries: int, seconds: float) -> _TimedRetry:
    patience = _TimedRetry(
        total=retries,
        allowed_methods=None,  # POST too: nothing is changed there
        status_forcelist=_RETRY_STATUSES,
        raise_on_status=False,
    )
    patience.seconds = seconds
    return patience


def _normalize_url(url: str) -> str:
    """With one slash at the end."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        raise ConfigError("that is no address of an endpoint; give http://HOST:PORT") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError("an address with a name or password in it is not used; give the key as `key`")
    if not usable or parts.query or parts.fragment:
        raise ConfigError(f"{url!r} is no address of an endpoint; give http://HOST:PORT")
    return url.rstrip("/") + "/"


def _validate_key(key: str) -> str:
    """As it may stand in a header; an error does not repeat it."""
    if not (key.isascii() and key.isprintable()) or " " in key or not key:
        raise ConfigError("the key has blanks, line ends or letters that no key has; give it as it was shown")
    return key


def _encode_upload(image: ImageInput) -> tuple[str, bytes]:
    """A neutral file name and the bytes of the picture."""
    if isinstance(image, bytes):
        return "picture", image
    if isinstance(image, np.ndarray):
        from PIL import Image

        content = io.BytesIO()
        Image.fromarray(image).save(content, "PNG", compress_level=1)
        return "picture.png", content.getvalue()
    try:
        return "picture", Path(image).read_bytes()
    except OSError as error:
        raise ConfigError(f"{image} cannot be read ({error.strerror}); check the path and its rights") from None


def _form(options: Mapping[str, Any]) -> dict[str, str]:
    """Options as form fields: lists by commas."""
    return {name: _format_value(value) for name, value in options.items() if value is not None}


def _format_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, np.ndarray):
        value = value.ravel().tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(_format_value(part) for part in value)
    return str(value)


def _service_error(response: requests.Response) -> ServiceError:
    try:
        problem = ProblemDetails.model_validate_json(response.content)
    except ValidationError:
        said = f"the endpoint answered {response.status_code} without a reason; check its address"
        return ServiceError(said, status=response.status_code)
    return ServiceError(problem.detail, status=response.status_code, code=problem.code, request_id=problem.request_id)
