"""Discs that a stack of slices cuts off: only what all visits show is measured, and what is not is said. By hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from bedrest.anatomy.structures import Structure
from bedrest.findings import Finding, FindingCode
from bedrest.io.tables.finding_cells import findings_of
from bedrest.io.tables.frames import typed_frame
from bedrest.longitudinal.boxes import BOX, PreparedVisit, box_around, cropped, prepare_visit, visit_in_box
from bedrest.longitudinal.error_model import ErrorModel, ErrorPart, Errors
from bedrest.longitudinal.joint_volumes import joint_volumes
from bedrest.longitudinal.poses import pose_of
from bedrest.measurement.coverage import covered_share
from bedrest.measurement.discs import measure_discs
from bedrest.schemas import JOINT, MEASURES
from bedrest.segmentation.network import Architecture
from bedrest.segmentation.weights import Calibration, TrainedNetwork
from bedrest.tables.change import change_frame
from bedrest.tables.joint import with_errors, with_joint
from bedrest.tables.pairs import counted_alike
from bedrest.types import Grid, LabelMap, Scan, Volume
from bedrest.vocabulary import Contrast

SPACING = np.array([2.0, 1.25, 1.25])
HALF_MM = np.array([24.0, 17.0, 5.0])
WATER = frozenset([Contrast.WATER])


class Brightness(torch.nn.Module):
    """A network that takes for disc what is brighter than one half."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        disc = 20 * (image[:, :1] - 0.5)
        rest = torch.full_like(disc, -30.0)
        return torch.cat([torch.zeros_like(disc) if s == Structure.BACKGROUND else disc if s == Structure.DISC else rest
                          for s in Structure], dim=1)


def trained() -> TrainedNetwork:
    network = Brightness().eval()
    return TrainedNetwork(network, network, Architecture((1,)), Architecture((1,)), Calibration())


def stack(first_mm: float, slices: int, *, beyond: float | None = None, moved_mm: float = 0.0) -> PreparedVisit:
    """A box-shaped disc of 48 x 34 x 10 mm about 0, in a stack of slices from `first_mm` on, over textured bone.

    The disc's pose is that of what is in view. `beyond`: intensity of everything behind its last slice but one.
    """
    grid = Grid((slices, 72, 80), np.array([[2.0, 0, 0, first_mm], [0, 1.25, 0, -44], [0, 0, 1.25, -50], [0, 0, 0, 1]]))
    index = np.stack(np.indices(grid.shape), -1)
    points = index * SPACING + grid.affine_ras_mm[:3, 3] - [moved_mm, 0, 0]
    rim = np.clip((HALF_MM + SPACING / 2 - np.abs(points)) / SPACING, 0, 1)  # share of the voxel along each axis
    share = rim.prod(axis=-1).astype(np.float32)
    bone = 0.1 + 0.05 * np.sin(points[..., 0] / 5) * np.cos(points[..., 1] / 4) * np.sin(points[..., 2] / 3)
    image = np.zeros((len(Contrast), *grid.shape), np.float32)
    image[0] = np.maximum(share, np.where(share > 0, 0, bone))
    if beyond is not None:
        image[0, -1] = beyond
    return PreparedVisit(image, grid, WATER, {3: pose_of(share, grid.affine_ras_mm)})


def volumes(**visits: PreparedVisit) -> dict[str, tuple[float, float]]:
    return {v.session: (v.volume_mm3, v.covered) for v in joint_volumes(trained(), visits, 3, device="cpu")}


AREA = float(np.prod(2 * HALF_MM[1:]))


def test_what_lies_outside_an_image_is_no_tissue() -> None:
    visit = stack(-39, 26)  # to +12 mm: its last voxels are disc, and repeating them would go on as disc
    box = visit_in_box(visit, np.eye(4), box_around(np.zeros(3), np.eye(3)), WATER)
    x = (np.arange(BOX[0]) - (BOX[0] - 1) / 2) * 2
    assert np.array_equal(box.inside.any(axis=(1, 2)), (x >= -40) & (x <= 12))
    assert box.image[0][~box.inside].max() > 0.9  # padded with disc, and not counted:
    part = cropped(box.inside)
    assert part is not None and box.inside[part].all()
    assert cropped(np.zeros(BOX, bool)) is None


def test_outside_the_field_of_view_of_one_contrast_is_outside() -> None:
    grid = Grid((36, 64, 64), np.diag([*SPACING, 1.0]))
    data = Volume(np.ones(grid.shape, np.float32), grid)
    lost = np.zeros(grid.shape, bool)
    lost[:10] = True
    scan = Scan({Contrast.WATER: data, Contrast.FAT: data}, {Contrast.FAT: lost})
    visit = prepare_visit(scan, {})
    middle = box_around(np.array([35.0, 39.375, 39.375]), np.eye(3))
    both = visit_in_box(visit, np.eye(4), middle, frozenset([Contrast.WATER, Contrast.FAT])).inside
    assert both[10:].all() and not both[:10].any()
    assert visit_in_box(visit, np.eye(4), middle, WATER).inside.all()


def test_a_whole_disc_is_summed_whole() -> None:
    (one, covered), = volumes(a=stack(-39, 40)).values()
    assert one == pytest.approx(48 * AREA, rel=0.06) and covered == 1


def test_a_cut_disc_is_measured_in_the_part_that_both_visits_show() -> None:
    # One stack ends at +17 mm, the other begins at -15 mm: 32 of 48 mm in both, whatever each shows beyond.
    left, right = stack(-39, 28), stack(-14, 28)
    found = volumes(a=left, b=right)
    assert found["a"][0] == pytest.approx(found["b"][0], rel=0.02)
    assert found["a"][0] == pytest.approx(32 * AREA, rel=0.08)
    back = volumes(b=right, a=left)
    assert back["a"][0] == pytest.approx(found["a"][0], rel=1e-6)  # no visit is the template
    assert back["b"][0] == pytest.approx(found["b"][0], rel=1e-6)


def test_two_narrow_stacks_three_millimetres_apart_show_no_change() -> None:
    first, again = stack(-19, 20), stack(-16, 20)
    found = volumes(a=first, b=again)
    assert found["b"][0] / found["a"][0] == pytest.approx(1, abs=0.015)
    # The disc moved by 3 mm under the same slices: by its moments in view it did not move at all.
    moved = volumes(a=first, b=stack(-19, 20, moved_mm=3))
    assert moved["b"][0] / moved["a"][0] == pytest.approx(1, abs=0.015)


@pytest.mark.parametrize("moved_mm", [0.0, 1.0])
def test_bright_tissue_in_the_last_slice_adds_itself_and_no_more(moved_mm: float) -> None:
    # The last slice of 2 mm is as bright as a disc all over the box's 80 x 80 mm: repeated outwards, 24 mm of it.
    plain, bright = (volumes(a=stack(-39, 26, beyond=b, moved_mm=moved_mm))["a"][0] for b in (None, 1.0))
    assert plain <= bright <= plain + 2 * 80 * 80 * 1.5  # interpolation spreads it to half a slice more


# How much of a disc is in view


def sections(half_mm: float, first_mm: float, last_mm: float, step_mm: float) -> np.ndarray:
    """Areas of an elliptic cylinder's sections: what a disc seen from above is closest to."""
    x = np.arange(first_mm, last_mm + 1e-9, step_mm)
    return np.sqrt(np.clip(1 - (x / half_mm) ** 2, 0, None))


@pytest.mark.parametrize("half_mm", [20.0, 25.0])
@pytest.mark.parametrize("end", [0.9, 0.7, 0.4])
def test_the_share_in_view_is_near_that_of_an_ellipse(half_mm: float, end: float) -> None:
    u = end
    true = 0.5 + (u * math.sqrt(1 - u * u) + math.asin(u)) / math.pi
    found = covered_share(sections(half_mm, -half_mm, end * half_mm, 1.0), 1.0)
    assert found == pytest.approx(true, abs=0.08)


def test_a_disc_that_ends_in_view_is_whole_and_nothing_is_nothing() -> None:
    assert covered_share(sections(24, -24, 24, 2), 2) == 1
    assert covered_share([], 2) == 0 and covered_share([0, 0], 2) == 0


def cut_mask(first: int) -> LabelMap:
    x, y, z = np.meshgrid(*(np.arange(n) for n in (30, 50, 20)), indexing="ij")
    inside = (((x * 2 - first) / 24) ** 2 + ((y - 25) / 17) ** 2 <= 1) & (np.abs(z - 10) <= 4)
    return LabelMap(np.where(inside, 2, 0).astype(np.int32), Grid((30, 50, 20), np.diag([2.0, 1, 1, 1])))


def test_one_mask_says_how_much_of_a_disc_it_shows() -> None:
    whole, = measure_discs(cut_mask(30), {2: "L4-L5"}, {})
    assert (whole["covered_percent"], whole.findings) == (100, ())
    cut, = measure_discs(cut_mask(12), {2: "L4-L5"}, {})  # 36 of 48 mm in view, 80 % of an ellipse
    assert [f.code for f in cut.findings] == [FindingCode.CUT_AT_SIDE]
    assert cut["covered_percent"] == pytest.approx(80.4, abs=6)
    assert cut["height_mean_mm"] == pytest.approx(whole["height_mean_mm"], rel=0.02)
    assert cut["area_midsagittal_mm2"] == pytest.approx(whole["area_midsagittal_mm2"], rel=0.05)


# Tables

CUT = Finding(FindingCode.CUT_AT_SIDE)


def measured(session: str, volume: float, *findings: Finding, method: str = "single") -> dict:
    return {"subject": "s1", "group": "g", "session": session, "study_day": 1.0, "phase": "baseline", "level": "L4-L5",
            "source": "automatic", "mask_origin": "automatic", "volume_mm3": volume, "volume_single_mm3": volume,
            "volume_method": method, "covered_percent": 90.0, "status": "flagged" if findings else "ok",
            "findings": findings}


def joined(session: str, volume: float, covered: float, shifts_sd: float = 0.5) -> dict:
    return {"subject": "s1", "session": session, "level": "L4-L5", "contrasts": "water", "grid_shifts": 4,
            "volume_mm3": volume, "volume_method": "joint", "volume_single_mm3": 1.0,
            "grid_shifts_sd_percent": shifts_sd,
            "covered_percent": covered, "boundary_uncertainty": 0.1}


def both(*joint: dict, cut: tuple[bool, bool] = (True, False)) -> pd.DataFrame:
    rows = [measured(s, v, *[CUT] * c) for s, v, c in zip(("ses-1", "ses-2"), (1000.0, 1200.0), cut, strict=True)]
    return with_joint(typed_frame(rows, MEASURES), typed_frame(joint, JOINT))


def codes_of(frame: pd.DataFrame) -> list[list[str]]:
    return [[f.code.value for f in listed] for listed in findings_of(frame)]


def change_of(frame: pd.DataFrame) -> pd.Series:
    return change_frame(frame, reference_session="ses-1").iloc[0]


def test_the_common_part_is_named_at_both_visits_and_has_a_change() -> None:
    found = both(joined("ses-1", 900, 81.0), joined("ses-2", 918, 81.0))
    assert codes_of(found) == [["common_part"], ["common_part"]]
    assert found["covered_percent"].tolist() == [81, 81] and found["volume_method"].tolist() == ["joint", "joint"]
    change = change_of(found)
    assert (change["status"], change["change_percent"]) == ("flagged", pytest.approx(2))
    assert "about 81 % of the disc" in change["reason"]


def test_too_small_a_common_part_gives_no_change_and_says_why() -> None:
    found = both(joined("ses-1", 500, 50.0), joined("ses-2", 600, 50.0))
    assert found["volume_method"].tolist() == ["single", "single"] and codes_of(found) == [["cut_at_side"], []]
    change = change_of(found)
    assert change["status"] == "failed" and math.isnan(change["change_percent"])
    assert "slices of ses-1 end inside the disc" in change["reason"]
    assert counted_alike(found)["volume_mm3"].isna().tolist() == [True, False]  # and none in models
    alone = typed_frame([measured("ses-1", 1000.0, CUT)], MEASURES)
    assert counted_alike(alone)["volume_mm3"].tolist() == [1000]


def test_a_disc_that_only_touches_the_edge_and_is_whole_is_ok() -> None:
    found = both(joined("ses-1", 1000, 100.0), joined("ses-2", 1010, 100.0))
    assert codes_of(found) == [[], []] and found["status"].tolist() == ["ok", "ok"]


def test_segmentations_that_disagree_widen_the_interval_and_then_end_it() -> None:
    model = ErrorModel("x", {"water": {"joint": Errors(ErrorPart(0.03), ErrorPart(0.006), 9, usual_shifts_sd=0.006)}})
    records = pd.DataFrame({"session": ["ses-1", "ses-2"], "contrasts": "water"})

    def sds(shifts_sd: float) -> list[float]:
        joint = typed_frame([joined("ses-1", 1000, 100.0), joined("ses-2", 1000, 100.0, shifts_sd)], JOINT)
        rows = typed_frame([measured("ses-1", 1.0), measured("ses-2", 1.0)], MEASURES)
        return with_errors(with_joint(rows, joint), joint, records, model)["volume_repeat_sd_mm3"].tolist()

    assert sds(0.6) == pytest.approx([6, 6])  # as much as usual adds nothing
    assert sds(1.0) == pytest.approx([6, 10])  # 0.6^2 + (1^2 - 0.6^2) = 1^2
    found = both(joined("ses-1", 1000, 100.0), joined("ses-2", 1000, 100.0, 14.0), cut=(False, False))
    assert codes_of(found) == [[], ["grid_shifts_disagree"]]
    change = change_of(found)
    assert change["status"] == "failed" and "at ses-2 it depends on how the grid lies" in change["reason"]


# Real scans


@pytest.mark.slow
def test_real_repeats_in_narrow_stacks_are_never_confidently_wrong(real_data) -> None:
    from bedrest.io.files import sha256_of
    from bedrest.io.images.nifti import read_scan
    from bedrest.longitudinal.error_model import load_errors
    from bedrest.segmentation.weights import SHIPPED, load_weights

    from pipelines.benchmarks.real_repeats import change_of

    folder = real_data / "lumbar-t1-repeat-siegen"
    if not folder.is_dir():
        pytest.skip(f"no scans at {folder}")
    scans = {n: read_scan({Contrast.IN_PHASE: folder / f"{n}_t1.nii.gz"}, where=n) for n in ("AKs6", "AKs8")}
    found = change_of(load_weights(), scans, load_errors(SHIPPED, sha256=sha256_of(SHIPPED)))
    given = found[found["change_percent"].notna()]
    assert found.loc[found["change_percent"].isna(), "reason"].str.len().min() > 0 or len(given) == len(found)
    wrong = (given["ci_low_percent"] > 0) | (given["ci_high_percent"] < 0)
    assert wrong.sum() <= 1  # of seven discs; 6 of 7 before only the common part was measured


def test_real_whole_discs_are_not_one_sided(real_data) -> None:
    """The limits were set on these masks: this holds them there, and judges nothing."""
    from bedrest.imaging.crop import crop_grid
    from bedrest.io.images.masks import read_label_map
    from bedrest.measurement.definition import DiscMeasure, DiscPosition
    from bedrest.measurement.geometry import bounding_box, centre_of_mass_mm
    from bedrest.measurement.quality import check_symmetry

    masks = sorted((real_data / "spider-disc-masks").glob("*.mha"))[::6]
    if not masks:
        pytest.skip(f"no masks in {real_data / 'spider-disc-masks'}")
    for path in masks:
        mask = read_label_map(path, where=path.name)
        whole = np.where((mask.data > 200) & (mask.data < 300), mask.data, 0).astype(np.int32)
        around = bounding_box(whole > 0)
        discs = LabelMap(whole[around], crop_grid(mask.grid, around))
        measures = []
        for label in np.unique(discs.data)[1:].tolist():
            box = bounding_box(discs.data == label)
            centre = centre_of_mass_mm((discs.data == label)[box], box, discs.grid.affine_ras_mm)
            measures.append(DiscMeasure(str(label), label, position=DiscPosition(tuple(centre))))
        assert check_symmetry(measures, discs) == {}, path.name
