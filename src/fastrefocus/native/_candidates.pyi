import numpy as np
import numpy.typing as npt

_Int32 = npt.NDArray[np.int32]
_Int64 = npt.NDArray[np.int64]
_Bytes = npt.NDArray[np.uint8]

def rescore(patches: _Bytes, queries: _Bytes, found: _Int64) -> _Int32: ...
def distinct_colours(
    distances: _Int32,
    found: _Int64,
    colours: npt.NDArray[np.uint32],
    nearest_distances: _Int32,
    nearest: _Int32,
) -> _Int32: ...
def cluster_colours(colours: _Bytes, weights: _Int64, wanted: int, rounds: int) -> tuple[_Bytes, _Int64, _Int32]: ...
