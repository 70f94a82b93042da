"""Which number is which structure in the masks of other programs: the numberings that masks are known to have.

Knows nothing of images. docs/label_schemes.md shows the same with version and source of each.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from bedrest.anatomy.levels import parse_levels
from bedrest.errors import BedrestError, did_you_mean
from bedrest.vocabulary import CANAL_LABEL, FIRST_UNNAMED_LABEL, LEVEL_OF_LABEL, TISSUE_OF_LABEL, VERTEBRA_ABOVE_DISC

SACRUM = "sacrum"
OURS, BINARY = "bedrest", "binary"
_FROM_L5 = ("L5", "L4", "L3", "L2", "L1", "T12", "T11")  # the bones above our discs, from the bottom up
_DISCS = tuple(LEVEL_OF_LABEL.values())  # L5-S1 first


@dataclass(frozen=True)
class Numbering:
    """The numbers of one kind of mask.

    Attributes
    ----------
    name : as typed: ``--labels spineps``; kinds of masks of one program share it
    kind : which of its masks, for messages
    discs : label to level
    bones : label to vertebra or sacrum, of those beside our seven discs
    others : labels of anything else it may hold
    transitional : labels that stand for a spine without the usual five lumbar and twelve thoracic vertebrae, and what
        they are
    all_discs : the one label of all discs, where it does not tell them apart; 0: it does
    canal : labels of spinal cord and canal, which run along the spine
    shared : whether other masks have these numbers for something else, so that they prove nothing by themselves
    """

    name: str
    kind: str
    discs: Mapping[int, str]
    bones: Mapping[int, str] = field(default_factory=dict)
    others: frozenset[int] = frozenset()
    transitional: Mapping[int, str] = field(default_factory=dict)
    all_discs: int = 0
    canal: frozenset[int] = frozenset()
    shared: bool = False

    def covers(self, labels: Collection[int]) -> bool:
        """Whether all these labels have a meaning in it."""
        known = self.others | self.canal | {*self.discs, *self.bones, *self.transitional, self.all_discs}
        return known.issuperset(labels)

    def has_disc(self, labels: Collection[int]) -> bool:
        return any(label in self.discs or label == self.all_discs != 0 for label in labels)


def _up(first: int, names: Iterable[str] = _DISCS) -> dict[int, str]:
    return {first + i: name for i, name in enumerate(names)}


def _down(first: int, names: Iterable[str] = _DISCS) -> dict[int, str]:
    return {first - i: name for i, name in enumerate(names)}


def _numbers(*ranges: tuple[int, int]) -> frozenset[int]:
    return frozenset(n for low, high in ranges for n in range(low, high + 1))


NUMBERINGS: tuple[Numbering, ...] = (
    Numbering(OURS, "1 = L5-S1 upwards", LEVEL_OF_LABEL,
              {above: bone for above, bone in zip(VERTEBRA_ABOVE_DISC.values(), _FROM_L5, strict=True)} | {10: SACRUM},
              frozenset(TISSUE_OF_LABEL) | _numbers((FIRST_UNNAMED_LABEL, FIRST_UNNAMED_LABEL + 49)),
              canal=frozenset({CANAL_LABEL})),
    Numbering("totalspineseg", "step2_output", {100: "L5-S1", **_down(95, _DISCS[1:6]), 82: "T11-T12"},
              {31: "T11", 32: "T12", **_up(41, _FROM_L5[4::-1]), 50: SACRUM},
              _numbers((11, 17), (21, 30), (63, 67), (71, 81)), canal=frozenset({1, 2})),
    Numbering("totalspineseg", "earlier numbering: 202 = L5-S upwards", _up(202), {**_up(18, _FROM_L5), 92: SACRUM},
              _numbers((25, 41), (209, 224)), canal=frozenset({200, 201}), shared=True),
    Numbering("spineps", "seg-vert", _down(124), {**_down(24, _FROM_L5), 26: SACRUM},
              _numbers((1, 17), (101, 117), (126, 127), (201, 228), (301, 328)),
              {25: "a sixth lumbar vertebra", 125: "a disc below a sixth lumbar vertebra",
               28: "a thirteenth thoracic vertebra", 128: "a disc below a thirteenth thoracic vertebra"}),
    Numbering("spineps", "seg-spine", {}, {26: SACRUM}, _numbers((41, 74), (80, 80)), all_discs=100),
    Numbering("spider", "1 = L5, 201 = L5-S1 upwards", _up(201), _up(1, _FROM_L5),
              _numbers((8, 14), (101, 114), (208, 214)), canal=frozenset({100}), shared=True),
    Numbering("spider", "24 = L5, 224 = L5-S1, falling upwards", _down(224), _down(24, _FROM_L5),
              _numbers((1, 17), (101, 124), (201, 217)), canal=frozenset({100}), shared=True),
    Numbering("sct", "labelled discs: the number of the vertebra below", _down(25), {},
              _numbers((1, 18), (26, 26), (49, 50), (60, 60)), shared=True),
    Numbering("totalsegmentator", "total_mr", {}, {18: SACRUM}, _numbers((1, 17), (19, 19), (21, 50)), all_discs=20),
    Numbering("totalsegmentator", "vertebrae_body", {}, {}, frozenset({1}), all_discs=2, shared=True),
    Numbering("totalsegmentator", "vertebrae_mr", {}, {1: SACRUM, **_up(2, _FROM_L5)}, _numbers((9, 25))),
    Numbering("totalsegmentator", "total (CT)", {}, {25: SACRUM, 26: SACRUM, **_up(27, _FROM_L5)},
              _numbers((1, 24), (34, 117))),
    Numbering("mrspineseg", "1 = sacrum, 11 = L5-S1 upwards", _up(11), {1: SACRUM, **_up(2, _FROM_L5)},
              _numbers((9, 10), (18, 19)), shared=True),
    Numbering(BINARY, "all discs under one label, the lowest is L5-S1", {}, all_discs=1, shared=True),
)
NAMES: tuple[str, ...] = tuple(dict.fromkeys(n.name for n in NUMBERINGS))


def fitting(labels: Collection[int]) -> list[Numbering]:
    """Numberings in which every one of these labels has a meaning; `BINARY` only by its name."""
    return [n for n in NUMBERINGS if n.name != BINARY and n.covers(labels) and n.has_disc(labels)
            and not _twice(n, labels)]


def named(name: str) -> list[Numbering]:
    """The kinds of masks of one program."""
    return [n for n in NUMBERINGS if n.name == name]


def _twice(numbering: Numbering, labels: Collection[int]) -> bool:
    """SPIDER gives a vertebra n that is in view in part 100 + n instead of n: with both, it is another mask."""
    return numbering.name == "spider" and any(n in labels and n + 100 in labels for n in range(1, 25))


def check_labels(text: str, *, where: str) -> str:
    """A name out of `NAMES`, or pairs as in `levels.parse_levels`. Raises BedrestError: it is neither."""
    if "=" in text:
        parse_levels(text, where=where)
    elif text not in NAMES:
        raise BedrestError(f"one of {', '.join(NAMES)}, or pairs such as 51=L5-S1,102=L4-L5", repr(text), where,
                           did_you_mean(text.lower(), NAMES, "Choose one of them.", cutoff=0.4))
    return text
