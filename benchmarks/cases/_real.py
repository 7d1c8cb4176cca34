"""Data that nobody made up, from what the installed packages ship and nothing else.

Photographs have skewed spectra: a few directions hold most of the variance. Texts have equal
rows, and sparse ones few features each. What synthetic blobs show of either is little.
"""

import sysconfig
from functools import cache
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits, load_sample_images
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

LINES = 12  # of a text


@cache
def photographs():
    """scikit-learn's two photographs, (2, 427, 640, 3), from 0 to 1, float32."""
    return np.stack(load_sample_images().images).astype(np.float32) / 255


def patches(n, width):
    """n squares of the photographs, `width` pixels wide: width² · 3 features."""
    windows = np.lib.stride_tricks.sliding_window_view(photographs(), (width, width), (1, 2))
    places = np.prod(windows.shape[:3])
    drawn = np.random.default_rng(width).permutation(places)[:n]
    at = np.unravel_index(drawn, windows.shape[:3])
    return np.ascontiguousarray(windows[at].transpose(0, 2, 3, 1).reshape(n, -1))


def pixels(n, with_places=False):
    """n pixels: three colors, and with places row and column too."""
    colors = photographs().reshape(-1, 3)
    if with_places:
        shape = photographs().shape[:3]
        _, row, column = np.unravel_index(np.arange(len(colors)), shape)
        colors = np.column_stack([colors, row / shape[1], column / shape[2]])
    drawn = np.random.default_rng(0).permutation(len(colors))[:n]
    return np.ascontiguousarray(colors[drawn], dtype=np.float32)


@cache
def texts():
    """TF-IDF of the standard library's sources, a row for each LINES lines: CSR, float64."""
    found = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" in path.parts:
            continue
        lines = path.read_text(errors="replace").splitlines()
        found += ["\n".join(lines[i : i + LINES]) for i in range(0, len(lines), LINES)]
    return TfidfVectorizer(min_df=5, token_pattern=r"[A-Za-z_]\w+").fit_transform(found)


def sparse_texts(n):
    """n of the texts."""
    rows = texts()
    return rows[np.sort(np.random.default_rng(0).permutation(rows.shape[0])[:n])]


def dense_texts(n, d):
    """n of the texts in d dimensions: a truncated SVD, unit rows, float32."""
    reduced = TruncatedSVD(d, random_state=0).fit_transform(sparse_texts(n))
    return normalize(reduced).astype(np.float32)


def digits():
    """scikit-learn's digits: 1797 rows of 64 counts."""
    return np.ascontiguousarray(load_digits().data)
