"""Which number in a mask is which disc, as typed on the command line: ``51=L5-S1,102=L4-L5``; names of structures as
others write them.

Knows nothing of masks.
"""

from __future__ import annotations

import re

from bedrest.errors import BedrestError, did_you_mean
from bedrest.vocabulary import CANAL_LABEL, FIRST_UNNAMED_LABEL, LABEL_OF_LEVEL, LEVELS, SACRUM_LABEL, TISSUE_OF_LABEL

_FORM = "label=level pairs joined by commas, for example 51=L5-S1,102=L4-L5"

_BONE = r"(T11|T12|L[1-5])"
# L5-S1, L5/S, L4-5, L45, T11/12
_DISC_NAME = re.compile(rf"(?<![A-Z0-9]){_BONE}(?:[-/_ –]*(T12|L[1-5]|S1?)|[-/–]?([1-5]|12))(?![A-Z0-9])")
_BONE_NAME = re.compile(rf"(?<![A-Z0-9]){_BONE}(?![A-Z0-9])")
_THORACIC = re.compile(r"(?<![A-Z])(?:TH|D)(?=1[12](?![0-9]))")
_OTHER_DISC = re.compile(r"DIS[CK]|IVD|BANDSCHEIBE|L6|PLATE")
_UNNAMED = re.compile(r"UNNAMED[- ](\d{1,2})")


def structure_of_name(name: str) -> int | None:
    """Number of a structure, as in `vocabulary.TISSUE_OF_LABEL`, by a name that others gave it.

    Examples
    --------
    >>> [structure_of_name(n) for n in ("L5/S1", "disc_L4_L5", "L3/4", "Th12/L1", "vertebrae_L5", "Sacrum", "disc")]
    [1, 2, 3, 6, 11, 10, None]
    """
    word = _THORACIC.sub("T", name.upper().replace("_", " "))
    if disc := _DISC_NAME.search(word):
        return LABEL_OF_LEVEL.get(f"{disc[1]}-{_bone_above(disc[1], disc[2], disc[3])}")
    if unnamed := _UNNAMED.search(word):
        return FIRST_UNNAMED_LABEL - 1 + int(unnamed[1])
    if _OTHER_DISC.search(word):
        return None
    if "SACRUM" in word or word.strip() == "S1":
        return SACRUM_LABEL
    if "CANAL" in word:
        return CANAL_LABEL
    bone = _BONE_NAME.search(word)
    return next((label for label, known in TISSUE_OF_LABEL.items() if bone and known == bone[1]), None)


def _bone_above(first: str, second: str | None, number: str | None) -> str:
    """The lower bone of a disc, whose name may leave out its letter: L4/5, T11/12."""
    if second is None:
        return f"{first[0]}{number}"
    return "S1" if second.startswith("S") else second


def parse_levels(text: str, *, where: str = "--levels") -> dict[int, str]:
    """Label to level, in the order given.

    `text`: for example ``51=L5-S1,102=L4-L5``. Levels are spelt as in `vocabulary.LEVELS`. `where`: the option the text
    came from, for the message. Raises BedrestError: if a label is not a whole number above 0, a level is not known (the
    nearest known one is named), or a label or level comes twice.
    """
    levels: dict[int, str] = {}
    for part in text.split(","):
        label_text, equals, level = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise BedrestError(_FORM, repr(part.strip()), where, "Write every entry as label=level.")
        label = _label(label_text, where)
        if level not in LEVELS:
            raise BedrestError(f"one of {', '.join(LEVELS)}", repr(level), where,
                               did_you_mean(level.upper(), LEVELS, "", cutoff=0.0))
        if label in levels:
            raise BedrestError("every label once", f"label {label} for {levels[label]} and {level}", where,
                               "Keep one of the two.")
        if level in levels.values():
            raise BedrestError("every level once", f"{level} twice", where, "Give each level one label.")
        levels[label] = level
    return levels


def _label(text: str, where: str) -> int:
    remedy = "Use the number that stands for the disc in the mask."
    try:
        label = int(text)
    except ValueError:
        raise BedrestError("a whole number before =", repr(text), where, remedy) from None
    if label < 1:
        raise BedrestError("a label above 0 (0 is background)", str(label), where, remedy)
    return label
