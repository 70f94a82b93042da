"""`bedrest export-bids`: the masks of stored results as a BIDS derivatives dataset."""

from __future__ import annotations

import argparse


def export_bids(args: argparse.Namespace) -> int:
    """Write the masks of a study that has been run; tell how many visits have one."""
    from bedrest import schemas
    from bedrest.io.bids.derivatives import write_derivatives
    from bedrest.pages.reports import stored_results
    from bedrest.settings import load_study

    study = load_study(args.study)
    results = stored_results(study)
    n, planned = write_derivatives(study, results, args.output), len(results.read_manifest(schemas.SESSIONS))
    print(f"Masks of {n} of {planned} visits: {args.output}")
    return 0 if n == planned else 3
