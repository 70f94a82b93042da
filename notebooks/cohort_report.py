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
from pathlib import Path

from IPython.display import display

from analysis import __version__, schemas
from analysis.figures import display as show
from analysis.figures.agreement import change_agreement, volume_agreement
from analysis.figures.change import arvd_heat_map, forest
from analysis.figures.trajectories import cohort_trajectories, group_volumes
from analysis.io.results import StudyResults
from analysis.settings import load_study
from analysis.stats.detection import DETECTION_COUNTS, detection_counts, limit_words
from analysis.stats.summary import accuracy_means, accuracy_words, arvd_words, group_means
from analysis.tables.edits import edit_words

study = load_study(Path(study_toml))
results = StudyResults(Path(output_dir))
subjects = results.read_manifest(schemas.SUBJECTS)
measures, change = results.read(schemas.MEASURES), results.read(schemas.CHANGE)
accuracy, arvd, agreement = (results.read(t) for t in (schemas.ACCURACY, schemas.ARVD, schemas.AGREEMENT))
contrasts, failures = results.read(schemas.CONTRASTS), results.read(schemas.FAILURES)
source, edits = "automatic", results.read(schemas.EDITS)
facts = {"subjects": len(subjects), "groups": ", ".join(study.groups), "reference visit": study.reference_session,
         "bedrest": __version__}
display(show.header(f"{study.name}: cohort report", note=study.description, facts=facts))

# %% [markdown]
# ## Who was analysed, and what went wrong
# Subjects at each step, by group and session. Nobody is dropped in silence.

# %%
display(show.table(results.read(schemas.FLOW), schemas.FLOW))
display(show.text(edit_words(edits, change)))
display(show.table(subjects, schemas.SUBJECTS))
display(show.table(failures, empty="Nothing: every disc of every visit was measured."))

# %% [markdown]
# ## Volumes by group

# %%
display(show.picture(group_volumes(group_means(measures[measures["source"] == source]), source=source)))

# %% [markdown]
# ## Change from the reference visit
# Mixed models of 100 ln(volume), REML, an own residual variance for each visit, Kenward-Roger degrees of freedom; the
# subject is the unit. Single levels have models of their own; `all` is the joint model of every disc. Holm within each
# family; the family's size is in the table. Every p is exact.

# %%
if change.empty:
    display(show.text("One visit: no change to report."))
else:
    display(show.picture(cohort_trajectories(change, contrasts, source=source)))
    display(show.picture(forest(contrasts, source=source)))
    if len(study.groups) > 1:
        display(show.picture(forest(contrasts, source=source, between=True)))

# %%
for family, rows in contrasts[contrasts["source"] == source].groupby("family", sort=False):
    done = f"{rows['analysis'].iloc[0]}. Holm over {rows['family_size'].max()} tests"
    display(show.text(f"{family.capitalize()}: {done}."))
    display(show.tests(rows))

# %% [markdown]
# ## Changes beyond measurement error
# Single discs against how far two measurements of an unchanged disc lie apart. The study's own repeated baseline scans
# say how far; an error model found on synthetic scans speaks only where there are none. The last column is what chance
# alone would bring. Every disc is in tables/detections.csv.

# %%
detections = results.read(schemas.DETECTIONS).query("source == @source")
display(show.text(limit_words(detections)))
display(show.table(detection_counts(detections).drop(columns="source"), DETECTION_COUNTS, empty="No change to judge.",
                   decimals={"false_alarms_expected": 1}))

# %% [markdown]
# ## Do the answers hang on the model?
# The same questions asked of other methods, for all discs together: never the primary answer. Then the models, the
# joint tests of their terms, and recovery: back means that from this visit on, every interval of the group's mean
# change lies inside the band. Not differing from 0 would not show it.

# %%
rows = results.read(schemas.SENSITIVITY).query("source == @source and level == 'all'")
for analysis, own in rows.groupby("analysis", sort=False):
    display(show.text(f"{analysis.capitalize()}:"))
    display(show.tests(own))

# %%
models, terms, recovery = (results.read(t) for t in (schemas.MODELS, schemas.TERMS, schemas.RECOVERY))
for (kind, formula, random), own in models[models["source"] == source].groupby(["model", "formula", "random"]):
    display(show.text(f"{kind.capitalize()} model: {formula}; {random}."))
    display(show.table(own.drop(columns=["model", "source", "formula", "random", "df_method"]), schemas.MODELS))
display(show.table(terms[terms["source"] == source].drop(columns=["source", "formula", "df_method"]), schemas.TERMS,
                   decimals={"f": 2, "df_denominator": 1}))
for band, own in recovery[recovery["source"] == source].groupby("band_method"):
    display(show.text(f"Recovery, plus or minus band_percent ({band}):"))
    half = show.intervals(own, "half_time_days", "half_time_low_days", "half_time_high_days")
    shown = own[["level", "group", "band_percent", "verdict", "back_session"]].assign(**{"half-time (days)": half})
    display(show.table(shown, schemas.RECOVERY))
    display(show.text(" ".join(f"{r[:1].upper()}{r[1:]}." for r in own["reason"].unique() if r)))

# %% [markdown]
# ## Against the reference masks
# arvd (Li et al. 2018, eq. 4) is blind to the sign of change: Vg1 = 100, Vg2 = 110, Vt2 = 90 gives 0. Its signed twin
# shows what it hides.

# %%
if accuracy.empty:
    display(show.text("The study has no reference masks: accuracy is not known for these scans."))
else:
    display(show.text(accuracy_words(accuracy)))
    display(show.table(accuracy_means(accuracy), decimals={"mean_dice": 3, "lowest_dice": 3}))
    display(show.picture(volume_agreement(accuracy, agreement)))
for session in dict.fromkeys(arvd["session"]):
    display(show.text(f"Session {session}:"))
    display(show.picture(arvd_heat_map(arvd, column="arvd", session=session)))
    display(show.picture(arvd_heat_map(arvd, column="signed_change_error", session=session)))
if len(arvd):
    display(show.text(arvd_words(arvd)))
    display(show.picture(change_agreement(arvd, agreement)))

# %% [markdown]
# ## Agreement and repeatability
# Against reference masks, and from repeated scans at baseline. Intervals know that discs of a subject belong together.

# %%
shown = show.with_limits(agreement, ["quantity", "level", "n_subjects", "n_values"])
display(show.table(shown, schemas.AGREEMENT, empty="No reference masks."))
repeats = results.read(schemas.REPEATABILITY)
shown = show.with_limits(repeats, ["source", "level", "n_subjects", "cv_percent", "sem_mm3", "sdc_percent"])
display(show.table(shown, schemas.REPEATABILITY, empty="Baseline was scanned once: repeatability in these subjects is "
                   "not known, and single changes are judged by an error model found on synthetic scans."))

# %% [markdown]
# ## Method and limits
# Sentences for a paper: methods_and_results.md. Discs are segmented by a three-dimensional U-Net, the shipped one
# trained on synthetic images alone (provenance.json has the one used), named by counting upwards from the sacrum, and
# measured by summed probabilities, all visits of a person together where they can be. Research use only.
