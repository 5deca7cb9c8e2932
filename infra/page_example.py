"""The example of the web page: a synthetic face behind glasses, made by code. Run: python infra/page_example.py"""

from pathlib import Path

import cv2
import numpy as np

from focus_ray.data.detect_quick import QuickDetector
from focus_ray.data.synthetic import SyntheticConfig, SyntheticFaces
from focus_ray.data.synthetic_folder import WORLD_MODES
from focus_ray.focus.face.parametric import parametric_face

PLACE = Path(__file__).resolve().parent.parent / "focus_ray" / "serving" / "page" / "example.png"
SIZE = 320


def main() -> None:
    """The first held-out face with glasses that the detector is sure of."""
    world = parametric_face("full", *WORLD_MODES)
    faces = SyntheticFaces(world, SyntheticConfig(image_size=SIZE), "heldout")
    detector = QuickDetector()
    for number in range(200):
        batch = faces.batch([number])
        picture = (255 * batch.images[0].permute(1, 2, 0).numpy()).round().astype(np.uint8)
        sure = [face for face in detector._seen(picture) if face.score >= detector.settings.sure]
        if sure and batch.families[0] == "glasses":
            cv2.imwrite(str(PLACE), picture[..., ::-1])
            return


if __name__ == "__main__":
    main()
