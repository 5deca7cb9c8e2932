"""What stands at the name of a new folder gives way, and nothing of it is left beside the folder."""

import pytest

from focus_ray.storage import atomic


def test_a_link_gives_way_and_what_it_leads_to_is_kept(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.txt").write_text("mine")
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    for run in ("first", "second"):
        with atomic.new_folder(tmp_path / "out") as partial:
            (partial / "run.txt").write_text(run)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "out"]
    assert not (tmp_path / "out").is_symlink()
    assert (tmp_path / "out" / "run.txt").read_text() == "second"
    assert (tmp_path / "elsewhere" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("leftover", ["link", "retired link"])
def test_links_that_are_in_the_way_are_removed(tmp_path, leftover):
    (tmp_path / "old").mkdir()
    target = tmp_path / "out"
    if leftover == "link":
        target.symlink_to(tmp_path / "gone")
    else:  # as an earlier version left it
        target.mkdir()
        (tmp_path / ".out.retired").symlink_to(tmp_path / "old")
    with atomic.new_folder(target) as partial:
        (partial / "a").write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "out"]
    assert (target / "a").read_text() == "new"
