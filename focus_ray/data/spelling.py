"""Unicode normalisation of file names: é is one code point in most texts and two on some file systems."""

import unicodedata

from focus_ray.data.picture_source import PictureSource


def spellings(name: str) -> list[str]:
    """Return the name as it is, composed (NFC) and decomposed (NFD), without duplicates."""
    return list(dict.fromkeys([name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)]))


def stored_spelling(source: PictureSource, name: str) -> str:
    """Return the spelling of a picture's name that the source holds, else the name.

    Args:
        source: source of the picture.
        name: name of the picture in any spelling.

    Raises:
        StorageError: the source does not answer.
    """
    forms = spellings(name)
    return name if len(forms) == 1 else next((form for form in forms if source.holds(form)), name)
