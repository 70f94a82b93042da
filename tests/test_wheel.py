"""A wheel carries everything the program needs, and runs where there is no source tree."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
CARRIED = ("analysis", "pipelines", "notebooks")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: setuptools leaves what it built, and would pack it again next time."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in CARRIED:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    done = _pip("wheel", str(source), "--no-deps", "--no-build-isolation", "-w", str(out))
    assert done.returncode == 0, done.stderr
    return next(out.glob("bedrest-*.whl"))


def _pip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *words],
                          capture_output=True, text=True, env={**os.environ, "PIP_NO_INDEX": "1"})


def test_the_wheel_carries_every_file_that_is_not_for_developers(wheel):
    carried = set(zipfile.ZipFile(wheel).namelist())
    skipped = {"pipelines/nnunet_comparison/requirements.txt"}  # of an environment of its own
    wanted = {p.relative_to(ROOT).as_posix() for name in CARRIED for p in (ROOT / name).rglob("*")
              if p.is_file() and "__pycache__" not in p.parts and not p.name.startswith(".")}
    assert wanted - skipped == {n for n in carried if n.split("/")[0] in CARRIED}
    for name in ("analysis/bedrest/segmentation/weights/synthetic.safetensors", "notebooks/subject_report.py",
                 "analysis/bedrest/segmentation/weights/synthetic.errors.json", "pipelines/Snakefile",
                 "pipelines/templates/report.html.j2"):
        assert name in carried
    assert any(n.endswith("licenses/LICENSE") for n in carried)


@pytest.mark.slow
def test_an_installed_wheel_runs_a_study_far_from_its_source(wheel, tmp_path):
    target, folder = tmp_path / "installed", tmp_path / "an empty folder"
    folder.mkdir()
    done = _pip("install", str(wheel), "--no-deps", "--target", str(target))
    assert done.returncode == 0, done.stderr
    env = {**os.environ, "PYTHONPATH": str(target)}

    def python(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-P", *words], cwd=folder, env=env, capture_output=True, text=True)

    places = python("-c", "import analysis, bedrest.pages.notebooks as n; print(analysis.__file__, n.NOTEBOOKS)")
    assert places.stdout.split() == [str(target / "analysis/__init__.py"), str(target / "notebooks")], places.stderr
    for words in (["demo", "demo", "--subjects", "1", "--sessions", "1"], ["run", "demo/study.toml"],
                  ["verify", "demo/study.toml"], ["export-bids", "demo/study.toml", "-o", "derivatives"]):
        done = python("-m", "bedrest", *words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    out = folder / "reports/demo"
    pages = pd.read_csv(out / "tables/reports.csv")
    assert set(pages["page"]) == {"cohort.html", "method_checks.html", "publication_figures.html",
                                  "subjects/sub-01.html"}
    assert (pages["status"] == "ok").all()
    for page in [*pages["page"], "index.html"]:
        assert "</html>" in (out / page).read_text()
    for ending in ("label", "ctbl"):
        assert (out / f"masks/labels.{ending}").is_file()
    assert len(list((folder / "derivatives").glob("sub-01/ses-1/anat/*_dseg.nii.gz"))) == 2
