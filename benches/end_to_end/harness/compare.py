"""Do two contenders leave the same? Counts and content hashes of tenants and of landed tables, ids of the tenant aside."""

import pathlib
import sys

import duckdb

from . import sandboxes

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tests" / "peers"))
import lake  # noqa: E402  (the peers' own reader of the Delta log)

# What a tenant holds, with its own ids replaced by what they stand for.
CONTENTS = {
    "gsuser": """
        SELECT u.FirstName, u.LastName, u.Email, u.Timezone, u.SFDCUserName, u.Locale, u.Title, u.SfdcUserId,
               m.SfdcUserId AS manager
        FROM gsuser u LEFT JOIN gsuser m ON m.Gsid = u.Manager""",
    "company": "SELECT SfdcAccountId, Name, Employees FROM company",
    "person": "SELECT lower(trim(Email)) AS email, FirstName, LastName FROM person",
    "company_person": """
        SELECT lower(trim(p.Email)) AS email, c.SfdcAccountId AS company, r.ExternalContactId, r.ExternalAccountId,
               m.ExternalContactId AS manager, m.ExternalAccountId AS manager_account
        FROM company_person r
        LEFT JOIN person p ON p.Gsid = r.Person_ID
        LEFT JOIN company c ON c.Gsid = r.Company_ID
        LEFT JOIN company_person m ON m.Gsid = r.Manager""",
}
FIELDS = {
    "gsuser": "Gsid FirstName LastName Email Timezone SFDCUserName Locale Title SfdcUserId Manager",
    "company": "Gsid SfdcAccountId Name Employees",
    "person": "Gsid Email FirstName LastName",
    "company_person": "Gsid Person_ID Company_ID ExternalContactId ExternalAccountId Manager",
}


def connect():
    connection = duckdb.connect()
    connection.execute("SET timezone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    return connection


def fingerprint(connection, query):
    """How many rows, and a sum of their hashes that no order changes."""
    rows, total = connection.execute(f"SELECT count(*), sum(hash(t)::HUGEINT) FROM ({query}) t").fetchone()
    return f"{rows} rows, hash {(total or 0) % 2**64:016x}"


def tenant(side, folder):
    """The fingerprints of everything that the jobs write."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    connection = connect()
    connection.execute(f"SET temp_directory = '{folder / 'spill'}'")
    for name, fields in FIELDS.items():
        file = sandboxes.dump(side, name, folder / f"{name}.ndjson")
        columns = ", ".join(f"'{field}': 'VARCHAR'" for field in fields.split())
        shown = ", ".join(f"nullif({field}, '') AS {field}" for field in fields.split())
        connection.execute(
            f"CREATE TABLE {name} AS SELECT {shown} FROM read_json('{file}', format = 'newline_delimited', "
            f"columns = {{{columns}}})"
        )
        file.unlink()
    return {name: fingerprint(connection, query) for name, query in CONTENTS.items()}


def landed(table, columns):
    """The fingerprint of a lake table's live rows."""
    paths, key, _ = lake.replay(pathlib.Path(table))
    connection = connect()
    files = ", ".join(repr(path) for path in paths)
    connection.execute(f"CREATE VIEW files AS SELECT * FROM read_parquet([{files}], union_by_name = true)")
    return fingerprint(connection, texts(f"({lake.state('files', key, columns)})", columns))


def parquet(file, columns, deletions=False):
    """The fingerprint of a Parquet file's rows; where it holds deletions, of the others."""
    connection = connect()
    live = "WHERE NOT IsDeleted" if deletions else ""
    return fingerprint(connection, texts(f"(SELECT * FROM '{file}' {live})", columns))


def texts(relation, columns):
    """Every cell as text: the two sides may have chosen different types for the same value."""
    shown = ", ".join(
        f"coalesce(epoch_us({column})::VARCHAR, '') AS {column}" if column == "SystemModstamp"
        else f"coalesce({column}::VARCHAR, '') AS {column}"
        for column in columns
    )
    return f"SELECT {shown} FROM {relation} x"


class Different(RuntimeError):
    pass


def demand_same(what, sides):
    """Stops where contenders left different things; gives what they all left."""
    (first, wanted), *others = sides.items()
    for name, found in others:
        if found != wanted:
            raise Different(f"{what}: {first} left {wanted}, but {name} left {found}")
    return wanted
