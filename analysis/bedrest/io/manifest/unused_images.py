"""Images below a folder, those included that no layout takes. Knows no layout and opens nothing."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from bedrest.io.manifest.entries import LeftOut

IMAGE_ENDINGS = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".mgz", ".mgh", ".img", ".img.gz", ".dcm", ".ima")
MAX_LINES = 20  # of one folder and one reason; more are told as a number


def is_image(path: Path) -> bool:
    """Whether a file has the name of an image; hidden files have not."""
    return path.name.lower().endswith(IMAGE_ENDINGS) and not path.name.startswith(".")


def images_below(folder: Path, *, spare: Collection[Path] = ()) -> Iterator[Path]:
    """Every image at any depth, but not in hidden folders or those to be spared; each folder once, linked ones too."""
    met = {os.path.realpath(path) for path in spare}
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in sorted(folders) if not name.startswith(".")]
        if (real := os.path.realpath(place)) in met:
            folders.clear()
            continue
        met.add(real)
        yield from (path for name in sorted(files) if is_image(path := Path(place, name)))


def left_out(images: Iterable[tuple[Path, str]]) -> list[LeftOut]:
    """Images with their reasons; many in one folder with one reason are one line."""
    groups: dict[tuple[Path, str], list[Path]] = {}
    for path, reason in images:
        groups.setdefault((path.parent, reason), []).append(path)
    return [line for (folder, reason), paths in groups.items() for line in (
        [LeftOut(str(path.absolute()), reason) for path in paths] if len(paths) <= MAX_LINES
        else [LeftOut(str(folder.absolute()), f"{len(paths)} images: {reason}")])]
