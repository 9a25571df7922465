"""A photo taken apart into layers by depth, each with what nearer layers hide of it filled in."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.native import _core
from fastrefocus.parallel import Map, bands
from fastrefocus.rendering.occlusion import jump_size, label_groups

#: How much of a pixel a layer covers, as the scatter knows it (cpp/layers.hpp).
NOTHING, OUTSIDE, MEMBER = 0, 1, 255

_MOST_MARGIN = 24  # pixels; what is made up beyond a border gets worse with the distance, a wider margin gains nothing
_BLOCK = 16  # pixels; how far around a layer pixels count is known to this

_Labels = npt.NDArray[np.uint8]
_Box = tuple[int, int, int, int]  # top, left, height, width


@dataclass(frozen=True, eq=False)
class Layer:
    """One group, and as much around it as its blur concerns.

    Attributes
    ----------
    values : ndarray
        (h, w, C + 1) float32: linear light times the part covered, and the signed radius in pixels.
    cover : ndarray
        (h, w) uint8: NOTHING (too far away to matter), OUTSIDE of it, to MEMBER, visible or filled in.
    top, left : int
        Its place in the photo with the margin.
    nearer : int
        How many layers are in front of it.
    """

    values: FloatArray
    cover: _Labels
    top: int
    left: int
    nearer: int


def margin_for(reach: float) -> int:
    """Return how wide a margin is put around the photo where circles have a radius up to `reach`, pixels."""
    return min(math.ceil(reach) + 2, _MOST_MARGIN)


def with_margin(shape: tuple[int, ...], reach: float) -> tuple[FloatArray, FloatArray]:
    """Return an image with the margin that circles of a radius up to `reach` need, and the view without the margin.

    Parameters
    ----------
    shape : tuple of int
        Of the view; the values are not set.
    reach : float
        Pixels.
    """
    margin = margin_for(reach)
    whole = np.empty((shape[0] + 2 * margin, shape[1] + 2 * margin, *shape[2:]), np.float32)
    return whole, whole[margin:-margin, margin:-margin]


def _continue_into_margin(whole: FloatArray, margin: int) -> None:
    whole[margin:-margin, :margin] = whole[margin:-margin, margin : margin + 1]
    whole[margin:-margin, -margin:] = whole[margin:-margin, -margin - 1 : -margin]
    whole[:margin] = whole[margin]
    whole[-margin:] = whole[-margin - 1]


@dataclass(frozen=True, eq=False)
class Groups:
    """A photo's occlusion groups, with a margin around it.

    Attributes
    ----------
    radius : ndarray
        (H + 2 m, W + 2 m) float32, signed.
    labels : ndarray
        (H + 2 m, W + 2 m) uint8: 0 farthest; no group is empty.
    reach : float
        The largest magnitude that the radius will have, pixels.
    """

    radius: FloatArray
    labels: _Labels
    reach: float

    def behind(self) -> list[_Labels]:
        """Return for each group the labels without nearer groups, whose pixels get that of the nearest farther one."""
        behind = [self.labels]
        for group in range(int(self.labels.max()), 0, -1):
            behind.insert(0, _core.peel_labels(behind[0], group))
        return behind


def find_groups(photo_radius: FloatArray, reach: float, map_: Map) -> Groups:
    """Find a photo's occlusion groups.

    Parameters
    ----------
    photo_radius : ndarray
        (H, W) float32, signed.
    reach : float
        The largest magnitude that the radius will have, pixels.
    map_ : callable
        See `fastrefocus.parallel.thread_map`.
    """
    radius, inside = with_margin(photo_radius.shape, reach)
    inside[:] = photo_radius
    _continue_into_margin(radius, margin_for(reach))
    return Groups(radius, label_groups(radius, map_), reach)


def take_apart(
    light: FloatArray,
    light_range: tuple[float, float],
    groups: Groups,
    behind: Sequence[_Labels],
    map_: Map,
    *,
    everywhere: bool = False,
) -> Iterator[Layer]:
    """Yield the layers of a photo, the farthest first.

    Parameters
    ----------
    light : ndarray
        (H + 2 m, W + 2 m, C) float32: linear light, C being 1 or 3, with a margin as `with_margin` makes it, which is
        written to.
    light_range : (float, float)
        The least and the most that light may be.
    groups, behind : Groups and list
        The photo's groups, and what `Groups.behind` returns.
    map_ : callable
        See `fastrefocus.parallel.thread_map`.
    everywhere : bool
        Make each layer as large as the photo, and leave nothing out.

    Yields
    ------
    Layer
        Of the photo with its margin.
    """
    radius, labels, margin = groups.radius, groups.labels, margin_for(groups.reach)
    _continue_into_margin(light, margin)
    boxes, blocks = _core.survey_groups(labels, len(behind), _BLOCK)
    plate = np.empty_like(light)
    map_(lambda rows: np.copyto(plate[rows], light[rows]), bands(len(light)))
    photo = _core.LabelledPhoto(light, radius, labels, margin, jump_size(radius), light_range, plate)
    # A layer's light is spread by up to `reach`, and so is that of what lies around it.
    around = max(labels.shape) if everywhere else 2 * math.ceil(groups.reach) + 2
    for group, labels_behind in enumerate(behind):
        box = _box(boxes[group], labels.shape, around)
        maker = _core.LayerMaker(photo, group, labels_behind, box, _grown(blocks[group], around), _BLOCK)
        height = box[2]
        steps = [(maker.look, height), (maker.halve, (height + 1) // 2), (maker.quarter, (height + 3) // 4)]
        for step, rows in steps:
            _for_bands(step, rows, map_)
        maker.fill_quarter()
        for step, rows in ((maker.fill_half, (height + 1) // 2), (maker.finish, height)):
            _for_bands(step, rows, map_)
        yield Layer(maker.values, maker.cover, box[0], box[1], len(behind) - 1 - group)


def _for_bands(step: Callable[[int, int], None], height: int, map_: Map) -> None:
    map_(lambda rows: step(rows.start, rows.stop), bands(height))


def _box(extent: npt.NDArray[np.int32], shape: tuple[int, ...], around: int) -> _Box:
    """Return the part of the photo that lies within so many pixels of rows and columns first to last."""
    first_row, last_row, first_column, last_column = extent.tolist()
    top, left = max(first_row - around, 0), max(first_column - around, 0)
    bottom, right = min(last_row + 1 + around, shape[0]), min(last_column + 1 + around, shape[1])
    return top, left, bottom - top, right - left


def _grown(blocks: BoolArray, around: int) -> BoolArray:
    """Return the blocks in which a pixel may lie within so many of one in the blocks given."""
    from scipy.ndimage import maximum_filter

    sizes = [2 * min(-(-around // _BLOCK), length) + 1 for length in blocks.shape]
    grown: BoolArray = maximum_filter(blocks, sizes, mode="constant")
    return grown
