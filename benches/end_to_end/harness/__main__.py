"""Arguments, the order of the sections, and the answer."""

import argparse
import json
import pathlib
import platform
import subprocess
import sys
import time

from . import chart, extract, growth, matching, table, whole
from .bench import QUICK, Bench, Sizes, load, wait_for_calm
from .compare import Different
from .measure import Failed
from .projects import Project
from .sandboxes import BAD, Sandbox

SECTIONS = ("extract", "matching", "loads", "chain", "incremental", "reconcile", "growth", "quotas")
WHOLE = ("loads", "chain", "incremental", "reconcile")


def arguments():
    parser = argparse.ArgumentParser(prog="benches/end_to_end/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, two rounds")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--only", metavar="SECTIONS", help=f"some of {','.join(SECTIONS)}")
    parser.add_argument("--repeats", type=int, help=f"measured rounds (default 5, quick 2)")
    parser.add_argument("--slow-repeats", type=int, help="the same for people load and chain")
    parser.add_argument("--no-warm-up", action="store_true", help="count the first round too: for a look, not for figures")
    parser.add_argument("--peers", choices=["cached", "all", "none"], help="connectors of others: those that are "
                        "installed already (default of --quick), all (default else), none")
    parser.add_argument("--chart", type=pathlib.Path, help="write the growth series there as SVG")
    parser.add_argument("--work", type=pathlib.Path, help="scratch folder, emptied before use")
    for size in ("users", "accounts", "contacts", "extracted"):
        parser.add_argument(f"--{size}", type=int, help=f"default {getattr(Sizes(), size):,}, quick {getattr(QUICK, size):,}")
    parser.add_argument("--growth-sizes", type=lambda text: [int(part) for part in text.split(",")], metavar="N,N,…")
    parser.add_argument("--bad", type=int, choices=BAD, default=2, help="rows in a hundred that a sync must refuse (default 2)")
    parser.add_argument("--pages", type=int, help="result pages that the pipeline by hand fetches at once")
    parser.add_argument("--calls", type=int, help="calls to the tenant that it has under way at once")
    options = parser.parse_args()
    options.sections = options.only.split(",") if options.only else list(SECTIONS)
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    options.peers = options.peers or ("cached" if options.quick else "all")
    options.by_hand_pages = ["--pages", str(options.pages)] if options.pages else []
    options.by_hand_calls = (["--calls", str(options.calls)] if options.calls else []) + options.by_hand_pages
    return options


def run(bench, sections):
    if "extract" in sections:
        extract.section(bench)
    if "matching" in sections:
        matching.section(bench)
    if any(section in sections for section in WHOLE):
        sizes = bench.sizes
        bench.title(f"an org of {sizes.users:,} users, {sizes.accounts:,} accounts, {sizes.contacts:,} contacts")
        world = whole.World(bench, sizes.contacts, sizes.accounts, sizes.users)
        bench.say("  spoilt: " + ", ".join(f"{count:,} {what}" for what, count in world.spoilt.items()))
        if "loads" in sections:
            whole.loads(bench, world)
        if "chain" in sections:
            bench.title(f"whole chain from empty, {sizes.contacts:,} contacts")
            whole.chain(bench, world, repeats=bench.options.slow_repeats or bench.repeats)
        if "incremental" in sections:
            whole.incremental(bench, world)
        if "reconcile" in sections:
            whole.reconcile(bench, world)
        world.stop()
    if "quotas" in sections:
        quotas(bench)
    if "growth" in sections:
        points = growth.section(bench)
        if bench.options.chart:
            chart.growth(points, bench.options.chart)


def quotas(bench):
    """Where the quotas are the limit the score is calls: the planner's own arithmetic, under the documented limits."""
    box = bench.started(Sandbox(bench.program, bench.work, "quotas"))
    project = Project(bench.program, bench.work / "quotas-project", box.org, box.tenant, quotas=True)
    command = [bench.program, "-C", project.folder, "plan", "--quotas"]
    bench.quotas = bench.measured("quotas", command, environment=project.environment).stdout
    bench.stop(box)


def machine():
    processor = next(
        (line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), platform.machine(),
    )
    cores = len(__import__("os").sched_getaffinity(0))
    memory = int(pathlib.Path("/proc/meminfo").read_text().split()[1]) / 1e6
    return f"{cores} cores of {processor}, {memory:.0f} GB, load {load():.1f} at the start"


def main():
    options = arguments()
    begun = time.monotonic()
    here = machine()
    bench = Bench(options)
    wait_for_calm(bench.say)
    code = 0
    try:
        run(bench, options.sections)
    except (Different, Failed, RuntimeError) as error:
        bench.say(f"\nbench: {error}")
        code = 1
    except KeyboardInterrupt:
        code = 130
    finally:
        bench.stop()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(table.figures(bench.sections))
    print(table.targets(bench.targets))
    if bench.quotas:
        print(f"\nWhere the quotas are the limit:\n\n{bench.quotas.rstrip()}")
    minutes = (time.monotonic() - begun) / 60
    print(f"\n{here}; commit {commit or 'unknown'}; `benches/end_to_end/run {' '.join(sys.argv[1:])}`; {minutes:.1f} minutes")
    if options.json:
        raw = {
            "machine": here, "commit": commit, "arguments": sys.argv[1:], "sizes": vars(bench.sizes),
            "sections": bench.sections, "targets": bench.targets, "same": bench.same, "quotas": bench.quotas,
            "minutes": minutes, "exit": code,
        }
        options.json.write_text(json.dumps(raw, indent=1) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
