"""A table of statistics is one module, its schema and one entry of the registry, and everything else follows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from bedrest import schemas
from bedrest.schemas import statistics
from bedrest.statistics.study.analysis import STATISTICS

ROOT = Path(__file__).parents[1]
RUN_EXAMPLE = """
import sys
from pathlib import Path
import numpy as np
from bedrest.io.results import StudyResults
from bedrest.io.tables.typed_csv import write_table
from bedrest.schemas.statistics import CHANGE_SPREAD
from bedrest.statistics.planning.simulated_cohorts import Scenario
from bedrest.statistics.study.analysis import Analysis
from docs.generate import columns_page
from pipelines.benchmarks.simulated_study import draw_study

scenario = Scenario(8, changes_percent=(2.0,), response_sd_percent=2.0)
study = draw_study(scenario, np.random.default_rng(1))
results = StudyResults(Path(sys.argv[1]))
for table, frame in Analysis(study, scenario.plan).tables():
    write_table(frame, results.table(table), table)
stored = results.read(CHANGE_SPREAD)
assert len(stored) == 2
of_group = study.change[study.change["group"] == stored["group"][0]]
assert np.isclose(stored["sd_percent"][0], of_group["change_percent"].std(ddof=1))
assert "### change_spread" in columns_page()
"""


def test_every_statistic_has_one_entry():
    names = Counter(s.table.name for s in STATISTICS)
    assert max(names.values()) == 1
    assert {t.name for t in statistics.TABLES} - {schemas.POWER.name} <= set(names)
    assert all(s.table in schemas.TABLES for s in STATISTICS)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new))


def test_the_worked_example_needs_no_other_change(tmp_path):
    page = (ROOT / "CONTRIBUTING.md").read_text().split("## Adding a statistic")[1].split("\n## ")[0]
    module, schema, entry = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    package = tmp_path / "bedrest"
    shutil.copytree(ROOT / "analysis/bedrest", package, ignore=shutil.ignore_patterns("*.safetensors", "__pycache__"))
    (package / "statistics/study/change_spread.py").write_text(module)
    edit(package / "schemas/statistics.py", "\nTABLES = (", f"\n{schema}\nTABLES = (CHANGE_SPREAD, ")
    analysis = package / "statistics/study/analysis.py"
    edit(analysis, "STATISTICS = [\n", f"STATISTICS = [\n    {entry}")
    edit(analysis, "from bedrest.schemas import Table\n", "from bedrest.schemas import Table\n"
         "from bedrest.schemas.statistics import CHANGE_SPREAD\n"
         "from bedrest.statistics.study.change_spread import change_spread_frame\n")
    done = subprocess.run([sys.executable, "-c", RUN_EXAMPLE, str(tmp_path / "out")], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}, check=False)
    assert done.returncode == 0, done.stderr
