"""The growth series as SVG."""

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

SERIES = (("extract", "extract + land", "o-"), ("chain", "whole chain", "s--"))


def growth(points, target):
    matplotlib.rcParams.update({"svg.hashsalt": "sf2gs", "svg.fonttype": "none", "font.size": 10})
    figure, (time, memory) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    sizes = [point["contacts"] for point in points]
    for key, label, style in SERIES:
        per_row = [point[f"{key}_seconds"] * 1e6 / point["contacts"] for point in points]
        time.plot(sizes, per_row, style, label=label)
        memory.plot(sizes, [point[f"{key}_peak"] / 1e6 for point in points], style, label=label)
    time.set(title="Time per contact", ylabel="microseconds", xscale="log", yscale="log", xlabel="contacts")
    floor = [point["floor_seconds"] * 1e6 / point["contacts"] for point in points]
    time.plot(sizes, floor, "^:", label="floor of the extract (curl)")
    memory.set(title="Peak memory", ylabel="MB", xscale="log", ylim=(0, None), xlabel="contacts")
    for axes in (time, memory):
        axes.grid(True, which="major", alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(target, metadata={"Date": None, "Creator": None})
    plt.close(figure)
