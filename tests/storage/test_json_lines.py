"""Files of JSON lines: each line is there at once, and a torn one takes no other line with it."""

import pytest

from focus_ray.errors import StorageError
from focus_ray.storage.json_lines import JsonLinesFile, read_json_lines


@pytest.fixture
def file(tmp_path):
    file = JsonLinesFile(tmp_path / "history.jsonl")
    yield file
    file.close()


def test_a_line_is_there_as_soon_as_it_is_added(file):
    assert read_json_lines(file.path) == []
    for count in range(1, 4):
        file.append({"step": count, "name": "näher"})
        assert len(read_json_lines(file.path)) == count
    assert read_json_lines(file.path)[-1] == {"step": 3, "name": "näher"}


def test_the_file_goes_on_where_it_was(file):
    file.append({"step": 0})
    file.close()
    file.close()
    file.append({"step": 1})
    other = JsonLinesFile(file.path)
    assert [line["step"] for line in read_json_lines(other.path)] == [0, 1]


def test_rewriting_replaces_everything_and_lines_follow_it(file):
    for step in range(5):
        file.append({"step": step})
    file.rewrite({"step": step} for step in (0, 1))
    file.append({"step": 2})
    assert [line["step"] for line in read_json_lines(file.path)] == [0, 1, 2]
    file.rewrite([])
    assert file.path.read_bytes() == b""


def test_a_reader_of_the_old_file_is_not_disturbed_by_rewriting(file):
    file.append({"step": 0})
    with file.path.open() as reader:
        file.rewrite([{"step": 9}])
        assert reader.read() == '{"step": 0}\n'


@pytest.mark.parametrize("torn", [b'{"step": 1, "lo', b'{"step": 1}', b"\xff"])
def test_what_is_added_behind_a_torn_line_is_not_lost_with_it(file, torn):
    file.path.write_bytes(b'{"step": 0}\n' + torn)
    file.append({"step": 2})
    assert [line["step"] for line in read_json_lines(file.path)] == [0, 2]


def test_a_file_that_begins_torn(file):
    file.path.write_bytes(b'{"st')
    file.append({"step": 2})
    assert read_json_lines(file.path) == [{"step": 2}]


@pytest.mark.parametrize("odd", [b"[1]", b"7", b'"text"', b"null", b"", b"[" * 5000, b'{"a": "\xff"}'])
def test_lines_end_at_the_first_that_is_no_object(tmp_path, odd):
    (tmp_path / "lines").write_bytes(b'{"a": 1}\n' + odd + b'\n{"a": 2}\n')
    assert read_json_lines(tmp_path / "lines") == [{"a": 1}]


def test_a_number_that_json_does_not_know_is_refused_and_nothing_is_written(file):
    with pytest.raises(ValueError, match="JSON"):
        file.append({"loss": float("nan")})
    assert read_json_lines(file.path) == []
    file.append({"loss": None})
    with pytest.raises(ValueError, match="JSON"):
        file.rewrite([{"loss": 1.0}, {"loss": float("inf")}])
    assert read_json_lines(file.path) == [{"loss": None}]


def test_a_disk_that_refuses_is_a_storage_error(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=r"cannot write to .*folder"):
        JsonLinesFile(tmp_path / "folder").append({"step": 0})
    with pytest.raises(StorageError, match="absent"):
        JsonLinesFile(tmp_path / "absent" / "lines").append({"step": 0})
    (tmp_path / "folder" / "file").touch()
    with pytest.raises(StorageError, match="folder"):
        JsonLinesFile(tmp_path / "folder").rewrite([])
