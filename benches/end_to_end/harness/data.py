"""Tables for the matching section: contacts against persons, company persons and companies, one row in ten changed or bad.

Much as in `benches/matching.rs`: a twentieth of the contacts is new, as many have another last name, one in a hundred has
no address or that of another contact, at the same company or at another one, and one in a hundred no account.
"""

import pathlib

import duckdb

TABLES = {
    "contact": """
        SELECT id('003', r) AS Id, 'Jane' || r % 5000 AS FirstName,
          'Doe' || r % 70000 + (r % 20 = 0)::INT AS LastName,
          CASE r % 200 WHEN 3 THEN NULL WHEN 8 THEN email(r - 1) WHEN 11 THEN email(r - 5) ELSE email(r) END AS Email,
          CASE WHEN r % 100 <> 5 THEN id('001', r // 5) END AS AccountId,
          CASE WHEN r % 3 = 0 AND r > 0 THEN id('003', r - r % 5) END AS ReportsToId,
          make_timestamp(1770000000000000 + r)::TIMESTAMPTZ AS SystemModstamp
        FROM range({contacts}) t(r)""",
    "mirror_person": """
        SELECT gsid('1P04P', r) AS Gsid, lower(email(r)) AS Email, 'Jane' || r % 5000 AS FirstName,
          'Doe' || r % 70000 AS LastName
        FROM range({people}) t(r)""",
    "mirror_company_person": """
        SELECT gsid('1P04Q', r) AS Gsid, gsid('1P04P', r) AS Person_ID, gsid('1P04C', r // 5) AS Company_ID,
          id('003', r) AS ExternalContactId, id('001', r // 5) AS ExternalAccountId,
          CASE WHEN r % 3 = 0 AND r > 0 THEN gsid('1P04Q', r - r % 5) END AS Manager
        FROM range({people}) t(r)""",
    "mirror_company": """
        SELECT gsid('1P04C', r) AS Gsid, id('001', r) AS SfdcAccountId FROM range({companies}) t(r)""",
}
FUNCTIONS = """
CREATE MACRO id(prefix, number) AS prefix || lpad(number::VARCHAR, 12, '0') || 'AAA';
CREATE MACRO gsid(prefix, number) AS prefix || lpad(number::VARCHAR, 31, '0');
CREATE MACRO email(number) AS 'Jane.Doe' || number || '@Example' || number % 977 || '.org';
"""


def matching_tables(folder, contacts):
    """Writes the tables as Parquet, rows in the order of their keys."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect()
    connection.execute("SET timezone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    connection.execute(FUNCTIONS)
    sizes = {"contacts": contacts, "people": contacts - contacts // 20, "companies": contacts // 5}
    for name, query in TABLES.items():
        copy = f"COPY ({query.format(**sizes)}) TO '{folder / name}.parquet' (FORMAT parquet, COMPRESSION zstd)"
        connection.execute(copy)
    return folder
