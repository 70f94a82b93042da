"""Two masks of one scan -> how well they agree, disc by disc.

Does not know which was made how.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from scipy.ndimage import find_objects
from scipy.ndimage import label as connected

from bedrest.errors import GeometryError
from bedrest.findings import Finding, FindingCode, worst_status
from bedrest.measurement.comparison.surfaces import surface_distances
from bedrest.measurement.geometry import bounding_box, centre_of_mass_mm
from bedrest.types import LabelIJK, LabelMap, require_same_grid
from bedrest.vocabulary import FIRST_UNNAMED_LABEL, LEVEL_OF_LABEL, LEVELS, Status

_SMALLEST_DISC_VOXELS = 100
# Dice of one disc in two masks, and of two discs: neighbours do not overlap.
_SAME_DISC, _OTHER_DISC = 0.5, 0.1


@dataclass(frozen=True)
class DiscAgreement:
    """Agreement of a predicted with a reference disc; every value NaN when failed.

    Attributes
    ----------
    centre_distance_mm : distance of the centres of mass; its mean over discs is MLD, Li et al. 2018 eq. 2
    assd_mm, maad_mm, hausdorff_mm, hausdorff95_mm : see `surfaces.SurfaceDistances`
    volume_predicted_mm3, volume_reference_mm3 : voxel count times voxel volume
    """

    level: str  # disc level
    dice: float = math.nan  # 2|A and B|/(|A|+|B|), 0 to 1
    centre_distance_mm: float = math.nan
    assd_mm: float = math.nan
    maad_mm: float = math.nan
    hausdorff_mm: float = math.nan
    hausdorff95_mm: float = math.nan
    volume_predicted_mm3: float = math.nan
    volume_reference_mm3: float = math.nan
    volume_error_percent: float = math.nan  # (predicted - reference) / reference * 100
    findings: tuple[Finding, ...] = ()  # why it failed, and how the masks came to be compared

    @property
    def status(self) -> Status:
        """See `vocabulary.Status`."""
        return worst_status(self.findings)


@dataclass(frozen=True)
class AgreementSummary:
    """Agreement over discs, in the terms of Li et al. 2018, eq. 2 and 3.

    Attributes
    ----------
    mld_mm, sd_mm : mean and sample SD (n - 1) of the centre distances
    mdoc, sddoc : mean and sample SD (n - 1) of the Dice coefficients
    n, n_failed : discs compared, and discs that could not be
    """

    mld_mm: float
    sd_mm: float
    mdoc: float
    sddoc: float
    n: int
    n_failed: int


def compare_masks(
    predicted: LabelMap, reference: LabelMap, *, levels: Mapping[int, str], reference_levels: Mapping[int, str]
) -> list[DiscAgreement]:
    """Compare two masks level by level.

    `predicted`, `reference`: LabelMap, shape (I, J, K), on one grid. `levels`, `reference_levels`: label to level in
    each of the two. Returns: one for each level named in either mapping, those of `levels` first. A level that is
    missing in either mask is failed and says in which. Raises GeometryError if shapes differ or corners lie more than
    0.1 mm apart.
    """
    require_same_grid(predicted.grid, reference.grid, names=("predicted mask", "reference mask"))
    label_predicted = {level: label for label, level in levels.items()}
    label_reference = {level: label for label, level in reference_levels.items()}
    names = dict.fromkeys([*label_predicted, *label_reference])
    return [_compare(predicted, reference, name, labels=(label_predicted.get(name), label_reference.get(name)))
            for name in names]


def with_other_names(
    agreements: Sequence[DiscAgreement], predicted: LabelMap, reference: LabelMap, *, levels: Mapping[int, str],
    reference_levels: Mapping[int, str]
) -> list[DiscAgreement]:
    """The same, but discs that the two masks name differently: failed, and said to be one level off, say.

    Parameters as in `compare_masks`, which made `agreements`.
    """
    if all(a.dice >= _OTHER_DISC for a in agreements):
        return list(agreements)
    others = _other_names(predicted, reference, levels, reference_levels)
    named = [a if a.dice >= _OTHER_DISC or a.level not in others else DiscAgreement(a.level, findings=(
        *a.findings, others[a.level])) for a in agreements]
    return [replace(a, findings=(*a.findings, Finding(FindingCode.NO_OVERLAP))) if a.dice == 0 else a for a in named]


def _other_names(predicted: LabelMap, reference: LabelMap, levels: Mapping[int, str],
                 reference_levels: Mapping[int, str]) -> dict[str, Finding]:
    """Levels whose disc, in the predicted or else in the reference mask, has another level in the other mask."""
    both_labelled = (predicted.data != 0) & (reference.data != 0)
    pairs, shared = np.unique(np.stack([predicted.data[both_labelled], reference.data[both_labelled]]), axis=1,
                              return_counts=True)
    sizes = [dict(zip(*np.unique(m.data, return_counts=True), strict=True)) for m in (predicted, reference)]
    differing: dict[str, Finding] = {}
    for (a, b), both in zip(pairs.T, shared, strict=True):
        one, other = levels.get(int(a)), reference_levels.get(int(b))
        if one is None or other is None or one == other:
            continue
        dice = dice_of(int(sizes[0][a]), int(sizes[1][b]), int(both))
        if dice >= _SAME_DISC:
            n = abs(_place(one) - _place(other))
            off = "one level off" if n == 1 else f"{n} levels off"
            for name, name_there, mask, opposite in ((other, one, "reference", "predicted"),
                                                     (one, other, "predicted", "reference")):
                if mask == "predicted" or name not in differing:
                    differing[name] = Finding(FindingCode.NAMED_AS_ANOTHER, {
                        "name": name, "other": name_there, "mask": mask, "opposite": opposite, "dice": dice,
                        "off": off})
    return differing


def _place(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else 0


def _compare(
    predicted: LabelMap, reference: LabelMap, level: str, *, labels: tuple[int | None, int | None]
) -> DiscAgreement:
    masks = [np.zeros(m.data.shape, dtype=bool) if label is None else m.data == label
             for m, label in zip((predicted, reference), labels, strict=True)]
    missing = [name for name, m in zip(("predicted", "reference"), masks, strict=True) if not m.any()]
    if missing:
        lost = (Finding(FindingCode.MISSING_IN_MASK, {"name": level, "mask": missing[0]}) if len(missing) == 1
                else Finding(FindingCode.MISSING_IN_BOTH_MASKS, {"name": level}))
        return DiscAgreement(level, findings=(lost,))
    box = bounding_box(masks[0] | masks[1])
    assert box is not None  # neither mask is empty
    a, b = masks[0][box], masks[1][box]
    grid = predicted.grid
    count_a, count_b, both = (int(np.count_nonzero(m)) for m in (a, b, a & b))
    centre_a, centre_b = (centre_of_mass_mm(m, box, grid.affine_ras_mm) for m in (a, b))
    surface = surface_distances(a, b, spacing_mm=grid.spacing_mm)
    return DiscAgreement(
        level, dice_of(count_a, count_b, both), float(np.linalg.norm(centre_a - centre_b)), **asdict(surface),
        volume_predicted_mm3=count_a * grid.voxel_volume_mm3, volume_reference_mm3=count_b * grid.voxel_volume_mm3,
        volume_error_percent=100 * (count_a - count_b) / count_b)


def dice_of(count_a: int, count_b: int, both: int) -> float:
    """Dice coefficient of two masks from their voxel counts, not both 0, and the count of voxels they share."""
    return 2 * both / (count_a + count_b)


def name_binary_reference(reference: LabelMap, *, where: str = "reference mask") -> LabelMap:
    """Name the discs of a mask that holds them all under one label, as in IVDM3Seg.

    Parts are connected components (corners count) and numbered by the height of their centres in the world: the
    lowest is 1 = L5-S1. That is only safe when the seven discs of the field of view are all there.

    Returns: labels as in `vocabulary.LEVEL_OF_LABEL`. Specks of at most 100 voxels get 101, 102, ... so that they are
    neither measured nor lost. Raises GeometryError if there are not exactly seven parts of more than 100 voxels.

    Parameters
    ----------
    reference : LabelMap, shape (I, J, K), one label and background
    """
    pieces, _ = connected(reference.data != 0, structure=np.ones((3, 3, 3), dtype=bool))
    sizes = np.bincount(pieces.ravel())
    discs = [p for p in range(1, len(sizes)) if sizes[p] > _SMALLEST_DISC_VOXELS]
    if len(discs) != len(LEVEL_OF_LABEL):
        raise GeometryError(
            f"{len(LEVEL_OF_LABEL)} separate discs of more than {_SMALLEST_DISC_VOXELS} voxels under one label",
            f"{len(discs)}", where, "If the lowest is L5-S1, write reference_labels = \"binary\" under [images] in "
            "study.toml; otherwise give every disc a number.")
    boxes = find_objects(pieces)
    affine = reference.grid.affine_ras_mm
    height = {p: centre_of_mass_mm(pieces[boxes[p - 1]] == p, boxes[p - 1], affine)[2] for p in discs}
    bottom_up = sorted(discs, key=lambda p: height[p])
    specks = [p for p in range(1, len(sizes)) if p not in height]
    number = np.zeros(len(sizes), dtype=np.int32)
    number[bottom_up] = list(LEVEL_OF_LABEL)
    number[specks] = FIRST_UNNAMED_LABEL + np.arange(len(specks))
    named: LabelIJK = number[pieces]
    return LabelMap(named, reference.grid)


def summarise_agreement(agreements: Iterable[DiscAgreement]) -> AgreementSummary:
    """Mean and SD over discs: MLD and SD (eq. 2), MDOC and SDDOC (eq. 3) of Li et al. 2018.

    Failed discs are counted in `n_failed` and enter no mean; an SD of fewer than two discs is NaN.

    `agreements`: iterable of DiscAgreement, of one scan or of many.
    """
    every = list(agreements)
    good = [a for a in every if a.status != Status.FAILED]
    mld_mm, sd_mm = mean_sd([a.centre_distance_mm for a in good])
    mdoc, sddoc = mean_sd([a.dice for a in good])
    return AgreementSummary(mld_mm, sd_mm, mdoc, sddoc, n=len(good), n_failed=len(every) - len(good))


def mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample SD (n - 1); not a number where there are no values, or one."""
    mean = float(np.mean(values)) if len(values) else math.nan
    return mean, float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
