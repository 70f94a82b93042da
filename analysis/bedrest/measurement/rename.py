"""Other names for discs -> the same mask and discs under those names.

Knows nothing of where the names come from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bedrest.anatomy.absent import why_absent
from bedrest.errors import ManifestError
from bedrest.findings import ABOUT_NAME, Finding, FindingCode
from bedrest.types import LabelMap, SegmentedDisc
from bedrest.vocabulary import EXCLUDE, LABEL_OF_LEVEL, LEVEL_OF_LABEL, LEVELS, NameSource

SET_MANUALLY = Finding(FindingCode.LEVEL_SET_MANUALLY)


def rename_discs(
    discs: LabelMap, segmented: Sequence[SegmentedDisc], names: Mapping[str, str], *, where: str,
    because: Finding = SET_MANUALLY,
) -> tuple[LabelMap, list[SegmentedDisc]]:
    """Give discs other names, all at once: two names may change places.

    Returns LabelMap: labels as the new names ask for; excluded discs are background. Returns list of SegmentedDisc: one
    for each disc that is left, and one that says why for each level without a disc. A new name has its origin and no
    confidence. Raises ManifestError: two discs of the mask would have one level.

    Parameters
    ----------
    discs : LabelMap, shape (I, J, K), 0 = background
    segmented : of every disc in the mask, and of levels that were not found
    names : found name to level, or to `vocabulary.EXCLUDE`. Names of discs that are not in the mask change nothing.
    where : subject and session, for messages
    because : origin of the names, kept with every renamed disc. It settles every earlier remark on the name.
    """
    present = set(np.unique(discs.data).tolist())
    in_mask = [d for d in segmented if d.label in present]
    to = {d.name: names.get(d.name, d.name) for d in in_mask}
    by = NameSource.LEVELS_CSV if because.code == FindingCode.LEVEL_SET_MANUALLY else NameSource.OTHER_VISITS
    _require_one_disc_a_level(to, f"{where}, {by}")
    data, renamed = discs.data.copy(), []
    for d in in_mask:
        label = 0 if to[d.name] == EXCLUDE else LABEL_OF_LEVEL.get(to[d.name], d.label)
        data[discs.data == d.label] = label
        if label:
            renamed.append(_renamed(d, to[d.name], label, because) if d.name in names else d)
    mask = LabelMap(data, discs.grid)
    return mask, [*renamed, *_explained(_without_disc(segmented, to, by), mask)]


def _explained(absent: list[SegmentedDisc], discs: LabelMap) -> list[SegmentedDisc]:
    """Levels without a disc; why, now that the others have names, of those that were not known before."""
    labels = [k for k in LEVEL_OF_LABEL if (discs.data == k).any()]
    if not labels or not any(f.code == FindingCode.LEVEL_WITHOUT_DISC for d in absent for f in d.findings):
        return absent
    to_mm = discs.grid.affine_ras_mm
    centres = {k: (to_mm @ np.append(np.argwhere(discs.data == k).mean(axis=0), 1))[:3] for k in labels}
    return [replace(d, findings=(why_absent(centres, d.label, discs.grid),))
            if d.findings[0].code == FindingCode.LEVEL_WITHOUT_DISC else d for d in absent]


def absent_discs(discs: LabelMap, segmented: Sequence[SegmentedDisc], names: Mapping[str, str]) -> list[str]:
    """Names that were set for discs which are not in the mask."""
    present = set(np.unique(discs.data).tolist())
    in_mask = {d.name for d in segmented if d.label in present}
    return [name for name in names if name not in in_mask]


def _require_one_disc_a_level(to: Mapping[str, str], where: str) -> None:
    for level in dict.fromkeys(v for v in to.values() if v != EXCLUDE):
        discs = [name for name, new in to.items() if new == level]
        if len(discs) > 1:
            raise ManifestError(f"one disc for {level}", f"{' and '.join(discs)}", where,
                                "Name the other disc, too, or exclude it.")


def _renamed(disc: SegmentedDisc, level: str, label: int, because: Finding) -> SegmentedDisc:
    kept = (f for f in disc.findings if f.code not in ABOUT_NAME)
    return replace(disc, name=level, label=label, level_confidence=math.nan, findings=(*kept, because))


def _without_disc(segmented: Sequence[SegmentedDisc], to: Mapping[str, str], by: NameSource) -> list[SegmentedDisc]:
    """Names that no disc has now: never detected, excluded, or given to another disc."""
    left = []
    for d in (d for d in segmented if d.name not in to.values()):
        if d.name not in to:
            left.append(d)
        elif to[d.name] == EXCLUDE or d.name in LEVELS:
            code = FindingCode.DISC_EXCLUDED if to[d.name] == EXCLUDE else FindingCode.LEVEL_GIVEN_AWAY
            left.append(SegmentedDisc(d.label, d.name, (Finding(code, {"by": by}),)))
    return left
