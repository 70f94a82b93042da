"""One scan or one mask, without a study: segment, measure, evaluate. Knows nothing of subjects, visits or reports."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bedrest.anatomy.levels import parse_levels
from bedrest.errors import StudyError
from bedrest.findings import Finding, FindingCode
from bedrest.io.images.label_tables import write_label_files
from bedrest.io.images.masks import label_table_path, placed_on, read_label_map, write_label_map, write_volume
from bedrest.io.images.nifti import read_volume
from bedrest.measurement.comparison.agreement import compare_masks, with_other_names
from bedrest.measurement.definition import DiscMeasure
from bedrest.measurement.discs import measure_discs
from bedrest.measurement.numbering.recognise import (
    OF_REFERENCE_ON_COMMAND_LINE,
    ON_COMMAND_LINE,
    NamedMask,
    name_discs,
)
from bedrest.measurement.quality import checked, unknown_labels
from bedrest.schemas import MASK_ACCURACY
from bedrest.stages.visits import Visit, scan_of
from bedrest.tables.measures import VisitKey, accuracy_frame, mask_measures_frame
from bedrest.types import LabelMap, Scan, Segmentation, Volume, require_same_grid
from bedrest.vocabulary import LEVEL_OF_LABEL, LEVELS, MEASURED, TISSUE_OF_LABEL, Contrast, Status

PathLike = str | Path
Levels = Mapping[int, str] | str | None
_MOST_WARNINGS = 10  # of labels without a meaning


def segment(water: PathLike | None = None, fat: PathLike | None = None, in_phase: PathLike | None = None,
            opposed: PathLike | None = None, t2: PathLike | None = None, t1: PathLike | None = None, *,
            scan: Scan | None = None, device: str = "auto", tissues: bool = False, weights: PathLike | None = None,
            resample: bool = False) -> Segmentation:
    """Segment and name the discs of one scan.

    Parameters
    ----------
    water, fat, in_phase, opposed, t2, t1 : path, optional
        NIfTI images of the scan, any non-empty set of contrasts; or instead of files `scan`, the same from memory.
    tissues : also name vertebral bodies, sacrum and spinal canal
    weights : trained network; default: the shipped one
    resample : bring contrasts on other grids onto that of the first instead of refusing them

    The result lies on the grid of the scan. A level without a disc is a finding with status ``failed``, not an error.

    Raises
    ------
    StudyError
        No contrast is given, both files and a scan are, or the device is not there.
    ImageError, GeometryError
        A file cannot be used, or the files do not fit each other.
    WeightsError
        The weights file cannot be used, or its networks were trained for none of the contrasts.

    Examples
    --------
    >>> import bedrest
    >>> segmentation = bedrest.segment(water="sub-01_water.nii.gz", fat="sub-01_fat.nii.gz")  # doctest: +SKIP
    >>> [disc.name for disc in segmentation.segmented]  # doctest: +SKIP
    ['L5-S1', 'L4-L5', 'L3-L4', 'L2-L3', 'L1-L2', 'T12-L1', 'T11-T12']
    >>> bedrest.measure(segmentation.discs)  # doctest: +SKIP
    """
    from bedrest.segmentation.device import resolve_device
    from bedrest.segmentation.engine import segment as run_engine
    from bedrest.segmentation.weights import chosen_weights, load_weights

    files = {Contrast.WATER: water, Contrast.FAT: fat, Contrast.IN_PHASE: in_phase, Contrast.OPPOSED: opposed,
             Contrast.T2: t2, Contrast.T1: t1}
    paths = {contrast.value: Path(path) for contrast, path in files.items() if path is not None}
    if bool(paths) == (scan is not None):
        raise StudyError("at least one contrast" if scan is None else "images or a scan", "both" if paths else "none",
                         "bedrest segment", "Give water, fat, in-phase, opposed, t2 or t1.")
    whole = scan if scan is not None else scan_of(Visit("scan", "", paths), resample=resample)
    trained = load_weights(chosen_weights(None if weights is None else Path(weights)))
    result = run_engine(trained, whole, device=resolve_device(device), tissues=tissues)
    return replace(result, warnings=(*whole.notes, *result.warnings))


def write_segmentation(segmentation: Segmentation, path: PathLike, *, probabilities: PathLike | None = None,
                       like: PathLike | None = None) -> None:
    """Write a segmentation as a mask with its label tables for ITK-SNAP, 3D Slicer and BIDS beside it.

    Parameters
    ----------
    segmentation : its tissues are written where it has them, else its discs
    path : mask, ending .nii or .nii.gz
    probabilities : image to write the probability of disc to
    like : image whose header codes the files take
    """
    mask, header = Path(path), None if like is None else Path(like)
    levels = TISSUE_OF_LABEL if segmentation.tissues else LEVEL_OF_LABEL
    names = {**levels, **{d.label: d.name for d in segmentation.segmented}}
    write_label_map(segmentation.tissues or segmentation.discs, mask, names=names, like=header)
    write_label_files(label_table_path(mask).with_suffix(""), names)
    if probabilities is not None:
        write_volume(segmentation.disc_probability, Path(probabilities), like=header)


def measure(mask: PathLike | LabelMap, *, levels: Levels = None, image: PathLike | Volume | None = None,
            labels: str | None = None) -> pd.DataFrame:
    """Measure the discs of a mask, whoever made it.

    Parameters
    ----------
    mask : path or LabelMap
        Whole numbers, 0 = background.
    levels : mapping of int to str, or str, optional
        Label to level, also as text: ``"51=L5-S1,102=L4-L5"``. Default: as `labels` says.
    image : on the mask's grid; mean signals are taken from it
    labels : str, optional
        The program whose numbers the mask has, for example ``"spineps"``; docs/label_schemes.md lists them. Default:
        the numbering that fits, 1 = L5-S1 ... 7 = T11-T12 where none does.

    Returns
    -------
    DataFrame
        One row a level, columns of `schemas.MASK_MEASURES`, which data_manifest/columns.md explains: volume in mm3,
        heights and diameters in mm. A level that could not be measured has the status ``failed`` and a reason; one
        above or below the discs of the mask is ``not in view``, unless `levels` asks for it. Where the labels cannot be
        the discs that they are named, every row is flagged with what speaks against it.

    Warns
    -----
    UserWarning
        The labels cannot be the discs that they are named, or the mask holds labels that mean nothing in its numbering.

    Raises
    ------
    ImageError, GeometryError
        A file cannot be used, or image and mask lie on different grids.

    Examples
    --------
    A box of 40 x 30 x 10 voxels of 1 mm:

    >>> import numpy as np
    >>> import bedrest
    >>> data = np.zeros((60, 50, 30), np.int32)
    >>> data[10:50, 10:40, 10:20] = 1
    >>> box = bedrest.LabelMap(data, bedrest.Grid(data.shape, np.eye(4)))
    >>> measures = bedrest.measure(box, levels={1: "L5-S1"})
    >>> measures[["level", "volume_mm3", "diameter_ap_mm", "status"]].values.tolist()
    [['L5-S1', 12000.0, 30.0, 'ok']]
    """
    named, name = _named(mask, levels, labels, what="mask", option=ON_COMMAND_LINE)
    images = {}
    if image is not None:
        volume = image if isinstance(image, Volume) else read_volume(Path(image), where="image")
        shown = "image" if isinstance(image, Volume) else str(image)
        named = replace(named, mask=placed_on(named.mask, volume.grid))
        require_same_grid(volume.grid, named.mask.grid, names=(shown, name or "mask"), where=shown)
        images = {Contrast.WATER: volume}
    _warn(named)
    _warn_of_unknown(named)
    discs = checked(measure_discs(named.mask, named.levels, images), named.mask)
    discs = _without_ends(discs) if levels is None else discs
    return mask_measures_frame([replace(d, findings=(*named.findings(d.level), *d.findings)) for d in discs], mask=name,
                               contrast=Contrast.WATER)


def _without_ends(discs: list[DiscMeasure]) -> list[DiscMeasure]:
    """Levels above and below those that a mask has are no failure where nobody asked for them; one between is."""
    places = [LEVELS.index(d.level) for d in discs if d.status in MEASURED and d.level in LEVELS]
    if not places:
        return discs
    return [replace(d, findings=(Finding(FindingCode.NOT_DRAWN),))
            if d.status == Status.FAILED and d.level in LEVELS
            and not min(places) < LEVELS.index(d.level) < max(places) else d for d in discs]


def evaluate(predicted: PathLike | LabelMap, reference: PathLike | LabelMap, *, levels: Levels = None,
             reference_levels: Levels = None, labels: str | None = None,
             reference_labels: str | None = None) -> pd.DataFrame:
    """Compare a mask with a reference mask, level by level.

    The masks, files or from memory, lie on one grid and hold whole numbers, 0 = background. `levels` or `labels`, and
    `reference_levels` or `reference_labels`, say which label is which level in each of the two, as in `measure`.

    Returns
    -------
    DataFrame
        One row a level, columns of `schemas.MASK_ACCURACY`: Dice, distances in mm, volumes in mm3. A level that is
        missing in either mask, or is another level of the reference, has the status ``failed`` and a reason.

    Raises
    ------
    ImageError, GeometryError
        A file cannot be used, or the masks lie on different grids.

    Examples
    --------
    Two boxes of 40 x 30 x 10 voxels, one a voxel further up:

    >>> import numpy as np
    >>> import bedrest
    >>> lower, upper = np.zeros((60, 50, 30), np.int32), np.zeros((60, 50, 30), np.int32)
    >>> lower[10:50, 10:40, 10:20] = upper[10:50, 10:40, 11:21] = 1
    >>> grid = bedrest.Grid(lower.shape, np.eye(4))
    >>> agreement = bedrest.evaluate(bedrest.LabelMap(upper, grid), bedrest.LabelMap(lower, grid),
    ...                              levels="1=L5-S1", reference_levels="1=L5-S1")
    >>> agreement[["level", "dice", "centre_distance_mm"]].values.tolist()
    [['L5-S1', 0.9, 1.0]]
    """
    one, name = _named(predicted, levels, labels, what="predicted mask", option=ON_COMMAND_LINE)
    other, _ = _named(reference, reference_levels, reference_labels, what="reference mask",
                      option=OF_REFERENCE_ON_COMMAND_LINE)
    _warn(one)
    _warn(other)
    judge = placed_on(other.mask, one.mask.grid)
    discs = compare_masks(one.mask, judge, levels=one.levels, reference_levels=other.levels)
    discs = with_other_names(discs, one.mask, judge, levels=one.levels, reference_levels=other.levels)
    remarks = {d.level: (*one.findings(d.level), *other.findings(d.level)) for d in discs}
    frame = accuracy_frame([replace(d, findings=(*remarks[d.level], *d.findings)) for d in discs],
                           visit=VisitKey(name, "", "", float("nan"), ""))
    return frame.rename(columns={"subject": "mask"})[MASK_ACCURACY.column_names]


def _named(mask: PathLike | LabelMap, levels: Levels, labels: str | None, *, what: str,
           option: str) -> tuple[NamedMask, str]:
    """The mask with its discs named, and its own name: of a file, that without endings."""
    if levels is not None and labels is not None:
        raise StudyError("levels or labels", "both", what, "Leave one of them out.")
    if isinstance(levels, Mapping):
        levels = ",".join(f"{k}={v}" for k, v in levels.items())
    typed = option.split(" ")[0].replace("labels", "levels")
    given = labels if levels is None else parse_levels(levels, where=typed)
    if isinstance(mask, LabelMap):
        return name_discs(mask, given, where=what, option=option), "mask"
    read = read_label_map(Path(mask), where=what, by_name=given is None)
    return name_discs(read, given, where=f"{what} ({mask})", option=option), Path(mask).name.split(".")[0]


def _warn(named: NamedMask) -> None:
    if named.problem is not None:
        warnings.warn(str(named.problem), UserWarning, stacklevel=3)


def _warn_of_unknown(named: NamedMask) -> None:
    unknown = {k: n for k, n in unknown_labels(named.mask, named.levels).items() if k not in named.known}
    for label, n in list(unknown.items())[:_MOST_WARNINGS]:
        warnings.warn(f"label {label} ({n} voxels) is not among the levels asked for", UserWarning, stacklevel=3)
    if len(unknown) > _MOST_WARNINGS:
        warnings.warn(f"nor are {len(unknown) - _MOST_WARNINGS} other labels", UserWarning, stacklevel=3)
