"""The joins and verdicts alone, each contender a process over the same Parquet files."""

import json
import sys

from .bench import BY_HAND, OURS, POLARS
from .data import matching_tables
from .measure import Contender


def section(bench):
    contacts = bench.sizes.contacts
    bench.title(f"matching + verdicts, {contacts:,} contacts against as many people and {contacts // 5:,} companies")
    folder = matching_tables(bench.work / "matching", contacts)
    counts = {}

    def contender(name, command):
        def run():
            sample = bench.measured(f"match {name}", command)
            said = json.loads(sample.stdout)
            # One side tells verdicts and codes by name, and so does the other: they are compared as they are.
            counts[name] = dict(sorted(said.items()))
            return sample

        return Contender(name, run)

    by_hand = [sys.executable, "-m", "by_hand.match"]
    contenders = [
        contender(OURS, [bench.verdicts, folder]),
        contender(BY_HAND, [*by_hand, "duckdb", folder]),
        contender(POLARS, [*by_hand, "polars", folder]),
    ]
    figures = bench.compete("matching", contenders)
    bench.sections["matching"]["rows"] = contacts
    bench.agree("verdicts by kind", counts)
    work = f"matching + verdicts, {contacts:,} contacts"
    bench.target(work, "DuckDB, the same joins", figures[OURS].median(), figures[BY_HAND].median(), 1.0)
