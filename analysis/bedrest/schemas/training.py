"""What `bedrest train` was trained on, and how accurate the result is."""

from __future__ import annotations

from bedrest.schemas import columns as col
from bedrest.schemas.columns import num
from bedrest.schemas.table import Col, Table
from bedrest.schemas.validity import ACCURACY

_FOLD = Col("fold", "str", "a cross-validation fold, or final")

TRAINING_SCANS = Table("training_scans", "what `bedrest train` was trained on: one row per labelled visit", (
    col.SUBJECT, col.SESSION,
    Col("contrasts", "str", "contrasts of the visit, joined by +"),
    Col("discs", "str", "labels in the reference mask", required=False),
    Col("role", "str", "in the final training", values=("training", "validation")),
    Col("tested_in", "str", "the run whose network was not trained on this subject; empty when there is none",
        required=False),
), ("subject", "session"))

TRAINING_FOLDS = Table("training_folds", "one row per run of `bedrest train`", (
    _FOLD,
    Col("training", "str", "subjects trained on"),
    Col("validation", "str", "subjects that decide when to stop", required=False),
    Col("held_out", "str", "subjects used for testing only", required=False),
    Col("steps", "int", "optimiser steps", "1", minimum=0),
    Col("minutes", "float", "time used", "min", minimum=0),
    Col("stopped", "str", "why the run ended"),
    num("start_dice", "mean disc Dice of the validation scans, starting network", "1", 0),
    num("best_dice", "mean disc Dice of the validation scans, trained network", "1", 0),
), ("fold",))

TRAINING_CURVES = Table("training_curves", "one row per recorded step of a run; a step has a loss, a Dice, or both", (
    _FOLD,
    Col("step", "int", "optimiser step", "1", minimum=0),
    num("minutes", "time used so far", "min", 0),
    num("loss", "mean loss since the last row", "1"),
    num("validation_dice", "mean disc Dice of the validation scans; at step 0 that of the starting network", "1", 0),
), ("fold", "step"))

TRAINING_ACCURACY = Table(
    "training_accuracy", "starting and trained network on scans the run was not trained on, one row per disc", (
        _FOLD, Col("network", "str", "whose mask it is", values=("start", "trained")), *ACCURACY.columns,
    ), ("fold", "network", "subject", "session", "level"))
