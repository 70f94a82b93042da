"""What is measured of discs and spines at one visit. The measures themselves are those of `measurement.registry`."""

from __future__ import annotations

from typing import Any

from bedrest.measurement import registry
from bedrest.measurement.coverage import COVERED
from bedrest.measurement.definition import Measure, Needs
from bedrest.measurement.registry import DISC_MEASURES, VOLUME
from bedrest.measurement.volumes import VOLUME_SINGLE
from bedrest.schemas import columns as col
from bedrest.schemas.columns import num
from bedrest.schemas.table import Col, Table
from bedrest.vocabulary import FROM_ALL_VISITS, ErrorsFrom, VolumeMethod


def _column(measure: Measure[Any]) -> Col:
    """The column of a measure."""
    empty = [f"empty {measure.undefined}"] if measure.undefined else []
    needs = [f"needs {measure.needs}"] if measure.needs in (Needs.TISSUES, Needs.IMAGES) else []
    return Col(measure.name, "int" if measure.whole else "float", "; ".join([measure.meaning, *needs, *empty]),
               measure.unit, required=False, minimum=measure.minimum)


_POSITION = (
    num("centre_x_mm", "centre of mass, to the right", "mm"),
    num("centre_y_mm", "centre of mass, to the front", "mm"),
    num("centre_z_mm", "centre of mass, to the head", "mm"),
)

MEASURES = Table("measures", "one row per disc, visit and mask source", (
    col.SUBJECT, col.GROUP, col.SESSION, col.STUDY_DAY, col.PHASE, col.LEVEL, col.SOURCE, col.MASK_ORIGIN,
    _column(VOLUME),
    Col("volume_method", "str", "joint: summed probabilities, all visits of the subject measured jointly; "
        "deformation: their mean over the visits, with the differences that the images show; single: those of this "
        "visit alone; voxels: voxels counted, of a given mask or an edited disc", required=False,
        values=tuple(VolumeMethod)),
    num("volume_se_mm3", "standard error of volume_mm3 against the truth, as estimated on synthetic scans; empty for "
        "manual, given or edited masks", "mm3", 0),
    num("volume_repeat_sd_mm3", "SD of volume_mm3 when the same disc is scanned again, as estimated on synthetic "
        "scans: what change is judged by; empty as volume_se_mm3", "mm3", 0),
    Col("errors_from", "str", "what both were fitted on: study (the second by `bedrest calibrate`, on this study's own "
        "scans) or shipped (synthetic scans); empty as they", required=False, values=tuple(ErrorsFrom)),
    num("change_recovered", "share of a true change that is measured, where calibration found it less than 1; else 1",
        "1", 0),
    *(_column(m) for m in DISC_MEASURES if m is not VOLUME),
    *_POSITION,
    Col("signals_reason", "str", "why a measure that needs images is missing; empty when none is", required=False),
    num("mean_probability", "mean network probability inside the disc", "1", 0),
    num("level_confidence", "probability that the level is right, given the image", "1", 0),
    col.STATUS,
    Col("reason", "str", "why a row is not ok; of an ok one, why a measure that needs tissues is missing",
        required=False),
    col.FINDINGS,
), ("subject", "session", "level", "source"))

JOINT = Table("joint", "volumes from all visits of a subject together, one row per disc and visit", (
    col.SUBJECT, col.SESSION, col.LEVEL,
    Col("contrasts", "str", "contrasts that every visit has, joined by +; no others were used"),
    Col("grid_shifts", "int", "times the disc was segmented, each time with the grid shifted", "1", minimum=1),
    Col(VOLUME.name, "float", "volume of the disc, by volume_method", VOLUME.unit, minimum=0),
    Col("volume_method", "str", "deformation or joint, as in measures", values=tuple(FROM_ALL_VISITS)),
    num("volume_joint_mm3", "summed probabilities, mean over the grid shifts", VOLUME.unit, 0),
    num("deformation_se_percent", "standard error of the volume against the disc's other visits, by deformation's own "
        "account; empty where it knows no change", "%", 0),
    num(VOLUME_SINGLE.name, "from this visit's automatic mask alone", VOLUME_SINGLE.unit, 0),
    num("grid_shifts_sd_percent", "SD of volume_mm3 over the grid shifts", "%", 0),
    num(COVERED.name, "share of the disc that all visits show, estimated from its sections: volume_mm3 is of "
        "that part", "%", 0),
    num("boundary_uncertainty", "undecided share of the volume: sum of p (1 - p) over sum of p", "1", 0),
    num("rotation_deg", "angle by which the visit was rotated to the mean pose of the visits", "degree", 0),
), ("subject", "session", "level"))

SPINE_MEASURES = Table("spine_measures", "one row per visit and mask source", (
    col.SUBJECT, col.GROUP, col.SESSION, col.STUDY_DAY, col.PHASE, col.SOURCE,
    *map(_column, registry.SPINE_MEASURES),
    Col("n_discs", "int", "discs from T12-L1 to L5-S1 that were measured, six at most", "1", minimum=0),
    col.STATUS, col.REASON, col.FINDINGS,
), ("subject", "session", "source"))

MASK_MEASURES = Table("mask_measures", "what `bedrest measure` writes: one row per disc of one mask", (
    col.MASK, col.LEVEL, *(_column(m) for m in DISC_MEASURES if m.needs == Needs.MASK), *_POSITION,
    num("signal", "mean intensity in the disc of the image given", "a.u."),
    col.STATUS, col.REASON, col.FINDINGS,
), ("mask", "level"))
