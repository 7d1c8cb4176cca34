"""Damaged files that are guided by coverage: what atheris changes until new lines are reached.

`python tests/fuzz.py --coverage npy --minutes 10` runs this in a child process; it needs
`pip install atheris` (Linux; libFuzzer lies in it). The readers' Python code is instrumented, and
what is read is judged as in trials/hostile.py. An input that fails is written to crash-*.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["shoal.core", "numpy.lib._format_impl", "zarr.core"]):
    import shoal.core.arrow
    import shoal.core.chunked
    import shoal.core.sources
    import shoal.core.stored  # noqa: F401

from trials.hostile import Trial, complaint, write

FORMATS = ("npy", "parquet", "arrow", "zarr")


def main(form, seconds, seed):
    """Fuzz one format for so many seconds; libFuzzer ends the process."""
    memory = Path("/dev/shm")  # where each input is written fastest
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    corpus = folder / "corpus"
    corpus.mkdir()
    target = write(Trial(0, 30, 4, form, ""), folder)
    changed = next(iter(target.glob("zarr.json"))) if form == "zarr" else target
    for number in range(6):
        source = write(Trial(number, 3 + number, 2, form, ""), Path(tempfile.mkdtemp()))
        source = source / "zarr.json" if form == "zarr" else source
        if source.exists():
            (corpus / str(number)).write_bytes(source.read_bytes())

    def read(content):
        changed.write_bytes(content)
        wrong = complaint(form, target)
        if wrong:
            raise AssertionError(wrong)

    options = [f"-max_total_time={seconds}", f"-seed={seed}", "-rss_limit_mb=2048", "-timeout=30"]
    atheris.Setup([sys.argv[0], *options, "-max_len=4096", "-verbosity=1", str(corpus)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(float(sys.argv[2])), int(sys.argv[3]))
