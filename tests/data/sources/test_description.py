"""dataset.json."""

import pytest

from focus_ray.data.picture_source import open_picture_source
from focus_ray.data.sources.description import DatasetDescription, read_description
from focus_ray.errors import DataError


def test_what_a_set_says_of_itself(tmp_path):
    assert read_description(open_picture_source(tmp_path)) is None
    said = DatasetDescription(layout="ar", synthetic=False, aligned=True)
    (tmp_path / "dataset.json").write_text(said.model_dump_json())
    assert read_description(open_picture_source(tmp_path)) == said


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"format": 2, "layout": "ar", "synthetic": true, "aligned": true}',
        '{"layout": "lfw", "synthetic": true, "aligned": true}',
        '{"layout": "ar", "synthetic": true, "aligned": true, "colour": 1}',
        "\udcff",
    ],
)
def test_a_damaged_description_is_a_data_error_of_one_line(tmp_path, text):
    (tmp_path / "dataset.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match="synthesize the set again") as told:
        read_description(open_picture_source(tmp_path))
    assert "\n" not in str(told.value)
