# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Explore a study of your own
# For JupyterLab: open this file as a notebook (right click, Open With, Notebook), set the two parameters, run.
# It reads stored results and changes nothing. A copy of it, listed in study.toml as `notebooks = ["mine.py"]`, becomes
# the page own/mine.html of the reports; it must keep these two parameters.

# %% tags=["parameters"]
output_dir: str = ""  # empty: where study.toml says
study_toml: str = "demo/study.toml"

# %% [markdown]
# Three lines load the measures. Other tables are `study.tables.change` and so on; data_manifest/columns.md explains
# every column. `study.figures`, `study.mask(subject, session)` and `study.scan(subject, session)` give the rest.

# %%
import bedrest

study = bedrest.open_study(study_toml, output_dir)
measures = study.tables.measures

# %%
measures.query("source == 'automatic'").head(10)

# %% [markdown]
# A plot: the volume of each disc at every visit.

# %%
import seaborn as sns
from bedrest.figures.style import ordered_levels
from bedrest.measurement.registry import VOLUME
from IPython.display import display

automatic = measures.query("source == 'automatic'")
n = automatic["subject"].nunique()
grid = sns.catplot(automatic, x="level", y=VOLUME.name, hue="session", order=ordered_levels(automatic["level"]),
                   kind="strip", dodge=True, height=3, aspect=2.2)
grid.set_axis_labels("", "disc volume (mm³)").set(title=f"Disc volumes, n = {n} subjects")
display(grid.figure)
