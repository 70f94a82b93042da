# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% tags=["parameters"]
output_dir: str = ""
study_toml: str = ""

# %%
from functools import partial
from itertools import product
from pathlib import Path

from bedrest import __version__, schemas
from bedrest.figures import display as show
from bedrest.figures.agreement import change_agreement, volume_agreement
from bedrest.figures.change_intervals import absolute_change, arvd_heat_map, forest
from bedrest.figures.diagnostics import residual_panels
from bedrest.figures.flow import flow_diagram
from bedrest.figures.scans.qc_grid import qc_grid
from bedrest.figures.trajectories import cohort_trajectories, group_volumes
from bedrest.io.results import StudyResults
from bedrest.measurement.registry import VOLUME
from bedrest.settings import load_study
from bedrest.statistics.study.baseline import baseline_words
from bedrest.statistics.study.detection import DETECTION_COUNTS, detection_counts, limit_words
from bedrest.statistics.study.summary import absolute_change_means, accuracy_words, arvd_words, group_means
from bedrest.tables.edits import edit_words
from IPython.display import display

study, source = load_study(Path(study_toml)), "automatic"
results = StudyResults(Path(output_dir))
subjects = results.read_manifest(schemas.SUBJECTS)
read = partial(results.read, measure=VOLUME.name)
flow, measures, change, accuracy, arvd, agreement, failures, edits = map(read, (
    schemas.FLOW, schemas.MEASURES, schemas.CHANGE, schemas.ACCURACY, schemas.ARVD, schemas.AGREEMENT, schemas.FAILURES,
    schemas.EDITS))
contrasts, models, terms, recovery, detections, residuals, sensitivity = (
    rows[rows["source"] == source] for rows in map(read, (
        schemas.CONTRASTS, schemas.MODELS, schemas.TERMS, schemas.RECOVERY, schemas.DETECTIONS, schemas.RESIDUALS,
        schemas.SENSITIVITY)))
display(show.header(f"{study.name}: cohort report", note=study.description, facts={
    "subjects": len(subjects), "groups": ", ".join(study.groups), "reference visit": study.reference_session,
    "bedrest": __version__}))

# %% [markdown]
# ## In short
# Change of all discs together since the reference visit, from the joint mixed model; single levels are below.

# %%
display(show.families(contrasts[contrasts["level"] == "all"], empty="No change of all discs together could be tested."))

# %% [markdown]
# ## Who was analysed, and what went wrong
# Subjects at each step, by group and visit; every exclusion is listed.

# %%
display(show.picture(flow_diagram(flow, groups=study.groups, sessions=study.session_ids), "Flow of subjects."))
display(show.folded("The same as a table", show.table(flow, schemas.FLOW)), show.text(edit_words(edits, change)))
display(show.table(failures, empty="Nothing failed: every disc of every visit was measured.",
                   whole="tables/failures.csv"))

# %% [markdown]
# ## Subjects, and the quality of their scans
# Volumes are those of the reference visit, by the method's own masks. Below, quality control: the mid-sagittal slice of
# every visit with the outlines that were measured.

# %%
display(show.table(baseline_words(results.read(schemas.BASELINE), groups=study.groups)))
display(show.folded("Every subject", show.table(subjects, schemas.SUBJECTS, whole="manifest/subjects.csv")))
display(qc_grid(results.read(schemas.QC), results))

# %% [markdown]
# ## Volumes, and their change from the reference visit
# Each level by its own mixed model of 100 ln(volume): REML, a residual variance for each visit, Kenward-Roger
# degrees of freedom; the subject is the unit. Every p is exact.

# %%
means = group_means(measures[measures["source"] == source])
display(show.picture(group_volumes(means, source=source), "Mean volumes over the study, by disc and group."))
if change.empty:
    display(show.text("One visit: no change to report."))
else:
    figure = cohort_trajectories(change, contrasts, source=source, start=study.reference_day)
    display(show.picture(figure, "Every subject's changes, by disc."))
    for between in (False, True)[: len(study.groups)]:
        display(show.picture(forest(contrasts, source=source, between=between), "Changes with their intervals."))
    display(show.picture(absolute_change(absolute_change_means(change)), "Changes without sign, by disc and subject."))
display(show.families(contrasts[contrasts["level"] != "all"]))

# %% [markdown]
# ## Changes beyond measurement error
# Single discs against the limit of detection (all in tables/detections.csv), and how many chance alone would bring.

# %%
display(show.text(limit_words(detections)))
display(show.table(detection_counts(detections).drop(columns="source"), DETECTION_COUNTS,
                   empty="No change to judge.", decimals={"false_alarms_expected": 1}))

# %% [markdown]
# ## Do the answers hang on the model?
# The same questions asked of other methods, for all discs together: never the primary answer. Then the models, the
# joint tests of their terms, and recovery. Back: from this visit on, every interval of the group's mean change lies
# inside the band; not differing from 0 would not show it.

# %%
display(show.families(sensitivity[sensitivity["level"] == "all"], by="analysis"))
display(show.models(models))
display(show.table(terms.drop(columns=["source", "formula", "df_method"]), schemas.TERMS, empty="No term was tested.",
                   decimals={"f": 2, "df_denominator": 1}))
for band, own in recovery.groupby("band_method"):
    display(show.text(f"Recovery, plus or minus band_percent ({band}):"), show.recovery(own))

# %% [markdown]
# ## Do the models fit?
# Residuals of the primary and joint models, scaled by their covariance: standard normal and without pattern if the
# models are right. Ends that bend away are heavy tails; a trend or a funnel speaks against the model.

# %%
for kind in ("quantiles", "fitted"):
    display(show.picture(residual_panels(residuals, source=source, kind=kind), f"Residuals against {kind}, by model."))

# %% [markdown]
# ## Against the reference masks
# arvd (Li et al. 2018, eq. 4) is blind to the sign of change: Vg1 = 100, Vg2 = 110, Vt2 = 90 gives 0. Its signed twin
# shows what it hides. Intervals know which discs share a subject. Agreement level by level, repeatability and reasons
# for failure: [checks of the method](method_checks.html).

# %%
if accuracy.empty:
    display(show.text("The study has no reference masks: accuracy is not known for these scans."))
else:
    display(show.text(accuracy_words(accuracy)))
    display(show.picture(volume_agreement(accuracy, agreement), "Bland-Altman plot of volumes."))
for session, column in product(dict.fromkeys(arvd["session"]), ("arvd", "signed_change_error")):
    display(show.picture(arvd_heat_map(arvd, column=column, session=session), f"{column}, subject by disc."))
if len(arvd):
    display(show.text(arvd_words(arvd)))
    display(show.picture(change_agreement(arvd, agreement), "Bland-Altman plot of changes."))

# %% [markdown]
# ## Sentences for a paper
# Written from the tables; to copy from methods_and_results.md. Discs are segmented by a three-dimensional U-Net, the
# shipped one trained on synthetic images alone (named below), and named by counting upwards from the sacrum.

# %%
display(show.sentences(results.paper_text.read_text(encoding="utf-8")))
