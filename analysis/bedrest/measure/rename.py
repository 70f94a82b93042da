"""Other names for discs -> the same mask and findings under those names.

Knows nothing of where the names come from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bedrest.errors import ManifestError
from bedrest.types import DiscFinding, LabelMap
from bedrest.vocabulary import EXCLUDE, LABEL_OF_LEVEL, LEVEL_NOT_TOLD, LEVEL_UNCERTAIN, LEVELS, Status

BY_HAND = "levels.csv"


def rename_discs(
    discs: LabelMap, findings: Sequence[DiscFinding], names: Mapping[str, str], *, where: str, by: str = BY_HAND
) -> tuple[LabelMap, list[DiscFinding]]:
    """Give discs other names, all at once: two names may change places.

    Parameters
    ----------
    discs : LabelMap, shape (I, J, K), 0 = background
    findings : sequence of DiscFinding
        Of every disc in the mask, and of levels that were not found.
    names : mapping
        Found name to level, or to `vocabulary.EXCLUDE`. Names of discs that are not in the mask change nothing.
    where : str
        Subject and session, for messages.
    by : str
        Who says so. What a person set answers every remark on the name; what anybody else says is flagged.

    Returns
    -------
    LabelMap
        Labels as the new names ask for; excluded discs are background.
    list of DiscFinding
        One for each disc that is left, and a failed one for each level that no disc has any more. A new name says who
        gave it and has no confidence.

    Raises
    ------
    ManifestError
        Two discs of the mask would have one level.
    """
    present = set(np.unique(discs.data).tolist())
    seen = [f for f in findings if f.label in present]
    to = {f.name: names.get(f.name, f.name) for f in seen}
    _require_one_disc_a_level(to, f"{where}, {by}")
    data, renamed = discs.data.copy(), []
    for f in seen:
        label = 0 if to[f.name] == EXCLUDE else LABEL_OF_LEVEL.get(to[f.name], f.label)
        data[discs.data == f.label] = label
        if label:
            renamed.append(_renamed(f, to[f.name], label, by) if f.name in names else f)
    return LabelMap(data, discs.grid), [*renamed, *_without_disc(findings, to, by)]


def absent_discs(discs: LabelMap, findings: Sequence[DiscFinding], names: Mapping[str, str]) -> list[str]:
    """Names that were set for discs which are not in the mask."""
    present = set(np.unique(discs.data).tolist())
    seen = {f.name for f in findings if f.label in present}
    return [found for found in names if found not in seen]


def _require_one_disc_a_level(to: Mapping[str, str], where: str) -> None:
    for level in dict.fromkeys(v for v in to.values() if v != EXCLUDE):
        discs = [found for found, wanted in to.items() if wanted == level]
        if len(discs) > 1:
            raise ManifestError(f"one disc for {level}", f"{' and '.join(discs)}", where,
                                "Name the other disc, too, or exclude it.")


def _renamed(finding: DiscFinding, level: str, label: int, by: str) -> DiscFinding:
    doubts = [r for r in finding.reason.split("; ") if r and not r.startswith((LEVEL_UNCERTAIN, LEVEL_NOT_TOLD))]
    doubtful = bool(doubts) or by != BY_HAND
    return replace(finding, name=level, label=label, level_confidence=math.nan,
                   status=Status.FLAGGED if doubtful else Status.OK, reason="; ".join([*doubts, f"level set by {by}"]))


def _without_disc(findings: Sequence[DiscFinding], to: Mapping[str, str], by: str) -> list[DiscFinding]:
    """What is left to say of names that no disc has now: never found, excluded, or moved away."""
    left = []
    for f in (f for f in findings if f.name not in to.values()):
        if f.name not in to:
            left.append(f)
        elif to[f.name] == EXCLUDE or f.name in LEVELS:
            reason = (f"excluded by {by}" if to[f.name] == EXCLUDE
                      else f"no disc has this level since {by} gave it another")
            left.append(DiscFinding(f.label, f.name, Status.FAILED, reason, math.nan))
    return left
