"""A wheel holds one package with everything the program needs, and runs where there is no source tree."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
# Where the repository's files lie in a wheel; what is named here alone is carried.
PLACES = {"analysis/bedrest": "bedrest", "notebooks": "bedrest/notebooks",
          "pipelines/profiles": "bedrest/pipelines/profiles", "pipelines/Snakefile": "bedrest/pipelines/Snakefile"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, as from a fresh clone: nothing that a build left before is packed."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("analysis", "pipelines", "notebooks"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    done = _pip("wheel", str(source), "--no-deps", "--no-build-isolation", "-w", str(out))
    assert done.returncode == 0, done.stderr
    return next(out.glob("bedrest-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder that it was installed into."""
    target = tmp_path_factory.mktemp("installed")
    done = _pip("install", str(wheel), "--no-deps", "--target", str(target))
    assert done.returncode == 0, done.stderr
    return target


def _pip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *words],
                          capture_output=True, text=True, env={**os.environ, "PIP_NO_INDEX": "1"})


def _files(name: str) -> list[Path]:
    """Files of the repository under a name, without what tools leave."""
    path = ROOT / name
    return [p for p in ([path] if path.is_file() else path.rglob("*"))
            if p.is_file() and "__pycache__" not in p.parts and not p.name.startswith(".")]


def test_a_wheel_holds_one_package_and_every_file_of_it(wheel):
    carried = set(zipfile.ZipFile(wheel).namelist())
    described = {n for n in carried if n.split("/")[0].endswith(".dist-info")}
    assert {n.split("/")[0] for n in carried - described} == {"bedrest"}
    wanted = {to + p.as_posix().removeprefix((ROOT / source).as_posix()) for source, to in PLACES.items()
              for p in _files(source)}
    assert carried - described == wanted
    assert any(n.endswith("licenses/LICENSE") for n in described)


def test_the_package_imports_where_there_is_no_source_tree(installed, tmp_path):
    """With nothing else installed: `-S` leaves out every library of this environment, and `-P` the working folder."""
    code = "import bedrest; print(bedrest.__version__, bedrest.__file__)"
    done = subprocess.run([sys.executable, "-S", "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True,
                          env={"PYTHONPATH": str(installed)})
    version = next(installed.glob("bedrest-*.dist-info")).name.removeprefix("bedrest-").removesuffix(".dist-info")
    assert done.stdout.split() == [version, str(installed / "bedrest/__init__.py")], done.stderr


@pytest.mark.slow
def test_an_installed_wheel_runs_a_study_far_from_its_source(installed, tmp_path):
    folder = tmp_path / "an empty folder"
    folder.mkdir()
    env = {**os.environ, "PYTHONPATH": str(installed)}

    def python(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-P", *words], cwd=folder, env=env, capture_output=True, text=True)

    places = python("-c", "import bedrest, bedrest.pages.notebooks as n; print(bedrest.__file__, n.NOTEBOOKS)")
    assert places.stdout.split() == [f"{installed}/bedrest/{p}" for p in ("__init__.py", "notebooks")], places.stderr
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
