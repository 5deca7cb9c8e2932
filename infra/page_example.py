"""Draws the web page's example, a synthetic face with sunglasses: python infra/page_example.py."""

from pathlib import Path

import numpy as np
from PIL import Image

from focus_ray.data.appearance import AppearanceDistributions
from focus_ray.data.backgrounds import BackgroundDistributions
from focus_ray.data.synthetic import FaceDistributions, OcclusionDistributions, SyntheticConfig, SyntheticFaces
from focus_ray.data.synthetic_folder import WORLD_MODES
from focus_ray.face_models.parametric import parametric_face

OUTPUT_PATH = Path(__file__).resolve().parent.parent / "focus_ray" / "serving" / "page" / "example.jpg"
FACE_INDEX = 14  # held-out face with an occluder family that is not in the training data
QUALITY = 92

# Fewer disturbances than in the training data: a sharp, nearly frontal image of one person.
CONFIG = SyntheticConfig(
    image_size=448,
    appearance=AppearanceDistributions(blur=0.002, patches=0, grain=0.01, sensor_noise=0.006, makeup=0),
    face=FaceDistributions(yaw=14, pitch=5, roll=4),
    scenery=BackgroundDistributions(head=1, skin_wall=0, decoy=0),
    occlusion=OcclusionDistributions(share=1, hidden=(0.1, 0.35)),
)


def main() -> None:
    """Draw the image and write it to OUTPUT_PATH."""
    faces = SyntheticFaces(parametric_face("full", *WORLD_MODES), CONFIG, "heldout")
    picture = (255 * faces.batch([FACE_INDEX]).images[0].permute(1, 2, 0).numpy()).round().astype(np.uint8)
    Image.fromarray(picture).save(OUTPUT_PATH, quality=QUALITY)


if __name__ == "__main__":
    main()
