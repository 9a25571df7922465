from .deconvolution.channels import deblur
from .deconvolution.deconvolve import deconvolve
from .deconvolution.result import Candidate, DeconvolutionResult
from .depth.depth_map import DepthMap
from .depth.onnx_model import estimate_depth
from .depth.postprocess import postprocess_depth
from .errors import Cancelled, FastRefocusError, ModelError, PhotoError
from .optics.calibration import DiskFit, fit_disk_psf
from .optics.lens import ThinLens
from .optics.psf import disk_psf, gaussian_psf, polygon_psf
from .photo import Photo, read_photo, write_photo
from .pipeline import RefocusResult, refocus
from .progress import Callback
from .rendering.thresholds import PAPER_A_FIGURE_5, ThresholdBlur, blur_by_depth

__version__: str

__all__ = [
    "PAPER_A_FIGURE_5",
    "Callback",
    "Cancelled",
    "Candidate",
    "DeconvolutionResult",
    "DepthMap",
    "DiskFit",
    "FastRefocusError",
    "ModelError",
    "Photo",
    "PhotoError",
    "RefocusResult",
    "ThinLens",
    "ThresholdBlur",
    "blur_by_depth",
    "deblur",
    "deconvolve",
    "disk_psf",
    "estimate_depth",
    "fit_disk_psf",
    "gaussian_psf",
    "polygon_psf",
    "postprocess_depth",
    "read_photo",
    "refocus",
    "write_photo",
]
