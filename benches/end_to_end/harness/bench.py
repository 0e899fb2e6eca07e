"""What all sections share: the programs, sizes, folders, the contenders' commands, and the figures so far."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

from .measure import interleave, measure

ROOT = pathlib.Path(__file__).resolve().parents[3]
CACHE = pathlib.Path(os.environ.get("SF2GS_BENCH", pathlib.Path.home() / ".cache" / "sf2gs-bench"))

OURS, BY_HAND, POLARS = "sf2gs", "by hand (DuckDB)", "by hand (Polars)"
AIRBYTE, SALESFORCE_CLI, FLOOR = "airbyte-source-salesforce", "Salesforce CLI", "floor (curl)"
FLOOR_IN_TURN = "floor (curl, a page at a time)"


@dataclasses.dataclass
class Sizes:
    users: int = 20_000
    accounts: int = 200_000
    contacts: int = 1_000_000
    extracted: int = 2_000_000
    # What the connectors of others are given: enough to see their rows per second.
    airbyte: int = 20_000
    growth: tuple = (10_000, 100_000, 300_000, 1_000_000, 2_000_000, 4_000_000)


QUICK = Sizes(
    users=400, accounts=4_000, contacts=20_000, extracted=100_000, airbyte=2_000, growth=(10_000, 30_000, 100_000)
)


class Bench:
    def __init__(self, options):
        self.options = options
        self.quick = options.quick
        self.sizes = QUICK if options.quick else Sizes()
        for size in ("users", "accounts", "contacts", "extracted"):
            if getattr(options, size):
                setattr(self.sizes, size, getattr(options, size))
        if options.growth_sizes:
            self.sizes.growth = tuple(options.growth_sizes)
        self.repeats = options.repeats or (2 if options.quick else 5)
        self.work = pathlib.Path(options.work or CACHE / "work")
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        self.program, self.verdicts = programs()
        self.open = []
        self.sections = {}
        self.targets = []
        self.same = {}
        self.quotas = None

    def say(self, text=""):
        print(text, file=sys.stderr, flush=True)

    def title(self, text):
        self.say(f"\n{text}")

    def started(self, sandbox):
        """Keeps a sandbox in mind, so that none outlives the harness."""
        self.open.append(sandbox)
        return sandbox

    def stop(self, *sandboxes):
        for sandbox in sandboxes or tuple(self.open):
            sandbox.stop()
            self.open.remove(sandbox)

    def settings(self, name, org, tenant):
        """What a contender must know of both systems, as a file."""
        file = self.work / f"{name}-settings.json"
        file.write_text(json.dumps({"salesforce": org, "gainsight": tenant}))
        return file

    def by_hand(self, verb, settings, folder, *more):
        return [sys.executable, "-m", "by_hand", verb, "--settings", settings, "--folder", folder, *more]

    def measured(self, name, command, **more):
        return measure(command, self.work / "logs" / f"{slug(name)}.log", **more)

    def compete(self, section, contenders, repeats=None):
        """Measures contenders against each other and keeps their figures."""
        figures = interleave(contenders, repeats or self.repeats, self.say, warm_up=not self.options.no_warm_up)
        kept = self.sections.setdefault(section, {})
        for name, figure in figures.items():
            kept[name] = figure.raw()
        return figures

    def target(self, work, what, ours, other, most, unit="×"):
        """A line of the target table: ours against the other, and the most that it may be."""
        ratio = ours / other
        self.targets.append({"work": work, "what": what, "found": ratio, "most": most, "unit": unit, "met": ratio <= most})

    def target_at_least(self, work, what, ratio, least):
        self.targets.append({"work": work, "what": what, "found": ratio, "least": least, "unit": "×", "met": ratio >= least})

    def agree(self, what, sides):
        from .compare import demand_same

        self.same[what] = demand_same(what, sides)
        self.say(f"  the same at all: {what}: {self.same[what]}")


def slug(name):
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def programs():
    """The program, and the one that the matching section measures: given, or built."""
    given = os.environ.get("SF2GS"), os.environ.get("SF2GS_VERDICTS")
    if all(given):
        return [pathlib.Path(path).resolve() for path in given]
    command = ["cargo", "build", "--release", "--locked", "--features", "bench", "--bin", "sf2gs", "--bin", "verdicts",
               "--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    made = {}
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable"):
            made[message["target"]["name"]] = pathlib.Path(message["executable"])
    return made["sf2gs"], made["verdicts"]


def load():
    return os.getloadavg()[0]


def wait_for_calm(say, patience=20):
    """A machine that is busy with something else measures badly: says so, and waits a little."""
    for _ in range(patience):
        if load() < 1.0:
            return
        time.sleep(1)
    say(f"  note: the machine's load is {load():.1f} although nothing is measured yet")
