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
_BACKOFF = 0.2  # s before the first retry, doubled each time, plus up to 100 % random jitter
_MAX_BACKOFF = 10.0  # s, unless Retry-After is longer
_CONNECTIONS = 32  # connections kept open; others are closed after their request


class Client:
    """HTTP client of one endpoint, and a context manager. Thread-safe: threads share its pool of connections.

    Requests are idempotent, so lost connections and busy responses are retried: after the time in Retry-After, else
    with exponential backoff. Redirects are not followed, so that the key is sent to this endpoint only.
    """

    def __init__(self, url: str, key: str | None = None, *, retries: int = 3, timeout: float = 60.0) -> None:
        """Create a client; connects with the first request.

        Args:
            url: address of the endpoint, http://HOST:PORT.
            key: API key; None: send no key.
            retries: maximum number of retries of a request.
            timeout: s, for connecting, for each gap between received bytes, and for all retries from the first
                failure on.

        Raises:
            ConfigError: the address or the key is not valid.
        """
        self._url = _normalize_url(url)
        self._timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False  # ignore ~/.netrc and proxy variables
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        if key is not None:
            self._session.headers["Authorization"] = f"Bearer {_validate_key(key)}"
        adapter = HTTPAdapter(pool_maxsize=_CONNECTIONS, max_retries=_retry_policy(retries, timeout))
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._session.mount(self._url + "readyz", HTTPAdapter())  # no retries: the current state

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def reconstruct(self, image: ImageInput, **options: Any) -> Reconstruction:
        """Reconstruct the faces of one picture.

        Args:
            image: path of a file, its bytes, or an RGB array.
            **options: fields of `schema.Options`.

        Returns:
            The parsed response.

        Raises:
            ConfigError: the file cannot be read.
            ServiceError: the endpoint refused the request, cannot be reached, or sent an invalid response.
        """
        files = [("image", _encode_upload(image))]
        return self._request_model("POST", "v1/reconstructions", Reconstruction, files=files, data=_form(options))

    def reconstruct_batch(self, images: Iterable[ImageInput], **options: Any) -> BatchResponse:
        """Reconstruct the faces of several pictures in one request.

        Args:
            images: paths of files, their bytes, or RGB arrays.
            **options: fields of `schema.Options`, for all pictures.

        Returns:
            One item for each picture, in order; the item of a refused picture has a `problem`.

        Raises:
            ConfigError: a file cannot be read.
            ServiceError: the endpoint refused the request, cannot be reached, or sent an invalid response.
        """
        files = [("images", _encode_upload(picture)) for picture in images]
        return self._request_model("POST", "v1/reconstructions:batch", BatchResponse, files=files, data=_form(options))

    def model(self) -> ModelResponse:
        """Return the model of the endpoint and its limits.

        Raises:
            ServiceError: the endpoint refused the request, cannot be reached, or sent an invalid response.
        """
        return self._request_model("GET", "v1/model", ModelResponse)

    def is_ready(self) -> bool:
        """Return whether the endpoint's model is ready; False if the endpoint cannot be reached. Does not retry."""
        try:
            with self._session.get(self._url + "readyz", timeout=self._timeout, allow_redirects=False) as response:
                return response.status_code == requests.codes.ok
        except (requests.RequestException, HTTPError):
            return False

    def download(self, output: Output) -> bytes:
        """Return the content of an output: decode it, or follow its link.

        Raises:
            ServiceError: the content is damaged, the link does not lead to this endpoint, or the request failed.
        """
        if output.base64 is not None:
            try:
                return base64.b64decode(output.base64, validate=True)
            except binascii.Error:
                raise ServiceError("an output in the response is damaged; send the request again") from None
        href = output.href or ""
        if not href.startswith("/") or href.startswith("//"):
            raise ServiceError("the link is not a path of the endpoint and is not followed; send the request again")
        return self._request("GET", self._url + href[1:]).content

    def _request_model(self, method: str, path: str, kind: type[ResponseT], **sent: Any) -> ResponseT:
        response = self._request(method, self._url + path, **sent)
        try:
            return kind.model_validate_json(response.content)
        except ValidationError:
            raise ServiceError("the endpoint's response has an unknown format; check its address and version") from None

    def _request(self, method: str, url: str, **sent: Any) -> requests.Response:
        try:
            response = self._send(method, url, **sent)
        except (requests.RequestException, HTTPError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ServiceError(f"the endpoint {self._url} does not respond: {reason}; check its address") from None
        if response.status_code != requests.codes.ok:
            raise _service_error(response)
        return response

    def _send(self, method: str, url: str, **sent: Any) -> requests.Response:
        ask = partial(self._session.request, method, url, timeout=self._timeout, allow_redirects=False, **sent)
        try:
            return ask()
        except requests.exceptions.ChunkedEncodingError:  # truncated response: Retry handles missing ones only
            return ask()


class _TimedRetry(Retry):
    """Retry policy with a deadline. As in urllib3, each failure creates a new instance."""

    seconds = 0.0  # for all retries, from the first failure on
    deadline: float | None = None  # monotonic, s; set by the first failure

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
        """Return the policy after one more failure; its arguments are those of urllib3's `Retry.increment`.

        Raises:
            MaxRetryError: no retry is left, the deadline would pass, or the endpoint reported an internal error. A
                response that arrived is then returned to the caller.
        """
        again = super().increment(method, url, response, error, _pool, _stacktrace)
        now = time.monotonic()
        again.deadline = now + self.seconds if self.deadline is None else self.deadline
        pause = (response and again.get_retry_after(response)) or again.get_backoff_time()
        if _is_reported_bug(response) or now + pause > again.deadline:
            raise MaxRetryError(_pool, url or "", error or ResponseError("the time for retries is over"))
        return again

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Return the seconds of Retry-After; None if it is missing or invalid."""
        try:
            seconds = super().get_retry_after(response)
        except InvalidHeader:
            return None
        return None if seconds is None else float(seconds)

    def get_backoff_time(self) -> float:
        """Return the pause before the next retry, s; unlike urllib3's, the first one is not zero."""
        pause = _BACKOFF * 2 ** (len(self.history) - 1)
        return min(_MAX_BACKOFF, pause * (1 + random.random()))


def _is_reported_bug(response: BaseHTTPResponse | None) -> bool:
    """Return whether the response reports an internal error of the application; a retry would not help."""
    if response is None or response.status != _CRASHED:
        return False
    return response.headers.get("Content-Type", "").partition(";")[0].strip() == MEDIA_TYPE


def _retry_policy(retries: int, seconds: float) -> _TimedRetry:
    policy = _TimedRetry(
        total=retries,
        allowed_methods=None,  # POST too: requests are idempotent
        status_forcelist=_RETRY_STATUSES,
        raise_on_status=False,
    )
    policy.seconds = seconds
    return policy


def _normalize_url(url: str) -> str:
    """Check the address; return it with one slash at the end."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        raise ConfigError("the URL is not the address of an endpoint; give http://HOST:PORT") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError("the address contains a user name or password; give the key as `key`")
    if not usable or parts.query or parts.fragment:
        raise ConfigError(f"{url!r} is not the address of an endpoint; give http://HOST:PORT")
    return url.rstrip("/") + "/"


def _validate_key(key: str) -> str:
    """Check that the key is valid in a header; errors do not contain it."""
    if not (key.isascii() and key.isprintable()) or " " in key or not key:
        raise ConfigError("the key has spaces, line breaks or characters that no key has; give it as it was shown")
    return key


def _encode_upload(image: ImageInput) -> tuple[str, bytes]:
    """Return a neutral file name and the bytes of the picture."""
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
        raise ConfigError(f"{image} cannot be read ({error.strerror}); check the path and its permissions") from None


def _form(options: Mapping[str, Any]) -> dict[str, str]:
    """Format options as form fields; lists are comma-separated."""
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
        message = f"the endpoint responded with status {response.status_code} and no reason; check its address"
        return ServiceError(message, status=response.status_code)
    return ServiceError(problem.detail, status=response.status_code, code=problem.code, request_id=problem.request_id)
