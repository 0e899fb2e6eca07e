"""The loads alone, the whole chain, incremental runs and reconciliation: one org, and a tenant for each contender."""

import json
import re
import shutil

from . import compare, sandboxes
from .bench import BY_HAND, FLOOR, OURS
from .floor import Bodies
from .measure import Contender
from .projects import CHAIN, Project
from .sandboxes import Sandbox

# Longer than the lag of incremental reads, so that what was changed is in the next window.
LAG = 400


class World:
    """An org, spoilt in two rows of a hundred or as asked; a tenant for sf2gs and one for the pipeline by hand."""

    def __init__(self, bench, contacts, accounts, users, name="whole"):
        self.bench, self.name = bench, name
        self.contacts = contacts
        start = lambda who, **sizes: bench.started(Sandbox(bench.program, bench.work, f"{name}-{who}", **sizes))
        self.boxes = [start("org", users=users, accounts=accounts, contacts=contacts), start("ours"), start("by-hand")]
        self.org, self.ours, self.theirs = self.boxes[0].org, self.boxes[1].tenant, self.boxes[2].tenant
        self.spoilt = sandboxes.spoil(self.org, bench.options.bad)
        sandboxes.pass_time(LAG, self.org, self.ours, self.theirs)
        self.project = Project(bench.program, bench.work / f"{name}-project", self.org, self.ours)
        self.settings = bench.settings(name, self.org, self.theirs)
        self.folder = bench.work / f"{name}-by-hand"
        self.reports = []

    def stop(self):
        self.bench.stop(*self.boxes)

    def run(self, *arguments, name=OURS):
        """One measured run of the program; with rejects it ends with 1."""
        command = self.project.command(*arguments)
        sample = self.bench.measured(name, command, environment=self.project.environment, codes=(0, 1))
        self.reports = json.loads(sample.stdout or "[]")
        return sample

    def by_hand(self, verb, *more):
        return self.bench.by_hand(verb, self.settings, self.folder, *self.bench.options.by_hand_calls, *more)

    def measured_by_hand(self, verb, *more):
        return self.bench.measured(f"by hand {verb}", self.by_hand(verb, *more))

    def agree(self, what):
        self.bench.agree(what, {
            OURS: compare.tenant(self.ours, self.bench.work / "dump-ours"),
            BY_HAND: compare.tenant(self.theirs, self.bench.work / "dump-by-hand"),
        })


def loads(bench, world):
    """Company load by bulk import, people load: the rows are landed already, the tenant holds what comes before them."""
    # What both need: the users and companies in the tenants, and the landed rows.
    world.project.forget()
    for job in ("company_sync", "company_person_sync"):
        world.run("run", job, "--land-only")
    world.project.keep("landed")
    world.measured_by_hand("land")
    load_section(bench, world, "companies", "company_sync", ["company"], f"company load, {bench.sizes.accounts:,} rows")
    load_section(
        bench, world, "people", "company_person_sync", ["person", "company_person"],
        f"people load, {world.contacts:,} rows", repeats=bench.options.slow_repeats or bench.repeats,
    )


def load_section(bench, world, verb, job, objects, work, repeats=None):
    bench.title(work)

    def fresh():
        sandboxes.empty(world.ours, *objects)
        world.project.put_back("landed")

    recorded = bench.work / f"bodies-{verb}"
    shutil.rmtree(recorded, ignore_errors=True)
    recorded.mkdir()
    sandboxes.empty(world.theirs, *objects)
    world.measured_by_hand(verb, "--record", recorded)
    floor = Bodies(bench, world.theirs, recorded, verb)
    # The second pass names records of the recorded run; the floor does not care whether they are there.
    figures = bench.compete(f"load_{verb}", [
        Contender(OURS, lambda: world.run("run", job), fresh),
        Contender(BY_HAND, lambda: world.measured_by_hand(verb), lambda: by_hand_again(world, objects)),
        Contender(FLOOR, floor.send, lambda: for_the_floor(world, objects)),
    ], repeats=repeats)
    by_hand_again(world, objects)
    world.measured_by_hand(verb)
    world.agree(f"the tenant after the {verb}' load")
    bench.sections[f"load_{verb}"]["calls_of_the_floor"] = floor.calls
    ours = figures[OURS].median()
    bench.target(work, "the pipeline by hand", ours, figures[BY_HAND].median(), 0.7)
    bench.target(work, "the curl floor", ours, figures[FLOOR].median(), 2.0)


def by_hand_again(world, objects):
    sandboxes.ask(world.theirs, "/__sandbox/switches", {"raw-lookups-must-exist": True}, "PUT")
    sandboxes.empty(world.theirs, *objects)


def for_the_floor(world, objects):
    sandboxes.ask(world.theirs, "/__sandbox/switches", {"raw-lookups-must-exist": False}, "PUT")
    sandboxes.empty(world.theirs, *objects)


def chain(bench, world, section="chain", repeats=None, targets=True):
    """Everything, from an empty tenant."""

    def fresh():
        world.project.forget()
        sandboxes.empty(world.ours)

    def fresh_by_hand():
        shutil.rmtree(world.folder, ignore_errors=True)
        by_hand_again(world, [])

    figures = bench.compete(section, [
        Contender(OURS, lambda: world.run("run", CHAIN), fresh),
        Contender(BY_HAND, lambda: world.measured_by_hand("chain"), fresh_by_hand),
    ], repeats=repeats)
    world.agree(f"both tenants after the chain of {world.contacts:,} contacts")
    if targets:
        ours, theirs = figures[OURS].median(), figures[BY_HAND].median()
        bench.target(f"whole chain from empty, {world.contacts:,} contacts", "the pipeline by hand", ours, theirs, 0.6)
    return figures


def full_run(bench, world):
    """The time of a full run, measured in this harness run, and a tenant that holds everything."""
    if "chain" not in bench.sections:
        world.project.forget()
        sandboxes.empty(world.ours)
        sample = world.run("run", CHAIN)
        bench.sections["chain"] = {OURS: {"median_seconds": sample.seconds}}
    elif not world.project.folder.joinpath(".sf2gs").exists():
        world.project.put_back("landed")
    return bench.sections["chain"][OURS]["median_seconds"]


def incremental(bench, world):
    """Runs after some rows have changed in Salesforce."""
    full = full_run(bench, world)
    world.run("run", CHAIN)
    for share, every in (("0.1 %", 1000), ("5 %", 20)):
        bench.title(f"incremental run, {share} of contacts and accounts changed")
        turn = iter(range(10_000))

        def change(every=every, turn=turn):
            number = next(turn)
            sandboxes.change(world.org, "Contact", "FirstName", f"Changed{every}-{number} {{}}", every)
            sandboxes.change(world.org, "Account", "Name", f"Changed {every}-{number} {{}} Inc.", every)
            sandboxes.pass_time(LAG, world.org, world.ours)

        calls = []

        def run():
            sample = world.run("run", CHAIN)
            calls.append((calls_of(world.reports), least_calls(world.reports)))
            return sample

        section = f"incremental_{every}"
        figures = bench.compete(section, [Contender(OURS, run, change)])
        bench.sections[section]["reports"] = world.reports
        made, least = calls[-1]
        bench.sections[section]["calls"], bench.sections[section]["least_calls"] = made, least
        bench.say(f"  calls: {made}, at least needed: {least}")
        if every == 1000:
            work = f"incremental, {share} changed"
            bench.target(work, "the full run's time", figures[OURS].median(), full, 0.05)
            bench.target(work, "the least API calls", sum(made.values()), sum(least.values()), 1.05)


def calls_of(reports):
    """What a chain said of its calls, by class."""
    calls = {}
    for report in reports:
        for name, count in re.findall(r"(\w+) (\d+)", report["calls"]):
            calls[name] = calls.get(name, 0) + int(count)
    return calls


# The arithmetic minimum of an incremental run, for each job:
#   sf_rest    one describe
#   sf_bulk    make the query job, ask once whether it is done, one page for each 50,000 rows, delete it
#   gs_sync    for each object that the job compares with, a describe and one page of what changed in the tenant; one page
#              of the log of deletions; for each fifty rows to insert, and each fifty to update, one call, and with
#              asynchronous people one more for what became of them
#   gs_users   for each fifty users to insert, and each fifty to update, one call
LOOKED_AT = {"user_sync": 1, "company_sync": 1, "company_person_sync": 3}


def least_calls(reports):
    """The arithmetic minimum for what a chain did."""
    least = {"sf_rest": 0, "sf_bulk": 0, "gs_sync": 0, "gs_users": 0}
    blocks = lambda rows, size: -(-rows // size)
    for report in reports:
        rows = report["extracted"] + report["deleted"]
        least["sf_rest"] += 1
        least["sf_bulk"] += 3 + max(1, blocks(rows, 50_000))
        looked = LOOKED_AT.get(report["job"], 1)
        least["gs_sync"] += 2 * looked + 1
        writes = blocks(report["inserted"], 50) + blocks(report["updated"], 50)
        if report["job"] == "user_sync":
            least["gs_users"] += writes
        elif report["job"] == "company_person_sync":
            least["gs_sync"] += 2 * blocks(report["inserted"] + report["updated"], 50)
        else:
            least["gs_sync"] += writes
    return least


def reconcile(bench, world):
    """Both sides read whole and compared by key."""
    full = full_run(bench, world)
    bench.title(f"reconcile, {world.contacts:,} contacts")
    figures = bench.compete("reconcile", [Contender(OURS, lambda: world.run("reconcile", CHAIN))])
    bench.sections["reconcile"]["report"] = world.reports
    bench.target(f"reconcile, {world.contacts:,}", "the full run's time", figures[OURS].median(), full, 0.5)
