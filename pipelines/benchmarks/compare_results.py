"""Do two result folders of one study hold the same numbers, though columns were renamed?

`python -m pipelines.benchmarks.compare_results --older FOLDER --newer FOLDER`. Every table of the older folder is
looked up in the newer one; rows are matched by the table's key. Texts that changed on purpose are left out (`WORDS`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from bedrest.schemas import TABLES, Table

from pipelines.command_line import run_command

# Column of the older folder -> that of the newer one.
RENAMED = {
    "change": {"volume_reference_mm3": "reference_value", "volume_mm3": "value", "change_mm3": "change"},
    "joint": {"looks": "grid_shifts", "looks_sd_percent": "grid_shifts_sd_percent", "softness": "boundary_uncertainty",
              "turn_deg": "rotation_deg"},
}
VALUES = {"model": {"secondary": "mixedlm"}}  # of text columns: older -> newer
WORDS = ("reason", "findings", "warnings", "random", "analysis", "family", "df_method", "method", "band_method",
         "seconds", "codes", "signals_reason", "path")


@dataclass(frozen=True)
class CompareResults:
    """Compare the tables of two result folders of one study.

    Attributes
    ----------
    older, newer
        Result folders, each with `tables/`.
    tolerance
        Largest relative difference of a number that counts as equal; an optimiser (MixedLM) stops within 1e-8.
    """

    older: Path
    newer: Path
    tolerance: float = 1e-8


@dataclass(frozen=True)
class TableDifference:
    """What one table showed: rows and columns compared, the largest relative difference, and what does not match."""

    name: str
    rows: int = 0
    columns: int = 0
    largest: float = 0.0
    faults: tuple[str, ...] = ()


def compare_table(older: pd.DataFrame, newer: pd.DataFrame, table: Table, *, tolerance: float) -> TableDifference:
    """Match the rows of two versions of a table by its key and compare every column that both have.

    Parameters
    ----------
    older, newer : DataFrame, all columns text as in the files, a missing value empty
    table : schema of the newer one; key columns that the older one lacks are left out
    tolerance : largest relative difference of a number
    """
    older = older.rename(columns=RENAMED.get(table.name, {})).replace(VALUES)
    key = [c for c in table.key if c in older.columns and c not in WORDS]
    if len(older) != len(newer):
        return TableDifference(table.name, faults=(f"{len(older)} rows, now {len(newer)}",))
    if key:
        older, newer = older.sort_values(key, kind="stable"), newer.sort_values(key, kind="stable")
    shared = [c for c in older.columns if c in newer.columns and c not in WORDS]
    faults = [f"column {c} is gone" for c in older.columns if c not in newer.columns and c not in WORDS]
    largest = 0.0
    for column in shared:
        before, after = older[column].to_numpy(), newer[column].to_numpy()
        numbers = pd.to_numeric(pd.Series(before), errors="coerce"), pd.to_numeric(pd.Series(after), errors="coerce")
        exact = before == after
        apart = np.abs(numbers[0] - numbers[1]) / np.maximum(np.abs(numbers[0]), 1e-12)
        largest = max(largest, float(apart[~exact].max()) if (~exact).any() and apart[~exact].notna().any() else 0.0)
        wrong = ~exact & ~(apart.to_numpy() <= tolerance)
        faults += [f"{column}: {wrong.sum()} rows differ, first {before[wrong][0]!r}, now {after[wrong][0]!r}"
                   ] if wrong.any() else []
    return TableDifference(table.name, len(older), len(shared), largest, tuple(faults))


def run(options: CompareResults) -> int:
    """Print a row per table; 0 where every number is the same, else 3."""
    schemas = {t.name: t for t in TABLES}
    files = sorted([*options.older.glob("tables/*.csv"), *options.older.glob("work/*/*.csv")])
    differences = []
    for path in files:
        table, counterpart = schemas.get(path.stem), options.newer / path.relative_to(options.older)
        if table is None:
            continue  # records of single pages
        if not counterpart.is_file():
            differences.append(TableDifference(path.stem, faults=("table is gone",)))
            continue
        older, newer = (pd.read_csv(p, dtype=str, keep_default_na=False) for p in (path, counterpart))
        differences.append(compare_table(older, newer, table, tolerance=options.tolerance))
    print(f"{'table':18s} {'files':>5s} {'rows':>6s} {'columns':>7s} largest relative difference")
    for name in dict.fromkeys(d.name for d in differences):
        same = [d for d in differences if d.name == name]
        print(f"{name:18s} {len(same):5d} {sum(d.rows for d in same):6d} {max(d.columns for d in same):7d} "
              f"{max(d.largest for d in same):.2g}")
        for fault in dict.fromkeys(f for d in same for f in d.faults):
            print(f"  {fault}")
    return 3 if any(d.faults for d in differences) else 0


if __name__ == "__main__":
    sys.exit(run_command(CompareResults, run, module="pipelines.benchmarks.compare_results"))
