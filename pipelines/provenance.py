"""provenance.json: what went in, with which versions, on which machine. The one file that holds times."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version

from analysis import __version__, schemas
from analysis.io.code_state import code_state
from analysis.io.files import sha256_of, write_text
from analysis.io.results import StudyResults
from analysis.segmentation.weights import chosen_weights, training_record
from analysis.settings import Study

PACKAGES = ("torch", "monai", "numpy", "pandas", "scipy", "scikit-image", "nibabel", "statsmodels", "matplotlib",
            "papermill", "snakemake")


def write_provenance(results: StudyResults, study: Study) -> None:
    """Write provenance.json from what is stored; paths of outputs are relative to the output folder."""
    scans = results.read_manifest(schemas.SCANS)
    subjects = results.read_manifest(schemas.SUBJECTS)["subject"]
    records = [results.read_subject(s, schemas.SCAN_RECORDS) for s in subjects]
    failures = results.read(schemas.FAILURES)
    made = [*sorted(results.mask("x", "y").parent.glob("*.nii.gz")),
            *sorted(results.table(schemas.MEASURES).parent.glob("*.csv"))]
    edited, levels = results.read_manifest(schemas.EDITED_MASKS), study.levels_file
    weights = chosen_weights(study.weights)
    content = {
        "bedrest": __version__,
        "code": code_state(),
        "study": json.loads(study.model_dump_json()),
        "inputs_sha256": dict(sorted(zip(scans["path"], scans["sha256"], strict=True))),
        "corrections_sha256": {**dict(zip(edited["path"], edited["sha256"], strict=True)),
                               **({str(levels): sha256_of(levels)} if levels is not None else {})},
        "weights": {"file": str(weights) if study.weights else weights.name, "sha256": sha256_of(weights),
                    "trained_on": training_record(weights).get("data", "unknown")},
        "outputs_sha256": {p.relative_to(results.output_dir).as_posix(): sha256_of(p) for p in made},
        "segmentation_seconds": {f"{r.subject} {r.session}": r.seconds for t in records for r in t.itertuples()
                                 if r.seconds == r.seconds},
        "devices": sorted({d for t in records for d in t["device"] if d}),
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "failed": int((failures["status"] == "failed").sum()),
        "flagged": int((failures["status"] == "flagged").sum()),
    }
    write_text(results.provenance_json, json.dumps(content, indent=1) + "\n")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
