from typing import TypeVar

import numpy as np
import numpy.typing as npt

_Pixel = TypeVar("_Pixel", np.uint8, np.float32)

def gather_patches(
    image: npt.NDArray[_Pixel], mask: npt.NDArray[np.bool_] | None = None, size: int = 5
) -> tuple[npt.NDArray[_Pixel], npt.NDArray[np.int32]]: ...
