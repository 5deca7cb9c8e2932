"""A client of the endpoint: patient with one that is busy or starting, and careful with its key."""

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import numpy as np
import requests
from jaxtyping import UInt8
from pydantic import BaseModel, ValidationError
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from focus_ray.errors import ConfigError, ServiceError
from focus_ray.serving.schema import BatchAnswer, ModelAnswer, Output, ProblemAnswer, Reconstruction

Picture = str | Path | bytes | UInt8[np.ndarray, "H W 3"]
Answer = TypeVar("Answer", bound=BaseModel)

_COME_AGAIN = (429, 502, 503, 504)
_BACKOFF = 0.2  # s before the second retry, then twice as long each time
_LONGEST_PAUSE = 10.0  # s


class Client:
    """Asks one endpoint. Use one a thread, in a `with` block or for as long as you like.

    A request may be repeated without harm, so a lost connection and a busy endpoint are tried again: after what
    Retry-After says, else after a growing pause. Redirects are not followed: the key is for this endpoint alone.
    """

    def __init__(self, url: str, key: str | None = None, *, retries: int = 3, timeout: float = 60.0) -> None:
        """timeout [s]: of connecting, and of each silence while an answer comes. Raises ConfigError for no http URL."""
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise ConfigError(f"{url!r} is no address of an endpoint; give http://HOST:PORT")
        self._url = url.rstrip("/") + "/"
        self._timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False  # no credentials of ~/.netrc, no proxies
        if key is not None:
            self._session.headers["Authorization"] = f"Bearer {key}"
        adapter = HTTPAdapter(max_retries=_patience(retries))
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._session.close()

    def reconstruct(self, picture: Picture, **options: Any) -> Reconstruction:
        """The faces of one picture: a file, its bytes, or an RGB array. Options are those of schema.Options.

        Raises ServiceError for what the endpoint refuses, and where it cannot be reached or understood.
        """
        files = [("image", _upload(picture))]
        return self._answer("POST", "v1/reconstructions", Reconstruction, files=files, data=_form(options))

    def reconstruct_batch(self, pictures: Iterable[Picture], **options: Any) -> BatchAnswer:
        """The faces of several pictures; what is refused stands in its place. Raises ServiceError."""
        files = [("images", _upload(picture)) for picture in pictures]
        return self._answer("POST", "v1/reconstructions:batch", BatchAnswer, files=files, data=_form(options))

    def model(self) -> ModelAnswer:
        """What answers there. Raises ServiceError."""
        return self._answer("GET", "v1/model", ModelAnswer)

    def ready(self) -> bool:
        """Whether a model answers there now."""
        try:
            with self._session.get(self._url + "readyz", timeout=self._timeout, allow_redirects=False) as response:
                return response.status_code == requests.codes.ok
        except requests.RequestException:
            return False

    def output(self, output: Output) -> bytes:
        """The content of a file that belongs to an answer. Raises ServiceError, also for a link to somewhere else."""
        if output.base64 is not None:
            return base64.b64decode(output.base64)
        url = urljoin(self._url, output.href or "")
        if urlsplit(url)[:2] != urlsplit(self._url)[:2]:
            raise ServiceError("the link leads to another place than the endpoint; it is not followed")
        return self._request("GET", url).content

    def _answer(self, method: str, path: str, kind: type[Answer], **sent: Any) -> Answer:
        response = self._request(method, self._url + path, **sent)
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            raise ServiceError(f"the endpoint's answer cannot be understood ({error.error_count()} errors)") from None

    def _request(self, method: str, url: str, **sent: Any) -> requests.Response:
        try:
            response = self._session.request(method, url, timeout=self._timeout, allow_redirects=False, **sent)
        except requests.RequestException as error:
            reason = " ".join(str(error).split())[:200]
            raise ServiceError(f"the endpoint {self._url} does not answer: {reason}") from None
        if response.status_code != requests.codes.ok:
            raise _refusal(response)
        return response


def _patience(retries: int) -> Retry:
    return Retry(
        total=retries,
        allowed_methods=None,  # POST too: nothing is changed there
        status_forcelist=_COME_AGAIN,
        respect_retry_after_header=True,
        backoff_factor=_BACKOFF,
        backoff_jitter=_BACKOFF,
        backoff_max=_LONGEST_PAUSE,
        raise_on_status=False,
    )


def _upload(picture: Picture) -> tuple[str, bytes]:
    """A file name that says nothing, and the picture's bytes."""
    if isinstance(picture, bytes):
        return "picture", picture
    if isinstance(picture, np.ndarray):
        from PIL import Image

        content = io.BytesIO()
        Image.fromarray(picture).save(content, "PNG", compress_level=1)
        return "picture.png", content.getvalue()
    try:
        return "picture", Path(picture).read_bytes()
    except OSError as error:
        raise ConfigError(f"{picture} cannot be read ({error.strerror}); check the path and its rights") from None


def _form(options: Mapping[str, Any]) -> dict[str, str]:
    """Options as form fields: lists by commas."""
    return {name: _text(value) for name, value in options.items() if value is not None}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, np.ndarray):
        value = value.ravel().tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(_text(part) for part in value)
    return str(value)


def _refusal(response: requests.Response) -> ServiceError:
    try:
        problem = ProblemAnswer.model_validate_json(response.content)
    except (ValidationError, json.JSONDecodeError):
        return ServiceError(f"the endpoint answered {response.status_code}", status=response.status_code)
    return ServiceError(problem.detail, status=response.status_code, code=problem.code, request_id=problem.request_id)
