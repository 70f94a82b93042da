"""The tables that benchmarks of our engine leave: discs of the engine and of its change, stages by size of study.

Knows nothing of how anything is measured.
"""

from __future__ import annotations

from bedrest.protocols.records import CENTRE_DISTANCE, DICE, LEVEL, RIGHT, VOLUMES, number
from bedrest.schemas import Col, Table
from bedrest.vocabulary import LEVELS

from pipelines.benchmarks.targets import ENGINE

# Visits of the change benchmark: nothing changed; every disc + 3 %; each disc by its own amount; unknown change.
BASELINE, REPEAT, GROWN, MIXED, OTHER_OCCASION = VISITS = ("baseline", "repeat", "grown", "mixed", "other-occasion")
MAKERS = ("own", "second", "real-anatomy", "real-t2", "real-repeats")
_CONTRASTS = Col("contrasts", "str", "contrasts that were segmented, joined by +")
_REASON = Col("reason", "str", "what is wrong; empty when nothing is", required=False)

ENGINE_DISCS = Table("engine_benchmark", "one row per disc that a row of the engine's benchmark judged", (
    Col("row", "str", "which row of the target table", values=tuple(row.name for row in ENGINE)),
    Col("data", "str", "synthetic, or the folder of the real data"), _CONTRASTS,
    Col("subject", "str", "subject or exam"),
    Col("session", "str", "visit; empty where there is one only", required=False),
    LEVEL, DICE, CENTRE_DISTANCE, *VOLUMES[:2],
    number("volume_analytic_mm3", "of the synthetic disc itself", "mm3"), VOLUMES[2],
    number("volume_ratio", "predicted over reference", "1"),
    number("inside_vertebra_percent", "share of the disc inside vertebral bodies", "%"), RIGHT, _REASON,
), ("row", "data", "contrasts", "subject", "session", "level"))

CHANGE_DISCS = Table("change_benchmark", "one row per disc in view at a visit of a subject of the change benchmark", (
    Col("maker", "str", "who made the scans, see `pipelines.benchmarks.change.makers`", values=MAKERS),
    Col("condition", "str", "contrasts, or what differed from the standard"), _CONTRASTS,
    Col("subject", "str", "of one maker and name, the same anatomy in every condition"),
    Col("session", "str", "visit", values=VISITS),
    Col("level", "str", "disc", values=LEVELS),
    number("true_mm3", "true volume; empty where only its change is known", "mm3"),
    Col("true_change_percent", "float", "true change since baseline; empty where nobody knows it", "%", required=False),
    number("voxels_mm3", "voxels of this visit's mask counted", "mm3"),
    number("single_mm3", "summed probabilities of this visit alone", "mm3"),
    number("joint_mm3", "summed probabilities, all visits on shared grids", "mm3"),
    number("grid_shifts_sd_mm3", "SD of the joint volume over the grid shifts", "mm3"),
    number("boundary_uncertainty", "undecided share of the joint volume: sum of p (1 - p) over sum of p", "1"),
    number("rotation_deg", "angle by which the visit was rotated to the mean pose", "degree"),
    number("deformation_mm3", "as joint_mm3 in the mean, differing between visits as by deformation; empty where it "
           "can't be trusted", "mm3"),
    Col("deformation_ln", "float", "ln of the volume over its mean over the visits, by deformation", "1",
        required=False),
    number("deformation_ln_se", "standard error of it, by deformation's own account", "1"),
    Col("named", "bool", "was the disc found and given its own name"),
    Col("reason", "str", "why a volume is missing; empty when none is", required=False),
), ("maker", "condition", "subject", "session", "level"))

SCALE = Table("scale", "what a stage of a synthetic study of some size took, one row each", (
    Col("stage", "str", "stage of a run, or part of one"),
    Col("subjects", "int", "subjects of the study, four visits each", "1", minimum=1),
    Col("seconds", "float", "wall time", "s", minimum=0),
    Col("cpu_seconds", "float", "processor time of the stage and its children", "s", minimum=0),
    Col("peak_bytes", "float", "most memory that they held together; what they share counts for each", "byte",
        minimum=0),
), ("stage", "subjects"))

SCALE_PARTS = Table("overhead", "processor time of the parts of a stage of one subject, one row each", (
    Col("stage", "str", "stage of a run"),
    Col("part", "str", "what the time went into"),
    Col("scans", "int", "scans that share it", "1", minimum=1),
    Col("cpu_seconds", "float", "processor time", "s", minimum=0),
    Col("counted", "bool", "is it overhead: neither the network at work nor a notebook"),
), ("stage", "part"))
