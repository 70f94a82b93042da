# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Explore a study of your own
# For JupyterLab: open this file as a notebook (right click, Open With, Notebook), set the two parameters, run.
# It reads stored results and changes nothing. A copy of it, named in study.toml as `notebooks = ["mine.py"]`, becomes a
# page of the reports, own/mine.html; it must keep these two parameters.

# %% tags=["parameters"]
output_dir: str = ""  # empty: where study.toml says
study_toml: str = "demo/study.toml"

# %% [markdown]
# Three lines load it. `study.tables.change`, and so on, gives any other table; data_manifest/columns.md explains every
# column. `study.figures`, `study.mask(subject, session)` and `study.scan(subject, session)` give the rest.

# %%
import bedrest

study = bedrest.open_study(study_toml, output_dir)
measures = study.tables.measures

# %%
measures.query("source == 'automatic'").head(10)

# %% [markdown]
# A plot: how high is each disc, visit by visit?

# %%
import seaborn as sns
from bedrest.figures.style import ordered_levels
from bedrest.measurement.registry import VOLUME
from IPython.display import display

ours = measures.query("source == 'automatic'")
n = ours["subject"].nunique()
grid = sns.catplot(ours, x="level", y=VOLUME.name, hue="session", order=ordered_levels(ours["level"]), kind="strip",
                   dodge=True, height=3, aspect=2.2)
grid.set_axis_labels("", "disc volume (mm³)").set(title=f"Every disc, n = {n} subjects")
display(grid.figure)
