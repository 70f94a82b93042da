# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% tags=["parameters"]
subject: str = ""
output_dir: str = ""
study_toml: str = ""

# %%
from pathlib import Path

from bedrest import __version__, schemas
from bedrest.figures import display as show
from bedrest.figures.scans.axial import axial_views
from bedrest.figures.scans.load import shown_levels, visit_views
from bedrest.figures.scans.overlays import sagittal_views
from bedrest.figures.scans.viewer import disc_viewer, slice_viewer
from bedrest.figures.timeline import visit_timeline
from bedrest.figures.trajectories import shown_measures, subject_measures, subject_trajectories
from bedrest.io.results import StudyResults
from bedrest.measurement.registry import VOLUME
from bedrest.settings import load_study
from bedrest.statistics.study.detection import DETECTION_COUNTS, visit_changes
from bedrest.tables.edits import edit_words
from IPython.display import display

study = load_study(Path(study_toml))
results = StudyResults(Path(output_dir))
person = results.read_subject(subject, schemas.SUBJECTS).iloc[0]
sessions, records, measures, change, arvd, accuracy, failures, edits, renames = (
    results.read_subject(subject, table, measure=VOLUME.name) for table in (
        schemas.SESSIONS, schemas.SCAN_RECORDS, schemas.MEASURES, schemas.CHANGE, schemas.ARVD, schemas.ACCURACY,
        schemas.FAILURES, schemas.EDITS, schemas.RENAMES))
ours = measures[measures["source"] != "reference"]
our_change = change[change["source"] != "reference"]
limits = results.read(schemas.DETECTIONS, subject=subject, measure=VOLUME.name).query("source == 'automatic'")
bands = results.read(schemas.CHANGE_BANDS).query("group == @person['group'] and source == 'automatic'")
views = visit_views(results, subject)
status = "failed" if "failed" in set(failures["status"]) else "flagged" if len(failures) else "ok"
display(show.header(subject, status=status, note=study.description, facts={
    "study": study.name, "group": person["group"], "reference visit": study.reference_session, "bedrest": __version__}))

# %% [markdown]
# ## In short
# Changes since the reference visit, all discs of a visit together. Rose and fell: beyond measurement error.

# %%
display(show.table(visit_changes(limits), DETECTION_COUNTS, empty="No visit to compare with the reference visit."))
display(show.text(f"{len(failures)} finding(s) of failure or doubt: see below." if len(failures) else
                  "No disc failed or is doubtful."))

# %% [markdown]
# ## Visits

# %%
display(show.picture(visit_timeline(study.sessions, sessions), "Visits over the study days."))
masks = ours.drop_duplicates("session")[["session", "mask_origin"]]
visits = sessions.merge(records[["session", "contrasts", "status", "reason"]], on="session", how="left")
visits = visits.merge(masks, on="session", how="left")
display(show.table(visits.drop(columns="subject"), schemas.SESSIONS))

# %% [markdown]
# ## Images
# The slice through the middle of the discs, every visit at the same window and scale, the front of the body to the
# left. Below, discs in their own planes, seen from the feet: the person's right is on the left.

# %%
display(show.picture(sagittal_views(views), "Mid-sagittal slice of every visit with outlines of the discs."))
display(show.picture(axial_views(views, shown_levels(change, ours)), "Discs in their own planes, every visit."))

# %% [markdown]
# ## Leafing through
# Every visit at the same distance from the middle of the discs; then every disc in its own plane. Visits are brought
# together by the middles of their discs, not turned. Green: measured; red, dashed: reference mask.

# %%
display(slice_viewer(views))
display(disc_viewer(views))

# %% [markdown]
# ## What went wrong or is doubtful

# %%
display(show.table(failures.drop(columns="subject"), empty="Nothing: every disc of every visit was measured."))

# %% [markdown]
# ## Corrected by hand
# An edited mask is measured in place of the automatic one; names are set in levels.csv. A change that compares an
# edited with an automatic mask holds the difference between them, too.

# %%
display(show.text(edit_words(edits, change)))
if len(edits):
    display(show.table(edits.drop(columns="subject"), schemas.EDITS))
if len(renames):
    display(show.table(renames.drop(columns="subject"), schemas.RENAMES))

# %% [markdown]
# ## Volumes
# `volume` is measured by `volume_method`: joint, summed probabilities of disc, every visit of the person looked at
# alike; single, summed probabilities of this visit alone; voxels, the voxels of a mask that no network made. Change is
# counted from the reference visit. Its interval rests on an error model found on synthetic scans, and there is none for
# masks that a person drew or edited. `beyond error` is judged by the study's own repeated baseline scans, where there
# are any, as in the cohort report. In the figure the blue shade is the group's mean and one SD between its subjects,
# from the study's tables when this page was made; the grey one holds changes within measurement error.

# %%
display(show.volumes(ours, our_change, limits))
if our_change.empty:
    display(show.text("One visit: no change to report."))
else:
    figure = subject_trajectories(measures, change, unit="percent", bands=bands, limits=limits)
    display(show.picture(figure, "Change of every disc over the study, with the group's spread."))

# %% [markdown]
# ## Shape and signals

# %%
display(show.picture(subject_measures(ours), "Shape and signals of every disc over the study."))
shown = ["level", "session", *(m.name for m in shown_measures(ours)), "mean_probability"]
display(show.folded("The same as a table", show.table(ours[shown], schemas.MEASURES)))

# %% [markdown]
# ## Against the reference masks
# Li et al. 2018, eq. 4: arvd = ||Vg1 - Vt2| - |Vg1 - Vg2|| / Vg1. It is blind to sign: with Vg1 = 100, Vg2 = 110 and
# Vt2 = 90 it is 0 although the method saw shrinking where there was swelling. The signed change error,
# ((Vt2 - Vt1) - (Vg2 - Vg1)) / Vg1, stands beside it.

# %%
if accuracy.empty:
    display(show.text("This subject has no reference masks: nothing to compare with."))
else:
    display(show.table(accuracy.drop(columns="subject"), schemas.ACCURACY))
if len(arvd):
    display(show.table(arvd.drop(columns=["subject", "group", "reference_session"]), schemas.ARVD,
                       decimals={"arvd": 4, "signed_change_error": 4}))

# %% [markdown]
# ## How each visit was segmented

# %%
display(show.table(records.drop(columns=["subject", "source"]), schemas.SCAN_RECORDS))
