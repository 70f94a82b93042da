"""What `bedrest run` notes of itself, so that pages can name the program while the work goes on: the program before it
starts (work/program.json), and each run after it has ended (work/runs.json).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from bedrest.io.files import write_if_changed, write_text
from bedrest.io.results import StudyResults
from bedrest.settings import Study
from bedrest.stages.provenance import as_text, program_state, write_provenance

__all__ = ["RunRecord", "note_run", "write_program", "write_provenance"]


@dataclass(frozen=True)
class RunRecord:
    """One `bedrest run` that did something.

    Attributes
    ----------
    began : str
        UTC, ISO 8601.
    seconds : float
        Wall time.
    exit_status : int
    redone : dict of str to int
        Step -> how often it ran.
    cores, device : as it was started
    code : dict
        Commit and whether files differed from it.
    """

    began: str
    seconds: float
    exit_status: int
    redone: dict[str, int]
    cores: int
    device: str
    code: dict[str, object]


def write_program(results: StudyResults, study: Study) -> None:
    """Write down, before any work, what is about to run."""
    write_if_changed(results.program_json, as_text(program_state(study)))


def note_run(results: StudyResults, run: RunRecord) -> None:
    """Add a run to the record, and to provenance.json where the run got as far as to write it."""
    runs = [*results.read_json(results.runs_json, default=[]), asdict(run)]
    write_text(results.runs_json, as_text(runs))
    if results.provenance_json.is_file():
        write_text(results.provenance_json, as_text({**results.read_json(results.provenance_json), "runs": runs}))
