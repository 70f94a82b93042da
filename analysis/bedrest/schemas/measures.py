"""What is measured of discs and spines at one visit."""

from __future__ import annotations

from bedrest.schemas import columns as col
from bedrest.schemas.columns import num
from bedrest.schemas.table import Col, Table
from bedrest.vocabulary import DIXON, NORMALISED_COLUMNS, SIGNAL_COLUMNS, Contrast, VolumeMethod

_REFERENCE_TISSUE = {**dict.fromkeys(DIXON, "the marrow of its two neighbours, water + fat"),
                     Contrast.T2: "the spinal canal beside it"}

MEASURES = Table("measures", "one row a disc, visit and mask source", (
    col.SUBJECT, col.GROUP, col.SESSION, col.STUDY_DAY, col.PHASE, col.LEVEL, col.SOURCE, col.MASK_ORIGIN,
    num("volume_mm3", "volume of the disc, by volume_method", "mm3", 0),
    Col("volume_method", "str", "joint: summed probabilities, every visit of the subject looked at alike; single: "
        "those of this visit alone; voxels: voxels counted, for masks that no network made", required=False,
        values=tuple(VolumeMethod)),
    num("volume_se_mm3", "standard error of volume_mm3 against the truth, as found on synthetic scans; empty for masks "
        "drawn, given or edited by a person", "mm3", 0),
    num("volume_repeat_sd_mm3", "SD of volume_mm3 when the same disc is scanned again, as found on synthetic scans: "
        "what change is judged by; empty as volume_se_mm3", "mm3", 0),
    num("volume_single_mm3", "from this visit alone: its summed probabilities, which keep partial volume (where a mask "
        "was edited, its voxels count whole); for masks that no network made volume_voxels_mm3", "mm3", 0),
    Col("n_voxels", "int", "voxels of the disc", "1", required=False, minimum=0),
    num("volume_voxels_mm3", "voxel count times voxel volume", "mm3", 0),
    num("height_mean_mm", "volume over the area projected along the disc normal", "mm", 0),
    num("diameter_ap_mm", "largest antero-posterior extent in the disc plane", "mm", 0),
    num("diameter_transverse_mm", "largest left-right extent in the disc plane", "mm", 0),
    num("height_anterior_mm", "thickness from 10 to 25 % of the depth behind the front end, mid-sagittal", "mm", 0),
    num("height_posterior_mm", "thickness from 10 to 25 % of the depth before the back end, mid-sagittal", "mm", 0),
    num("wedge_deg", "angle between the end plates, mid-sagittal; positive = open to the front", "degree"),
    num("area_midsagittal_mm2", "area of the mid-sagittal section", "mm2", 0),
    num("bulge_posterior_mm", "how far the back stands behind the line joining the bodies' posterior corners; "
        "negative: in front of it; needs tissues", "mm"),
    num("canal_width_mm", "antero-posterior width of the spinal canal in the disc plane; needs tissues", "mm", 0),
    num("intervertebral_length_mm", "distance of the two bodies' centres; of L5-S1 from L5's centre to that of S1's "
        "upper end plate; needs tissues", "mm", 0),
    num("centre_x_mm", "centre of mass, to the right", "mm"),
    num("centre_y_mm", "centre of mass, to the front", "mm"),
    num("centre_z_mm", "centre of mass, to the head", "mm"),
    *(num(SIGNAL_COLUMNS[c], f"mean {c.value} intensity in the disc", "a.u.") for c in Contrast),
    *(num(NORMALISED_COLUMNS[c], f"mean {c.value} intensity in the disc over that of {_REFERENCE_TISSUE[c]}", "1")
      for c in Contrast),
    num("fat_fraction", "fat over water + fat, of mean signals inside the disc eroded by one voxel; not a density",
        "1"),
    Col("signals_reason", "str", "why a normalised signal or the fat fraction is missing; empty when none is",
        required=False),
    num("mean_probability", "mean network probability inside the disc", "1", 0),
    num("level_confidence", "probability that the level is right, as far as the image tells", "1", 0),
    col.STATUS,
    Col("reason", "str", "why a row is not ok; of an ok one, why a measure that needs tissues is missing",
        required=False),
    col.FINDINGS,
), ("subject", "session", "level", "source"))

JOINT = Table("joint", "volumes from all visits of a subject together, one row a disc and visit", (
    col.SUBJECT, col.SESSION, col.LEVEL,
    Col("contrasts", "str", "contrasts that every visit has, joined by +; no others were looked at"),
    Col("looks", "int", "times the network looked, each time on another part of its grid", "1", minimum=1),
    Col("volume_mm3", "float", "mean of the looks: summed probabilities", "mm3", minimum=0),
    num("volume_single_mm3", "from this visit's automatic mask alone", "mm3", 0),
    num("looks_sd_percent", "SD over the looks, of volume_mm3", "%", 0),
    num("softness", "share of the volume that is undecided: sum of p (1 - p) over sum of p", "1", 0),
    num("turn_deg", "how far this visit was turned towards the mean of the visits", "degree", 0),
), ("subject", "session", "level"))

SPINE_MEASURES = Table("spine_measures", "one row a visit and mask source", (
    col.SUBJECT, col.GROUP, col.SESSION, col.STUDY_DAY, col.PHASE, col.SOURCE,
    num("lumbar_length_mm", "length of the curve through the disc centres from T12-L1 to L5-S1", "mm", 0),
    num("lordosis_deg", "angle of the upper end plates of L1 and S1 (Cobb), positive = hollow at the back", "degree"),
    Col("n_discs", "int", "discs from T12-L1 to L5-S1 that were measured, six at most", "1", minimum=0),
    col.STATUS, col.REASON, col.FINDINGS,
), ("subject", "session", "source"))

_SHAPE = tuple(c for c in MEASURES.columns if c.name.startswith(
    ("volume_mm3", "n_voxels", "volume_voxels", "height", "diameter", "wedge", "area", "centre")))

MASK_MEASURES = Table("mask_measures", "what `bedrest measure` writes: one row a disc of one mask", (
    col.MASK, col.LEVEL, *_SHAPE, num("signal", "mean intensity in the disc of the image given", "a.u."),
    col.STATUS, col.REASON, col.FINDINGS,
), ("mask", "level"))
