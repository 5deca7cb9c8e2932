"""Portraits: a verified copy of the listed files of a checkout, by split."""

import hashlib
from pathlib import Path

import pytest

from focus_ray.data.portraits import FOLDERS, Portrait, are_portraits, prepare_portraits, read_portrait_list
from focus_ray.errors import DataError

CONTENTS = {name: b"\xff\xd8\xff" + name.encode() for name in ("A1.jpg", "B2.jpg", "C3.jpg", "D4.jpg")}
SPLIT_OF = {"A1.jpg": "report", "B2.jpg": "choose", "C3.jpg": "train"}  # D4 is in the collection but not listed
LISTED = [Portrait(name, hashlib.sha256(CONTENTS[name]).hexdigest(), split) for name, split in SPLIT_OF.items()]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return write_checkout(tmp_path / "checkout")


def write_checkout(folder: Path, pictures: str = "images") -> Path:
    (folder / pictures).mkdir(parents=True)
    for name, content in CONTENTS.items():
        (folder / pictures / name).write_bytes(content)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


EXPECTED = {f"{split}/{name}": CONTENTS[name] for name, split in SPLIT_OF.items()}


@pytest.mark.parametrize("pictures", FOLDERS)
def test_the_listed_files_are_copied_by_split_and_no_others(tmp_path: Path, pictures: str):
    counts = prepare_portraits(write_checkout(tmp_path / "checkout", pictures), tmp_path / "out", LISTED)
    assert counts == {"report": 1, "choose": 1, "train": 1}
    assert files_of(tmp_path / "out") == EXPECTED


def test_an_interrupted_copy_is_resumed_and_files_beside_the_pictures_are_kept(checkout: Path, tmp_path: Path):
    def interrupt(phase: str, done: int, total: int) -> None:
        if (phase, done) == ("copying", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_portraits(checkout, tmp_path / "out", LISTED, interrupt)
    assert len(files_of(tmp_path / "out")) == 2
    written = (tmp_path / "out/report/A1.jpg").stat().st_mtime_ns
    (tmp_path / "out/report/landmarks.csv").write_text("A1.jpg,1\n")
    prepare_portraits(checkout, tmp_path / "out", LISTED)
    assert files_of(tmp_path / "out") == EXPECTED | {"report/landmarks.csv": b"A1.jpg,1\n"}
    assert (tmp_path / "out/report/A1.jpg").stat().st_mtime_ns == written


def test_missing_and_differing_files_are_named_and_nothing_is_written(checkout: Path, tmp_path: Path):
    (checkout / "images/A1.jpg").unlink()
    (checkout / "images/C3.jpg").write_bytes(b"another file")
    with pytest.raises(DataError, match=r"of 3 portraits 1 are missing \(A1.jpg\) and 1 are other files \(C3.jpg\)"):
        prepare_portraits(checkout, tmp_path / "out", LISTED)
    assert not (tmp_path / "out").exists()


def test_a_checkout_of_something_else_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="none of the 3 portraits is in it"):
        prepare_portraits(tmp_path, tmp_path / "out", LISTED)


@pytest.mark.parametrize(("split", "name"), [("train", "D4.jpg"), ("train", "A1.jpg"), ("report", "A1.jpg")])
def test_other_pictures_in_the_folders_of_the_splits_are_an_error(checkout: Path, tmp_path: Path, split, name):
    """A picture of no split, of another split, and a portrait with another content."""
    foreign = tmp_path / "out" / split / name
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(CONTENTS[name] if split == "train" else b"\xff\xd8\xff other")
    with pytest.raises(DataError, match="1 pictures are not portraits of their split"):
        prepare_portraits(checkout, tmp_path / "out", LISTED)
    assert len(files_of(tmp_path / "out")) == 1


def test_the_list_has_the_documented_splits_and_no_reserved_picture():
    portraits = read_portrait_list()
    in_order = sorted(portraits, key=lambda one: hashlib.sha256(one.name.encode()).hexdigest())
    assert [one.split for one in in_order] == ["report"] * 169 + ["choose"] * 70 + ["train"] * 330
    assert len({one.name for one in portraits}) == len({one.sha256 for one in portraits}) == 569
    assert all(int(hashlib.sha256(one.name.encode()).hexdigest(), 16) % 3 for one in portraits)


@pytest.mark.shared
def test_the_collection_is_copied(shared_data: Path, tmp_path: Path):
    counts = prepare_portraits(shared_data / "portraits", tmp_path / "out")
    assert counts == {"report": 169, "choose": 70, "train": 330}
    assert {split: len(list((tmp_path / "out" / split).iterdir())) for split in counts} == counts


def test_only_listed_files_are_called_portraits():
    listed = [portrait.sha256 for portrait in read_portrait_list()]
    assert are_portraits(listed[:3])
    assert not are_portraits([*listed[:3], "0" * 64])
    assert not are_portraits([])
