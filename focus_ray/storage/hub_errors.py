"""Errors of a Hugging Face Hub, as one line of text that says what is wrong and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from focus_ray.errors import ConfigError, FocusRayError, NoSuchObject, StorageError, printable
from focus_ray.storage.hub_address import HubAddress

TOKEN_HINT = "set HF_TOKEN, or log in with `hf auth login`"


@contextmanager
def translate_errors(address: HubAddress) -> Iterator[None]:
    """Translate what the client raises in the block.

    Args:
        address: repository that the block uses.

    Raises:
        NoSuchObject: repository, revision or file do not exist.
        StorageError: the hub refuses access or cannot be reached, or the disk fails.
        ConfigError: the client refuses an argument.
    """
    try:
        yield
    except FocusRayError:
        raise
    # The client wraps failed uploads in RuntimeErrors.
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        raise to_error(error, address) from error


def is_unreachable(error: BaseException) -> bool:
    """Return whether there was no answer, or one that says that the hub is out of order: a cached copy may do."""
    if isinstance(error, HfHubHTTPError):
        return _status(error) >= 500
    return isinstance(error, HTTPError | OfflineModeIsEnabled)


def to_error(error: BaseException, address: HubAddress) -> FocusRayError:
    """Return the error of this package for one of the client.

    Args:
        error: exception of the client.
        address: repository that was used.
    """
    cause = error.__cause__
    if isinstance(error, LocalEntryNotFoundError | RuntimeError) and cause is not None:
        return to_error(cause, address)
    if isinstance(error, GatedRepoError):
        return StorageError(f"{address} is open to accepted users only; ask for access on its page, then {TOKEN_HINT}")
    if isinstance(error, RepositoryNotFoundError):
        message = f"there is no repository {address.repository} at {constants.ENDPOINT}, or it is private"
        return NoSuchObject(f"{message}; check the name, and {TOKEN_HINT}, if it needs a token")
    if isinstance(error, RevisionNotFoundError):
        return NoSuchObject(f"{address.repository} has no revision {address.revision}; give a branch, tag or commit")
    if isinstance(error, RemoteEntryNotFoundError):
        return NoSuchObject(f"{address} lacks a file that it lists; push the model again")
    if isinstance(error, HfHubHTTPError):
        return _status_error(error, address)
    if isinstance(error, OfflineModeIsEnabled | LocalEntryNotFoundError):
        return StorageError(f"{address} is not in the cache, and HF_HUB_OFFLINE is set; unset it")
    if isinstance(error, HTTPError):
        return StorageError(
            f"{constants.ENDPOINT} cannot be reached ({type(error).__name__}), and {address} is not in the cache; "
            "check the network and HF_ENDPOINT"
        )
    reason = printable((str(error).strip().splitlines() or [type(error).__name__])[0][:200])
    if isinstance(error, OSError):
        return StorageError(f"{address} cannot be stored or read: {reason}; check the disk and HF_HOME")
    return ConfigError(f"{address} cannot be used: {reason}; check the address and {constants.ENDPOINT}")


def _status_error(error: HfHubHTTPError, address: HubAddress) -> FocusRayError:
    status = _status(error)
    if status == 401:
        return StorageError(f"{constants.ENDPOINT} refuses the token, or {address} needs one; {TOKEN_HINT}")
    if status == 403:
        return StorageError(f"the token does not allow this for {address}; use one with the permission")
    if status == 429 or status >= 500:
        return StorageError(f"{constants.ENDPOINT} is overloaded or out of order (status {status}); try again later")
    return StorageError(f"{constants.ENDPOINT} refused the request for {address} (status {status}); check the address")


def _status(error: HfHubHTTPError) -> int:
    return int(error.response.status_code)
