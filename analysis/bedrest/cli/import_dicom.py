"""`bedrest import-dicom`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


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

    def run(self) -> int:
        from bedrest.workflow.import_dicom import import_dicom

        return import_dicom(self.folder, self.output, subject=self.subject, session=self.session, chosen=self.set)
