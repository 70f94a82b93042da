"""What a stage's results depend on follows from its code: modules, libraries and settings, and nothing else."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bedrest.settings import Calibration, Images, Statistics, Study, load_study
from bedrest.stages.all_stages import NAMES, fingerprint_of, record_of, stage
from bedrest.workflow import fingerprints
from bedrest.workflow.calibrate import STAGE as CALIBRATE
from bedrest.workflow.fingerprints import (
    PACKAGE,
    closure,
    fingerprint,
    imported_names,
    library_version,
    write_fingerprints,
)
from bedrest.workflow.records import outdated, recorded
from stored_study import store_study

# Settings that the manifest is resolved from: what comes of them stands in tables that stages declare. And where a run
# works.
RESOLVED = {"images.layout", "images.root", "images.derivatives", "images.subjects_csv", "images.sessions_csv",
            "images.scans_csv", "images.pairs", "contrasts", "edited", "level_names", "notebooks", "weights"}
WHERE_IT_RUNS = {"output", "device", "path", "calibration.subjects"}  # whose results do not depend on them
# One module of each package, and the stages whose results it may change.
PAGES = {"subject_report", "cohort_report", "page"}
STALE = {
    # Names of segments, with which every mask is read.
    "anatomy/levels.py": {"segment", "joint_volumes", "measure", "index"} | PAGES,
    "anatomy/label_schemes.py": {"segment", "joint_volumes", "measure"},
    "api/single_scan.py": set(),
    "anatomy/structures.py": {"segment", "joint_volumes", "measure", "index"},
    "calibration/fitting.py": {"subject_report", "cohort_report"},  # what pages say of a calibration
    "cli/commands.py": set(),
    "figures/publication.py": {"figures", "page"},
    "figures/timeline.py": {"subject_report"},
    "findings/__init__.py": set(NAMES),
    "imaging/common_grid.py": {"segment", "joint_volumes", "measure", "index"} | PAGES,
    "io/files.py": set(NAMES),
    "io/dicom/reader.py": set(),
    "longitudinal/joint_volumes.py": {"joint_volumes"},
    "measurement/sagittal.py": set(NAMES),  # schemas take their columns from the registry of measures
    "measurement/comparison/agreement.py": {"measure", "statistics", "subject_report", "cohort_report"},
    "methods/method.py": set(),
    "pages/index.py": {"index"},
    "pages/notebooks.py": PAGES | {"index"},
    "phantom/render.py": set(),
    "protocols/scores.py": set(),
    "schemas/__init__.py": set(NAMES),
    "segmentation/network.py": {"segment", "joint_volumes", "measure", "index"},
    "segmentation/engine.py": {"segment", "joint_volumes"},
    "stages/change.py": {"change"},
    "stages/provenance.py": {"index"},
    "statistics/study/flow.py": {"statistics"},
    "tables/arvd.py": {"change"},
    "vocabulary.py": set(NAMES),
    "workflow/run.py": set(),
}


@pytest.fixture
def moved(tmp_path, monkeypatch) -> Path:
    """A copy of the package's sources that a test may change, in which fingerprints are taken."""
    package = tmp_path / "bedrest"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("weights", "__pycache__"))
    shutil.copy(PACKAGE / "segmentation/weights.py", package / "segmentation/weights.py")
    monkeypatch.setattr(fingerprints, "PACKAGE", package)
    caches = (fingerprints.imported_names, fingerprints._files_of, fingerprints._checksum)
    for function in caches:
        function.cache_clear()
    yield package
    for function in caches:
        function.cache_clear()


def modules_of(study: Study, package: Path) -> dict[str, dict[str, str]]:
    """Of each stage, its modules with their checksums, as they lie in a package."""
    fingerprints._checksum.cache_clear()
    made: dict[str, dict[str, str]] = {}
    for name in NAMES:
        files = stage(name).files(study, "publication_figures" if name == "page" else "")
        sources = [package / "stages" / f"{name}.py", *(p for p in files.values() if p.suffix == ".py")]
        made[name] = {p.relative_to(package).as_posix(): fingerprints._checksum(p) for p in closure(sources).modules}
    return made


def test_a_changed_byte_makes_those_stages_stale_that_import_it_and_no_others(moved, stored_once):
    study, _ = stored_once
    before = modules_of(study, moved)
    for module, stages in STALE.items():
        path = moved / module
        source = path.read_bytes()
        path.write_bytes(source + b"#")
        after = modules_of(study, moved)
        path.write_bytes(source)
        assert {name for name in NAMES if after[name] != before[name]} == stages, module
    packages = {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").is_file()}
    assert packages <= {Path(m).parts[0] for m in STALE}, "a package without an example"


@pytest.mark.parametrize("name", NAMES)
def test_the_closure_holds_every_module_that_importing_the_stage_loads(name):
    code = (f"import sys, bedrest.stages.{name}\n"
            "print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'bedrest'), sep='\\n')")
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split("\n")
    imported = closure([PACKAGE / "stages" / f"{name}.py"]).modules
    assert {Path(p) for p in loaded if p} <= imported
    assert not any(p.relative_to(PACKAGE).parts[0] in ("cli", "workflow", "protocols", "methods") for p in imported)


def runtime_imports(node: ast.AST, *, inside: bool = True) -> set[str]:
    """As `imported_names`, by Python's own parser."""
    names: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.ImportFrom) and child.module:
            names |= {f"{child.module}.{a.name}" for a in child.names}
        elif isinstance(child, ast.Import):
            names |= {a.name for a in child.names}
        elif inside or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names |= runtime_imports(child, inside=inside)
    return names


def test_imports_are_found_in_every_module_as_the_parser_finds_them():
    for path in PACKAGE.rglob("*.py"):
        whole = path.name != "__init__.py"
        assert imported_names(path) == runtime_imports(ast.parse(path.read_text()), inside=whole), path


def test_a_sentence_is_no_import_and_a_notebook_counts_by_its_cells(tmp_path):
    text = tmp_path / "a.py"
    text.write_text('"""\nfrom bed import rest, and more.\nfrom the sacrum up\n"""\nimport json, numpy.linalg as la\n'
                    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n\n    import monai\n"
                    "def f():\n    from bedrest.io import (\n        files,  # why\n        results,\n    )\n")
    assert imported_names(text) == {"json", "numpy.linalg", "typing.TYPE_CHECKING", "bedrest.io.files",
                                    "bedrest.io.results"}
    notebook = tmp_path / "b.ipynb"
    notebook.write_text('{"cells": [{"cell_type": "markdown", "source": "import torch"},'
                        ' {"cell_type": "code", "source": ["import scipy\\n", "import bedrest.errors"]}]}')
    imported = closure([notebook])
    assert imported.libraries == {"scipy"}
    assert imported.modules == {PACKAGE / "__init__.py", PACKAGE / "errors.py"}
    notebook.write_text("{")
    imported_names.cache_clear()
    assert closure([notebook]).modules == frozenset()


def keys(model=Study, prefix: str = "") -> set[str]:
    nested = {"images": Images, "statistics": Statistics, "calibration": Calibration}
    return {key for name in model.model_fields for key in
            (keys(nested[name], f"{name}.") if not prefix and name in nested else {f"{prefix}{name}"})}


def test_every_setting_is_declared_by_a_stage_or_resolved_into_the_manifest():
    declared = {key for declared in (*map(stage, NAMES), CALIBRATE) for key in declared.settings}
    declared |= {k for k in keys() for section in declared if k.startswith(f"{section}.")} - {"statistics"}
    assert declared & (RESOLVED | WHERE_IT_RUNS) == set()
    assert declared | RESOLVED | WHERE_IT_RUNS | {"statistics"} == keys() | {"statistics"}


def test_settings_are_told_apart_by_their_key(stored_once):
    study, _ = stored_once
    assert fingerprints.setting(study, "images.resample") == {"resample": False}
    assert fingerprints.setting(study, "reference_session") == {"reference_session": "ses-1"}
    assert fingerprints.setting(study, "statistics")["recovery_band_percent"] == 2
    assert [s["id"] for s in fingerprints.setting(study, "sessions")["sessions"]] == ["ses-1", "ses-2"]


def test_every_library_of_a_stage_is_known_without_asking_the_system_for_all(stored_once, monkeypatch):
    study, _ = stored_once
    monkeypatch.setattr(fingerprints, "packages_distributions", lambda: pytest.fail("all were asked for"))
    library_version.cache_clear()
    for name in NAMES:
        libraries = fingerprint(stage(name), study, "method_checks" if name == "page" else "")["libraries"]
        assert libraries and all(v[0].isdigit() for v in libraries.values()), libraries


@pytest.mark.parametrize(("function", "argument", "reason", "stages"), [
    ("library_version", "torch", "torch 2.13.0+cpu -> 9.9", {"segment", "joint_volumes", "measure", "index"}),
    ("library_version", "statsmodels", "statsmodels 0.15.0 -> 9.9", {"statistics"}),
    ("_checksum", PACKAGE / "measurement/comparison/agreement.py",
     "the program changed (measurement/comparison/agreement.py)",
     {"measure", "statistics", "subject_report", "cohort_report"}),
])
def test_the_reason_names_module_or_version(function, argument, reason, stages, stored, monkeypatch):
    study, results = stored
    write_fingerprints(study, results)
    for name in NAMES:
        with recorded(results, Path(record_of(name)), [fingerprint_of(stage(name), "method_checks")]):
            pass
    assert outdated(results) == {}
    before = getattr(fingerprints, function)
    monkeypatch.setattr(fingerprints, function, lambda wanted: "9.9" if wanted == argument else before(wanted))
    write_fingerprints(study, results)
    assert {name: why.replace("+cpu", "") for name, why in outdated(results).items()} == {
        record_of(name): reason.replace("+cpu", "") for name in stages}


def test_a_study_with_a_notebook_of_its_own_depends_on_what_that_imports(tmp_path):
    study, _ = store_study(tmp_path / "study", more='notebooks = ["mine.py"]')
    (study.path.parent / "mine.py").write_text("import seaborn\nfrom bedrest.figures import style\n")
    made = fingerprint(stage("page"), load_study(study.path), "own/mine")
    assert "seaborn" in made["libraries"] and "figures/style.py" in made["program"]
    assert {"notebook", "study.toml"} <= set(made["files"])
