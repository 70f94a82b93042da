"""A measure is known to the registry and its own module, and everything else follows from there."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from bedrest.measurement import registry
from bedrest.measurement.definition import Scale
from bedrest.schemas import MEASURES, SPINE_MEASURES

ROOT = Path(__file__).parents[1]
ALL = (*registry.DISC_MEASURES, *registry.SPINE_MEASURES)
SOURCES = sorted(p for folder in ("analysis", "notebooks", "pipelines") for p in (ROOT / folder).rglob("*.py")
                 if ROOT / "analysis/bedrest/measurement" not in p.parents)
# Files that may spell a measure's column, and why.
VOLUME_OF_THE_MODELS = "models and tests are of the volume alone"
ALLOWED = {
    "analysis/bedrest/schemas/validity.py": "the true volume of a synthetic disc bears the same name",
    "analysis/bedrest/phantom/demo_cohort.py": "writes that truth, and must not know how discs are measured",
    "pipelines/benchmarks/compare_results.py": "names the columns of older results",
    "analysis/bedrest/schemas/measures.py": "the words for a volume's errors name the volume",
    **dict.fromkeys((f"analysis/bedrest/statistics/{name}.py" for name in (
        "study/baseline", "study/responses", "study/summary", "study/validation")),
        VOLUME_OF_THE_MODELS),
}
EXAMPLE = """
import importlib.util, sys
import numpy as np, pandas as pd
import bedrest.measurement.registry as registry
spec = importlib.util.spec_from_file_location("example", sys.argv[1])
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)
registry.DISC_MEASURES = (*registry.DISC_MEASURES, *example.MEASURES)

from bedrest.figures.trajectories import shown_measures, subject_measures
from bedrest.io.tables.frames import validated
from bedrest.measurement.discs import measure_discs
from bedrest.schemas import CHANGE, MASK_MEASURES, MEASURES
from bedrest.tables.measures import VisitKey, mask_measures_frame, measures_frame
from bedrest.types import Grid, LabelMap
from bedrest.vocabulary import Contrast
from docs.generate import columns_page

name, = (m.name for m in example.MEASURES)
data = np.zeros((60, 50, 30), np.int32)
data[5:55, 8:42, 10:18] = 1
measured = measure_discs(LabelMap(data, Grid(data.shape, np.eye(4))), {1: "L5-S1"}, {})
frame = validated(measures_frame(measured, visit=VisitKey("01", "g", "ses-1", 1.0, "baseline"), source="automatic"),
                  MEASURES)
assert frame[name].item() == measured[0][name]
assert name in mask_measures_frame(measured, mask="m", contrast=Contrast.WATER)
assert f"| `{name}` |" in columns_page()
assert name in next(c for c in CHANGE.columns if c.name == "measure").values
assert example.MEASURES[0] in shown_measures(frame)
assert example.MEASURES[0].title in [a.get_title(loc="left") + a.get_title() for a in subject_measures(frame).axes]
print(frame[name].item())
"""


def test_names_are_unique_and_carry_their_unit():
    assert max(Counter(m.name for m in ALL).values()) == 1
    titles = [m.title for m in ALL if m.title]
    assert len(titles) == len(set(titles))
    for m in ALL:
        suffix = {"degree": "_deg", "1": "", "a.u.": "", "%": "_percent"}.get(m.unit, f"_{m.unit}")
        assert m.name.endswith(suffix), m.name
        assert m.minimum is None or m.minimum == 0 or m.scale is Scale.DIFFERENCE, m.name


def test_every_measure_has_a_column():
    assert {m.name for m in registry.DISC_MEASURES} <= set(MEASURES.column_names)
    assert {m.name for m in registry.SPINE_MEASURES} <= set(SPINE_MEASURES.column_names)


def _strings(path: Path) -> list[str]:
    """Text constants of a module, docstrings left out."""
    tree = ast.parse(path.read_text())
    docs = {id(node.body[0].value) for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and node.body
            and isinstance(node.body[0], ast.Expr)}
    return [node.value for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs]


def _named(path: Path) -> set[str]:
    texts = "\n".join(_strings(path))
    return {m.name for m in ALL if re.search(rf"\b{m.name}\b", texts)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_other_file_knows_a_measure_by_name(path):
    known = _named(path)
    if str(path.relative_to(ROOT)) in ALLOWED:
        assert known and known <= {m.name for m in registry.volumes.MEASURES}, "no longer needed in ALLOWED"
    else:
        assert known == set()


def test_the_worked_example_needs_no_other_change(tmp_path):
    page = (ROOT / "CONTRIBUTING.md").read_text()
    block = page.split("## Adding a measure")[1].split("```python\n")[1].split("```")[0]
    module = tmp_path / "height_index.py"
    module.write_text(block)
    done = subprocess.run([sys.executable, "-c", EXAMPLE, str(module)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(8 / 34, rel=0.05)
