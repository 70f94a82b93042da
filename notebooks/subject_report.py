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
from bedrest.figures.scans.load import shown_levels, visit_views
from bedrest.figures.scans.overlays import axial_views, sagittal_views
from bedrest.figures.scans.viewer import disc_viewer, slice_viewer
from bedrest.figures.timeline import visit_timeline
from bedrest.figures.trajectories import shown_measures, subject_measures, subject_trajectories
from bedrest.io.results import StudyResults
from bedrest.measurement.registry import VOLUME
from bedrest.settings import load_study
from bedrest.statistics.study.detection import DETECTION_COUNTS, visit_changes
from bedrest.tables.calibration import badge_words
from bedrest.tables.edits import edit_words
from IPython.display import display

study = load_study(Path(study_toml))
results = StudyResults(Path(output_dir))
group = results.read_subject(subject, schemas.SUBJECTS)["group"].iloc[0]
sessions, records, measures, change, arvd, accuracy, failures, edits, renames = (
    results.read_subject(subject, table, measure=VOLUME.name) for table in (
        schemas.SESSIONS, schemas.SCAN_RECORDS, schemas.MEASURES, schemas.CHANGE, schemas.ARVD, schemas.ACCURACY,
        schemas.FAILURES, schemas.EDITS, schemas.RENAMES))
automatic = measures[measures["source"] != "reference"]
automatic_change = change[change["source"] != "reference"]
limits = results.read(schemas.DETECTIONS, subject=subject, measure=VOLUME.name).query("source == 'automatic'")
bands = results.read(schemas.CHANGE_BANDS).query("group == @group and source == 'automatic'")
views = visit_views(results, subject)
status = "failed" if "failed" in set(failures["status"]) else "flagged" if len(failures) else "ok"
display(show.header(subject, status=status, note=study.description, facts={
    "study": study.name, "group": group, "reference visit": study.reference_session, "bedrest": __version__}))

# %% [markdown]
# ## Summary
# Changes since the reference visit, all discs of a visit together. Rose and fell mean beyond measurement error.

# %%
display(show.table(visit_changes(limits), DETECTION_COUNTS, empty="No visit to compare with the reference visit."))
display(show.text(badge_words(results.read(schemas.CALIBRATION), study.path.name)))
display(show.text(f"{len(failures)} failed or flagged item(s), listed below." if len(failures) else
                  "No disc failed or is flagged."))

# %% [markdown]
# ## Visits

# %%
display(show.picture(visit_timeline(study.sessions, sessions), "Visits over the study days."))
masks = automatic.groupby("session", as_index=False)["mask_origin"].agg(lambda m: " and ".join(sorted(set(m))))
visits = sessions.merge(records[["session", "contrasts", "status", "reason"]], on="session", how="left")
visits = visits.merge(masks, on="session", how="left")
display(show.table(visits.drop(columns="subject"), schemas.SESSIONS))

# %% [markdown]
# ## Images
# The slice through the middle of the discs, with the same window and scale at every visit; anterior is on the left.
# Below, discs in their own planes, viewed from the feet: the subject's right is on the left.

# %%
display(show.picture(sagittal_views(views), "Mid-sagittal slice of every visit with outlines of the discs."))
display(show.picture(axial_views(views, shown_levels(change, automatic)), "Discs in their own planes, every visit."))

# %% [markdown]
# ## Slice viewer
# Sagittal slices at the same distance from the middle of the discs at every visit, then each disc in its own plane.
# Visits are aligned by the centres of their discs, without rotation. Green: measured mask; red, dashed: reference mask.

# %%
display(slice_viewer(views))
display(disc_viewer(views))

# %% [markdown]
# ## Failures and doubtful results

# %%
display(show.table(failures.drop(columns="subject"), empty="None: every disc was measured at every visit."))

# %% [markdown]
# ## Manual corrections
# An edited disc is measured in place of the automatic one, by counting its voxels; names of discs are set in
# levels.csv. A change between an edited and an automatic disc counts the voxels of both.

# %%
display(show.text(edit_words(edits, change)))
if len(edits):
    display(show.table(edits.drop(columns="subject"), schemas.EDITS))
if len(renames):
    display(show.table(renames.drop(columns="subject"), schemas.RENAMES))

# %% [markdown]
# ## Volumes
# `volume_method` says how a volume was measured. joint: summed disc probabilities, all visits of the subject segmented
# alike; deformation: their mean over the visits, with the differences that the images of the visits show; single:
# summed probabilities of this visit alone; voxels: voxel count. Change is relative to the reference visit. Its interval
# comes from an error model estimated on synthetic scans, or on this study's own where it was calibrated; manual and
# edited masks have none. `beyond error` is judged by the repeated baseline scans of the study where there are any, as
# in the cohort report. In the figure, blue shading is the mean of the group and one SD between subjects, from the
# tables at the time this page was made; grey shading marks changes within measurement error.

# %%
display(show.volumes(automatic, automatic_change, limits))
if automatic_change.empty:
    display(show.text("Only one visit was measured, so there is no change to report."))
else:
    figure = subject_trajectories(measures, change, bands=bands, limits=limits)
    display(show.picture(figure, "Change of every disc over the study, with mean and SD of the group."))

# %% [markdown]
# ## Shape and signals

# %%
display(show.picture(subject_measures(automatic), "Shape and signals of every disc over the study."))
shown = ["level", "session", *(m.name for m in shown_measures(automatic)), "mean_probability"]
display(show.folded("The same as a table", show.table(automatic[shown], schemas.MEASURES)))

# %% [markdown]
# ## Comparison with the reference masks
# Li et al. 2018, eq. 4: arvd = ||Vg1 - Vt2| - |Vg1 - Vg2|| / Vg1. It ignores the sign of change: with Vg1 = 100,
# Vg2 = 110 and Vt2 = 90 it is 0, although the method measured shrinkage where the disc had swollen. The signed change
# error is ((Vt2 - Vt1) - (Vg2 - Vg1)) / Vg1.

# %%
if accuracy.empty:
    display(show.text("This subject has no reference masks to compare with."))
else:
    display(show.table(accuracy.drop(columns="subject"), schemas.ACCURACY))
if len(arvd):
    display(show.table(arvd.drop(columns=["subject", "group", "reference_session"]), schemas.ARVD,
                       decimals={"arvd": 4, "signed_change_error": 4}))

# %% [markdown]
# ## Segmentation of each visit

# %%
display(show.table(records.drop(columns=["subject", "source"]), schemas.SCAN_RECORDS))
