"""Draws the README's images with a model: python infra/readme_pictures.py [MODEL] -> docs/pictures/*.png.

The model, by default the default one, reconstructs a photograph; synthetic faces and the misfit prior are those of the
embedded model. Only synthetic faces and a public-domain photograph (scikit-image's astronaut, NASA) are shown.
"""

import sys
from pathlib import Path

import skimage.data
import torch
from PIL import Image

from focus_ray import inference
from focus_ray import model as models
from focus_ray import prior as priors
from focus_ray.data.synthetic import SyntheticConfig, SyntheticFaces
from focus_ray.face_models.parametric import parametric_face
from focus_ray.focus.camera import Camera
from focus_ray.focus.render.renderer import Renderer
from focus_ray.focus.synthesis import SamplingDistributions, make_generator, sample_theta
from focus_ray.inference.contact_sheet import ContactSheet
from focus_ray.inference.face_result import FaceResult
from focus_ray.inference.predictor import Predictor
from focus_ray.inference.texture import texture_meshes
from focus_ray.model_location import SHIPPED_MODELS, find_model
from focus_ray.tracking.contact_sheet import contact_sheet
from focus_ray.tracking.misfit_pictures import misfit_sheet

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
HELDOUT_FACES = (1, 3, 6, 7, 13, 14, 20, 22)  # eight occluded faces, of seen and unseen occluder families


def heldout(model: models.Model) -> Image.Image:
    """Draw held-out synthetic faces: target, one pass, refined, and masks beside the true mask."""
    world = parametric_face("small", 120, 80, 120)
    config = SyntheticConfig(image_size=model.image_size)
    batch = SyntheticFaces(world, config, "heldout").batch(HELDOUT_FACES)
    predictor = Predictor(model.focus, model.refine).eval()
    once, refined = predictor(batch.images, steps=0), predictor(batch.images, batch.landmarks)
    assert batch.masks is not None
    return contact_sheet(
        {
            "target": batch.images,
            "one pass": once.rendering.image,
            "refined": refined.rendering.image,
            "mask, one pass": once.mask,
            "mask, refined": refined.mask,
            "true mask": batch.masks * refined.rendering.mask,
        }
    )


def faces() -> Image.Image:
    """Draw random faces of the parametric model."""
    model = parametric_face("full")
    renderer = Renderer(model, Camera(image_size=192))
    with torch.no_grad():
        images = renderer(sample_theta(SamplingDistributions(yaw=0.3), 12, make_generator(5))).image.clamp(0, 1)
    images = images + (images.sum(1, keepdim=True) == 0) * 0.35
    rows = images.view(2, 6, *images.shape[1:])
    return contact_sheet({" " * (column + 1): rows[:, column] for column in range(6)}, cell=192)


def astronaut(model: models.Model) -> bytes:
    """Draw a photograph as `reconstruct` does: face box, fit, mask, and the textured head from two sides; as PNG."""
    photograph = skimage.data.astronaut()[:300, 60:360].copy()
    face_model, camera = model.focus.face_model, model.settings.camera
    found = [
        FaceResult(one.face, texture_meshes(photograph, one, face_model, camera))
        for one in inference.Reconstructor(model).reconstruct(photograph)
    ]
    sheet = ContactSheet(face_model, camera)
    sheet.add("skimage.data.astronaut()", photograph, found)
    return sheet.to_png()


def misfit(model: models.Model) -> bytes:
    """Draw the shipped misfit prior on the face (the paper's Fig. 4); return a PNG."""
    prior = priors.load(priors.SHIPPED_PRIOR)
    title = f"Mean signed error of the pipeline over {prior.info.n:,} renders"
    return misfit_sheet(model.focus.face_model, prior.error, prior.standard_errors[prior.info.applied], title)


def main(arguments: list[str]) -> None:
    model = models.load(find_model(arguments[0] if arguments else None))
    embedded = models.load(SHIPPED_MODELS["embedded"])
    PICTURES.mkdir(parents=True, exist_ok=True)
    faces().save(PICTURES / "faces.png", optimize=True)
    heldout(embedded).save(PICTURES / "heldout.png", optimize=True)
    (PICTURES / "astronaut.png").write_bytes(astronaut(model))
    (PICTURES / "misfit.png").write_bytes(misfit(embedded))


if __name__ == "__main__":
    main(sys.argv[1:])
