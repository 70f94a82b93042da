"""provenance.json: what went in, with which program, on which machine, and what came out.

A run notes the program before it starts (work/program.json), so that pages can name it meanwhile, and itself after it
has ended (work/runs.json). Only these files hold times.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bedrest import __version__, schemas
from bedrest.io.code_state import code_state
from bedrest.io.files import sha256_of, write_if_changed, write_text
from bedrest.io.machine import machine_state
from bedrest.io.results import StudyResults
from bedrest.longitudinal.error_model import errors_path
from bedrest.segmentation.weights import chosen_weights, training_record
from bedrest.settings import Study
from bedrest.vocabulary import Status

# Every dependency in pyproject.toml.
PACKAGES = ("torch", "numpy", "pandas", "nibabel", "SimpleITK", "scipy", "scikit-image", "statsmodels", "formulaic",
            "matplotlib", "seaborn", "jupyterlab", "papermill", "jupytext", "nbconvert", "ipykernel", "pydantic",
            "safetensors", "tqdm", "tyro", "monai", "snakemake", "pillow", "Surface-Distance-Based-Measures")


def write_provenance(results: StudyResults, study: Study) -> None:
    """Write provenance.json from what is stored; paths of outputs are relative to the output folder."""
    subjects = results.read_manifest(schemas.SUBJECTS)["subject"]
    records = results.read_subjects(subjects, schemas.SCAN_RECORDS)
    failures = results.read(schemas.FAILURES)
    pages = results.read(schemas.REPORTS) if results.table(schemas.REPORTS).is_file() else None
    content = {
        **(results.read_json(results.program_json, default={}) or program_state(study)),
        "study": json.loads(study.model_dump_json()),
        **_inputs(results, study),
        "outputs_sha256": {name: sha256_of(results.output_dir / name) for name in results.output_files()},
        "segmentation_seconds": {f"{r.subject} {r.session}": r.seconds for r in records.itertuples()
                                 if r.seconds == r.seconds},
        "devices": sorted(set(records["device"]) - {""}),
        "failed": int((failures["status"] == Status.FAILED).sum()),
        "flagged": int((failures["status"] == Status.FLAGGED).sum()),
        "pages_failed": [] if pages is None else list(pages.loc[pages["status"] == Status.FAILED, "page"]),
        "runs": results.read_json(results.runs_json, default=[]),
    }
    write_text(results.provenance_json, _as_text(content))


def _inputs(results: StudyResults, study: Study) -> dict[str, dict[str, str]]:
    """Checksums of images and masks, of corrections, and of the files that describe the study."""
    scans, edited = results.read_manifest(schemas.SCANS), results.read_manifest(schemas.EDITED_MASKS)
    levels = study.levels_file
    return {
        "inputs_sha256": dict(sorted(zip(scans["path"], scans["sha256"], strict=True))),
        "corrections_sha256": {**dict(zip(edited["path"], edited["sha256"], strict=True)),
                               **({str(levels): sha256_of(levels)} if levels is not None else {})},
        "study_files_sha256": {str(p): sha256_of(p) for p in study_files(study)},
    }


def study_files(study: Study) -> list[Path]:
    """Files that describe a study and are there: study.toml, its tables, notebooks of the user's own."""
    images = study.images
    described = (study.path, images.subjects_csv, images.sessions_csv, images.scans_csv, *study.notebooks)
    return [p for p in described if p is not None and p.is_file()]


def program_state(study: Study) -> dict[str, Any]:
    """Version, commit, packages, machine, weights and seeds of a run."""
    weights = chosen_weights(study.weights)
    record, errors = training_record(weights), errors_path(weights)
    return {
        "bedrest": __version__,
        "code": code_state(),
        "packages": {name: _version(name) for name in PACKAGES},
        "machine": machine_state(),
        "weights": {"file": str(weights) if study.weights else weights.name, "sha256": sha256_of(weights),
                    "errors_sha256": sha256_of(errors) if errors.is_file() else "",
                    "trained_on": record.get("data", "unknown")},
        # The network draws no random numbers when it is used.
        "seeds": {"statistics": study.statistics.seed,
                  "training of the network": record.get("plan", {}).get("seed", "unknown")},
    }


def write_program(results: StudyResults, study: Study) -> None:
    """Write down, before any work, what is about to run."""
    write_if_changed(results.program_json, _as_text(program_state(study)))


def note_run(results: StudyResults, *, began: datetime, exit_status: int, redone: Mapping[str, int], cores: int,
             device: str) -> None:
    """Add a run that has just ended to the record, and to provenance.json where the run got as far as to write it."""
    seconds = round((datetime.now(UTC) - began).total_seconds(), 1)
    run = {"began": began.isoformat(timespec="seconds"), "seconds": seconds, "exit_status": exit_status,
           "redone": dict(redone), "cores": cores, "device": device, "code": code_state()}
    runs = [*results.read_json(results.runs_json, default=[]), run]
    write_text(results.runs_json, _as_text(runs))
    if results.provenance_json.is_file():
        write_text(results.provenance_json, _as_text({**results.read_json(results.provenance_json), "runs": runs}))


def _as_text(content: object) -> str:
    return json.dumps(content, indent=1) + "\n"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
