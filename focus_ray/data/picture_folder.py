"""Listing of the pictures of a folder, and of the entries left out, with the reason."""

from dataclasses import dataclass, field
from pathlib import Path, PurePath

from focus_ray.data.image_file import is_picture

_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".heic", ".heif"}
# First bytes of other picture formats.
_OTHER_FORMATS = {b"II*\0": "TIFF", b"MM\0*": "TIFF", b"GIF8": "GIF", b"\0\0\0\x0cjP  ": "JPEG 2000", b"8BPS": "PSD"}


@dataclass
class Listing:
    """The pictures of a folder in order, and the reason for each entry left out."""

    pictures: list[Path] = field(default_factory=list)
    left_out: dict[Path, str] = field(default_factory=dict)


def list_pictures(folder: Path, *, recursive: bool = False, exclude: Path | None = None) -> Listing:
    """List the pictures of a folder.

    Pictures are recognised by name or by content: a text file named .jpg is listed as a picture, and reading it gives
    the error. Links to folders are not followed. Names that begin with a dot are ignored.

    Args:
        folder: folder to list.
        recursive: whether subfolders are listed too.
        exclude: folder to ignore.

    Returns:
        The pictures in order, and the reason for each entry left out.

    Raises:
        OSError: the folder cannot be listed.
    """
    listing = Listing()
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or (exclude is not None and path.resolve() == exclude.resolve()):
            continue
        reason = _skip_reason(path)
        if reason is None:
            listing.pictures.append(path)
        elif reason == "subfolder" and recursive:
            _add_subfolder(listing, path, exclude)
        else:
            listing.left_out[path] = reason
    return listing


def is_named_as_picture(path: PurePath) -> bool:
    """Return whether a file has the suffix of an accepted picture format."""
    return path.suffix.lower() in _SUFFIXES


def _add_subfolder(listing: Listing, folder: Path, exclude: Path | None) -> None:
    try:
        inner = list_pictures(folder, recursive=True, exclude=exclude)
    except OSError:
        listing.left_out[folder] = "unreadable folder"
        return
    listing.pictures += inner.pictures
    listing.left_out |= inner.left_out


def _skip_reason(path: Path) -> str | None:
    """The reason to leave an entry out; None for a picture."""
    named_as_picture = is_named_as_picture(path)
    try:
        if path.is_dir():
            return "link to a folder" if path.is_symlink() else "subfolder"
        if not path.is_file():
            return "dead link" if path.is_symlink() else "no file"
    except OSError:  # no permission to enter the folder: reading the picture gives the error
        return None if named_as_picture else "unreadable"
    return None if named_as_picture or is_picture(path) else _detect_format(path)


def _detect_format(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
    except OSError:
        return "unreadable"
    return next((name for magic, name in _OTHER_FORMATS.items() if start.startswith(magic)), "no picture")
