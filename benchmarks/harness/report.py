"""The results as text. A result is a dict, as written to JSON: see compare.measure."""

from benchmarks.harness.timing import fastest, geometric_mean, ratio

LABEL = 30


def heading(group, rounds):
    engines = "".join(f"{engine.name:>10}" for engine in group.engines)
    return (
        f"\n{group.title}\nmilliseconds: the minimum of up to {rounds} runs, in turn\n"
        f"{'':{LABEL}} thr passes{engines}  (median)   ratio (spread)     limit  reached"
    )


def line(group, result):
    """One row of the table: a time for each engine, then shoal against the fastest rival."""
    times = result["times"]
    cells = "".join(f"{cell(result, engine.name):>10}" for engine in group.engines)
    text = f"{result['row']:{LABEL}} {result['threads']:3d} {result['passes']:6d}{cells}"
    if "shoal" in times:
        ours = times["shoal"]
        text += f" {'(' + milliseconds(ours['median']) + ')':>9}"
        text += f" {ratio_text(group, result):>17}"
        limit = max(result["limit"].values())
        text += f" {milliseconds(limit):>8} {100 * limit / ours['min']:6.0f} %"
    notes = [f"    {name}: {note}" for name, note in result["notes"].items()]
    return "\n".join([text, *notes])


def cell(result, name):
    if name not in result["times"]:
        return "-"
    star = "*" if name in result["caveats"] else " "
    return milliseconds(result["times"][name]["min"]) + star


def milliseconds(seconds):
    ms = 1e3 * seconds
    return f"{ms:.3f}" if ms < 1 else f"{ms:.1f}" if ms < 1000 else f"{ms:.0f}"


def rivals(group, result):
    """All times of the rivals that count in this row."""
    return {
        name: result["times"][name]["all"]
        for name in group.rivals
        if name in result["times"] and name not in result["caveats"]
    }


def ratio_of(group, result):
    """Return (ratio, least, greatest) of the fastest rival's time to shoal's, or None."""
    others = rivals(group, result)
    best = fastest(others, others)
    if best is None or "shoal" not in result["times"]:
        return None
    return ratio(others[best], result["times"]["shoal"]["all"])


def ratio_text(group, result):
    found = ratio_of(group, result)
    if found is None:
        return ""
    return f"{found[0]:.2f} ({found[1]:.2f}-{found[2]:.2f})"


def caveats(group, results):
    """Explain the stars."""
    seen = {(n, why) for r in results for n, why in r["caveats"].items() if n in r["times"]}
    return "\n".join(f"* {name}: {why}, not counted" for name, why in sorted(seen))


def memory(group, results):
    """The table of peak memory: MiB that one call adds, and that as a multiple of the data."""
    measured = [result for result in results if result["memory"]]
    if not measured:
        return ""
    names = [engine.name for engine in group.engines]
    lines = [
        "\npeak memory added by one call: MiB (multiple of the data)",
        f"{'':{LABEL}} thr{'data':>9}" + "".join(f"{name:>16}" for name in names),
    ]
    for result in measured:
        data = result["data_bytes"]
        cells = "".join(f"{added(result['memory'].get(name), data):>16}" for name in names)
        lines.append(f"{result['row']:{LABEL}} {result['threads']:3d}{data / 2**20:9.1f}{cells}")
    return "\n".join(lines)


def added(number, data):
    return "-" if number is None else f"{number / 2**20:.1f} ({number / data:.1f})"


def means(groups, results):
    """Geometric means of the ratios, for each group and number of threads."""
    lines = ["\nshoal's speed in units of the fastest rival's, geometric mean (least to greatest)"]
    for group in groups:
        for threads in sorted({r["threads"] for r in results if r["group"] == group.key}):
            here = [r for r in results if (r["group"], r["threads"]) == (group.key, threads)]
            found = [f[0] for r in here if (f := ratio_of(group, r))]
            if found:
                lines.append(
                    f"{group.key:10} {threads:3d} thread{'s' if threads > 1 else ' '} "
                    f"{geometric_mean(found):6.2f} ({min(found):.2f} to {max(found):.2f}), "
                    f"{len(found)} rows; rivals: {', '.join(group.rivals)}"
                )
    return "\n".join(lines)
