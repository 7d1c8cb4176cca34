"""Filters of the nearest center: which of them pays, and the centers in its form."""

from typing import NamedTuple

import numpy as np

from shoal.core import parallel
from shoal.core.blas import one_blas_thread
from shoal.core.rows import Rows, empty_aligned
from shoal.kmeans.args import CenterArgs, FilterPackingArgs

# From which clusters and products (clusters times features) on a pass by 8-bit products is
# faster, for a few candidates a row, and features whose rounding filters allow for.
FEATURES = {"f4": range(32, 2**14 + 1), "f8": range(16, 2**14 + 1)}
MIN_CLUSTERS = 64
MIN_PRODUCTS = {"f4": 14_000, "f8": 5_000}
MIN_ROWS = 1024  # below which centers in another form cost more than they save
MIN_PROBED_WORK = 2**30  # products of a pass, from which on some rows are tried before it
PROBED_PAIRS = 2**17  # of rows and centers
NUMBERS_OF_AXES = (12, 24, 48)
# Costs in float32 products of the tile.
MADDUBS, VNNI, AMX, DOT = range(4)  # products of codes: kernels/quantize.h
CODE_COST = {MADDUBS: 0.65, VNNI: 0.3, AMX: 0.1, DOT: 0.3}  # of one of them; DOT as VNNI
PRODUCT_COST = {"f4": 1, "f8": 2}
ROW_COST = 50  # of one value of a row, whichever the filter


class Filter(NamedTuple):
    """How the nearest of the centers is found: see kernels/filter.pxd."""

    axes: np.ndarray | None = None  # (n_features, n_axes); None: by 8-bit codes
    pass_cost: float | None = None  # of a pass, in one by the tile


CODES = Filter()


def choose_filter(
    rows: Rows, values: np.ndarray, batch_size: int | None = None, *, probes: bool = True
) -> Filter | None:
    """The filter that finds the nearest of these centers with the least work, if any pays.

    Parameters
    ----------
    rows : Rows
    values : ndarray of shape (k, n_features)
        Centers less the rows' origin.
    batch_size : int, optional
        Rows that are compared with the same centers, if not all.
    probes : bool, default=True
        Whether to try the filters on some rows first, where all rows are much work.
    """
    k, d = values.shape
    type, n = rows.type, rows.n if batch_size is None else batch_size
    if rows.sparse or not rows.is_whole:
        return None
    if n < MIN_ROWS or d not in FEATURES[type] or k < MIN_CLUSTERS:
        return None
    if k * d < MIN_PRODUCTS[type]:
        return None
    codes = None
    if has_codes(type):
        cost = ROW_COST / k + CODE_COST[code_products(type)] / PRODUCT_COST[type]
        codes = CODES._replace(pass_cost=cost)
    if not probes or rows.n * k * d < MIN_PROBED_WORK:
        return codes
    with one_blas_thread, np.errstate(all="ignore"):
        return _choose_by_probe(rows, values, codes)


def has_codes(type: str) -> bool:
    """Whether the instruction set in use and the processor have 8-bit products."""
    return bool(parallel.constant("has_codes", type))


def code_products(type: str) -> int:
    """How codes are multiplied by the processor, the system and the instruction set in use."""
    return int(parallel.constant("code_products", type))


def max_candidates(k: int, d: int) -> int:
    """Candidates whose products take as long as the tile takes beyond the filter."""
    return max(2, k * d // _candidate_cost(d))


def _candidate_cost(d: int) -> int:
    """Of one candidate, which is measured by itself."""
    return 5 * d + 1200


def choose_shift(like: Rows, values: np.ndarray) -> np.ndarray:
    """What a filter subtracts from centers, and its norm: their mean where the rows have no
    origin, as in predictions."""
    shift = np.zeros(values.shape[1] + 1)
    if not like.origin.any():
        with np.errstate(all="ignore"):
            mean = values.mean(axis=0).astype(like.dtype)
            if np.isfinite(mean).all():
                shift[:-1] = mean
                shift[-1] = 1.001 * np.linalg.norm(shift[:-1])
    return shift


def _choose_by_probe(rows: Rows, values: np.ndarray, codes: Filter | None) -> Filter | None:
    """Count the candidates that each filter leaves some rows."""
    k, d = values.shape
    n_probed = min(128, max(32, PROBED_PAIRS // k))
    indices = np.linspace(0, rows.n - 1, n_probed).astype(int)
    shift = choose_shift(rows, values)[:-1]
    x = (rows.gather_centered(indices) - shift).astype(np.float32)
    c = (values - shift).astype(np.float32)
    v = _squared_norms(c) - 2 * (x @ c.T)
    if not np.isfinite(v).all():
        return codes
    product = PRODUCT_COST[rows.type]
    candidate = _candidate_cost(d) * product
    by_tile = product * k * d
    best, least = None, by_tile
    width = parallel.tile_size(rows.type)[1]
    numbers = [-(-m // width) * width for m in NUMBERS_OF_AXES]
    numbers = [m for m in numbers if m <= min(k, d, max_axes(d))]
    axes = principal_axes(c, max(numbers)) if numbers else None
    if axes is not None:
        counts = _count_by_axes(x, c, v, axes.astype(np.float32), numbers)
        for m, count in zip(numbers, counts, strict=True):
            cost = product * m * (k + d) + candidate * count
            if cost < least:
                best, least = Filter(axes[:, :m], ROW_COST / k + cost / by_tile), cost
    if codes is not None:
        cost = k * d * CODE_COST[code_products(rows.type)]
        if cost < least and cost + candidate * (_count_by_codes(x, c, v) - 1) < least:
            best = codes
    return best


def _squared_norms(x: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", x, x)


def _count_by_codes(x: np.ndarray, c: np.ndarray, v: np.ndarray) -> float:
    """Mean number of candidates of a row, nearly: see kernels/codes.pxd."""
    norms, rests = [], []
    for a in (x, c):
        scales = np.abs(a).max(axis=1, keepdims=True) / 127
        scales[scales == 0] = 1
        norms.append(np.sqrt(_squared_norms(a)))
        rests.append(np.sqrt(_squared_norms(a - scales * np.rint(a / scales))))
    errors = 2 * (np.outer(norms[0], rests[1]) + np.outer(rests[0], norms[1]))
    return float((v - errors <= (v + errors).min(axis=1)[:, None]).sum(axis=1).mean())


def _count_by_axes(
    x: np.ndarray, c: np.ndarray, v: np.ndarray, axes: np.ndarray, numbers: list[int]
) -> list[float]:
    """Mean number of candidates of a row by so many axes, nearly: see kernels/axes.pxd."""
    y, z = x @ axes, c @ axes
    x_norms, c_norms = _squared_norms(x), _squared_norms(c)
    best, found = v.min(axis=1)[:, None], []
    for m in numbers:
        x_rest, c_rest = (
            np.sqrt(np.maximum(norms - _squared_norms(projected[:, :m]), 0))
            for norms, projected in ((x_norms, y), (c_norms, z))
        )
        lower = c_norms - 2 * (y[:, :m] @ z[:, :m].T + np.outer(x_rest, c_rest))
        found.append(float((lower <= best).sum(axis=1).mean()))
    return found


def max_axes(d: int) -> int:
    """Projected rows take the place of codes: kernels/filter.pxd."""
    return -(-d // 64) * 16 - 1


def tie_margin(d: int, type: str) -> float:
    """K of kernels/decide.pxd."""
    stretch = int(parallel.constant("stretch", type))
    steps = min(d, stretch) + d // stretch + 8 + (d + 8 if type == "f8" else 0)
    return 2 * steps * float(np.finfo(type).eps)


def principal_axes(c: np.ndarray, m: int) -> np.ndarray | None:
    """Nearly the m directions along which rows of c spread most, the first one most.

    By subspace iteration (Halko, Martinsson & Tropp 2011, "Finding structure with randomness",
    algorithm 4.4) from some of the rows: 8·k·d·m flops. Filters need them orthonormal, not exact.
    None where values overflow.
    """
    axes = c[np.linspace(0, len(c) - 1, m).astype(int)].T.astype(np.float64)
    with np.errstate(all="ignore"):
        axes /= np.abs(axes).max() or 1  # lest their products overflow
    for _ in range(2):
        with np.errstate(all="ignore"):
            axes = (c.T @ (c @ axes.astype(c.dtype))).astype(np.float64)
            square = axes.T @ axes
        if not np.isfinite(square).all():
            return None
        # along the principal axes of the columns, which is faster than their QR decomposition
        sizes, turn = np.linalg.eigh(square)
        floor = max(sizes[-1] * 1e-30, np.finfo(float).tiny)
        axes = axes @ (turn / np.sqrt(np.maximum(sizes, floor)))[:, ::-1]
    axes = np.linalg.qr(axes)[0]
    # a Newton step to the nearest orthonormal axes: those of qr err by hundreds of roundings
    return axes - axes @ ((axes.T @ axes - np.eye(m)) / 2)


class FilteredCenters:
    """The centers of a pass in the form of a filter.

    Parameters
    ----------
    filter : Filter
    args : CenterArgs
        The centers, in one group; it learns where the arrays lie.
    like : Rows
        The rows that they will be compared with.
    values : ndarray of shape (k, n_features)
        Centers less the rows' origin.
    n_positions : int
        Room for centers in the panels.
    """

    def __init__(
        self, filter: Filter, args: CenterArgs, like: Rows, values: np.ndarray, n_positions: int
    ) -> None:
        k, d = values.shape
        self._type = like.type
        self._max_row_norm = np.empty(1)
        shift = choose_shift(like, values)
        origin = empty_aligned((d + 8,), like.dtype)  # kernels read whole vectors
        origin[:d] = like.origin + shift[:-1]
        origin[d:] = 0
        self.arrays = {
            "filter_origin": origin,
            "filter_shift": shift,
            "rows": empty_aligned((k, d), like.dtype),
            "row_norms": np.zeros(k, like.dtype),  # those of hidden centers are not computed
            "max_row_norm": self._max_row_norm,
        }
        args.set_filter(d, max_candidates=max_candidates(k, d), **self.arrays)
        if filter.axes is None:
            if not has_codes(like.type):
                raise ValueError("this instruction set has no 8-bit products")
            self._kernel, self._scratch = "quantize_centers", 16 * d
            products = code_products(like.type)
            codes = {
                "codes": empty_aligned((_count_codes(n_positions, d, like.type),), np.uint8),
                "code_bias": np.empty(n_positions, np.int32),
                "code_bounds": np.empty((5, n_positions), np.float32),
                "products": products,
            }
            codes["codes"][:] = 0
            self.arrays |= codes
            args.set_codes(n_positions, codes["codes"].size, **codes)
        else:
            self._kernel = "project_centers"
            feature, axis = (
                int(parallel.constant(f"projection_{name}_bytes", like.type))
                for name in ("feature", "axis")
            )
            axes = _round_axes(filter.axes, like)
            n_axes = axes.size // d
            panels = {
                "axes": axes,
                "axis_panels": empty_aligned((n_positions * (n_axes + 1),), like.dtype),
                "axis_norms": np.empty(n_positions, like.dtype),
            }
            self.arrays |= panels
            args.set_axes(d, n_positions, n_axes, **panels)
            self._scratch = feature * (d + 8) + axis * (n_axes + 1)
        self._packing = FilterPackingArgs(args, d)

    def pack(self, n_panels: int, panels_per_block: int) -> None:
        """Bring the arrays up to date with the centers."""
        size = max(1, panels_per_block // 4)
        parallel.run_kernel(self._kernel, self._type, self._packing, n_panels, size, self._scratch)
        self._max_row_norm[0] = self.arrays["row_norms"].max()


def _count_codes(n_positions: int, d: int, type: str) -> int:
    """Bytes of the codes of centers."""
    features = 64 if code_products(type) == AMX else 4
    return n_positions * -(-d // features) * features


def _round_axes(axes: np.ndarray, like: Rows) -> np.ndarray:
    """In panels, in the rows' type, with axes of zeros: shape (n_axes / width, d, width)."""
    d, m = axes.shape
    width = parallel.tile_size(like.type)[1]
    n_panels = -(-m // width)
    rounded = np.zeros((d, n_panels * width), like.dtype)
    rounded[:, :m] = axes
    exact = rounded[:, :m].astype(np.float64)
    error = np.linalg.norm(exact.T @ exact - np.eye(m))
    if n_panels * width > max_axes(d) or not error <= tie_margin(d, like.type) / 4:
        raise ValueError(f"{m} axes that are orthonormal but for {error}, in panels of {width}")
    return np.ascontiguousarray(rounded.reshape(d, n_panels, width).transpose(1, 0, 2))
