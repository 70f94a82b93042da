"""Every table of the toolkit: columns, dtypes, units, keys, meaning. Checked on write and on read.

The one source of `data_manifest/columns.md`. Knows nothing of where tables lie or how they are made.
A missing number is an empty CSV cell (NaN); identifiers are always text, so ``01`` never becomes 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from bedrest.vocabulary import (
    ALL_LEVELS,
    DIXON,
    EXCLUDE,
    LEVELS,
    NORMALISED_COLUMNS,
    SIGNAL_COLUMNS,
    Contrast,
    LimitFrom,
    MaskOrigin,
    MaskRole,
    Phase,
    Status,
    Verdict,
    VolumeMethod,
)

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
            if c.values:  # typed frames hold a missing text as an empty one
                checks.append(pa.Check.isin(c.values if c.required else (*c.values, "")))
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
_REASON = Col("reason", "str", "why a row is not ok; empty when it is, unless a person set its level", required=False)
_SOURCE = Col("source", "str", "series of masks: automatic (the method's own, with those edited or given in place of "
                               "them; mask_origin tells which) or reference", values=("automatic", "reference"))
_ORIGIN = Col("mask_origin", "str", "how the measured mask came about", values=tuple(MaskOrigin))


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

_REFERENCE_TISSUE = {**dict.fromkeys(DIXON, "the marrow of its two neighbours, water + fat"),
                     Contrast.T2: "the spinal canal beside it"}

EDITED_MASKS = Table("edited_masks", "one row a mask corrected by hand, measured in place of the automatic one", (
    _SUBJECT, _SESSION,
    Col("path", "str", "file, absolute"),
    Col("sha256", "str", "checksum of the file; empty when it could not be read", required=False),
), ("subject", "session"))

LEVEL_NAMES = Table("levels", "names of discs set by hand: levels.csv", (
    _SUBJECT,
    Col("session", "str", "session identifier; empty = every visit of the subject", required=False, optional=True),
    Col("found", "str", "name that the disc has in the mask: a level, or unnamed-N"),
    Col("level", "str", "what it should be; exclude = do not measure it", values=(*LEVELS, EXCLUDE)),
), ("subject", "session", "found"))

PSEUDONYMS = Table("pseudonyms", "the key of `bedrest share`: who is who; it stays with the study", (
    _SUBJECT, Col("pseudonym", "str", "the name in what is handed on; drawn by chance, the same in every copy"),
), ("subject",))

RENAMES = Table("renames", "one row a name set by hand and visit: what came of it", (
    _SUBJECT, replace(LEVEL_NAMES.columns[1], optional=False), *LEVEL_NAMES.columns[2:], _STATUS, _REASON,
), ("subject", "session", "found"))

MEASURES = Table("measures", "one row a disc, visit and mask source", (
    _SUBJECT, _GROUP, _SESSION, _DAY, _PHASE, _LEVEL, _SOURCE, _ORIGIN,
    _f("volume_mm3", "volume of the disc, by volume_method", "mm3", 0),
    Col("volume_method", "str", "joint: summed probabilities, every visit of the subject looked at alike; single: "
        "those of this visit alone; voxels: voxels counted, for masks that no network made", required=False,
        values=tuple(VolumeMethod)),
    _f("volume_se_mm3", "standard error of volume_mm3 against the truth, as found on synthetic scans; empty for masks "
       "drawn, given or edited by a person", "mm3", 0),
    _f("volume_repeat_sd_mm3", "SD of volume_mm3 when the same disc is scanned again, as found on synthetic scans: "
       "what change is judged by; empty as volume_se_mm3", "mm3", 0),
    _f("volume_single_mm3", "from this visit alone: its summed probabilities, which keep partial volume (where a mask "
       "was edited, its voxels count whole); for masks that no network made volume_voxels_mm3", "mm3", 0),
    Col("n_voxels", "int", "voxels of the disc", "1", required=False, minimum=0),
    _f("volume_voxels_mm3", "voxel count times voxel volume", "mm3", 0),
    _f("height_mean_mm", "volume over the area projected along the disc normal", "mm", 0),
    _f("diameter_ap_mm", "largest antero-posterior extent in the disc plane", "mm", 0),
    _f("diameter_transverse_mm", "largest left-right extent in the disc plane", "mm", 0),
    _f("height_anterior_mm", "thickness from 10 to 25 % of the depth behind the front end, mid-sagittal", "mm", 0),
    _f("height_posterior_mm", "thickness from 10 to 25 % of the depth before the back end, mid-sagittal", "mm", 0),
    _f("wedge_deg", "angle between the end plates, mid-sagittal; positive = open to the front", "degree"),
    _f("area_midsagittal_mm2", "area of the mid-sagittal section", "mm2", 0),
    _f("bulge_posterior_mm", "how far the back stands behind the line joining the bodies' posterior corners; negative: "
       "in front of it; needs tissues", "mm"),
    _f("canal_width_mm", "antero-posterior width of the spinal canal in the disc plane; needs tissues", "mm", 0),
    _f("intervertebral_length_mm", "distance of the two bodies' centres; of L5-S1 from L5's centre to that of S1's "
       "upper end plate; needs tissues", "mm", 0),
    _f("centre_x_mm", "centre of mass, to the right", "mm"),
    _f("centre_y_mm", "centre of mass, to the front", "mm"),
    _f("centre_z_mm", "centre of mass, to the head", "mm"),
    *(_f(SIGNAL_COLUMNS[c], f"mean {c.value} intensity in the disc", "a.u.") for c in Contrast),
    *(_f(NORMALISED_COLUMNS[c], f"mean {c.value} intensity in the disc over that of {_REFERENCE_TISSUE[c]}", "1")
      for c in Contrast),
    _f("fat_fraction", "fat over water + fat, of mean signals inside the disc eroded by one voxel; not a density", "1"),
    Col("signals_reason", "str", "why a normalised signal or the fat fraction is missing; empty when none is",
        required=False),
    _f("mean_probability", "mean network probability inside the disc", "1", 0),
    _f("level_confidence", "probability that the level is right, as far as the image tells", "1", 0),
    _STATUS,
    Col("reason", "str", "why a row is not ok; of an ok one, why a measure that needs tissues is missing",
        required=False),
), ("subject", "session", "level", "source"))

MATCHES = Table("matches", "names of discs that do not fit the subject's other visits, one row a disc", (
    _SUBJECT, _SESSION,
    Col("found", "str", "name that the disc has from its visit alone: a level, or unnamed-N"),
    Col("level", "str", "the name it is measured under; exclude = it lies beyond T11-T12",
        values=(*LEVELS, EXCLUDE)),
    Col("reason", "str", "what the other visits say"),
), ("subject", "session", "found"))

JOINT = Table("joint", "volumes from all visits of a subject together, one row a disc and visit", (
    _SUBJECT, _SESSION, _LEVEL,
    Col("contrasts", "str", "contrasts that every visit has, joined by +; no others were looked at"),
    Col("looks", "int", "times the network looked, each time on another part of its grid", "1", minimum=1),
    Col("volume_mm3", "float", "mean of the looks: summed probabilities", "mm3", minimum=0),
    _f("volume_single_mm3", "from this visit's automatic mask alone", "mm3", 0),
    _f("looks_sd_percent", "SD over the looks, of volume_mm3", "%", 0),
    _f("softness", "share of the volume that is undecided: sum of p (1 - p) over sum of p", "1", 0),
    _f("turn_deg", "how far this visit was turned towards the mean of the visits", "degree", 0),
), ("subject", "session", "level"))

SPINE_MEASURES = Table("spine_measures", "one row a visit and mask source", (
    _SUBJECT, _GROUP, _SESSION, _DAY, _PHASE, _SOURCE,
    _f("lumbar_length_mm", "length of the curve through the disc centres from T12-L1 to L5-S1", "mm", 0),
    _f("lordosis_deg", "angle of the upper end plates of L1 and S1 (Cobb), positive = hollow at the back", "degree"),
    Col("n_discs", "int", "discs from T12-L1 to L5-S1 that were measured, six at most", "1", minimum=0),
    _STATUS, _REASON,
), ("subject", "session", "source"))

_MASK = Col("mask", "str", "name of the measured mask file")
_SHAPE = tuple(c for c in MEASURES.columns if c.name.startswith(
    ("volume_mm3", "n_voxels", "volume_voxels", "height", "diameter", "wedge", "area", "centre")))
MASK_MEASURES = Table("mask_measures", "what `bedrest measure` writes: one row a disc of one mask", (
    _MASK, _LEVEL, *_SHAPE, _f("signal", "mean intensity in the disc of the image given", "a.u."), _STATUS, _REASON,
), ("mask", "level"))

CHANGE = Table("change", "one row a disc and visit after the reference visit", (
    _SUBJECT, _GROUP, _LEVEL, _SOURCE, _REF, _SESSION, _DAY, _PHASE,
    replace(_ORIGIN, name="mask_origin_reference", meaning="mask_origin at the reference visit", required=False),
    _ORIGIN,
    _f("volume_reference_mm3", "volume at the reference visit", "mm3", 0),
    _f("volume_mm3", "volume at this visit", "mm3", 0),
    _f("change_mm3", "volume minus volume at the reference visit", "mm3"),
    _f("change_percent", "change over the volume at the reference visit", "%"),
    _f("se_percent", "standard error of change_percent, from both visits' volume_repeat_sd_mm3", "%", 0),
    _f("ci_low_percent", "lower end of the interval of change_percent", "%"),
    _f("ci_high_percent", "upper end of the interval of change_percent", "%"),
    Col("confidence_level", "float", "level of the interval", "1"),
    _f("change_single_percent", "the same change, each visit measured alone", "%"),
    _STATUS, _REASON,
), ("subject", "level", "source", "session"))

DETECTIONS = Table("detections", "is a change beyond measurement error, one row for every row of change", (
    _SUBJECT, _GROUP, _LEVEL, _SOURCE, _REF, _SESSION, _DAY, _PHASE,
    _f("change_percent", "as in change", "%"),
    _f("limit_low_percent", "a change below this is a fall beyond error", "%"),
    _f("limit_high_percent", "a change above this is a rise beyond error", "%", 0),
    Col("limit_from", "str", "repeated scans of this study: its smallest detectable change, true change from day to "
        "day included; error model: found on synthetic scans, for want of those", required=False,
        values=tuple(LimitFrom)),
    Col("n_repeats", "int", "values behind the limit; empty for the error model", "1", required=False, minimum=0),
    Col("confidence_level", "float", "share of unchanged discs inside the limits; 0.95 from repeated scans, else as in "
        "study.toml", "1", required=False),
    Col("verdict", "str", "rose, fell, within error, or not judged", values=tuple(Verdict)),
    _STATUS, replace(_REASON, meaning="why a row is not ok, or not judged"),
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

EDITS = Table("edits", "edited against automatic mask, one row a disc and edited visit; discs are named by their "
                       "numbers in the masks, before levels.csv", (
    _SUBJECT, _SESSION, _LEVEL,
    _f("volume_automatic_mm3", "volume before editing: of the automatic mask, or of the one given in its place", "mm3",
       0),
    _f("volume_edited_mm3", "volume after editing", "mm3", 0),
    _f("difference_percent", "(edited - automatic) over automatic", "%"),
    _f("dice", "2|A and B|/(|A|+|B|)", "1", 0),
    Col("voxels_added", "int", "voxels of the disc in the edited mask alone", "1", required=False, minimum=0),
    Col("voxels_removed", "int", "voxels of the disc in the automatic mask alone", "1", required=False, minimum=0),
    _STATUS, Col("reason", "str", "why a row is not ok; of a disc in one of the masks alone: which", required=False),
), ("subject", "session", "level"))

MASK_ACCURACY = Table("mask_accuracy", "what `bedrest evaluate` writes: one row a disc of two masks", (
    _MASK, *(c for c in ACCURACY.columns if c.name not in ("subject", "session")),
), ("mask", "level"))

_FOLD = Col("fold", "str", "a cross-validation fold, or final")
TRAINING_SCANS = Table("training_scans", "what `bedrest train` learnt from: one row a labelled visit", (
    _SUBJECT, _SESSION,
    Col("contrasts", "str", "contrasts of the visit, joined by +"),
    Col("discs", "str", "labels in the reference mask", required=False),
    Col("role", "str", "in the final training", values=("training", "validation")),
    Col("tested_in", "str", "the run whose network never learnt from this subject; empty when there is none",
        required=False),
), ("subject", "session"))

TRAINING_FOLDS = Table("training_folds", "one row a run of `bedrest train`", (
    _FOLD,
    Col("training", "str", "subjects learnt from"),
    Col("validation", "str", "subjects asked when to stop", required=False),
    Col("held_out", "str", "subjects never seen before the test", required=False),
    Col("steps", "int", "optimiser steps", "1", minimum=0),
    Col("minutes", "float", "time used", "min", minimum=0),
    Col("stopped", "str", "why the run ended"),
    _f("start_dice", "mean disc Dice of the validation scans, starting network", "1", 0),
    _f("best_dice", "mean disc Dice of the validation scans, trained network", "1", 0),
), ("fold",))

TRAINING_CURVES = Table("training_curves", "one row a recorded step of a run; a step has a loss, a Dice, or both", (
    _FOLD,
    Col("step", "int", "optimiser step", "1", minimum=0),
    _f("minutes", "time used so far", "min", 0),
    _f("loss", "mean loss since the last row", "1"),
    _f("validation_dice", "mean disc Dice of the validation scans; at step 0 that of the starting network", "1", 0),
), ("fold", "step"))

TRAINING_ACCURACY = Table(
    "training_accuracy", "starting and trained network on scans the run did not learn from, one row a disc", (
        _FOLD, Col("network", "str", "whose mask it is", values=("start", "trained")), *ACCURACY.columns,
    ), ("fold", "network", "subject", "session", "level"))

_LEVEL_OR_ALL = Col("level", "str", "disc level, or all (every disc together)", values=(*LEVELS, ALL_LEVELS))
_GROUPS = Col("group", "str", "study arm, or first minus second")
_CONFIDENCE = Col("confidence_level", "float", "level of the interval", "1")

_TEST = (
    Col("family", "str", "the set of tests that share one Holm correction"),
    Col("analysis", "str", "the test in words"),
    Col("formula", "str", "response and fixed effects; the random ones are in models"),
    _SOURCE, _LEVEL_OR_ALL, _GROUPS, _REF, _SESSION,
    Col("n", "int", "subjects in the analysis", "1", minimum=0),
    Col("n_pairs", "int", "of these, subjects with both visits", "1", minimum=0),
    Col("n_missing", "int", "subjects of the group(s) without both visits, enrolled ones never measured included", "1",
        minimum=0),
    _f("estimate_percent", "change, or difference of changes; of models 100 (exp(difference of ln volume) - 1)", "%"),
    _f("se_percent", "standard error of the estimate", "%", 0),
    _f("ci_low_percent", "lower end of the interval", "%"),
    _f("ci_high_percent", "upper end of the interval", "%"),
    _CONFIDENCE,
    _f("t", "t statistic", "1"),
    _f("df", "degrees of freedom", "1", 0),
    Col("df_method", "str", "how the degrees of freedom were got"),
    _f("p", "two-sided p", "1", 0),
    _f("p_holm", "p after Holm within the family", "1", 0),
    Col("family_size", "int", "tests in the family", "1", minimum=0),
    _f("hedges_g", "change, or difference, over the SD of change between subjects; small-sample corrected", "1"),
    _f("hedges_g_low", "lower end of its interval (noncentral t)", "1"),
    _f("hedges_g_high", "upper end of its interval", "1"),
    _STATUS, _REASON,
)
_TEST_KEY = ("family", "source", "level", "group", "session")

CONTRASTS = Table("contrasts", "primary estimates and tests of change, one row each; n counts subjects",
                  _TEST, _TEST_KEY)
SENSITIVITY = Table("sensitivity", "the same questions asked of other methods, one row each; never the primary answer",
                    _TEST, _TEST_KEY)

MODELS = Table("models", "one row a fitted model", (
    Col("model", "str", "primary (one level), joint (all levels) or secondary (statsmodels MixedLM)",
        values=("primary", "joint", "secondary")),
    _SOURCE, _LEVEL_OR_ALL,
    Col("formula", "str", "response and fixed effects"),
    Col("random", "str", "random effects and residual variances", required=False),
    Col("n_subjects", "int", "subjects in the model", "1", minimum=0),
    Col("n_observations", "int", "discs at visits in the model", "1", minimum=0),
    Col("df_method", "str", "how degrees of freedom are got"),
    _f("log_likelihood", "restricted log-likelihood, of 100 ln(volume)", "1"),
    Col("converged", "bool", "did the optimiser arrive"),
    Col("singular", "bool", "is a variance estimated as zero"),
    _STATUS, Col("reason", "str", "every warning of the fit, or why there is none", required=False),
), ("model", "source", "level"))

VARIANCES = Table("variances", "one row a variance component of a model", (
    Col("model", "str", "as in models", values=("primary", "joint", "secondary")),
    _SOURCE, _LEVEL_OR_ALL,
    Col("component", "str", "random term, or residual of a visit; [i,j] a covariance"),
    Col("value", "float", "variance or covariance of 100 ln(volume)", "%^2"),
    _f("sd_percent", "its square root; empty for covariances", "%", 0),
), ("model", "source", "level", "component"))

TERMS = Table("terms", "one row a joint test of a fixed effect", (
    Col("model", "str", "as in models", values=("primary", "joint", "secondary")),
    _SOURCE, _LEVEL_OR_ALL,
    Col("term", "str", "main effect or interaction"),
    Col("formula", "str", "response and fixed effects; the random ones are in models"),
    Col("n", "int", "subjects in the model", "1", minimum=0),
    Col("df_method", "str", "how the degrees of freedom were got"),
    _f("f", "F statistic, scaled as Kenward and Roger", "1", 0),
    Col("df_numerator", "int", "numerator degrees of freedom", "1", required=False, minimum=1),
    _f("df_denominator", "denominator degrees of freedom", "1", 0),
    _f("p", "p of the F test", "1", 0),
    _STATUS, _REASON,
), ("model", "source", "level", "term"))

MARGINAL_MEANS = Table("marginal_means", "mean volume of a group at a visit as the model sees it, one row each", (
    _SOURCE, _LEVEL_OR_ALL, _GROUP, _SESSION,
    Col("n", "int", "subjects of the group with this visit", "1", minimum=0),
    _f("mean_mm3", "geometric mean volume, covariates at their means", "mm3", 0),
    _f("ci_low_mm3", "lower end of its interval", "mm3", 0),
    _f("ci_high_mm3", "upper end of its interval", "mm3", 0),
    _CONFIDENCE, _STATUS, _REASON,
), ("source", "level", "group", "session"))

RECOVERY = Table("recovery", "one row a group and level: is it back, and how fast", (
    _SOURCE, _LEVEL_OR_ALL, _GROUP,
    _f("band_percent", "a change within plus or minus this counts as none", "%", 0),
    Col("band_method", "str", "where the band comes from"),
    Col("back_session", "str", "first visit in recovery from which on every interval lies inside the band",
        required=False),
    _f("back_study_day", "its study day", "day"),
    Col("verdict", "str", "back, not back, undecided, or not tested", values=("back", "not back", "undecided",
                                                                              "not tested")),
    _f("half_time_days", "days until half of the last change in bed is gone", "day", 0),
    _f("half_time_low_days", "lower end of its interval", "day", 0),
    _f("half_time_high_days", "upper end of its interval", "day", 0),
    _CONFIDENCE, _STATUS, _REASON,
), ("source", "level", "group"))

FLOW = Table("flow", "subjects left at each step, one row a group and visit", (
    _GROUP, _SESSION,
    Col("enrolled", "int", "subjects of the group, those left out of the analysis included", "1", minimum=0),
    Col("scanned", "int", "of these, with this visit", "1", minimum=0),
    Col("segmented", "int", "of these, with a mask", "1", minimum=0),
    Col("measured", "int", "of these, with at least one disc measured", "1", minimum=0),
    Col("passed_qc", "int", "of these, with at least one disc that no check speaks against", "1", minimum=0),
    Col("analysed", "int", "with at least one usable change to this visit, or from it if it is the reference", "1",
        minimum=0),
    Col("discs_expected", "int", "named discs of the scanned visits", "1", minimum=0),
    Col("discs_analysed", "int", "of these, discs in the analysis", "1", minimum=0),
), ("group", "session"))

BASELINE = Table("baseline", "who was studied (Table 1 of a paper), one row a characteristic and group", (
    Col("characteristic", "str", "age, height, weight, a sex, or the volume of a disc at the reference visit"),
    Col("unit", "str", "of mean and sd; empty where subjects are counted", required=False),
    Col("group", "str", "study arm, or (all)"),
    Col("n", "int", "subjects with a value", "1", minimum=0),
    Col("n_missing", "int", "subjects of the group without", "1", minimum=0),
    Col("mean", "float", "mean, in unit", required=False),
    Col("sd", "float", "standard deviation (n - 1), in unit", required=False, minimum=0),
    Col("count", "int", "subjects with this value of sex", "1", required=False, minimum=0),
    _f("percent", "of the n subjects with a value", "%", 0),
), ("characteristic", "group"))

RESIDUALS = Table("residuals", "what the primary and joint models leave over, one row an observation", (
    Col("model", "str", "as in models", values=("primary", "joint")),
    _SOURCE,
    Col("model_level", "str", "disc level of the model, or all", values=(*LEVELS, ALL_LEVELS)),
    _SUBJECT, _SESSION, _LEVEL,
    Col("fitted_mm3", "float", "volume by the fixed effects alone", "mm3", minimum=0),
    Col("residual_percent", "float", "100 ln(volume / fitted): people's lasting differences are in it", "%"),
    Col("residual_scaled", "float", "the subject's residuals over the Cholesky factor of their covariance: independent "
        "and standard normal if the model is right", "1"),
), ("model", "source", "model_level", "subject", "session", "level"))

QC_VERDICTS = ("pass", "review", "fail", "missing")
QC = Table("qc", "one row a subject and planned visit: may its discs be trusted; the method's own masks", (
    _SUBJECT, _GROUP, _SESSION,
    Col("study_day", "float", "day of the study; the planned one where the visit is missing", "day"),
    Col("verdict", "str", "pass: nothing speaks against it; review: a disc is doubtful or lost; fail: nothing could be "
        "measured; missing: there is no scan", values=QC_VERDICTS),
    Col("discs_ok", "int", "named discs that no check speaks against", "1", minimum=0),
    Col("discs_flagged", "int", "named discs measured, but doubtful", "1", minimum=0),
    Col("discs_failed", "int", "named discs not measured", "1", minimum=0),
    Col("findings", "str", "every remark on the visit and its discs; empty when there is none", required=False),
), ("subject", "session"))

POWER = Table("power", "what `bedrest power` prints: one row a planned study and question; synthetic cohorts", (
    Col("question", "str", "change within a group, or difference of change between groups"),
    Col("subjects", "int", "in all groups together", "1", minimum=1),
    Col("groups", "int", "study arms", "1", minimum=1),
    Col("visits", "int", "visits; the last one is tested against the first", "1", minimum=2),
    Col("levels", "int", "discs of a subject; more than one: joint model", "1", minimum=1),
    Col("error_sd_percent", "float", "SD of one disc at the first visit: measurement and day-to-day change", "%"),
    Col("variance_growth", "float", "variance of that error at the last visit over that at the first", "1"),
    Col("response_sd_percent", "float", "spread between people of their true change", "%"),
    Col("missing_percent", "float", "visits that do not take place", "%"),
    Col("change_percent", "float", "true change (or difference) that power is for", "%"),
    Col("power", "float", "share of synthetic cohorts in which it is found", "1"),
    Col("wanted_power", "float", "power that the smallest change is for", "1"),
    _f("smallest_change_percent", "smallest true change found with the wanted power", "%", 0),
    Col("confidence_level", "float", "of the two-sided test", "1"),
    Col("replicates", "int", "synthetic cohorts", "1"),
    Col("no_answer_percent", "float", "cohorts too incomplete for the model; they count as not found", "%"),
), ())

FAILURES = Table("failures", "everything that went wrong or is doubtful, in words", (
    Col("stage", "str", "stage that speaks: input, segment, levels, measure, change, evaluate, report"),
    Col("subject", "str", "subject", required=False),
    Col("session", "str", "session", required=False),
    Col("level", "str", "disc, if it concerns one", required=False),
    _STATUS,
    Col("reason", "str", "what was expected, what was found, where, and the remedy"),
), ())

REPORTS = Table("reports", "one row a page of the reports: could it be made", (
    Col("page", "str", "HTML page, relative to the output folder"),
    Col("notebook", "str", "the notebook behind it as it ran, relative to the output folder; of a page that failed, "
                           "the one that was kept; empty when none ran", required=False),
    _STATUS,
    Col("reason", "str", "why the page could not be made; empty when it was", required=False),
), ("page",))

INPUT_PROBLEMS = Table("input_problems", "what the check of a subject's input found", (
    Col("subject", "str", "subject", required=False),
    Col("session", "str", "session; empty when it concerns the whole subject", required=False),
    Col("reason", "str", "what was expected, what was found, where, and the remedy"),
), ())

SCAN_RECORDS = Table("scan_records", "one row a visit: what became of its segmentation", (
    _SUBJECT, _SESSION,
    Col("mask_path", "str", "mask relative to the output folder; empty when failed", required=False),
    Col("source", "str", "whose mask segmentation passed on: automatic or given", values=("automatic", "given")),
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
    _f("level_confidence", "probability that the level is right, as far as the image tells", "1", 0),
    _STATUS, _REASON,
), ("subject", "session", "level"))

TRUTH = Table("truth", "the demo cohort's known volumes, one row a disc and visit", (
    _SUBJECT, _GROUP, _SESSION, _DAY, _LEVEL,
    Col("volume_mm3", "float", "analytic volume of the synthetic disc", "mm3", minimum=0),
    Col("reference_mask_volume_mm3", "float", "volume of the truth mask on the scan's grid", "mm3", minimum=0),
    Col("expected_change_percent", "float", "mean change of the group that the demo was built with", "%"),
), ("subject", "session", "level"))


def _interval(name: str, meaning: str, unit: str, *, minimum: float | None = None) -> tuple[Col, Col, Col]:
    """A number and its interval: a_mm3, a_low_mm3, a_high_mm3; no suffix without a unit."""
    suffix = {"1": "", "%": "_percent"}.get(unit, f"_{unit}")
    return (_f(f"{name}{suffix}", meaning, unit, minimum), _f(f"{name}_low{suffix}", "lower end of its interval", unit),
            _f(f"{name}_high{suffix}", "upper end of its interval", unit))


def _limits(of_what: str, unit: str) -> tuple[Col, ...]:
    return (*_interval("bias", f"mean {of_what}", unit),
            _f("sd_percent" if unit == "%" else f"sd_{unit}", "SD of one such difference, between and within subjects",
               unit, 0),
            *_interval("lower_limit", "lower 95 % limit of agreement, bias - 1.96 SD", unit),
            *_interval("upper_limit", "upper 95 % limit of agreement, bias + 1.96 SD", unit))


_ICC = (*_interval("icc_agreement", "ICC(A,1) of McGraw and Wong 1996: a shift counts as error", "1"),
        *_interval("icc_consistency", "ICC(C,1): it does not", "1"))
_VALIDITY_COUNTS = (
    Col("n_subjects", "int", "subjects in the row", "1", minimum=0),
    Col("n_values", "int", "values in the row", "1", minimum=0),
)

AGREEMENT = Table("agreement", "automatic against reference masks, one row a quantity and level; slopes and ICC are of "
                               "mm3 for volume, of % for change", (
    Col("quantity", "str", "volume, or change since the reference visit", values=("volume", "change")),
    _LEVEL_OR_ALL, *_VALIDITY_COUNTS,
    Col("n_failed", "int", "pairs left out: not measured by both, or without a level", "1", minimum=0),
    *_limits("automatic minus reference", "mm3"),
    *_limits("automatic minus reference, in % of the reference volume; of change in % of that at the reference visit",
             "%"),
    *_interval("proportional_slope", "slope of the difference on the mean of both; unequal errors tilt it too", "1"),
    _f("proportional_p", "two-sided p of slope 0", "1", 0),
    *_interval("passing_bablok_slope", "slope of automatic on reference", "1"),
    *_interval("passing_bablok_intercept", "of automatic on reference, rows of volume only", "mm3"),
    *_interval("passing_bablok_intercept", "of automatic on reference, rows of change only", "%"),
    *_ICC,
    _f("mean_arvd_percent", "mean arvd, rows of change only; bias_percent beside it is the mean signed error", "%", 0),
    _CONFIDENCE, Col("method", "str", "where the intervals come from"), _STATUS, _REASON,
), ("quantity", "level"))

REPEATABILITY = Table("repeatability", "error of repeated measurement, from subjects with two or more baseline visits; "
                                       "no rows without any; what truly changed between them counts as error", (
    _SOURCE, _LEVEL_OR_ALL, *_VALIDITY_COUNTS,
    Col("n_left_out", "int", "values left out: not measured, without a level, or measured once only", "1", minimum=0),
    *_interval("cv", "within-disc coefficient of variation, 100 (exp(s) - 1), s the SD of ln volume", "%", minimum=0),
    *_interval("sem", "standard error of measurement (agreement): SD within discs, a shift between visits included",
               "mm3", minimum=0),
    *_interval("sdc", "smallest detectable change, 1.96 sqrt(2) SEM", "mm3", minimum=0),
    *_interval("sdc", "smallest detectable rise, 100 (exp(1.96 sqrt(2) s) - 1)", "%", minimum=0),
    *_ICC,
    *_limits("last minus first baseline visit, in % of the first", "%"),
    _CONFIDENCE, Col("method", "str", "where the intervals come from"), _STATUS, _REASON,
), ("source", "level"))

CHANGE_BANDS = Table("change_bands", "spread of a group's changes at a visit, one row a level and mask source", (
    _SOURCE, _GROUP, _SESSION, _DAY, _LEVEL,
    Col("n", "int", "subjects with a change", "1", minimum=0),
    Col("mean_percent", "float", "mean change", "%"),
    _f("low_percent", "mean minus one SD between subjects; empty below n = 2", "%"),
    _f("high_percent", "mean plus one SD", "%"),
), ("source", "group", "session", "level"))

TABLES: tuple[Table, ...] = (
    SUBJECTS, SESSIONS, SCANS, LEVEL_NAMES, INPUT_PROBLEMS, EDITED_MASKS, PSEUDONYMS, SCAN_RECORDS, FINDINGS, MATCHES,
    JOINT, MEASURES, SPINE_MEASURES, MASK_MEASURES, CHANGE, CHANGE_BANDS, DETECTIONS, ARVD, ACCURACY, EDITS, RENAMES,
    MASK_ACCURACY,
    CONTRASTS, SENSITIVITY, MODELS, VARIANCES, TERMS, MARGINAL_MEANS, RECOVERY, FLOW, BASELINE, RESIDUALS, QC, POWER,
    AGREEMENT, REPEATABILITY, FAILURES, REPORTS, TRUTH, TRAINING_SCANS, TRAINING_FOLDS, TRAINING_CURVES,
    TRAINING_ACCURACY,
)
