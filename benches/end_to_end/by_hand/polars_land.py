"""All pages as one zstd Parquet file, by Polars instead of DuckDB."""

import polars as pl

from .salesforce import TYPES

KINDS = {"TIMESTAMPTZ": pl.String, "BOOLEAN": pl.Boolean, "BIGINT": pl.Int64}


def csv_to_parquet(_connection, files, columns, target):
    schema = {column: KINDS.get(TYPES.get(column), pl.String) for column in columns}
    frame = pl.scan_csv(files, schema=schema, has_header=True, empty_string_is_null=True)
    if "SystemModstamp" in columns:
        stamp = pl.col("SystemModstamp").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC")
        frame = frame.with_columns(stamp)
    frame.sink_parquet(target, compression="zstd", compression_level=1, maintain_order=False)
    return pl.scan_parquet(target).select(pl.len()).collect().item()
