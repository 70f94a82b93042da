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

from bedrest.figures import display as show
from bedrest.figures.methods import change_errors, discs_by_method, method_curves
from bedrest.io.tables.typed_csv import read_table, read_text
from bedrest.protocols import records
from bedrest.protocols.page import SYNTHETIC, origin_lines
from IPython.display import Markdown, display

done = {p.parent: json.loads(p.read_text()) for p in sorted(Path(folder).glob("*/benchmark.json"))}
tables = {where: {t.name: read_table(where / f"{t.name}.csv", t) for t in (
    records.METHOD_VISITS, records.METHOD_DISCS, records.METHOD_CHANGES, records.METHOD_SCORES,
    records.METHOD_TRAININGS, records.METHOD_CURVES)} for where in done}
synthetic = [r["protocol"] for r in done.values() if r["synthetic"]]
note = "Research use only." + (f" {SYNTHETIC}" if len(synthetic) == len(done) else
                               f" Synthetic scans: {', '.join(synthetic)}." if synthetic else "")
display(show.header("Published methods compared", note=note, facts={
    "studies": ", ".join(sorted({r["study"] for r in done.values()})), "protocols": len(done),
    "trainings that failed": sum(r["failed"] for r in done.values())}))

# %% [markdown]
# ## With what it was made
# Every training had a budget of minutes; papers trained for hours or days. How each training ended stands below.

# %%
for record in done.values():
    display(Markdown(f"### {record['title']}: {record['protocol']}"))
    display(show.text(f"{'; '.join(origin_lines(record))}.".replace("`", "")))
    if record["notes"]:
        display(show.text(" ".join(f"{words.removesuffix('.')}." for words in record["notes"]).replace("`", "")))

# %% [markdown]
# ## Tables in the papers' own shape
# Published figures were measured on other scans with other splits, by the authors: they are shown to be looked at, and
# are no comparison under one protocol. Signed errors of volume and of change stand beside Dice, which is blind to both.

# %%
for where, record in done.items():
    for table in record["tables"]:
        display(Markdown(f"### {table['title']}{'; synthetic scans' if record['synthetic'] else ''}"))
        shown = read_text(where / f"{table['name']}.csv", table["name"]).frame
        display(show.table(shown.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}", regex=True)))
        display(show.text(table["note"]))

# %% [markdown]
# ## Disc by disc
# One point a disc of a tested scan. A disc that was not found is drawn at a Dice of 0 and has no volume error. The mean
# of volume errors may be 0 while every disc is wrong: look at the spread.

# %%
for where, record in done.items():
    display(Markdown(f"### {record['title']}"))
    display(show.picture(discs_by_method(tables[where]["discs"], record["rows"]),
                         alt=f"{record['title']}: Dice and signed volume error of every disc, by method."))

# %% [markdown]
# ## Change between visits
# Automatic less reference change over their mean, per cent of the reference volume at the reference visit: what a study
# of change would get wrong. Both visits are automatic. Lines: mean, and 1.96 SD to either side.

# %%
moved = {where: record for where, record in done.items() if len(tables[where]["changes"])}
for where, record in moved.items():
    display(Markdown(f"### {record['title']}"))
    display(show.picture(change_errors(tables[where]["changes"], record["rows"]),
                         alt=f"{record['title']}: error of change over change, by method."))
if not moved:
    display(show.text("No tested subject has reference masks at two visits."))

# %% [markdown]
# ## All measures

# %%
for where, record in done.items():
    display(Markdown(f"### {record['title']}"))
    scores = tables[where]["scores"].drop(columns="row")
    for part in (scores.loc[:, :"hausdorff_sd_mm"], scores.drop(columns=list(scores.loc[:, "n":"hausdorff_sd_mm"]))):
        display(show.table(part, records.METHOD_SCORES,
                           decimals={"mld_mm": 2, "sd_mm": 2, "maad_mm": 2, "maad_sd_mm": 2}))

# %% [markdown]
# ## Learning curves
# Mean loss since the point before. Losses of different methods are different quantities. A curve that still falls at
# its end was cut.

# %%
for where, record in done.items():
    display(Markdown(f"### {record['title']}"))
    display(show.picture(method_curves(tables[where]["curves"], record["rows"]),
                         alt=f"{record['title']}: training loss over time."))

# %% [markdown]
# ## How each training ended, and what failed

# %%
for where, record in done.items():
    trainings = tables[where]["trainings"]
    display(Markdown(f"### {record['title']}"))
    display(show.table(trainings.drop(columns=["row", "method", "trained_on", "tested_on"]), records.METHOD_TRAININGS,
                       decimals={"minutes": 2}))
    visits = tables[where]["visits"]
    if (visits["status"] == "failed").any():
        display(show.table(visits[visits["status"] == "failed"], records.METHOD_VISITS))
