"""Sections of a book's chapter on unsupervised learning, each computed by either library.

A section is a function `compute(of)` that gives a dict of numbers and labels, where `of(name)`
is a class or function of scikit-learn or of shoal, and one that draws it by shoal's displays.
What has a name in brackets is drawn and not compared.
`book` has the numbers that the book prints, for those of them that are known for certain.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.cluster
import sklearn.metrics
import sklearn.mixture

import shoal

TOLERANCE = 1e-6  # relative, of numbers
DIFFERENT = "DIFFERENT"


@dataclass
class Section:
    """One section: what it computes, what the book prints, how it is drawn."""

    compute: Any
    book: dict = field(default_factory=dict)
    draw: Any = None
    needs: str = ""  # a package, if any

    @property
    def title(self):
        return self.compute.__doc__.strip()


@dataclass
class Settings:
    """What the command line says."""

    faces: Path | None = None
    grid: tuple = (25, 50, 99)


SECTIONS = {}
SETTINGS = Settings()


def section(needs="", book=None):
    """Register a section by its function's name; `book` has the numbers that the book prints."""

    def register(compute):
        SECTIONS[compute.__name__] = Section(compute, book or {}, needs=needs)
        return compute

    return register


def drawn_by(compute):
    """Register the function that draws a section in a figure."""

    def register(draw):
        SECTIONS[compute.__name__].draw = draw
        return draw

    return register


def theirs(name):
    """scikit-learn's class or function of this name."""
    homes = (sklearn.cluster, sklearn.mixture, sklearn.metrics)
    return next(getattr(home, name) for home in homes if hasattr(home, name))


def ours(name):
    return getattr(shoal, name)


def difference(a, b):
    """What differs in two values of a section, in a word; labels to the last, numbers nearly.

    Restarts of a mixture may end in one place, with lower bounds an ulp apart; which of them is
    the best, and so which cluster has which number, is then for rounding to say.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind not in "iu":
        return "" if np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE) else DIFFERENT
    if (a == b).all():
        return ""
    pairs = {*zip(a.flat, b.flat, strict=True)}
    one_to_one = len(pairs) == len(np.unique(a)) == len(np.unique(b))
    return "the same clusters by other numbers" if np.ndim(a) and one_to_one else DIFFERENT
