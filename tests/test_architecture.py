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
    {"bedrest"}, {"bedrest.vocabulary", "bedrest.errors"}, {"bedrest.findings"}, {"bedrest.types", "bedrest.settings"},
    {"bedrest.anatomy"}, {"bedrest.measure"}, {"bedrest.schemas"}, {"bedrest.io"}, {"bedrest.imaging"},
    {"bedrest.phantom"}, {"bedrest.segmentation"}, {"bedrest.longitudinal"}, {"bedrest.methods"}, {"bedrest.tables"},
    {"bedrest.statistics"}, {"bedrest.figures"}, {"bedrest.pages"}, {"bedrest.stages"}, {"bedrest.workflow"},
    {"bedrest.protocols"}, {"bedrest.cli"}, {"pipelines"},
]
RANK = {layer: rank for rank, group in enumerate(ORDER) for layer in group}
MODULES = sorted([*ROOT.glob("analysis/**/*.py"), *ROOT.glob("pipelines/**/*.py")])


def _name(path: Path) -> str:
    """Dotted name of a module."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(p for p in (parts[1:] if parts[0] == "analysis" else parts) if p != "__init__")


def _layer(module: str) -> str:
    parts = module.split(".")
    return "pipelines" if parts[0] == "pipelines" else ".".join(parts[:2])


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            base = node.module
            found |= {f"{base}.{a.name}" if base == "bedrest" else base for a in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
    return found


def test_every_layer_is_in_the_order():
    found = {_layer(_name(p)) for p in MODULES}
    assert found <= set(RANK)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    own = _layer(_name(path))
    for module in _imports(path):
        if module.split(".")[0] in ("bedrest", "pipelines") and module != "bedrest.__version__":
            other = _layer(module)
            assert other == own or RANK[other] < RANK[own], f"{path.name} ({own}) imports {module}"


@pytest.mark.parametrize("layer", ["io", "imaging", "phantom", "segmentation"])
def test_what_makes_masks_does_not_know_how_they_are_measured(layer):
    """Schemas are made from the registry of measures, so `measure` comes early: these could see it, and must not."""
    for path in (ROOT / "analysis/bedrest" / layer).rglob("*.py"):
        assert not {m for m in _imports(path) if _layer(m) == "bedrest.measure"}, path


@pytest.mark.parametrize("path", [p for p in MODULES if "statistics" in p.parts], ids=lambda p: p.name)
def test_statistics_know_neither_torch_nor_images(path):
    assert not {m.split(".")[0] for m in _imports(path)} & {"torch", "nibabel", "monai"}


def test_help_answers_at_once():
    times = []
    for _ in range(3):
        begun = time.monotonic()
        done = subprocess.run([sys.executable, "-m", "bedrest.cli.parser", "--help"], capture_output=True, text=True)
        times.append(time.monotonic() - begun)
        assert done.returncode == 0 and "segment" in done.stdout
    assert min(times) < 1.0


def test_importing_the_schemas_loads_nothing_that_computes():
    code = "import sys, bedrest.schemas; " \
           "print(sorted({'scipy', 'skimage', 'pandas', 'torch', 'nibabel'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_command_line_loads_nothing_heavy():
    code = "import sys, bedrest.cli.parser; " \
           "print(sorted({'torch', 'monai', 'pandas', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
