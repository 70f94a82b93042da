"""The terms of the field, defined once: levels, contrasts, label numbers, column names, statuses.

Knows nothing of files, arrays or tables. Every other module takes its names from here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Contrast(StrEnum):
    """MR contrasts of a scan, in the order of the network's channels: a new one goes last (`weights`)."""

    WATER = "water"
    FAT = "fat"
    IN_PHASE = "in_phase"
    OPPOSED = "opposed"
    T2 = "t2"
    T1 = "t1"


DIXON: Final[tuple[Contrast, ...]] = (Contrast.WATER, Contrast.FAT, Contrast.IN_PHASE, Contrast.OPPOSED)


class MaskRole(StrEnum):
    """Masks that the scans table may list beside the contrasts."""

    REFERENCE = "reference_mask"  # manual, used to judge the method
    MASK = "mask"  # made elsewhere, measured in place of the automatic one


class MaskOrigin(StrEnum):
    """How a measured mask came about. The first three make up one series, the source `automatic`."""

    AUTOMATIC = "automatic"  # segmented by the network
    EDITED = "edited"  # corrected manually, measured in place of the automatic one
    GIVEN = "given"  # made elsewhere, measured in place of the automatic one
    REFERENCE = "reference"  # manual, to judge the others by


class Source(StrEnum):
    """Series of masks: the method's own, with those edited or given in place of them, or the reference masks."""

    AUTOMATIC = "automatic"
    REFERENCE = "reference"


class VolumeMethod(StrEnum):
    """How a disc's volume was measured."""

    DEFORMATION = "deformation"  # mean over the visits as joint; what differs between them from their images themselves
    JOINT = "joint"  # summed probabilities, all visits of the subject measured in one place
    SINGLE = "single"  # summed probabilities of this visit alone
    VOXELS = "voxels"  # voxels of the mask counted


FROM_ALL_VISITS = (VolumeMethod.DEFORMATION, VolumeMethod.JOINT)


class Phase(StrEnum):
    BASELINE = "baseline"
    BED_REST = "bed_rest"
    RECOVERY = "recovery"


class Status(StrEnum):
    """Outcome of one row. A failed disc keeps its row: values missing, reason given."""

    OK = "ok"
    FLAGGED = "flagged"  # measured, but a check raises doubt
    FAILED = "failed"  # not measured; every value is missing
    NOT_IN_VIEW = "not in view"  # outside the field of view, or not asked for: not measured, and nothing is wrong


MEASURED: Final = (Status.OK, Status.FLAGGED)


class FindingStage(StrEnum):
    """Where in the analysis a finding was raised, in the order of the work."""

    INPUT = "input"
    SEGMENT = "segment"
    LEVELS = "levels"  # names set manually
    MEASURE = "measure"
    EVALUATE = "evaluate"
    CHANGE = "change"


class QcVerdict(StrEnum):
    """May the discs of one visit be trusted."""

    PASS = "pass"  # nothing speaks against it
    REVIEW = "review"  # a disc is doubtful or lost
    FAIL = "fail"  # nothing could be measured
    MISSING = "missing"  # there is no scan


class NameSource(StrEnum):
    """Who gave a disc another name than segmentation did."""

    LEVELS_CSV = "levels.csv"
    OTHER_VISITS = "the other visits"


class Verdict(StrEnum):
    """Whether the change of one disc exceeds measurement error."""

    ROSE = "rose"
    FELL = "fell"
    WITHIN = "within error"
    NOT_JUDGED = "not judged"


class LimitFrom(StrEnum):
    """Where a limit of measurement error comes from."""

    REPEATS = "repeated scans of this study"
    CALIBRATION = "calibration of this study"  # `bedrest calibrate`: fitted on its own scans, changed by known amounts
    MODEL = "error model"  # fitted on synthetic scans


class ErrorsFrom(StrEnum):
    """What the error model of a volume was fitted on."""

    STUDY = "study"  # its own scans
    SHIPPED = "shipped"  # synthetic scans, beside the weights


class Family(StrEnum):
    """What the tests that share one correction compare."""

    WITHIN = "within groups"  # change from the reference visit
    BETWEEN = "between groups"  # difference of that change


class RecoveryVerdict(StrEnum):
    """Is a group's mean change back inside the band that counts as none."""

    BACK = "back"
    NOT_BACK = "not back"
    UNDECIDED = "undecided"
    NOT_TESTED = "not tested"


class ModelKind(StrEnum):
    PRIMARY = "primary"  # one level
    JOINT = "joint"  # all levels
    MIXEDLM = "mixedlm"  # one level by statsmodels, a sensitivity analysis


# Numbered from the bottom up, as in the IVDM3Seg challenge.
LEVEL_OF_LABEL: Final[dict[int, str]] = {
    1: "L5-S1", 2: "L4-L5", 3: "L3-L4", 4: "L2-L3", 5: "L1-L2", 6: "T12-L1", 7: "T11-T12"}
LABEL_OF_LEVEL: Final[dict[str, int]] = {level: label for label, level in LEVEL_OF_LABEL.items()}
LEVELS: Final[tuple[str, ...]] = tuple(LABEL_OF_LEVEL)[::-1]  # T11-T12 first: top to bottom, as read

ALL_LEVELS: Final = "all"  # all discs pooled, in tables of statistics

# Discs that could not be named get 101, 102, ... from the bottom up.
FIRST_UNNAMED_LABEL: Final = 101


def level_name(label: int) -> str:
    """Level of a label in a mask of discs, or unnamed-N."""
    return LEVEL_OF_LABEL.get(label, f"unnamed-{label - FIRST_UNNAMED_LABEL + 1}")



EXCLUDE: Final = "exclude"  # in levels.csv: a disc that must not be measured

# The discs' neighbours, in masks of all tissues. Vertebra 10 + k lies on disc k; 30 where levels are not known.
TISSUE_OF_LABEL: Final[dict[int, str]] = {
    **LEVEL_OF_LABEL,
    10: "sacrum", 11: "L5", 12: "L4", 13: "L3", 14: "L2", 15: "L1", 16: "T12", 17: "T11",
    20: "spinal canal",
    30: "vertebra",
}

# Okabe & Ito 2008: distinct with every common colour vision deficiency. T11-T12 is black in figures, but yellow in
# masks: black would not show on a scan. Bones are grey and the canal is white, so that discs stand out.
LEVEL_COLOURS: Final[dict[str, str]] = dict(
    zip(LEVELS, ("#000000", "#CC79A7", "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00"), strict=True))
UNNAMED_COLOUR: Final = "#6B7280"
LABEL_COLOURS: Final[dict[int, str]] = {
    **{label: LEVEL_COLOURS[level] for label, level in LEVEL_OF_LABEL.items()},
    LABEL_OF_LEVEL["T11-T12"]: "#F0E442",
    10: "#8C8C8C",
    **{label: "#D9D9D9" if label % 2 else "#B3B3B3" for label in range(11, 18)},  # neighbours differ
    20: "#FFFFFF",
    30: "#C6C6C6",
}

SACRUM_LABEL: Final = 10
CANAL_LABEL: Final = 20
UNNAMED_VERTEBRA_LABEL: Final = 30
VERTEBRA_ABOVE_DISC: Final[dict[int, int]] = {label: SACRUM_LABEL + label for label in LEVEL_OF_LABEL}
# Disc -> the bone below and the bone above it; below L5-S1 lies the sacrum.
BONES_OF_DISC: Final[dict[int, tuple[int, int]]] = {
    label: (VERTEBRA_ABOVE_DISC.get(label - 1, SACRUM_LABEL), above) for label, above in VERTEBRA_ABOVE_DISC.items()}

MISSING_WORDS: Final = ("", "n/a", "N/A", "NA", "NaN", "nan")  # cells that hold no value
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")  # of cells that a spreadsheet may run as a formula
