"""All errors of the package, as types with the exit code of the command line.

FocusRayError                 1
├── ConfigError               2   an option, a key or a value that cannot be used
├── DataError                 3   an input that cannot be read
│   ├── ImageError            3   a picture: truncated, empty, not a picture
│   │   └── ImageTooLarge     3   a picture over the limits of bytes, pixels or side
│   └── LandmarkError         3   a landmark file or row
├── ModelError                4   a model or checkpoint that cannot be used
│   ├── CheckpointError       4   damaged, incomplete or tampered files
│   └── FaceModelError        4   a face model that is malformed, or another one than expected
├── StorageError              5   a disk or an object store that failed to read or write
│   └── NoSuchObject          5   nothing is stored under a key
├── TrackingError             5   an experiment tracker that cannot be reached or used
├── ServiceError              5   an endpoint that refused a request, or that cannot be reached
├── ClusterError              1   a Ray cluster that cannot be used, or workers that failed too often
├── SearchError               1   a sweep without a finished trial
├── GuardStop                 6   a guard ended the run
│   ├── MaskCollapse          6   the masks became all face or all outlier
│   └── NonFiniteLoss         6   too many steps in a row without a finite loss
└── Interrupted             130   Ctrl-C, after a checkpoint was written
"""


class FocusRayError(Exception):
    """Base of all errors of the package. The message says what is wrong and what to do about it, on one line."""

    exit_code = 1


class ConfigError(FocusRayError):
    """An option, a configuration key or a value that cannot be used."""

    exit_code = 2


class DataError(FocusRayError):
    """An input that cannot be read."""

    exit_code = 3


class ImageError(DataError):
    """A file that is not a picture, or a picture that must not be decoded."""


class ImageTooLarge(ImageError):
    """A picture over the limits of bytes, pixels or side."""


class LandmarkError(DataError):
    """A landmark file, or a row of one, that does not hold 68 points."""


class ModelError(FocusRayError):
    """A model or checkpoint that cannot be used."""

    exit_code = 4


class CheckpointError(ModelError):
    """Files of a checkpoint or model folder that are damaged, incomplete or not what their manifest says."""


class FaceModelError(ModelError):
    """A malformed face model, or another face model than the expected one."""


class StorageError(FocusRayError):
    """A disk or an object store that failed to read or write."""

    exit_code = 5


class NoSuchObject(StorageError):
    """Nothing is stored under this key."""


class TrackingError(FocusRayError):
    """An experiment tracker that cannot be reached or used."""

    exit_code = 5


class ServiceError(FocusRayError):
    """An endpoint that refused a request, or that cannot be reached or understood."""

    exit_code = 5

    def __init__(
        self, message: str, *, status: int | None = None, code: str | None = None, request_id: str | None = None
    ) -> None:
        """Keep what the endpoint answered (problem+json); None if there was no answer.

        Args:
            message: text of the error.
            status: HTTP status.
            code: code of the problem.
            request_id: id of the request in the server's logs.
        """
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id


class ClusterError(FocusRayError):
    """A Ray cluster that cannot be started, reached or kept, or workers that failed too often."""


class SearchError(FocusRayError):
    """A sweep without a finished trial."""


class GuardStop(FocusRayError):
    """A guard ended the run; the last good checkpoint is kept."""

    exit_code = 6


class MaskCollapse(GuardStop):
    """The mean mask inside the rendered region left its allowed range for a whole window."""


class NonFiniteLoss(GuardStop):
    """Too many steps in a row had no finite loss."""


class Interrupted(FocusRayError):
    """The user interrupted the run, after a checkpoint was written."""

    exit_code = 130


def printable(text: object) -> str:
    """Format a path or a text for a one-line message: unprintable characters become `?`."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))
