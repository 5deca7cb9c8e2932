"""`evaluate folder`: what is refused before anything is scored."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from focus_ray.data.synthetic_folder import write_folder
from focus_ray.errors import DataError
from focus_ray.evaluation import folder as evaluation


def test_a_folder_without_masks_is_a_data_error(tmp_path: Path, toy_model, monkeypatch: pytest.MonkeyPatch):
    write_folder(tmp_path / "set", n=1, size=32, world=toy_model)
    shutil.rmtree(tmp_path / "set" / "masks")
    monkeypatch.setattr(evaluation.models, "load", lambda path: SimpleNamespace(image_size=32))
    with pytest.raises(DataError, match="give masks/"):
        evaluation.evaluate_folder(tmp_path / "set", None)
