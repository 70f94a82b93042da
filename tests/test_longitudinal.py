"""All visits of a subject as one problem: poses, names that agree, volumes measured alike. No trained network here."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from bedrest.anatomy.structures import Structure
from bedrest.findings import Finding, FindingCode
from bedrest.io.images.masks import write_label_map, write_volume
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import typed_frame
from bedrest.io.tables.typed_csv import write_table
from bedrest.longitudinal import joint_volumes as joint
from bedrest.longitudinal.boxes import PreparedVisit
from bedrest.longitudinal.error_model import ErrorModel, ErrorPart, Errors
from bedrest.longitudinal.joint_volumes import joint_volumes, poses_of
from bedrest.longitudinal.level_matching import PlacedDisc, level_shift, match_levels
from bedrest.longitudinal.poses import Pose, mean_pose, pose_of, rigid, rotation_deg
from bedrest.phantom.paint import paint_levels
from bedrest.phantom.random_spine import Spine, draw_spine
from bedrest.schemas import (
    EDITED_MASKS,
    FINDINGS,
    JOINT,
    LEVEL_NAMES,
    MATCHES,
    MEASURES,
    SCAN_RECORDS,
    SCANS,
    SESSIONS,
    SUBJECTS,
    Table,
)
from bedrest.segmentation.network import Architecture
from bedrest.segmentation.weights import Calibration, TrainedNetwork
from bedrest.settings import Study
from bedrest.stages import joint_volumes as joint_volumes_stage
from bedrest.stages import measure as measure_stage
from bedrest.stages.stage import Job
from bedrest.types import Grid, LabelMap, Volume
from bedrest.vocabulary import EXCLUDE, LEVEL_OF_LABEL, LEVELS, Contrast
from scipy.spatial.transform import Rotation

WORKING = Grid((40, 72, 80), np.array([[2.0, 0, 0, -39], [0, 1.25, 0, -44], [0, 0, 1.25, -50], [0, 0, 0, 1]]))
SEMI_MM = np.array([24.0, 17.0, 5.0])
ANALYTIC_MM3 = 4 / 3 * math.pi * SEMI_MM.prod()


def ellipsoid(centre_mm, turn: Rotation, grid: Grid = WORKING, *, grown: float = 1.0) -> np.ndarray:
    """Share of each voxel inside a flat ellipsoid, from 4 x 4 x 4 places in it."""
    inside = np.zeros(grid.shape)
    places = (np.arange(4) + 0.5) / 4 - 0.5
    for part in np.stack(np.meshgrid(places, places, places), -1).reshape(-1, 3):
        index = np.stack(np.indices(grid.shape), -1) + part
        points = index @ grid.affine_ras_mm[:3, :3].T + grid.affine_ras_mm[:3, 3] - centre_mm
        inside += np.sum((points @ turn.as_matrix() / (SEMI_MM * [1, 1, grown])) ** 2, axis=-1) <= 1
    return inside / 64


# Poses


def test_a_pose_is_where_the_disc_is_and_how_it_is_turned() -> None:
    turn = Rotation.from_euler("xyz", [14, -6, 4], degrees=True)
    centre = np.array([1.3, -2.2, 3.7])
    pose = pose_of(ellipsoid(centre, turn), WORKING.affine_ras_mm)
    assert pose.centre_mm == pytest.approx(centre, abs=0.05)
    assert Rotation.from_matrix(pose.axes.T @ turn.as_matrix()).magnitude() < math.radians(0.5)


def test_no_visit_is_the_template() -> None:
    rng = np.random.default_rng(3)
    poses = [Pose(rng.normal(0, 5, 3), Rotation.from_rotvec(rng.normal(0, 0.1, 3)).as_matrix()) for _ in range(3)]
    forth, back = mean_pose(poses), mean_pose(poses[::-1])
    assert forth.centre_mm == pytest.approx(back.centre_mm) and forth.axes == pytest.approx(back.axes)
    two = mean_pose(poses[:2])
    turns = [rotation_deg(rigid(two, p)) for p in poses[:2]]
    assert turns[0] == pytest.approx(turns[1]) and turns[0] > 1


def test_a_rigid_motion_takes_one_pose_to_the_other() -> None:
    a = Pose(np.array([1.0, 2, 3]), Rotation.from_euler("z", 10, degrees=True).as_matrix())
    b = Pose(np.array([-4.0, 0, 9]), Rotation.from_euler("x", 25, degrees=True).as_matrix())
    motion = rigid(a, b)
    assert (motion @ np.append(a.centre_mm, 1))[:3] == pytest.approx(b.centre_mm)
    assert motion[:3, :3] @ a.axes == pytest.approx(b.axes)
    assert rotation_deg(rigid(a, a)) == pytest.approx(0, abs=1e-6)


def test_a_speck_has_a_place_and_no_direction() -> None:
    share = np.zeros(WORKING.shape)
    share[10, 20, 30] = 0.6
    pose = pose_of(share, WORKING.affine_ras_mm)
    assert pose.centre_mm == pytest.approx([2 * 10 - 39, 1.25 * 20 - 44, 1.25 * 30 - 50])
    assert np.array_equal(pose.axes, np.eye(3))


# Names


def discs_of(spine: Spine, rng: np.random.Generator, *, shift: int = 0, unnamed: bool = False, first: int = 0,
             last: int = 7, confidence: float = 0.9) -> list[PlacedDisc]:
    """The discs of a spine as a visit sees them: places off by 0.4 mm, directions by 1 degree, volumes by 1.5 %."""
    frames = {d.name: f for d, f in zip(spine.discs, spine.frames(), strict=True)}
    seen: list[PlacedDisc] = []
    for label, level in list(LEVEL_OF_LABEL.items())[first:last]:
        turn = Rotation.from_rotvec(np.deg2rad(rng.normal(0, 1, 3))).as_matrix()
        pose = Pose(frames[level].centre_mm + rng.normal(0, 0.4, 3), turn @ frames[level].axes)
        volume = spine.volumes_mm3()[level] * math.exp(rng.normal(0, 0.015))
        if unnamed:
            seen.append(PlacedDisc(101 + len(seen), f"unnamed-{len(seen) + 1}", math.nan, pose, volume))
        elif label + shift in LEVEL_OF_LABEL:
            seen.append(PlacedDisc(label + shift, LEVEL_OF_LABEL[label + shift], confidence, pose, volume))
    return seen


def person(seed: int) -> tuple[Spine, Spine, np.random.Generator]:
    """A spine, the same one swollen unevenly and lying otherwise, and a generator."""
    rng = np.random.default_rng([5, seed])
    spine = draw_spine(rng)
    later = spine.swollen({level: rng.normal(0.08, 0.03) for level in LEVELS}).posed(rng, shift_mm=4, rotation_deg=3)
    return spine, later, rng


@pytest.mark.parametrize(("first", "last"), [(0, 7), (0, 5), (2, 6)])
def test_discs_find_their_level_at_another_visit(first: int, last: int) -> None:
    found = []
    for seed in range(60):
        spine, later, rng = person(seed)
        found.append(level_shift(discs_of(spine, rng), discs_of(later, rng, unnamed=True, first=first, last=last)))
    assert found.count(first) >= 55
    assert found.count(first) + found.count(None) >= 59  # at most one of 60 wrong


def test_too_few_discs_find_nothing() -> None:
    spine, later, rng = person(1)
    assert level_shift(discs_of(spine, rng), discs_of(later, rng, unnamed=True, first=3, last=5)) is None
    assert level_shift(discs_of(spine, rng), []) is None and level_shift([], discs_of(spine, rng)) is None


def test_visits_that_agree_are_left_alone() -> None:
    spine, later, rng = person(2)
    assert match_levels({"ses-1": discs_of(spine, rng), "ses-2": discs_of(later, rng)}) == []
    assert match_levels({"ses-1": discs_of(spine, rng)}) == [] and match_levels({}) == []


def test_unnamed_discs_take_the_other_visits_names() -> None:
    spine, later, rng = person(3)
    match, = match_levels({"ses-1": discs_of(spine, rng), "ses-2": discs_of(later, rng, unnamed=True, first=1)})
    assert match.session == "ses-2"
    assert match.finding == Finding(FindingCode.NAMED_AS_AT_OTHER_VISIT, {"like": "ses-1"})
    assert match.names == {f"unnamed-{i}": LEVEL_OF_LABEL[i + 1] for i in range(1, 7)}


def test_a_disc_missed_at_an_unnamed_visit_does_not_shift_what_it_takes() -> None:
    spine, later, rng = person(3)
    unnamed = discs_of(later, rng, unnamed=True)
    del unnamed[3]
    match, = match_levels({"ses-1": discs_of(spine, rng), "ses-2": unnamed})
    assert list(match.names.values()) == [level for level in LEVEL_OF_LABEL.values() if level != "L2-L3"]


def test_unnamed_discs_that_fit_two_places_alike_stay_unnamed() -> None:
    spine, _, rng = person(3)
    reference = discs_of(spine, rng)
    axes = Rotation.from_euler("x", 10, degrees=True).as_matrix()
    even = [PlacedDisc(d.label, d.name, d.confidence, Pose(np.array([0.0, 0, 35.0 * i]), axes), 9000.0)
            for i, d in enumerate(reference)]
    lost = [PlacedDisc(101 + i, f"unnamed-{i + 1}", math.nan, d.pose, 9000.0) for i, d in enumerate(even[1:5])]
    assert match_levels({"ses-1": even, "ses-2": lost}) == []


def test_the_majority_overrules_a_visit_and_neither_of_two_equals() -> None:
    spine, later, rng = person(4)
    wrong = discs_of(later, rng, shift=1)
    match, = match_levels({"ses-1": wrong, "ses-2": discs_of(spine, rng), "ses-3": discs_of(spine, rng)})
    assert match.session == "ses-1"
    assert match.names == {LEVEL_OF_LABEL[k + 1]: LEVEL_OF_LABEL[k] for k in range(1, 7)}
    assert match.finding.code == FindingCode.RENAMED_AS_AT_OTHER_VISIT
    assert (match.finding.values["levels"], match.finding.values["direction"]) == (1, "lower")
    doubt, = match_levels({"ses-1": wrong, "ses-2": discs_of(spine, rng)})
    assert doubt.finding.code == FindingCode.NAMES_DIFFER_FROM_OTHER_VISIT
    assert all(found == level for found, level in doubt.names.items()) and len(doubt.names) >= 6
    unsure = discs_of(later, rng, shift=1, confidence=0.5)
    overruled, = match_levels({"ses-1": unsure, "ses-2": discs_of(spine, rng)})
    assert (overruled.session, overruled.names["L4-L5"]) == ("ses-1", "L5-S1")


def test_a_disc_above_the_ladder_is_left_out() -> None:
    spine, later, rng = person(6)
    low = discs_of(later, rng, shift=-1, confidence=0.5)  # L4-L5 taken for L5-S1, so T11-T12 is named T12-L1
    match, = match_levels({"ses-1": low, "ses-2": discs_of(spine, rng)})
    assert match.names["T12-L1"] == "T11-T12" and EXCLUDE not in match.names.values()
    high = [*low, PlacedDisc(7, "T11-T12", 0.5, low[-1].pose, low[-1].volume_mm3)]  # and one more found on top
    match, = match_levels({"ses-1": high, "ses-2": discs_of(spine, rng)})
    assert match.names["T11-T12"] == EXCLUDE


# Volumes


class Brightness(torch.nn.Module):
    """A network that takes for disc what is brighter than one half; twice as sure for twice as bright."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        disc = torch.logit(image[:, :1].clamp(1e-4, 1 - 1e-4))
        rest = torch.full_like(disc, -30.0)
        return torch.cat([torch.zeros_like(disc) if s == Structure.BACKGROUND else disc if s == Structure.DISC else rest
                          for s in Structure], dim=1)


def trained(**calibration) -> TrainedNetwork:
    network = Brightness().eval()
    return TrainedNetwork(network, network, Architecture((1,)), Architecture((1,)), Calibration(**calibration))


def visit(turn: Rotation, centre_mm=(0.0, 0.0, 0.0), *, grown: float = 1.0, contrasts=("water",)) -> PreparedVisit:
    share = ellipsoid(np.array(centre_mm), turn, grown=grown).astype(np.float32)
    image = np.zeros((len(Contrast), *WORKING.shape), np.float32)
    for channel, contrast in enumerate(Contrast):
        if contrast in contrasts:
            image[channel] = share
    return PreparedVisit(image, WORKING, frozenset(Contrast(c) for c in contrasts),
                     {3: pose_of(share, WORKING.affine_ras_mm)})


def looked_at(**visits: PreparedVisit) -> dict[str, joint.JointVolume]:
    return {v.session: v for v in joint_volumes(trained(), visits, 3, device="cpu")}


TURNED = Rotation.from_euler("xyz", [3, -2, 4], degrees=True)


def test_volumes_of_a_disc_that_moved_and_grew() -> None:
    found = looked_at(a=visit(Rotation.identity()), b=visit(TURNED, (0.7, -1.1, 2.3)),
                      c=visit(TURNED, (-1.2, 0.4, -0.9), grown=1.03))
    a, b, c = (found[s].volume_mm3 for s in "abc")
    assert a == pytest.approx(ANALYTIC_MM3, rel=0.01)
    assert b / a == pytest.approx(1, abs=0.003)
    assert c / a == pytest.approx(1.03, abs=0.004)
    assert {len(v.shift_volumes_mm3) for v in found.values()} == {len(joint.GRID_SHIFTS)}
    assert 0 < found["a"].boundary_uncertainty < 0.25 and found["a"].grid_shifts_sd_mm3 < 0.01 * a


def test_the_order_of_visits_changes_nothing() -> None:
    one, other = visit(Rotation.identity()), visit(TURNED, (0.7, -1.1, 2.3))
    forth, back = looked_at(a=one, b=other), looked_at(b=other, a=one)
    assert forth["a"].volume_mm3 == pytest.approx(back["a"].volume_mm3, rel=1e-6)
    assert forth["b"].volume_mm3 == pytest.approx(back["b"].volume_mm3, rel=1e-6)
    assert forth["a"].rotation_deg == pytest.approx(forth["b"].rotation_deg, abs=0.01) and forth["a"].rotation_deg > 2


def test_only_contrasts_that_all_visits_have_are_looked_at() -> None:
    found = looked_at(a=visit(Rotation.identity(), contrasts=("water", "fat")), b=visit(TURNED))
    assert {v.contrasts for v in found.values()} == {frozenset([Contrast.WATER])}
    assert looked_at(a=visit(Rotation.identity(), contrasts=("fat",)), b=visit(TURNED)) == {}
    nobody = {"a": visit(Rotation.identity())}
    assert joint_volumes(trained(), nobody, 5, device="cpu") == []


def test_a_speck_and_a_narrow_scan_are_no_obstacle() -> None:
    speck = visit(Rotation.identity())
    image = np.zeros_like(speck.image)
    image[:, 18:20, 35:37, 39:41] = 1
    few = PreparedVisit(image, WORKING, speck.contrasts, {3: pose_of(image[0], WORKING.affine_ras_mm)})
    assert [v.volume_mm3 > 0 for v in joint_volumes(trained(), {"a": few}, 3, device="cpu")] == [True]
    one_slice = Grid((1, *WORKING.shape[1:]), WORKING.affine_ras_mm)
    thin = PreparedVisit(image[:, 18:19], one_slice, speck.contrasts, speck.poses)
    assert len(joint_volumes(trained(), {"a": thin, "b": speck}, 3, device="cpu")) == 2


def test_each_level_keeps_its_calibration() -> None:
    visits = {"a": visit(Rotation.identity())}
    plain, = joint_volumes(trained(), visits, 3, device="cpu")
    more, = joint_volumes(trained(by_level={LEVEL_OF_LABEL[3]: 0.5}), visits, 3, device="cpu")
    assert more.volume_mm3 > 1.02 * plain.volume_mm3


def test_volumes_are_freed_from_the_bias_that_is_known() -> None:
    visits = {"a": visit(Rotation.identity())}
    errors = Errors(ErrorPart(0.01), ErrorPart(0.005), 9, bias={LEVEL_OF_LABEL[3]: 0.04})
    plain, = joint_volumes(trained(), visits, 3, device="cpu")
    right, = joint_volumes(trained(), visits, 3, device="cpu",
                           errors=ErrorModel("x", {"water": {"joint": errors}}))
    assert plain.volume_mm3 / right.volume_mm3 == pytest.approx(1.04)
    other = ErrorModel("x", {"t2": {"joint": errors}})  # another contrast's bias is not this one's
    same, = joint_volumes(trained(), visits, 3, device="cpu", errors=other)
    assert same.volume_mm3 == plain.volume_mm3


def test_poses_of_a_whole_mask() -> None:
    share = ellipsoid(np.zeros(3), TURNED)
    discs = LabelMap(np.where(share >= 0.5, 104, 0).astype(np.int32), WORKING)
    pose = poses_of(discs, Volume(share.astype(np.float32), WORKING))
    assert list(pose) == [104]
    assert pose[104].centre_mm == pytest.approx([0, 0, 0], abs=0.1)


# The stage


@pytest.fixture
def results(tmp_path: Path) -> tuple[Study, StudyResults]:
    """Two visits of a synthetic spine; the second one's discs are named one level too high, and not surely."""
    study = Study(name="s", groups=("g",), reference_session="ses-1", visits="alone", tissues="discs", images={
        "layout": "csv", "root": tmp_path}, sessions=({"id": "ses-1", "study_day": -2, "phase": "baseline"},
                                                     {"id": "ses-2", "study_day": 9, "phase": "bed_rest"}))
    results = StudyResults(tmp_path / "out")
    rng = np.random.default_rng([5, 7])
    spine = draw_spine(rng)
    grid = Grid((24, 60, 140), np.array([[3.0, 0, 0, -36], [0, 2, 0, -70], [0, 0, 2, -140], [0, 0, 0, 1]]))
    grid.affine_ras_mm[:3, 3] += np.mean([f.centre_mm for f in spine.frames()], axis=0)
    rows: dict[Table, list] = {t: [] for t in (SCANS, LEVEL_NAMES, EDITED_MASKS, SCAN_RECORDS, FINDINGS, SESSIONS)}
    for session, shift, sure in (("ses-1", 0, 0.95), ("ses-2", 1, 0.55)):
        labels = paint_levels(spine.posed(rng, shift_mm=2, rotation_deg=1), grid).data
        labels = np.where((labels > 0) & (labels + shift <= 7), labels + shift, 0).astype(np.int32)
        discs = LabelMap(labels, grid)
        write_label_map(discs, results.mask("01", session), names=LEVEL_OF_LABEL)
        write_volume(Volume((labels > 0).astype(np.float32), grid), results.probability("01", session), dtype=np.int16)
        key = {"subject": "01", "session": session}
        rows[SESSIONS].append({**key, "study_day": 9.0, "phase": "baseline"})
        rows[SCAN_RECORDS].append({**key, "mask_path": f"masks/01_{session}_discs.nii.gz", "source": "automatic",
                                   "contrasts": "water", "status": "ok"})
        rows[FINDINGS] += [{**key, "level": level, "label": label, "mean_probability": 0.9, "level_confidence": sure,
                            "status": "ok" if (labels == label).any() else "failed"}
                           for label, level in LEVEL_OF_LABEL.items()]
    for table, listed in {**rows, SUBJECTS: [{"subject": "01", "group": "g"}]}.items():
        write_table(typed_frame(listed, table), results.subject_table("01", table), table)
    return study, results


def test_a_disc_is_never_renamed_between_visits(results) -> None:
    study, out = results
    job = Job(study, out, "01", "cpu", 1)
    joint_volumes_stage.run(job)
    matches = out.read_subject("01", MATCHES)
    assert set(matches["session"]) == {"ses-2"} and len(matches) == 6
    assert out.read_subject("01", JOINT).empty  # visits = "alone"
    measure_stage.run(job)
    measures = out.read_subject("01", MEASURES).set_index(["session", "level"])
    first, second = (measures.loc[s, "volume_mm3"].drop("T11-T12") for s in ("ses-1", "ses-2"))
    assert second[first.index].to_numpy() == pytest.approx(first.to_numpy(), rel=0.05)
    assert measures.loc[("ses-2", "L5-S1"), "status"] == "flagged"
    assert "level set by the other visits: disc positions match ses-1" in measures.loc[("ses-2", "L5-S1"), "reason"]
    assert out.measured_mask("01", "ses-2").exists() and not out.measured_mask("01", "ses-1").exists()


def test_what_a_person_named_is_left_to_them(results) -> None:
    study, out = results
    names = typed_frame([{"subject": "01", "session": "ses-2", "found": "L4-L5", "level": "L4-L5"}], LEVEL_NAMES)
    write_table(names, out.subject_table("01", LEVEL_NAMES), LEVEL_NAMES)
    job = Job(study, out, "01", "cpu", 1)
    joint_volumes_stage.run(job)
    measure_stage.run(job)
    measures = out.read_subject("01", MEASURES).set_index(["session", "level"])
    assert measures.loc[("ses-2", "L5-S1"), "status"] == "failed"  # as the visit alone has it
    assert measures.loc[("ses-2", "L4-L5"), "reason"].startswith("level set by levels.csv")
