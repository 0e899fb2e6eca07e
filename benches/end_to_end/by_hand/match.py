"""Joins and verdicts alone, over Parquet files: `python -m by_hand.match duckdb|polars FOLDER`.

Reads `contact.parquet` and `mirror_<object>.parquet` and prints how many rows got which verdict, every row having been
handed out as Arrow.
"""

import collections
import json
import pathlib
import sys

MIRRORS = ["company", "person", "company_person"]


def by_duckdb(folder):
    import duckdb

    from . import middle

    connection = duckdb.connect()
    connection.execute("SET preserve_insertion_order = false")
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET memory_limit = '2GB'")
    connection.execute("SET timezone = 'UTC'")
    for name in ["contact", *(f"mirror_{mirror}" for mirror in MIRRORS)]:
        connection.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM '{folder / name}.parquet'")
    connection.execute(middle.PEOPLE_INDEXES)
    return connection.sql(middle.PEOPLE_VERDICTS).to_arrow_reader(65_536)


def by_polars(folder):
    from . import polars_middle

    tables = {name: folder / f"{name}.parquet" for name in ["contact", *(f"mirror_{mirror}" for mirror in MIRRORS)]}
    return polars_middle.people_verdicts(tables).to_arrow().to_batches()


def main(engine, folder):
    import pyarrow.compute

    counts = collections.Counter()
    for batch in {"duckdb": by_duckdb, "polars": by_polars}[engine](pathlib.Path(folder)):
        told = pyarrow.compute.coalesce(batch.column("code"), batch.column("verdict"))
        for count in pyarrow.compute.value_counts(told).to_pylist():
            counts[count["values"]] += count["counts"]
    print(json.dumps(counts, sort_keys=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
