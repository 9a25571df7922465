from .deconvolution.channels import deblur
from .deconvolution.deconvolve import deconvolve
from .deconvolution.result import Candidate, DeconvolutionResult
from .errors import Cancelled, FastRefocusError, ModelError, PhotoError
from .optics.calibration import DiskFit, fit_disk_psf
from .optics.lens import ThinLens
from .optics.psf import disk_psf, gaussian_psf, polygon_psf
from .photo import Photo, read_photo, write_photo
from .rendering.thresholds import PAPER_A_FIGURE_5, ThresholdBlur, blur_by_depth

__version__: str

__all__ = [
    "PAPER_A_FIGURE_5",
    "Cancelled",
    "Candidate",
    "DeconvolutionResult",
    "DiskFit",
    "FastRefocusError",
    "ModelError",
    "Photo",
    "PhotoError",
    "ThinLens",
    "ThresholdBlur",
    "blur_by_depth",
    "deblur",
    "deconvolve",
    "disk_psf",
    "fit_disk_psf",
    "gaussian_psf",
    "polygon_psf",
    "read_photo",
    "write_photo",
]
