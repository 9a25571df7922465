"""From a photo to what a depth network sees."""

from dataclasses import dataclass

import numpy as np

from fastrefocus.arrays import FloatArray
from fastrefocus.depth.networks.card import ModelCard
from fastrefocus.depth.resampling import resize_map


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """What a network sees, and where the photo is in it.

    Attributes
    ----------
    pixels : ndarray
        (h, w, 3) float32, normalised.
    rows, columns : slice
        The part that shows the photo; the rest is padding.
    """

    pixels: FloatArray
    rows: slice
    columns: slice

    @property
    def height(self) -> int:
        """The photo's height in it, pixels."""
        return int(self.rows.stop - self.rows.start)


def make_input(pixels: FloatArray, card: ModelCard, height: int | None, width: int | None) -> NetworkInput:
    """Resize, pad and normalise a photo as a card says.

    Parameters
    ----------
    pixels : ndarray
        (H, W) or (H, W, 3) float32; clipped to 0..1.
    card : ModelCard
        The card.
    height, width : int or None
        The size of the input where the file fixes it.

    Returns
    -------
    NetworkInput
    """
    wanted = (0, 0) if height and width else card.input_size(*pixels.shape[:2])
    frame = (height or wanted[0], width or wanted[1])
    inner = _largest_inside(pixels.shape[:2], frame) if card.fit == "pad" else frame
    seen = resize_map(np.clip(pixels, 0, 1), inner)
    if seen.ndim == 2:
        seen = np.repeat(seen[..., np.newaxis], 3, axis=2)
    rows, columns = (
        slice((outer - side) // 2, (outer - side) // 2 + side) for outer, side in zip(frame, inner, strict=True)
    )
    framed = np.full((*frame, 3), card.mean, np.float32)
    framed[rows, columns] = seen
    if card.normalised_inside:
        framed *= np.float32(card.white)
    else:
        framed -= np.array(card.mean, np.float32)
        framed /= np.array(card.std, np.float32)
    return NetworkInput(framed[..., ::-1] if card.channels == "bgr" else framed, rows, columns)


def _largest_inside(photo: tuple[int, ...], frame: tuple[int, int]) -> tuple[int, int]:
    """Return the largest size of the photo's proportions that goes into a frame."""
    scale = min(frame[0] / photo[0], frame[1] / photo[1])
    rows, columns = (min(outer, max(1, round(side * scale))) for outer, side in zip(frame, photo, strict=True))
    return rows, columns
