"""Linear mixed model by statsmodels' MixedLM, believed only where two optimisers agree: a check on `reml`.

Knows nothing of visits or discs. It gives estimates, standard errors and variances, and neither p nor interval:
statsmodels' own are Wald z, which for 7 to 24 subjects reject too often. Degrees of freedom are the caller's business.

Traps of statsmodels 0.15 that it guards against:

- `fit` stops where its first optimiser gives up: Orthodont, distance ~ age * Sex with random slopes, at a restricted
  log-likelihood of -217.6636 with a warning, another start at -217.1293 "converged"; the maximum is -216.2908.
- With a random-effect variance below 1e-10, fixed effects that are constant within subjects come out as 0 (issue
  #10239) and the log-likelihood as infinite. So every run is worked out anew by least squares at its variances.
- lbfgs dies or stays at zero variance; optimisers other than Powell's stall in front of it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams, VCSpec

from bedrest.errors import ModelError
from bedrest.statistics.estimators.mixedlm_problem import MixedProblem, Solution, mixed_problem, solve

OPTIMISERS = ("bfgs", "cg", "powell", "nm", "lbfgs")
STARTS = (1.0, 0.1, 0.01)  # random-effect variances over the residual variance, from which each sets out
MAX_ITERATIONS = 300  # statsmodels' 100 stops Nelder-Mead early; many more only prolong runs that are lost
AGREE = 1e-3  # restricted log-likelihoods that differ by more are different answers
SINGULAR = 1e-4  # a random-effect variance below this share of the residual variance counts as 0
_SOUND = 1e-4  # largest gap between statsmodels' fixed effects and ours, where y has an SD of 1


@dataclass(frozen=True)
class OptimiserRun:
    """One optimiser from one start.

    Attributes
    ----------
    optimiser, start : see `OPTIMISERS`, `STARTS`
    log_likelihood : restricted, at the variances where it stopped; NaN if it died
    converged : what the optimiser says of itself
    problem : why the run does not count; empty when it does
    warnings : what statsmodels and numpy warned of
    """

    optimiser: str
    start: float
    log_likelihood: float = math.nan
    converged: bool = False
    problem: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class MixedFit:
    """A mixed model that at least two optimisers agree on.

    Attributes
    ----------
    names : the p fixed effects
    estimates, standard_errors : shape (p,), in the unit of y over that of the covariate
    covariance : shape (p, p), of the estimates, at the estimated variances taken as known: no small-sample correction
    random_covariance : shape (q, q), of the random effects, in the units of their design
    components : variance of each component, in the squared unit of y
    residual_variance : in the squared unit of y
    log_likelihood : restricted, as nlme and lme4 report it
    n_observations, n_subjects : observations and groups
    agreeing : optimisers that converged within `AGREE` of the best
    runs : every optimiser and start
    singular : which variance is at or near 0, in words; empty when none is
    warnings : what statsmodels warned of in the agreeing runs, and which runs claimed a lower maximum
    """

    names: tuple[str, ...]
    estimates: np.ndarray
    standard_errors: np.ndarray
    covariance: np.ndarray
    random_covariance: np.ndarray
    components: dict[str, float]
    residual_variance: float
    log_likelihood: float
    n_observations: int
    n_subjects: int
    agreeing: tuple[str, ...]
    runs: tuple[OptimiserRun, ...]
    singular: str
    warnings: tuple[str, ...]

    @property
    def converged(self) -> bool:
        """Whether two optimisers converged to the best value: true of every fit that was not refused."""
        return len(self.agreeing) >= 2


def fit_mixedlm(
    y: np.ndarray,
    x: np.ndarray,
    *,
    groups: Sequence[object] | np.ndarray,
    names: Sequence[str],
    z: np.ndarray | None = None,
    components: Mapping[str, Sequence[object] | np.ndarray] | None = None,
    known_log_likelihood: float | None = None,
) -> MixedFit:
    """Fit y = x b + z u + components + e by restricted maximum likelihood.

    Parameters
    ----------
    y : shape (n,), one observation each, finite
    x : shape (n, p), fixed effects of full rank, with a column of ones if there is an intercept; any unit and centre
    groups : shape (n,), the subject of each observation, in any order
    names : the p columns of `x`
    z : shape (n, q), random effects of a subject with a free covariance matrix; a random intercept if absent, none if
        q is 0
    components : name -> shape (n,), labels within subjects (the disc, say); each label of a subject has an effect of
        its own with one common variance
    known_log_likelihood : of the same model by other means (`reml`): the search then ends with the first two
        optimisers that reach it, which takes a fifth of the time

    Raises
    ------
    ModelError
        If the model cannot be told from its data, or no two optimisers converge to the best log-likelihood.

    Notes
    -----
    7 to 24 subjects of 4 visits take 0.4 s (random intercept) or 1.6 s (random slopes, 3.6 s at worst). Of 240
    simulated cohorts, half of them with a variance of 0, one was refused and 100 were singular.
    """
    where = f"mixed model of {len(y)} observations"
    problem = mixed_problem(y, x, groups=groups, z=z, components=components or {}, where=where)
    if len(names) != x.shape[1]:
        raise ModelError(f"{x.shape[1]} names", f"{len(names)}", where, "Name every column of x.")
    done: list[tuple[OptimiserRun, Solution | None]] = []
    for start, optimiser in product(STARTS, OPTIMISERS):
        done.append(_run(problem, optimiser, start))
        if known_log_likelihood is not None and len(_agreeing([r for r, _ in done], known_log_likelihood)) > 1:
            break
    runs = tuple(run for run, _ in done)
    best, agreeing = _trusted(runs, where=where)
    solution = next(s for r, s in done if r is best and s is not None)
    fixed = problem.y_unit * problem.x_back
    random = problem.y_unit * problem.z_back
    covariance = fixed @ solution.covariance @ fixed.T
    return MixedFit(
        names=tuple(names),
        estimates=fixed @ solution.fixed,
        standard_errors=np.sqrt(np.diag(covariance)),
        covariance=covariance,
        random_covariance=random @ solution.random @ random.T,
        components={k: float(v) * problem.y_unit**2 for k, v in zip(problem.levels, solution.components, strict=True)},
        residual_variance=solution.residual * problem.y_unit**2,
        log_likelihood=best.log_likelihood,
        n_observations=problem.y.size,
        n_subjects=problem.n_subjects,
        agreeing=agreeing,
        runs=runs,
        singular=_singular(problem, solution),
        warnings=_words(runs, best=best),
    )


def _run(problem: MixedProblem, optimiser: str, start: float) -> tuple[OptimiserRun, Solution | None]:
    p, q = problem.x.shape[1], problem.z.shape[1]
    parts = VCSpec(
        list(problem.levels),
        [[[f"{j}" for j in range(m.shape[1])] for m in mats] for mats in problem.levels.values()],
        list(problem.levels.values()),
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        try:
            model = MixedLM(problem.y, problem.x, groups=problem.codes, exog_re=problem.z if q else None,
                            exog_vc=parts if problem.levels else None)
            begin = MixedLMParams.from_components(
                np.zeros(p), cov_re=start * np.eye(q), vcomp=np.full(len(problem.levels), start))
            found = model.fit(start_params=begin, method=optimiser, maxiter=MAX_ITERATIONS)
            random = np.asarray(found.cov_re, dtype=np.float64).reshape(q, q)
            solution = solve(problem, random, np.asarray(found.vcomp, dtype=np.float64), float(found.scale))
        except Exception as error:  # whatever one optimiser dies of, the others may answer
            return OptimiserRun(optimiser, start, problem=f"died: {type(error).__name__}: {error}"), None
    words = tuple(sorted({str(w.message) for w in caught}))
    gap = float(np.abs(np.asarray(found.fe_params) - solution.fixed).max())
    wrong = "" if gap <= _SOUND else (
        "its fixed effects are not the generalised least squares at its variances, the mark of statsmodels issue #10239"
    )
    value = solution.log_likelihood + problem.shift
    return OptimiserRun(optimiser, start, value, bool(found.converged), wrong, words), solution


def _agreeing(runs: Sequence[OptimiserRun], bar: float) -> list[OptimiserRun]:
    """The best run of each optimiser that converged within `AGREE` of the bar, or above it."""
    good = [r for r in runs if r.converged and not r.problem and r.log_likelihood >= bar - AGREE]
    return list({r.optimiser: r for r in sorted(good, key=lambda r: r.log_likelihood)}.values())


def _trusted(runs: Sequence[OptimiserRun], *, where: str) -> tuple[OptimiserRun, tuple[str, ...]]:
    """The best run that counts, and the optimisers that agree with it; the likelihood of every run sets the bar."""
    top = max((r.log_likelihood for r in runs if not math.isnan(r.log_likelihood)), default=math.nan)
    good = _agreeing(runs, top)
    agreeing = tuple(r.optimiser for r in good)
    if len(agreeing) < 2:
        found = "; ".join(_told([r for r in runs if r.optimiser == name]) for name in dict.fromkeys(
            r.optimiser for r in runs))
        remedy = "Take random effects out (slopes first), or rest on the model of `reml` alone."
        expected = f"two optimisers that converge within {AGREE:g} of the best restricted log-likelihood"
        raise ModelError(expected, found, where, remedy)
    return max(good, key=lambda r: r.log_likelihood), agreeing


def _told(runs: Sequence[OptimiserRun]) -> str:
    """One optimiser's best run in words."""
    run = max(runs, key=lambda r: -math.inf if math.isnan(r.log_likelihood) else r.log_likelihood)
    state = run.problem or ("converged" if run.converged else "not converged")
    return f"{run.optimiser} {run.log_likelihood:.4f} ({state})"


def _singular(problem: MixedProblem, solution: Solution) -> str:
    found = []
    if problem.z.shape[1]:
        share = float(np.linalg.eigvalsh(solution.random)[0]) / solution.residual
        if share < SINGULAR:
            what = "the random effect has" if problem.z.shape[1] == 1 else "a combination of the random effects has"
            found.append(f"{what} a variance of {max(share, 0):.1g} of the residual variance")
    for name, variance in zip(problem.levels, solution.components, strict=True):
        if variance / solution.residual < SINGULAR:
            found.append(f"component {name} has a variance of {variance / solution.residual:.1g} of the residual")
    return "; ".join(found)


def _words(runs: Sequence[OptimiserRun], *, best: OptimiserRun) -> tuple[str, ...]:
    told = dict.fromkeys(w for r in runs if r.log_likelihood >= best.log_likelihood - AGREE for w in r.warnings)
    lower = [
        f"{r.optimiser} from {r.start:g} claimed to converge {best.log_likelihood - r.log_likelihood:.3g} too low"
        for r in runs if r.converged and r.log_likelihood < best.log_likelihood - AGREE
    ]
    odd = [f"{r.optimiser} from {r.start:g}: {r.problem}" for r in runs if r.problem]
    return (*told, *lower, *odd)
