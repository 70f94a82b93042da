"""A job of the workflow: a process that runs one stage, or all stages of some subjects, and writes a record of each.

`python -m bedrest.workflow.job NAME STUDY.toml --output FOLDER [--subject S ...] [--page P] [--device D]`,
where NAME is a stage or `subject`: segment, joint_volumes, measure and change in one process. A stage with a record
is left out, so that a job which was killed goes on where it ended. Computes nothing itself.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

from bedrest import schemas
from bedrest.errors import BedrestError, StudyError
from bedrest.io.results import StudyResults
from bedrest.pages.reports import study_pages
from bedrest.settings import load_study
from bedrest.stages.all_stages import JOBS, NAMES, reads_of, record_of, stage
from bedrest.stages.stage import Job
from bedrest.workflow.events import Event, append
from bedrest.workflow.locks import at_work
from bedrest.workflow.records import checksum, recorded


def run_stage(name: str, job: Job) -> bool:
    """Run one stage unless its record is there, write the record, append events; False where it broke down."""
    folder, declared = job.results.output_dir, stage(name)
    event = Event("started", name, job.subject, job.page)
    record = Path(record_of(name, event.of))
    if (folder / record).is_file():
        return True
    append(folder, event)
    began, reason = time.monotonic(), ""
    try:
        reads = reads_of(declared, of=event.of, pages=list(study_pages(job.study)),
                         subjects=list(job.results.read_manifest(schemas.SUBJECTS)["subject"]))
        with at_work(folder), recorded(job.results, record, reads):
            declared.run(job)
    except BedrestError as error:
        reason = str(error)
    except Exception as error:  # a fault of the program: other subjects of this job go on
        _print_error(traceback.format_exc())
        reason = f"{type(error).__name__}: {error}"
    append(folder, Event("failed" if reason else "finished", name, job.subject, job.page,
                         seconds=round(time.monotonic() - began, 3), reason=reason))
    if reason:
        _print_error(f"{event.name}: {reason}")
    return not reason


def _print_error(words: str) -> None:
    """For the log; whoever reads it may be gone."""
    with suppress(OSError):
        print(words, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=[*dict.fromkeys((*JOBS, *NAMES))])
    parser.add_argument("study", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--subject", nargs="+", default=[""], help="several share what the process has loaded")
    parser.add_argument("--page", default="")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--study-sha256", default="", help="refuse another study.toml than the run began with")
    args = parser.parse_args()
    try:
        if args.study_sha256 and checksum(args.study) != args.study_sha256:
            raise StudyError("the study.toml that the run began with", "another one, or none", str(args.study),
                             "Run again.")
        study, results = load_study(args.study), StudyResults(args.output)
    except BedrestError as error:
        append(args.output, Event("failed", args.job, args.subject[0], args.page, reason=str(error)))
        _print_error(f"{args.job}: {error}")
        return 1
    jobs = [Job(study, results, subject, args.device, args.threads, args.page) for subject in args.subject]
    # All subjects are tried; of each, what follows a stage that broke down has nothing to work on.
    done = [all(run_stage(name, job) for name in JOBS.get(args.job, (args.job,))) for job in jobs]
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
