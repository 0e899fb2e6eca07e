"""Does a row cost the same whatever their number? Extract and land, and the whole chain, at growing sizes.

The floor is measured beside the extract: what grows there grows for everybody.
"""

from . import sandboxes
from .bench import FLOOR, OURS
from .extract import COLUMNS
from .extract import World as ExtractWorld
from .floor import Pages
from .projects import CHAIN
from .measure import Contender
from .whole import World as WholeWorld


def section(bench):
    sizes = bench.sizes.growth
    bench.title("growth: " + ", ".join(f"{size:,}" for size in sizes) + " contacts")
    points = []
    for size in sizes:
        extract = ExtractWorld(bench, size, f"growth-extract-{size}")
        floor = Pages(bench, extract.org, COLUMNS).floor()
        landed = bench.compete(f"growth_extract_{size}", [extract.ours(), floor])
        landed, floor = landed[OURS], landed[FLOOR]
        bench.stop(extract.box)
        world = WholeWorld(bench, size, accounts=max(10, size // 5), users=max(10, size // 50), name=f"growth-{size}")

        def fresh(world=world):
            world.project.forget()
            sandboxes.empty(world.ours)

        contender = Contender(OURS, lambda world=world: world.run("run", CHAIN), fresh)
        slow = bench.options.slow_repeats or bench.repeats
        chain = bench.compete(f"growth_chain_{size}", [contender], repeats=slow if size >= 1_000_000 else None)[OURS]
        world.stop()
        points.append({
            "contacts": size,
            "extract_seconds": landed.median(), "extract_peak": landed.median("peak"),
            "floor_seconds": floor.median(),
            "chain_seconds": chain.median(), "chain_peak": chain.median("peak"),
        })
    bench.sections["growth"] = {"points": points}
    flat(bench, points)
    return points


def flat(bench, points):
    """Time per row from 100,000 contacts on, as far from the least as the largest is; memory against the limit set."""
    large = [point for point in points if point["contacts"] >= 100_000] or points[-1:]
    costs = [point["floor_seconds"] / point["contacts"] for point in large]
    bench.say(f"  time per row of the floor, largest ÷ least: {max(costs) / min(costs):.2f}")
    for what, label in (("extract", "extract + land"), ("chain", "the chain")):
        costs = [point[f"{what}_seconds"] / point["contacts"] for point in large]
        bench.target("growth", f"time per row of {label}, largest ÷ least", max(costs), min(costs), 1.2)
        peaks = [point[f"{what}_peak"] / point["contacts"] for point in large]
        # The limit is 2 GB for sorts and joins; memory per row may fall, and must not grow.
        bench.target("growth", f"memory per row of {label}, at the largest ÷ at the least size", peaks[-1], peaks[0], 1.2)
    bench.target("growth", "peak memory of extract + land, of 300 MB", large[-1]["extract_peak"], 300e6, 1.0)
    bench.target("growth", "peak memory of the chain, of 3 GB (2 GB for joins and sorts)", large[-1]["chain_peak"], 3e9, 1.0)
