"""What the papers' tables share: their shape as text, cells, endings, notes. Knows nothing of networks and images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from bedrest.io.tables.markdown import formatted, markdown_table
from bedrest.methods.papers.weber import Weber
from bedrest.protocols.scores import MethodScore, summarise_discs
from bedrest.protocols.shapes import Metric, Protocol
from bedrest.vocabulary import LEVEL_OF_LABEL, Contrast, Status

NOTE = ("A disc that was not found counts Dice 0 and a false detection, enters no distance and no volume error, and is "
        "counted as missing. Dice under any name is that with the found disc that fits best. Errors of volume and "
        "change are signed: above 0 is too much.")
PUBLISHED_NOTE = "Published figures are from other data ({data}): not a comparison under one protocol."
LEVELS = tuple(LEVEL_OF_LABEL.values())
SIGNED = (Metric("volume error ± SD (%)", "volume_error_percent", "volume_error_sd_percent", digits=1),
          Metric("change error ± SD (%)", "change_error_percent", "change_error_sd_percent", digits=1))
# Heads of `ending_cells`.
ENDING = ["discs missing", "right names (%)", "Dice under any name (%)", *(f"{m.title}, ours" for m in SIGNED)]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What running a protocol left; frames as in `records`."""

    protocol: Protocol
    discs: pd.DataFrame
    changes: pd.DataFrame
    trainings: pd.DataFrame
    reference_session: str
    voxel_mm3: float  # of the reference masks, their mean; for change in voxels
    # Intensities in discs and beside them, over all visits.
    weber: Mapping[Contrast, Weber] = field(default_factory=dict)


@dataclass(frozen=True)
class PaperTable:
    """A table as it is shown: every cell text."""

    name: str
    title: str
    header: list[str]
    rows: list[list[str]]
    note: str

    @property
    def frame(self) -> pd.DataFrame:
        """A dash, which stands for no value, is an empty cell."""
        return pd.DataFrame([["" if c == "-" else c for c in row] for row in self.rows], columns=self.header,
                            dtype="str")

    def markdown(self) -> str:
        return f"## {self.title}\n\n{markdown_table(self.header, self.rows)}\n{self.note}\n"


def rows_of(frame: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    """Rows with these values in the columns of these names."""
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    return frame


def score_of(outcome: Outcome, row: str, **wanted: str) -> MethodScore:
    """Of a row of the protocol; of a part of its discs without errors of change, which need every visit."""
    changes = rows_of(outcome.changes, row=row) if not wanted else outcome.changes.iloc[:0]
    return summarise_discs(rows_of(outcome.discs, row=row, **wanted), changes)


def metric_text(metric: Metric, score: MethodScore) -> str:
    """A mean, with its SD where the paper gives one; a dash where there is none."""
    value = metric.scale * float(getattr(score, metric.value))
    ending = ""
    if metric.sd and not math.isnan(value):
        ending = f" ± {number_text(metric.scale * float(getattr(score, metric.sd)), metric.digits)}"
    return number_text(value, metric.digits).replace("-", "−" if ending else "-") + ending


def number_text(value: float, digits: int) -> str:
    """A dash where there is none."""
    return formatted(value, f"{{:.{digits}f}}")


def mean_text(values: pd.Series, digits: int) -> str:
    """The mean of the values that are there; a dash where there is none."""
    return number_text(float(values.mean()), digits)


def pair_heads(metrics: Iterable[Metric], *, published: bool) -> list[str]:
    """Heads of `pair_cells`."""
    return [f"{m.title}, {which}" for m in metrics for which in (("published", "ours") if published else ("ours",))]


def pair_cells(metrics: Iterable[Metric], printed: Mapping[str, str], score: MethodScore, *,
               published: bool) -> list[str]:
    """Each measure as published beside ours, or ours alone."""
    return [cell for m in metrics
            for cell in ((printed.get(m.title, "-"), metric_text(m, score)) if published else (metric_text(m, score),))]


def ending_cells(score: MethodScore) -> list[str]:
    """What stands in every table, whatever the paper's: discs missing, names, signed errors."""
    missing = f"{score.n_missing} of {score.n}" if score.n else "-"
    shares = (score.levels_right_percent, score.any_name_percent)
    return [missing, *(number_text(v, 1) for v in shares), *(metric_text(m, score) for m in SIGNED)]


def training_text(outcome: Outcome, row: str, **wanted: str) -> str:
    """How a row's trainings ended, in a cell."""
    trainings = rows_of(outcome.trainings, row=row, **wanted)
    failed = trainings[trainings["status"] == Status.FAILED]
    if len(failed):
        return f"failed: {failed['reason'].iloc[0]}"
    if trainings.empty:
        return "not run"
    ended = "; ".join(dict.fromkeys(trainings["ended"]))
    steps = sorted(set(trainings["steps"]), key=lambda s: (len(s), s))
    if "as asked" in ended or steps == [""]:
        return ended
    return f"{ended}, {steps[0]} steps" if len(steps) == 1 else f"{ended}, from {steps[0]} to {steps[-1]} steps"


def notes_of(outcome: Outcome, *more: str, published: bool = True) -> str:
    """What stands below a table."""
    notes = [PUBLISHED_NOTE.format(data=outcome.protocol.data)] if published and outcome.protocol.data else []
    return " ".join([*notes, NOTE, *more])
