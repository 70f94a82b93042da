"""`python -m pipelines.benchmarks.naming.lean`: how far discs lean to the front, by level, in SPIDER's masks.

Series of the training patients alone, for naming uses it and is judged on the others.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bedrest.io.images.masks import read_label_map
from bedrest.io.tables.markdown import markdown_table
from bedrest.vocabulary import LEVEL_OF_LABEL

from pipelines.anatomies.real_masks import series_of
from pipelines.command_line import run_command

LOWEST = (201, 224)  # L5-S1 in the data set's two numberings; the other discs follow upwards in space


@dataclass(frozen=True)
class Lean:
    """Degrees by which the normals of discs lean to the front of the head-foot axis.

    Attributes
    ----------
    masks
        Folder of the masks.
    """

    masks: Path = Path("../shared/data/real/spider-disc-masks")


def leans_of(path: Path) -> list[float]:
    """Of the discs of one mask, from the bottom up; none where the lowest is not L5-S1."""
    mask = read_label_map(path, where=path.name)
    affine, leaning = mask.grid.affine_ras_mm, []
    for label in np.unique(mask.data[(mask.data > 200) & (mask.data < 300)]):
        points = np.argwhere(mask.data == label) @ affine[:3, :3].T + affine[:3, 3]
        normal = np.linalg.eigh(np.cov(points[:, 1:].T))[1][:, 0]  # in the sagittal plane
        normal = normal * np.copysign(1.0, normal[1])
        leaning.append((points[:, 2].mean(), int(label), float(np.rad2deg(np.arctan2(normal[0], normal[1])))))
    leaning.sort()
    return [lean for _, _, lean in leaning[:len(LEVEL_OF_LABEL)]] if leaning and leaning[0][1] in LOWEST else []


def run(options: Lean) -> int:
    """Print mean and SD by level."""
    leans = [leans for name in series_of(held_out=False) if (leans := leans_of(options.masks / f"{name}.mha"))]
    rows = [[level, str(len(of)), f"{np.mean(of):.1f}", f"{np.std(of, ddof=1):.1f}"] for label, level in
            LEVEL_OF_LABEL.items() if (of := [x[label - 1] for x in leans if len(x) >= label])]
    print(markdown_table(["level", "series", "mean", "SD"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(Lean, run, module="pipelines.benchmarks.naming.lean"))
