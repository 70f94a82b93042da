"""Every table of the toolkit: columns, dtypes, units, keys, meaning. Checked on write and on read.

The one source of `data_manifest/columns.md`. Knows nothing of where tables lie or how they are made.
A missing number is an empty CSV cell (NaN); identifiers are always text, so ``01`` never becomes 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from analysis.vocabulary import LEVELS, SIGNAL_COLUMNS, Contrast, MaskRole, Phase, Status

if TYPE_CHECKING:
    import pandera.pandas as pa

Dtype = Literal["str", "int", "float", "bool"]


@dataclass(frozen=True)
class Col:
    """One column. `values` lists the only ones allowed; `unit` is for readers, the name carries it too."""

    name: str
    dtype: Dtype
    meaning: str
    unit: str = ""
    required: bool = True  # may a value be missing?
    optional: bool = False  # may the whole column be absent?
    values: tuple[str, ...] = ()
    minimum: float | None = None


@dataclass(frozen=True)
class Table:
    """One table: its columns in order and the columns that make a row unique."""

    name: str
    meaning: str
    columns: tuple[Col, ...]
    key: tuple[str, ...]
    free_columns: bool = False

    @property
    def column_names(self) -> list[str]:
        return [c.name for c in self.columns]

    @cached_property
    def pandera(self) -> pa.DataFrameSchema:
        """The same table as a pandera schema (imported on first use)."""
        import pandera.pandas as pa

        dtypes = {"str": str, "int": "Int64", "float": float, "bool": bool}
        columns = {}
        for c in self.columns:
            checks = []
            if c.values:
                checks.append(pa.Check.isin(c.values))
            if c.minimum is not None:
                checks.append(pa.Check.ge(c.minimum))
            columns[c.name] = pa.Column(
                dtypes[c.dtype], checks, nullable=not c.required, required=not c.optional, coerce=True
            )
        return pa.DataFrameSchema(columns, unique=list(self.key) or None, strict=not self.free_columns, name=self.name)


_SUBJECT = Col("subject", "str", "subject identifier as in the dataset, for example sub-01")
_SESSION = Col("session", "str", "session identifier, for example ses-1")
_DAY = Col("study_day", "float", "day of the study; day 1 is the first day in bed, negative before", "day")
_GROUP = Col("group", "str", "study arm")
_PHASE = Col("phase", "str", "phase of the study", values=tuple(Phase))
_LEVEL = Col("level", "str", "disc level, or unnamed-N where levels could not be told")
_REF = Col("reference_session", "str", "the visit that changes are counted from")
_STATUS = Col("status", "str", "ok, flagged (measured but doubtful) or failed (not measured)", values=tuple(Status))
_REASON = Col("reason", "str", "why a row is not ok; empty when it is", required=False)
_SOURCE = Col("source", "str", "whose mask was measured: automatic, reference or given",
              values=("automatic", "reference", "given"))


def _f(name: str, meaning: str, unit: str, minimum: float | None = None) -> Col:
    return Col(name, "float", meaning, unit, required=False, minimum=minimum)


SUBJECTS = Table("subjects", "one row a subject; further columns are kept as they are", (
    _SUBJECT, _GROUP,
    Col("age", "float", "age at enrolment", "year", required=False, optional=True, minimum=0),
    Col("sex", "str", "F, M or O", required=False, optional=True, values=("F", "M", "O")),
    Col("height_cm", "float", "standing height", "cm", required=False, optional=True, minimum=0),
    Col("weight_kg", "float", "body mass", "kg", required=False, optional=True, minimum=0),
), ("subject",), free_columns=True)

SESSIONS = Table("sessions", "one row a visit of a subject", (
    _SUBJECT, _SESSION, _DAY, _PHASE,
    Col("scan_time", "str", "clock time of the scan, HH:MM", required=False, optional=True),
    Col("minutes_supine", "float", "minutes lying before the scan; a standing day changes a disc more than bed rest",
        "min", required=False, optional=True, minimum=0),
), ("subject", "session"))

SCANS = Table("scans", "one row a file", (
    _SUBJECT, _SESSION,
    Col("contrast", "str", "what the file holds: a contrast, a reference mask or a mask to be measured",
        values=(*Contrast, *MaskRole)),
    Col("path", "str", "file, absolute or relative to the study's image folder"),
    Col("sha256", "str", "checksum of the file; empty when it could not be read", required=False, optional=True),
), ("subject", "session", "contrast"))

MEASURES = Table("measures", "one row a disc, visit and mask source", (
    _SUBJECT, _GROUP, _SESSION, _DAY, _PHASE, _LEVEL, _SOURCE,
    _f("volume_mm3", "voxel count times voxel volume", "mm3", 0),
    Col("n_voxels", "int", "voxels of the disc", "1", required=False, minimum=0),
    _f("height_mean_mm", "volume over the area projected along the disc normal", "mm", 0),
    _f("diameter_ap_mm", "largest antero-posterior extent in the disc plane", "mm", 0),
    _f("diameter_transverse_mm", "largest left-right extent in the disc plane", "mm", 0),
    _f("centre_x_mm", "centre of mass, to the right", "mm"),
    _f("centre_y_mm", "centre of mass, to the front", "mm"),
    _f("centre_z_mm", "centre of mass, to the head", "mm"),
    *(_f(SIGNAL_COLUMNS[c], f"mean {c.value} intensity in the disc", "a.u.") for c in Contrast),
    _f("mean_probability", "mean network probability inside the disc", "1", 0),
    _STATUS, _REASON,
), ("subject", "session", "level", "source"))

_MASK = Col("mask", "str", "name of the measured mask file")
_SHAPE = tuple(c for c in MEASURES.columns if c.name.startswith(("volume", "n_voxels", "height", "diameter", "centre")))
MASK_MEASURES = Table("mask_measures", "what `bedrest measure` writes: one row a disc of one mask", (
    _MASK, _LEVEL, *_SHAPE, _f("signal", "mean intensity in the disc of the image given", "a.u."), _STATUS, _REASON,
), ("mask", "level"))

CHANGE = Table("change", "one row a disc and visit after the reference visit", (
    _SUBJECT, _GROUP, _LEVEL, _SOURCE, _REF, _SESSION, _DAY, _PHASE,
    _f("volume_reference_mm3", "volume at the reference visit", "mm3", 0),
    _f("volume_mm3", "volume at this visit", "mm3", 0),
    _f("change_mm3", "volume minus volume at the reference visit", "mm3"),
    _f("change_percent", "change over the volume at the reference visit", "%"),
    _STATUS, _REASON,
), ("subject", "level", "source", "session"))

ARVD = Table("arvd", "one row a disc and visit with reference masks at both visits", (
    _SUBJECT, _GROUP, _LEVEL, _REF, _SESSION, _DAY,
    _f("vg1_mm3", "reference-mask volume at the reference visit", "mm3", 0),
    _f("vg2_mm3", "reference-mask volume at this visit", "mm3", 0),
    _f("vt1_mm3", "automatic volume at the reference visit", "mm3", 0),
    _f("vt2_mm3", "automatic volume at this visit", "mm3", 0),
    _f("arvd", "||Vg1-Vt2|-|Vg1-Vg2||/Vg1, Li et al. 2018 eq. 4: blind to the sign of change", "1", 0),
    _f("signed_change_error", "((Vt2-Vt1)-(Vg2-Vg1))/Vg1: what arvd hides", "1"),
    _STATUS, _REASON,
), ("subject", "level", "session"))

ACCURACY = Table("accuracy", "automatic against reference mask, one row a disc and visit", (
    _SUBJECT, _SESSION, _LEVEL,
    _f("dice", "2|A and B|/(|A|+|B|)", "1", 0),
    _f("centre_distance_mm", "distance of the centres of mass; its mean is MLD, Li et al. 2018 eq. 2", "mm", 0),
    _f("assd_mm", "average symmetric surface distance: mean over the surface area of both masks", "mm", 0),
    _f("maad_mm", "mean of the two directed average absolute surface distances", "mm", 0),
    _f("hausdorff_mm", "largest surface distance in either direction", "mm", 0),
    _f("hausdorff95_mm", "larger of the two directed 95th percentiles of surface distance, by area", "mm", 0),
    _f("volume_predicted_mm3", "volume of the predicted mask", "mm3", 0),
    _f("volume_reference_mm3", "volume of the reference mask", "mm3", 0),
    _f("volume_error_percent", "(predicted - reference) over reference", "%"),
    _STATUS, _REASON,
), ("subject", "session", "level"))

MASK_ACCURACY = Table("mask_accuracy", "what `bedrest evaluate` writes: one row a disc of two masks", (
    _MASK, *(c for c in ACCURACY.columns if c.name not in ("subject", "session")),
), ("mask", "level"))

CONTRASTS = Table("contrasts", "one row a statistical contrast; n counts subjects", (
    Col("family", "str", "the set of tests that share one Holm correction"),
    Col("analysis", "str", "the test in words"),
    _SOURCE,
    Col("level", "str", "disc level, or all (mean over a subject's discs)", values=(*LEVELS, "all")),
    Col("group", "str", "study arm, or first minus second"),
    _REF, _SESSION,
    Col("n", "int", "subjects in the test", "1", minimum=0),
    Col("n_missing", "int", "subjects of the group(s) without a usable pair of visits", "1", minimum=0),
    _f("estimate_percent", "mean change, or difference of mean changes", "%"),
    _f("se_percent", "standard error of the estimate", "%", 0),
    _f("ci_low_percent", "lower end of the interval", "%"),
    _f("ci_high_percent", "upper end of the interval", "%"),
    Col("confidence_level", "float", "level of the interval", "1"),
    _f("t", "t statistic", "1"),
    _f("df", "degrees of freedom", "1", 0),
    Col("df_method", "str", "how the degrees of freedom were got"),
    _f("p", "two-sided p", "1", 0),
    _f("p_holm", "p after Holm within the family", "1", 0),
    Col("family_size", "int", "tests in the family", "1", minimum=0),
    _f("hedges_g", "standardised effect, small-sample corrected", "1"),
    _STATUS, _REASON,
), ("family", "source", "level", "group", "session"))

FAILURES = Table("failures", "everything that went wrong or is doubtful, in words", (
    Col("stage", "str", "stage that speaks: input, segment, measure, change, evaluate, report"),
    Col("subject", "str", "subject", required=False),
    Col("session", "str", "session", required=False),
    Col("level", "str", "disc, if it concerns one", required=False),
    _STATUS,
    Col("reason", "str", "what was expected, what was found, where, and the remedy"),
), ())

INPUT_PROBLEMS = Table("input_problems", "what the check of a subject's input found", (
    Col("subject", "str", "subject", required=False),
    Col("session", "str", "session; empty when it concerns the whole subject", required=False),
    Col("reason", "str", "what was expected, what was found, where, and the remedy"),
), ())

SCAN_RECORDS = Table("scan_records", "one row a visit: what became of its segmentation", (
    _SUBJECT, _SESSION,
    Col("mask_path", "str", "mask relative to the output folder; empty when failed", required=False),
    Col("source", "str", "automatic or given", values=("automatic", "given")),
    Col("contrasts", "str", "contrasts used, joined by +", required=False),
    Col("device", "str", "cpu, cuda or mps", required=False),
    _f("seconds", "wall time of segmentation", "s", 0),
    Col("warnings", "str", "joined by |", required=False),
    _STATUS, _REASON,
), ("subject", "session"))

FINDINGS = Table("findings", "one row a disc of a visit, as the engine named it", (
    _SUBJECT, _SESSION, _LEVEL,
    Col("label", "int", "number in the mask", minimum=1),
    _f("mean_probability", "mean network probability inside the disc", "1", 0),
    _STATUS, _REASON,
), ("subject", "session", "level"))

TRUTH = Table("truth", "the demo cohort's known volumes, one row a disc and visit", (
    _SUBJECT, _GROUP, _SESSION, _DAY, _LEVEL,
    Col("volume_mm3", "float", "analytic volume of the synthetic disc", "mm3", minimum=0),
    Col("reference_mask_volume_mm3", "float", "volume of the truth mask on the scan's grid", "mm3", minimum=0),
    Col("expected_change_percent", "float", "mean change of the group that the demo was built with", "%"),
), ("subject", "session", "level"))

TABLES: tuple[Table, ...] = (
    SUBJECTS, SESSIONS, SCANS, INPUT_PROBLEMS, SCAN_RECORDS, FINDINGS, MEASURES, MASK_MEASURES, CHANGE, ARVD, ACCURACY,
    MASK_ACCURACY, CONTRASTS, FAILURES, TRUTH,
)
