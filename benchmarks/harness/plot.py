"""The results as a picture: shoal's speed in units of the fastest rival's, a bar for each row."""

from benchmarks.harness.report import ratio_of


def draw(groups, results, machine, path):
    """Write the picture; its format follows from the file's name."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    ratios = speeds(groups, results)
    labels = list(dict.fromkeys(label for label, _ in ratios))
    counts = sorted({threads for _, threads in ratios})
    figure = Figure(figsize=(9, 1.5 + 0.35 * len(labels)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / max(1, len(counts))
    for i, threads in enumerate(counts):
        shift = (i - (len(counts) - 1) / 2) * height
        mine = [label for label in labels if (label, threads) in ratios]
        values = [ratios[label, threads] for label in mine]
        at = [labels.index(label) + shift for label in mine]
        name = f"{threads} thread{'s' * (threads > 1)}"
        bars = axes.barh(at, [value - 1 for value in values], height, left=1, label=name)
        axes.bar_label(bars, [f"{value:.1f}" for value in values], padding=2, fontsize=7)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.set_xlim(min([0.5, *ratios.values()]) / 1.3, max([2, *ratios.values()]) * 1.3)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("speed in units of the fastest rival's")
    axes.set_title(f"shoal on {machine['processor']}, {machine['cores']} cores", fontsize=10)
    axes.legend()
    figure.savefig(path, dpi=120)


def speeds(groups, results):
    """Return {(row's label, threads): ratio}, in the order of the groups."""
    by_key = {group.key: group for group in groups}
    pairs = ((result, ratio_of(by_key[result["group"]], result)) for result in results)
    return {
        (f"{result['group']}  {result['row']}", result["threads"]): found[0]
        for result, found in pairs
        if found
    }
