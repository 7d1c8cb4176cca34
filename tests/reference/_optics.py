"""Twins of the kernels of OPTICS, exact to the bit."""

import numpy as np


def _rounded(values):
    with np.errstate(over="ignore"):
        return np.around(values, decimals=15)


def relax_reachability(found, rows, core, max_eps, point, is_ordered, reach, predecessor):
    """relax.pyx: a step by distances of a row to `rows`; the next row. Changes the last arrays."""
    for row, distance in zip(rows, found, strict=True):
        if not is_ordered[row] and distance <= max_eps:
            new = _rounded(max(distance, core))
            if new < reach[row]:
                reach[row], predecessor[row] = new, point
    left = np.flatnonzero(~is_ordered)
    return left[np.argmin(reach[left])] if len(left) else -1


def order_rows(distances, cores, max_eps):
    """ordering.pyx: the order from a matrix of distances and rounded core distances."""
    n = len(cores)
    is_ordered = np.zeros(n, bool)
    reach, predecessor = np.full(n, np.inf), np.full(n, -1)
    ordering, point = [], 0
    for _ in range(n):
        is_ordered[point] = True
        ordering.append(point)
        rows = np.arange(n if np.isfinite(cores[point]) else 0)
        point = relax_reachability(
            distances[point][rows],
            rows,
            cores[point],
            max_eps,
            point,
            is_ordered,
            reach,
            predecessor,
        )
    return np.array(ordering), reach, predecessor


def _extend(steep, opposite, start, min_samples):
    end, flat = start, 0
    for i in range(start, len(steep)):
        if steep[i]:
            end, flat = i, 0
        elif opposite[i]:
            break
        else:
            flat += 1
            if flat > min_samples:
                break
    return end


def _corrected(plot, sources, ordering, start, end):
    while start < end:
        if plot[start] > plot[end] or sources[end] in ordering[start:end]:
            return end
        end -= 1
    return None


def _cluster(plot, complement, area, up, min_size, corrected):
    down_start, down_end, in_between = area
    up_start, end = up
    start, after, top = down_start, plot[end + 1], plot[down_start]
    if after * complement < in_between:
        return None
    if top * complement >= after:
        while start < down_end and plot[start + 1] > after:
            start += 1
    elif after * complement >= top:
        while end > up_start and plot[end - 1] > top:
            end -= 1
    end = corrected(start, end)
    if end is None or end - start + 1 < min_size or start > down_end or end < up_start:
        return None
    return start, end


def find_steep_clusters(reach, sources, ordering, xi, min_samples, min_size, corrects):
    """steep.pyx: first and last places of clusters, from arrays in the order."""
    plot, complement = np.append(reach, np.inf), 1 - xi
    with np.errstate(all="ignore"):
        ratio = plot[:-1] / plot[1:]
    up, down = ratio <= complement, ratio >= 1 / complement

    def corrected(start, end):
        return _corrected(plot, sources, ordering, start, end) if corrects else end

    areas, clusters, index, highest = [], [], 0, 0.0
    for i in np.flatnonzero(up | down):
        if i < index:
            continue
        highest = max(highest, plot[index : i + 1].max())
        areas = [
            (start, end, max(between, highest))
            for start, end, between in areas
            if np.isfinite(highest) and highest <= plot[start] * complement
        ]
        if down[i]:
            last = _extend(down, ratio < 1, i, min_samples)
            areas.append((i, last, 0.0))
        else:
            last = _extend(up, ratio > 1, i, min_samples)
            found = (
                _cluster(plot, complement, area, (i, last), min_size, corrected)
                for area in reversed(areas)
            )
            clusters += [cluster for cluster in found if cluster is not None]
        index = last + 1
        highest = plot[index]
    return clusters


def label_clusters(clusters, n):
    """The label of each place: of clusters without a labelled place, in their order."""
    labels, label = np.full(n, -1), 0
    for first, last in clusters:
        if (labels[first : last + 1] == -1).all():
            labels[first : last + 1] = label
            label += 1
    return labels
