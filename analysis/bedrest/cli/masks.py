"""`bedrest segment`, `measure` and `evaluate`: one scan or mask, without a study. Prints what `bedrest.api` returns."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from bedrest.cli.arguments import Device, Flag, ImageFile, OutputMask, OutputTable, WeightsFile, unset
from bedrest.errors import StudyError
from bedrest.vocabulary import MEASURED, Status

if TYPE_CHECKING:
    import pandas as pd

_MaskFile = Annotated[Path, tyro.conf.Positional]
_Levels = Annotated[str | None, unset("default: as --labels says", metavar="LABEL=LEVEL,...")]
_Labels = Annotated[str | None, unset("default: the one that fits, else 1=L5-S1 ... 7=T11-T12", metavar="PROGRAM")]
_SHOWN = ["level", "dice", "centre_distance_mm", "assd_mm", "hausdorff_mm", "volume_error_percent", "status"]


@dataclass(frozen=True)
class Segment:
    """Segment one scan from any set of contrasts."""

    output: OutputMask
    """Mask to write, .nii or .nii.gz; its label tables go beside it."""
    water: ImageFile = None
    """Dixon water image."""
    fat: ImageFile = None
    """Dixon fat image."""
    in_phase: ImageFile = None
    """Dixon in-phase image."""
    opposed: ImageFile = None
    """Dixon opposed-phase image."""
    t2: ImageFile = None
    """T2-weighted image."""
    t1: ImageFile = None
    """T1-weighted spin-echo image."""
    device: Device = "auto"
    """Where the network runs."""
    tissues: Literal["discs", "all"] = "discs"
    """all: also vertebral bodies, sacrum and spinal canal."""
    probabilities: ImageFile = None
    """Also write the probability of disc to this image."""
    resample: Flag = False
    """Bring contrasts on other grids onto that of the first instead of refusing them."""
    weights: WeightsFile = None
    """Trained network."""

    def run(self) -> int:
        from bedrest.api import segment, write_segmentation
        from bedrest.findings import render, render_all

        given = (self.water, self.fat, self.in_phase, self.opposed, self.t2, self.t1)
        images = [p for p in given if p is not None]
        for output in filter(None, (self.output, self.probabilities)):
            _refuse_overwrite(output, images)
        result = segment(*given, device=self.device, tissues=self.tissues == "all", weights=self.weights,
                         resample=self.resample)
        write_segmentation(result, self.output, probabilities=self.probabilities, like=images[0])
        for warning in result.warnings:
            print(f"warning: {render(warning)}", file=sys.stderr)
        print(f"{'level':10s} {'status':11s} p_disc p_level reason")
        for d in result.segmented:
            print(f"{d.name:10s} {d.status:11s} {d.mean_probability:6.2f} {d.level_confidence:7.2f}",
                  render_all(d.findings))
        return 0 if any(d.status in MEASURED for d in result.segmented) else 3


@dataclass(frozen=True)
class Measure:
    """Measure the discs in any label mask."""

    mask: Annotated[_MaskFile, tyro.conf.arg(metavar="MASK")]
    """Integer label mask, 0 = background."""
    output: OutputTable
    """Table to write, one row per disc."""
    levels: _Levels = None
    """Which label is which disc, as 51=L5-S1,102=L4-L5."""
    labels: _Labels = None
    """Program whose numbers the mask has, as spineps or totalspineseg: docs/label_schemes.md."""
    image: ImageFile = None
    """Image on the mask's grid to take mean signals from."""

    def run(self) -> int:
        from bedrest.api import measure
        from bedrest.io.tables.typed_csv import write_table
        from bedrest.schemas import MASK_MEASURES

        _refuse_overwrite(self.output, [self.mask])
        with _warnings_printed():
            measures = measure(self.mask, levels=self.levels, image=self.image, labels=self.labels)
        write_table(measures, self.output, MASK_MEASURES)
        return _print_problems(measures, self.output)


@dataclass(frozen=True)
class Evaluate:
    """Compare a mask with a reference mask, level by level."""

    predicted: Annotated[_MaskFile, tyro.conf.arg(metavar="PREDICTED")]
    """Mask to judge."""
    reference: Annotated[_MaskFile, tyro.conf.arg(metavar="REFERENCE")]
    """Mask to judge it by, on the same grid."""
    output: OutputTable
    """Table to write, one row per level."""
    levels: _Levels = None
    """Which label of the predicted mask is which disc."""
    reference_levels: _Levels = None
    """Which label of the reference mask is which disc."""
    labels: _Labels = None
    """Program whose numbers the predicted mask has."""
    reference_labels: _Labels = None
    """Program whose numbers the reference mask has."""

    def run(self) -> int:
        from bedrest.api import evaluate
        from bedrest.io.tables.typed_csv import write_table
        from bedrest.schemas import MASK_ACCURACY

        _refuse_overwrite(self.output, [self.predicted, self.reference])
        with _warnings_printed():
            agreement = evaluate(self.predicted, self.reference, levels=self.levels, labels=self.labels,
                                 reference_levels=self.reference_levels, reference_labels=self.reference_labels)
        write_table(agreement, self.output, MASK_ACCURACY)
        print(agreement[_SHOWN].round(3).to_string(index=False))
        return _print_problems(agreement, self.output)


def _refuse_overwrite(output: Path, inputs: list[Path]) -> None:
    if any(output.resolve() == p.resolve() for p in inputs):
        raise StudyError("an output file of its own", "the same file as an input", str(output),
                         "Choose another name with -o.")


@contextmanager
def _warnings_printed() -> Iterator[None]:
    """Print warnings of the interface as one line each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)


def _print_problems(frame: pd.DataFrame, output: Path) -> int:
    bad = frame[~frame["status"].isin([Status.OK, Status.NOT_IN_VIEW])]
    for _, row in bad.iterrows():
        print(f"{row['status']}: {row['level']}: {row['reason']}", file=sys.stderr)
    print(f"{len(frame)} discs, {len(bad)} not ok: {output}")
    return 0 if bad.empty else 3
