"""Origin and terms of a face model: what it was made from, and whether a model made with it may be sold."""

from typing import Literal

from focus_ray.settings import Settings

CommercialUse = Literal["yes", "no", "ask the owner"]


class Licence(Settings):
    """The terms of a work.

    Attributes:
        name: short name, by SPDX where it has one.
        commercial: whether the work, and what is made with it, may be sold.
        text: the full text, which travels with the work.
    """

    name: str
    commercial: CommercialUse
    text: str


class Provenance(Settings):
    """Origin of a face model.

    Attributes:
        kind: format that it was imported from.
        files: sha256 (hex) of each source file by its name.
        licence: terms of the source.
        notes: what the import added or left out, one sentence each.
    """

    kind: str
    files: dict[str, str]
    licence: Licence
    notes: tuple[str, ...] = ()
