"""Reads one table of a lake without sf2gs, and compares its rows with what `sf2gs sql --format csv` said.

Two readers, each by its own way through the log:
  DuckDB  reads the Parquet files that a replay of `_delta_log` (written here, from the protocol's text) names;
  Polars  reads the table by `scan_delta`, the log being read by delta-rs.

A table with a key holds older rows and deletions besides the newest; its state is the newest row of each key by
`_sf2gs_sequence`, without those that `_sf2gs_deleted` marks. Other columns of such names help to find rows, no more.
"""

import json
import pathlib
import sys
import urllib.parse

import duckdb
import polars

SEQUENCE, DELETED = "_sf2gs_sequence", "_sf2gs_deleted"


def replay(table):
    """The active files and the metadata: the newest whole checkpoint, then the commits after it."""
    log = table / "_delta_log"
    files, metadata, version = {}, None, -1
    for checkpoint in sorted(log.glob("*.checkpoint.parquet")):
        version = int(checkpoint.name.split(".")[0])
    if version >= 0:
        for row in polars.read_parquet(log / f"{version:020d}.checkpoint.parquet").to_dicts():
            if row.get("add"):
                files[row["add"]["path"]] = row["add"]["size"]
            if row.get("metaData"):
                metadata = row["metaData"]
    for commit in sorted(log.glob("*.json")):
        if int(commit.stem) <= version:
            continue
        for line in commit.read_text().splitlines():
            action = json.loads(line)
            if "add" in action:
                files[action["add"]["path"]] = action["add"]["size"]
            if "remove" in action:
                files.pop(action["remove"]["path"], None)
            if "metaData" in action:
                metadata = action["metaData"]
    paths = []
    for path, size in files.items():
        path = table / urllib.parse.unquote(path)
        assert path.stat().st_size == size, f"{path} isn't as large as the log says"
        paths.append(str(path))
    configuration = metadata["configuration"]
    if isinstance(configuration, list):  # a map in Parquet
        configuration = {entry["key"]: entry["value"] for entry in configuration}
    columns = [field["name"] for field in json.loads(metadata["schemaString"])["fields"]]
    return paths, configuration.get("sf2gs.key"), columns


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def state(source, key, columns):
    """SQL for the state now of `source`, a relation with the lake's own columns."""
    shown = ", ".join(quoted(column) for column in columns if not column.startswith("_sf2gs_"))
    if key is None:
        return f"select {shown} from {source}"
    newest = f"qualify row_number() over (partition by {quoted(key)} order by {SEQUENCE} desc) = 1"
    return f"select {shown} from (select * from {source} {newest}) where not {DELETED}"


def described(connection, relation):
    """Names and types of a relation's columns."""
    return [(row[0], row[1]) for row in connection.execute(f"describe {relation}").fetchall()]


def canonical(relation, columns):
    """Every value as text, so that both sides are compared alike; an empty text and a null are the same in CSV."""
    parts = []
    for name, kind in columns:
        column = quoted(name)
        if kind.startswith("TIMESTAMP"):
            text = f"cast(epoch_us({column}) as varchar)"
        elif kind in ("DOUBLE", "FLOAT"):
            text = f"cast({column} + 0.0 as varchar)"  # -0 is 0
        else:
            text = f"cast({column} as varchar)"
        parts.append(f"coalesce({text}, '') as {quoted(name)}")
    return f"select {', '.join(parts)} from {relation}"


def compare(connection, reader, table, actual_sql, expected_csv):
    connection.execute(f"create or replace temp table actual as {actual_sql}")
    actual = described(connection, "actual")
    connection.register("expected_text", polars.read_csv(expected_csv, infer_schema=False).to_arrow())
    given = [name for name, _ in described(connection, "expected_text")]
    if given != [name for name, _ in actual]:
        print(f"peers: {reader} sees other columns in {table}: {actual} instead of {given}")
        return False
    casts = ", ".join(
        quoted(name) if kind == "VARCHAR" else f"cast(nullif({quoted(name)}, '') as {kind}) as {quoted(name)}"
        for name, kind in actual
    )
    connection.execute(f"create or replace temp table expected as select {casts} from expected_text")
    ours, theirs = canonical("expected", actual), canonical("actual", actual)
    missing = connection.execute(f"({ours}) except all ({theirs})").fetchall()
    extra = connection.execute(f"({theirs}) except all ({ours})").fetchall()
    rows = connection.execute("select count(*) from expected").fetchall()[0][0]
    if missing or extra:
        print(f"peers: {reader} disagrees about {table}: {len(missing)} rows of sf2gs are missing, {len(extra)} are extra")
        for row in (missing + extra)[:5]:
            print("   ", row)
        return False
    print(f"peers: {reader:7} agrees about {table}: {rows} rows of {len(given)} columns")
    return True


def main(folder, expected_csv):
    table = pathlib.Path(folder)
    name = f"{table.parent.name}.{table.name}"
    paths, key, columns = replay(table)
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    if paths:
        connection.execute(
            f"create view files as select * from read_parquet([{', '.join(repr(p) for p in paths)}], union_by_name = true)"
        )
    else:
        connection.register("files", polars.scan_delta(str(table)).collect().to_arrow())
    agreed = compare(connection, "DuckDB", name, state("files", key, columns), expected_csv)
    connection.register("scanned", polars.scan_delta(str(table)).collect().to_arrow())
    return compare(connection, "Polars", name, state("scanned", key, columns), expected_csv) and agreed


if __name__ == "__main__":
    sys.exit(0 if main(*sys.argv[1:]) else 1)
