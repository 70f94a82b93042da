"""The tables of the method benchmark: visits, trainings, learning curves, every disc, its change, and the means.

Knows nothing of networks and images.
"""

from __future__ import annotations

from bedrest.schemas import Col, Table
from bedrest.vocabulary import LEVELS, Status


def number(name: str, meaning: str, unit: str) -> Col:
    """A column of numbers that may be missing."""
    return Col(name, "float", meaning, unit, required=False)


# Of any disc that is held against a reference mask, whoever segmented it.
LEVEL = Col("level", "str", "disc", values=LEVELS)
DICE = number("dice", "against the reference mask; empty where the disc was not found", "1")
CENTRE_DISTANCE = number("centre_distance_mm", "of the centres of mass", "mm")
VOLUMES = (
    number("volume_predicted_mm3", "voxel count times voxel volume", "mm3"),
    number("volume_reference_mm3", "the same of the reference mask", "mm3"),
    number("volume_error_percent", "signed: predicted minus reference over reference", "%"),
)
RIGHT = Col("right", "bool", "found under the right name")
_STATUS = Col("status", "str", "ok; flagged: see the reason; failed: no result", values=tuple(Status))
_REASON = Col("reason", "str", "what is wrong; empty when nothing is", required=False)
_ROW = Col("row", "str", "row of the protocol, which names its folder")
_FOLD = Col("fold", "str", "which training: holdout, fold-1 ..., or from visit to visit")
_SUBJECT = Col("subject", "str", "subject")
_SESSION = Col("session", "str", "visit")

METHOD_VISITS = Table("visits", "one row per visit with a reference mask", (
    _SUBJECT, _SESSION, Col("contrasts", "str", "contrasts of the visit, joined by +", required=False),
    Col("discs", "int", "discs in its reference mask"), _STATUS, _REASON,
), ("subject", "session"))

METHOD_TRAININGS = Table("trainings", "one row per training: a row of the protocol in one fold", (
    _ROW, _FOLD,
    Col("title", "str", "what the row is called"),
    Col("method", "str", "name of the method"),
    Col("contrasts", "str", "contrasts it takes, joined by +", required=False),
    Col("trained_on", "str", "visits learnt from", required=False),
    Col("tested_on", "str", "visits tested", required=False),
    Col("parameters", "int", "weights of all its networks", required=False),
    Col("steps", "str", "optimiser steps of each network", required=False),
    number("minutes", "time spent training", "min"),
    number("budget_minutes", "time it was given", "min"),
    Col("ended", "str", "why training ended", required=False),
    Col("width", "int", "what the number of feature maps was divided by: 1 as published"),
    Col("seed", "int", "of every random number"),
    Col("device", "str", "where it ran", required=False),
    number("seconds_per_scan", "time for one test scan", "s"),
    _STATUS, _REASON,
), ("row", "fold"))

METHOD_CURVES = Table("curves", "mean training loss, every 10 steps up to 200, then every 50", (
    _ROW, _FOLD, Col("stage", "str", "which network of the method"), Col("step", "int", "optimiser step"),
    Col("minutes", "float", "time since training began", "min"), Col("loss", "float", "mean since the last row", "1"),
), ("row", "fold", "stage", "step"))

METHOD_DISCS = Table("discs", "one row per disc of a tested scan", (
    _ROW, _FOLD, _SUBJECT, _SESSION, LEVEL, DICE,
    number("dice_any_name", "with the found disc that fits best, whatever its name; empty where the scan failed", "1"),
    CENTRE_DISTANCE,
    number("maad_mm", "mean of the two directed mean surface distances", "mm"),
    number("mesh_hausdorff_mm", "largest distance between the vertices of the surface meshes", "mm"),
    *VOLUMES, RIGHT, _STATUS, _REASON,
), ("row", "subject", "session", "level"))

METHOD_CHANGES = Table("changes", "one row per disc from its reference visit to another tested visit", (
    _ROW, _SUBJECT, _SESSION, LEVEL,
    Col("reference_session", "str", "visit that change is counted from"),
    number("vg1_mm3", "volume of the reference mask at the reference visit", "mm3"),
    number("vg2_mm3", "volume of the reference mask at this visit", "mm3"),
    number("vt1_mm3", "automatic volume at the reference visit", "mm3"),
    number("vt2_mm3", "automatic volume at this visit", "mm3"),
    number("arvd_percent", "Li et al. 2018, eq. 4; blind to the sign", "%"),
    number("reference_baseline_error_percent", "signed, as in eq. 4, with the reference at visit 1: (Vt2 - Vg2) / Vg1",
           "%"),
    number("change_error_percent", "signed, both visits automatic: ((Vt2 - Vt1) - (Vg2 - Vg1)) / Vg1", "%"),
    _REASON,
), ("row", "subject", "session", "level"))

METHOD_SCORES = Table("scores", "one row per row of the protocol: all its folds together", (
    _ROW, Col("title", "str", "what the row is called"),
    Col("n", "int", "discs looked for"),
    Col("n_missing", "int", "of these, not found"),
    number("mld_mm", "mean distance of the centres of discs found: MLD, eq. 2", "mm"),
    number("sd_mm", "its SD", "mm"),
    number("p2_percent", "share of all discs with a centre at most 2 mm off; one not found counts as off", "%"),
    number("mdoc_percent", "mean Dice, one not found counts 0: MDOC, eq. 3", "%"),
    number("sddoc_percent", "its SD", "%"),
    number("any_name_percent", "mean Dice with the found disc that fits best, whatever its name", "%"),
    number("maad_mm", "mean absolute surface distance of discs found: MAAD, ASD", "mm"),
    number("maad_sd_mm", "its SD", "mm"),
    number("hausdorff_mm", "mean Hausdorff distance of surface meshes of discs found", "mm"),
    number("hausdorff_sd_mm", "its SD", "mm"),
    number("levels_right_percent", "share of all discs found under the right name", "%"),
    number("volume_error_percent", "mean signed volume error of discs found", "%"),
    number("volume_error_sd_percent", "its SD", "%"),
    Col("n_changes", "int", "discs with a change error"),
    number("arvd_percent", "mean arvd", "%"),
    number("arvd_median_percent", "median arvd", "%"),
    number("arvd_max_percent", "largest arvd", "%"),
    number("change_error_percent", "mean signed error of change, both visits automatic", "%"),
    number("change_error_sd_percent", "its SD", "%"),
), ("row",))
