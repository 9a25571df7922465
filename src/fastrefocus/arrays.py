"""The one place where arrays that come from outside are checked and converted."""

import os
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_Scalar = TypeVar("_Scalar", bound=np.generic)

#: A float image holds values of 0..1, with this much room for noise and for highlights.
FLOAT_RANGE = (-0.5, 16.0)

#: A PSF's sum; the squares of its spectrum have to fit into float32.
PSF_SUM_RANGE = (1e-10, 1e10)


def as_image(
    image: npt.ArrayLike,
    name: str = "image",
    *,
    shape: Sequence[int] | None = None,
    least: float = FLOAT_RANGE[0],
) -> FloatArray:
    """Check an image and return it as C-contiguous float32, 0..1.

    Parameters
    ----------
    image : array_like
        (H, W) or (H, W, 3), RGB. uint8 and uint16 are divided by their type's maximum; float16,
        float32 and float64 are taken as 0..1 with room for noise and highlights (-0.5 to 16).
    name : str
        The argument's name, for the error message.
    shape : sequence of int, optional
        The shape that it must have.
    least : float
        The smallest float value accepted.

    Returns
    -------
    ndarray
        float32, C-contiguous, same height, width and channels. The input itself where it already is that.

    Raises
    ------
    TypeError
        If the dtype is not one of those above.
    ValueError
        If the shape is not one of those above, an axis is empty, a value is NaN or infinite, or a float
        image looks like 0..255.
    """
    array = _numeric(image, name)
    _check_image_shape(array.shape, name)
    if shape is not None and array.shape != tuple(shape):
        raise ValueError(f"{name} must have the image's shape {tuple(shape)}, got {array.shape}")
    if array.dtype.kind == "u":
        maximum = np.float32(np.iinfo(array.dtype).max)
        return np.ascontiguousarray(array, dtype=np.float32) / maximum
    result = _finite_float32(array, name)
    _check_float_range(result, name, least)
    return result


def as_plane(
    values: npt.ArrayLike, name: str, *, shape: Sequence[int] | None = None, nan_ok: bool = False
) -> FloatArray:
    """Check a map of one real number a pixel and return it as C-contiguous float32.

    What is masked in a NumPy masked array is unknown, NaN.

    Parameters
    ----------
    values : array_like
        (H, W), any real dtype but bool; integers are not scaled.
    name : str
        The argument's name, for the error message.
    shape : sequence of int, optional
        The (height, width) that the map must have.
    nan_ok : bool
        Whether NaN (unknown) is accepted. Infinity never is.

    Returns
    -------
    ndarray
        (H, W) float32.

    Raises
    ------
    TypeError
        If the dtype is bool, complex or not numeric.
    ValueError
        If the shape is wrong, an axis is empty, or a value is not finite.
    """
    array = as_real(unmasked(values), name)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} must have shape (H, W) with H, W >= 1, got {array.shape}")
    if shape is not None and array.shape != tuple(shape[:2]):
        raise ValueError(f"{name} must have the image's height and width {tuple(shape[:2])}, got {array.shape}")
    return _finite_float32(array, name, nan_ok=nan_ok)


def fill_unknown(values: FloatArray, name: str) -> FloatArray:
    """Give every unknown (NaN) pixel of a map the value of the nearest known one.

    Parameters
    ----------
    values : ndarray
        (H, W) float32.
    name : str
        The argument's name, for the error message.

    Returns
    -------
    ndarray
        (H, W) float32; `values` itself where nothing is unknown.

    Raises
    ------
    ValueError
        If no pixel is known.
    """
    hole = np.isnan(values)
    if not hole.any():
        return values
    if hole.all():
        raise ValueError(f"{name} is unknown (NaN) everywhere, so that its holes cannot be filled")
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(hole, return_distances=False, return_indices=True)
    filled: FloatArray = values[tuple(nearest)]
    return filled


def as_psf(psf: npt.ArrayLike, image_shape: Sequence[int] | None = None, name: str = "psf") -> FloatArray:
    """Check a point spread function and return it as C-contiguous float32.

    Parameters
    ----------
    psf : array_like
        (h, w), both odd so that it has a centre pixel; real, finite, with a positive sum. It is not normalised.
    image_shape : sequence of int, optional
        The image that it is to be used on; a larger PSF is refused.
    name : str
        The argument's name, for the error message.

    Returns
    -------
    ndarray
        (h, w) float32.

    Raises
    ------
    TypeError
        If the dtype is bool, complex or not numeric.
    ValueError
        If the shape is even or larger than the image, a value is not finite, or the sum is not positive.
    """
    array = as_real(psf, name)
    if array.ndim != 2 or array.shape[0] % 2 == 0 or array.shape[1] % 2 == 0:
        raise ValueError(f"{name} must be 2-D with an odd height and width (a centre pixel), got shape {array.shape}")
    if image_shape is not None and (array.shape[0] > image_shape[0] or array.shape[1] > image_shape[1]):
        raise ValueError(f"{name} of shape {array.shape} is larger than the image {tuple(image_shape[:2])}")
    result = _finite_float32(array, name)
    total = float(result.sum(dtype=np.float64))
    low, high = PSF_SUM_RANGE
    if not low <= total <= high:
        raise ValueError(f"{name} must have a positive sum ({low:g} to {high:g}; should be 1), got {total:g}")
    return result


def as_mask(mask: npt.ArrayLike, shape: Sequence[int], name: str = "mask") -> BoolArray:
    """Check a mask and return it as C-contiguous bool.

    Parameters
    ----------
    mask : array_like
        (H, W) of bool, or of numbers, where every value but 0 means inside.
    shape : sequence of int
        The (height, width) that it must have.
    name : str
        The argument's name, for the error message.

    Returns
    -------
    ndarray
        (H, W) bool.

    Raises
    ------
    TypeError
        If the dtype is complex or not numeric.
    ValueError
        If the shape is wrong or a value is not finite.
    """
    array = _asarray(mask, name)
    if array.dtype.kind != "b":
        array = as_plane(array, name, shape=shape) != 0
    if array.shape != tuple(shape[:2]):
        raise ValueError(f"{name} must have the image's height and width {tuple(shape[:2])}, got {array.shape}")
    return np.ascontiguousarray(array)


def as_real(values: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """Return an array of real numbers, of any shape and real dtype but bool, as it is, or say what is wrong."""
    array = _asarray(values, name)
    if array.dtype.kind in "uif":
        return array
    hint = ""
    if hasattr(values, "pixels"):
        hint = "; give its .pixels"
    elif isinstance(values, (str, os.PathLike)):
        hint = "; read the file first, for example with read_photo(path).pixels"
    raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}{hint}")


def split_channels(image: npt.NDArray[_Scalar]) -> list[npt.NDArray[_Scalar]]:
    """Return an image's channels as (H, W) views."""
    return [image] if image.ndim == 2 else [image[..., i] for i in range(image.shape[2])]


def join_channels(planes: Sequence[FloatArray]) -> FloatArray:
    """Return a new (H, W) image of one plane, (H, W, n) of n; the inverse of `split_channels`."""
    return planes[0].copy() if len(planes) == 1 else np.stack(planes, axis=-1)


def unmasked(values: npt.ArrayLike) -> npt.ArrayLike:
    """Return a masked array's masked pixels as NaN, whatever lies under the mask; anything else as it is."""
    if isinstance(values, np.ma.MaskedArray) and values.dtype.kind in "uif" and np.ma.is_masked(values):
        return np.where(np.ma.getmaskarray(values), np.nan, values.data)
    return values


def _asarray(values: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    if np.ma.is_masked(values):
        raise ValueError(f"{name} must not have masked elements; fill them, for example with {name}.filled(0)")
    try:
        return np.asarray(values)
    except ValueError as error:  # ragged nested sequences
        raise TypeError(f"{name} must be an array of numbers: {error}") from None


def _numeric(image: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    array = as_real(image, name)
    if array.dtype.kind == "f" or (array.dtype.kind == "u" and array.dtype.itemsize <= 2):  # in any byte order
        return array
    raise TypeError(
        f"{name} must be uint8, uint16 or float (0..1), got dtype {array.dtype}; "
        "convert it, for example with image.astype(np.uint8)"
    )


def _check_image_shape(shape: tuple[int, ...], name: str) -> None:
    if len(shape) in (2, 3) and 0 not in shape and (len(shape) == 2 or shape[2] == 3):
        return
    hint = ""
    if len(shape) == 3 and shape[2] == 4:
        hint = "; leave the alpha channel out, for example image[..., :3]"
    elif len(shape) == 3 and shape[2] == 1:
        hint = "; a grey image is (H, W), for example image[..., 0]"
    elif len(shape) == 3 and shape[0] == 3:
        hint = "; channels come last, for example image.transpose(1, 2, 0)"
    raise ValueError(f"{name} must have shape (H, W) or (H, W, 3) with H, W >= 1, got {shape}{hint}")


def _finite_float32(array: npt.NDArray[Any], name: str, *, nan_ok: bool = False) -> FloatArray:
    with np.errstate(over="ignore"):  # too large for float32: infinite, and so refused
        result = np.ascontiguousarray(array, dtype=np.float32)
    bad = np.isinf(result) if nan_ok else ~np.isfinite(result)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        accepted = "finite numbers or NaN" if nan_ok else "finite numbers"
        raise ValueError(f"{name} must hold {accepted} (float32), got {array[where]} at index {where}")
    return result


def _check_float_range(array: FloatArray, name: str, least: float) -> None:
    low, high = float(array.min()), float(array.max())
    if low >= least and high <= FLOAT_RANGE[1]:
        return
    hint = "; clip it with numpy.clip(image, 0, 1)"
    if high > FLOAT_RANGE[1]:
        hint = f"; if it is 0..255 or 0..65535, divide it by {255 if high <= 255 else 65535}"
    raise ValueError(
        f"{name}, a float image, must hold values of 0..1 (at least {least:g}, at most {FLOAT_RANGE[1]:g}), "
        f"got {low:g} to {high:g}{hint}"
    )
