"""How far volumes are from the truth and from themselves: the error model of a network, fitted on synthetic subjects.

`python -m pipelines.benchmarks.change.fit_errors` writes it beside the weights. Other subjects than those of the
benchmark. Each variance is floor^2 + (slope x boundary uncertainty)^2 (`longitudinal.error_model`), of errors that
are normal around 0: what bias is left counts as error. An SD estimated on few subjects may be too small; it is enlarged
by as much as a t interval with one degree of freedom a subject is wider than a normal one, at 95 %. Real scans have
faults that synthetic ones lack.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
from bedrest.io.files import sha256_of, write_text
from bedrest.io.tables.markdown import markdown_table
from bedrest.longitudinal.error_model import ErrorModel, ErrorPart, Errors, errors_path, errors_text
from bedrest.vocabulary import LEVELS, VolumeMethod
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import norm, t

from pipelines.benchmarks.change.scores import column_of, pairs_of
from pipelines.benchmarks.change.synthetic_subjects import STANDARD, T1, T2, WATER, Condition, measure_subjects
from pipelines.benchmarks.pages import Device, WeightsFile, check_subjects
from pipelines.benchmarks.volumes import errors_percent
from pipelines.command_line import run_command

SEED = 778_101  # the benchmark, training, calibration and the demo draw from seeds of their own
LEAST_ALONE = 4
LEAST_A_LEVEL = 8  # subjects' errors differ by an SD of 1.5 %: the mean of 8 is good to half a per cent
DIGITS = 4  # kept of every fitted number: more would tell one processor from another


@dataclass(frozen=True)
class FitErrors:
    """Fit the standard errors of volumes to synthetic subjects; they are written beside the weights.

    Attributes
    ----------
    subjects
        Synthetic subjects with all Dixon contrasts; a quarter, but four at least, also with water, T2 and T1 alone,
        as far as the weights know them.
    device
        Where the network runs.
    weights
        Network whose errors are fitted; default: the shipped one.
    """

    subjects: int = 16
    device: Device = "cpu"
    weights: WeightsFile = None


def run(options: FitErrors) -> int:
    """Measure synthetic subjects, fit, write, print."""
    from bedrest.segmentation.device import resolve_device
    from bedrest.segmentation.weights import chosen_weights, load_weights

    check_subjects(options.subjects)
    weights = chosen_weights(options.weights)
    trained, device = load_weights(weights), resolve_device(options.device)
    fitted = fit_errors(measure_subjects(trained, subjects_by_condition(options.subjects), seed=SEED, device=device))
    write_text(errors_path(weights), errors_text(ErrorModel(sha256_of(weights), fitted)))
    print(markdown_table(
        ["contrasts", "method", "truth: floor", "slope", "repeat: floor", "slope", "discs"],
        [[contrasts, method, *(f"{x:g}" for x in (e.truth.floor, e.truth.slope, e.repeat.floor, e.repeat.slope)),
          str(e.discs)] for contrasts, by_method in fitted.items() for method, e in by_method.items()]))
    print(f"Errors of {weights.name}, from synthetic scans: {errors_path(weights)}")
    return 0


def subjects_by_condition(subjects: int) -> list[tuple[Condition, int]]:
    """How many subjects are scanned with what: with one contrast alone a quarter, but 4 at least where there are 4."""
    alone = min(subjects, max(LEAST_ALONE, subjects // 4))
    return [(STANDARD, subjects), (WATER, alone), (T2, alone), (T1, alone)]


def fit_errors(frame: pd.DataFrame) -> dict[str, dict[str, Errors]]:
    """Errors by contrasts and method, ready for an `ErrorModel`.

    Parameters
    ----------
    frame : DataFrame, as in `CHANGE_DISCS`; of each set of contrasts, one condition

    Notes
    -----
    Against the truth, every visit counts; against itself, each later visit and the baseline, as the difference of
    their ln, freed from true growth, over the root of 2. A method of which no disc was measured twice has no errors.
    """
    fitted: dict[str, dict[str, Errors]] = {}
    for contrasts, rows in frame.groupby("contrasts", sort=True):
        for method in (VolumeMethod.SINGLE, VolumeMethod.JOINT):
            soft = method is VolumeMethod.JOINT
            pairs = pairs_of(rows, method)
            again = pairs.dropna(subset="error_percent")
            if again.empty:
                continue
            errors = errors_percent(rows[column_of(method)], rows["true_mm3"]).dropna() / 100
            measured = rows.loc[errors.index]
            bias = level_bias(errors, measured) if soft else {}
            errors = (1 + errors) / (1 + measured["level"].map(bias).fillna(0.0)) - 1
            grew = again["true_after_mm3"] / again["true_before_mm3"]
            ln = np.log(again["after_mm3"] / again["before_mm3"] / grew) / np.sqrt(2)
            # Of two uncertainties, the variances are averaged.
            both = np.hypot(again["boundary_uncertainty_before"], again["boundary_uncertainty_after"]) / np.sqrt(2)
            few = float(t.ppf(0.975, again["subject"].nunique()) / norm.ppf(0.975))
            uncertainty = measured["boundary_uncertainty"]
            fitted.setdefault(str(contrasts), {})[method.value] = Errors(
                truth=fit_part(few * errors.to_numpy(), uncertainty.to_numpy() if soft else None),
                repeat=fit_part(few * ln.to_numpy(), both.to_numpy() if soft else None),
                discs=int(measured[["subject", "level"]].drop_duplicates().shape[0]), bias=bias)
    return fitted


def level_bias(errors: pd.Series, rows: pd.DataFrame) -> dict[str, float]:
    """Mean error of each level, relative; of all levels together where subjects are too few for a level's own.

    Parameters
    ----------
    errors : relative, one a volume
    rows : level and subject of each
    """
    enough = rows["subject"].nunique() >= LEAST_A_LEVEL
    means = errors.groupby(rows["level"]).mean()
    return {name: _rounded(means[name] if enough else errors.mean()) for name in LEVELS if name in means}


def fit_part(errors: NDArray[np.float64], uncertainty: NDArray[np.float64] | None) -> ErrorPart:
    """Floor and slope by maximum likelihood, both at least 0.

    Parameters
    ----------
    errors : (n,), relative, n at least 1
    uncertainty : (n,), boundary uncertainty, 0 to 1; None: a floor alone

    Notes
    -----
    The variance is total x ((1 - w) + w x uncertainty^2 over its mean), 0 <= w <= 1. The best total for any w is known,
    so only w is searched: no start value, no scale, and both ends can be reached.
    """
    rms = float(np.sqrt(np.mean(errors**2)))
    if uncertainty is None or rms == 0 or np.ptp(uncertainty) == 0:
        return ErrorPart(_rounded(rms))
    square = np.maximum(uncertainty**2 / np.mean(uncertainty**2), 1e-12)

    def shape(w: float) -> NDArray[np.float64]:
        return (1 - w) + w * square

    def badness(w: float) -> float:
        return float(np.log(np.mean(errors**2 / shape(w))) + np.mean(np.log(shape(w))))

    tried = np.linspace(0, 1, 51)
    best = tried[np.argmin([badness(w) for w in tried])]
    near = minimize_scalar(badness, bounds=(max(best - 0.02, 0), min(best + 0.02, 1)), method="bounded")
    w = min((0.0, 1.0, float(near.x)), key=badness)
    total = float(np.mean(errors**2 / shape(w)))
    return ErrorPart(_rounded(np.sqrt(total * (1 - w))), _rounded(np.sqrt(total * w / np.mean(uncertainty**2))))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


if __name__ == "__main__":
    sys.exit(run_command(FitErrors, run, module="pipelines.benchmarks.change.fit_errors"))
