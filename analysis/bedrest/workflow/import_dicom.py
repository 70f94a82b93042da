"""`bedrest import-dicom`: one examination's DICOM folder -> one visit of a BIDS dataset. Orders the work only."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from bedrest.errors import BedrestError, StudyError
from bedrest.io.bids.writer import contrast_path, write_contrast
from bedrest.io.contrast_rules import ContrastGuess
from bedrest.io.dicom.contrast import classify_contrasts
from bedrest.io.dicom.reader import DicomFolder, DicomImage, find_images, grid_of, read_dicom
from bedrest.io.files import write_if_changed
from bedrest.vocabulary import Contrast

_LABEL = re.compile(r"^[A-Za-z0-9]+$")


def import_dicom(folder: Path, output: Path, *, subject: str, session: str, chosen: Sequence[str] = ()) -> int:
    """Write every image of an examination whose contrast is known to a BIDS dataset; list all.

    `subject` and `session` come with or without sub- and ses-; `chosen` holds contrasts as ``7=water``.
    """
    subject, session = _label("sub-", subject, "--subject"), _label("ses-", session, "--session")
    contrast_of = _chosen(chosen)
    dicom = find_images(folder)
    _require_one_visit(dicom, folder)
    if unknown := sorted(set(contrast_of) - {i.name for i in dicom.images}):
        raise StudyError(f"images out of {', '.join(i.name for i in dicom.images)}", ", ".join(unknown), "--set",
                         "Run without --set to see the list.")
    guesses = classify_contrasts(dicom.images, contrast_of)
    _print_images(dicom, guesses)
    wanted = {i.name: c for i in dicom.images if (c := guesses[i.name].contrast) is not None}
    if not wanted:
        raise StudyError("at least one image whose contrast the headers tell", "none", str(folder),
                         "Say which is which, as --set 7=water --set 8=fat.")
    if existing := [p for c in wanted.values() if (p := contrast_path(output, subject, session, c)).exists()]:
        raise StudyError("no images of this visit yet", f"{len(existing)} already there", str(existing[0].parent),
                         "Remove them to import again, or give another --subject or --session.")
    failed = sum(not _import(image, wanted[image.name], output, subject, session)
                 for image in dicom.images if image.name in wanted)
    if failed == len(wanted):
        raise StudyError("at least one image that can be read", "none", str(folder), "See above.")
    if not (output / "dataset_description.json").exists():
        description = {"Name": output.resolve().name, "BIDSVersion": "1.11.0", "DatasetType": "raw",
                       "GeneratedBy": [{"Name": "bedrest import-dicom"}]}
        write_if_changed(output / "dataset_description.json", json.dumps(description, indent=1) + "\n")
    print(f"{len(wanted) - failed} images: {output / subject / session}\n"
          f"Next: a row for {subject} in {output / 'participants.tsv'}, then bedrest check STUDY.toml")
    return 3 if failed or any(guess.doubtful for guess in guesses.values()) else 0


def _import(image: DicomImage, contrast: Contrast, root: Path, subject: str, session: str) -> bool:
    """Write one image; whether it could be read."""
    try:
        volume = read_dicom(image)
    except BedrestError as error:
        print(f"failed: {error}", file=sys.stderr)
        return False
    header = image.header
    numbers = {"EchoTime": header.echo_time_ms / 1000, "RepetitionTime": header.repetition_time_ms / 1000,
               "FlipAngle": header.flip_angle_deg, "MagneticFieldStrength": header.field_tesla}
    # Numbers alone: any text of a header may hold a name.
    write_contrast(root, subject, session, contrast, volume,
                   sidecar={k: round(v, 6) for k, v in numbers.items() if v == v})
    return True


def _label(prefix: str, value: str, option: str) -> str:
    label = value.removeprefix(prefix)
    if not _LABEL.match(label):
        raise StudyError("letters and digits", repr(value), option, "BIDS allows no others in a name.")
    return prefix + label


def _chosen(words: Sequence[str]) -> dict[str, Contrast]:
    chosen: dict[str, Contrast] = {}
    for word in words:
        name, _, contrast = word.partition("=")
        if contrast not in set(Contrast):
            raise StudyError(f"NAME=CONTRAST with a contrast out of {', '.join(Contrast)}", repr(word), "--set",
                             "For example --set 7=water.")
        if contrast in chosen.values() or name in chosen:
            raise StudyError("every image and every contrast once", repr(word), "--set", "Keep one of the two.")
        chosen[name] = Contrast(contrast)
    return chosen


def _require_one_visit(dicom: DicomFolder, folder: Path) -> None:
    if not dicom.images:
        raise StudyError("MR images in DICOM", f"{dicom.other_objects} other DICOM objects, {dicom.unplaced} images "
                         f"without a place, {dicom.other_files} other files", str(folder), "Correct the path.")
    if len(dicom.studies) > 1:
        raise StudyError("one examination", f"{len(dicom.studies)}", str(folder),
                         "Import each examination's folder as a visit of its own.")


def _print_images(dicom: DicomFolder, guesses: dict[str, ContrastGuess]) -> None:
    """Every image in one line. No free text of a header."""
    print(f"{'image':8s} {'contrast':9s} {'size':>15s} {'spacing mm':>18s} {'TE ms':>6s}  known from")
    for image in dicom.images:
        try:
            grid, _ = grid_of(image)
            size = " x ".join(map(str, grid.shape))
            spacing = " x ".join(f"{s:.2f}" for s in grid.spacing_mm)
        except BedrestError:
            size, spacing = f"{len(image.frames)} slices", "-"
        guess = guesses[image.name]
        te = image.header.echo_time_ms
        print(f"{image.name:8s} {guess.contrast or '-':9s} {size:>15s} {spacing:>18s} "
              f"{'-' if te != te else f'{te:.2f}':>6s}  {guess.reason}")
    left_out = [f"{n} {what}" for n, what in ((dicom.other_objects, "other DICOM objects"),
                                          (dicom.unplaced, "images that do not say where they lie"),
                                          (dicom.other_files, "files that are no DICOM")) if n]
    if left_out:
        print(f"left out: {', '.join(left_out)}")
