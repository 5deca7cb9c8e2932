"""Learns the appearance prior of a model from photographs of open faces."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from focus_ray import model as models
from focus_ray.data.detectors.detection import Detector
from focus_ray.data.detectors.weight_files import sha256
from focus_ray.data.image_file import read_image
from focus_ray.data.portraits import are_portraits
from focus_ray.errors import DataError, ImageError, LandmarkError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.appearance import CELLS, AppearancePrior, learn_light, learn_residuals
from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.camera import rotate
from focus_ray.focus.parameters import split_theta
from focus_ray.focus.photo_fit import PhotoFit, PhotoFitSettings, fit_photographs, is_grey
from focus_ray.focus.refine import FAST_REFINE, refine_with_segmenter
from focus_ray.focus.render.renderer import Rendering
from focus_ray.focus.render.shading import spherical_harmonics
from focus_ray.inference.self_alignment import crop_from_detection, extract_crops
from focus_ray.storage.checkpoint import save_appearance

TONE_SHARE = 0.3
"""Share of the spread of the light of the skin that the prior keeps. Chosen on 24 open faces and 64 composites of other
portraits: with it and a tighter light in the fine stage (`PORTRAIT_FIT` in the Makefile), albedos are 5 degrees too
dark on average in place of 24, at an outlier IoU of 0.885 for 0.890."""

MIN_FACES = 20

DEFAULT_SETTINGS = PhotoFitSettings()

_FIRST_RESIDUAL = 0.12  # everywhere, for the fits that the residuals are learned from
_BATCH = 8

Progress = Callable[[str, int, int], object]


def learn_appearance(
    focus: Focus,
    paths: Iterable[Path],
    detector: Detector,
    progress: Progress | None = None,
    settings: PhotoFitSettings = DEFAULT_SETTINGS,
) -> tuple[AppearancePrior, int]:
    """Learn the prior from photographs of open faces in colour.

    Args:
        focus: networks and renderer.
        paths: photographs; of each, the face with the highest score counts. Photographs that are black and white,
            cannot be read or have no face with landmarks are left out.
        detector: detects the faces and their landmarks.
        progress: called with the name of the part, the number done and the number of all.
        settings: refinement of photographs, whose residuals are learned.

    Returns:
        The prior, and the number of faces that it was learned from.

    Raises:
        DataError: there are fewer than 20 faces.
    """
    images, landmarks = _read_faces(focus, list(paths), detector, progress)
    if len(images) < MIN_FACES:
        raise DataError(
            f"there are {len(images)} open faces in colour, at least {MIN_FACES} are needed; give more photographs"
        )
    thetas, skin, albedo = [], [], []
    for part in torch.arange(len(images)).split(_BATCH):
        with torch.no_grad():
            theta = focus.encoder(images[part])
        fit = refine_with_segmenter(focus, images[part], theta, landmarks[part], FAST_REFINE)
        thetas.append(fit.theta)
        for row, number in enumerate(part.tolist()):
            photo, fitted = skin_tones(
                focus.face_model, images[number], fit.rendering.rows(slice(row, row + 1)), fit.theta[row]
            )
            skin.append(photo)
            albedo.append(fitted)
        if progress is not None:
            progress("light", int(part[-1]) + 1, len(images))
    # Light of strength 1 shows the albedo as it is: the mean light is scaled so that skin looks like its albedo.
    gain = torch.stack(albedo).mean(dim=0) / torch.stack(skin).mean(dim=0)
    mean, whitening = learn_light(torch.cat(thetas), gain, skin_harmonics(focus.face_model), TONE_SHARE)
    prior = AppearancePrior(mean, whitening, torch.full((CELLS, CELLS), _FIRST_RESIDUAL))
    fits = []
    for part in torch.arange(len(images)).split(_BATCH):
        fits.append(_fit(focus, prior, images[part], landmarks[part], settings).rendering)
        if progress is not None:
            progress("residuals", int(part[-1]) + 1, len(images))
    rendering = Rendering(**{name: torch.cat([getattr(one, name) for one in fits]) for name in vars(fits[0])})
    return AppearancePrior(mean, whitening, learn_residuals(focus.face_model, images, rendering)), len(images)


def store_appearance(
    folder: Path,
    paths: Sequence[Path],
    detector: Detector,
    progress: Progress | None = None,
    settings: PhotoFitSettings = DEFAULT_SETTINGS,
) -> int:
    """Learn the prior of a model and write it into the model's folder, in place of an earlier one.

    Args:
        folder: model folder.
        paths: photographs of open faces, see `learn_appearance`.
        detector: detects the faces and their landmarks.
        progress: called with the name of the part, the number done and the number of all.
        settings: refinement of photographs, stored with the prior.

    Returns:
        The number of faces that it was learned from.

    Raises:
        CheckpointError: the folder is not a complete model.
        DataError: there are fewer than 20 faces, or the fits of the model show too little of them.
        StorageError: the disk cannot be read or written to.
    """
    bundle = models.load(folder)
    prior, faces = learn_appearance(bundle.focus, paths, detector, progress, settings)
    if not all(bool(value.isfinite().all()) for value in prior.tensors().values()):
        raise DataError(f"the fits of {folder} show too little of {faces} faces; train the model for longer")
    kind = "portraits" if are_portraits(sha256(path.read_bytes()) for path in paths) else "photographs"
    lineage = bundle.lineage.model_copy(update={"appearance": kind})
    save_appearance(folder, prior.tensors(), settings.model_dump(mode="json"), lineage.model_dump(mode="json"))
    return faces


def skin_tones(
    face_model: MorphableModel, image: Float[Tensor, "3 H W"], rendering: Rendering, theta: Float[Tensor, " 257"]
) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """Return the median colour of cheeks, nose, jaw and forehead in a photograph and in the fitted albedo.

    Args:
        face_model: face model of the fit.
        image: RGB in [0, 1].
        rendering: of one image.
        theta: of the image.

    Returns:
        RGB of the photograph and of the albedo; zeros if no skin is rendered.
    """
    ids = rendering.triangle_ids[0]
    shown = skin_triangles(face_model)[ids.clamp_min(0)] & (ids >= 0)
    if not bool(shown.any()):
        return torch.zeros(3), torch.zeros(3)
    colours = face_model.albedo(split_theta(theta[None]).albedo)[0][face_model.faces[ids[shown]]].mean(dim=1)
    return image[:, shown].median(dim=1).values, colours.median(dim=0).values


def skin_harmonics(face_model: MorphableModel) -> Float[Tensor, " 9"]:
    """Return the mean Y_k over the plain skin of the mean face, as a camera before it sees it."""
    vertices = rotate(face_model.mean[None], face_model.mean.new_zeros(1, 3))[0]
    triangles = vertices[face_model.faces[skin_triangles(face_model)]]
    weighted = torch.linalg.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    seen = (-weighted[:, 2]).clamp_min(0)  # the projected area
    harmonics = spherical_harmonics(functional.normalize(weighted, dim=1)[None])[0]
    return (seen[:, None] * harmonics).sum(dim=0) / seen.sum()


def skin_triangles(face_model: MorphableModel) -> Tensor:
    """Return which triangles [F] show plain skin: no eyes, brows or mouth."""
    parts = face_model.parts
    skin = parts["cheeks"] | parts["nose"] | parts["jaw"] | parts["forehead"]
    skin &= ~(parts["eyes"] | parts["brows"] | parts["mouth"])
    return skin[face_model.faces].all(dim=1)


def _read_faces(
    focus: Focus, paths: list[Path], detector: Detector, progress: Progress | None
) -> tuple[Float[Tensor, "N 3 S S"], Float[Tensor, "N 68 2"]]:
    size = focus.renderer.camera.image_size
    images, landmarks = [], []
    for done, path in enumerate(paths):
        if progress is not None:
            progress("photographs", done + 1, len(paths))
        try:
            picture = read_image(path)
            faces = [face for face in detector.detect(picture) if face.landmarks is not None]
            if not faces:
                continue
            crop = crop_from_detection(faces[0], size)
        except (ImageError, LandmarkError):
            continue
        image = extract_crops(picture, [crop])
        if bool(is_grey(image)):
            continue
        images.append(image)
        assert faces[0].landmarks is not None
        landmarks.append(torch.from_numpy(crop.to_crop(faces[0].landmarks)).float())
    if not images:
        return torch.zeros(0, 3, size, size), torch.zeros(0, 68, 2)
    return torch.cat(images), torch.stack(landmarks)


def _fit(
    focus: Focus, prior: AppearancePrior, images: Tensor, landmarks: Tensor, settings: PhotoFitSettings
) -> PhotoFit:
    with torch.no_grad():
        theta = focus.encoder(images)
    return fit_photographs(focus, prior, images, images, theta, landmarks, settings)
