"""Names discs by anatomy: from the sacrum up.

The network says what is disc, vertebra and sacrum; this module finds the separate discs, the one that lies between a
vertebra and the sacrum (L5-S1), and counts upwards, leaving a gap where a disc is missing. Without a sacrum in view
discs stay unnamed and say so. Knows nothing of intensities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analysis.phantom.tissues import Structure
from analysis.types import DiscFinding, Grid
from analysis.vocabulary import FIRST_UNNAMED_LABEL, LEVEL_OF_LABEL, Status

SMALLEST_DISC_MM3 = 400.0
MERGE_MM = 9.0  # fragments whose centres lie closer along the body axis are one disc; neighbours are 20 mm apart
ANCHOR_SHARE = 0.45  # regions this large beside the five largest are discs for certain and show where the column runs
OFF_COLUMN_MM = 15.0  # smaller regions farther from that line are facet joints, bowel or muscle
MISSING_GAP = 1.55  # a gap this many times the usual one hides a disc
LOW_PROBABILITY = 0.80
MAX_GAP_MM = 75.0

Labels = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class NamedDiscs:
    """Discs on the working grid.

    Attributes
    ----------
    labels : int32, (I, J, K)
        1 = L5-S1 ... 7 = T11-T12; 101, 102, ... unnamed, from the bottom up.
    findings : tuple of DiscFinding
    warnings : tuple of str
    """

    labels: Labels
    findings: tuple[DiscFinding, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Candidate:
    number: int  # in the component map
    centre_mm: NDArray[np.float64]
    on_vertebra: float  # share of the shell that is vertebra
    on_sacrum: float


def name_discs(probabilities: NDArray[np.float32], grid: Grid) -> NamedDiscs:
    """Find and name the discs.

    Parameters
    ----------
    probabilities : float32, (5, I, J, K), axes right, front, head
    grid : Grid
    """
    structure = probabilities.argmax(axis=0).astype(np.uint8)
    disc = probabilities[Structure.DISC]
    components, candidates = _find_candidates(disc, structure, grid)
    discs = [c for c in candidates if c.on_vertebra >= 0.08]
    warnings = []
    if len(discs) < len(candidates):
        warnings.append(f"{len(candidates) - len(discs)} disc-like region(s) without a vertebra beside them left out")
    if not discs:
        return _nothing(grid, tuple(warnings))
    start = _lumbosacral(discs)
    if start is None:
        return _unnamed(components, disc, discs, tuple(warnings))
    return _named(components, disc, discs[start:], tuple(warnings))


def _find_candidates(disc: NDArray[np.float32], structure: NDArray[np.uint8],
                     grid: Grid) -> tuple[Labels, list[_Candidate]]:
    """Separate disc regions from the bottom up, fragments of one disc joined, with what they lie on."""
    components, n = ndimage.label((disc >= 0.5) & _column(structure), structure=np.ones((3, 3, 3)))
    components = components.astype(np.int32)
    if n == 0:
        return components, []
    sizes = np.bincount(components.ravel()) * grid.voxel_volume_mm3
    large = [i for i in range(1, n + 1) if sizes[i] >= SMALLEST_DISC_MM3]
    centres = ndimage.center_of_mass(components > 0, components, large) if large else []
    world_of = {i: (grid.affine_ras_mm @ np.append(c, 1))[:3] for i, c in zip(large, centres, strict=True)}
    keep = _on_the_column(large, world_of, sizes)
    world = [world_of[i] for i in keep]
    order = sorted(range(len(keep)), key=lambda i: world[i][2])
    numbering = np.zeros(n + 1, dtype=np.int32)
    groups: list[list[int]] = []
    for i in order:
        if groups and world[i][2] - world[groups[-1][-1]][2] < MERGE_MM:
            groups[-1].append(i)
        else:
            groups.append([i])
    for number, members in enumerate(groups, start=1):
        numbering[[keep[i] for i in members]] = number
    components = numbering[components]
    boxes = ndimage.find_objects(components)
    return components, [_describe(components, structure, grid, number, boxes[number - 1])
                        for number in range(1, len(groups) + 1)]


def _column(structure: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The largest connected mass of disc, vertebra and sacrum: bowel that looks like a disc lies apart from it."""
    bones = np.isin(structure, (Structure.DISC, Structure.VERTEBRA, Structure.SACRUM))
    # Widened by three voxels first, so that one missed disc does not cut the column in two.
    masses, n = ndimage.label(ndimage.binary_dilation(bones, iterations=3))
    if n == 0:
        return bones
    return masses == np.bincount(masses[bones]).argmax()


def _on_the_column(regions: list[int], centre_mm: dict[int, NDArray[np.float64]],
                   sizes: NDArray[np.floating]) -> list[int]:
    """Regions that lie on the line through the large ones, seen from above."""
    if not regions:
        return []
    usual = float(np.median(sorted((sizes[i] for i in regions), reverse=True)[:5]))
    anchors = sorted((i for i in regions if sizes[i] >= ANCHOR_SHARE * usual), key=lambda i: centre_mm[i][2])
    line = np.array([centre_mm[i] for i in anchors])

    def off_mm(i: int) -> float:
        x, y, z = centre_mm[i]
        return float(np.hypot(x - np.interp(z, line[:, 2], line[:, 0]), y - np.interp(z, line[:, 2], line[:, 1])))

    return [i for i in regions if i in anchors or off_mm(i) <= OFF_COLUMN_MM]


def _describe(components: Labels, structure: NDArray[np.uint8], grid: Grid, number: int,
              box: tuple[slice, ...]) -> _Candidate:
    wide = tuple(slice(max(s.start - 4, 0), s.stop + 4) for s in box)
    mine = components[wide] == number
    shell = ndimage.binary_dilation(mine, iterations=2) & ~mine
    around = structure[wide][shell]
    centre = ndimage.center_of_mass(mine) + np.array([s.start for s in wide])
    return _Candidate(number, (grid.affine_ras_mm @ np.append(centre, 1))[:3],
                      float((around == Structure.VERTEBRA).mean()), float((around == Structure.SACRUM).mean()))


def _lumbosacral(discs: list[_Candidate]) -> int | None:
    """Index of the disc between a vertebra and the sacrum; the topmost where several qualify."""
    between = [i for i, d in enumerate(discs) if d.on_sacrum >= 0.08]
    return between[-1] if between else None


def _nothing(grid: Grid, warnings: tuple[str, ...]) -> NamedDiscs:
    reason = "no disc found in this scan: expected discs between lumbar vertebrae; check field of view and contrast"
    findings = tuple(DiscFinding(k, level, Status.FAILED, reason, float("nan")) for k, level in LEVEL_OF_LABEL.items())
    return NamedDiscs(np.zeros(grid.shape, np.int32), findings, warnings)


def _unnamed(components: Labels, disc: NDArray[np.float32], discs: list[_Candidate],
             warnings: tuple[str, ...]) -> NamedDiscs:
    labels = np.zeros_like(components)
    reason = "level not told: the sacrum is not in view, so levels cannot be counted"
    findings = [DiscFinding(k, level, Status.FAILED, reason, float("nan")) for k, level in LEVEL_OF_LABEL.items()]
    for i, d in enumerate(discs):
        mine = components == d.number
        labels[mine] = FIRST_UNNAMED_LABEL + i
        findings.append(DiscFinding(FIRST_UNNAMED_LABEL + i, f"unnamed-{i + 1}", Status.FLAGGED, reason,
                                    float(disc[mine].mean())))
    return NamedDiscs(labels, tuple(findings), (*warnings, reason))


def _named(components: Labels, disc: NDArray[np.float32], discs: list[_Candidate],
           warnings: tuple[str, ...]) -> NamedDiscs:
    centres = np.array([d.centre_mm for d in discs])
    gaps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    usual = float(np.median(gaps)) if gaps.size else 0.0
    label, label_of = 1, {discs[0].number: 1}
    for d, gap in zip(discs[1:], gaps, strict=True):
        if gap > MAX_GAP_MM:
            warnings = (*warnings, f"discs more than {gap:.0f} mm above the next lower one left out")
            break
        label += 2 if gap > MISSING_GAP * usual else 1
        label_of[d.number] = label
    number_of = {k: n for n, k in label_of.items()}
    labels, findings = np.zeros_like(components), []
    for k, level in LEVEL_OF_LABEL.items():
        if k not in number_of:
            findings.append(DiscFinding(k, level, Status.FAILED, _why_missing(k, max(number_of)), float("nan")))
            continue
        mine = components == number_of[k]
        labels[mine] = k
        mean = float(disc[mine].mean())
        low = mean < LOW_PROBABILITY
        reason = f"low confidence: mean probability {mean:.2f}, expected at least {LOW_PROBABILITY}" if low else ""
        findings.append(DiscFinding(k, level, Status.FLAGGED if low else Status.OK, reason, mean))
    return NamedDiscs(labels, tuple(findings), warnings)


def _why_missing(label: int, highest: int) -> str:
    if label > highest:
        return "not found: no disc seen at this height; it may lie outside the field of view"
    return "not found: a gap between its neighbours shows where it should be"
