"""A dense flow for what no homography describes: parallax, lens distortion, things that moved."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from fastrefocus.arrays import FloatArray
from fastrefocus.light import encode
from fastrefocus.synthesis.comparison import Blur, Comparison, Explanation, Pair
from fastrefocus.synthesis.view import CoarseMap, View

#: Of TV-L1, one round after another: a stiff flow first, then one that follows the photos more closely.
_ATTACHMENTS = (5, 15, 40)

_LONGEST_SIDE = 450  # pixels of the mask's box: a flow is smooth, and found on a reduced copy of a larger one
_WORTHWHILE = 0.99  # of the residual: what two rounds have to leave at most for a third one to follow
_STRAY_SMOOTHING = 2.0  # pixels, standard deviation
_MOST_STRAY = 0.4  # of the blur's standard deviation, at least a pixel: what comes back no nearer is hidden
_LOWERS = 0.98  # of the residual around a pixel: what the flow has to leave at most


def add_flow(pair: Pair, view: View, blur: Blur, progress: Callable[[float], None]) -> View:
    """Return the view of two grey photos, (H, W, 1), with a flow where that lowers the residual."""
    from skimage.registration import optical_flow_tvl1

    factor = min(-(-pair.side() // _LONGEST_SIDE), pair.coarsest())
    small, plain, blur = pair.at_scale(factor), view.at_scale(factor), blur.at_scale(factor)
    comparison = Comparison(small, plain, blur.reach)
    flow = np.zeros((2, *comparison.box[2:]), np.float32)
    explained = comparison.explain(plain, blur)
    with_flow = explained
    for i, attachment in enumerate(_ATTACHMENTS):
        image = encode(with_flow.image()[..., 0])
        aim = np.where(with_flow.pixels, encode(comparison.defocused[..., 0]), image)
        flow = _after(flow, optical_flow_tvl1(aim, image, attachment=attachment))
        with_flow = comparison.explain(_flowing(plain, flow, comparison), blur)
        progress((i + 1) / len(_ATTACHMENTS))
        if i and with_flow.residual > _WORTHWHILE * explained.residual:
            break
    flow *= _lowered(comparison, explained, with_flow)
    return _flowing(plain, flow, comparison).at_scale(1 / factor)


def find_strays(pair: Pair, view: View, blur: Blur, progress: Callable[[float], None]) -> View:
    """Return a view with a flow, and how far from itself each pixel comes by that flow and one back.

    What the focused photo does not show, since something nearer hides it there, does not come back. The distance is in
    parts of what is allowed: a flow is the less sure the larger the blur.
    """
    from skimage.registration import optical_flow_tvl1

    factor = min(-(-pair.side() // _LONGEST_SIDE), pair.coarsest())
    small, flowing, blur = pair.at_scale(factor), view.at_scale(factor), blur.at_scale(factor)
    plain = View(flowing.homography)
    comparison = Comparison(small, plain, blur.reach)
    explained = comparison.explain(plain, blur)
    aim = encode(explained.image()[..., 0])
    photo = np.where(explained.pixels, encode(comparison.defocused[..., 0]), aim)
    places = np.indices(photo.shape, np.float32)
    back, moved = np.zeros_like(places), photo
    for i, attachment in enumerate(_ATTACHMENTS):
        back = _after(back, optical_flow_tvl1(aim, moved, attachment=attachment))
        moved = map_coordinates(photo, places + back, order=1, mode="nearest")
        progress((i + 1) / len(_ATTACHMENTS))
    there = flowing.displacement(comparison.box)
    strays = there + np.stack([map_coordinates(plane, places + there, order=1, mode="nearest") for plane in back])
    distance = gaussian_filter(np.hypot(*strays), _STRAY_SMOOTHING) / np.float32(max(1, _MOST_STRAY * blur.sigma))
    return replace(flowing, strays=CoarseMap(distance, comparison.box[:2])).at_scale(1 / factor)


def _after(flow: FloatArray, change: FloatArray) -> FloatArray:
    """Return the flow that goes where the change leads, and on from there."""
    places = np.indices(flow.shape[1:], np.float32) + change
    moved: FloatArray = change + np.stack([map_coordinates(plane, places, order=1, mode="nearest") for plane in flow])
    return moved


def _flowing(view: View, flow: FloatArray, comparison: Comparison) -> View:
    return View(view.homography, CoarseMap(flow, comparison.box[:2]))


def _lowered(comparison: Comparison, before: Explanation, after: Explanation) -> FloatArray:
    """Return how far the surroundings of each pixel agree that the flow lowered the residual, 0..1."""
    pixels = (before.pixels & after.pixels).astype(np.float32)

    def around(values: FloatArray) -> FloatArray:
        mean: FloatArray = gaussian_filter(values * pixels, 4) / (gaussian_filter(pixels, 4) + np.float32(1e-3))
        return mean

    old, new = (around(np.abs(e.image() - comparison.defocused)[..., 0]) for e in (before, after))
    return around((new < _LOWERS * old).astype(np.float32))
