"""The bones around the discs in a map of the tissues: vertebral bodies and sacrum, one piece each.

The map is a network's output: pieces may be missing, torn or stray. Knows nothing of what is measured on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bedrest.findings import FindingCode
from bedrest.measurement.geometry import Box, bounding_box, centre_of_mass_mm
from bedrest.measurement.sagittal import Part
from bedrest.types import LabelMap
from bedrest.vocabulary import SACRUM_LABEL, TISSUE_OF_LABEL, VERTEBRA_ABOVE_DISC

_LARGEST_SHARE, _SMALL_SHARE = 0.8, 0.1
_TOPMOST = max(VERTEBRA_ABOVE_DISC.values())
_TOUCHING = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class Bone:
    """A vertebral body or the sacrum."""

    name: str  # as in `vocabulary.TISSUE_OF_LABEL`
    part: Part | None  # its piece of the map, None where there is none to trust
    absent: FindingCode | None = None  # why there is none, else None
    largest_percent: float = 100.0  # share of its largest piece, where it is in pieces
    cut_off: bool = False  # whether it reaches the edge of the image


Bones = Mapping[int, Bone]


def find_bones(tissues: LabelMap) -> Bones:
    """Vertebral bodies and sacrum of a tissue map, each the largest of its pieces.

    Bone above the topmost named body has no separate name and may carry T11's: of T11's larger pieces, the one
    nearest to the disc below it counts.

    Returns: one for each of the sacrum and T11 to L5, absent ones too.

    Parameters
    ----------
    tissues : LabelMap, shape (I, J, K), numbered as in `vocabulary.TISSUE_OF_LABEL`
    """
    from scipy.ndimage import find_objects

    boxes = find_objects(tissues.data, max_label=max(VERTEBRA_ABOVE_DISC.values()))
    return {label: _bone(tissues, label, boxes[label - 1]) for label in (SACRUM_LABEL, *VERTEBRA_ABOVE_DISC.values())}


def _bone(tissues: LabelMap, label: int, box: Box | None) -> Bone:
    name = TISSUE_OF_LABEL[label]
    if box is None:
        return Bone(name, None, FindingCode.BONE_ABSENT)
    part, share = largest_piece(tissues.data[box] == label, box)
    if label == _TOPMOST and share < _LARGEST_SHARE:
        part, share = _nearest_to_disc(tissues, label, box), 1.0
    if share < _LARGEST_SHARE:
        return Bone(name, None, FindingCode.BONE_IN_PIECES, largest_percent=100 * share)
    cut_off = any(s.start == 0 or s.stop == n for s, n in zip(part.box, tissues.data.shape, strict=True))
    return Bone(name, part, cut_off=cut_off)


def _nearest_to_disc(tissues: LabelMap, label: int, box: Box) -> Part:
    from scipy.ndimage import label as connected

    pieces, n = connected(tissues.data[box] == label, structure=_TOUCHING)
    sizes = np.bincount(pieces.ravel())
    enough = min(_SMALL_SHARE * sizes[1:].sum(), sizes[1:].max())
    parts = [largest_piece(pieces == i, box)[0] for i in range(1, n + 1) if sizes[i] >= enough]
    below = tissues.data == label - SACRUM_LABEL
    inside = bounding_box(below)
    if inside is None:
        return parts[0]
    disc = centre_of_mass_mm(below[inside], inside, tissues.grid.affine_ras_mm)
    return min(parts, key=lambda p: float(np.linalg.norm(
        centre_of_mass_mm(p.mask, p.box, tissues.grid.affine_ras_mm) - disc)))


def largest_piece(mask: NDArray[np.bool_], box: Box) -> tuple[Part, float]:
    """The largest piece of a mask, and its share of all voxels, 0 to 1; voxels that touch by a corner are connected.

    `mask`: bool, cropped to `box` of the whole array, at least one voxel.
    """
    from scipy.ndimage import label as connected

    pieces, _ = connected(mask, structure=_TOUCHING)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    largest = pieces == sizes.argmax()
    inner = bounding_box(largest)
    assert inner is not None  # the mask is not empty
    first, second, third = (slice(b.start + i.start, b.start + i.stop) for b, i in zip(box, inner, strict=True))
    return Part(largest[inner], (first, second, third)), float(sizes.max() / sizes.sum())
