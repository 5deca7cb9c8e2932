"""Terms of published models: each names owner and address; the text of a file takes the place of ours."""

import pytest

from focus_ray.errors import FaceModelError
from focus_ray.face_models.importers import terms

ALL = {"BFM": "no", "FLAME": "no", "FLAME_OPEN": "yes", "EOS": "no", "EOS_CONVERTED": "ask the owner", "GNM": "yes"}


@pytest.mark.parametrize(("name", "commercial"), ALL.items())
def test_each_statement_says_what_is_allowed_and_who_the_owner_is(name, commercial):
    licence = getattr(terms, name)
    assert licence.commercial == commercial
    assert ("https://" in licence.text) == (name != "EOS_CONVERTED")


def test_the_text_of_a_file_takes_their_place(tmp_path):
    (tmp_path / "LICENSE").write_text("Everything is forbidden.")
    hashes: dict[str, str] = {}
    licence = terms.with_text(terms.FLAME, tmp_path / "LICENSE", hashes)
    assert licence == terms.FLAME.model_copy(update={"text": "Everything is forbidden."})
    assert list(hashes) == ["LICENSE"]
    assert terms.with_text(terms.FLAME, None, hashes) is terms.FLAME


def test_a_text_of_any_size_is_not_read(tmp_path):
    (tmp_path / "LICENSE").write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(FaceModelError, match="has 1048577 bytes, not 1 to 1048576; check what it is"):
        terms.with_text(terms.FLAME, tmp_path / "LICENSE", {})
