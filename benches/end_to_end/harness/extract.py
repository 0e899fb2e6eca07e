"""Extract and land: a Contact object of eleven columns into Parquet, and what the connectors of others make of it."""

import shutil

from . import compare, peers, sandboxes
from .bench import AIRBYTE, BY_HAND, FLOOR, FLOOR_IN_TURN, OURS, POLARS, SALESFORCE_CLI
from .floor import Pages
from .measure import Contender
from .projects import CONTACTS_JOB, EXTRACTED, Project
from .sandboxes import Sandbox

COLUMNS = [*EXTRACTED, "SystemModstamp", "IsDeleted"]
WORK = "extract + land {:,} Contacts ({} columns)"


class World:
    """An org of so many contacts, a tenant that nobody calls, and the contenders of the extract."""

    def __init__(self, bench, contacts, name):
        self.bench = bench
        accounts = max(100, contacts // 10)
        self.box = bench.started(
            Sandbox(bench.program, bench.work, name, users=50, accounts=accounts, contacts=contacts)
        )
        self.org, self.tenant = self.box.org, self.box.tenant
        self.project = Project(
            bench.program, bench.work / f"{name}-project", self.org, self.tenant, [("contacts", CONTACTS_JOB)]
        )
        self.settings = bench.settings(name, self.org, self.tenant)
        self.folder = bench.work / f"{name}-by-hand"

    def ours(self):
        command = self.project.command("run", "contacts", "--land-only")
        return Contender(
            OURS,
            lambda: self.bench.measured(OURS, command, environment=self.project.environment),
            self.project.forget,
        )

    def by_hand(self, name=BY_HAND, *more):
        folder = self.folder / name.split()[-1].strip("()")
        more = ["--columns", ",".join(COLUMNS), "--operation", "queryAll", *self.bench.options.by_hand_pages, *more]
        command = self.bench.by_hand("extract", self.settings, folder, *more)
        return Contender(
            name,
            lambda: self.bench.measured(name, command),
            lambda: shutil.rmtree(folder, ignore_errors=True),
        )

    def agree(self, names, what):
        columns = [*EXTRACTED, "SystemModstamp"]
        left = {OURS: compare.landed(self.project.lake("contacts"), columns)}
        for name in names:
            file = self.folder / name.split()[-1].strip("()") / "contact.parquet"
            left[name] = compare.parquet(file, columns, deletions=True)
        self.bench.agree(what, left)


def section(bench):
    contacts = bench.sizes.extracted
    bench.title(WORK.format(contacts, len(COLUMNS)))
    world = World(bench, contacts, "extract")
    pages = Pages(bench, world.org, COLUMNS)
    contenders = [world.ours(), world.by_hand(), world.by_hand(POLARS, "--reader", "polars")]
    contenders += [pages.floor(), pages.floor_in_turn()]
    figures = bench.compete("extract", contenders)
    world.agree([BY_HAND, POLARS], f"rows of {contacts:,} contacts")
    bench.sections["extract"]["rows"] = contacts
    bench.sections["extract"]["csv_bytes"] = pages.bytes()
    work = WORK.format(contacts, len(COLUMNS))
    ours = figures[OURS]
    bench.target(work, "download + DuckDB CSV → zstd Parquet", ours.median(), figures[BY_HAND].median(), 0.8)
    bench.target(work, "the curl floor, 4 pages at once", ours.median(), figures[FLOOR].median(), 2.0)
    bench.target(work, "the curl floor, a page at a time", ours.median(), figures[FLOOR_IN_TURN].median(), 2.0)
    bench.target(work, "peak memory, of 300 MB", ours.median("peak"), 300e6, 1.0)
    bench.stop(world.box)
    others(bench, contacts / ours.median())


def others(bench, ours_per_second):
    """The connectors of others, at a size that they can do."""
    rows = bench.sizes.airbyte
    contenders = []
    box = bench.started(Sandbox(bench.program, bench.work, "others", users=50, accounts=500, contacts=rows))
    for make in (peers.airbyte, peers.salesforce_cli):
        contender = make(bench, box, COLUMNS)
        if contender:
            contenders.append(contender)
    if contenders:
        bench.title(f"the connectors of others, {rows:,} contacts")
        project = Project(
            bench.program, bench.work / "others-project", box.org, box.tenant, [("contacts", CONTACTS_JOB)]
        )
        ours = Contender(
            OURS,
            lambda: bench.measured(
                OURS, project.command("run", "contacts", "--land-only"), environment=project.environment
            ),
            project.forget,
        )
        figures = bench.compete("extract_others", [*contenders, ours])
        bench.sections["extract_others"]["rows"] = rows
        for name in (AIRBYTE, SALESFORCE_CLI):
            if name in figures:
                per_second = rows / figures[name].median()
                bench.say(f"  {name}: {per_second:,.0f} rows/s")
                if name == AIRBYTE:
                    work = WORK.format(bench.sizes.extracted, len(COLUMNS))
                    bench.target_at_least(work, "airbyte's rows/s", ours_per_second / per_second, 100)
    bench.stop(box)
    sandboxes.settle()
