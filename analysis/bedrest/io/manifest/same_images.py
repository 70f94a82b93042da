"""Images that stand in a study twice: as two visits, two subjects or two contrasts. Nobody knows which is right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd

from bedrest.errors import BedrestError, Problem
from bedrest.io.images.nifti import load_image
from bedrest.io.images.voxel_digest import voxel_digest
from bedrest.io.manifest.entries import CheckedFile, InputProblem
from bedrest.vocabulary import MaskRole


def same_image_problems(files: Iterable[CheckedFile], *, whole: bool) -> list[InputProblem]:
    """Visits whose images are those of another visit or contrast, which excludes them; doubts about masks.

    `whole`: fingerprints are those of whole images; otherwise files of one fingerprint are read to make sure.
    """
    groups: dict[tuple[bool, str], list[CheckedFile]] = {}
    for file in files:
        groups.setdefault((file.contrast in set(MaskRole), file.fingerprint), []).append(file)
    together: dict[tuple[tuple[tuple[str, str], ...], bool], list[str]] = {}
    for (masks, _), group in groups.items():
        for copies in [group] if whole or len(group) == 1 else _confirmed(group):
            if len({(f.visit, f.contrast) for f in copies}) > 1:  # else two files for one contrast: told already
                visits = tuple(dict.fromkeys((f.subject, f.session) for f in copies))
                words = " = ".join(f"{f.visit} {f.contrast} ({f.path})" for f in copies)
                together.setdefault((visits, masks), []).append(words)
    return [p for (visits, masks), words in together.items() for p in _problems(visits, words, masks=masks)]


def same_edited_masks(edited: pd.DataFrame, automatic: pd.DataFrame) -> list[InputProblem]:
    """Doubts about edited masks that are also the edited or the automatic mask of another visit.

    `edited`, `automatic`: as in `schemas.EDITED_MASKS`.
    """
    problems = []
    masks = pd.concat([edited, automatic])
    for checksum, rows in masks[masks["sha256"].isin(edited["sha256"])].groupby("sha256", sort=False):
        rows = rows.drop_duplicates(["subject", "session"])  # saved as it was
        if checksum and len(rows) > 1:
            visits = tuple(rows[["subject", "session"]].itertuples(index=False, name=None))
            problems += _problems(visits, [" = ".join(rows["path"])], masks=True)
    return problems


def _confirmed(group: list[CheckedFile]) -> Iterator[list[CheckedFile]]:
    """Files that look alike at their beginning, parted by what they hold."""
    parted: dict[str, list[CheckedFile]] = {}
    for file in group:
        with suppress(BedrestError):
            parted.setdefault(voxel_digest(*load_image(Path(file.path), file.visit)), []).append(file)
    yield from parted.values()


def _problems(visits: tuple[tuple[str, str], ...], words: list[str], *, masks: bool) -> list[InputProblem]:
    if masks:
        expected = ("a mask of its own for every visit" if len(visits) > 1 else
                    "a reference mask made apart from the mask that it judges")
        remedy = "Check both: a copied mask measures the wrong scan, and agrees with itself."
    else:
        expected = f"an image of its own for every {'visit' if len(visits) > 1 else 'contrast'}"
        remedy = ("Find out which is right, and replace or remove the other; until then no image of "
                  f"{'these visits' if len(visits) > 1 else 'this visit'} is used.")
    where = ", ".join(" ".join(v) for v in visits)
    problem = Problem(where, expected, f"one {'mask' if masks else 'image'} twice: {'; '.join(words)}", remedy)
    return [InputProblem(*visit, problem, excludes_visit=not masks, doubt=masks) for visit in visits]
