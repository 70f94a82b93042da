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

from bedrest import __version__, schemas
from bedrest.figures import display as show
from bedrest.figures.agreement import change_agreement, recovered_change, volume_agreement
from bedrest.io.results import StudyResults
from bedrest.measurement.registry import VOLUME
from bedrest.settings import load_study
from bedrest.statistics.study.detection import DETECTION_COUNTS, detection_counts, limit_words
from bedrest.statistics.study.summary import (
    accuracy_means,
    accuracy_words,
    failure_counts,
    volume_methods,
    volume_methods_words,
)
from bedrest.tables.calibration import badge_words
from IPython.display import display

study = load_study(Path(study_toml))
results = StudyResults(Path(output_dir))
measures, change = results.read(schemas.MEASURES), results.read(schemas.CHANGE, measure=VOLUME.name)
accuracy, arvd, agreement = (
    results.read(t, measure=VOLUME.name) for t in (schemas.ACCURACY, schemas.ARVD, schemas.AGREEMENT))
display(show.header(f"{study.name}: checks of the method", note=study.description, facts={
    "subjects": measures["subject"].nunique(), "visits": len(study.sessions),
    "discs measured": int(measures.query("source == 'automatic'")[VOLUME.name].notna().sum()),
    "bedrest": __version__}))

# %% [markdown]
# ## Repeatability
# From subjects with more than one baseline scan: the difference between two measurements of a disc that should not have
# changed. True day-to-day change counts as error here.

# %%
repeats = results.read(schemas.REPEATABILITY, measure=VOLUME.name)
shown = show.with_limits(repeats, ["source", "level", "n_subjects", "cv_percent", "sem_mm3", "sdc_percent"])
display(show.table(shown, schemas.REPEATABILITY, empty="Each subject has one baseline scan, so repeatability is "
                   "not known; single changes are judged by an error model estimated on synthetic scans."))

# %% [markdown]
# ## Calibration on the study's own scans
# Visits made from the subjects' reference visits: moved, with another coil, gain and noise, discs unchanged or changed
# by known amounts, and measured like any others. They share artefacts and noise of the scan they were made from.

# %%
calibration, made = results.read(schemas.CALIBRATION), results.read(schemas.MADE_VISITS, measure=VOLUME.name)
display(show.text(badge_words(calibration, study.path.name)))
if len(calibration):
    display(show.picture(recovered_change(made), "Measured against true change of the discs of made visits."))
    display(show.table(calibration[calibration["measure"] == VOLUME.name].drop(columns=["measure", "method"]),
                       schemas.CALIBRATION, decimals={"slope": 2, "slope_low": 2, "slope_high": 2}))
    others = calibration.query("level == 'all' and measure != @VOLUME.name")
    display(show.folded("Other measures, of unchanged discs", show.table(
        others[["contrasts", "measure", "n_values", "bias_percent", "sd_percent"]], schemas.CALIBRATION)))

# %% [markdown]
# ## Agreement with reference masks
# Automatic masks compared with manual ones, or with the known truth where the study is synthetic.

# %%
if accuracy.empty:
    display(show.text("The study has no reference masks, so accuracy is not known for these scans."))
else:
    display(show.text(accuracy_words(accuracy)))
    display(show.table(accuracy_means(accuracy)))
    display(show.picture(volume_agreement(accuracy, agreement)))
if len(arvd):
    display(show.picture(change_agreement(arvd, agreement)))
shown = show.with_limits(agreement, ["quantity", "level", "n_subjects", "n_values"])
display(show.table(shown, schemas.AGREEMENT, empty="No reference masks."))

# %% [markdown]
# ## Volumes by voxel count, single visit and joint
# A disc has up to three volumes: its voxel count, its summed probabilities from this visit alone, and those from all
# visits segmented jointly (`volume_mm3` where `volume_method` is joint). They differ where edges run through voxels.
# Differences that depend on the level or visit should be checked. Differences are in per cent of `volume_mm3`.

# %%
automatic = measures[measures["source"] == "automatic"]
display(show.text(volume_methods_words(automatic)))
display(show.table(volume_methods(automatic), decimals={"n": 0}, empty="No disc was measured."))

# %% [markdown]
# ## Detections
# Number of discs that changed by more than measurement error explains, and the number expected by chance alone.

# %%
detections = results.read(schemas.DETECTIONS, measure=VOLUME.name).query("source == 'automatic'")
display(show.text(limit_words(detections)))
display(show.table(detection_counts(detections).drop(columns="source"), DETECTION_COUNTS, empty="No change to judge.",
                   decimals={"false_alarms_expected": 1}))

# %% [markdown]
# ## Reasons for failed and flagged discs
# How often each finding was raised, with one example. All cases are in tables/failures.csv.

# %%
display(show.table(failure_counts(results.read(schemas.FAILURES)), decimals={"cases": 0},
                   empty="None: every disc was measured at every visit."))
