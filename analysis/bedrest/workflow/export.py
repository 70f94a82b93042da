"""`bedrest export-bids`: the masks of stored results as a BIDS derivatives dataset."""

from __future__ import annotations

from pathlib import Path


def export_bids(study_toml: Path, folder: Path) -> int:
    """Write the masks of a study that has been run; print how many visits have one."""
    from bedrest import schemas
    from bedrest.io.bids.derivatives import write_derivatives
    from bedrest.pages.reports import stored_results
    from bedrest.settings import load_study

    study = load_study(study_toml)
    results = stored_results(study)
    n, planned = write_derivatives(study, results, folder), len(results.read_manifest(schemas.SESSIONS))
    print(f"Masks of {n} of {planned} visits: {folder}")
    return 0 if n == planned else 3
