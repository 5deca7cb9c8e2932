"""The model in the registry loads in a process that knows nothing else, and answers with FACE records."""

import base64
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import focus_ray
from focus_ray.data.detectors.weight_files import has_mesh_files
from focus_ray.errors import ImageError
from focus_ray.inference.face_locations import check_image
from focus_ray.inference.face_result import Face
from focus_ray.tracking.mlflow_tracker import TrackingSettings, track
from tests.tracking.tracked_run import write_run

PREDICT = """
import json, warnings
import mlflow.pyfunc, numpy as np
from skimage.data import astronaut
warnings.simplefilter("error", UserWarning)  # mlflow warns of itself while it is imported
model = mlflow.pyfunc.load_model("models:/focus@production")
assert mlflow.models.get_model_info("models:/focus/1").model_id == model.metadata.model_id
picture = astronaut()[:280, 80:360]
several = np.empty(2, dtype=object)
several[:] = [np.zeros((30, 50, 3), np.uint8), np.zeros((40, 50, 3), np.uint8)]
print(json.dumps([model.predict(given) for given in (picture, several, np.zeros((2, 40, 50, 3), np.uint8))]))
"""


@pytest.mark.timeout(600)
def test_the_registered_model_reconstructs_in_a_fresh_process(tmp_path, database, python, python_environment):
    run = write_run(tmp_path / "runs" / "one", 20)
    track(run, TrackingSettings(), promote=True)
    environment = python_environment | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{database.path}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    (tmp_path / "elsewhere").mkdir()
    result = subprocess.run(
        [python, "-c", PREDICT],
        env=environment,
        cwd=tmp_path / "elsewhere",
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    one, several, none = json.loads(result.stdout.splitlines()[-1])
    assert [len(faces) for faces in one] == [1]
    assert several == none == [[], []]
    face = Face.model_validate(one[0][0])
    x, y, width, height = face.box
    assert 60 < x + width / 2 < 240
    assert face.detector is not None
    assert face.detector.name == ("mesh" if has_mesh_files() else "haar")
    assert 40 < y + height / 2 < 200
    assert face.model_version.startswith("embedded-")


@pytest.fixture(scope="module")
def code(empty_database):
    """The module that MLflow runs; it imports mlflow, so not before a test asks for it."""
    from focus_ray.tracking import mlflow_model

    return mlflow_model


def test_pictures_of_every_form(code):
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    several = np.empty(2, dtype=object)
    several[:] = [picture, picture.tolist()]
    as_objects = np.array([picture.tolist()] * 2, dtype=object)  # as a server makes it of JSON
    for given, count in ((picture, 1), (np.stack([picture] * 2), 2), (several, 2), (as_objects, 2), (as_objects[0], 1)):
        found = code.parse_images(given)
        assert len(found) == count
        assert all(one.dtype == np.uint8 and np.array_equal(one, picture) for one in found)


@pytest.mark.parametrize("value", [-1, 256, 0.5])
def test_numbers_that_are_no_bytes_are_left_to_be_refused(code, value):
    picture = np.full((2, 3, 3), value)
    assert code.to_uint8(picture) is picture


def test_the_code_file_needs_nothing_but_the_packages_front_door(code):
    """MLflow copies it beside the model and runs it there."""
    lines = Path(code.__file__).read_text().splitlines()
    imported = [line.split()[1] for line in lines if line.strip().startswith(("import ", "from "))]
    assert {name for name in imported if name.startswith("focus_ray")} == {"focus_ray"}


class Recorder:
    """Stands in for the reconstruction: keeps the pictures, and finds nobody."""

    def __init__(self) -> None:
        self.pictures: list[np.ndarray] = []

    def reconstruct(self, picture: np.ndarray) -> list[Face]:
        check_image(picture)
        self.pictures.append(picture)
        return []


@pytest.fixture(scope="module")
def loaded(code, tmp_path_factory):
    """The model as MLflow stores and loads it, and what reaches its reconstruction."""
    from mlflow import pyfunc
    from mlflow.models import Model

    from focus_ray.tracking import mlflow_client

    place = tmp_path_factory.mktemp("stored") / "model"
    shipped = Path(focus_ray.__file__).parent / "pretrained"
    mlflow_client._save_model(place, Model(), {"model": shipped}, Path(code.__file__), ["focus-ray"])
    return pyfunc.load_model(str(place))


def png(picture: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    return content.getvalue()


def of_every_form(one: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Two pictures as one input."""
    import pandas

    files = [png(one), png(other)]
    texts = [base64.b64encode(content).decode() for content in files]
    objects = np.empty(2, dtype=object)
    objects[:] = [one, other]
    return {
        "arrays": [one, other],
        "a tuple": (one, other),
        "lists in lists": [one.tolist(), other.tolist()],
        "arrays and lists": [one, list(other)],
        "bytes": files,
        "base64": texts,
        "an array of text": np.array(texts),
        "an array of objects": objects,
        "a column of arrays": pandas.DataFrame({"photo": [one, other]}),
        "a column of text": pandas.DataFrame({"name": ["a", "b"], "image": texts}),
        "a column of bytes": pandas.DataFrame({"image": files}),
        "a series": pandas.Series(texts),
    }


def test_lists_and_tables_of_pictures_pass_mlflow(loaded, monkeypatch: pytest.MonkeyPatch):
    one, other = np.arange(90, dtype=np.uint8).reshape(5, 6, 3), np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    for form, given in of_every_form(one, other).items():
        seen = Recorder()
        monkeypatch.setattr(loaded.unwrap_python_model(), "_reconstructor", seen)
        assert loaded.predict(given) == [[], []], form
        assert all(map(np.array_equal, seen.pictures, [one, other])), form


def test_one_picture_and_an_array_of_several_pass_mlflow(loaded, monkeypatch: pytest.MonkeyPatch):
    one = np.arange(90, dtype=np.uint8).reshape(5, 6, 3)
    for given in (one, one.tolist(), list(one), png(one), base64.b64encode(png(one)).decode(), one[None], [one]):
        seen = Recorder()
        monkeypatch.setattr(loaded.unwrap_python_model(), "_reconstructor", seen)
        assert loaded.predict(given) == [[]]
        assert np.array_equal(seen.pictures[0], one)
    assert loaded.predict([]) == []


def test_what_is_no_picture_is_refused(loaded, tmp_path: Path):
    import pandas

    (tmp_path / "there.png").write_bytes(png(np.zeros((5, 6, 3), np.uint8)))
    table = pandas.DataFrame({"a": ["x"], "b": ["y"]})
    for given in ([str(tmp_path / "there.png")], [b"no picture"], [[[1, 2, 3], [4, 5]]], [None], ["AAAA"], table):
        with pytest.raises(ImageError):
            loaded.predict(given)
