"""`bedrest figures`: the publication figures of stored results, into a folder of one's own or beside the results."""

from __future__ import annotations

import argparse
from pathlib import Path


def figures(args: argparse.Namespace) -> int:
    """Write every figure as PDF, SVG and PNG, its rows as CSV, and captions."""
    from bedrest.figures.publication import save_publication_figures
    from bedrest.pages.index import write_index
    from bedrest.pages.reports import stored_results
    from bedrest.settings import load_study
    from bedrest.workflow.locks import locked
    from bedrest.workflow.provenance import write_provenance
    from bedrest.workflow.records import renew

    study = load_study(args.study)
    results = stored_results(study)
    folder: Path = args.output or results.figures
    if folder.resolve() == results.figures.resolve():
        with locked(study.output_dir):
            save_publication_figures(study, results, folder)
            write_index(results, study)
            write_provenance(results, study)
            renew(results, "figures", "index")
    else:
        save_publication_figures(study, results, folder)
    names = sorted(p.stem for p in folder.glob("*.pdf"))
    print(f"{len(names)} figure(s) in {folder}: {', '.join(names)}")
    return 0
