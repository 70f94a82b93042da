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

from bedrest import __version__
from bedrest.figures import display as show
from bedrest.figures.publication import publication_figures
from bedrest.io.results import StudyResults
from bedrest.settings import load_study
from IPython.display import display

study = load_study(Path(study_toml))
results = StudyResults(Path(output_dir))
display(show.header(f"{study.name}: publication figures", note=study.description, facts={
    "groups": ", ".join(study.groups), "reference visit": study.reference_session, "bedrest": __version__}))

# %% [markdown]
# Figures for a paper with their captions. `bedrest figures` writes them to figures/ in the output folder as PDF, SVG
# and PNG at 600 dpi, one or two journal columns wide, with the data of each figure as CSV.

# %%
for item in publication_figures(study, results):
    display(show.captioned(item.figure, item.name, item.caption))
