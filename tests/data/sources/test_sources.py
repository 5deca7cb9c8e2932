"""Which set lies in a folder."""

import pytest

from focus_ray.data.sources import open_labelled, open_now
from focus_ray.errors import DataError
from tests.data.dataset_writers.sets import N, uploaded


@pytest.mark.parametrize("layout", ["ar", "celebahq"])
def test_a_set_is_told_by_what_it_says_or_by_what_is_there(layout, request, copied, bucket):
    folder = copied(request.getfixturevalue(layout))
    said = open_labelled(folder)
    assert said.layout == layout
    assert len(said) == N[layout]
    (folder / "dataset.json").unlink()
    assert open_labelled(str(folder)).layout == layout
    assert open_labelled(uploaded(folder, f"{bucket}/{layout}")).names == said.names


def test_other_folders_are_a_data_error(tmp_path, now):
    with pytest.raises(DataError, match="neither CelebA-HQ-img/"):
        open_labelled(tmp_path)
    with pytest.raises(DataError, match="NoW has no masks"):
        open_labelled(now)
    assert len(open_now(now).pictures) == N["now"]
