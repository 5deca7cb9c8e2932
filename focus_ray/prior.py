"""Misfit prior as a folder (section 3.4): its content, the pipeline that it belongs to, and its application.

PRIOR/  prior.json  prior.safetensors  manifest.json
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import ValidationError
from torch import Tensor

from focus_ray.errors import CheckpointError, FaceModelError, ModelError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import Camera
from focus_ray.focus.misfit import READINGS, Reading, correct_vertices
from focus_ray.model import Model, summarize_error
from focus_ray.settings import Settings
from focus_ray.storage import tensor_artifact
from focus_ray.storage.manifest import MANIFEST
from focus_ray.storage.tree import detach_to_cpu

PRIOR = "prior"
DOCUMENT = "prior.json"
SHIPPED_PRIOR = Path(__file__).resolve().parent / "pretrained_prior"
"""The prior that comes with the package; it was measured for the model `embedded`."""
# Figures that are repeated at the top of prior.json, for readers.
SUMMARY_KEYS = ("rms_before_mm", "rms_after_mm", "improved_share", "by_default")


class Pipeline(Settings):
    """Settings that determine systematic errors, apart from weights: a prior is valid for one pipeline only."""

    encoder: str  # architecture, small-16 for instance
    camera: Camera  # its image size included
    refine_steps: int  # 0: one forward pass
    photo_fit: bool = False  # refined as photographs are, with the model's appearance prior

    @classmethod
    def from_model(cls, model: Model, refine_steps: int, *, photographs: bool = False) -> "Pipeline":
        """Return the pipeline of a model.

        Args:
            model: the model.
            refine_steps: steps of the refinement; 0: one forward pass.
            photographs: whether photographs are fitted, which a model with an appearance prior refines in another way.
        """
        encoder = model.settings.encoder
        name = f"small-{encoder.width}" if encoder.kind == "small" else encoder.kind
        photo_fit = photographs and refine_steps > 0 and model.appearance is not None
        return cls(encoder=name, camera=model.settings.camera, refine_steps=refine_steps, photo_fit=photo_fit)


class ErrorReduction(Settings):
    """Precision of the mean error in one reading, and the effect of subtracting it on held-out faces; in mm."""

    rms_before_mm: float  # root mean square over the vertices of the mean signed error
    rms_after_mm: float
    rms_prior_mm: float  # of E_MP itself
    standard_error_mm: float  # of the prior
    heldout_standard_error_mm: float
    distance_before_mm: float  # mean distance of fitted and true vertices, mean over faces
    distance_after_mm: float
    improved_share: float  # of the faces
    by_region: dict[str, dict[str, float]]


class GateResult(Settings):
    """Effect of the prior on the model that it is meant for, on faces that are not renders of the fitted model."""

    model_version: str
    model_digest: str
    faces: int
    vertex_before_mm: float  # after similarity alignment, as in evaluations
    vertex_after_mm: float
    gain_mm: float
    gain_standard_error_mm: float
    improved_share: float

    @property
    def passes(self) -> bool:
        """Whether the gain is significant: more than two of its standard errors."""
        return self.gain_mm > 2 * self.gain_standard_error_mm


class PriorInfo(Settings):
    """Content of prior.json."""

    format: Literal[1] = 1
    n: int
    heldout_n: int
    face_model: str
    face_model_digest: str
    pipeline: Pipeline
    applied: Reading  # reading whose error is `error`
    model_version: str  # of R_syn
    model_digest: str
    seed: int
    laws: dict[str, Any]
    figures: dict[Reading, ErrorReduction]
    faces_per_s: float | None
    shards_computed: int
    shards_kept: int  # reused from an earlier attempt
    stopped_early: bool
    gate: GateResult | None = None

    @property
    def by_default(self) -> bool:
        """Whether the prior is applied to the model of its gate if the user neither requests nor refuses it."""
        return self.default_for is not None

    @property
    def default_for(self) -> str | None:
        """Version of the model that the prior is applied to by default: that of its gate, if it has passed."""
        return self.gate.model_version if self.gate is not None and self.gate.passes else None


@dataclass(frozen=True)
class Prior:
    """E_MP in mm in each of the readings, its standard error in mm, and its origin."""

    errors: dict[Reading, Float[Tensor, "V 3"]]
    standard_errors: dict[Reading, Float[Tensor, "V 3"]]
    info: PriorInfo

    @property
    def error(self) -> Float[Tensor, "V 3"]:
        """Error that is subtracted from posed faces, mm."""
        return self.errors[self.info.applied]

    @property
    def neutral_error(self) -> Float[Tensor, "V 3"]:
        """Error that is subtracted from neutral faces, mm."""
        return self.errors["neutral_aligned" if self.info.applied.endswith("aligned") else "neutral"]

    def correct(self, vertices: Float[Tensor, "B V 3"]) -> Float[Tensor, "B V 3"]:
        """Subtract the systematic error from posed faces (Eq. 11, Fig. 2b).

        Args:
            vertices: posed faces, mm.

        Returns:
            Corrected faces, mm.
        """
        return correct_vertices(vertices, self.error.to(vertices))

    def matches(self, model: Model, refine_steps: int, *, photographs: bool = False) -> bool:
        """Return whether the prior belongs to a pipeline; arguments as in `check_pipeline`."""
        try:
            self.check_pipeline(model, refine_steps, photographs=photographs)
        except ModelError:
            return False
        return True

    def check_pipeline(self, model: Model, refine_steps: int, *, photographs: bool = False) -> None:
        """Check that the prior belongs to a pipeline.

        Args:
            model: model of the pipeline.
            refine_steps: refinement steps of the pipeline; 0: one forward pass.
            photographs: whether photographs are fitted.

        Raises:
            FaceModelError: the model has another face model.
            ModelError: the prior was measured for another pipeline.
        """
        check_face_model(self, model.focus.face_model)
        used, measured = Pipeline.from_model(model, refine_steps, photographs=photographs), self.info.pipeline
        if used != measured:
            differing = [name for name in Pipeline.model_fields if getattr(used, name) != getattr(measured, name)]
            what = "; ".join(f"{name} {getattr(measured, name)}, here {getattr(used, name)}" for name in differing)
            advice = (
                f"refine for {measured.refine_steps} steps"
                if differing == ["refine_steps"]
                else "build a prior for this one"
            )
            raise ModelError(f"the prior was measured for another pipeline ({what}); {advice}")


def select_prior(requested: str | Path | None, model: Model) -> Prior | None:
    """Load the prior for a model.

    Args:
        requested: folder of a prior, or "none"; None: the shipped prior, if it passed its gate with this model.
        model: the model whose meshes are corrected.

    Returns:
        The prior, or None for "none" and for a default that does not apply.

    Raises:
        CheckpointError: the folder is not a prior of this version, or a file is missing or altered.
    """
    if requested is None:
        return find_default(model.version)
    return None if str(requested) == "none" else load(Path(requested))


def find_default(model_version: str) -> Prior | None:
    """Return the shipped prior if it is the default of a model, else None.

    Raises:
        CheckpointError: the shipped prior is damaged.
    """
    if not (SHIPPED_PRIOR / MANIFEST).is_file():
        return None
    prior = load(SHIPPED_PRIOR)
    return prior if prior.info.default_for == model_version else None


def check_face_model(prior: Prior, face: MorphableModel) -> None:
    """Check that a prior belongs to a face model.

    Raises:
        FaceModelError: the prior was measured with other vertices or other bases.
    """
    info = prior.info
    if info.face_model_digest == face.digest:
        return
    vertices = len(prior.error)
    what = (
        f"{vertices} vertices, this one {face.n_vertices}"
        if vertices != face.n_vertices
        else f"the digest {info.face_model_digest[:12]}, this one {face.digest[:12]}"
    )
    raise FaceModelError(
        f"the prior belongs to another face model: {info.face_model!r} has {what}; build one with `focus-ray prior`"
    )


def save(folder: Path, prior: Prior) -> None:
    """Write a prior's folder atomically.

    Raises:
        StorageError: the disk refuses to write.
    """
    tensors = {"error": prior.error, "standard_error": prior.standard_errors[prior.info.applied]}
    for reading in READINGS:
        tensors[f"{reading}.error"] = prior.errors[reading]
        tensors[f"{reading}.standard_error"] = prior.standard_errors[reading]
    info = prior.info.model_dump(mode="json")
    applied = info["figures"][prior.info.applied] | {"by_default": prior.info.by_default}
    summary = {name: applied[name] for name in SUMMARY_KEYS}
    storages: set[int] = set()
    owned = {name: detach_to_cpu(tensor.float(), storages) for name, tensor in tensors.items()}
    tensor_artifact.write(folder, PRIOR, DOCUMENT, summary | info, {PRIOR: owned})


def load(folder: Path) -> Prior:
    """Verify every file of a prior's folder and read it.

    Raises:
        CheckpointError: the folder is not a prior of this version, a file is missing or altered, or an error is not
            finite.
    """
    folder = Path(folder)
    content, files = tensor_artifact.read(folder, PRIOR, DOCUMENT)
    content = {key: value for key, value in content.items() if key not in SUMMARY_KEYS}
    tensors = files.get(PRIOR, {})
    try:
        info = PriorInfo.model_validate(content)
        errors: dict[Reading, Tensor] = {reading: tensors[f"{reading}.error"] for reading in READINGS}
        spreads: dict[Reading, Tensor] = {reading: tensors[f"{reading}.standard_error"] for reading in READINGS}
    except (ValidationError, KeyError) as error:
        raise CheckpointError(
            f"{folder} is not a prior of this version ({summarize_error(error)}); rebuild it"
        ) from None
    shape = errors["posed"].shape
    for tensor in (*errors.values(), *spreads.values()):
        if tensor.shape != shape or tensor.ndim != 2 or shape[1] != 3 or not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{folder} has errors that are not finite [V, 3] arrays; rebuild it")
    return Prior(errors, spreads, info)
