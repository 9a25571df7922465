from .deconvolution.deblur import deblur
from .deconvolution.deconvolve import deconvolve
from .deconvolution.result import Candidate, DeconvolutionResult
from .depth.blur_estimate import BlurEstimate, estimate_blur
from .depth.calibration import DepthCalibration, calibrate_depth, calibrate_depth_by_blur
from .depth.depth_from_blur import depth_from_blur
from .depth.depth_map import DepthMap
from .depth.estimate import estimate_depth
from .depth.files.depth_files import read_depth, write_depth
from .depth.postprocess import postprocess_depth
from .depth.refine import refine_depth
from .depth.resize import resize_depth
from .errors import (
    Cancelled,
    ConvergenceWarning,
    DepthFileError,
    FastRefocusError,
    LibraryError,
    ModelError,
    PhotoError,
    RegistrationWarning,
    ResidualWarning,
)
from .optics.aperture import Aperture
from .optics.calibration import DiskFit, fit_disk_psf
from .optics.coc import DepthRange, coc_from_depth, missing_blur
from .optics.focus import FocusBand
from .optics.lens import ThinLens
from .optics.psf import disk_psf, gaussian_psf, polygon_psf
from .optics.psf_fit import PsfFit, fit_psf
from .optics.psf_grid import PsfGrid, fit_psf_grid
from .photo import Photo, read_photo, write_photo
from .pipeline import RefocusResult, refocus
from .progress import Callback
from .rendering.defocus import render_defocus, render_focus_sweep
from .rendering.thresholds import PAPER_A_FIGURE_5, ThresholdBlur, blur_by_depth
from .synthesis.library import PatchLibrary
from .synthesis.repair import ExamplePhoto, RepairResult, refocus_from_examples
from .synthesis.result import Provenance, SynthesisResult
from .synthesis.synthesize import AssignmentResult, synthesize

__version__: str

__all__ = [
    "PAPER_A_FIGURE_5",
    "Aperture",
    "AssignmentResult",
    "BlurEstimate",
    "Callback",
    "Cancelled",
    "Candidate",
    "ConvergenceWarning",
    "DeconvolutionResult",
    "DepthCalibration",
    "DepthFileError",
    "DepthMap",
    "DepthRange",
    "DiskFit",
    "ExamplePhoto",
    "FastRefocusError",
    "FocusBand",
    "LibraryError",
    "ModelError",
    "PatchLibrary",
    "Photo",
    "PhotoError",
    "Provenance",
    "PsfFit",
    "PsfGrid",
    "RefocusResult",
    "RegistrationWarning",
    "RepairResult",
    "ResidualWarning",
    "SynthesisResult",
    "ThinLens",
    "ThresholdBlur",
    "blur_by_depth",
    "calibrate_depth",
    "calibrate_depth_by_blur",
    "coc_from_depth",
    "deblur",
    "deconvolve",
    "depth_from_blur",
    "disk_psf",
    "estimate_blur",
    "estimate_depth",
    "fit_disk_psf",
    "fit_psf",
    "fit_psf_grid",
    "gaussian_psf",
    "missing_blur",
    "polygon_psf",
    "postprocess_depth",
    "read_depth",
    "read_photo",
    "refine_depth",
    "refocus",
    "refocus_from_examples",
    "render_defocus",
    "render_focus_sweep",
    "resize_depth",
    "synthesize",
    "write_depth",
    "write_photo",
]
