"""One scan or one mask, without a study: segment, measure, evaluate. Knows nothing of subjects, visits or reports."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bedrest.anatomy.levels import parse_levels
from bedrest.errors import StudyError
from bedrest.io.images.label_tables import write_label_files
from bedrest.io.images.masks import label_table_path, read_label_map, write_label_map, write_volume
from bedrest.io.images.nifti import read_volume
from bedrest.measurement.comparison.agreement import compare_masks
from bedrest.measurement.discs import measure_discs
from bedrest.measurement.quality import checked, unknown_labels
from bedrest.schemas import MASK_ACCURACY
from bedrest.stages.visits import Visit, scan_of
from bedrest.tables.measures import VisitKey, accuracy_frame, mask_measures_frame
from bedrest.types import LabelMap, Scan, Segmentation, Volume, require_same_grid
from bedrest.vocabulary import LEVEL_OF_LABEL, TISSUE_OF_LABEL, Contrast

PathLike = str | Path
Levels = Mapping[int, str] | str | None


def segment(water: PathLike | None = None, fat: PathLike | None = None, in_phase: PathLike | None = None,
            opposed: PathLike | None = None, t2: PathLike | None = None, *, scan: Scan | None = None,
            device: str = "auto", tissues: bool = False, weights: PathLike | None = None,
            resample: bool = False) -> Segmentation:
    """Segment and name the discs of one scan.

    Parameters
    ----------
    water, fat, in_phase, opposed, t2 : path, optional
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
        The weights file cannot be used.

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
             Contrast.T2: t2}
    paths = {contrast.value: Path(path) for contrast, path in files.items() if path is not None}
    if bool(paths) == (scan is not None):
        raise StudyError("at least one contrast" if scan is None else "images or a scan", "both" if paths else "none",
                         "bedrest segment", "Give water, fat, in-phase, opposed or t2.")
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


def measure(mask: PathLike | LabelMap, *, levels: Levels = None,
            image: PathLike | Volume | None = None) -> pd.DataFrame:
    """Measure the discs of a mask, whoever made it.

    Parameters
    ----------
    mask : path or LabelMap
        Whole numbers, 0 = background.
    levels : mapping of int to str, or str, optional
        Label to level, also as text: ``"51=L5-S1,102=L4-L5"``. Default: 1 = L5-S1 ... 7 = T11-T12.
    image : on the mask's grid; mean signals are taken from it

    Returns
    -------
    DataFrame
        One row a level, columns of `schemas.MASK_MEASURES`, which data_manifest/columns.md explains: volume in mm3,
        heights and diameters in mm. A level that could not be measured has the status ``failed`` and a reason.

    Warns
    -----
    UserWarning
        The mask holds labels that no level stands for.

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
    label_map, name = _label_map(mask, where="mask")
    level_of_label = _levels(levels, where="--levels")
    images = {}
    if image is not None:
        volume = image if isinstance(image, Volume) else read_volume(Path(image), where="image")
        shown = "image" if isinstance(image, Volume) else str(image)
        require_same_grid(volume.grid, label_map.grid, names=(shown, name or "mask"), where=shown)
        images = {Contrast.WATER: volume}
    for label, n in unknown_labels(label_map, level_of_label).items():
        warnings.warn(f"label {label} ({n} voxels) is not among the levels asked for", UserWarning, stacklevel=2)
    discs = checked(measure_discs(label_map, level_of_label, images), label_map)
    return mask_measures_frame(discs, mask=name, contrast=Contrast.WATER)


def evaluate(predicted: PathLike | LabelMap, reference: PathLike | LabelMap, *, levels: Levels = None,
             reference_levels: Levels = None) -> pd.DataFrame:
    """Compare a mask with a reference mask, level by level.

    The masks, files or from memory, lie on one grid and hold whole numbers, 0 = background. `levels` and
    `reference_levels` say which label is which level in each of the two, as in `measure`.

    Returns
    -------
    DataFrame
        One row a level, columns of `schemas.MASK_ACCURACY`: Dice, distances in mm, volumes in mm3. A level that is
        missing in either mask has the status ``failed`` and a reason.

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
    predicted_map, name = _label_map(predicted, where="predicted mask")
    reference_map, _ = _label_map(reference, where="reference mask")
    discs = compare_masks(predicted_map, reference_map, levels=_levels(levels, where="--levels"),
                          reference_levels=_levels(reference_levels, where="--reference-levels"))
    frame = accuracy_frame(discs, visit=VisitKey(name, "", "", float("nan"), ""))
    return frame.rename(columns={"subject": "mask"})[MASK_ACCURACY.column_names]


def _label_map(mask: PathLike | LabelMap, *, where: str) -> tuple[LabelMap, str]:
    """The mask and its name: of a file, its own without endings."""
    if isinstance(mask, LabelMap):
        return mask, "mask"
    return read_label_map(Path(mask), where=where), Path(mask).name.split(".")[0]


def _levels(levels: Levels, *, where: str) -> dict[int, str]:
    if levels is None:
        return dict(LEVEL_OF_LABEL)
    return parse_levels(levels if isinstance(levels, str) else ",".join(f"{k}={v}" for k, v in levels.items()),
                        where=where)
