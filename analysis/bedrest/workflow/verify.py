"""`bedrest verify`: are inputs and results what provenance.json lists; does a second run give the same."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bedrest.errors import BedrestError, OutputError
from bedrest.io.checksums import WALL_TIMES, FileCheck, FileState, check_files, compare_results
from bedrest.io.code_state import code_state
from bedrest.io.files import output_error, sha256_of
from bedrest.io.manifest.corrections import find_corrections
from bedrest.io.manifest.resolve import build_manifest
from bedrest.io.results import StudyResults
from bedrest.settings import Study, load_study
from bedrest.stages.all_stages import RECORDS
from bedrest.workflow.locks import locked

_LISTS = ("inputs_sha256", "corrections_sha256", "study_files_sha256")
_SECOND_RUN = f"{RECORDS}/figures.json"  # everything but pages stands before it


def verify(study_toml: Path, *, rerun: bool, cores: int | None, device: str | None) -> int:
    """Print of every file whether it is what provenance.json says; 0 when all are, else 3.

    With `rerun` the study is run again and compared: on `cores` and `device`, or where they are None as the first time.
    """
    study = load_study(study_toml)
    results = StudyResults(study.output_dir)
    if not results.provenance_json.is_file():
        raise OutputError("a provenance.json to verify", "none", str(results.output_dir),
                          f"Run `bedrest run {study_toml}` first.")
    with locked(results.output_dir, to_read=True):
        record = results.read_json(results.provenance_json)
        print(f"{results.provenance_json}: sha256 {sha256_of(results.provenance_json)}")
        _print_program(record)
        same = _print_checks("input", _inputs(study, record))
        listed = check_files(record["outputs_sha256"], results.output_dir, present=results.output_files())
        same = _print_checks("output", listed) and same
        if rerun:
            same = _rerun(study, results, record, cores=cores, device=device) and same
    print("Everything is what it claims to be." if same else "Not everything is what it claims to be: see above.")
    return 0 if same else 3


def _print_program(record: dict[str, Any]) -> None:
    then, now = record.get("code", {}), code_state()
    same = then.get("commit") == now.get("commit") and not then.get("dirty") and not now.get("dirty")
    print(f"program: made by bedrest {record['bedrest']}, commit {then.get('commit', 'unknown')}"
          + (" with changes that are in no commit" if then.get("dirty") else "")
          + ("; the same as this one" if same else "; this one may differ from it"))


def _inputs(study: Study, record: dict[str, Any]) -> list[FileCheck]:
    """Images, masks, corrections, the files that describe the study, and the weights."""
    from bedrest.longitudinal.error_model import errors_path
    from bedrest.segmentation.weights import chosen_weights

    listed = {path: checksum for name in _LISTS for path, checksum in record.get(name, {}).items()}
    weights = chosen_weights(study.weights)
    listed[str(weights)] = record["weights"]["sha256"]
    if record["weights"].get("errors_sha256"):
        listed[str(errors_path(weights))] = record["weights"]["errors_sha256"]
    present = [str(p) for p in (study.levels_file, *study.notebooks) if p is not None]
    try:
        manifest = build_manifest(study)
        present += [*manifest.scans["path"], *find_corrections(study, manifest).edited["path"]]
    except BedrestError as error:  # what is listed can be compared all the same
        print(f"New files cannot be looked for: {error}", file=sys.stderr)
    return check_files(listed, study.path.parent, present=present)


def _print_checks(kind: str, checks: Iterable[FileCheck]) -> bool:
    """Print every file; True when all are the same."""
    counts: Counter[FileState] = Counter()
    for check in checks:
        counts[check.state] += 1
        print(f"{check.state:10s} {kind} {check.path}")
    print(f"{kind}s: " + ", ".join(f"{counts[v]} {v}" for v in FileState))
    return counts.total() == counts[FileState.SAME]


def _rerun(study: Study, results: StudyResults, record: dict[str, Any], *, cores: int | None,
           device: str | None) -> bool:
    """Run the study again beside its results and compare; True when everything is the same to the byte."""
    from bedrest.segmentation.device import resolve_device
    from bedrest.workflow.run import prepare, run_workflow

    # How many threads add up a sum may change its last digits.
    last: dict[str, Any] = record["runs"][-1] if record.get("runs") else {}
    cores = cores or last.get("cores", 2)
    device = resolve_device(device or last.get("device") or study.device)
    with temporary_folder(results.output_dir, "verify") as folder:
        again = StudyResults(Path(folder))
        manifest, _ = prepare(study, again)
        outcome = run_workflow(study, again, manifest, cores=cores, device=device, target=_SECOND_RUN)
        if not outcome.finished:
            print("The second run broke down.", *outcome.errors, sep="\n", file=sys.stderr)
            return False
        left_out = ", ".join(f"{column} in {name}" for name, column in WALL_TIMES)
        print(f"Second run: {device}, {cores} cores. Not compared, as they are wall times: {left_out}; nor "
              "tables/reports.csv, as pages are not made again.")
        return _print_checks("second run", compare_results(results.output_dir, again.output_dir))


def temporary_folder(beside: Path, purpose: str) -> tempfile.TemporaryDirectory[str]:
    """A new folder beside another; those for the same purpose, of runs that were killed, are removed."""
    prefix = f".{purpose}-{beside.name}-"
    for left in beside.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    try:
        return tempfile.TemporaryDirectory(prefix=prefix, dir=beside.parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise output_error(error, beside.parent) from error
