"""environment.yml, pyproject.toml and requirements.lock pin the same versions."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def _normal(pin: str) -> tuple[str, str]:
    name, version = pin.split("==")
    return re.sub(r"[-_.]+", "-", name).lower(), version


def _pyproject() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [pin for pins in project["optional-dependencies"].values() for pin in pins]
    return dict(map(_normal, project["dependencies"] + extras))


def test_the_lock_holds_every_direct_dependency_at_its_pin():
    lock = dict(_normal(line) for line in (ROOT / "requirements.lock").read_text().split())
    assert {name: lock.get(name) for name in _pyproject()} == _pyproject()


def test_conda_users_get_the_same_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert dict(_normal(p) for p in pip if "==" in p) == _pyproject()
