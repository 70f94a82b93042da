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
from bedrest.calibration.fitting import enlargement, fit_part, rounded
from bedrest.io.files import sha256_of, write_text
from bedrest.io.tables.markdown import markdown_table
from bedrest.longitudinal.error_model import USUAL_SHIFTS_SD, ErrorModel, Errors, errors_path, errors_text
from bedrest.vocabulary import FROM_ALL_VISITS, LEVELS, VolumeMethod

from pipelines.benchmarks.change.known_visits import measure_jobs
from pipelines.benchmarks.change.scores import column_of, pairs_of
from pipelines.benchmarks.change.synthetic_subjects import STANDARD, T1, T2, WATER, Condition, own_job
from pipelines.benchmarks.pages import Device, WeightsFile, check_subjects
from pipelines.benchmarks.volumes import errors_percent
from pipelines.command_line import run_command

SEED = 778_101  # the benchmark, training, calibration and the demo draw from seeds of their own
LEAST_ALONE = 4
LEAST_A_LEVEL = 8  # subjects' errors differ by an SD of 1.5 %: the mean of 8 is good to half a per cent


@dataclass(frozen=True)
class FitErrors:
    """Fit the standard errors of volumes to synthetic subjects; they are written beside the weights.

    Attributes
    ----------
    subjects
        Synthetic subjects with all Dixon contrasts; a quarter, but four at least, also with water, T2 or T1 alone, as
        far as the network knows them.
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
    wanted = subjects_by_condition(options.subjects)
    jobs = [own_job(i, condition, seed=SEED) for condition, n in wanted for i in range(n)
            if set(condition.contrasts) <= set(trained.contrasts)]
    fitted = fit_errors(measure_jobs(trained, jobs, device=device))
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
        bias: dict[str, float] = {}  # that of joint volumes is that of those by deformation, which have their mean
        for method in (VolumeMethod.SINGLE, *reversed(FROM_ALL_VISITS)):
            pairs = pairs_of(rows[rows[column_of(method)].notna()], method)
            again = pairs.dropna(subset="error_percent")
            if again.empty:
                continue
            errors = errors_percent(rows[column_of(method)], rows["true_mm3"]).dropna() / 100
            measured = rows.loc[errors.index]
            if method is VolumeMethod.JOINT:
                bias = level_bias(errors, measured)
            errors = (1 + errors) / (1 + measured["level"].map(bias).fillna(0.0)) - 1
            grew = again["true_after_mm3"] / again["true_before_mm3"]
            ln = np.log(again["after_mm3"] / again["before_mm3"] / grew) / np.sqrt(2)
            of = "deformation_ln_se" if method is VolumeMethod.DEFORMATION else "boundary_uncertainty"
            # Of two uncertainties, the variances are averaged.
            both = np.hypot(again[f"{of}_before"], again[f"{of}_after"]).to_numpy() / np.sqrt(2)
            few, soft = enlargement(again["subject"].nunique()), method in FROM_ALL_VISITS
            shifts_sd = (measured["grid_shifts_sd_mm3"] / measured[column_of(method)]).dropna()
            usual = rounded(np.sqrt((shifts_sd**2).mean())) if len(shifts_sd) else USUAL_SHIFTS_SD
            fitted.setdefault(str(contrasts), {})[method.value] = Errors(
                truth=fit_part(few * errors.to_numpy(), measured["boundary_uncertainty"].to_numpy() if soft else None),
                repeat=fit_part(few * ln.to_numpy(), both if soft else None),
                discs=int(measured[["subject", "level"]].drop_duplicates().shape[0]),
                bias=bias if method is VolumeMethod.JOINT else {}, usual_shifts_sd=usual)
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
    return {name: rounded(means[name] if enough else errors.mean()) for name in LEVELS if name in means}


if __name__ == "__main__":
    sys.exit(run_command(FitErrors, run, module="pipelines.benchmarks.change.fit_errors"))
