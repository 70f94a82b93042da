"""Sphinx settings: `make docs` builds build/docs/index.html from the Markdown that lies in the repository.

A new page in docs/ is taken by itself: under *Explanation*, unless it is named below.
"""

import re
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx
from sphinx.highlighting import lexers

ROOT = Path(__file__).parents[1]
KINDS = {
    "tutorial": ["docs/first_study"],
    "how-to": ["docs/own_data", "docs/importing_images", "docs/manual_correction", "docs/calibration", "docs/training",
               "docs/methods", "docs/sizing_a_study", "docs/clusters"],
    "reference": ["docs/commands", "data_manifest/README", "data_manifest/study_keys", "data_manifest/columns",
                  "data_manifest/finding_codes", "docs/label_schemes", "docs/other_programs",
                  "docs/engine_benchmark", "docs/change_benchmark", "docs/change_methods", "docs/error_rates",
                  "docs/image_checks", "docs/method_benchmarks",
                  *sorted(f"docs/method_benchmarks/{p.stem}" for p in ROOT.glob("docs/method_benchmarks/*.md"))],
    "explanation": ["docs/measuring_change", "docs/statistics", "docs/segmentation", "docs/trust", "docs/privacy",
                    "docs/scale", "docs/fuzzing", "docs/architecture"],
    "project": ["README", "CONTRIBUTING", "CHANGELOG"],
}

project = "bedrest"
author = "The bedrest developers"
copyright = author
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**", "data_manifest/**"]
exclude_patterns = ["docs/*.py", "docs/templates"]
templates_path = ["templates"]
html_additional_pages = {"index": "start.html"}
html_theme = "furo"
html_title = "bedrest"
html_copy_source = False
myst_heading_anchors = 3
lexers["csv"] = TextLexer()


def pages(kind: str) -> list[str]:
    """Pages of one kind that are there, in the order above; explanation takes what is named nowhere."""
    names = [n for n in KINDS[kind] if (ROOT / f"{n}.md").is_file()]
    if kind == "explanation":
        named = {"docs/index", *(n for own in KINDS.values() for n in own)}
        names += sorted({f"docs/{p.stem}" for p in (ROOT / "docs").glob("*.md")} - named)
    return names


def _list_pages(app: Sphinx, name: str, source: list[str]) -> None:
    """Put lists of pages where docs/index.md says so."""
    if name == root_doc:
        source[0] = re.sub(r"<!-- pages: ([\w-]+) -->", lambda m: "\n".join(
            ["```{toctree}", ":maxdepth: 1", "", *(f"/{n}" for n in pages(m[1])), "```"]), source[0])


def setup(app: Sphinx) -> None:
    app.connect("source-read", _list_pages)
