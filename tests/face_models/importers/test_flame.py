"""FLAME: the linear part, the jaw as modes, eyeballs and embeddings from files as the published ones are."""

import json
import pickle  # noqa: TID251  (writes what is read)

import numpy as np
import pytest

from focus_ray.errors import FaceModelError
from focus_ray.face_models.importers.flame import LANDMARK_FILES, read_flame, read_flame_open
from focus_ray.face_models.importers.import_options import ImportOptions
from tests.face_models.importers.hostile_pickles import bombs, calls
from tests.face_models.importers.writers import (
    Ch,
    Sparse,
    flame_arrays,
    flame_embedding,
    python2_pickle,
    toy,
    write_embedding,
    write_flame,
)

FACE = toy()
ARRAYS = flame_arrays(FACE)
OPTIONS = ImportOptions()


@pytest.fixture
def path(tmp_path):
    write_flame(tmp_path / "generic_model.pkl", FACE)
    write_embedding(tmp_path / "landmark_embedding.npy", flame_embedding(FACE))
    return tmp_path / "generic_model.pkl"


def test_mean_faces_and_identity_are_those_of_the_file_in_mm(path):
    source = read_flame(path, OPTIONS)
    offset = source.mean - FACE.mean
    np.testing.assert_allclose(offset, np.broadcast_to(offset[0], offset.shape), atol=1e-6)
    np.testing.assert_allclose(source.landmarks - offset[0], FACE.landmarks, atol=1e-4)
    np.testing.assert_array_equal(source.faces, FACE.faces)
    np.testing.assert_allclose(source.identity, FACE.modes(400)[:80], atol=1e-9)
    assert source.expression.shape == (64, len(FACE.mean), 3)
    assert set(source.provenance.files) == {"generic_model.pkl", "landmark_embedding.npy"}
    assert source.provenance.licence.commercial == "no"


def test_eyeballs_are_the_separate_surfaces(path):
    source = read_flame(path, OPTIONS)
    np.testing.assert_array_equal(source.eyeballs[0], FACE.right_eyeball)
    np.testing.assert_array_equal(source.eyeballs[1], FACE.left_eyeball)


def posed(arrays, angle: float, axis: int) -> np.ndarray:
    """FLAME's own vertices with a turned jaw, mm: pose correctives, then linear blend skinning."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec(np.eye(3)[axis] * angle).as_matrix()
    joint = (arrays["J_regressor"] @ arrays["v_template"])[2]
    feature = np.concatenate([np.zeros(9), (turn - np.eye(3)).ravel(), np.zeros(18)])
    shaped = arrays["v_template"] + arrays["posedirs"] @ feature
    weight = arrays["weights"][:, 2:3]
    return 1000 * ((1 - weight) * shaped + weight * ((shaped - joint) @ turn.T + joint))


@pytest.mark.parametrize(
    ("name", "axis", "angle"), [("jawOpen", 0, 0.35), ("jawLeft", 1, 0.12), ("jawRight", 1, -0.12)]
)
def test_the_jaw_turns_as_in_flame_to_first_order(name, axis, angle, path):
    source = read_flame(path, ImportOptions(modes=(10, 103, 1)))
    row = source.expressions.coefficients[source.expressions.names.index(name)].numpy()
    moved = np.einsum("k,kvd->vd", row, source.expression)
    small = 1e-4
    derivative = (posed(ARRAYS, small, axis) - posed(ARRAYS, -small, axis)) / (2 * small)
    np.testing.assert_allclose(moved, derivative * angle, atol=1e-3)
    exact = posed(ARRAYS, angle, axis) - posed(ARRAYS, 0, axis)
    assert np.abs(moved - exact).max() < 0.2 * np.abs(exact).max()


def test_jaw_open_lowers_the_chin_and_not_the_eyes(path):
    source = read_flame(path, OPTIONS)
    moved = np.einsum("k,kvd->vd", source.expressions.coefficients[0].numpy(), source.expression)
    chin = FACE.faces[FACE.landmark_triangles[8]]
    assert moved[chin, 1].max() < -10
    assert np.abs(moved[FACE.right_eyeball]).max() < 3


@pytest.mark.parametrize("missing", ["J_regressor", "weights", "posedirs"])
def test_without_joints_the_jaw_does_not_turn(missing, path):
    write_flame(path, FACE, **{missing: ...})
    source = read_flame(path, OPTIONS)
    assert source.expressions is None
    assert any("without the jaw's rotation" in note for note in source.provenance.notes)


def test_a_pickle_of_plain_arrays_is_the_same(path):
    by_python_2 = read_flame(path, OPTIONS)
    for protocol in (2, 4):
        path.write_bytes(pickle.dumps(ARRAYS, protocol=protocol))
        again = read_flame(path, OPTIONS)
        np.testing.assert_array_equal(again.mean, by_python_2.mean)
        np.testing.assert_array_equal(again.expression, by_python_2.expression)


@pytest.mark.parametrize("name", [*LANDMARK_FILES, "static.pkl"])
def test_embeddings_of_every_form_are_the_same(name, path):
    (path.parent / "landmark_embedding.npy").unlink()
    write_embedding(path.parent / name, flame_embedding(FACE))
    options = ImportOptions(landmarks=path.parent / name if name == "static.pkl" else None)
    source = read_flame(path, options)
    np.testing.assert_allclose(source.landmarks - source.mean[0], FACE.landmarks - FACE.mean[0], atol=1e-4)


@pytest.mark.parametrize("keys", [("lmk_face_idx", "lmk_b_coords"), ("static_lmk_faces_idx", "static_lmk_bary_coords")])
def test_other_keys_of_embeddings_are_read(keys, path):
    embedding = flame_embedding(FACE)
    full = embedding.pop("full_lmk_faces_idx")[0], embedding.pop("full_lmk_bary_coords")[0]
    if keys[0] == "lmk_face_idx":
        embedding = dict(zip(keys, full, strict=True))
    write_embedding(path.parent / "landmark_embedding.npy", embedding)
    source = read_flame(path, OPTIONS)
    np.testing.assert_allclose(source.landmarks - source.mean[0], FACE.landmarks - FACE.mean[0], atol=1e-4)


def test_a_landmark_file_is_read(path):
    lines = [str(corners[0]) for corners in FACE.faces[FACE.landmark_triangles]]
    (path.parent / "vertices.txt").write_text("\n".join(lines))
    source = read_flame(path, ImportOptions(landmarks=path.parent / "vertices.txt"))
    assert (source.landmark_barycentric.max(axis=1) == 1).all()


def test_flame_2023_open_may_be_sold(path):
    source = read_flame_open(path, OPTIONS)
    assert (source.provenance.licence.name, source.provenance.licence.commercial) == ("CC-BY-4.0", "yes")
    assert source.provenance.kind == "flame2023-open"
    renamed = path.rename(path.with_name("flame2023_Open.pkl"))
    assert read_flame(renamed, OPTIONS).provenance.licence.commercial == "no"


N = len(FACE.mean)
MALFORMED = {
    "no template": ({"v_template": ...}, "has no v_template; give a pkl file of FLAME"),
    "no shapes": ({"shapedirs": ...}, "has no shapedirs; give a pkl file of FLAME"),
    "template of another size": ({"v_template": np.zeros((7, 3))}, "a triangle has a vertex that is not one of 0..6"),
    "no vertices": ({"v_template": np.zeros((0, 3))}, "has 0 vertices, not 1 to"),
    "too few shapes": ({"shapedirs": np.zeros((N, 3, 300))}, r"shapedirs has shape .*, not \(351, 3, 301\) numbers"),
    "flat shapes": ({"shapedirs": np.zeros(9)}, "shapedirs has shape"),
    "NaN": ({"v_template": np.full((N, 3), np.nan)}, "v_template has a number that is not finite; get the file again"),
    "integers": ({"v_template": np.zeros((N, 3), np.int32)}, "v_template has shape"),
    "triangles of reals": ({"f": np.zeros((4, 3))}, "the triangles have shape .* and type float64"),
    "triangle outside": ({"f": np.full((4, 3), N, np.uint32)}, "a triangle has a vertex that is not one of"),
    "weights of another size": ({"weights": np.zeros((N, 2))}, "weights has shape"),
    "correctives of another size": ({"posedirs": np.zeros((N, 3, 9))}, "posedirs has shape"),
    "text for an array": (
        {"v_template": "text"},
        "v_template is not an array; load the file once with its own software",
    ),
    "chumpy without an array": ({"v_template": Ch("text")}, "v_template is not an array"),
    "sparse of another size": ({"J_regressor": Sparse(np.eye(5))}, "J_regressor has shape"),
    "huge sparse": (
        {"J_regressor": Sparse(np.eye(200))},
        "J_regressor is a malformed sparse matrix; get the file again",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files_are_refused(case, path):
    changed, message = MALFORMED[case]
    write_flame(path, FACE, **changed)
    with pytest.raises(FaceModelError, match=message):
        read_flame(path, OPTIONS)


def test_a_model_that_is_no_dict_is_refused(path):
    path.write_bytes(python2_pickle([1, 2]))
    with pytest.raises(FaceModelError, match="holds no dict of arrays; give a pkl file of FLAME"):
        read_flame(path, OPTIONS)


def test_other_axes_and_units_are_refused(path):
    turned = ARRAYS["v_template"][:, [0, 2, 1]] * [1, 1, -1]
    for template, message in (
        (turned, "is not upright"),
        (ARRAYS["v_template"] * 1000, "corners of the eyes are 9.*mm apart"),
    ):
        write_flame(path, FACE, v_template=template)
        with pytest.raises(FaceModelError, match=message):
            read_flame(path, OPTIONS)


EMBEDDINGS = {
    "105 of MediaPipe": {"lmk_face_idx": np.zeros(105, int), "lmk_b_coords": np.full((105, 3), 1 / 3)},
    "51 without the jaw": {"lmk_face_idx": np.zeros(51, int), "lmk_b_coords": np.full((51, 3), 1 / 3)},
    "weights of another sum": {"lmk_face_idx": np.zeros(68, int), "lmk_b_coords": np.ones((68, 3))},
    "NaN": {"lmk_face_idx": np.zeros(68, int), "lmk_b_coords": np.full((68, 3), np.nan)},
    "reals for triangles": {"lmk_face_idx": np.zeros(68), "lmk_b_coords": np.full((68, 3), 1 / 3)},
    "triangle outside": {"lmk_face_idx": np.full(68, 9999), "lmk_b_coords": np.full((68, 3), 1 / 3)},
    "no keys": {"landmarks": np.zeros(68)},
}


@pytest.mark.parametrize("case", EMBEDDINGS)
@pytest.mark.parametrize("form", ["npy", "npz", "json", "pkl"])
def test_malformed_embeddings_are_refused(case, form, path):
    file = path.with_name(f"embedding.{form}")
    write_embedding(file, EMBEDDINGS[case])
    message = r"has not 68 triangles with weights|has a triangle that is not one of|has none of the keys"
    with pytest.raises(FaceModelError, match=message):
        read_flame(path, ImportOptions(landmarks=file))


def test_embeddings_of_another_form_are_refused(path):
    file = path.with_name("embedding.npy")
    for content in (np.zeros(3), np.array([1, {}], dtype=object)):
        np.save(file, content, allow_pickle=True)
        with pytest.raises(FaceModelError, match="holds no dict of landmarks; give a landmark embedding of FLAME"):
            read_flame(path, ImportOptions(landmarks=file))
    file.write_text('{"a": ' + "[" * 100_000)
    with pytest.raises(FaceModelError, match="holds no dict of landmarks"):
        read_flame(path, ImportOptions(landmarks=file))
    file.write_text(json.dumps({"lmk_face_idx": [[1], [2, 3]], "lmk_b_coords": "x"}))
    with pytest.raises(FaceModelError, match="has not 68 triangles"):
        read_flame(path, ImportOptions(landmarks=file))


def test_landmarks_are_asked_for(path):
    (path.parent / "landmark_embedding.npy").unlink()
    with pytest.raises(FaceModelError, match=r"give one such as landmark_embedding\.npy, or put it beside the model"):
        read_flame(path, OPTIONS)


def test_no_hostile_model_or_embedding_does_anything(path):
    canary = path.parent / "canary"
    embedding = path.with_name("embedding.npy")
    for content in [*calls(canary).values(), *bombs().values()]:
        hostile = path.with_name("hostile.pkl")
        hostile.write_bytes(content)
        header = (path.parent / "landmark_embedding.npy").read_bytes()[:128]
        embedding.write_bytes(header + content)
        with pytest.raises(FaceModelError):
            read_flame(hostile, OPTIONS)
        with pytest.raises(FaceModelError):
            read_flame(path, ImportOptions(landmarks=embedding))
    assert not canary.exists()


def test_truncated_files_and_links_are_refused(path):
    whole = path.read_bytes()
    (path.parent / "link.pkl").symlink_to(path)
    with pytest.raises(FaceModelError, match="it is a link"):
        read_flame(path.parent / "link.pkl", OPTIONS)
    for size in (10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(FaceModelError, match="is damaged or not a pickle"):
            read_flame(path, OPTIONS)
