"""A mask before and after manual correction -> what changed, disc by disc.

Knows nothing of files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bedrest.findings import Finding, FindingCode, worst_status
from bedrest.measurement.comparison.agreement import dice_of
from bedrest.types import LabelMap, SegmentedDisc
from bedrest.vocabulary import LEVEL_OF_LABEL, Status, level_name


@dataclass(frozen=True)
class DiscEdit:
    """One disc in both masks; missing where a mask does not hold it, never 0.

    Attributes
    ----------
    volume_automatic_mm3, volume_edited_mm3 : voxel count times voxel volume
    voxels_added, voxels_removed : voxels in the edited, in the automatic mask alone
    """

    level: str  # its name by its number in the masks
    label: int  # that number
    volume_automatic_mm3: float = math.nan
    volume_edited_mm3: float = math.nan
    difference_percent: float = math.nan  # (edited - automatic) / automatic * 100
    dice: float = math.nan  # 2|A and B|/(|A|+|B|), 0 to 1
    voxels_added: int | None = None
    voxels_removed: int | None = None
    findings: tuple[Finding, ...] = ()  # what is doubtful about it, or that one of the masks does not hold it

    @property
    def changed(self) -> bool:
        """Whether the masks hold different voxels of it."""
        return bool(self.voxels_added or self.voxels_removed)

    @property
    def status(self) -> Status:
        """See `vocabulary.Status`."""
        return worst_status(self.findings)


def compare_edit(before: LabelMap | None, edited: LabelMap) -> list[DiscEdit]:
    """Every disc in either mask, from the lowest label up.

    Returns: a disc that lies for the most part on another one of `before` is flagged: programs may renumber labels when
    they save.

    Parameters
    ----------
    before : none where there was no mask to correct: every disc is new
    edited : LabelMap, shape (I, J, K), on the grid of `before`
    """
    data = before.data if before is not None else np.zeros_like(edited.data)
    labels = sorted({*np.unique(data).tolist(), *np.unique(edited.data).tolist()} - {0})
    return [_compare(data, edited, label) for label in labels]


def _compare(before: np.ndarray, edited: LabelMap, label: int) -> DiscEdit:
    a, b = before == label, edited.data == label
    count_a, count_b, both = (int(np.count_nonzero(m)) for m in (a, b, a & b))
    voxel_mm3 = edited.grid.voxel_volume_mm3
    edit = DiscEdit(level_name(label), label, voxels_added=count_b - both, voxels_removed=count_a - both)
    if not count_b:
        return replace(edit, volume_automatic_mm3=count_a * voxel_mm3, findings=(Finding(FindingCode.DISC_REMOVED),))
    doubts = _lies_on_another(before[b], label)
    edit = replace(edit, volume_edited_mm3=count_b * voxel_mm3, findings=doubts)
    if not count_a:
        return replace(edit, findings=(*doubts, Finding(FindingCode.DISC_ADDED)))
    return replace(edit, volume_automatic_mm3=count_a * voxel_mm3, dice=dice_of(count_a, count_b, both),
                   difference_percent=100 * (count_b - count_a) / count_a)


def _lies_on_another(under: np.ndarray, label: int) -> tuple[Finding, ...]:
    """Doubt on the name of an edited disc from the labels `under` its voxels; empty when there is none."""
    labels, counts = np.unique(under, return_counts=True)
    most = int(labels[np.argmax(counts)])
    if most in (0, label) or 2 * counts.max() <= under.size:
        return ()
    return (Finding(FindingCode.LABELS_RENUMBERED, {"name": level_name(most)}),)


def edited_discs(edits: Sequence[DiscEdit], automatic: Sequence[SegmentedDisc]) -> list[SegmentedDisc]:
    """What is known of an edited mask's discs. Of those that were edited none of the network's doubts apply.

    Parameters
    ----------
    automatic : of the mask before; a disc that was not edited, and a level that is in neither mask, stay as they are
    """
    changed = {e.label: e for e in edits if e.changed}
    before = {d.label: d for d in automatic} or {k: _absent(k) for k in LEVEL_OF_LABEL}
    return [_edited(changed[k]) if k in changed else before[k] for k in sorted({*before, *changed})]


def _edited(edit: DiscEdit) -> SegmentedDisc:
    if math.isnan(edit.volume_edited_mm3):
        return _absent(edit.label)
    doubts = (f for f in edit.findings if f.status != Status.OK)
    return SegmentedDisc(edit.label, edit.level, (*doubts, Finding(FindingCode.DISC_EDITED)))


def _absent(label: int) -> SegmentedDisc:
    return SegmentedDisc(label, level_name(label), (Finding(FindingCode.NOT_IN_EDITED_MASK),))
