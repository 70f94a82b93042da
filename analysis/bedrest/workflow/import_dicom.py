"""`bedrest import-dicom`: one examination's DICOM folder -> one visit of a BIDS dataset. Orders the work only."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from bedrest.errors import BedrestError, StudyError
from bedrest.io.bids.writer import contrast_path, write_contrast
from bedrest.io.dicom.contrast import ContrastGuess, classify_contrasts
from bedrest.io.dicom.reader import DicomFolder, DicomImage, find_images, grid_of, read_dicom
from bedrest.io.files import write_if_changed
from bedrest.vocabulary import Contrast

DONE, DONE_WITH_FAILURES = 0, 3
_LABEL = re.compile(r"^[A-Za-z0-9]+$")


def import_dicom(args: argparse.Namespace) -> int:
    """Write every contrast that the headers tell, list every image that they do not."""
    subject, session = _label("sub-", args.subject, "--subject"), _label("ses-", args.session, "--session")
    chosen = _chosen(args.set)
    found = find_images(args.folder)
    _require_one_visit(found, args.folder)
    if unknown := sorted(set(chosen) - {i.name for i in found.images}):
        raise StudyError(f"images out of {', '.join(i.name for i in found.images)}", ", ".join(unknown), "--set",
                         "Run without --set to see the list.")
    told = classify_contrasts(found.images, chosen)
    _print(found, told)
    wanted = {i.name: c for i in found.images if (c := told[i.name].contrast) is not None}
    if not wanted:
        raise StudyError("at least one image whose contrast the headers tell", "none", str(args.folder),
                         "Say which is which, as --set 7=water --set 8=fat.")
    if there := [p for c in wanted.values() if (p := contrast_path(args.output, subject, session, c)).exists()]:
        raise StudyError("no images of this visit yet", f"{len(there)} already there", str(there[0].parent),
                         "Remove them to import again, or give another --subject or --session.")
    failed = 0
    for image in found.images:
        if image.name in wanted:
            failed += not _import(image, wanted[image.name], args.output, subject, session)
    if failed == len(wanted):
        raise StudyError("at least one image that can be read", "none", str(args.folder), "See above.")
    if not (args.output / "dataset_description.json").exists():
        about = {"Name": args.output.resolve().name, "BIDSVersion": "1.11.0", "DatasetType": "raw",
                 "GeneratedBy": [{"Name": "bedrest import-dicom"}]}
        write_if_changed(args.output / "dataset_description.json", json.dumps(about, indent=1) + "\n")
    print(f"{len(wanted) - failed} images: {args.output / subject / session}\n"
          f"Next: a row for {subject} in {args.output / 'participants.tsv'}, then bedrest check STUDY.toml")
    return DONE_WITH_FAILURES if failed or any(t.doubtful for t in told.values()) else DONE


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


def _chosen(words: list[str]) -> dict[str, Contrast]:
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


def _require_one_visit(found: DicomFolder, folder: Path) -> None:
    if not found.images:
        raise StudyError("MR images in DICOM", f"{found.other_objects} other DICOM objects, {found.unplaced} images "
                         f"without a place, {found.other_files} other files", str(folder), "Correct the path.")
    if len(found.studies) > 1:
        raise StudyError("one examination", f"{len(found.studies)}", str(folder),
                         "Import each examination's folder as a visit of its own.")


def _print(found: DicomFolder, told: dict[str, ContrastGuess]) -> None:
    """Every image in one line. No word of a header that a person typed."""
    print(f"{'image':8s} {'contrast':9s} {'size':>15s} {'spacing mm':>18s} {'TE ms':>6s}  told")
    for image in found.images:
        try:
            grid, _ = grid_of(image)
            size = " x ".join(map(str, grid.shape))
            spacing = " x ".join(f"{s:.2f}" for s in grid.spacing_mm)
        except BedrestError:
            size, spacing = f"{len(image.frames)} slices", "-"
        this = told[image.name]
        te = image.header.echo_time_ms
        print(f"{image.name:8s} {this.contrast or '-':9s} {size:>15s} {spacing:>18s} "
              f"{'-' if te != te else f'{te:.2f}':>6s}  {this.reason}")
    left = [f"{n} {what}" for n, what in ((found.other_objects, "other DICOM objects"),
                                          (found.unplaced, "images that do not say where they lie"),
                                          (found.other_files, "files that are no DICOM")) if n]
    if left:
        print(f"left out: {', '.join(left)}")
