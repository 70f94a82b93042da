"""A mask of any known numbering -> which label is which disc, and whether that can be.

The numbering is the one that was named, or the only one that fits the labels and the shapes. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from bedrest.anatomy.label_schemes import BINARY, OURS, SACRUM, Numbering, check_labels, fitting, named
from bedrest.anatomy.levels import parse_levels
from bedrest.errors import GeometryError, Problem
from bedrest.findings import Finding, FindingCode, findings_of_error
from bedrest.measurement.numbering.plausible import Contradiction, contradiction, doubts, pairs_of
from bedrest.measurement.numbering.stack import Body, Stack, bodies_of
from bedrest.types import LabelMap
from bedrest.vocabulary import FIRST_UNNAMED_LABEL, LABEL_OF_LEVEL, LEVEL_OF_LABEL, Status

ON_COMMAND_LINE = "--labels {}"
IN_STUDY = 'labels = "{}" under [images] in study.toml'
OF_REFERENCE_ON_COMMAND_LINE = "--reference-labels {}"
OF_REFERENCE_IN_STUDY = 'reference_labels = "{}" under [images] in study.toml'
_ABOVE_SACRUM_MM = 25.0  # from the sacrum's top to the middle of a disc: at most 15 to L5-S1, 35 and more to L4-L5
_SMALLEST_PIECE_MM3 = 300.0
_MOST_UNKNOWN = 60  # total_mr of TotalSegmentator has 50 numbers, of which one may be named by pairs


@dataclass(frozen=True, eq=False)
class NamedMask:
    """A mask whose discs are named.

    Attributes
    ----------
    levels : label to level; a label need not be in the mask
    known : other labels that mean something in the mask's numbering
    remarks : on the mask as a whole
    doubts : on single discs, by level
    problem : why it cannot be what it is taken for
    """

    mask: LabelMap
    levels: Mapping[int, str]
    known: frozenset[int] = frozenset()
    remarks: tuple[Finding, ...] = ()
    doubts: Mapping[str, list[Finding]] = field(default_factory=dict)
    problem: Problem | None = None

    def findings(self, level: str) -> tuple[Finding, ...]:
        """All remarks that concern a disc, the contradiction as a doubt."""
        against = () if self.problem is None else (
            replace(f, code=FindingCode.DOUBTFUL_INPUT) for f in findings_of_error(self.problem))
        return (*against, *self.remarks, *self.doubts.get(level, ()))

    def all_doubts(self) -> list[Finding]:
        """Every doubt about the mask or one of its discs, once."""
        every = dict.fromkeys((*self.remarks, *(f for of_disc in self.doubts.values() for f in of_disc)))
        return [f for f in every if f.status != Status.OK]

    def in_ours(self) -> LabelMap:
        """The mask with its discs numbered as in `vocabulary.LEVEL_OF_LABEL`; of another numbering, discs alone.

        Raises GeometryError: it cannot be what it is taken for.
        """
        if (p := self.problem) is not None:
            raise GeometryError(p.expected, p.actual, p.where, p.remedy)
        if dict(self.levels) == LEVEL_OF_LABEL:
            return self.mask
        data = np.zeros_like(self.mask.data)
        for label, level in self.levels.items():
            data[self.mask.data == label] = LABEL_OF_LEVEL[level]
        return LabelMap(data, self.mask.grid)


def name_discs(mask: LabelMap, labels: str | Mapping[int, str] | None = None, *, where: str,
               option: str = ON_COMMAND_LINE) -> NamedMask:
    """Name the discs of a mask.

    Raises BedrestError: `labels` is neither the name of a numbering nor pairs.

    Parameters
    ----------
    labels : name of a numbering, or label to level, also as text; None: as the mask itself shows
    where : the mask, for messages
    option : how `labels` is given, for messages, with {} for its value
    """
    bodies = bodies_of(mask)
    if isinstance(labels, str):
        labels = check_labels(labels, where=option.split(" ")[0])
        labels = parse_levels(labels) if "=" in labels else labels
    if isinstance(labels, str):
        kinds = named(labels)
        best = max(kinds, key=lambda n: (n.covers(bodies), n.has_disc(bodies), len(bodies.keys() & (
            n.discs.keys() | n.bones.keys()))))
        if best.name == BINARY and len(bodies) == 1:
            best = replace(best, all_discs=next(iter(bodies)))  # 255, or the number that the discs had among others
        return _read(mask, bodies, best, where, option)
    if labels is not None:
        return _checked(mask, bodies, Numbering("", "", labels), where, option)
    return _recognised(mask, bodies, where, option)


def _recognised(mask: LabelMap, bodies: Mapping[int, Body], where: str, option: str) -> NamedMask:
    """By the numbering that fits; where none does, by ours, with what speaks against it."""
    alone = Stack(mask, bodies, [])
    read = [(n, _read(mask, bodies, n, where, option)) for n in fitting(bodies)
            if not any(alone.is_flat(label) for label in n.canal & bodies.keys())]
    good = [(n, result) for n, result in read if result.problem is None]
    ways = {tuple(sorted((label, level) for label, level in result.levels.items() if (result.mask.data == label).any()))
            for _, result in good}
    if len(ways) > 1:
        names = ", ".join(f"{n.name} ({n.kind})" for n, _ in good)
        problem = Problem(where, "labels of one known numbering", f"labels that fit several: {names}",
                          f"Say which it is: {' or '.join(dict.fromkeys(option.format(n.name) for n, _ in good))}.")
        return NamedMask(mask, good[0][1].levels, problem=problem)
    if good:
        numbering, result = good[0]
        if numbering.name == OURS:
            return result
        code = FindingCode.NUMBERING_SHARED if numbering.shared else FindingCode.NUMBERING_TAKEN
        remark = Finding(code, {"numbering": numbering.name, "kind": numbering.kind})
        return NamedMask(result.mask, result.levels, result.known, (remark, *result.remarks), result.doubts)
    ours, *_ = named(OURS)
    certain = [result for n, result in read if not n.shared or not ours.has_disc(bodies)]
    return certain[0] if certain else _read(mask, bodies, ours, where, option)


def _read(mask: LabelMap, bodies: Mapping[int, Body], numbering: Numbering, where: str, option: str) -> NamedMask:
    if bodies and not numbering.has_disc(bodies):
        problem = _no_disc(mask, bodies, numbering, where, option)
        return NamedMask(mask, numbering.discs or LEVEL_OF_LABEL, problem=problem)
    if numbering.all_discs:
        return _split(mask, bodies, numbering, where, option)
    return _checked(mask, bodies, numbering, where, option)


def _checked(mask: LabelMap, bodies: Mapping[int, Body], numbering: Numbering, where: str, option: str) -> NamedMask:
    stack = Stack(mask, bodies, numbering.discs)
    known = numbering.others | numbering.canal | {*numbering.bones, *numbering.transitional}
    against = _too_many(bodies, known | {*numbering.discs}) or contradiction(stack, numbering.discs, numbering.bones)
    remarks = tuple(Finding(FindingCode.TRANSITIONAL_LABEL, {"label": label, "what": what})
                    for label, what in numbering.transitional.items() if label in bodies)
    return NamedMask(mask, numbering.discs, known, remarks, doubts(stack, numbering.discs) if against is None else {},
                     None if against is None else _problem(against, where, option))


def _too_many(bodies: Mapping[int, Body], known: Collection[int]) -> Contradiction | None:
    """More numbers without a meaning than a mask of any program has."""
    unknown = bodies.keys() - {*known}
    if len(unknown) <= _MOST_UNKNOWN:
        return None
    return Contradiction("a number for each structure", f"{len(unknown)} numbers that stand for none, such as "
                         f"{', '.join(map(str, sorted(unknown)[:3]))}", "Probabilities or intensities are no mask: "
                         "write a number above 0 where there is a disc. A mask is resampled with nearest neighbour.")


def _problem(against: Contradiction, where: str, option: str) -> Problem:
    return Problem(where, against.expected, against.actual,
                   against.remedy.replace("{option}", option.format(against.pairs)))


def _no_disc(mask: LabelMap, bodies: Mapping[int, Body], numbering: Numbering, where: str, option: str) -> Problem:
    """A mask without any label that is a disc in this numbering."""
    expected = (f"labels of {numbering.name}: " + ", ".join(f"{k} = {v}" for k, v in numbering.discs.items())
                if numbering.discs else f"a mask of {numbering.name} that holds discs")
    flat = Stack(mask, bodies, []).discs_among(bodies) if numbering.discs or numbering.all_discs else []
    others = dict.fromkeys(n.name for n in fitting(bodies) if _read(mask, bodies, n, where, option).problem is None)
    remedy = (f"Its labels are those of {' or '.join(others)}: {option.format(next(iter(others)))}." if others else
              f"If the lowest of the flat labels is L5-S1: {option.format(pairs_of(flat))}." if flat else
              f"If they are all discs and the lowest is L5-S1: {option.format(BINARY)}; otherwise give every disc a "
              "number." if len(bodies) == 1 else
              "There is no stack of flat labels in this mask: give the mask of the discs.")
    return Problem(where, expected, f"the labels {', '.join(map(str, sorted(bodies)))}", remedy)


def _split(mask: LabelMap, bodies: Mapping[int, Body], numbering: Numbering, where: str, option: str) -> NamedMask:
    """Discs under one label: named upwards from the sacrum, which tells that the lowest is L5-S1."""
    from scipy.ndimage import label as connected

    flat = Stack(mask, bodies, []).discs_among(bodies) if numbering.name == BINARY else []
    if len(flat) > 1:
        problem = Problem(where, "all discs under one label", f"discs under the labels {', '.join(map(str, flat))}",
                          f"Name them: if the lowest is L5-S1, {option.format(pairs_of(flat))}.")
        return NamedMask(mask, LEVEL_OF_LABEL, problem=problem)
    pieces, _ = connected(mask.data == numbering.all_discs, structure=np.ones((3, 3, 3)))
    parts = bodies_of(LabelMap(pieces.astype(np.int32), mask.grid))
    discs = sorted((p for p, b in parts.items() if b.volume_mm3 >= _SMALLEST_PIECE_MM3),
                   key=lambda p: parts[p].centre_mm[2])
    number = np.zeros(int(pieces.max()) + 1, np.int32)
    number[discs] = [i + 1 if i < len(LEVEL_OF_LABEL) else FIRST_UNNAMED_LABEL + i for i in range(len(discs))]
    split = LabelMap(number[pieces], mask.grid)
    result = _checked(split, bodies_of(split), Numbering(OURS, "", LEVEL_OF_LABEL), where, option)
    sacrum = [bodies[label] for label, bone in numbering.bones.items() if bone == SACRUM and label in bodies]
    lowest = parts[discs[0]].centre_mm[2] if discs else 0.0
    counted = numbering.name == BINARY or any(
        b.centre_mm[2] < lowest < _top_mm(mask, b.label) + _ABOVE_SACRUM_MM for b in sacrum)
    if result.problem is None and not counted:
        alone = "" if len(bodies) == 1 else "write the discs alone as 1 and "
        problem = Problem(where, "discs that can be told apart", f"all discs under label {numbering.all_discs}, and no "
                          "sacrum below the lowest from which they could be counted",
                          f"If the lowest is L5-S1, {alone}give {option.format(BINARY)}; otherwise give every disc a "
                          "number.")
        return NamedMask(split, LEVEL_OF_LABEL, problem=problem)
    known = result.known | frozenset(number.tolist())  # discs above T11-T12, and specks
    return NamedMask(split, LEVEL_OF_LABEL, known, result.remarks, result.doubts, result.problem)


def _top_mm(mask: LabelMap, label: int) -> float:
    ijk = np.argwhere(mask.data == label)
    affine = mask.grid.affine_ras_mm
    return float((ijk @ affine[2, :3] + affine[2, 3]).max())
