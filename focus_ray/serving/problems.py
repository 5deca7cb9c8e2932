"""Errors of a request as application/problem+json (RFC 9457), without paths, buckets or traces.

code                    status
bad_request             400   a body that is cut off, or no multipart as it says
unauthorized            401   no key, or a wrong one
not_found               404
method_not_allowed      405
timeout                 408   a body that came too slowly
too_large               413   a body or a picture over the limits
unsupported_media       415   no JPEG, PNG or WebP
unprocessable           422   an option that cannot be used, a picture that cannot be decoded
too_many_requests       429   one client has too many at once; with Retry-After
overloaded              503   everything is busy, or starting; with Retry-After
internal                500   a bug
"""

import json
from typing import Final

MEDIA_TYPE: Final = "application/problem+json"

TITLES: Final[dict[str, tuple[int, str]]] = {
    "bad_request": (400, "The request cannot be read"),
    "unauthorized": (401, "A valid API key is needed"),
    "not_found": (404, "There is nothing here"),
    "method_not_allowed": (405, "Method not allowed"),
    "timeout": (408, "The request came too slowly"),
    "too_large": (413, "The request is too large"),
    "unsupported_media": (415, "This kind of content is not accepted"),
    "unprocessable": (422, "The request cannot be used"),
    "too_many_requests": (429, "Too many requests of one client at once"),
    "overloaded": (503, "The service is busy"),
    "internal": (500, "Something went wrong"),
}


class Problem(Exception):
    """A request that is refused. `detail` says what was wrong and what to do, for the client's eyes."""

    def __init__(self, code: str, detail: str, *, retry_after: int | None = None, reason: str | None = None) -> None:
        """reason: what the metric of rejections counts it as; the code unless given."""
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retry_after = retry_after
        self.reason = reason or code

    @classmethod
    def internal_error(cls) -> "Problem":
        """What is said of an error that nobody has foreseen."""
        return cls("internal", "this is a bug; it has been logged under this request's id")

    @property
    def status(self) -> int:
        """The HTTP status."""
        return TITLES[self.code][0]

    def headers(self) -> dict[str, str]:
        """What goes with it: Retry-After, WWW-Authenticate."""
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        return headers | ({"www-authenticate": "Bearer"} if self.code == "unauthorized" else {})

    def document(self, request_id: str) -> dict[str, object]:
        """The members of the problem."""
        status, title = TITLES[self.code]
        return {
            "type": f"urn:focus-ray:problem:{self.code}",
            "title": title,
            "status": status,
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
        }

    def body(self, request_id: str) -> bytes:
        """The document as JSON."""
        return json.dumps(self.document(request_id)).encode()
