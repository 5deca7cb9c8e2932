"""Errors of an S3 service: which are transient, and one line of text for the permanent ones."""

import os
import socket
from urllib.parse import urlsplit

from botocore import exceptions
from botocore.parsers import ResponseParserError
from botocore.utils import is_valid_endpoint_url
from s3transfer.exceptions import RetriesExceededError

from focus_ray.errors import NoSuchObject, StorageError

# Statuses and codes of a server that is busy, restarting, or saw a damaged request. NoSuchUpload is what a completed
# multipart upload answers when its first answer was lost.
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
# Connections that failed, were cut or stalled, and answers that came in part.
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
# All that a request can raise. ValueError: an endpoint that is no URL. OSError: also the local disk. RecursionError:
# boto3 follows a redirection by asking the same server where to go, without end.
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
    """Whether the same request can succeed later."""
    if isinstance(error, exceptions.ClientError):
        return _status(error) in TRANSIENT_STATUS or _code(error) in TRANSIENT_CODES
    return isinstance(error, TRANSIENT_ERRORS)


def to_storage_error(error: Exception, location: str, bucket: str, endpoint: str) -> StorageError:
    """The error as one line: what is wrong with `location` at `endpoint`, and what to do."""
    if isinstance(error, exceptions.ClientError):
        return _client_error(error, location, bucket, endpoint)
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return StorageError(f"no credentials for s3://{bucket}; {CREDENTIALS_HINT}, or run where a role gives them")
    if isinstance(error, exceptions.SSLError):
        message = f"the certificate of {endpoint} cannot be verified; set AWS_CA_BUNDLE to the authority that signed it"
        return StorageError(message)
    if isinstance(error, exceptions.EndpointConnectionError | exceptions.ConnectTimeoutError):
        host = urlsplit(endpoint).hostname or endpoint
        if not _resolves(host):
            return StorageError(f"there is no host {host}; correct AWS_ENDPOINT_URL_S3, or the network's name service")
        return StorageError(f"nothing answers at {endpoint}; start the server, or correct AWS_ENDPOINT_URL_S3")
    if isinstance(error, ValueError) and not _endpoint_is_url():
        return StorageError("the endpoint of S3 is not a URL; set AWS_ENDPOINT_URL_S3 to http://host:port")
    if isinstance(error, RecursionError):
        message = f"{endpoint} sends every request elsewhere; correct AWS_ENDPOINT_URL_S3 (https instead of http?)"
        return StorageError(f"{message}, or set AWS_REGION")
    if is_transient(error):
        return StorageError(
            f"connection to {endpoint} failed ({type(error).__name__}); check that the service is running"
        )
    return StorageError(f"{location} cannot be used: {_first_line(error)}; correct the settings of AWS")


def reason(error: Exception) -> str:
    """Short reason for the log."""
    if isinstance(error, exceptions.ClientError):
        return f"{_code(error)}, status {_status(error)}"
    return type(error).__name__


def redact_endpoint(url: str) -> str:
    """An endpoint as messages name it: without a user or password that stands in it."""
    parts = urlsplit(url)
    host = parts.hostname or url
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}" if parts.hostname else "the endpoint"


def is_aws(url: str) -> bool:
    """Whether an endpoint is one of AWS, where a bucket is a host name."""
    return (urlsplit(url).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _client_error(error: exceptions.ClientError, location: str, bucket: str, endpoint: str) -> StorageError:
    code, operation = _code(error), error.operation_name
    if code == "NoSuchBucket":
        return StorageError(f"there is no bucket {bucket!r} at {endpoint}; create it, or correct its name")
    if code in NOT_FOUND_CODES:
        return NoSuchObject(f"there is no object {location}; check its key")
    if code in CREDENTIAL_ERROR_CODES:
        return StorageError(f"{endpoint} refuses the credentials ({code}); {CREDENTIALS_HINT}, to what is valid there")
    if code in ("AccessDenied", "403", "AllAccessDisabled", "AccountProblem"):
        message = f"the credentials do not allow {operation} on {location}; allow ListBucket, GetObject, PutObject and"
        return StorageError(f"{message} DeleteObject there, or use others")
    if code == "RequestTimeTooSkewed":
        return StorageError(f"{endpoint} says that the clock of this machine is wrong; set it")
    if code in WRONG_REGION_CODES:
        return StorageError(f"the bucket {bucket!r} belongs to another region; set AWS_REGION to it")
    if is_transient(error):
        return StorageError(f"{endpoint} returned a transient error ({reason(error)}); try again later")
    return StorageError(f"{location} refuses {operation}: {_first_line(error)}; check bucket, endpoint and permissions")


def _code(error: exceptions.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: exceptions.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _endpoint_is_url() -> bool:
    """Whether the endpoint that the environment gives, if it gives one, is a URL as boto3 takes it."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    try:
        return endpoint is None or bool(is_valid_endpoint_url(endpoint))
    except ValueError:  # half an IPv6 address
        return False


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
