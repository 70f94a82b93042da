"""A random intercept of each subject and one residual variance by statsmodels' MixedLM: a check on `reml`.

statsmodels is believed only where our own restricted log-likelihood, at the variances where it stopped, is as high as
the maximum that `reml` found. Gives neither p nor interval: statsmodels' own are Wald z, which reject too often with 7
to 24 subjects. Must not know visits or discs.

Traps of statsmodels 0.15 that it guards against: an optimiser may give up early and still report convergence; with a
random-effect variance below 1e-10, fixed effects that are constant within subjects come out as 0 (issue #10239), so
estimates are worked out anew by least squares at its variances; lbfgs dies or stays at zero variance.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

from bedrest.errors import ModelError
from bedrest.statistics.estimators.covariance import LinearCovariance, random_term, residual_terms
from bedrest.statistics.estimators.reml import AGREE, at_variances, fit_reml

OPTIMISERS = ("bfgs", "cg", "powell", "nm")
ENOUGH = 2  # optimisers that reach the maximum, of which the better one is kept
MAX_ITERATIONS = 300  # statsmodels' 100 stops Nelder-Mead early; many more only prolong runs that are lost
SINGULAR = 1e-4  # a subject variance below this share of the residual variance counts as 0
_SOUND = 1e-4  # largest gap between statsmodels' fixed effects and ours, where y has an SD of 1


@dataclass(frozen=True)
class MixedLMFit:
    """A fit by statsmodels that our own restricted likelihood confirms.

    `covariance` of the estimates takes the variances as known: no small-sample correction. Variances are in the squared
    unit of y; the restricted log-likelihood is as nlme and lme4 report it.
    """

    estimates: np.ndarray
    covariance: np.ndarray
    subject_variance: float
    residual_variance: float
    log_likelihood: float
    optimiser: str

    @property
    def singular(self) -> str:
        """Which variance is at or near 0, in words; empty when none is."""
        share = self.subject_variance / self.residual_variance
        what = f"the random effect has a variance of {max(share, 0):.1g} of the residual variance"
        return what if share < SINGULAR else ""


def fit_mixedlm(y: np.ndarray, x: np.ndarray, *, subjects: np.ndarray) -> MixedLMFit:
    """Fit y = x b + u(subject) + e by restricted maximum likelihood.

    `y`, shape (n,), finite; `x`, shape (n, p), of full rank with a column of ones, any unit and centre; `subjects`,
    shape (n,), in any order. ModelError if `reml` cannot fit the model, or no optimiser of statsmodels reaches its log-
    likelihood.
    """
    y, x = np.asarray(y, dtype=np.float64), np.asarray(x, dtype=np.float64)
    structure = LinearCovariance((random_term("subject", subjects), *residual_terms([""] * y.size)))
    maximum = fit_reml(y, x, clusters=subjects, structure=structure).log_likelihood
    # Optimisers like a y of SD 1 and orthogonal columns of mean square 1; the model stays the same.
    basis, back = np.linalg.qr(x)
    columns = basis * math.sqrt(y.size)
    unit = float(np.std(y - basis @ (basis.T @ y)))
    codes = np.unique(subjects, return_inverse=True)[1]
    confirmed: list[MixedLMFit] = []
    attempts = []
    for optimiser in OPTIMISERS:
        try:
            fixed, phi, converged = _run(y / unit, columns, codes, optimiser)
            estimates, covariance, likelihood = at_variances(y, x, clusters=subjects, structure=structure,
                                                             phi=phi * unit**2)
        except Exception as error:  # whatever one optimiser dies of, the next one may answer
            attempts.append(f"{optimiser}: {type(error).__name__}: {error}")
            continue
        gap = float(np.abs(fixed - back @ estimates / (math.sqrt(y.size) * unit)).max())
        if converged and gap <= _SOUND and likelihood >= maximum - AGREE:
            subject_variance, residual_variance = phi * unit**2
            confirmed.append(MixedLMFit(estimates, covariance, float(subject_variance), float(residual_variance),
                                        likelihood, optimiser))
            if len(confirmed) == ENOUGH:
                break
            continue
        state = "not converged" if not converged else "converged" if gap <= _SOUND else (
            "its fixed effects are not the generalised least squares at its variances, the mark of statsmodels issue "
            "#10239")
        attempts.append(f"{optimiser} {likelihood:.4f} ({state})")
    if confirmed:
        return max(confirmed, key=lambda fit: fit.log_likelihood)
    raise ModelError(f"an optimiser that converges within {AGREE:g} of the restricted log-likelihood of REML, "
                     f"{maximum:.4f}", "; ".join(attempts), f"MixedLM of {y.size} observations",
                     "Rely on the primary model alone.")


def _run(y: np.ndarray, x: np.ndarray, codes: np.ndarray, optimiser: str) -> tuple[np.ndarray, np.ndarray, bool]:
    """statsmodels' fixed effects, its variances (subject, residual), and whether it says that it converged."""
    begin = MixedLMParams.from_components(np.zeros(x.shape[1]), cov_re=np.eye(1), vcomp=np.zeros(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of no use: our own likelihood judges the result
        result = MixedLM(y, x, groups=codes).fit(start_params=begin, method=optimiser, maxiter=MAX_ITERATIONS)
    phi = np.array([float(np.asarray(result.cov_re)[0, 0]), float(result.scale)])
    return np.asarray(result.fe_params), phi, bool(result.converged)
