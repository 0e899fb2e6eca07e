"""The pipeline that a good engineer writes instead: raw HTTP, DuckDB and asyncio, with the jobs' own semantics.

    python -m by_hand extract   --settings FILE --folder DIR   one object into Parquet
    python -m by_hand companies --settings FILE --folder DIR   loads the accounts that lie in DIR
    python -m by_hand people    --settings FILE --folder DIR   loads the contacts that lie in DIR
    python -m by_hand land      --settings FILE --folder DIR   the three objects of the jobs into Parquet
    python -m by_hand chain     --settings FILE --folder DIR   everything

Prints what it did as one line of JSON. Rejected rows are written to `rejects.csv`, as anyone would want them.
"""

import argparse
import asyncio
import json
import pathlib

import aiohttp
import duckdb
import uvloop

from . import middle
from .gainsight import Tenant
from .salesforce import Org, csv_to_parquet, land

BATCH = 50
CONTACT = ["Id", "FirstName", "LastName", "Email", "AccountId", "ReportsToId", "SystemModstamp"]
ACCOUNT = ["Id", "Name", "NumberOfEmployees", "SystemModstamp"]
USER = ["Id", "FirstName", "LastName", "Email", "TimeZoneSidKey", "Username", "LocaleSidKey", "Title", "ManagerId",
        "SystemModstamp"]
STANDARD_USERS = "UserType = 'Standard' AND IsActive = TRUE"


def soql(columns, name, where=None):
    return f"SELECT {', '.join(columns)} FROM {name}" + (f" WHERE {where}" if where else "")


class Pipeline:
    def __init__(self, options, session):
        settings = json.loads(pathlib.Path(options.settings).read_text())
        self.folder = pathlib.Path(options.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.options = options
        self.org = Org(settings["salesforce"], session, options.pages)
        self.tenant = Tenant(settings["gainsight"], session, options.calls, options.record)
        self.jobs = {job["object"]: job["id"] for job in settings["gainsight"]["bulk_jobs"]}
        self.done = {}

    def connect(self):
        connection = duckdb.connect()
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"SET memory_limit = '{self.options.memory}'")
        connection.execute(f"SET temp_directory = '{self.folder / 'spill'}'")
        connection.execute("SET timezone = 'UTC'")
        return connection

    async def land_one(self, name, columns, label, where=None, operation="query"):
        reader = csv_to_parquet
        if self.options.reader == "polars":
            from .polars_land import csv_to_parquet as reader
        query = soql(columns, name, where)
        return await land(self.org, self.connect(), label, query, columns, self.folder, operation, reader)

    async def mirror(self, connection, name, fields, view=None):
        """What the tenant holds of an object, as a view over the exported CSV."""
        view = view or f"mirror_{name}"
        folder = self.folder / view
        files = await self.tenant.export(name, ["Gsid", *fields], folder)
        types = ", ".join(f"'{field}': 'VARCHAR'" for field in ["Gsid", *fields])
        if files:
            names = ", ".join(f"'{file}'" for file in files)
            # Every cell may be empty, and none is null: blank is what the queries test for.
            rows = f"SELECT * FROM read_csv([{names}], columns = {{{types}}}, header = true, auto_detect = false, " \
                   "quote = '\"', escape = '\"', nullstr = '\\N')"
        else:
            rows = "SELECT " + ", ".join(f"NULL::VARCHAR AS {field}" for field in ["Gsid", *fields]) + " WHERE false"
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {view} AS {rows}")

    def source(self, connection, name):
        connection.execute(f'CREATE OR REPLACE TEMP VIEW "{name}" AS SELECT * FROM \'{self.folder / name}.parquet\'')

    def settle(self, connection, job, refused=0):
        """Counts the verdicts and writes the rejects down."""
        counts = dict(connection.execute("SELECT verdict, count(*) FROM verdict GROUP BY 1").fetchall())
        counts["rejected"] = counts.get("rejected", 0) + refused
        connection.execute(
            f"COPY (SELECT * FROM verdict WHERE verdict = 'rejected') TO '{self.folder / job}-rejects.csv' (HEADER)"
        )
        self.done[job] = counts

    @staticmethod
    def bodies(connection, sql, parameters=()):
        """The records of a query as call bodies of fifty, made while the ones before are on their way."""
        answer = connection.execute(sql, parameters)
        while rows := answer.fetchmany(BATCH * 64):
            records = [row[-1] for row in rows]
            yield [
                ('{"records":[' + ",".join(records[at : at + BATCH]) + "]}").encode()
                for at in range(0, len(records), BATCH)
            ]

    async def users(self):
        connection = self.connect()
        self.source(connection, "user")
        fields = ["FirstName", "LastName", "Email", "Timezone", "SFDCUserName", "Locale", "Title", "SfdcUserId", "Manager"]
        await self.mirror(connection, "gsuser", fields)
        await asyncio.to_thread(connection.execute, middle.USERS)

        async def create(body):
            await self.tenant.call("POST", "/v1/users/services?notify=false", body)

        async def update(body):
            await self.tenant.call("PUT", "/v1/users/services?key=Gsid", body)

        await self.tenant.many(self.bodies(connection, middle.USER_RECORDS, ["insert"]), create)
        await self.tenant.many(self.bodies(connection, middle.USER_RECORDS, ["update"]), update)
        if connection.execute("SELECT count(*) FROM verdict WHERE waits").fetchone()[0]:
            await self.mirror(connection, "gsuser", ["SfdcUserId"], "again")
            await self.tenant.many(self.bodies(connection, middle.USER_MANAGERS), update)
        self.settle(connection, "users")

    async def companies(self):
        connection = self.connect()
        self.source(connection, "account")
        await self.mirror(connection, "company", ["SfdcAccountId", "Name", "Employees"])
        await asyncio.to_thread(connection.execute, middle.COMPANIES)
        rows = self.folder / "company-rows"
        size = self.options.file_bytes
        copy = f"COPY ({middle.COMPANY_ROWS}) TO '{rows}' (FORMAT csv, HEADER, FILE_SIZE_BYTES {size}, OVERWRITE)"
        await asyncio.to_thread(connection.execute, copy)
        work = [file for file in sorted(rows.glob("*.csv")) if file.stat().st_size > 64]
        at_once = asyncio.Semaphore(4)

        async def load(file):
            async with at_once:
                return await self.tenant.bulk_import(self.jobs["company"], file)

        results = await asyncio.gather(*(load(file) for file in work))
        self.settle(connection, "companies", refused=sum(failed for _, failed in results))

    async def people(self):
        connection = self.connect()
        self.source(connection, "contact")
        company_person = ["Person_ID", "Company_ID", "ExternalContactId", "ExternalAccountId", "Manager"]
        await asyncio.gather(
            self.mirror(connection, "company", ["SfdcAccountId"]),
            self.mirror(connection, "person", ["Email", "FirstName", "LastName"]),
            self.mirror(connection, "company_person", company_person),
        )

        def decide():
            connection.execute(middle.PEOPLE_INDEXES)
            connection.execute(f"CREATE OR REPLACE TEMP TABLE verdict AS {middle.PEOPLE_VERDICTS}")

        await asyncio.to_thread(decide)
        refused = []

        async def put(body):
            _, errors = await self.tenant.put_people(body)
            refused.extend(errors)

        await self.tenant.many(self.bodies(connection, middle.PEOPLE_RECORDS), put)
        self.settle(connection, "people", refused=len(refused))
        if connection.execute("SELECT count(*) FROM verdict WHERE waits AND verdict <> 'rejected'").fetchone()[0]:
            await self.mirror(connection, "company_person", ["ExternalContactId", "ExternalAccountId"], "again")
            await self.tenant.many(self.bodies(connection, middle.MANAGER_RECORDS), put)

    def extracts(self):
        return [
            asyncio.create_task(self.land_one("User", USER, "user", STANDARD_USERS)),
            asyncio.create_task(self.land_one("Account", ACCOUNT, "account")),
            asyncio.create_task(self.land_one("Contact", CONTACT, "contact")),
        ]

    async def land(self):
        self.done["rows"] = await asyncio.gather(*self.extracts())

    async def chain(self):
        """Loads in order; the extracts run ahead of them, as far as the org gives them."""
        for extract, load in zip(self.extracts(), [self.users, self.companies, self.people]):
            await extract
            await load()


async def run(options):
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=1 << 20) as session:
        pipeline = Pipeline(options, session)
        if options.verb in ("extract", "land", "chain"):
            await pipeline.org.log_in()
        if options.verb == "extract":
            columns = options.columns.split(",")
            rows = await pipeline.land_one(options.object, columns, options.object.lower(), options.where, options.operation)
            pipeline.done["rows"] = rows
        else:
            await getattr(pipeline, options.verb)()
    print(json.dumps(pipeline.done))


def main():
    parser = argparse.ArgumentParser(prog="by_hand", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("verb", choices=["extract", "land", "companies", "people", "chain"])
    parser.add_argument("--settings", required=True, help="what `sf2gs sandbox --format json` printed")
    parser.add_argument("--folder", required=True, help="where the Parquet files are")
    parser.add_argument("--object", default="Contact")
    parser.add_argument("--columns", default=",".join(CONTACT))
    parser.add_argument("--where")
    parser.add_argument("--operation", default="query", choices=["query", "queryAll"])
    parser.add_argument("--reader", default="duckdb", choices=["duckdb", "polars"], help="what makes Parquet of CSV")
    parser.add_argument("--pages", type=int, default=4, help="result pages under way at once")
    parser.add_argument("--calls", type=int, default=16, help="calls to the tenant under way at once")
    parser.add_argument("--file-bytes", type=int, default=4_000_000, help="size of a bulk file")
    parser.add_argument("--memory", default="2GB", help="DuckDB's memory limit")
    parser.add_argument("--record", help="folder to keep every body sent in")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
