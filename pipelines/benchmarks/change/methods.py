"""Which way to a change wins: volumes of each visit alone, joint volumes, deformation, or two of them together.

`python -m pipelines.benchmarks.change.methods` reads the table of the change benchmark, and measures nothing itself.
Weights of a regression are fitted on all makers with true changes but the one that judges them.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from bedrest.io.tables.markdown import markdown_table
from bedrest.io.tables.typed_csv import read_table
from bedrest.tables.change import half_width
from scipy.stats import linregress

from pipelines.benchmarks.pages import PageFile, check_page
from pipelines.benchmarks.result_tables import BASELINE, CHANGE_DISCS
from pipelines.command_line import command_text, run_command

MODULE = "pipelines.benchmarks.change.methods"
WAYS = {"single": "each visit alone", "joint": "joint", "deformation": "deformation",
        "weighted": "both, by their variances", "regression": "both, by regression on the other makers"}
MIN_FIT = 10  # changes from other makers, for a regression
_HEAD = """# Ways to measure a change

Every number here comes from one command, which reads the discs of the [change benchmark](change_benchmark.md). Changes
are 100 ln(after / before) of a disc since baseline. Where a disc lacks a way it counts in none, so that all ways are
compared on the same discs. Covered: true changes inside deformation's own 95 % intervals.

- made by `{command}`

{table}
"""


@dataclass(frozen=True)
class ChangeMethods:
    """Compare ways to measure a change, on the discs of the change benchmark.

    Attributes
    ----------
    discs
        Table of every disc that the change benchmark wrote.
    output
        The page.
    """

    discs: Path = Path("docs/change_benchmark.csv")
    output: PageFile = Path("docs/change_methods.md")


def run(options: ChangeMethods) -> int:
    """Compare, print, write the page."""
    from bedrest.io.files import write_text

    check_page(options.output)
    table = comparison(changes(read_table(options.discs, CHANGE_DISCS)))
    text = markdown_table(["maker", "contrasts", "way", "changes", "SD of error", "slope", "unchanged: mean", "SD",
                           "covered"],
                          [[str(r.maker), str(r.condition), WAYS[r.way], str(r.n), *(_number(x) for x in (
                              r.error_sd, r.slope, r.null_mean, r.null_sd, r.covered))] for r in table.itertuples()])
    write_text(options.output, _HEAD.format(command=command_text(options, module=MODULE), table=text))
    print(text)
    return 0


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def changes(discs: pd.DataFrame) -> pd.DataFrame:
    """Changes since baseline of discs that have all ways, in 100 ln.

    Parameters
    ----------
    discs : as in `CHANGE_DISCS`

    Returns
    -------
    DataFrame
        maker, condition, subject, session, level; true, single, joint, deformation; se, of deformation, and joint_se,
        from the scatter of the grid shifts.
    """
    keys = ["maker", "condition", "subject", "level"]
    values = pd.DataFrame({
        "true": 100 * np.log1p(discs["true_change_percent"] / 100), "single": 100 * np.log(discs["single_mm3"]),
        "joint": 100 * np.log(discs["joint_mm3"]), "deformation": 100 * discs["deformation_ln"],
        "se": 100 * discs["deformation_ln_se"], "joint_se": 100 * discs["grid_shifts_sd_mm3"] / discs["joint_mm3"]})
    visits = pd.concat([discs[[*keys, "session"]], values], axis=1)
    first = visits[visits["session"] == BASELINE].set_index(keys)
    later = visits[visits["session"] != BASELINE]
    before = first.loc[pd.MultiIndex.from_frame(later[keys])].reset_index(drop=True)
    later = later.reset_index(drop=True)
    for name in ("single", "joint", "deformation"):
        later[name] -= before[name]
    for name in ("se", "joint_se"):
        later[name] = np.hypot(later[name], before[name])
    return later.dropna(subset=["true", "single", "joint", "deformation"]).reset_index(drop=True)


def comparison(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each maker, condition and way. `rows`: as `changes` gives them."""
    rows = rows.copy()
    share = rows["joint_se"] ** 2 / (rows["joint_se"] ** 2 + rows["se"] ** 2)
    rows["weighted"] = share * rows["deformation"] + (1 - share) * rows["joint"]
    rows["regression"] = np.nan
    changing = rows.groupby("maker")["true"].transform("nunique") > 1  # others would teach that nothing ever changes
    for maker in rows["maker"].unique():
        ours = rows["maker"] == maker
        fitted_on = rows[changing & ~ours]
        if len(fitted_on) >= MIN_FIT:
            weights = np.linalg.lstsq(fitted_on[["joint", "deformation"]], fitted_on["true"], rcond=None)[0]
            rows.loc[ours, "regression"] = rows.loc[ours, ["joint", "deformation"]] @ weights
    return pd.DataFrame([{"maker": maker, "condition": condition, "way": way, **_scores(part, way)}
                         for (maker, condition), part in rows.groupby(["maker", "condition"], sort=False)
                         for way in WAYS if part[way].notna().any()])


def _scores(part: pd.DataFrame, way: str) -> dict[str, float]:
    error = part[way] - part["true"]
    null = part.loc[part["true"] == 0, way]
    covered = 100 * float((error.abs() <= half_width(1) * part["se"]).mean()) if way == "deformation" else math.nan
    slope = float(linregress(part["true"], part[way]).slope) if part["true"].nunique() > 1 else math.nan
    return {"n": len(part), "error_sd": float(error.std()), "null_mean": float(null.mean()),
            "null_sd": float(null.std()), "slope": slope, "covered": covered}


if __name__ == "__main__":
    sys.exit(run_command(ChangeMethods, run, module=MODULE))
