"""Errors of a request as application/problem+json (RFC 9457), without paths, buckets or traces.

code                    status
bad_request             400   a body that is truncated, or not valid multipart
unauthorized            401   no key, or a wrong one
not_found               404
method_not_allowed      405
timeout                 408   a body that arrived too slowly
too_large               413   a body or a picture over the limits
unsupported_media       415   not a JPEG, PNG or WebP
unprocessable           422   an option that cannot be used, a picture that cannot be decoded
too_many_requests       429   too many requests of one client at once; with Retry-After
overloaded              503   the endpoint is busy or starting; with Retry-After
internal                500   a bug
"""

import json
from typing import Final

MEDIA_TYPE: Final = "application/problem+json"

TITLES: Final[dict[str, tuple[int, str]]] = {
    "bad_request": (400, "The request cannot be read"),
    "unauthorized": (401, "A valid API key is required"),
    "not_found": (404, "Not found"),
    "method_not_allowed": (405, "Method not allowed"),
    "timeout": (408, "The request arrived too slowly"),
    "too_large": (413, "The request is too large"),
    "unsupported_media": (415, "Unsupported media type"),
    "unprocessable": (422, "The request cannot be processed"),
    "too_many_requests": (429, "Too many requests of one client at once"),
    "overloaded": (503, "The service is busy"),
    "internal": (500, "Internal error"),
}


class Problem(Exception):
    """A refused request."""

    def __init__(self, code: str, detail: str, *, retry_after: int | None = None, reason: str | None = None) -> None:
        """Create a problem.

        Args:
            code: key of TITLES.
            detail: what was wrong and what to do; shown to the client.
            retry_after: s, for the header Retry-After; None: no header.
            reason: label of the metric of rejections; None: the code.
        """
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retry_after = retry_after
        self.reason = reason or code

    @classmethod
    def internal_error(cls) -> "Problem":
        """Return the problem for an unexpected exception."""
        return cls("internal", "this is a bug and has been logged; report it with the request's id")

    @property
    def status(self) -> int:
        """The HTTP status."""
        return TITLES[self.code][0]

    def headers(self) -> dict[str, str]:
        """Return the headers of the response: Retry-After, WWW-Authenticate."""
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        return headers | ({"www-authenticate": "Bearer"} if self.code == "unauthorized" else {})

    def document(self, request_id: str) -> dict[str, object]:
        """Return the members of the problem document (RFC 9457)."""
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
        """Return the problem document as JSON."""
        return json.dumps(self.document(request_id)).encode()
