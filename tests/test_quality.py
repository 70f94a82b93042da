"""Each doubt is raised by a made case and by no healthy phantom."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bedrest.anatomy.levels import parse_levels
from bedrest.findings import Finding, FindingCode, render
from bedrest.io.tables.frames import validated
from bedrest.measurement.definition import DiscMeasure, DiscPosition
from bedrest.measurement.discs import measure_discs
from bedrest.measurement.quality import (
    TYPICAL_VOLUME,
    check_spine,
    check_symmetry,
    checked,
    column_curve,
    right_share,
)
from bedrest.phantom.paint import paint_levels
from bedrest.phantom.random_spine import draw_spine
from bedrest.phantom.variation import draw_varied_spine
from bedrest.schemas import CHANGE
from bedrest.tables.change import change_frame
from bedrest.tables.failures import failures_frame
from bedrest.tables.measures import VisitKey, measures_frame
from bedrest.types import Grid, LabelMap
from bedrest.vocabulary import LEVEL_OF_LABEL, LEVELS, Contrast
from scipy.spatial.transform import Rotation
from sentences import codes

SHAPE, SPACING_MM = (44, 30, 126), (2.0, 2.0, 2.0)
W, F, T2 = Contrast.WATER, Contrast.FAT, Contrast.T2
EDGE, LOST = Finding(FindingCode.AT_IMAGE_EDGE), Finding(FindingCode.DISC_IN_GAP)
CLOSE = 36.0  # mm from disc to disc of the made spines


def block_discs(n: int = 7, *, bend_mm: float = 0.0) -> LabelMap:
    """Discs of 48 x 36 x 8 mm, thoracic ones of 4 mm, on top of each other, on a sideways arc of `bend_mm`."""
    data = np.zeros(SHAPE, np.int32)
    for label in range(1, n + 1):
        middle = 21 + round(bend_mm / 2 * math.sin(math.pi * (label - 1) / 6))
        data[middle - 11 : middle + 13, 5:23, 18 * label - 14 : 18 * label - (12 if label > 5 else 10)] = label
    return LabelMap(data, Grid(SHAPE, np.diag([*SPACING_MM, 1.0])))


def symmetry(discs: LabelMap) -> dict[str, list[Finding]]:
    return check_symmetry(measure_discs(discs, LEVEL_OF_LABEL, {}), discs)


@pytest.mark.parametrize("bend_mm", [0, 8])
def test_a_disc_that_lost_a_side_is_flagged_alone(bend_mm: float) -> None:
    assert symmetry(block_discs(bend_mm=bend_mm)) == {}
    # The midline of the first and last disc is extrapolated: of those, half must be missing.
    for label, lost, right, limits in ((1, 12, 100, "15 to 85"), (3, 8, 75, "35 to 65"), (7, 12, 100, "15 to 85")):
        discs = block_discs(bend_mm=bend_mm)
        x = np.flatnonzero((discs.data == label).any(axis=(1, 2)))
        discs.data[x[0] : x[lost]][discs.data[x[0] : x[lost]] == label] = 0  # of 24 columns
        found = symmetry(discs)
        assert list(found) == [LEVEL_OF_LABEL[label]]
        doubt, = found[LEVEL_OF_LABEL[label]]
        assert doubt.code == FindingCode.ONE_SIDED and f"outside {limits} %" in render(doubt)
        assert doubt.values["right_percent"] == pytest.approx(right, abs=5)


def test_the_share_is_exact_between_voxels_and_in_any_frame() -> None:
    discs = block_discs()
    column = np.array([0.0, 0.0, 43.5])  # discs reach from 19 to 67 mm
    assert right_share(discs, 3, column) == pytest.approx((67 - 43.5) / 48)
    affine = discs.grid.affine_ras_mm[:, [2, 0, 1, 3]].copy()
    turned = LabelMap(np.ascontiguousarray(discs.data.transpose(2, 0, 1)), Grid((126, 44, 30), affine))
    assert right_share(turned, 3, column) == pytest.approx((67 - 43.5) / 48)
    mirror = affine.copy()
    mirror[0, 1], mirror[0, 3] = -mirror[0, 1], mirror[0, 1] * 43
    flipped = LabelMap(np.ascontiguousarray(turned.data[:, ::-1]), Grid((126, 44, 30), mirror))
    assert right_share(flipped, 3, column) == pytest.approx((67 - 43.5) / 48)
    with pytest.raises(ValueError, match="label 9"):
        right_share(discs, 9, column)


def test_an_oblique_header_changes_no_verdict() -> None:
    discs = block_discs()
    discs.data[10:18][discs.data[10:18] == 4] = 0
    world = np.eye(4)
    world[:3, :3] = Rotation.from_euler("xyz", (20, 5, -8), degrees=True).as_matrix()
    oblique = LabelMap(discs.data, Grid(SHAPE, world @ discs.grid.affine_ras_mm))
    assert list(symmetry(oblique)) == list(symmetry(discs)) == ["L2-L3"]


def test_four_discs_say_nothing_of_the_midline() -> None:
    discs = block_discs(4)
    discs.data[10:18][discs.data[10:18] == 2] = 0
    assert symmetry(discs) == {}


def test_the_column_follows_an_arc_and_not_one_disc() -> None:
    z = np.arange(7) * CLOSE
    arc = 3 + 0.1 * z - 4e-4 * z**2
    centres = np.stack([arc, 0 * z, z], axis=1)
    centres[6, 0] += 12
    assert np.polyval(column_curve(centres), z) == pytest.approx(arc, abs=1e-6)


def spine_of(**changes: dict) -> list[DiscMeasure]:
    """Seven healthy discs with their signals, with `changes` by level, L5S1 for L5-S1."""
    out = []
    for label, level in LEVEL_OF_LABEL.items():
        healthy = {"volume_mm3": 9000 * TYPICAL_VOLUME[level], "volume_single_mm3": 9000 * TYPICAL_VOLUME[level],
                   "signal_water": 160.0, "signal_fat": 16.0, "signal_t2": 100.0, "signal_water_normalised": 1.6,
                   "signal_fat_normalised": 0.16, "signal_t2_normalised": 0.45, "fat_fraction": 0.09}
        change = dict(changes.get(level.replace("-", ""), {}))
        fields = {name: change.pop(name) for name in ("position", "findings") if name in change}
        disc = DiscMeasure(level, label, healthy | change, DiscPosition((0, 0, CLOSE * label)))
        out.append(replace(disc, **fields))
    return out


def test_a_healthy_and_a_worn_spine_raise_nothing() -> None:
    assert check_spine(spine_of()) == {}
    worn = {"volume_mm3": 9000 * 0.5, "signal_water": 120.0, "signal_t2": 35.0, "signal_t2_normalised": 0.15,
            "fat_fraction": 0.12}
    assert check_spine(spine_of(L3L4=worn)) == {}


def test_a_volume_out_of_line_is_flagged_with_number_and_limit() -> None:
    found = check_spine(spine_of(L1L2={"volume_mm3": 9000 * 0.69 * 2.4}))
    assert list(found) == ["L1-L2"]
    assert "volume 14904 mm3 is 2.40 times" in render(found["L1-L2"][0])
    assert list(check_spine(spine_of(L5S1={"volume_mm3": 9000 * 0.87 * 0.2}))) == ["L5-S1"]
    # T11-T12 is small by nature: a disc of L4-L5 with its volume is not.
    assert list(check_spine(spine_of(L4L5={"volume_mm3": 9000 * TYPICAL_VOLUME["T11-T12"] * 0.6}))) == ["L4-L5"]


def test_too_few_discs_to_compare_say_nothing() -> None:
    four = spine_of(L5S1={"volume_mm3": 500.0})[:4]
    assert list(check_spine(four)) == ["L5-S1"]
    assert check_spine(four[:3]) == {}
    lost = [four[0], *(replace(m, findings=(LOST,), values={}) for m in four[1:])]
    assert check_spine(lost) == {}


@pytest.mark.parametrize(("change", "words"), [
    ({"signal_water": 10.0}, "water signal is 0.06 of the other discs', below 0.15"),
    ({"signal_t2": 8.0}, "t2 signal is 0.08 of the other discs', below 0.15"),
    ({"signal_t2_normalised": 1.2}, "t2 signal is 1.20 of the spinal canal's, above 1.0"),
    ({"fat_fraction": 0.48}, "fat fraction 0.48 above 0.25"),
])
def test_an_impossible_signal_is_flagged(change: dict, words: str) -> None:
    found = check_spine(spine_of(L2L3=change))
    assert list(found) == ["L2-L3"]
    doubt, = found["L2-L3"]
    assert render(doubt).startswith(words)


def test_doubts_are_added_to_those_there_were() -> None:
    discs = block_discs()
    discs.data[10:18][discs.data[10:18] == 4] = 0
    measures = measure_discs(discs, LEVEL_OF_LABEL, {})
    measures[3] = replace(measures[3], findings=(EDGE,),
                          values={**measures[3].values, "fat_fraction": 0.4})
    measures[0] = DiscMeasure("L5-S1", 1, findings=(LOST,))
    found = checked(measures, discs)
    assert [m.status for m in found] == ["failed", "ok", "ok", "flagged", "ok", "ok", "ok"]
    assert found[0] == measures[0]
    assert codes(found[3].findings) == [FindingCode.AT_IMAGE_EDGE, FindingCode.FAT_FRACTION_HIGH, FindingCode.ONE_SIDED]


def grid_of(spacing_mm: tuple[float, float, float], extent_mm: tuple[float, float, float]) -> Grid:
    n = [round(e / s) for e, s in zip(extent_mm, spacing_mm, strict=True)]
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = -np.array(spacing_mm) * (np.array(n) - 1) / 2
    return Grid((n[0], n[1], n[2]), affine)


@pytest.mark.parametrize("spacing_mm", [(2.0, 1.25, 1.25), (4.4, 1.5, 1.5)])
def test_healthy_phantoms_raise_nothing(spacing_mm: tuple[float, float, float]) -> None:
    grid = grid_of(spacing_mm, (100, 150, 340))
    for seed in range(6):
        rng = np.random.default_rng([3, seed])
        discs = paint_levels(draw_spine(rng).posed(rng, shift_mm=2, rotation_deg=1), grid)
        found = checked(measure_discs(discs, LEVEL_OF_LABEL, {}), discs)
        assert [m.findings for m in found] == [()] * 7


def test_scoliotic_and_worn_phantoms_raise_nothing() -> None:
    grid = grid_of((2.0, 1.25, 1.25), (120, 180, 360))
    for seed in range(6):
        rng = np.random.default_rng([4, seed])
        spine = draw_varied_spine(rng)
        if len({d.name for d in spine.discs}) != 13:  # one vertebra more or fewer: the names are wrong
            continue
        spine = replace(spine, scoliosis_mm=15.0 * (-1) ** seed)
        discs = paint_levels(spine, grid)
        found = measure_discs(discs, LEVEL_OF_LABEL, {})
        assert check_symmetry(found, discs) == {} and check_spine(found) == {}


def test_real_volumes_are_in_line(real_data: Path) -> None:
    folder = real_data / "lumbar-disc-masks-fmrp"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    levels = {v.replace("-", ""): v for v in parse_levels("1=L5-S1,2=L4-L5,3=L3-L4,4=L2-L3,5=L1-L2").values()}
    published = pd.read_csv(folder / "volumes_cm3.csv").set_index("exam")
    assert len(published) == 41
    for exam, row in published.iterrows():
        spine = [DiscMeasure(level, 0, {"volume_mm3": 1000 * float(row[name])}) for name, level in levels.items()]
        assert check_spine(spine) == {}, exam


# Change between visits


def visit(measures: list[DiscMeasure], session: str, *, day: float) -> pd.DataFrame:
    return measures_frame(measures, visit=VisitKey("01", "g", session, day, "bed_rest"), source="automatic")


def change_of(before: list[DiscMeasure], after: list[DiscMeasure]) -> pd.DataFrame:
    both = pd.concat([visit(before, "ses-1", day=-1), visit(after, "ses-2", day=20)])
    found = change_frame(both, reference_session="ses-1")
    validated(found, CHANGE)
    return found.set_index("level")


@pytest.mark.parametrize(("factor", "flagged"), [(1.11, False), (1.24, False), (0.76, False), (1.26, True),
                                                 (0.74, True)])
def test_a_change_beyond_anything_published_is_flagged(factor: float, flagged: bool) -> None:
    volume = 9000 * TYPICAL_VOLUME["L3-L4"] * factor
    found = change_of(spine_of(), spine_of(L3L4={"volume_mm3": volume}))
    row = found.loc["L3-L4"]
    assert row["change_percent"] == pytest.approx(100 * (factor - 1))  # the number stays
    assert row["status"] == ("flagged" if flagged else "ok")
    assert row["reason"] == (f"change {100 * (factor - 1):+.1f} % outside -25 to +25" if flagged else "")
    assert (found.drop("L3-L4")["status"] == "ok").all()


def test_discs_that_drew_apart_are_flagged_on_both_sides_of_the_gap() -> None:
    above = {m.level.replace("-", ""): {"position": DiscPosition((0, 0, m.position.centre_mm[2] + 9))}
             for m in spine_of() if m.label >= 4}
    found = change_of(spine_of(), spine_of(**above))
    assert found.index[found["status"] == "flagged"].tolist() == ["L3-L4", "L2-L3"]
    said = "distance to L2-L3 45.0 mm, at ses-1 36.0: differs by more than 8, possibly renamed"
    assert found.loc["L3-L4", "reason"] == said
    assert found.loc["L2-L3", "reason"].startswith("distance to L3-L4 45.0 mm")


def test_lying_elsewhere_or_an_unknown_position_is_no_doubt() -> None:
    turn = Rotation.from_euler("xyz", (10, -5, 20), degrees=True)
    moved = [replace(m, position=DiscPosition(tuple(turn.apply(m.position.centre_mm) + 30))) for m in spine_of()]
    assert (change_of(spine_of(), moved)["status"] == "ok").all()
    unknown = [replace(m, position=DiscPosition()) for m in spine_of()]
    assert (change_of(spine_of(), unknown)["status"] == "ok").all()


def test_a_failed_side_stays_failed_and_earlier_doubts_stay() -> None:
    lost = {"findings": (LOST,), "volume_mm3": math.nan}
    edge = {"findings": (EDGE,), "volume_mm3": 20_000.0}
    found = change_of(spine_of(), spine_of(L3L4=lost, L1L2=edge))
    assert (found.loc["L3-L4", "status"], found.loc["L3-L4", "reason"]) == ("failed", f"ses-2: {render(LOST)}")
    assert math.isnan(found.loc["L3-L4", "change_percent"])
    assert found.loc["L1-L2", "reason"].startswith(f"ses-2: {render(EDGE)}; change +222.1 %")
    unusable = change_of(spine_of(), spine_of(L3L4={"volume_mm3": math.nan, "position": DiscPosition((0, 0, 0))}))
    assert unusable.loc["L3-L4", "status"] == "failed"  # although it moved too
    assert unusable.loc["L4-L5", "status"] == "flagged"


def test_a_doubtful_change_is_among_the_failures() -> None:
    both = [visit(spine_of(), "ses-1", day=-1), visit(spine_of(L3L4={"volume_mm3": 4000.0}), "ses-2", day=20)]
    measures = pd.concat(both)
    listed = failures_frame(measures=measures, change=change_frame(measures, reference_session="ses-1"))
    assert listed[["stage", "session", "level", "status"]].to_numpy().tolist() == [
        ["change", "ses-2", "L3-L4", "flagged"]]
    assert "change -55.6 %" in listed["reason"].iloc[0]


def test_typical_volumes_are_those_of_the_phantoms_anatomy() -> None:
    sizes = [draw_spine(np.random.default_rng([9, n])).volumes_mm3() for n in range(40)]
    share = {level: np.median([s[level] / s["L3-L4"] for s in sizes]) for level in LEVELS}
    assert share == pytest.approx(TYPICAL_VOLUME, abs=0.06)
