"""Distributions of pose and light for renders, fitted to what a model estimates in real pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from jaxtyping import Float
from torch import Tensor

from focus_ray.errors import DataError
from focus_ray.focus.parameters import CHANNELS, SH_BANDS, split_theta
from focus_ray.focus.synthesis import SamplingDistributions
from focus_ray.inference.reconstruct_files import fit_paths
from focus_ray.storage import atomic

MIN_FACES = 8  # fewest faces to estimate spreads from


def fit_distributions(
    theta: Float[Tensor, "N 257"], base: SamplingDistributions | None = None
) -> SamplingDistributions:
    """Match the means and spreads of pose and light to those of N fits.

    Light is modelled as one white light, tinted by channel, with a spread for the ambient band, one for the three
    directional bands and one for the rest. Its moments are matched; correlations between bands are ignored.

    Args:
        theta: parameters of the fits.
        base: distributions whose other values are kept; None: the defaults.

    Returns:
        `base` with new distributions of pose and light.
    """
    parts = split_theta(theta.double())
    light = parts.light.view(-1, CHANNELS, SH_BANDS)
    white = light.mean(1)
    mean, spread = white.mean(0), white.std(0)
    tint = light[..., 0] / white[:, :1].clamp_min(1e-6)
    rotation, translation = parts.rotation, parts.translation
    pitch, yaw, roll = rotation.std(0).tolist()
    x, y, z = translation.std(0).tolist()
    return (base or SamplingDistributions()).model_copy(
        update={
            "pitch": pitch,
            "yaw": yaw,
            "roll": roll,
            "rotation_mean": tuple(rotation.mean(0).tolist()),
            "translation_xy": (x + y) / 2,
            "translation_z": z,
            "translation_mean": tuple(translation.mean(0).tolist()),
            "ambient": float(mean[0]),
            "ambient_spread": float(spread[0]),
            "from_above": float(mean[1]),
            "frontal": float(mean[2]),
            "sideways": float(mean[3]),
            "second_band": tuple(mean[4:].tolist()),
            "directional_spread": float(spread[1:4].square().mean().sqrt()),
            "second_band_spread": float(spread[4:].square().mean().sqrt()),
            "colour_spread": float((tint - 1).square().mean().sqrt()),
        }
    )


def fit_to_pictures(
    paths: Sequence[Path],
    out: Path,
    *,
    model: Path | None = None,
    landmarks: Path | None = None,
    progress: Callable[[str, int, int], object] | None = None,
) -> dict[str, Any]:
    """Fit distributions to the faces of some pictures and write them as keys for `prior train` and `prior build`.

    Args:
        paths: pictures, or folders of pictures.
        out: YAML file to write.
        model: model folder; None: the default model of the package.
        landmarks: landmark file; None: landmarks are detected.
        progress: called with (phase, done, total).

    Returns:
        `faces`, the number of faces, and `laws`, the distributions as plain values.

    Raises:
        DataError: no pictures can be read, or fewer than MIN_FACES faces are found.
        LandmarkError: the landmark file is damaged.
        CheckpointError: the model is damaged.
    """
    theta = fit_paths(paths, model=model, landmarks=landmarks, progress=progress)
    if len(theta) < MIN_FACES:
        raise DataError(
            f"{len(theta)} faces were found, too few to fit distributions; give pictures of at least {MIN_FACES} faces"
        )
    laws = fit_distributions(theta).model_dump(mode="json")
    tree = {"data": {"rendered": {"laws": laws}}}
    head = f"# Pose and light estimated from {len(theta)} faces; configuration of `prior train` and `prior build`.\n"
    atomic.write_file(out, head + yaml.safe_dump(tree, sort_keys=False))
    return {"faces": len(theta), "laws": laws}
