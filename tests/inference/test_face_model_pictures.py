import numpy as np
import torch

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.face_models.named_expressions import NamedExpressions
from focus_ray.inference.face_model_pictures import draw_face_model


def test_sheets_show_the_face(small_face: MorphableModel):
    small_face.expressions, before = NamedExpressions(("first", "second"), torch.eye(64)[:2]), small_face.expressions
    try:
        sheets = {name: np.asarray(sheet) for name, sheet in draw_face_model(small_face, 64).items()}
    finally:
        small_face.expressions = before
    assert set(sheets) == {"random", "parts", "landmarks", "identity", "expression", "albedo", "shapes"}
    assert "shapes" not in draw_face_model(small_face, 64)
    assert sheets["random"].shape[1] > 6 * 64
    # The first face of a row of modes is not the second: -2.5 and +2.5 sigma.
    first, second = (sheets["identity"][20:84, x : x + 64].astype(int) for x in (4, 72))
    assert np.abs(first - second).mean() > 2
    green = (sheets["landmarks"][..., 1] > 240) & (sheets["landmarks"][..., 0] < 30)
    assert green.sum() > 200
