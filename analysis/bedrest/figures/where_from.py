"""Provenance at the end of every report: program, network, machine, settings and inputs, in a few lines.

The whole record, with the checksum of every file, is provenance.json. Only stored records are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

NAMED_PACKAGES = ("torch", "monai", "numpy", "scipy", "pandas", "statsmodels")


def where_from(program: Mapping[str, Any], *, study: Mapping[str, Any], n_inputs: int, devices: str, link: str) -> str:
    """A section of HTML.

    Parameters
    ----------
    program : what `bedrest run` recorded of itself; empty for results of a version that did not
    study : mapping, the study's settings as they were resolved
    n_inputs : image and mask files of the study
    devices : where the network ran
    link : to provenance.json, relative to the page
    """
    rows = [*_program_rows(program, devices), ("settings", _settings(study)),
            ("inputs", f"{n_inputs} image and mask files")]
    body = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows if text)
    return (f'<section class="where-from"><h2>Provenance</h2><div class="table-wrap"><table>{body}</table>'
            f'</div><p class="small">SHA-256 of every image, mask, table, figure and of the weights, every package, '
            f'all settings, times and exit status: <a href="{escape(link, quote=True)}">provenance.json</a>. '
            "<code>bedrest verify</code> checks the files against it. Research use only.</p></section>")


def _program_rows(program: Mapping[str, Any], devices: str) -> list[tuple[str, str]]:
    if not program:
        return [("program", "not recorded: run `bedrest run` again")]
    code, machine, weights = program.get("code", {}), program["machine"], program["weights"]
    commit = f"commit {code['commit'][:12]}" if code.get("commit") else "no commit known"
    dirty = " with changes that are in no commit" if code.get("dirty") else ""
    packages = ", ".join(f"{n} {program['packages'][n]}" for n in NAMED_PACKAGES if n in program["packages"])
    cards = "; ".join(f"{c['name']}, driver {c['driver']}" for c in machine["cards"])
    return [
        ("program", f"bedrest {program['bedrest']}, {commit}{dirty}"),
        ("with", f"Python {machine['python']}, {packages}"),
        ("network", f"{weights['file']}, SHA-256 {weights['sha256'][:16]}..., trained on: {weights['trained_on']}"),
        ("machine", f"network on {devices or 'no device: masks were given'}; {machine['cpu']}, {machine['cores']} "
                    f"cores{'; ' + cards if cards else ''}; {machine['platform']}"),
        ("seeds", ", ".join(f"{name} {seed}" for name, seed in program["seeds"].items())),
    ]


def _settings(study: Mapping[str, Any]) -> str:
    statistics = study["statistics"]
    shown = {"reference visit": study["reference_session"], "visits": study["visits"], "tissues": study["tissues"],
             "confidence level": statistics["confidence_level"], "covariance": statistics["covariance"],
             "covariates": ", ".join(statistics["covariates"]) or "none", "resamples": statistics["resamples"]}
    return "; ".join(f"{name} {value}" for name, value in shown.items())
