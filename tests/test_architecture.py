"""Imports go one way only; heavy libraries stay where they belong."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each layer may import from itself and from layers before it; layers in one group do not see each other.
ORDER = [
    {"analysis"}, {"analysis.vocabulary", "analysis.errors"}, {"analysis.types", "analysis.settings"},
    {"analysis.schemas"}, {"analysis.io"}, {"analysis.imaging"}, {"analysis.phantom"},
    {"analysis.segmentation", "analysis.measure"}, {"analysis.longitudinal"}, {"analysis.methods"}, {"analysis.tables"},
    {"analysis.benchmarks"}, {"analysis.models"}, {"analysis.stats"}, {"analysis.figures"},
    {"pipelines"},
]
RANK = {layer: rank for rank, group in enumerate(ORDER) for layer in group}
MODULES = sorted([*ROOT.glob("analysis/**/*.py"), *ROOT.glob("pipelines/**/*.py")])


def _layer(module: str) -> str:
    parts = module.split(".")
    return "pipelines" if parts[0] == "pipelines" else ".".join(parts[:2])


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            base = node.module
            found |= {f"{base}.{a.name}" if base == "analysis" else base for a in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
    return found


def test_every_layer_is_in_the_order():
    found = {_layer(".".join(p.relative_to(ROOT).with_suffix("").parts)) for p in MODULES}
    assert found - {"analysis.__init__"} <= set(RANK)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    own = _layer(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if own == "analysis.__init__":
        return
    for module in _imports(path):
        if module.split(".")[0] in ("analysis", "pipelines") and module != "analysis.__version__":
            other = _layer(module)
            assert other == own or RANK[other] < RANK[own], f"{path.name} ({own}) imports {module}"


@pytest.mark.parametrize("path", [p for p in MODULES if {"stats", "models"} & set(p.parts)], ids=lambda p: p.name)
def test_statistics_know_neither_torch_nor_images(path):
    assert not {m.split(".")[0] for m in _imports(path)} & {"torch", "nibabel", "monai"}


def test_help_answers_at_once():
    times = []
    for _ in range(3):
        begun = time.monotonic()
        done = subprocess.run([sys.executable, "-m", "pipelines.cli", "--help"], capture_output=True, text=True)
        times.append(time.monotonic() - begun)
        assert done.returncode == 0 and "segment" in done.stdout
    assert min(times) < 1.0


def test_importing_the_command_line_loads_nothing_heavy():
    code = "import sys, pipelines.cli; print(sorted({'torch', 'monai', 'pandas', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
