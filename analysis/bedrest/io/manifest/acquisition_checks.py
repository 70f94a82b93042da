"""What changes in the acquisition between the visits of one subject: doubts, one a subject and kind.

Knows nothing of days, and nothing of how large the effect on a volume is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from bedrest.errors import Problem
from bedrest.io.manifest.entries import CheckedFile, InputProblem
from bedrest.schemas import ACQUISITION
from bedrest.vocabulary import Contrast, MaskRole

_PLANES = ("sagittal", "coronal", "axial")
_CHECK = ("Check that the right images were imported. If they were: changes between such visits hold what this does to "
          "an image, too; they are flagged (docs/measuring_change.md).")
Value = tuple[float, ...] | str  # not known: NaN, or empty


@dataclass(frozen=True)
class _Kind:
    """One thing that should be alike at every visit."""

    name: str
    of: Callable[[CheckedFile], Value]
    tolerance: float = 0.0  # share by which numbers may differ
    form: str = "{0}"

    def alike(self, one: Value, other: Value) -> bool:
        if isinstance(one, str) or isinstance(other, str):
            return str(one).casefold() == str(other).casefold()
        return all(abs(a - b) <= self.tolerance * max(a, b) for a, b in zip(one, other, strict=True))


def _ras(file: CheckedFile, numbers: Iterable[float]) -> tuple[float, ...]:
    """Numbers of the array's axes in the order right, front, head."""
    axes = nib.orientations.io_orientation(file.grid.affine_ras_mm)[:, 0].astype(int)
    by_axis = dict(zip(axes.tolist(), map(float, numbers), strict=True))
    return tuple(by_axis[i] for i in range(3))


_KINDS = (
    _Kind("voxel size", lambda f: _ras(f, f.grid.spacing_mm), ACQUISITION["voxel_mm"],
          "{0:.3g} x {1:.3g} x {2:.3g} mm (right, front, head)"),
    _Kind("field of view", lambda f: _ras(f, f.grid.spacing_mm * np.array(f.grid.shape)), 0.1,
          "{0:.0f} x {1:.0f} x {2:.0f} mm (right, front, head)"),
    _Kind("field strength", lambda f: (f.acquisition.field_tesla,), ACQUISITION["field_tesla"], "{0:g} T"),
    _Kind("scanner", lambda f: f.acquisition.scanner),
    _Kind("slice thickness", lambda f: (f.acquisition.slice_mm,), ACQUISITION["slice_mm"], "{0:g} mm"),
    _Kind("echo time", lambda f: (f.acquisition.echo_ms,), 0.05, "{0:.3g} ms"),
)


def acquisition_doubts(files: list[CheckedFile], *, reported: Collection[str]) -> list[InputProblem]:
    """Doubts about the images of one subject; contrasts that are `reported` visit by visit may be absent."""
    images = [f for f in files if f.contrast in set(Contrast)]
    given = {f.session for f in files if f.contrast == MaskRole.MASK}
    doubts = _contrasts([f for f in images if f.session not in given], reported)
    return doubts + [d for kind in _KINDS for d in _differing(kind, images)]


def _contrasts(images: list[CheckedFile], reported: Collection[str]) -> list[InputProblem]:
    """Visits with other contrasts than the others."""
    at: dict[str, list[str]] = {}
    for f in images:
        at.setdefault(f.session, []).append(f.contrast)
    if len({frozenset(c) - {*reported} for c in at.values()}) < 2:
        return []
    common = [c for c in Contrast if all(c in contrasts for contrasts in at.values())]
    taken = (f"until then volumes are measured from {'+'.join(common)} alone" if common else
             "without a contrast that all visits have, each is measured alone, and less well")
    return [_doubt(images[0].subject, "the same contrasts at every visit",
                   _listed({s: "+".join(c) for s, c in at.items()}),
                   f"Add the missing images if there are any; {taken}.")]


def _differing(kind: _Kind, images: list[CheckedFile]) -> list[InputProblem]:
    """The doubt about one kind, of the first contrast in which it differs."""
    for contrast in Contrast:
        values = {f.session: v for f in images if f.contrast == contrast and _known(v := kind.of(f))}
        first, *others = values.values() or [""]
        if any(not kind.alike(first, other) for other in others):
            words = {s: v if isinstance(v, str) else _plane(kind, v) + kind.form.format(*v) for s, v in values.items()}
            differing = f"{contrast}: {_listed(words)}"
            return [_doubt(images[0].subject, f"one {kind.name} at every visit", differing, _CHECK)]
    return []


def _known(value: Value) -> bool:
    return bool(value) and (isinstance(value, str) or not any(map(math.isnan, value)))


def _plane(kind: _Kind, value: tuple[float, ...]) -> str:
    """The plane of the slices, where they are thicker than their pixels."""
    thick = kind is _KINDS[0] and sorted(value)[2] > 1.2 * sorted(value)[1]
    return f"{_PLANES[value.index(max(value))]}, " if thick else ""


def _listed(words: dict[str, str]) -> str:
    sessions: dict[str, list[str]] = {}
    for session, value in words.items():
        sessions.setdefault(value, []).append(session)
    return "; ".join(f"{', '.join(s)}: {value}" for value, s in sessions.items())


def _doubt(subject: str, expected: str, actual: str, remedy: str) -> InputProblem:
    return InputProblem(subject, "", Problem(subject, expected, actual, remedy), doubt=True)
