"""Errors of the client of a Hugging Face Hub that no server of the tests causes."""

import pytest
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

from focus_ray.errors import CheckpointError, ConfigError, StorageError
from focus_ray.storage.hub_address import HubAddress
from focus_ray.storage.hub_errors import is_unreachable, to_error, translate_errors

ADDRESS = HubAddress("owner/name")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (OfflineModeIsEnabled("offline"), StorageError, "HF_HUB_OFFLINE is set"),
        (LocalEntryNotFoundError("no file"), StorageError, "is not in the cache"),
        (OSError(28, "No space left on device"), StorageError, "No space left on device; check the disk and HF_HOME"),
        (HFValidationError("two\nlines"), ConfigError, "hf://owner/name cannot be used: two; check the address"),
        (RuntimeError(), ConfigError, "RuntimeError"),
    ],
)
def test_an_error_is_one_line(error: Exception, kind: type[Exception], message: str):
    translated = to_error(error, ADDRESS)
    assert type(translated) is kind
    assert message in str(translated)
    assert "\n" not in str(translated)


def test_the_cause_of_a_wrapped_error_counts():
    with pytest.raises(StorageError, match="No space left"), translate_errors(ADDRESS):
        raise RuntimeError("Error while uploading") from OSError(28, "No space left on device")


def test_errors_of_this_package_pass():
    with pytest.raises(CheckpointError, match="damaged"), translate_errors(ADDRESS):
        raise CheckpointError("damaged")


def test_without_network_a_copy_will_do():
    assert is_unreachable(OfflineModeIsEnabled("offline"))
    assert not is_unreachable(ValueError("malformed"))
