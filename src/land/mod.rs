//! Snapshots of tables: Parquet files under a Delta log.
