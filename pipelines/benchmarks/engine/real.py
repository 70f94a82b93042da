"""The engine on real scans that no training used: against manual disc masks, and between vertebrae.

The folders are those of the project's shared data, each described by its SOURCE.md. What is not there is not measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bedrest.io.images.masks import read_label_map
from bedrest.io.images.nifti import read_scan
from bedrest.io.tables.markdown import formatted, markdown_table
from bedrest.protocols.scores import DiscScore, score_discs
from bedrest.segmentation.engine import segment
from bedrest.segmentation.weights import TrainedNetwork
from bedrest.vocabulary import LEVEL_OF_LABEL, Contrast

from pipelines.benchmarks.engine.placement import Placement, place_discs
from pipelines.benchmarks.engine.synthetic_visits import disc_row
from pipelines.benchmarks.mask_scores import summarise
from pipelines.benchmarks.pages import Part
from pipelines.benchmarks.targets import Missing, judge, not_measured

MANUAL_DISCS = "lumbar-t2-ivd-fmrp"
_LOWEST_FIVE = {k: v for k, v in LEVEL_OF_LABEL.items() if k <= 5}  # the levels segmented there


@dataclass(frozen=True)
class VertebraData:
    """One folder of scans with masks of vertebral bodies: which contrast, which label is which vertebra."""

    folder: str
    contrast: Contrast
    names: Mapping[int, str]
    target: str  # the number of row `vertebrae` that it gives


VERTEBRA_DATA = (
    VertebraData("lumbar-dixon-water-tum", Contrast.WATER, dict(enumerate(("L1", "L2", "L3", "L4", "L5"), start=1)),
                 "discs right, Dixon water"),
    VertebraData("lower-spine-t2-berlin", Contrast.T2,
                 dict(enumerate(("T11", "T12", "L1", "L2", "L3", "L4", "L5"), start=1)), "discs right, T2"),
)


@dataclass(frozen=True)
class PlacementSummary:
    """Discs judged by their vertebrae: how many, how many of them right, the largest share inside a vertebra."""

    n: int
    n_right: int
    largest_inside_percent: float


def summarise_placements(placements: list[Placement]) -> PlacementSummary:
    """Many discs together; the largest share is not a number where none was found."""
    inside = [p.inside_percent for p in placements if not math.isnan(p.inside_percent)]
    return PlacementSummary(len(placements), sum(p.right for p in placements), max(inside, default=math.nan))


def manual_discs(trained: TrainedNetwork, real: Path, device: str) -> Part:
    """Row `t2-discs`."""
    folder = real / MANUAL_DISCS
    exams = sorted(folder.glob("*_t2.nii.gz"))
    if not exams:
        return Part(not_measured("t2-discs", _absent(folder)), [])
    scores: list[DiscScore] = []
    rows, table = [], []
    for path in exams:
        exam = path.name.removesuffix("_t2.nii.gz")
        discs = segment(trained, read_scan({Contrast.T2: path}, where=exam), device=device).discs
        manual = read_label_map(folder / f"{exam}_discs.nii.gz", where=exam)
        exam_scores = score_discs(discs, manual, levels=_LOWEST_FIVE)
        scores += exam_scores
        rows += [{"row": "t2-discs", "data": folder.name, "contrasts": Contrast.T2.value, "subject": exam,
                  "session": "", **disc_row(s)} for s in exam_scores]
        table += [[exam, s.agreement.level, formatted(s.agreement.dice, "{:.3f}"),
                   formatted(s.agreement.volume_predicted_mm3 / s.agreement.volume_reference_mm3, "{:.2f}"),
                   "yes" if s.level_right else "no"] for s in exam_scores]
    score = summarise(scores)
    checks = judge("t2-discs", {"mean Dice": score.dice, "levels right": score.levels_right_percent}, notes={
        "mean Dice": f"{len(exams)} exams, {score.n} discs, {score.n_missing} not found; volume "
                     f"{score.volume_bias_percent:+.0f} % of the manual one"})
    header = ["exam", "level", "Dice", "volume over manual volume", "level right"]
    return Part(checks, rows, f"## Real T2 against manual disc masks ({folder.name})\n\n"
                + markdown_table(header, table))


def between_vertebrae(trained: TrainedNetwork, real: Path, device: str) -> Part:
    """Row `vertebrae`."""
    values: dict[str, float | Missing] = {}
    notes: dict[str, str] = {}
    rows, table, all_placements = [], [], []
    for data in VERTEBRA_DATA:
        folder = real / data.folder
        scans = sorted(folder.glob(f"*_{data.contrast}.nii.gz"))
        if not scans:
            values[data.target] = Missing(_absent(folder))
            continue
        of_data: list[Placement] = []
        for path in scans:
            scan = path.name.removesuffix(f"_{data.contrast}.nii.gz")
            discs = segment(trained, read_scan({data.contrast: path}, where=scan), device=device).discs
            bodies = read_label_map(folder / f"{scan}_vertebrae.nii.gz", where=scan)
            placements = place_discs(discs, bodies, data.names)
            of_data += placements
            rows += [{"row": "vertebrae", "data": data.folder, "contrasts": data.contrast.value, "subject": scan,
                      "session": "", "level": p.level, "right": p.right, "reason": p.reason,
                      "volume_predicted_mm3": p.volume_mm3, "inside_vertebra_percent": p.inside_percent}
                     for p in placements]
            s = summarise_placements(placements)
            wrong = "; ".join(f"{p.level}: {p.reason}" for p in placements if p.reason)
            table.append([data.folder, scan, f"{s.n_right} of {s.n}", formatted(s.largest_inside_percent, "{:.1f} %"),
                          wrong])
        s = summarise_placements(of_data)
        values[data.target] = 100 * s.n_right / s.n
        notes[data.target] = f"{s.n_right} of {s.n} discs, {len(scans)} scans"
        all_placements += of_data
    largest = "largest share of a disc inside vertebrae"
    values[largest] = summarise_placements(all_placements).largest_inside_percent if all_placements else Missing(
        "none of the folders is there")
    detail = "## Real scans with vertebral-body masks\n\n" + markdown_table(
        ["data", "scan", "discs right", "largest share inside vertebrae", "what is wrong"], table) if table else ""
    return Part(judge("vertebrae", values, notes=notes), rows, detail)


def _absent(folder: Path) -> str:
    return f"folder {folder.name} not there, or without scans"
