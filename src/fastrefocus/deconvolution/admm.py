"""ADMM for deconvolution: min over x of 1/2 |A x - b|^2 + lam TV(x), A being one blur or several.

Boyd et al. 2011; paper A, section 3.4, calls the three steps x-, z- and u-update. An iteration is one filter in the
Fourier domain, which is the data term's x-update, and one pass over the pixels for each split (z- and u-update).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fastrefocus.arrays import FloatArray, join_channels
from fastrefocus.deconvolution.data_terms import CircularData, DataTerm, JointData
from fastrefocus.deconvolution.priors import Sums, TotalVariation, ValueRange
from fastrefocus.deconvolution.problem import Problem
from fastrefocus.deconvolution.result import DeconvolutionResult, psnr_db
from fastrefocus.fft import ComplexArray, RealFFT2
from fastrefocus.parallel import Map

_ROBUST_ITERATION = 15


@dataclass(frozen=True, kw_only=True)
class AdmmOptions:
    """Parameters of one run; `fastrefocus.deconvolve` describes them."""

    lam: float
    rho: float
    doublings: Sequence[int]  # the iterations in which rho is doubled
    relaxation: float
    num_iter: int
    tol: float
    tv: str
    value_range: tuple[float, float] | None = None
    robust: bool = False  # pixels that the blur does not explain count less from the 15th iteration on


def solve(
    problems: Sequence[Problem], options: AdmmOptions, run: Map, progress: Callable[[int], None]
) -> list[DeconvolutionResult]:
    """Solve some problems side by side, by way of `run`; `progress` is told how much of all their iterations is done.

    Every iteration starts and ends in the calling thread, so that it can be interrupted.
    """
    descents = run(lambda problem: _Descent(problem, options), problems)
    active = descents
    for iteration in range(1, options.num_iter + 1):
        groups = [group for descent in active for group in descent.groups]
        steps = iter(run(_Group.iterate, groups))
        for descent in active:
            descent.record([next(steps) for _ in descent.groups])
        if options.robust and iteration == _ROBUST_ITERATION:
            run(_Group.distrust_outliers, groups)
        if not options.robust or iteration > _ROBUST_ITERATION:
            active = [descent for descent in active if not descent.change[-1] < options.tol]
        progress((len(problems) - len(active)) * options.num_iter + len(active) * iteration)
        if not active:
            break
    return [descent.result(options.lam) for descent in descents]


class _Group:
    """The state of the channels that are solved together: one, or all for vector TV."""

    def __init__(self, problem: Problem, channels: slice, options: AdmmOptions) -> None:
        planes = problem.planes[channels]
        clipped = None if problem.clipped is None else problem.clipped[channels]
        canvas = self._canvas = problem.canvas
        self._prior = TotalVariation(
            len(planes), canvas, lam=options.lam, rho=options.rho, relaxation=options.relaxation,
            isotropic=options.tv != "anisotropic",
        )  # fmt: skip
        self._doublings = options.doublings
        self._count = 0
        self._value_range = options.value_range
        self._range: ValueRange | None = None
        if options.value_range is not None:
            start = np.stack([canvas.extend(plane) for plane in planes])
            self._range = ValueRange(start, *options.value_range, relaxation=options.relaxation)
        self._data: DataTerm
        if problem.weights is None:
            self._data = CircularData(planes, problem.psfs[0], canvas)
        else:
            self._data = JointData(
                planes, problem.psfs, problem.weights, problem.trust, canvas,
                clipped=clipped, relaxation=options.relaxation,
            )  # fmt: skip
        self._penalise()
        self._stack = len(planes), 1 + self._data.splits
        self._transform = RealFFT2(canvas.shape, count=self._stack[0] * self._stack[1])
        self._right_side = self._transform.input.reshape(*self._stack, *canvas.shape)
        self._images = self._transform.output.reshape(*self._stack, *canvas.shape)
        self._right_side[...] = 0
        if self._range is not None:
            self._range.begin(self._right_side)
        self._data.begin(self._right_side)

    def _penalise(self) -> None:
        quadratic = self._prior.quadratic()
        self._data.penalise(quadratic if self._range is None else quadratic + self._range.quadratic())

    def images(self) -> list[FloatArray]:
        planes = [self._canvas.crop(plane) for plane in self._images[:, 0]]
        return planes if self._value_range is None else [np.clip(plane, *self._value_range) for plane in planes]

    def distrust_outliers(self) -> None:
        assert isinstance(self._data, JointData)
        self._data.distrust_outliers(self._images)

    def residuals(self) -> list[FloatArray]:
        return self._data.residuals(self._images)

    def iterate(self) -> tuple[float, Sums]:
        """Return the data term of the objective, and the prior's sums."""
        self._transform.filter(self._solve)
        self._count += 1
        if self._count in self._doublings:
            self._prior.double_penalty()
            self._penalise()
        sums = self._prior.update(self._images, self._right_side)
        if self._range is not None:
            self._range.update(self._images, self._right_side)
        return self._data.update(self._images, self._right_side), sums

    def _solve(self, block: ComplexArray, columns: slice) -> None:
        self._data.solve(block.reshape(*self._stack, *block.shape[1:]), columns)


class _Descent:
    """One problem on its way to the minimum, and the histories."""

    def __init__(self, problem: Problem, options: AdmmOptions) -> None:
        size = len(problem.planes) if options.tv == "vector" else 1
        self.groups = [_Group(problem, slice(c, c + size), options) for c in range(0, len(problem.planes), size)]
        self.change: list[float] = []
        self._objective: list[float] = []
        self._residual: list[float] = []
        self._psnr: list[float] = []
        self._reference = problem.reference

    def record(self, steps: Sequence[tuple[float, Sums]]) -> None:
        """Add an iteration to the histories: what each group returned."""
        misfits, sums = zip(*steps, strict=True)
        self._objective.append(sum(misfits) + sum(s.penalty for s in sums))
        self._residual.append(_ratio(sum(s.violation for s in sums), sum(s.gradient for s in sums)))
        self.change.append(_ratio(sum(s.change for s in sums), sum(s.energy for s in sums)))
        if self._reference is not None:
            self._psnr.append(psnr_db(self._image(), self._reference))

    def result(self, lam: float) -> DeconvolutionResult:
        return DeconvolutionResult(
            image=self._image(),
            lam=lam,
            num_iter=len(self.change),
            objective=np.array(self._objective),
            residual=np.array(self._residual),
            change=np.array(self.change),
            psnr=None if self._reference is None else np.array(self._psnr),
            reblur_residual=join_channels([plane for group in self.groups for plane in group.residuals()]),
        )

    def _image(self) -> FloatArray:
        return join_channels([plane for group in self.groups for plane in group.images()])


def _ratio(part: float, whole: float) -> float:
    return float(np.sqrt(part / whole)) if whole > 0 else 0.0
