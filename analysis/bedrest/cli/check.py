"""`bedrest check`."""

from __future__ import annotations

from dataclasses import dataclass

from bedrest.cli.arguments import Flag, StudyFile


@dataclass(frozen=True)
class Check:
    """Validate a study and print every problem."""

    study: StudyFile
    """Settings of the study."""
    full: Flag = False
    """Read every image whole; without it, only its header and whether the file is cut off."""

    def run(self) -> int:
        from bedrest.workflow.checks import check_study

        result = check_study(self.study, read_images=self.full)
        for problem in result.problems:
            print(f"- {problem}")
        n = len(result.problems)
        print(f"{result.summary}; " + (f"{n} problem(s)" if n else "no problems"))
        return 1 if n else 0
