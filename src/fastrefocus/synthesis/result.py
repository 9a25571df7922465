"""What comes of a synthesis: the picture, and where each of its pixels is from."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import FloatArray
from fastrefocus.synthesis.library import Indices


class Provenance(IntEnum):
    """What was done to a pixel."""

    KEPT = 0  # it is the photo's
    DECONVOLVED = 1  # from the photo itself, which the examples that are alike at most complete
    COPIED = 2  # from a focused photo; what the lens let through is still the photo's own


@dataclass(frozen=True, eq=False)
class SynthesisResult:
    """A picture rebuilt with the help of focused photos, and where it comes from.

    Attributes
    ----------
    image : ndarray
        float32, the photo's shape, as encoded. Outside the mask the photo's values.
    confidence : ndarray
        (H, W) float32, 0..1: how sure each pixel is; NaN where none was asked for.
    provenance : ndarray
        (H, W) uint8: what was done to each pixel, a `Provenance`.
    origin : ndarray
        (H, W, 3) int32: the focused photo's number, and row and column in it, that each copied pixel is from, or most
        of it; -1 where nothing was copied.
    """

    image: FloatArray
    confidence: FloatArray
    provenance: npt.NDArray[np.uint8]
    origin: Indices
