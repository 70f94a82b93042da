"""What describes a study: written by its owner, or checked on the way in."""

from __future__ import annotations

from bedrest.schemas import columns as col
from bedrest.schemas.table import Col, Table
from bedrest.vocabulary import EXCLUDE, LEVELS, Contrast, MaskRole

SUBJECTS = Table("subjects", "one row per subject; further columns are kept as they are", (
    col.SUBJECT, col.GROUP,
    Col("age", "float", "age at enrolment", "year", required=False, optional=True, minimum=0),
    Col("sex", "str", "F, M or O", required=False, optional=True, values=("F", "M", "O")),
    Col("height_cm", "float", "standing height", "cm", required=False, optional=True, minimum=0),
    Col("weight_kg", "float", "body mass", "kg", required=False, optional=True, minimum=0),
), ("subject",), free_columns=True)

SESSIONS = Table("sessions", "one row per visit of a subject", (
    col.SUBJECT, col.SESSION, col.STUDY_DAY, col.PHASE,
    Col("scan_time", "str", "clock time of the scan, HH:MM", required=False, optional=True),
    Col("minutes_supine", "float", "minutes lying before the scan; a standing day changes a disc more than bed rest",
        "min", required=False, optional=True, minimum=0),
    Col("field_tesla", "float", "field strength; from the sidecars of the images where the table does not say", "T",
        required=False, optional=True, minimum=0),
    Col("scanner", "str", "manufacturer and model of the scanner, four digits of a digest of its serial number; "
        "likewise", required=False, optional=True),
    Col("slice_mm", "float", "slice thickness, without gaps; likewise", "mm", required=False, optional=True, minimum=0),
), ("subject", "session"))

SCANS = Table("scans", "one row per file", (
    col.SUBJECT, col.SESSION,
    Col("contrast", "str", "what the file holds: a contrast, a reference mask or a mask to be measured",
        values=(*Contrast, *MaskRole)),
    Col("path", "str", "file, absolute or relative to the study's image folder"),
    Col("sha256", "str", "checksum of the file; empty when it could not be read", required=False, optional=True),
), ("subject", "session", "contrast"))

EDITED_MASKS = Table("edited_masks", "one row per manually corrected mask, measured in place of the automatic one", (
    col.SUBJECT, col.SESSION,
    Col("path", "str", "file, absolute"),
    Col("sha256", "str", "checksum of the file; empty when it could not be read", required=False),
), ("subject", "session"))

LEVEL_NAMES = Table("levels", "names of discs set manually: levels.csv", (
    col.SUBJECT,
    Col("session", "str", "session identifier; empty = every visit of the subject", required=False, optional=True),
    Col("found", "str", "name that the disc has in the mask: a level, or unnamed-N"),
    Col("level", "str", "what it should be; exclude = do not measure it", values=(*LEVELS, EXCLUDE)),
), ("subject", "session", "found"))

PSEUDONYMS = Table("pseudonyms", "key of `bedrest share`: each subject's pseudonym; it stays with the study", (
    col.SUBJECT, Col("pseudonym", "str", "the name in shared copies; random, the same in every copy"),
), ("subject",))

INPUT_PROBLEMS = Table("input_problems", "problems of a subject's input", (
    Col("subject", "str", "subject", required=False),
    Col("session", "str", "session; empty when it concerns the whole subject", required=False),
    Col("reason", "str", "what was expected, what was found, where, and the remedy"), col.FINDINGS,
), ())
