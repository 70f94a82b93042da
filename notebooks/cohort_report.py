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
from bedrest.tables.calibration import badge_words
from bedrest.tables.edits import edit_words
from IPython.display import display

study, source = load_study(Path(study_toml)), "automatic"
results = StudyResults(Path(output_dir))
subjects = results.read_manifest(schemas.SUBJECTS)
read = partial(results.read, measure=VOLUME.name)
flow, measures, change, accuracy, arvd, agreement, failures, edits = map(read, (schemas.FLOW, schemas.MEASURES,
    schemas.CHANGE, schemas.ACCURACY, schemas.ARVD, schemas.AGREEMENT, schemas.FAILURES, schemas.EDITS))
contrasts, models, terms, recovery, detections, residuals, sensitivity = (
    rows[rows["source"] == source] for rows in map(read, (
        schemas.CONTRASTS, schemas.MODELS, schemas.TERMS, schemas.RECOVERY, schemas.DETECTIONS, schemas.RESIDUALS,
        schemas.SENSITIVITY)))
display(show.header(f"{study.name}: cohort report", note=study.description, facts={
    "subjects": len(subjects), "groups": ", ".join(study.groups), "reference visit": study.reference_session,
    "bedrest": __version__}))

# %% [markdown]
# ## Summary
# Change of all discs together since the reference visit, from the joint mixed model. Single levels follow below.

# %%
display(show.families(contrasts[contrasts["level"] == "all"], empty="No change of all discs together could be tested."))

# %% [markdown]
# ## Flow of subjects and failures
# Number of subjects at each step, by group and visit. Every failure is listed with its reason.

# %%
display(show.picture(flow_diagram(flow, groups=study.groups, sessions=study.session_ids), "Flow of subjects."))
display(show.folded("The same as a table", show.table(flow, schemas.FLOW)), show.text(edit_words(edits, change)))
display(show.table(failures, empty="No failures: every disc was measured at every visit.",
                   whole="tables/failures.csv"))

# %% [markdown]
# ## Baseline characteristics and quality control
# Volumes are those of the reference visit, from the automatic masks. Quality control shows the mid-sagittal slice of
# every visit with the outlines of the measured masks.

# %%
display(show.table(baseline_words(results.read(schemas.BASELINE), groups=study.groups)))
display(show.folded("Every subject", show.table(subjects, schemas.SUBJECTS, whole="manifest/subjects.csv")))
display(qc_grid(results.read(schemas.QC), results))

# %% [markdown]
# ## Volumes and their change since the reference visit
# One linear mixed model of 100 ln(volume) per level: REML, a separate residual variance for each visit, Kenward-Roger
# degrees of freedom. The subject is the unit of analysis; p values are given in full.

# %%
means = group_means(measures[measures["source"] == source])
display(show.picture(group_volumes(means, source=source), "Mean volumes over the study, by disc and group."))
if change.empty:
    display(show.text("Only one visit was measured, so there is no change to report."))
else:
    figure = cohort_trajectories(change, contrasts, source=source, start=study.reference_day)
    display(show.picture(figure, "Changes of every subject, by disc."))
    for between in (False, True)[: len(study.groups)]:
        display(show.picture(forest(contrasts, source=source, between=between), "Changes with confidence intervals."))
    display(show.picture(absolute_change(absolute_change_means(change)), "Absolute changes, by disc and by subject."))
display(show.families(contrasts[contrasts["level"] != "all"]))

# %% [markdown]
# ## Changes beyond measurement error
# Each disc's change against two measurements of an unchanged disc; the last column is what chance alone would bring.

# %%
display(show.text(limit_words(detections)), show.text(badge_words(results.read(schemas.CALIBRATION), study.path.name)))
display(show.table(detection_counts(detections).drop(columns="source"), DETECTION_COUNTS,
                   empty="No change to judge.", decimals={"false_alarms_expected": 1}))

# %% [markdown]
# ## Sensitivity analyses, models and recovery
# Other methods applied to the same questions, for all discs together; they do not replace the primary analysis. Then
# the fitted models, joint tests of their terms, and recovery. A group is back at the first recovery visit from which on
# every interval of its mean change lies inside the band; a change that does not differ from 0 is not enough.

# %%
display(show.families(sensitivity[sensitivity["level"] == "all"], by="analysis"))
display(show.models(models))
display(show.table(terms.drop(columns=["source", "formula", "df_method"]), schemas.TERMS, empty="No term was tested.",
                   decimals={"f": 2, "df_denominator": 1}))
for method, rows in recovery.groupby("band_method"):
    display(show.text(f"Recovery within plus or minus band_percent ({method}):"), show.recovery(rows))

# %% [markdown]
# ## Do the models fit?
# Residuals of the primary and joint models, scaled by their covariance. If a model is right they are standard normal
# and show no pattern: ends that bend away indicate heavy tails, a trend or a funnel indicates misfit.

# %%
for kind in ("quantiles", "fitted"):
    display(show.picture(residual_panels(residuals, source=source, kind=kind), f"Residuals against {kind}, by model."))

# %% [markdown]
# ## Comparison with the reference masks
# arvd (Li et al. 2018, eq. 4) ignores the sign of change: Vg1 = 100, Vg2 = 110, Vt2 = 90 gives 0. The signed change
# error shows what arvd hides. Intervals account for discs of the same subject. Agreement by level, repeatability and
# reasons for failure are in [checks of the method](method_checks.html).

# %%
if accuracy.empty:
    display(show.text("The study has no reference masks, so accuracy is not known for these scans."))
else:
    display(show.text(accuracy_words(accuracy)))
    display(show.picture(volume_agreement(accuracy, agreement), "Bland-Altman plot of volumes."))
for session, column in product(dict.fromkeys(arvd["session"]), ("arvd", "signed_change_error")):
    display(show.picture(arvd_heat_map(arvd, column=column, session=session), f"{column} by subject and disc."))
if len(arvd):
    display(show.text(arvd_words(arvd)))
    display(show.picture(change_agreement(arvd, agreement), "Bland-Altman plot of changes."))

# %% [markdown]
# ## Text for a paper
# Generated from the tables; copy it from methods_and_results.md. Discs are segmented by a three-dimensional U-Net (the
# weights included with bedrest were trained on synthetic images alone) and named by counting upwards from the sacrum.

# %%
display(show.sentences(results.paper_text.read_text(encoding="utf-8")))
