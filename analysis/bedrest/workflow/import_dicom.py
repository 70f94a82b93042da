"""`bedrest import-dicom`: one examination's DICOM folder -> one visit of a BIDS dataset. Orders the work only."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bedrest.errors import BedrestError, StudyError
from bedrest.io.bids.writer import contrast_path, write_scanned
from bedrest.io.contrast_rules import ContrastGuess, phase_by_echo_time
from bedrest.io.dicom.contrast import classify_contrasts, echo_numbers, measured_values, scale_doubts
from bedrest.io.dicom.header import ARCHIVES, DICOMDIR
from bedrest.io.dicom.reader import UNPLACED, DicomFolder, find_images, read_dicom
from bedrest.io.dicom.slices import DicomImage, apart, grid_of, slice_doubt, too_few, unfinished_acquisitions
from bedrest.io.files import write_if_changed
from bedrest.vocabulary import Contrast

_LABEL = re.compile(r"^[A-Za-z0-9]+$")


def import_dicom(folder: Path, output: Path, *, subject: str, session: str, chosen: Sequence[str] = (),
                 accepted: Sequence[str] = (), one_examination: bool = False) -> int:
    """Write every image of an examination whose contrast is known to a BIDS dataset; list all.

    `subject` and `session` come with or without sub- and ses-; `chosen` holds contrasts as ``7=water``, `accepted`
    names of images that are imported although slices may be missing or values differ in scale.
    """
    subject, session = _label("sub-", subject, "--subject"), _label("ses-", session, "--session")
    contrast_of = _chosen(chosen)
    dicom = find_images(folder)
    _require_one_visit(dicom, folder, one_examination)
    for option, names in (("--set", set(contrast_of)), ("--accept", set(accepted))):
        if unknown := sorted(names - {i.name for i in dicom.images}):
            raise StudyError(f"images out of {', '.join(i.name for i in dicom.images)}", ", ".join(unknown), option,
                             f"Run without {option} to see the list.")
    guesses = classify_contrasts(dicom.images, contrast_of)
    unreadable = _unreadable(dicom.images, guesses)
    guesses |= {**_doubts(dicom.images, guesses, set(accepted)), **unreadable}
    _print_images(dicom, guesses)
    wanted = {i.name: c for i in dicom.images if (c := guesses[i.name].contrast) is not None}
    doubtful = [n for n, guess in guesses.items() if guess.doubtful]
    remedy = next((f" Where you know an image, say it, as --set {n}=CONTRAST, or --accept it where its line says so."
                   for n in doubtful if n not in unreadable), "")
    if not wanted:
        raise StudyError("at least one image whose contrast the headers tell", "doubtful ones alone" if doubtful else
                         "none", str(folder), f"See the list above.{remedy}")
    images = {wanted[i.name]: i for i in dicom.images if i.name in wanted}
    paths = {c: contrast_path(output, subject, session, c, echo_numbers(images).get(c)) for c in images}
    if existing := [path for path in paths.values() if path.exists()]:
        raise StudyError("no images of this visit yet", f"{len(existing)} already there", str(existing[0].parent),
                         "Remove them to import again, or give another --subject or --session.")
    measured = measured_values(images)
    failed = sum(not _import(image, contrast, paths[contrast], measured=contrast in measured)
                 for contrast, image in images.items())
    if failed == len(wanted):
        raise StudyError("at least one image that can be read", "none", str(folder), "See above.")
    if not (output / "dataset_description.json").exists():
        description = {"Name": output.resolve().name, "BIDSVersion": "1.11.0", "DatasetType": "raw",
                       "GeneratedBy": [{"Name": "bedrest import-dicom"}]}
        write_if_changed(output / "dataset_description.json", json.dumps(description, indent=1) + "\n")
    print(f"{len(wanted) - failed} images: {output / subject / session}\n"
          f"Next: a row for {subject} in {output / 'participants.tsv'}, then bedrest check STUDY.toml")
    if doubtful:
        print(f"Not imported, as in doubt: {', '.join(doubtful)}.{remedy}")
    return 3 if failed or doubtful else 0


def _doubts(images: Sequence[DicomImage], guesses: Mapping[str, ContrastGuess],
            accepted: set[str]) -> dict[str, ContrastGuess]:
    """What becomes of images whose contrast is known: not taken where slices may be missing or scales differ."""
    known = {i.name: i for i in images if guesses[i.name].contrast is not None}
    scale = scale_doubts({c: i for n, i in known.items() if (c := guesses[n].contrast)})
    changed = {}
    for name, image in known.items():
        if not (doubts := [d for d in (slice_doubt(image, images), scale.get(name)) if d]):
            continue
        contrast, reason, doubt = guesses[name].contrast, guesses[name].reason, "; ".join(doubts)
        changed[name] = (ContrastGuess(contrast, f"{reason}; accepted although {doubt}") if name in accepted else
                         ContrastGuess(None, f"{contrast} {reason}, but {doubt}. Export it again, whole, or import it "
                                       f"as it is: --accept {name}", doubtful=True))
    return changed


def _unreadable(images: Sequence[DicomImage], guesses: Mapping[str, ContrastGuess]) -> dict[str, ContrastGuess]:
    """Doubtful images that no choice would help: localizers, and slices that make no image."""
    changed: dict[str, ContrastGuess] = {}
    for image in (i for i in images if guesses[i.name].doubtful):
        if few := too_few(image):
            changed[image.name] = ContrastGuess(None, f"{few}, as a localizer has; {guesses[image.name].reason}")
            continue
        try:
            grid_of(image)
        except BedrestError as error:
            changed[image.name] = ContrastGuess(None, f"no image: expected {error.expected}, found {error.actual}. "
                                                f"{error.remedy}", doubtful=True)
    return changed


def _import(image: DicomImage, contrast: Contrast, path: Path, *, measured: bool) -> bool:
    """Write one image; whether it could be read."""
    try:
        volume = read_dicom(image, measured=measured)
    except BedrestError as error:
        print(f"failed: {error}", file=sys.stderr)
        return False
    header = image.header
    numbers = {"EchoTime": header.echo_time_ms / 1000, "RepetitionTime": header.repetition_time_ms / 1000,
               "FlipAngle": header.flip_angle_deg, "MagneticFieldStrength": header.field_tesla}
    by_time = phase_by_echo_time(header.echo_time_ms, header.field_tesla).contrast
    if contrast in (Contrast.IN_PHASE, Contrast.OPPOSED) and by_time not in (None, contrast):
        del numbers["EchoTime"]  # of another echo: a computed image, or the user knows better
    # Numbers alone: any text of a header may hold a name.
    write_scanned(path, contrast, volume, sidecar={k: round(v, 6) for k, v in numbers.items() if v == v})
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


def _require_one_visit(dicom: DicomFolder, folder: Path, one_examination: bool) -> None:
    if not dicom.images:
        raise StudyError("MR images in DICOM", ", ".join(_left_out(dicom)) or "no file", str(folder), _remedy(dicom))
    references = list(dicom.studies.values())
    one_place = bool(set.intersection(*references))
    for n, what in ((len(dicom.patients), "Patient IDs"), (len(dicom.dates), "study dates")):
        if n > 1 and not (one_examination and one_place):
            raise StudyError("one examination", f"images of {n} {what}", str(folder), "Keep each examination in a "
                             "folder of its own." + (" If an anonymiser changed them: add --one-examination."
                                                     if one_place else ""))
    if len(set(dicom.studies) - {""}) > 1 and not one_examination:
        evidence = [words for words, holds in (("one Patient ID", dicom.patients), ("one day", dicom.dates),
                                               ("one frame of reference", one_place)) if holds]
        raise StudyError("one examination", f"{len(set(dicom.studies) - {''})} Study Instance UIDs"
                         f"{' with ' * bool(evidence)}{', '.join(evidence)}", str(folder),
                         "If an anonymiser gave each part of one examination its own: add --one-examination. If they "
                         "are several examinations: keep each in a folder of its own.")


def _left_out(dicom: DicomFolder) -> list[str]:
    return [f"{n} {what}" for what, n in sorted(dicom.left_out.items())]


def _remedy(dicom: DicomFolder) -> str:
    """What to do where there is no image, by what there is."""
    if ARCHIVES in dicom.left_out:
        return "Unpack the archives first."
    if DICOMDIR in dicom.left_out:
        return "Copy the folders that lie beside the DICOMDIR as well."
    if UNPLACED in dicom.left_out:
        return "Export the images as the scanner made them: with Image Position and Orientation (Patient)."
    return "Correct the path."


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
    if dicom.left_out:
        print(f"left out: {', '.join(_left_out(dicom))}")
    taken = [image for image in dicom.images if guesses[image.name].contrast]
    for note in (*unfinished_acquisitions(dicom.images), *apart(taken)):
        print(f"note: {note}")
