"""A focused photo that is registered, as the misfocused one would show it."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.light import luminance
from fastrefocus.synthesis.library import Indices
from fastrefocus.synthesis.registration import Registration
from fastrefocus.synthesis.view import View, Window

BRIGHTEST = np.float32(8)  # linear light: what a highlight may have been, in a focused photo that is exposed less

#: What a flow may say of a place that is exact: pixels, or a share of the blur's standard deviation, as it is not sure.
_STILL, _STILL_OF_BLUR = 0.5, 0.35


@dataclass(frozen=True, eq=False)
class Example:
    """A focused photo that is registered with the misfocused one.

    Attributes
    ----------
    number : int
        Which of the focused photos it is.
    light : ndarray
        (h, w) or (h, w, 3) float32, linear light.
    mask : ndarray or None
        (h, w) bool: where examples may come from; None: where it is the sharper one, or was compared as such.
    registration : Registration
        As found.
    as_taken : bool
        Whether it is shown moved as a whole, by whole pixels, and not by the homography.
    """

    number: int
    light: FloatArray
    mask: BoolArray | None
    registration: Registration
    as_taken: bool = False

    def views(self) -> list["Example"]:
        """Return what there is to be matched: where a flow was needed, the homography bends things, so both ways."""
        return [self] if self.registration.view.flow is None else [self, replace(self, as_taken=True)]

    @cached_property
    def _rigid(self) -> Registration:
        """The registration without its flow, which is right to a pixel or two, and so no place to copy from."""
        view = View(self.registration.view.homography)
        rigid = replace(self.registration, view=view)
        if self.as_taken:
            row, column = (int(np.median(places)) for places in np.nonzero(self.registration.mask))
            place = rigid.coordinates((slice(row, row + 1), slice(column, column + 1)))[0, 0]
            y, x = np.rint(place - (row, column)).tolist()
            return replace(rigid, view=View(np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)))
        return rigid

    def shown(self, window: Window, *, grey: bool = False) -> FloatArray:
        """Return the photo as a window of the misfocused one would show it in focus, (h, w, C) linear light."""
        photo = np.clip(self._rigid.warp(self.light, window), 0, BRIGHTEST)
        return luminance(photo)[..., np.newaxis] if grey and photo.shape[2] == 3 else photo

    def covered(self, window: Window) -> BoolArray:
        """Return what of a window of the misfocused photo it shows, (h, w)."""
        return self._rigid.covered(window)

    def sources(self, window: Window) -> BoolArray:
        """Return where in a window of the misfocused photo there are examples, (h, w)."""
        covered = self.covered(window)
        if self.mask is None:
            return covered & (self.registration.sharper[window] | self.registration.mask[window])
        covered[covered] = self.mask[tuple(self._places(window)[covered].T)]
        return covered

    def exact(self, window: Window) -> BoolArray:
        """Return where in a window what is shown is at its place, as far as the flow can tell, (h, w)."""
        if self.as_taken:
            return np.zeros_like(self.registration.mask[window])
        if self.registration.view.flow is None:
            return self.covered(window)
        moved = np.abs(self.registration.coordinates(window) - self._rigid.coordinates(window)).max(axis=2)
        exact: BoolArray = moved < max(_STILL, _STILL_OF_BLUR * self.registration.blur.sigma)
        return exact

    def origin(self, window: Window, pixels: Indices) -> Indices:
        """Return number, row and column of what it shows at some pixels of a window, (M, 3)."""
        places = self._places(window)[tuple(pixels.T)]
        return np.insert(places, 0, self.number, axis=1)

    def _places(self, window: Window) -> Indices:
        return np.rint(self._rigid.coordinates(window)).astype(np.int32)
