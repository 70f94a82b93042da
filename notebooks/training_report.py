# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% tags=["parameters"]
folder: str = ""

# %%
import json
from pathlib import Path

from bedrest import schemas
from bedrest.figures import display as show
from bedrest.figures.learning_curves import training_curves
from bedrest.figures.scans.load import held_out_views
from bedrest.figures.scans.overlays import sagittal_views
from bedrest.io.results import StudyResults
from bedrest.tables.training import accuracy_by_level, disc_by_disc
from IPython.display import display

results = StudyResults(Path(folder))
record = json.loads((Path(folder) / "weights.json").read_text())
plan, subjects = record["plan"], record["subjects"]
scans, folds = results.read(schemas.TRAINING_SCANS), results.read(schemas.TRAINING_FOLDS)
curves, accuracy = results.read(schemas.TRAINING_CURVES), results.read(schemas.TRAINING_ACCURACY)
display(show.header("Training report", note="Research use only.", facts={
    "labelled scans": len(scans), "subjects": scans["subject"].nunique(),
    "cross-validation folds": plan["folds"] or "none", "budget of a run": f"{plan['minutes']:g} min",
    "bedrest": record["bedrest"]}))

# %% [markdown]
# ## Training data
# One row per labelled visit. The split is by subject: all scans of a subject are either in training or held out.

# %%
display(show.table(scans, schemas.TRAINING_SCANS))
if not subjects["validation"]:
    display(show.text("The final network had no validation scans. It trained for the whole time budget, and its "
                      "accuracy on new subjects is not known" + (", except from the folds." if plan["folds"] else ".")))

# %% [markdown]
# ## Training runs
# Each run sets aside some of its subjects for validation, which decides when to stop. This Dice is for all discs of a
# scan together, on the working grid, near the labelled discs.

# %%
folds = folds.sort_values("fold", key=lambda names: names == "final", kind="stable")
display(show.table(folds, schemas.TRAINING_FOLDS, decimals={"minutes": 1, "start_dice": 3, "best_dice": 3}))
display(show.picture(training_curves(curves)))
if (folds["best_dice"] <= folds["start_dice"]).any():
    display(show.text("In at least one run, training did not improve on the starting network. Keep that network, train "
                      "longer, or add scans."))

# %% [markdown]
# ## Accuracy on held-out scans, before and after training
# Complete segmentation including the naming of discs, on the original grids. `start` is the network that training began
# with. A disc that was missed or misnamed has no Dice and counts as missed. The volume error is signed: above 0, the
# automatic disc is larger than the manual one.

# %%
if accuracy.empty:
    display(show.text("No subject was held out, so there is nothing to test on."))
else:
    by_level = accuracy_by_level(accuracy)
    display(show.table(by_level, decimals={c: 3 if c.startswith("Dice") else 1 for c in by_level.columns}))
    if not plan["folds"]:
        display(show.text("These scans also decided when to stop, so the results are slightly optimistic. With "
                          "--folds, test subjects are used for nothing else."))

# %% [markdown]
# ## Images
# The sagittal slice through the middle of the discs; anterior is on the left. Red: manual mask; green: mask of the
# network that was not trained on this scan.

# %%
display(show.picture(sagittal_views(held_out_views(results, scans[scans["tested_in"] != ""]))))

# %% [markdown]
# ## Results by disc

# %%
discs = disc_by_disc(accuracy)
display(show.table(discs, decimals={c: 3 if c.startswith("Dice") else 1 for c in discs.columns}))

# %% [markdown]
# ## Provenance

# %%
facts = {"data": record["data"], "weights sha256": record["sha256"], "steps": record["steps"],
        "minutes": record["minutes"], "seed": plan["seed"], "patience": plan["patience"],
        "validation share": plan["validation_share"], "torch": record["torch"],
        "commit": record["code"].get("commit", "unknown")
        + (" with changes" if record["code"].get("dirty") else "")}
display(show.text("; ".join(f"{name}: {value}" for name, value in facts.items()) + "."))
display(show.text("The manual masks contain discs only. Labels of vertebrae, sacrum and canal, and of discs above and "
                  "below the labelled ones, are predictions of the starting network. Checksums of every image and "
                  "mask are in weights.json."))
