r"""What of a colour photo is deconvolved, and how it becomes a photo again.

=========  ==========================================================================================
b          the blurred photo, one value for each pixel and channel
I          its intensity, (20 R + 40 G + B) / 61 + 1e-20, with paper A's weights and its guard against 0
J          I deconvolved
E          edge weight, 0..1: exp(-d^2 / 2 sigma^2), d being the distance to the nearest Canny edge of I
Y          luminance, 0.2126 R + 0.7152 G + 0.0722 B (Rec. 709)
=========  ==========================================================================================

- "rgb" deconvolves the channels, with edges where they are in all of them (vector TV) or each by itself (paper A);
- "luminance" deconvolves Y and adds the difference to every channel, so that the colour differences stay as they are;
- "intensity" returns b J / I, which puts the colours back by ratio (paper A, section 3.4);
- "edges" returns b (I + E (J - I)) / I: the deconvolved detail J - I is taken near edges only (paper A, section 3.4).

The paper says of the last that a "detailed layer is abstracted from the intensity layer", tuning "the parameters that
abstract the detailed layer after edge detection"; it names neither detector nor formula. Here the detector is
Canny's at scale `edge_sigma` with the strongest tenth of the gradients as seeds, and the weight falls off over
the PSF's own width, since that is how far the blur has spread an edge. b / I is taken as b / `_DARKEST` where I is
less: the ratios of near-black noise know no bounds.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fastrefocus.arrays import FloatArray
from fastrefocus.light import decode, encode, luminance

CHANNELS = ("rgb", "luminance", "intensity", "edges")

_DARKEST = np.float32(1 / 255)
_CANNY_QUANTILES = (0.8, 0.9)


@dataclass(frozen=True, eq=False)
class Channels:
    """A photo, and what of it is deconvolved."""

    photo: FloatArray  # as it came
    kind: str  # one of `CHANNELS`
    linearize: bool
    edge_sigmas: tuple[float, ...] = ()

    @cached_property
    def edge_distances(self) -> dict[float, FloatArray]:
        """Return the distances to the edges at every scale, which serve all candidates."""
        return {sigma: edge_distance(self.observed, sigma) for sigma in self.edge_sigmas}

    def values(self, photo: FloatArray) -> FloatArray:
        """Return the values worked on: linear light, or as encoded."""
        return decode(photo) if self.linearize else photo

    def luminance(self) -> FloatArray:
        """Return the luminance (H, W) of the values worked on."""
        return luminance(self.values(self.photo))

    @cached_property
    def observed(self) -> FloatArray:
        """What of the photo is deconvolved."""
        return self.target(self.photo)

    def target(self, photo: FloatArray) -> FloatArray:
        """Return what of a photo is deconvolved: (H, W, 3) or (H, W)."""
        values = self.values(photo)
        if self.kind == "rgb":
            return values
        return luminance(values) if self.kind == "luminance" else intensity(values)

    def finish(self, restored: FloatArray, sigma: float | FloatArray, edge_sigma: float | None) -> FloatArray:
        """Return the photo with its target restored, encoded as it came.

        `sigma` (a number, or one a pixel) and `edge_sigma` are the PSF's and the detector's, for "edges".
        """
        result = restored
        if self.kind != "rgb":
            b, before = self.values(self.photo), self.observed
            detail = restored - before
            if edge_sigma is not None:
                detail *= edge_weight(self.edge_distances[edge_sigma], sigma)
            if b.ndim == 3:
                detail, before = detail[..., np.newaxis], before[..., np.newaxis]
            result = b + (detail if self.kind == "luminance" else b / np.maximum(before, _DARKEST) * detail)
        return encode(result) if self.linearize else result


def intensity(photo: FloatArray) -> FloatArray:
    """Return paper A's intensity, (20 R + 40 G + B) / 61 + 1e-20, of a grey or colour photo."""
    if photo.ndim == 3:
        photo = (20 * photo[..., 0] + 40 * photo[..., 1] + photo[..., 2]) / np.float32(61)
    return photo + np.float32(1e-20)


def edge_distance(plane: FloatArray, edge_sigma: float) -> FloatArray:
    """Return each pixel's distance to the nearest Canny edge; infinite where there is no edge at all."""
    from scipy.ndimage import distance_transform_edt
    from skimage.feature import canny

    low, high = _CANNY_QUANTILES
    edges = canny(plane, sigma=edge_sigma, low_threshold=low, high_threshold=high, use_quantiles=True)
    if not edges.any():
        return np.full_like(plane, np.inf)
    distance: FloatArray = distance_transform_edt(~edges).astype(np.float32)
    return distance


def edge_weight(distance: FloatArray, sigma: float | FloatArray) -> FloatArray:
    """Return exp(-d^2 / 2 sigma^2)."""
    weight: FloatArray = np.exp(-0.5 * (distance / np.asarray(sigma, np.float32)) ** 2)
    return weight
