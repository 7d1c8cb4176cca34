"""What cases found, counted by family and kind."""

import collections
import json
import threading

KEPT = 3  # cases of a kind that are shown


class Tally:
    """Counts of findings; the first ones of each kind of bug wait to be made small.

    Parameters
    ----------
    report : Path or None
        A file that gets a line for each finding.
    """

    def __init__(self, report=None):
        self._lock, self._report = threading.Lock(), report
        self._cases, self._same = collections.Counter(), collections.Counter()
        self._kinds, self._new, self._shown = collections.Counter(), [], collections.Counter()
        self._resident = collections.Counter()

    def add(self, family, seed, level, found, resident=0):
        """A case, with pairs of the kind of each finding and its description."""
        with self._lock:
            self._cases[family] += 1
            self._same[family] += not found
            self._resident[family] = max(self._resident[family], resident)
            for kind, words in found:
                head = kind if kind.startswith("BUG") else kind.split(":")[0]
                self._kinds[family, head] += 1
                if kind.startswith("BUG") and self._shown[family, head] < KEPT:
                    self._shown[family, head] += 1
                    self._new.append((family, seed, level, kind, words))
                if self._report is not None:
                    line = {"family": family, "seed": seed, "level": level, "kind": kind}
                    with self._report.open("a") as file:
                        print(json.dumps(line | {"words": words[:2000]}), file=file)

    def take_new(self, family):
        """Bugs of a family that were not shown yet."""
        with self._lock:
            taken = [finding for finding in self._new if finding[0] == family]
            self._new = [finding for finding in self._new if finding[0] != family]
        return taken

    def show(self, finding, small):
        """Print a bug and its small case."""
        family, seed, level, kind, words = finding
        with self._lock:
            print(f"\n{family} {seed} {level}: {kind}\n{words}\n{small}\n", flush=True)

    def has_bugs(self):
        return any(kind.startswith("BUG") for _, kind in self._kinds)

    def table(self):
        """Cases by family, and kinds of findings below each."""
        lines = [f"\n{'family':<42}{'cases':>8}{'MiB':>8}"]
        for family, cases in self._cases.items():
            lines.append(f"{family:<42}{cases:>8}{self._resident[family]:>8}")
            lines.append(f"    {'as in scikit-learn':<38}{self._same[family]:>8}")
            kinds = {k: n for (name, k), n in self._kinds.items() if name == family}
            for kind, count in sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0])):
                lines += (
                    [f"    {kind[:37]:<38}{count:>8}"]
                    if len(kind) < 38
                    else [
                        f"    {kind}",
                        f"    {'':<38}{count:>8}",
                    ]
                )
        bugs = sum(n for (_, kind), n in self._kinds.items() if kind.startswith("BUG"))
        lines.append(f"{sum(self._cases.values())} cases, {bugs} without an excuse")
        return "\n".join(lines)
