"""The files of a prepared store, and what is refused."""

import pytest

from focus_ray.data.prepared.store_files import (
    DESCRIPTION,
    INDEX,
    PLAN,
    IndexRow,
    encode_index,
    is_prepared,
    read_description,
    read_index,
)
from focus_ray.errors import DataError
from focus_ray.storage.object_store import LocalStore
from tests.data.prepared.stores import prepared


def test_an_index_comes_back_with_any_name(ar, tmp_path):
    described = prepared("ar", ar, tmp_path / "store")
    rows = [IndexRow("a\udc80.jpg", "é", "", 0, 0, 0, 10)]
    content = encode_index(rows)
    import hashlib

    store = LocalStore(tmp_path / "store")
    store.write(INDEX, content)
    changed = described.model_copy(update={"index_sha256": hashlib.sha256(content).hexdigest()})
    assert read_index(store, changed) == rows
    with pytest.raises(DataError, match="is damaged"):
        read_index(store, described)
    outside = encode_index([rows[0]._replace(size=10**9)])
    store.write(INDEX, outside)
    with pytest.raises(DataError, match="outside its shard"):
        read_index(store, described.model_copy(update={"index_sha256": hashlib.sha256(outside).hexdigest()}))


def test_a_store_is_recognised_and_an_unfinished_one_refused(tmp_path):
    assert not is_prepared(str(tmp_path))
    store = LocalStore(tmp_path)
    store.write(PLAN, b"{}")
    with pytest.raises(DataError, match="not finished; run the same command again"):
        is_prepared(str(tmp_path))
    store.write(DESCRIPTION, b"{}")
    assert is_prepared(str(tmp_path))
    with pytest.raises(DataError, match="damaged"):
        read_description(store)
