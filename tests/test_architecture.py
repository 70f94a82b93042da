"""The rules of the source tree: imports go one way, heavy libraries stay where they belong, no file grows too large."""

import ast
import re
import subprocess
import sys
from collections import Counter, defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from source_tree import FOLDERS, MODULES, PACKAGE, ROOT, imports_of, layer_of, parsed

# Each layer may import from itself and from layers before it; layers in one group do not see each other.
ORDER = [
    {"bedrest.vocabulary", "bedrest.errors"}, {"bedrest.findings"}, {"bedrest.types", "bedrest.settings"},
    {"bedrest.anatomy"}, {"bedrest.measurement"}, {"bedrest.schemas"}, {"bedrest.io"}, {"bedrest.imaging"},
    {"bedrest.phantom"}, {"bedrest.segmentation"}, {"bedrest.longitudinal"}, {"bedrest.calibration"},
    {"bedrest.methods"}, {"bedrest.tables"}, {"bedrest.statistics"}, {"bedrest.figures"}, {"bedrest.pages"},
    {"bedrest.stages"}, {"bedrest.workflow"}, {"bedrest.protocols"}, {"bedrest.api"}, {"bedrest.cli"},
    {"bedrest.__main__"}, {"pipelines"},
]
RANK = {layer: rank for rank, group in enumerate(ORDER) for layer in group}
# `import bedrest` hands out what all layers offer, lazily: it stands before none of them.
LAYERED = {name: path for name, path in MODULES.items() if name != "bedrest"}
MAX_LINES_SHIPPED, MAX_LINES_OF_FUNCTION, MAX_MODULES_OF_FOLDER, MAX_FOLDERS_OF_NAME = 32_000, 60, 16, 2
MAX_SECONDS_IMPORT, MAX_SECONDS_HELP = 0.3, 1.0
HEAVY = {"torch", "monai", "pandas", "matplotlib", "scipy", "nibabel", "statsmodels", "snakemake"}


def test_every_layer_is_in_the_order():
    assert {layer_of(name) for name in LAYERED} <= set(RANK)


def test_imports_go_one_way():
    wrong = [f"{name} imports {other}" for name, path in LAYERED.items() for other in imports_of(path)
             if (layer := layer_of(other)) in RANK and layer != layer_of(name)
             and RANK[layer] >= RANK[layer_of(name)]]
    assert wrong == []


@pytest.mark.parametrize("layer", ["bedrest.io", "bedrest.imaging", "bedrest.phantom", "bedrest.segmentation"])
def test_what_makes_masks_does_not_know_how_they_are_measured(layer):
    """Schemas are made from the registry of measures, so `measure` comes early: these could see it, and must not."""
    assert [name for name, path in LAYERED.items() if layer_of(name) == layer
            and any(layer_of(m) == "bedrest.measurement" for m in imports_of(path))] == []


def test_importing_the_schemas_loads_nothing_that_computes():
    code = "import sys, bedrest.schemas; " \
           "print(sorted({'scipy', 'skimage', 'pandas', 'torch', 'nibabel'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_users_go_through_the_packages_front_door():
    """What `import bedrest` hands out lazily, its own modules import from where it lies: else circles are hidden."""
    front = {name: {m for m in imports_of(path) if m.split(".")[0] == "bedrest" and m not in LAYERED}
             for name, path in LAYERED.items()}
    assert {name: through for name, through in front.items() if not through <= {"bedrest.__version__"}} == {}


def _circle(graph: dict[str, set[str]]) -> list[str]:
    """Nodes of a circle, the first one again at the end; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_by_way_of_others():
    assert _circle({name: set(imports_of(path)) & LAYERED.keys() - {name} for name, path in LAYERED.items()}) == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_what_lies_in_a_folder_has_an_order(folder):
    """Modules and folders in one folder import each other one way only, whatever lies deeper counted as its folder."""
    prefix = ".".join(folder.relative_to(PACKAGE.parent if folder.is_relative_to(PACKAGE) else ROOT).parts) + "."
    graph = defaultdict(set)
    for name, path in LAYERED.items():
        for other in imports_of(path):
            if name.startswith(prefix) and other.startswith(prefix):
                child, needs = (n.removeprefix(prefix).split(".")[0] for n in (name, other))
                if child != needs:
                    graph[child].add(needs)
    assert _circle(graph) == []


def test_a_circle_would_be_noticed():
    assert _circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert sorted(set(_circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}))) == ["a", "b", "c"]


def test_statistics_know_neither_the_network_nor_images():
    forbidden = {"torch", "nibabel", "monai"}
    assert {n: bad for n, p in MODULES.items() if layer_of(n) == "bedrest.statistics"
            and (bad := {m.split(".")[0] for m in imports_of(p)} & forbidden)} == {}


# Files. What is called tells who reads and writes; the functions of `bedrest.io` are called by their bare names.
READS_IMAGES_OR_TABLES = {"nib.load", "nib.save", "nibabel.load", "nibabel.save", "pydicom.dcmread", "pd.read_csv",
                          "pandas.read_csv"}
WRITES_IN_PLACE = {"write_text", "write_bytes"}  # of a path: what is cut off in the middle stays


def _file_calls(path: Path) -> list[str]:
    calls = [n.func for n in ast.walk(parsed(path)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    return [f"{path.name}:{c.lineno} {ast.unparse(c)}" for c in calls
            if c.attr in WRITES_IN_PLACE or ast.unparse(c) in READS_IMAGES_OR_TABLES]


def test_images_and_tables_are_read_and_files_are_written_by_io_alone():
    package = [p for n, p in MODULES.items() if p.is_relative_to(PACKAGE) and layer_of(n) != "bedrest.io"]
    assert [call for p in package for call in _file_calls(p)] == []
    assert any(_file_calls(p) for n, p in MODULES.items() if layer_of(n) == "bedrest.io")


# Sizes.

def test_what_is_shipped_stays_small():
    shipped = [*(p for p in MODULES.values() if p.is_relative_to(PACKAGE)), *(ROOT / "notebooks").glob("*.py")]
    assert sum(len(p.read_text().splitlines()) for p in shipped) < MAX_LINES_SHIPPED


def test_no_function_is_longer_than_a_page():
    functions = ((f"{name}.{f.name}", (f.end_lineno or 0) - f.lineno + 1) for name, path in MODULES.items()
                 for f in ast.walk(parsed(path)) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef))
    assert {name: lines for name, lines in functions if lines > MAX_LINES_OF_FUNCTION} == {}


def test_a_folder_can_be_seen_at_a_glance():
    sizes = Counter(p.parent for p in MODULES.values() if p.name != "__init__.py")
    assert {f.relative_to(ROOT).as_posix(): n for f, n in sizes.items() if n > MAX_MODULES_OF_FOLDER} == {}


def test_a_name_says_which_file_is_meant():
    names = Counter(p.name for p in MODULES.values() if not p.stem.startswith("__"))
    assert {name: n for name, n in names.items() if n > MAX_FOLDERS_OF_NAME} == {}
    assert "utils.py" not in names


def test_every_module_says_what_it_answers():
    assert [n for n, p in MODULES.items() if p.name != "__init__.py" and not ast.get_docstring(parsed(p))] == []


@pytest.mark.parametrize("source", sorted((ROOT / "notebooks").glob("*.py")), ids=lambda p: p.name)
def test_notebooks_are_thin(source):
    text = source.read_text()
    assert len(text.splitlines()) <= 150
    assert not re.search(r"^\s*def |\.to_csv\(|\.savefig\(|write_text\(", text, re.MULTILINE)


# What starts at once.

HELP = "import contextlib, sys\nsys.argv = ['bedrest', '--help']\nfrom bedrest.cli import main\n" \
       "with contextlib.suppress(SystemExit): main()"


def _seconds(code: str) -> float:
    """Of processor, which tests at the other cores do not lengthen: the least of three fresh interpreters' needs."""
    timed = f"import time; begun = time.process_time(); exec({code!r}); print(time.process_time() - begun)"
    return min(float(subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True)
                     .stdout.splitlines()[-1]) for _ in range(3))


def test_importing_the_package_is_quick_and_loads_nothing_heavy():
    code = f"import sys, bedrest; print(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert _seconds("import bedrest") < MAX_SECONDS_IMPORT


def test_help_answers_at_once():
    code = f"exec({HELP!r})\nprint(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "segment" in done.stdout and done.stdout.splitlines()[-1] == "[]"
    assert _seconds(HELP) < MAX_SECONDS_HELP
