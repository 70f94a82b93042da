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
# ## What it learnt from
# One row a labelled visit. Splits are by subject: no two scans of one person stand on both sides.

# %%
display(show.table(scans, schemas.TRAINING_SCANS))
if not subjects["validation"]:
    display(show.text("The final network had no validation scans: it trained for its whole time, and nothing says how "
                      "good it is on a person it has not seen"
                      + (", except the folds below." if plan["folds"] else ".")))

# %% [markdown]
# ## Runs
# Each run keeps some of its subjects from training to say when to stop. Dice here counts all discs of a scan together,
# on the working grid, near the labelled discs.

# %%
folds = folds.sort_values("fold", key=lambda names: names == "final", kind="stable")
display(show.table(folds, schemas.TRAINING_FOLDS, decimals={"minutes": 1, "start_dice": 3, "best_dice": 3}))
display(show.picture(training_curves(curves)))
if (folds["best_dice"] <= folds["start_dice"]).any():
    display(show.text("In at least one run training did not beat the network it started from. Then keep that one, or "
                      "train longer or on more scans."))

# %% [markdown]
# ## Before and after, on scans not learnt from
# The whole engine, names included, in the scans' own grids. `start` is the network that training began with. A disc
# that was missed or named wrongly has no Dice and is counted as missed. The volume error is signed: above 0, the
# network's disc is larger than the person's.

# %%
if accuracy.empty:
    display(show.text("No subject was kept from training: there is nothing to test on."))
else:
    by_level = accuracy_by_level(accuracy)
    display(show.table(by_level, decimals={c: 3 if c.startswith("Dice") else 1 for c in by_level.columns}))
    if not plan["folds"]:
        display(show.text("These scans also chose the moment to stop, so the figures flatter a little. Folds "
                          "(--folds) keep their test subjects out of everything."))

# %% [markdown]
# ## Pictures
# The sagittal slice through the middle of the discs, front to the left. Red is the person's mask, green the network
# that did not learn from this scan.

# %%
display(show.picture(sagittal_views(held_out_views(results, scans[scans["tested_in"] != ""]))))

# %% [markdown]
# ## Disc by disc

# %%
discs = disc_by_disc(accuracy)
display(show.table(discs, decimals={c: 3 if c.startswith("Dice") else 1 for c in discs.columns}))

# %% [markdown]
# ## Where this comes from

# %%
told = {"data": record["data"], "weights sha256": record["sha256"], "steps": record["steps"],
        "minutes": record["minutes"], "seed": plan["seed"], "patience": plan["patience"],
        "validation share": plan["validation_share"], "torch": record["torch"],
        "commit": record["code"].get("commit", "unknown")
        + (" with changes" if record["code"].get("dirty") else "")}
display(show.text("; ".join(f"{name}: {value}" for name, value in told.items()) + "."))
display(show.text("The person's masks hold discs only. Vertebrae, sacrum and canal were taught by the starting "
                  "network's own prediction; above and below the labelled discs its discs were kept. Checksums of "
                  "every image and mask are in weights.json."))
