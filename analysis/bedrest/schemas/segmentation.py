"""What became of the masks and of the names of their discs, before anything is measured."""

from __future__ import annotations

from dataclasses import replace

from bedrest.schemas import columns as col
from bedrest.schemas.columns import num
from bedrest.schemas.inputs import LEVEL_NAMES
from bedrest.schemas.table import Col, Table
from bedrest.vocabulary import EXCLUDE, LEVELS, MaskOrigin

SCAN_RECORDS = Table("scan_records", "one row per visit: outcome of its segmentation", (
    col.SUBJECT, col.SESSION,
    Col("mask_path", "str", "mask relative to the output folder; empty when failed", required=False),
    Col("source", "str", "whose mask segmentation passed on: automatic or given",
        values=(MaskOrigin.AUTOMATIC, MaskOrigin.GIVEN)),
    Col("contrasts", "str", "contrasts used, joined by +", required=False),
    Col("voxel_mm", "str", "voxel size of the mask: right x front x head, mm", required=False),
    Col("device", "str", "cpu, cuda or mps", required=False),
    num("seconds", "wall time of segmentation", "s", 0),
    Col("warnings", "str", "remarks on the scan and on its segmentation", required=False),
    col.STATUS, col.REASON, col.FINDINGS,
), ("subject", "session"))

FINDINGS = Table("findings", "one row per disc of a visit, as the engine named it", (
    col.SUBJECT, col.SESSION, col.LEVEL,
    Col("label", "int", "number in the mask", minimum=1),
    num("mean_probability", "mean network probability inside the disc", "1", 0),
    num("level_confidence", "probability that the level is right, given the image", "1", 0),
    col.STATUS, col.REASON, col.FINDINGS,
), ("subject", "session", "level"))

MATCHES = Table("matches", "names of discs that do not fit the subject's other visits, one row per disc", (
    col.SUBJECT, col.SESSION,
    Col("found", "str", "name that the disc has from its visit alone: a level, or unnamed-N"),
    Col("level", "str", "the name it is measured under; exclude = it lies beyond T11-T12",
        values=(*LEVELS, EXCLUDE)),
    Col("reason", "str", "what the other visits say"), col.FINDINGS,
), ("subject", "session", "found"))

RENAMES = Table("renames", "one row per manually set name and visit: its outcome", (
    col.SUBJECT, replace(LEVEL_NAMES.columns[1], optional=False), *LEVEL_NAMES.columns[2:], col.STATUS, col.REASON,
    col.FINDINGS,
), ("subject", "session", "found"))

EDITS = Table("edits", "edited against automatic mask, one row per disc and edited visit; discs are named by their "
                       "numbers in the masks, before levels.csv", (
    col.SUBJECT, col.SESSION, col.LEVEL,
    num("volume_automatic_mm3", "volume before editing: of the automatic mask, or of the one given in its place", "mm3",
        0),
    num("volume_edited_mm3", "volume after editing", "mm3", 0),
    num("difference_percent", "(edited - automatic) over automatic", "%"),
    num("dice", "2|A and B|/(|A|+|B|)", "1", 0),
    Col("voxels_added", "int", "voxels of the disc in the edited mask alone", "1", required=False, minimum=0),
    Col("voxels_removed", "int", "voxels of the disc in the automatic mask alone", "1", required=False, minimum=0),
    col.STATUS, Col("reason", "str", "why a row is not ok; of a disc in one of the masks alone: which", required=False),
    col.FINDINGS,
), ("subject", "session", "level"))
