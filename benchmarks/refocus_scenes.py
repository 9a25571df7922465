"""Photos for refocus.py: pairs of one view, of which each photo is to get the other's focus."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from paper_b_scenes import calibrate, to_photo
from restoration_scenes import largest_part, listed, sharper
from scipy.ndimage import distance_transform_edt, gaussian_filter

import fastrefocus as fr
from fastrefocus.light import decode, luminance

BORDER = 8  # pixels that do not count: the aligned photo shows nothing there

_LEAST_REGION = 1000  # pixels
_DETAIL_SIGMA = 6.0  # pixels over which the detail of the two photos is compared


@dataclass(frozen=True)
class Swap:
    """A photo, and the other of its pair, which has the focus wanted: aligned, and with the photo's exposure."""

    name: str
    held_back: bool  # no constant was chosen by it
    photo: np.ndarray
    truth: np.ndarray
    focus: tuple[float, float]  # the middle of the largest region that is sharper in `truth`: fractions x, y
    region: np.ndarray  # bool (H, W)
    depth: fr.DepthMap  # what is sharper in the photo focused near is near


def swaps(data: Path) -> Iterator[Swap]:
    """Yield both directions of every pair in which a region is found that is sharper in the photo with that focus."""
    for index, folder in enumerate(listed(data, "multifocus")):
        near, far = (fr.read_photo(folder / f"{name}.png").pixels for name in ("near", "far"))
        depth = depth_of_pair(near, far)
        for name, photo, truth in (("near to far", near, far), ("far to near", far, near)):
            region = largest_part(sharper(truth, photo))
            if region.sum() < _LEAST_REGION:
                print(f"\nSkipped: no region of {folder.name} is clearly sharper after {name}")
                continue
            _, aligned = calibrate(decode(photo), decode(truth), region)
            inside = distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
            middle = np.unravel_index(np.argmax(inside), region.shape)
            focus = tuple((np.array(middle[::-1]) / region.shape[::-1]).tolist())
            yield Swap(f"{folder.name}, {name}", index % 2 == 1, photo, to_photo(aligned), focus, region, depth)


def depth_of_pair(near: np.ndarray, far: np.ndarray) -> fr.DepthMap:
    """Return the order of depth that a pair tells: the share of the detail at each place that is in the far photo."""
    energies = [detail(photo) for photo in (near, far)]
    least = 0.1 * np.median(np.maximum(*energies))  # where neither has any, the middle
    return fr.DepthMap((energies[1] + least) / (energies[0] + energies[1] + 2 * least), "relative")


def detail(photo: np.ndarray) -> np.ndarray:
    gradient = np.gradient(gaussian_filter(luminance(photo), 1))
    return gaussian_filter(np.square(gradient[0]) + np.square(gradient[1]), _DETAIL_SIGMA)
