"""The cache of built faces: reuse, damaged files, two builders at once, and folders that cannot be written."""

import multiprocessing
from pathlib import Path

import pytest

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.face_models.parametric import ParametricFaceSettings
from focus_ray.face_models.parametric.cache import cache_folder, load_or_build
from tests.ellipsoid_face import ellipsoid_face

SETTINGS = ParametricFaceSettings(n_identity=2, n_expression=2, n_albedo=2)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FOCUS_RAY_CACHE", str(tmp_path))
    return tmp_path / "faces"


def _toy() -> MorphableModel:
    return ellipsoid_face(2, 2, 2)


def _refuse() -> MorphableModel:
    raise AssertionError("built, though the cache has it")


def test_second_call_reads_the_file(folder: Path) -> None:
    built = load_or_build(SETTINGS, "toy", _toy)
    again = load_or_build(SETTINGS, "toy", _refuse)
    assert again.digest == built.digest
    assert len(list(folder.iterdir())) == 1


def test_other_parameters_have_another_file(folder: Path) -> None:
    load_or_build(SETTINGS, "toy", _toy)
    load_or_build(SETTINGS.model_copy(update={"n_albedo": 3}), "toy", _toy)
    load_or_build(SETTINGS.model_copy(update={"recipe": SETTINGS.recipe + 1}), "toy", _toy)
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped header", "garbage"])
def test_damaged_file_is_rebuilt(folder: Path, damage: str) -> None:
    built = load_or_build(SETTINGS, "toy", _toy)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    damaged = {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "flipped header": whole[:8] + b"\xff" + whole[9:],
        "garbage": b"\x00" * 100,
    }[damage]
    file.write_bytes(damaged)
    assert load_or_build(SETTINGS, "toy", _toy).digest == built.digest
    assert load_or_build(SETTINGS, "toy", _refuse).digest == built.digest


def test_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    obstacle = tmp_path / "file"
    obstacle.write_text("not a folder")
    monkeypatch.setenv("FOCUS_RAY_CACHE", str(obstacle))
    assert load_or_build(SETTINGS, "toy", _toy).digest == _toy().digest


def test_default_folder_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOCUS_RAY_CACHE", raising=False)
    assert "focus-ray" in str(cache_folder())


def _fill_again_and_again(rounds: int = 8) -> str:
    """Build and cache with ever new parameters; a file of another process may appear at any moment."""
    digests = set()
    for recipe in range(rounds):
        digests.add(load_or_build(SETTINGS.model_copy(update={"recipe": recipe}), "toy", _toy).digest)
    (digest,) = digests
    return digest


def _fill_in_process(queue: "multiprocessing.Queue[str]") -> None:
    queue.put(_fill_again_and_again())


def test_two_processes_may_build_the_same_faces_at_once(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[str] = context.Queue()
    builder = context.Process(target=_fill_in_process, args=(queue,))
    builder.start()
    digests = {_fill_again_and_again()}
    digests.add(queue.get(timeout=250))
    builder.join(timeout=60)
    assert builder.exitcode == 0
    assert digests == {_toy().digest}
    assert {path.suffix for path in folder.iterdir()} == {".safetensors"}
