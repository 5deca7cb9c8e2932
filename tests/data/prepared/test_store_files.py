"""The files of a prepared store, and what is refused."""

import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
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
    store = LocalStore(tmp_path / "store")
    store.write(INDEX, content)
    changed = described.model_copy(update={"index_sha256": hashlib.sha256(content).hexdigest(), "records": 1})
    assert read_index(store, changed) == rows
    with pytest.raises(DataError, match="is damaged"):
        read_index(store, described)
    outside = encode_index([rows[0]._replace(size=10**9)])
    store.write(INDEX, outside)
    with pytest.raises(DataError, match="outside its shard"):
        read_index(store, changed.model_copy(update={"index_sha256": hashlib.sha256(outside).hexdigest()}))


def text_columns(table: pa.Table) -> pa.Table:
    return table.set_column(0, "name", pa.array(["a"] * len(table)))


def empty_cells(table: pa.Table) -> pa.Table:
    return table.set_column(0, "name", pa.nulls(len(table), pa.binary()))


def many_rows(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table.slice(0, 1)] * 10_000).combine_chunks()


def long_names(table: pa.Table) -> pa.Table:
    return table.set_column(0, "name", pa.array([bytes(100_000)] * len(table), pa.binary()))


@pytest.mark.parametrize("change", [text_columns, empty_cells, many_rows, long_names])
def test_an_index_of_another_form_is_refused(ar, tmp_path, change):
    described = prepared("ar", ar, tmp_path / "store")
    pq.write_table(change(pq.read_table(tmp_path / "store" / INDEX)), tmp_path / "store" / INDEX, compression="none")
    digest = hashlib.sha256((tmp_path / "store" / INDEX).read_bytes()).hexdigest()
    with pytest.raises(DataError, match=r"index\.parquet is damaged"):
        read_index(LocalStore(tmp_path / "store"), described.model_copy(update={"index_sha256": digest}))


@pytest.mark.parametrize("name", ["/data/backup", "../../backup", "A" * 64, "0" * 63])
def test_a_hash_that_names_a_file_is_refused(ar, tmp_path, name):
    prepared("ar", ar, tmp_path / "store")
    file = tmp_path / "store" / DESCRIPTION
    content = json.loads(file.read_text())
    content["shards"][0]["sha256"] = name
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"shards\.0\.sha256"):
        read_description(LocalStore(tmp_path / "store"))


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
