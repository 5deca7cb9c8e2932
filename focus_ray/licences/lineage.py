"""What the networks of a model were trained on, as model.json records it."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ValidationError

from focus_ray.errors import CheckpointError
from focus_ray.settings import Settings

DataKind = Literal["synthetic", "rendered", "portraits", "photographs", "unknown"]
"""Kinds of pictures: faces and backgrounds made by code, renders of the fitted face model, the listed public-domain
portraits only, other photographs, and pictures that an earlier version did not record."""


class Lineage(Settings):
    """What a model was made from, beside its face model and the weights in its settings.

    Attributes:
        training: kinds of pictures that the networks were trained on, those of a start model first.
        appearance: kind of photographs that the appearance prior was learned from; None without a prior.
    """

    training: tuple[DataKind, ...] = ("unknown",)
    appearance: DataKind | None = None

    def train_on(self, kind: DataKind) -> "Lineage":
        """Return the lineage of a model that starts from this one and is trained on one more kind of pictures.

        Training drops the appearance prior.
        """
        return Lineage(training=(*(one for one in self.training if one != kind), kind))


NEW = Lineage(training=())
"""Networks without any training."""


def read_lineage(info: Mapping[str, Any]) -> Lineage:
    """Return the lineage in the content of a model.json; that of an earlier version is unknown.

    Args:
        info: content of model.json.

    Raises:
        CheckpointError: the entry is malformed.
    """
    if "lineage" not in info:
        return Lineage(appearance="unknown" if "photo" in info else None)
    try:
        return Lineage.model_validate(info["lineage"])
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise CheckpointError(f"model.json: entry `lineage` is malformed ({reason}); use another copy") from None
