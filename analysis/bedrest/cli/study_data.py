"""Commands before a run: `demo` and `import-dicom` make the data of a study, `check` validates them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from bedrest.cli.arguments import Flag, Seed, StudyFile
from bedrest.errors import shown


@dataclass(frozen=True)
class Demo:
    """Write the synthetic demo cohort and its study.toml."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Where to write it."""
    subjects: int = 8
    """Number of synthetic subjects."""
    sessions: int = 3
    """Visits of each subject."""
    seed: Seed = 0

    def run(self) -> int:
        from bedrest.phantom.demo_cohort import DemoPlan, write_cohort

        write_cohort(DemoPlan(self.subjects, self.sessions, self.seed), self.folder)
        print(f"Synthetic demo cohort: {self.folder}\nNext: bedrest run {self.folder / 'study.toml'}")
        return 0


@dataclass(frozen=True)
class ImportDicom:
    """Convert one examination's DICOM folder to one visit of a BIDS dataset."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DICOM_DIR")]
    """Folder of the examination."""
    output: Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="BIDS_DIR")]
    """Dataset to add the visit to."""
    subject: Annotated[str, tyro.conf.arg(metavar="sub-01")]
    """The study's own identifier, not the header's."""
    session: Annotated[str, tyro.conf.arg(metavar="ses-1")]
    """Identifier of the visit."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="IMAGE=CONTRAST")] = ()
    """Contrast of an image where the headers do not tell it, as 7=water; may be given again."""
    accept: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="IMAGE")] = ()
    """Import an image although its slices or values are doubtful; may be given again."""
    one_examination: Flag = False
    """Files under several Study Instance UIDs are one examination."""

    def run(self) -> int:
        from bedrest.workflow.import_dicom import import_dicom

        return import_dicom(self.folder, self.output, subject=self.subject, session=self.session, chosen=self.set,
                            accepted=self.accept, one_examination=self.one_examination)


@dataclass(frozen=True)
class Check:
    """Validate a study and print every problem."""

    study: StudyFile
    full: Flag = False
    """Read every image whole; without it, only its header and whether the file is cut off."""

    def run(self) -> int:
        from bedrest.workflow.checks import check_study

        checked = check_study(self.study, read_images=self.full)
        for problem in checked.problems:
            print(f"- {problem}")
        for doubt in checked.doubts:
            print(f"- doubtful: {doubt}")
        for image in checked.left_out:
            print(f"- not used: {shown(image.path)}: {shown(image.reason)}")
        counts = ((len(checked.problems), "problem(s)"), (len(checked.doubts), "doubt(s)"),
                  (len(checked.left_out), "image(s) not used"))
        print("; ".join([checked.summary, *([] if checked.problems else ["no problems"]),
                         *(f"{n} {what}" for n, what in counts if n)]))
        return 1 if checked.problems else 0
