"""`python -m pipelines.benchmarks.naming`: names right, wrong, withheld and discs lost.

On real scans, and on what is made of them: cropped, noisy, coarse, narrow.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from bedrest.io.tables.markdown import markdown_table

from pipelines.command_line import run_command

if TYPE_CHECKING:
    from bedrest.segmentation.level_naming import NamedDiscs
    from bedrest.types import Grid

    from pipelines.benchmarks.naming.scans import KnownScan

MODULE = "pipelines.benchmarks.naming"
NEAR_MM = 15.0  # from a disc's known place to the centre of the disc that was found there
OUTCOMES = ("right", "right, flagged", "wrong", "wrong, flagged", "withheld", "lost")


@dataclass(frozen=True)
class Naming:
    """Judge the names of discs where their places are known.

    Attributes
    ----------
    real
        Folder of the real data sets.
    weights
        File of weights; default: the shipped one.
    only
        Variants to try, such as "as it is"; default: all.
    """

    real: Path = Path("../shared/data/real")
    weights: Path | None = None
    only: tuple[str, ...] = ()


def outcomes(known: KnownScan, named: NamedDiscs, grid: Grid) -> dict[str, str]:
    """What became of each disc in view: level to one of `OUTCOMES`."""
    from bedrest.findings import FindingCode

    centres = {d.name: (grid.affine_ras_mm @ [*np.argwhere(named.labels == d.label).mean(axis=0), 1])[:3]
             for d in named.discs if (named.labels == d.label).any()}
    doubted = {d.name for d in named.discs for f in d.findings if f.code in (
        FindingCode.LEVEL_UNCERTAIN, FindingCode.SACRUM_NOT_RECOGNISED, FindingCode.LOWEST_DISC_MISSED)}
    out = {}
    for level in known.in_view:
        away = {name: float(np.linalg.norm(c - known.centre_mm[level])) for name, c in centres.items()}
        name = min(away, key=lambda n: away[n], default="")
        if not name or away[name] > NEAR_MM:
            out[level] = "lost"
        elif name.startswith("unnamed"):
            out[level] = "withheld"
        else:
            out[level] = ("right" if name == level else "wrong") + (", flagged" if name in doubted else "")
    return out


def run(options: Naming) -> int:
    """Print a row for each data set and variant."""
    from bedrest.segmentation.level_naming import name_discs
    from bedrest.segmentation.predict import predict
    from bedrest.segmentation.weights import chosen_weights, load_weights

    from pipelines.benchmarks.naming.scans import real_scans, variants

    trained = load_weights(chosen_weights(options.weights))
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    for scan in real_scans(options.real):
        for known in variants(scan):
            if options.only and known.variant not in options.only:
                continue
            p = predict(trained, known.scan, "cpu")
            result = outcomes(known, name_discs(p.data, p.grid), p.grid)
            bad = {level: o for level, o in result.items() if not o.startswith("right")}
            if bad and known.sacrum_in_view:
                print(f"{known.data} {known.name}, {known.variant}: {bad}", file=sys.stderr)
            key = ("yes" if known.sacrum_in_view else "no", known.variant, known.data)
            counts.setdefault(key, Counter()).update(result.values())
    rows = [[*key, *(str(counts[key][o]) for o in OUTCOMES)] for key in sorted(counts, reverse=True)]
    print(markdown_table(["sacrum in view", "variant", "data", *OUTCOMES], rows))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(Naming, run, module=MODULE))
