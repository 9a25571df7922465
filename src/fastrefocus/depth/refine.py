"""Steep edges for depth that was estimated at a lower resolution than the photo's."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import FloatArray, as_image
from fastrefocus.depth.depth_map import DepthMap, Kind
from fastrefocus.parallel import thread_count, thread_map

_Integers = npt.NDArray[np.intp]

#: The least change of disparity that is an edge, as a part of the map's range.
_LEAST_JUMP = 0.12

#: The percentiles of disparity between which the map's range lies, and about how many pixels they are taken from.
_RANGE_PERCENTILES, _RANGE_SAMPLES = (1.0, 99.0), 1 << 16

#: The width of edges is measured on about this many rows and as many columns, in windows that double from this reach.
_LINES, _FIRST_REACH = 64, 4

#: Narrower edges, in pixels, are steep already.
_STEEP_WIDTH = 2.0

#: Wider edges, in pixels and in parts of the longer side (5 pixels of a map of 256), are slopes.
_WIDEST, _WIDEST_PART = 8, 1 / 48

#: In a window twice as wide, one extreme at least goes on by at most this part of the range; both by 1/2 on a slope.
_LARGEST_GROWTH = 0.25

#: The neighbours that vote: (y, x) in parts of the window's half side.
_VOTERS = np.array([(0, -0.6), (0, 0.6), (-0.6, 0), (0.6, 0), (-0.9, -0.9), (-0.9, 0.9), (0.9, -0.9), (0.9, 0.9)])

#: The difference of colour, root mean square over the channels, at which a neighbour's weight is exp(-1/2).
_COLOUR_SIGMA = 0.05

#: The neighbours' mean vote counts in full only where their weights are well above this.
_RESERVE = 2.0

#: So it never is larger than this.
_LARGEST_MEAN_VOTE = len(_VOTERS) / (len(_VOTERS) + _RESERVE)

#: Rows worked on at a time, so that they stay in the processor's cache.
_STRIP = 128


def refine_depth(depth: DepthMap, image: npt.ArrayLike, *, threads: int | None = None) -> DepthMap:
    """Make the smeared edges of an estimated depth map steep, with the help of the photo.

    Depth from a network comes at a few hundred pixels and is interpolated to the photo's size, so that an outline
    is a ramp several pixels wide. A renderer takes the ramp for a surface between the two depths. Here each pixel of
    a ramp takes the depth of one of the two sides.

    Parameters
    ----------
    depth : DepthMap
        (H, W), of any kind; NaN where unknown.
    image : array_like
        (H, W) or (H, W, 3): the photo, sharp at the outlines. uint8, uint16 or float 0..1.
    threads : int, optional
        At least 1; None for all CPUs. The result does not depend on it.

    Returns
    -------
    DepthMap
        Of the same kind. No value is new: each stands in `depth`, at most `r` rows and columns away (see Notes).
        NaN stays NaN and does not spread. `depth` itself where its edges are steep already, or where it has only
        slopes.

    Raises
    ------
    TypeError
        If `depth` is not a `DepthMap`, `threads` not an integer, or the image's dtype not one of those above.
    ValueError
        If the image is not valid or not of the map's height and width, or `threads` is less than 1.

    Notes
    -----
    The method is a gated minimum and maximum, to which the photo adds its vote. All comparisons are made in disparity
    (1 / z for metric depth), because blur is linear in it; the map's range is that between its 1st and 99th percentile.

    1. The width w of the edges: along 64 rows and as many columns, the change of disparity around each steepest
       point over the slope there, where it is at least 12 % of the range; the median of these, in the smallest window
       of 9, 17, 33, ... pixels that is wide enough for it. Below 2 pixels the edges are steep; above a 48th of the
       longer side (and 8 pixels) they are slopes. In both cases nothing is done.
    2. With r = ceil(w / 2) + 2: a pixel is at an edge where the largest and smallest value within r rows and columns
       differ by at least 12 % of the range, and where within 2 r rows and columns one of the two, at least, goes on by
       at most a quarter of their difference. (On a slope both go on by a half.)
    3. Such a pixel takes one of the two values. Its own disparity has a vote from -1 (the lower one) to 1 (the higher
       one), and so have 8 neighbours up to 1.3 r away. The neighbours' votes are averaged with the weights
       exp(-d^2 / (2 0.05^2)), d being the difference of colour, and a reserve of 2 that abstains. The sum decides.

    Step 3 follows the photo's outlines where the network's lie a little beside them. It cannot follow them farther than
    the ramp goes.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.zeros((8, 12), np.float32)
    >>> image[:, 6:] = 1
    >>> smeared = np.clip((np.arange(12) - 3) / 4, 0, 1) * np.ones((8, 1))
    >>> refine_depth(DepthMap(smeared, "relative"), image).values[0]
    array([0., 0., 0., 0., 0., 0., 1., 1., 1., 1., 1., 1.], dtype=float32)
    """
    if not isinstance(depth, DepthMap):
        raise TypeError(f"depth must be a DepthMap, got {type(depth).__name__}")
    pixels = as_image(image)
    values = depth.values
    if pixels.shape[:2] != values.shape:
        raise ValueError(f"depth must have the image's height and width {pixels.shape[:2]}, got {values.shape}")
    count = thread_count(threads)
    with np.errstate(all="ignore"):  # NaN, and infinity for the extremes of no pixels
        disparity = _Disparity.of(depth)
        width = _edge_width(values, disparity)
    if width < _STEEP_WIDTH:
        return depth
    radius = int(np.ceil(width / 2)) + 2
    result = values.copy()

    def refine_strip(top: int) -> None:
        with np.errstate(all="ignore"):
            pixel, side = _refine_strip(values, disparity, pixels, radius, top)
        result.reshape(-1)[pixel] = side

    tops = range(0, len(values), _STRIP)
    with thread_map(count, len(tops)) as apply:
        apply(refine_strip, tops)
    return DepthMap(result, depth.kind)


@dataclass(frozen=True)
class _Disparity:
    """Turns a map's values into disparity, scaled to a range of 1 over most of the map; its sign is left open."""

    kind: Kind
    offset: float
    span: float

    @classmethod
    def of(cls, depth: DepthMap) -> "_Disparity":
        step = int(np.ceil(np.sqrt(depth.values.size / _RANGE_SAMPLES)))
        plain = cls(depth.kind, 0.0, 1.0)
        for sample, percentiles in ((depth.values[::step, ::step], _RANGE_PERCENTILES), (depth.values, (0.0, 100.0))):
            known = plain(sample[~np.isnan(sample)]).astype(np.float64)
            low, high = np.percentile(known, percentiles).tolist() if known.size else (0.0, 0.0)
            if low < high:
                return cls(depth.kind, low, high - low)
        return plain

    def __call__(self, values: FloatArray) -> FloatArray:
        linear: FloatArray = np.reciprocal(values) if self.kind == "metric" else values
        scaled: FloatArray = (linear - np.float32(self.offset)) / np.float32(self.span)
        return scaled


def _edge_width(values: FloatArray, disparity: _Disparity) -> float:
    """Return the typical width of the map's edges in pixels; 0 where there are none, or only slopes."""
    height, width = values.shape
    lines = [disparity(values[:: -(-height // _LINES)]), disparity(values[:, :: -(-width // _LINES)].T)]
    widest = max(_WIDEST, _WIDEST_PART * max(height, width))
    reach = _FIRST_REACH
    while reach < 2 * widest:
        widths = np.concatenate([_edge_widths(line, reach) for line in lines])
        if widths.size and (typical := float(np.median(widths))) <= reach:
            return typical if typical <= widest else 0.0
        reach *= 2
    return 0.0


def _edge_widths(lines: FloatArray, reach: int) -> FloatArray:
    """Return, for each edge along the rows of an array, its jump over its steepest slope."""
    flat = np.pad(lines, ((0, 0), (reach, reach)), constant_values=np.nan).ravel()
    slope = np.nan_to_num(np.abs(np.diff(flat, append=np.nan)), posinf=0)
    high, low = _extremes(flat, reach)
    steepest = _slide(slope, 2 * reach + 1, 1, np.maximum)
    slope = slope[reach:-reach]
    at = np.flatnonzero((slope > 0) & (slope == steepest))
    jump, slope = high[at] - low[at], slope[at]
    edge = jump >= _LEAST_JUMP
    widths: FloatArray = jump[edge] / slope[edge]
    return widths


def _refine_strip(
    values: FloatArray, disparity: _Disparity, pixels: FloatArray, radius: int, top: int
) -> tuple[_Integers, FloatArray]:
    """Find what changes in the strip of rows from `top` on: indices into the flat map, and the new values.

    The strip has margins of neighbouring rows, or of NaN, and is flat: one `stride` leads to the next row.
    """
    height, width = values.shape
    margin = 2 * radius
    first, last = top - margin, top + _STRIP + margin
    padding = ((max(-first, 0), max(last - height, 0)), (margin, margin))
    padded = np.pad(values[max(first, 0) : last], padding, constant_values=np.nan)
    stride = padded.shape[1]
    strip = disparity(padded).ravel()
    at, high, low = _edges(padded.ravel(), strip, disparity, radius, stride)
    y, x = np.divmod(at, stride)
    pixel = (first + y) * width + x - margin

    upper, lower = disparity(high), disparity(low)
    middle, half = (upper + lower) / 2, (upper - lower) / 2
    vote = (strip[at] - middle) / half
    undecided = np.flatnonzero(np.abs(vote) < _LARGEST_MEAN_VOTE)
    at, seen = at[undecided], pixel[undecided]
    middle, half = middle[undecided], half[undecided]
    colours = pixels.reshape(values.size, -1)
    colour = colours[seen]
    votes, weights = np.zeros_like(middle), np.full_like(middle, _RESERVE)
    for dy, dx in np.rint(radius * _VOTERS).astype(int):
        neighbour = np.clip((strip[at + dy * stride + dx] - middle) / half, -1, 1)
        # Outside the picture it is NaN, whatever colour is taken.
        weight = _likeness(colours.take(seen + dy * width + dx, axis=0, mode="clip"), colour)
        unknown = np.isnan(neighbour)
        neighbour[unknown] = weight[unknown] = 0
        votes += weight * neighbour
        weights += weight
    vote[undecided] += votes / weights
    return pixel, np.where(vote > 0, high, low)


def _likeness(colours: FloatArray, others: FloatArray) -> FloatArray:
    """Return how much two lists of colours are alike, pair by pair: 1 where they are equal, towards 0 elsewhere."""
    difference = colours - others
    distance = np.einsum("ij,ij->i", difference, difference)
    likeness: FloatArray = np.exp(distance * np.float32(-0.5 / (_COLOUR_SIGMA**2 * colours.shape[1])))
    return likeness


def _edges(
    values: FloatArray, strip: FloatArray, disparity: _Disparity, radius: int, stride: int
) -> tuple[_Integers, FloatArray, FloatArray]:
    """Find the pixels at edges in a strip, and the extremes of the window around each."""
    high, low = _extremes(values, radius, stride)
    corner = radius * (stride + 1)  # from a window's first pixel to its centre
    rows = slice(radius * stride, (radius + _STRIP) * stride)  # of the windows whose centre is not in a margin
    edge = np.abs(disparity(high[rows]) - disparity(low[rows])) >= _LEAST_JUMP
    known = ~np.isnan(strip[rows.start + corner : rows.stop + corner][: edge.size])
    at = np.flatnonzero(edge & known) + rows.start + corner
    top, bottom = disparity(high[at - corner]), disparity(low[at - corner])
    # Four windows make up the one that is twice as wide.
    around = [at - corner + i * radius * stride + j * radius for i in (-1, 1) for j in (-1, 1)]
    rise = np.abs(disparity(np.maximum.reduce([high[window] for window in around])) - top)
    fall = np.abs(disparity(np.minimum.reduce([low[window] for window in around])) - bottom)
    at = at[np.minimum(rise, fall) <= _LARGEST_GROWTH * np.abs(top - bottom)]
    return at, high[at - corner], low[at - corner]


def _extremes(flat: FloatArray, radius: int, stride: int | None = None) -> tuple[FloatArray, FloatArray]:
    """Return the maximum and minimum of each window of 2 radius + 1 pixels, and as many rows if there is a stride.

    Indexed by the window's first pixel. NaN does not count.
    """
    unknown = np.isnan(flat)
    results = []
    for ufunc, neutral in ((np.maximum, -np.inf), (np.minimum, np.inf)):
        result = np.where(unknown, np.float32(neutral), flat)
        for step in (1,) if stride is None else (1, stride):
            result = _slide(result, 2 * radius + 1, step, ufunc)
        results.append(result)
    return results[0], results[1]


def _slide(flat: FloatArray, length: int, step: int, ufunc: np.ufunc) -> FloatArray:
    """Apply a maximum or minimum to each run of `length` pixels, `step` apart, by runs that double in length."""
    done = 1
    while done < length:
        more = min(done, length - done)
        flat = ufunc(flat[: -more * step], flat[more * step :])
        done += more
    return flat
