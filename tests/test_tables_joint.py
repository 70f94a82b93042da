"""Joint volumes and standard errors in the table of measures, and intervals of change, worked out by hand."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest
from bedrest.errors import WeightsError
from bedrest.io.tables.frames import check_rows, typed_frame
from bedrest.longitudinal.error_model import ErrorModel, ErrorPart, Errors, errors_path, errors_text, load_errors
from bedrest.longitudinal.joint_volumes import JointVolume
from bedrest.schemas import CHANGE, JOINT, MEASURES, SCAN_RECORDS
from bedrest.tables.change import change_frame
from bedrest.tables.joint import joint_frame, with_errors, with_joint
from bedrest.vocabulary import Contrast

DAYS = {"ses-1": (-3.0, "baseline"), "ses-2": (30.0, "bed_rest"), "ses-3": (70.0, "recovery")}


def disc(session: str, volume: float, level: str = "L4-L5", **told) -> dict:
    """A disc at a visit, measured singly by the network."""
    day, phase = DAYS[session]
    return {"subject": "s1", "group": "rest", "session": session, "study_day": day, "phase": phase, "level": level,
            "source": "automatic", "mask_origin": "automatic", "volume_mm3": volume, "volume_single_mm3": volume,
            "volume_method": "single", "status": "ok", **told}


def joined(session: str, volume: float, level: str = "L4-L5", **told) -> dict:
    return {"subject": "s1", "session": session, "level": level, "contrasts": "water+fat", "grid_shifts": 4,
            "volume_mm3": volume, "volume_method": "joint", "volume_single_mm3": 1000.0, "boundary_uncertainty": 0.1,
            **told}


def measures(*rows: dict) -> pd.DataFrame:
    return typed_frame(rows, MEASURES)


def joint(*rows: dict) -> pd.DataFrame:
    return typed_frame(rows, JOINT)


def volumes(frame: pd.DataFrame) -> list[tuple[float, str]]:
    assert check_rows(frame, MEASURES, where="measures") == []
    return list(zip(frame["volume_mm3"], frame["volume_method"], strict=True))


def test_a_joint_volume_becomes_a_row() -> None:
    # Looks of 990 and 1010: mean 1000, SD sqrt(2) x 10.
    found = joint_frame([JointVolume(2, "ses-1", frozenset({Contrast.FAT, Contrast.WATER}), (990.0, 1010.0), 0.2, 1.5)],
                        subject="s1", single_mm3={"ses-1": {2: 950.0}})
    assert check_rows(found, JOINT, where="joint") == []
    row = found.iloc[0]
    assert (row["level"], row["contrasts"], row["grid_shifts"]) == ("L4-L5", "water+fat", 2)
    assert (row["volume_mm3"], row["volume_single_mm3"]) == (1000.0, 950.0)
    assert row["grid_shifts_sd_percent"] == pytest.approx(math.sqrt(2))


def test_every_visit_of_a_disc_is_joint_or_none_is() -> None:
    own = measures(disc("ses-1", 1000), disc("ses-2", 1100), disc("ses-1", 500, "L5-S1"), disc("ses-2", 600, "L5-S1"))
    found = with_joint(own, joint(joined("ses-1", 1010), joined("ses-2", 1120), joined("ses-1", 510, "L5-S1")))
    assert volumes(found) == [(1010, "joint"), (1120, "joint"), (500, "single"), (600, "single")]
    assert found["volume_single_mm3"].tolist() == [1000, 1100, 500, 600]
    assert own["volume_mm3"].tolist() == [1000, 1100, 500, 600]  # the table given is left as it was


def test_the_order_of_rows_does_not_matter() -> None:
    own = measures(disc("ses-2", 1100), disc("ses-1", 500, "L5-S1"), disc("ses-1", 1000), disc("ses-2", 600, "L5-S1"))
    both = joint(joined("ses-2", 610, "L5-S1"), joined("ses-1", 1010), joined("ses-2", 1120),
                 joined("ses-1", 510, "L5-S1"))
    assert [v for v, _ in volumes(with_joint(own, both))] == [1120, 510, 1010, 610]


def test_a_given_mask_keeps_all_visits_of_its_discs_single() -> None:
    own = measures(disc("ses-1", 1000, mask_origin="given", volume_method="voxels"), disc("ses-2", 1100))
    found = with_joint(own, joint(joined("ses-1", 1010), joined("ses-2", 1120)))
    assert volumes(found) == [(1000, "voxels"), (1100, "single")]


def test_an_edited_disc_stays_as_drawn_and_the_other_visits_stay_joint() -> None:
    drawn = disc("ses-2", 1100, mask_origin="edited", volume_method="voxels")
    both = joint(joined("ses-1", 1010), joined("ses-2", 1020), joined("ses-3", 1030))
    found = with_joint(measures(disc("ses-1", 1005), drawn, disc("ses-3", 1006)), both)
    assert volumes(found) == [(1010, "joint"), (1100, "voxels"), (1030, "joint")]
    # One that the network had missed there has no joint volume at that visit: the others do not wait for it.
    missed = with_joint(measures(disc("ses-1", 1005), drawn), both.iloc[[0]])
    assert volumes(missed) == [(1010, "joint"), (1100, "voxels")]


def test_a_failed_visit_stands_in_nobodys_way() -> None:
    lost = disc("ses-3", math.nan, status="failed", reason="not found", volume_method="", volume_single_mm3=math.nan)
    found = with_joint(measures(disc("ses-1", 1000), disc("ses-2", 1100), lost),
                       joint(joined("ses-1", 1010), joined("ses-2", 1120)))
    assert volumes(found)[:2] == [(1010, "joint"), (1120, "joint")]
    assert math.isnan(found["volume_mm3"][2]) and found["volume_method"][2] == ""


def test_reference_masks_and_subjects_without_joint_volumes_stay() -> None:
    drawn = disc("ses-1", 900, source="reference", mask_origin="reference", volume_method="voxels")
    own = measures(disc("ses-1", 1000), drawn)
    assert volumes(with_joint(own, joint(joined("ses-1", 1010)))) == [(1010, "joint"), (900, "voxels")]
    pd.testing.assert_frame_equal(with_joint(own, joint()), own)
    assert volumes(with_joint(own, joint(joined("ses-1", 0.0)))) == volumes(own)  # nothing seen is no volume


PART = ErrorPart(floor=0.03, slope=0.4)  # at boundary uncertainty 0.1: hypot(0.03, 0.04) = 0.05
REPEAT = ErrorPart(floor=0.006, slope=0.08)  # at boundary uncertainty 0.1: 0.01
FIXED = Errors(ErrorPart(0.04), ErrorPart(0.02), 10)
MODEL = ErrorModel("abc", {"water+fat": {"joint": Errors(PART, REPEAT, 20)}, "water": {"single": FIXED}})


def records(*contrasts: str) -> pd.DataFrame:
    return typed_frame(({"subject": "s1", "session": f"ses-{n + 1}", "source": "automatic", "contrasts": c,
                         "status": "ok"} for n, c in enumerate(contrasts)), SCAN_RECORDS)


def errors_of(frame: pd.DataFrame) -> list[tuple[float, float]]:
    return list(zip(frame["volume_se_mm3"], frame["volume_repeat_sd_mm3"], strict=True))


def test_joint_errors_grow_with_what_is_undecided() -> None:
    own = measures(disc("ses-1", 8000, volume_method="joint"), disc("ses-2", 8000, volume_method="joint"))
    both = joint(joined("ses-1", 8000), joined("ses-2", 8000, boundary_uncertainty=0.0))
    found = errors_of(with_errors(own, both, records("water", "water"), MODEL))  # joint: the joint volume's contrasts
    assert found == [(pytest.approx(400), pytest.approx(80)), (pytest.approx(240), pytest.approx(48))]


def test_single_errors_are_of_the_visits_own_contrasts() -> None:
    own = measures(disc("ses-1", 1000), disc("ses-2", 1000))
    fat = Errors(ErrorPart(0.1), ErrorPart(0.05), 9)
    tried = ErrorModel("abc", {"water": {"single": FIXED}, "fat": {"single": fat}})
    found = errors_of(with_errors(own, joint(), records("water", "fat"), tried))
    assert found == [(pytest.approx(40), pytest.approx(20)), (pytest.approx(100), pytest.approx(50))]


@pytest.mark.parametrize("told", [
    {"mask_origin": "edited"}, {"mask_origin": "given", "volume_method": "voxels"},
    {"mask_origin": "reference", "source": "reference", "volume_method": "voxels"},
    {"status": "failed", "volume_mm3": math.nan, "volume_method": ""},
])
def test_only_the_networks_own_masks_have_errors(told) -> None:
    both = measures({**disc("ses-1", 1000), **told}, disc("ses-2", 1000))
    found = with_errors(both, joint(), records("water", "water"), MODEL)
    assert all(math.isnan(v) for v in errors_of(found)[0])
    assert errors_of(found)[1] == (pytest.approx(40), pytest.approx(20))


def test_without_a_model_there_are_no_errors() -> None:
    own = measures(disc("ses-1", 1000))
    pd.testing.assert_frame_equal(with_errors(own, joint(), records("water"), None), own)
    assert own["volume_se_mm3"].isna().all()


def test_contrasts_not_tried_take_the_worst() -> None:
    better = Errors(ErrorPart(0.5), ErrorPart(0.01), 9)
    model = ErrorModel("abc", {"water": {"single": FIXED}, "fat": {"single": better},
                               "t2": {"joint": Errors(ErrorPart(0.9), ErrorPart(0.9), 9)}})
    assert model.given("water", "single") is FIXED and model.given("fat", "single") is better
    assert model.given("water+t2", "single") == FIXED  # 2 % from scan to scan is worse than 1 %
    assert model.given("water", "joint") is None  # tried, but not this way
    assert model.given("water", "voxels") is None and model.given("water", "") is None
    assert ErrorModel("abc", {}).given("water", "single") is None


def test_errors_lie_beside_their_weights_and_come_back(tmp_path) -> None:
    weights = tmp_path / "own.safetensors"
    assert load_errors(weights, sha256="abc") is None
    errors_path(weights).write_text(errors_text(MODEL))
    assert errors_path(weights) == tmp_path / "own.errors.json"
    assert load_errors(weights, sha256="abc") == MODEL
    assert load_errors(weights, sha256="of other weights") is None


@pytest.mark.parametrize("content", [
    "not JSON", "[]", json.dumps({"weights_sha256": "abc"}), json.dumps({"weights_sha256": "abc", "errors": []}),
    json.dumps({"weights_sha256": "abc", "errors": {"water": {"single": {"truth": {}}}}}),
    json.dumps({"weights_sha256": "abc", "errors": {"water": {"single": {
        "truth": {"floor": 0.1}, "repeat": {"ceiling": 0.1}, "discs": 3}}}}),
])
def test_a_broken_file_of_errors_is_said(tmp_path, content) -> None:
    weights = tmp_path / "own.safetensors"
    errors_path(weights).write_text(content)
    with pytest.raises(WeightsError, match=r"own\.errors\.json.*fit-errors"):
        load_errors(weights, sha256="abc")


def change(*rows: dict, level: float = 0.95) -> pd.DataFrame:
    found = change_frame(measures(*rows), reference_session="ses-1", confidence_level=level)
    assert check_rows(found, CHANGE, where="change") == []
    return found


def test_the_interval_of_a_change_by_hand() -> None:
    # Relative errors 0.6 and 0.8 % make 1 %; at a change of +10 % that is 1.1 % of the first volume; 1.959964 x 1.1.
    rows = (disc("ses-1", 8000, volume_repeat_sd_mm3=48, volume_single_mm3=8100),
            disc("ses-2", 8800, volume_repeat_sd_mm3=70.4, volume_single_mm3=8748))
    row = change(*rows).iloc[0]
    assert row["se_percent"] == pytest.approx(1.1)
    assert row["ci_low_percent"] == pytest.approx(10 - 2.1559604)
    assert row["ci_high_percent"] == pytest.approx(10 + 2.1559604)
    assert row["change_single_percent"] == pytest.approx(8)
    wide = change(*rows, level=0.99).iloc[0]
    assert (wide["ci_high_percent"], wide["confidence_level"]) == (pytest.approx(10 + 2.5758293 * 1.1), 0.99)


def test_no_interval_where_one_visit_has_no_error_and_no_single_change_where_one_failed() -> None:
    lost = disc("ses-3", math.nan, status="failed", reason="why", volume_method="", volume_single_mm3=math.nan)
    found = change(disc("ses-1", 8000, volume_repeat_sd_mm3=48), disc("ses-2", 8800), lost).set_index("session")
    ends = ["se_percent", "ci_low_percent", "ci_high_percent"]
    assert found.loc["ses-2", "change_percent"] == pytest.approx(10) and found.loc["ses-2", ends].isna().all()
    assert found.loc["ses-3", [*ends, "change_percent", "change_single_percent"]].isna().all()
