"""Where the boxes of a diagram stand: in layers from left to right, arrows between the boxes, few of them crossing.

Source: Sugiyama, Tagawa and Toda 1981, Methods for Visual Understanding of Hierarchical System Structures: layers by
longest path, long arrows through invisible boxes, order by barycentres; heights by isotonic regression.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Arrow = tuple[str, str]

_BETWEEN_LAYERS, _BETWEEN_BOXES, _BETWEEN_ARROWS = 46.0, 16.0, 8.0
_SWEEPS = 24


@dataclass(frozen=True)
class Arrangement:
    """Boxes and arrows on a plane whose y grows downwards.

    Attributes:
        corners: key → left upper corner.
        routes: arrow → points it goes through, from the right edge of its start to the left edge of its end.
        width, height: of it all.
    """

    corners: dict[str, tuple[float, float]]
    routes: dict[Arrow, list[tuple[float, float]]]
    width: float
    height: float


def arrange(sizes: dict[str, tuple[float, float]], arrows: Sequence[Arrow], last: Sequence[str]) -> Arrangement:
    """Return where boxes stand.

    Args:
        sizes: key → width and height.
        arrows: (from, to), without circles.
        last: boxes that stand in the last layer, whatever feeds them.
    """
    layer = _layers(list(sizes), arrows, last)
    chains = {arrow: _chain(arrow, layer) for arrow in arrows}
    heights = {key: height for key, (_, height) in sizes.items()}
    heights |= {key: 0.0 for chain in chains.values() for key in chain[1:-1]}
    steps = [step for chain in chains.values() for step in pairwise(chain)]
    columns = _columns(layer, chains)
    neighbors = _order(columns, steps)
    centers = _centers(columns, neighbors, heights)
    lefts, width = _lefts(columns, sizes)
    top = min(centers[key] - heights[key] / 2 for key in centers)
    corners = {key: (lefts[layer[key]][0], centers[key] - heights[key] / 2 - top) for key in sizes}
    routes = {arrow: _route(chain, columns, lefts, sizes, centers, top) for arrow, chain in chains.items()}
    return Arrangement(corners, routes, width, max(centers[k] + heights[k] / 2 for k in centers) - top)


def _layers(keys: list[str], arrows: Sequence[Arrow], last: Sequence[str]) -> dict[str, int]:
    """Return each box's layer: as far right as what it feeds allows, so that arrows from the left grow long."""
    following = {key: [end for start, end in arrows if start == key] for key in keys}
    depth: dict[str, int] = {}

    def from_end(key: str) -> int:
        if key not in depth:
            depth[key] = max((1 + from_end(end) for end in following[key]), default=0 if key in last else 1)
        return depth[key]

    deepest = max((from_end(key) for key in keys), default=0)
    return {key: deepest - from_end(key) for key in keys}


def _chain(arrow: Arrow, layer: dict[str, int]) -> list[str]:
    """Return an arrow's way from layer to layer: its ends, and invisible boxes between them."""
    start, end = arrow
    return [start, *(f"{start} > {end} @ {place}" for place in range(layer[start] + 1, layer[end])), end]


def _columns(layer: dict[str, int], chains: dict[Arrow, list[str]]) -> list[list[str]]:
    columns: list[list[str]] = [[] for _ in range(max(layer.values(), default=0) + 1)]
    for key, place in layer.items():
        columns[place].append(key)
    for (start, _), chain in chains.items():
        for offset, key in enumerate(chain[1:-1], start=1):
            columns[layer[start] + offset].append(key)
    return columns


def _order(columns: list[list[str]], steps: list[Arrow]) -> dict[str, list[str]]:
    """Sort each column by where its neighbors stand, to and fro; return all neighbors of each box."""
    before: dict[str, list[str]] = {key: [] for column in columns for key in column}
    after: dict[str, list[str]] = {key: [] for column in columns for key in column}
    for start, end in steps:
        before[end].append(start)
        after[start].append(end)
    best, fewest = [list(column) for column in columns], _crossings(columns, after)
    for sweep in range(_SWEEPS):
        towards, ordered = (before, columns[1:]) if sweep % 2 == 0 else (after, columns[-2::-1])
        for column in ordered:
            place = {key: index for other in columns for index, key in enumerate(other)}
            middle = {key: sum(place[n] for n in towards[key]) / len(towards[key]) for key in column if towards[key]}
            column.sort(key=lambda key: (middle.get(key, place[key]), place[key]))
        if (count := _crossings(columns, after)) < fewest:
            best, fewest = [list(column) for column in columns], count
    for column, ordered_best in zip(columns, best, strict=True):
        column[:] = ordered_best
    return {key: before[key] + after[key] for key in before}


def _crossings(columns: list[list[str]], after: dict[str, list[str]]) -> int:
    place = {key: index for column in columns for index, key in enumerate(column)}
    count = 0
    for column in columns:
        ends = [(place[key], place[end]) for key in column for end in after[key]]
        count += sum(a < c and b > d for a, b in ends for c, d in ends)
    return count


def _centers(columns: list[list[str]], neighbors: dict[str, list[str]], heights: dict[str, float]) -> dict[str, float]:
    """Return each box's middle height: near its neighbors', in the column's order, never overlapping."""
    centers: dict[str, float] = {}
    for column in columns:
        y = 0.0
        for key in column:
            centers[key] = y + heights[key] / 2
            y += heights[key] + _BETWEEN_BOXES
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 else columns[::-1]:
            wanted = [
                sum(centers[n] for n in neighbors[key]) / len(neighbors[key]) if neighbors[key] else centers[key]
                for key in column
            ]
            gaps = [_gap(heights[upper], heights[lower]) for upper, lower in pairwise(column)]
            centers |= dict(zip(column, _spaced(wanted, gaps), strict=True))
    return centers


def _gap(upper: float, lower: float) -> float:
    """Return the least distance of two middles; arrows that pass by (of height 0) may come close to each other."""
    return (upper + lower) / 2 + (_BETWEEN_BOXES if upper and lower else _BETWEEN_ARROWS if not upper + lower else 12.0)


def _spaced(wanted: list[float], gaps: list[float]) -> list[float]:
    """Return positions nearest to the wanted ones (least squares) that keep the gaps: pools adjacent violators.

    >>> _spaced([0.0, 0.0, 10.0], [4.0, 4.0])
    [-2.0, 2.0, 10.0]
    """
    offsets = [sum(gaps[:index]) for index in range(len(wanted))]
    pools: list[list[float]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        pools.append([want - offset, 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, count = pools.pop()
            total = pools[-1][1] + count
            pools[-1] = [(pools[-1][0] * pools[-1][1] + mean * count) / total, total]
    flat = [mean for mean, count in pools for _ in range(int(count))]
    return [value + offset for value, offset in zip(flat, offsets, strict=True)]


def _lefts(columns: list[list[str]], sizes: dict[str, tuple[float, float]]) -> tuple[list[tuple[float, float]], float]:
    """Return each column's left edge and width, and the width of all."""
    lefts, x = [], 0.0
    for column in columns:
        width = max((sizes[key][0] for key in column if key in sizes), default=0.0)
        lefts.append((x, width))
        x += width + _BETWEEN_LAYERS
    return lefts, x - _BETWEEN_LAYERS


def _route(
    chain: list[str],
    columns: list[list[str]],
    lefts: list[tuple[float, float]],
    sizes: dict[str, tuple[float, float]],
    centers: dict[str, float],
    top: float,
) -> list[tuple[float, float]]:
    place = {key: index for index, column in enumerate(columns) for key in column}
    (left, width), y = lefts[place[chain[0]]], centers[chain[0]] - top
    points = [(left + sizes[chain[0]][0], y)]
    if sizes[chain[0]][0] < width:
        points.append((left + width, y))  # past the wider boxes of its column
    for key in chain[1:-1]:
        left, width = lefts[place[key]]
        points += [(left, centers[key] - top), (left + width, centers[key] - top)]
    return [*points, (lefts[place[chain[-1]]][0], centers[chain[-1]] - top)]
