"""Unicode normalisation of file names: é is one code point in most texts and two on some file systems."""

import unicodedata

from focus_ray.data.picture_source import PictureSource


def spellings(name: str) -> list[str]:
    """The name as it is, composed (NFC) and decomposed (NFD), each once."""
    return list(dict.fromkeys([name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)]))


def stored_spelling(source: PictureSource, name: str) -> str:
    """The spelling of a picture's name that the source holds, else the name. Raises StorageError as `holds`."""
    forms = spellings(name)
    return name if len(forms) == 1 else next((form for form in forms if source.holds(form)), name)
