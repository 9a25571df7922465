"""A focused photo that is registered, as the misfocused one would show it."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.light import luminance
from fastrefocus.synthesis.library import Indices
from fastrefocus.synthesis.registration import Registration, Window
from fastrefocus.synthesis.view import View

BRIGHTEST = np.float32(8)  # linear light: what a highlight may have been, in a focused photo that is exposed less


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
    """

    number: int
    light: FloatArray
    mask: BoolArray | None
    registration: Registration

    @cached_property
    def _rigid(self) -> Registration:
        """The registration without its flow, which is right to a pixel or two, and so no place to copy from."""
        return replace(self.registration, view=View(self.registration.view.homography))

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

    def origin(self, window: Window, pixels: Indices) -> Indices:
        """Return number, row and column of what it shows at some pixels of a window, (M, 3)."""
        places = self._places(window)[tuple(pixels.T)]
        return np.insert(places, 0, self.number, axis=1)

    def _places(self, window: Window) -> Indices:
        return np.rint(self._rigid.coordinates(window)).astype(np.int32)
