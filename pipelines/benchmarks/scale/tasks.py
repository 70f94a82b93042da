"""What this benchmark runs in processes of their own, so that each is measured alone.

`python -m pipelines.benchmarks.scale.tasks prepare|records|changes|reports|index|provenance STUDY.toml`: parts of a run
that are no command of their own. `... timed STAGE STUDY.toml ...`: a stage as `bedrest.workflow.job` takes it; prints
as JSON how much processor time its parts took.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

from bedrest.io.results import StudyResults
from bedrest.settings import load_study

from pipelines.benchmarks.memory import children_cpu_seconds
from pipelines.benchmarks.scale.workflow_parts import (
    JOB,
    MODULES,
    NOTEBOOK,
    PARTS,
    prepare,
    require_unchanged,
    write_records,
)

IMPORTS, REST = "starting Python and imports", "the rest"


def _index_part(name: str, study_toml: Path) -> None:
    from bedrest.pages.index import write_index
    from bedrest.pages.reports import write_reports_table
    from bedrest.stages.provenance import write_provenance

    study = load_study(study_toml)
    results = StudyResults(study.output_dir)
    if name == "reports":
        write_reports_table(study, results)
    elif name == "index":
        write_index(results, study)
    else:
        write_provenance(results, study)


def timed(words: list[str]) -> int:
    """Run a stage and print the processor seconds of its parts, children's counted."""
    spent: dict[str, float] = {}
    job = import_module(JOB)
    stage = import_module(f"bedrest.stages.{words[0]}")
    if words[0] in MODULES:
        import_module(MODULES[words[0]])
    spent[IMPORTS] = _cpu()
    for name, function, part in PARTS.get(words[0], ()):
        module_ = import_module(name)
        wrapped = _timed(getattr(module_, function), spent, part)
        for holder in (module_, stage):
            if hasattr(holder, function):
                setattr(holder, function, wrapped)
    sys.argv = ["job", *words]
    status = job.main()
    spent[REST] = _cpu() - sum(spent.values())
    print(json.dumps(spent))
    return int(status)


def _cpu() -> float:
    """Processor seconds of this process and of its children that have ended."""
    return time.process_time() + children_cpu_seconds()


def _timed(do: Callable[..., Any], spent: dict[str, float], part: str) -> Callable[..., Any]:
    @wraps(do)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        # A notebook and thumbnails work side by side: each counts its own thread, and the notebook its process.
        def now() -> float:
            return time.thread_time() + children_cpu_seconds() * (part == NOTEBOOK)

        begun = now()
        try:
            return do(*args, **kwargs)
        finally:
            spent[part] = spent.get(part, 0.0) + now() - begun

    return wrapped


def main() -> int:
    """Run the task that the command line names; see the module."""
    if sys.argv[1] == "timed":
        return timed(sys.argv[2:])
    task, study_toml = sys.argv[1], Path(sys.argv[2])
    if task == "prepare":
        prepare(study_toml)
    elif task == "records":
        write_records(StudyResults(load_study(study_toml).output_dir))
    elif task == "changes":
        require_unchanged(study_toml)
    else:
        _index_part(task, study_toml)
    return 0


if __name__ == "__main__":
    sys.exit(main())
