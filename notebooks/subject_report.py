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

from IPython.display import display

from analysis import __version__, schemas
from analysis.figures import display as show
from analysis.figures.load import visit_views
from analysis.figures.overlays import sagittal_views
from analysis.figures.trajectories import subject_trajectories
from analysis.io.results import StudyResults
from analysis.settings import load_study
from analysis.tables.change import beyond_own_interval
from analysis.tables.edits import edit_words

study = load_study(Path(study_toml))
results = StudyResults(Path(output_dir))
person = results.read_subject(subject, schemas.SUBJECTS).iloc[0]
sessions = results.read_subject(subject, schemas.SESSIONS)
records = results.read_subject(subject, schemas.SCAN_RECORDS)
measures = results.read_subject(subject, schemas.MEASURES)
change = results.read_subject(subject, schemas.CHANGE)
arvd = results.read_subject(subject, schemas.ARVD)
accuracy = results.read_subject(subject, schemas.ACCURACY)
failures = results.read_subject(subject, schemas.FAILURES)
edits = results.read_subject(subject, schemas.EDITS)
renames = results.read_subject(subject, schemas.RENAMES)
ours = measures[measures["source"] != "reference"]
order = {level: i for i, level in enumerate(schemas.LEVELS)}
our_change = change[change["source"] != "reference"]
missing = [s.id for s in study.sessions if s.id not in set(sessions["session"])]
status = "failed" if "failed" in set(failures["status"]) else "flagged" if len(failures) else "ok"
display(show.header(
    f"{subject}", status=status, note=study.description,
    facts={"study": study.name, "group": person["group"], "reference visit": study.reference_session,
           "bedrest": __version__},
))

# %% [markdown]
# ## Visits

# %%
masks = ours.drop_duplicates("session")[["session", "mask_origin"]]
visits = sessions.merge(records[["session", "contrasts", "status", "reason"]], on="session", how="left")
visits = visits.merge(masks, on="session", how="left")
display(show.table(visits.drop(columns="subject"), schemas.SESSIONS))
display(show.text("Missing visits: " + (", ".join(missing) if missing else "none") + "."))

# %% [markdown]
# ## Images
# The sagittal slice through the middle of the discs, every visit at the same window and scale. The front of the body
# is to the left.

# %%
display(show.picture(sagittal_views(visit_views(results, subject))))

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
# masks that a person drew or edited; beyond error means that it leaves 0 out. Where baseline was scanned twice, the
# study's own error judges instead: see the cohort report and tables/detections.csv.

# %%
ends = ["change_percent", "ci_low_percent", "ci_high_percent"]
wide = ours.merge(our_change[["session", "level", "change_mm3", *ends]], on=["session", "level"], how="left")
wide = wide.assign(**{"change (%), interval (error model, synthetic)": show.intervals(wide, *ends),
                      "beyond error by the model": beyond_own_interval(wide)})
wide = wide[["level", "session", "study_day", "volume_mm3", "volume_method", "change_mm3", *wide.columns[-2:],
             "status", "reason"]]
wide = wide.sort_values(["level", "study_day"], key=lambda c: c.map(order).fillna(99) if c.name == "level" else c)
columns = schemas.Table("volumes", "", (*schemas.CHANGE.columns, *schemas.MEASURES.columns), ())
display(show.table(wide, columns))

# %%
if our_change.empty:
    display(show.text("One visit: no change to report."))
else:
    display(show.picture(subject_trajectories(measures, change, unit="percent")))

# %% [markdown]
# ## Heights, diameters and signals

# %%
shape = ["level", "session", "height_mean_mm", "diameter_ap_mm", "diameter_transverse_mm"]
signals = [c for c in ours.columns if c.startswith(("signal_", "fat_")) and ours[c].notna().any()]
display(show.table(ours[[*shape, *signals, "mean_probability"]], schemas.MEASURES))

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
network = "The shipped network was trained on synthetic images alone." if study.weights is None else (
    f"The network is {study.weights.name}, named in study.toml.")
display(show.text(network))
