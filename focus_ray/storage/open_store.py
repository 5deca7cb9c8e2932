"""Opens the object store that a path or a URI names."""

import re
from pathlib import Path

from focus_ray.errors import ConfigError
from focus_ray.storage.object_store import SCHEME, LocalStore, ObjectStore, validate_key

BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


def open_store(uri: str | Path) -> ObjectStore:
    """Open the store at a folder or at s3://bucket/prefix; no request is sent (see `ObjectStore.check`).

    Raises:
        ConfigError: the URI is empty, has another scheme, credentials or options, or an invalid bucket or prefix.
    """
    if isinstance(uri, Path):
        return LocalStore(uri)
    scheme = SCHEME.match(uri)
    if scheme is None:
        if not uri.strip() or "\0" in uri:
            raise ConfigError(f"{uri[:80]!r} is not the location of a store; give a folder or s3://bucket/prefix")
        return LocalStore(Path(uri))
    if scheme[1] != "s3" or not uri.startswith("s3://"):
        raise ConfigError(f"{scheme[1]}: is not a store; give a folder or s3://bucket/prefix")
    from focus_ray.storage.s3 import S3Store  # imports boto3, which only s3:// needs

    return S3Store(*_bucket_and_prefix(uri.removeprefix("s3://")))


def _bucket_and_prefix(rest: str) -> tuple[str, str]:
    """Split the part after s3:// into bucket and prefix; no message repeats a possible credential."""
    if "@" in rest.partition("/")[0]:
        raise ConfigError(
            "credentials do not belong in a URI; give s3://bucket/prefix and set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    if "?" in rest or "#" in rest:
        raise ConfigError(
            "s3:// takes no options; give s3://bucket/prefix and set AWS_ENDPOINT_URL_S3, AWS_REGION and the "
            "credentials in the environment"
        )
    bucket, _, prefix = rest.partition("/")
    if ":" in bucket:
        raise ConfigError("s3:// takes a bucket first, not a host; set AWS_ENDPOINT_URL_S3 to http://host:port")
    if not BUCKET.fullmatch(bucket):
        raise ConfigError(f"{bucket[:80]!r} is not a valid bucket name; give s3://bucket/prefix")
    prefix = prefix.removesuffix("/")
    return bucket, validate_key(prefix) if prefix else ""
