"""Files about the project agree with each other."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from bedrest import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_one_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest is not None
    assert {__version__, PROJECT["project"]["version"], str(cited["version"]), newest[1]} == {__version__}


def test_the_citation_holds_what_the_format_demands():
    """Citation File Format 1.2.0: four required fields, no unknown one, an entity has a name."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    required = {"cff-version", "message", "title", "authors"}
    known = required | {"abstract", "commit", "contact", "date-released", "doi", "identifiers", "keywords", "license",
                        "license-url", "preferred-citation", "references", "repository", "repository-artifact",
                        "repository-code", "type", "url", "version"}
    assert required <= cited.keys() <= known
    assert cited["cff-version"] == "1.2.0" and cited["type"] in ("software", "dataset")
    assert all(a.keys() <= {"name", "website", "email"} and a["name"] for a in cited["authors"])
    assert len(set(cited["keywords"])) == len(cited["keywords"])


def test_one_licence():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PROJECT["project"]["license"] == cited["license"]
    assert cited["license"].replace("-2.0", " License") in (ROOT / "LICENSE").read_text()


def test_hooks_run_here():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    for hook in (h for r in config["repos"] for h in r["hooks"]):
        python, *words = shlex.split(hook["entry"])
        done = subprocess.run([sys.executable, *words[:2], "--version"], cwd=ROOT, capture_output=True, text=True)
        assert python == "python" and done.returncode == 0, hook["id"]
