"""Errors of an S3 service: which are transient, and one line of text for the permanent ones."""

import os
import socket
from urllib.parse import urlsplit

from botocore import exceptions
from botocore.parsers import ResponseParserError
from botocore.utils import is_valid_endpoint_url
from s3transfer.exceptions import RetriesExceededError

from focus_ray.errors import NoSuchObject, StorageError

# Statuses and codes of a server that is busy, restarting, or received a damaged request. NoSuchUpload: a multipart
# upload was completed a second time, because the first response was lost.
TRANSIENT_STATUS = {408, 429, 500, 502, 503, 504}
TRANSIENT_CODES = {
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InternalError",
    "InvalidPart",
    "NoSuchUpload",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "XAmzContentSHA256Mismatch",
}
# Failed, interrupted and stalled connections, and incomplete responses.
TRANSIENT_ERRORS = (
    exceptions.ConnectionError,
    exceptions.HTTPClientError,
    exceptions.IncompleteReadError,
    exceptions.ChecksumError,
    ResponseParserError,
    RetriesExceededError,
    ConnectionError,
    TimeoutError,
)
# All errors of a request. ValueError: the endpoint is not a URL. OSError: also of the local disk. RecursionError: boto3
# resolves a redirect by another request to the same server, without a limit.
REQUEST_ERRORS = (
    exceptions.BotoCoreError,
    exceptions.ClientError,
    ResponseParserError,
    RetriesExceededError,
    OSError,
    ValueError,
    RecursionError,
)
NOT_FOUND_CODES = {"NoSuchKey", "404"}
CREDENTIAL_ERROR_CODES = {
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
}
WRONG_REGION_CODES = {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect", "301"}
CREDENTIALS_HINT = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"


def is_transient(error: Exception) -> bool:
    """Return whether the same request can succeed later."""
    if isinstance(error, exceptions.ClientError):
        return _status(error) in TRANSIENT_STATUS or _code(error) in TRANSIENT_CODES
    return isinstance(error, TRANSIENT_ERRORS)


def to_storage_error(error: Exception, location: str, bucket: str, endpoint: str) -> StorageError:
    """Translate an error of a request into one line that says what is wrong and what to do.

    Args:
        error: one of REQUEST_ERRORS.
        location: URI of the object.
        bucket: name of the bucket.
        endpoint: address of the service without credentials, see `redact_endpoint`.
    """
    if isinstance(error, exceptions.ClientError):
        return _client_error(error, location, bucket, endpoint)
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return StorageError(f"no credentials for s3://{bucket}; {CREDENTIALS_HINT}, or use a role")
    if isinstance(error, exceptions.SSLError):
        message = f"the certificate of {endpoint} cannot be verified; set AWS_CA_BUNDLE to the authority that signed it"
        return StorageError(message)
    if isinstance(error, exceptions.EndpointConnectionError | exceptions.ConnectTimeoutError):
        host = urlsplit(endpoint).hostname or endpoint
        if not _resolves(host):
            return StorageError(f"cannot resolve the host name {host}; correct AWS_ENDPOINT_URL_S3, or check the DNS")
        return StorageError(f"cannot connect to {endpoint}; start the server, or correct AWS_ENDPOINT_URL_S3")
    if isinstance(error, ValueError) and not _endpoint_is_url():
        return StorageError("the endpoint of S3 is not a URL; set AWS_ENDPOINT_URL_S3 to http://host:port")
    if isinstance(error, RecursionError):
        message = f"{endpoint} redirects without end; correct AWS_ENDPOINT_URL_S3 (https instead of http?)"
        return StorageError(f"{message}, or set AWS_REGION")
    if is_transient(error):
        return StorageError(
            f"connection to {endpoint} failed ({type(error).__name__}); check that the service is running"
        )
    return StorageError(f"{location} cannot be used: {_first_line(error)}; correct the AWS settings")


def reason(error: Exception) -> str:
    """Return a short reason for the log."""
    if isinstance(error, exceptions.ClientError):
        return f"{_code(error)}, status {_status(error)}"
    return type(error).__name__


def redact_endpoint(url: str) -> str:
    """Return an endpoint for messages: without user and password."""
    parts = urlsplit(url)
    host = parts.hostname or url
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}" if parts.hostname else "the endpoint"


def is_aws(url: str) -> bool:
    """Return whether an endpoint is one of AWS, where a bucket is a host name."""
    return (urlsplit(url).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _client_error(error: exceptions.ClientError, location: str, bucket: str, endpoint: str) -> StorageError:
    code, operation = _code(error), error.operation_name
    if code == "NoSuchBucket":
        return StorageError(f"there is no bucket {bucket!r} at {endpoint}; create it, or correct its name")
    if code in NOT_FOUND_CODES:
        return NoSuchObject(f"there is no object {location}; check its key")
    if code in CREDENTIAL_ERROR_CODES:
        return StorageError(f"{endpoint} refuses the credentials ({code}); {CREDENTIALS_HINT}, to valid ones")
    if code in ("AccessDenied", "403", "AllAccessDisabled", "AccountProblem"):
        message = f"the credentials do not allow {operation} on {location}; allow ListBucket, GetObject, PutObject and"
        return StorageError(f"{message} DeleteObject there, or use others")
    if code == "RequestTimeTooSkewed":
        return StorageError(f"the clock of this machine differs from that of {endpoint}; correct it")
    if code in WRONG_REGION_CODES:
        return StorageError(f"the bucket {bucket!r} belongs to another region; set AWS_REGION to it")
    if is_transient(error):
        return StorageError(f"{endpoint} returned a transient error ({reason(error)}); try again later")
    return StorageError(
        f"{operation} failed on {location}: {_first_line(error)}; check bucket, endpoint and permissions"
    )


def _code(error: exceptions.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: exceptions.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _endpoint_is_url() -> bool:
    """Return whether the endpoint in the environment, if set, is a URL that boto3 accepts."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    try:
        return endpoint is None or bool(is_valid_endpoint_url(endpoint))
    except ValueError:  # an incomplete IPv6 address
        return False


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
