"""What is printed at the end: every contender's figures, and the target table."""

from .bench import OURS


def figures(sections):
    lines = []
    for section, contenders in sections.items():
        measured = {name: figure for name, figure in contenders.items() if isinstance(figure, dict) and "spread" in figure}
        if not measured:
            continue
        lines.append(f"\n### {section.replace('_', ' ')}\n")
        lines.append("| contender | median | spread | CPU | peak memory | sf2gs ÷ it |")
        lines.append("|---|---|---|---|---|---|")
        ours = measured.get(OURS)
        for name, figure in measured.items():
            cpu = sorted(figure["cpu_seconds"])[len(figure["cpu_seconds"]) // 2]
            peak = max(figure["peak_bytes"]) / 1e6
            ratio = f"{ours['median_seconds'] / figure['median_seconds']:.2f}" if ours and name != OURS else ""
            lines.append(
                f"| {name} | {figure['median_seconds']:.2f} s | ± {figure['spread']:.0%} of {len(figure['seconds'])} "
                f"| {cpu:.2f} s | {peak:,.0f} MB | {ratio} |"
            )
    return "\n".join(lines)


def targets(rows):
    lines = ["\n| work | against | measured | target | met |", "|---|---|---|---|---|"]
    for row in rows:
        bound = f"at most {row['most']:g}" if "most" in row else f"at least {row['least']:g}"
        found = f"{row['found']:.3f}" if row["found"] < 0.1 else f"{row['found']:.2f}"
        met = "yes" if row["met"] else "**no**"
        lines.append(f"| {row['work']} | {row['what']} | {found} {row['unit']} | {bound} {row['unit']} | {met} |")
    return "\n".join(lines)
