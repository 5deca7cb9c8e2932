"""Data sets to prepare for training: their pictures, persons, splits, landmarks and masks, in the published layouts."""

from focus_ray.data.trainable.by_kind import KINDS, SetKind, open_trainable

__all__ = ["KINDS", "SetKind", "open_trainable"]
