"""Opens the object store that a path or a URI names."""

import re
from pathlib import Path

from focus_ray.errors import ConfigError
from focus_ray.storage.object_store import SCHEME, LocalStore, ObjectStore, validate_key

BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


def open_store(uri: str | Path) -> ObjectStore:
    """The store at a folder or at s3://bucket/prefix. Nothing is asked of it yet: see `ObjectStore.check`.

    Raises ConfigError for another scheme, for credentials or options in the URI, and for a bucket that cannot be one.
    """
    if isinstance(uri, Path):
        return LocalStore(uri)
    scheme = SCHEME.match(uri)
    if scheme is None:
        if not uri.strip() or "\0" in uri:
            raise ConfigError("a store needs a place; give a folder or s3://bucket/prefix")
        return LocalStore(Path(uri))
    if scheme[1] != "s3" or not uri.startswith("s3://"):
        raise ConfigError(f"{scheme[1]}: is not a store; give a folder or s3://bucket/prefix")
    from focus_ray.storage.s3 import S3Store  # boto3, where a URI asks for it and not before

    return S3Store(*_bucket_and_prefix(uri.removeprefix("s3://")))


def _bucket_and_prefix(rest: str) -> tuple[str, str]:
    """What follows s3://, taken apart. No message repeats what may be a credential."""
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
        raise ConfigError("s3:// begins with a bucket, not with a host; set AWS_ENDPOINT_URL_S3 to http://host:port")
    if not BUCKET.fullmatch(bucket):
        raise ConfigError(f"{bucket[:80]!r} cannot be a bucket; give s3://bucket/prefix")
    prefix = prefix.removesuffix("/")
    return bucket, validate_key(prefix) if prefix else ""
