"""What is written is what is read, by others, too."""

import duckdb
import pyarrow as pa
import pytest

from analysis import parquet_writer
from analysis.parquet_writer import write_table

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("flow", pa.dictionary(pa.int32(), pa.string())),
        ("ms", pa.float64()),
        ("number", pa.int64()),
        ("status", pa.int16()),
        ("ok", pa.bool_()),
    ]
)


def batch(*rows):
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(SCHEMA)
    return pa.RecordBatch.from_arrays(
        [pa.array(list(column), field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )


ROWS = [
    ("a", "vote", 1.5, 1, 200, True),
    (None, None, None, None, None, None),
    ("ä" * 5000, "shop", -0.0, -(2**62), -1, False),
    ("", "", 1e308, 2**62, 32767, True),
]


@pytest.mark.parametrize("alike", [(), ("id",)])
@pytest.mark.parametrize("group", [1, 3, 65_536])
def test_values_of_every_type_come_back(tmp_path, monkeypatch, group, alike):
    """Batches with dictionaries of their own, and groups that end where batches do."""
    monkeypatch.setattr(parquet_writer, "GROUP_ROWS", group)
    write_table(iter([batch(), batch(*ROWS[:2]), batch(*ROWS[2:])]), tmp_path / "t.parquet", alike)
    assert duckdb.sql(f"FROM '{tmp_path / 't.parquet'}'").fetchall() == ROWS
    types = [kind for _, kind, *_ in duckdb.sql(f"DESCRIBE FROM '{tmp_path / 't.parquet'}'").fetchall()]
    assert types == ["VARCHAR", "VARCHAR", "DOUBLE", "BIGINT", "SMALLINT", "BOOLEAN"]


def test_no_row_at_all_is_a_table_with_columns(tmp_path):
    write_table(iter([batch()]), tmp_path / "t.parquet")
    found = duckdb.sql(f"FROM '{tmp_path / 't.parquet'}'")
    assert (found.columns, found.fetchall()) == (SCHEMA.names, [])


def test_an_error_of_the_batches_is_told_and_not_that_of_the_writer(tmp_path):
    def batches():
        yield batch()
        yield batch(*ROWS)
        raise ValueError("what is wrong")

    with pytest.raises(ValueError, match="what is wrong"):
        write_table(batches(), tmp_path / "t.parquet")


def test_a_full_disk_is_an_error(tmp_path):
    full = tmp_path / "full.parquet"
    full.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        write_table(iter([batch(), batch(*ROWS)]), full)
