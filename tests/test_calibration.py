"""Visits made of a scan, what is fitted on them and said of it, worked out by hand; the command on a phantom."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from bedrest.calibration.fitting import recovery
from bedrest.calibration.known_change import known_change
from bedrest.calibration.made_visits import Repositioning, Scanner, made_visit, motion_of, noise_sd, planned_changes
from bedrest.cli import main
from bedrest.io.files import sha256_of
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import check_rows, empty_table, typed_frame
from bedrest.io.tables.typed_csv import read_table
from bedrest.longitudinal.error_model import (
    ErrorModel,
    ErrorPart,
    Errors,
    errors_text,
    joined,
    read_errors,
)
from bedrest.phantom.paint import paint
from bedrest.phantom.random_spine import draw_spine
from bedrest.phantom.render import Artefacts, demo_grid, render_dixon
from bedrest.schemas import CALIBRATION, CHANGE, DETECTIONS, MADE_VISITS, MEASURES, REPEATABILITY
from bedrest.segmentation.weights import chosen_weights
from bedrest.settings import load_study
from bedrest.statistics.study.detection import detections_frame
from bedrest.tables.calibration import badge_words, calibration_frame, fitted_errors, made_frame
from bedrest.tables.change import change_frame
from bedrest.types import Grid, LabelMap, Scan, Volume
from bedrest.vocabulary import LEVELS, Contrast, ErrorsFrom
from bedrest.workflow import calibrate
from scipy import ndimage
from segmented_study import Segmented

SHIPPED = ErrorModel("abc", {"t2": {"joint": Errors(ErrorPart(0.04), ErrorPart(0.01), 9, {"L4-L5": 0.02})}})


def _ball(spacing=(1.0, 1.0, 1.0), noise=0.0, rng=None) -> Scan:
    """A soft ball in air of 0, on 40 x 60 x 60 mm."""
    shape = tuple(int(mm / s) for mm, s in zip((40, 60, 60), spacing, strict=True))
    points = np.stack(np.indices(shape), -1) * spacing - (np.array(shape) - 1) / 2 * spacing
    data = 500 / (1 + np.exp(np.linalg.norm(points, axis=-1) - 18))
    data[:2] = 0  # padding
    if noise:
        data = data + noise * rng.standard_normal(shape)
    return Scan({Contrast.T2: Volume(data.astype(np.float32), Grid(shape, np.diag([*spacing, 1.0])))})


def _no_change(scan: Scan):
    labels = np.zeros(scan.grid.shape, np.int32)
    labels[tuple(n // 2 for n in labels.shape)] = 1
    return known_change(LabelMap(labels, scan.grid), {})


# Made visits


def test_every_other_visit_has_changes_and_every_level_meets_all_of_them():
    plans = [planned_changes(range(1, 8), subject=s, visits=4) for s in range(6)]
    assert list(plans[0]) == ["unchanged-1", "changed-1", "unchanged-2", "changed-2"]
    assert all(set(p["unchanged-1"].values()) == {0.0} for p in plans)
    for label in range(1, 8):
        met = {p[v][label] for p in plans for v in ("changed-1", "changed-2")}
        assert met == {0.0, 3.0, -3.0, 5.0, -5.0, 8.0}


@pytest.mark.parametrize("spacing", [(2.0, 1.0, 1.0), (4.0, 0.5, 0.5)])
def test_noise_is_found_in_tissue_and_added_anew(spacing, rng):
    scan = _ball(spacing, noise=12.0, rng=rng)
    assert noise_sd(scan.contrasts[Contrast.T2]) == pytest.approx(12, rel=0.2)
    assert noise_sd(_ball(spacing).contrasts[Contrast.T2]) < 3
    still = Repositioning(shift_mm=0, rotation_deg=1e-9, share_of_slice=0)
    made = made_visit(scan, _no_change(scan), rng, scanner=Scanner(field=0, ln_gain_sd=0), repositioning=still)
    difference = made.contrasts[Contrast.T2].data - scan.contrasts[Contrast.T2].data
    tissue = scan.contrasts[Contrast.T2].data > 300
    assert difference[tissue].std() == pytest.approx(12, rel=0.25)


def test_padding_stays_padding_and_thick_slices_hardly_move(rng):
    scan = _ball((5.0, 1.0, 1.0))
    made = made_visit(scan, _no_change(scan), rng, scanner=Scanner(), repositioning=Repositioning())
    assert (made.contrasts[Contrast.T2].data[:1] == 0).mean() > 0.9
    for seed in range(20):
        for thick, far in ((5.0, 1.25), (2.0, 8.0)):
            grid = _ball((thick, 1.0, 1.0)).grid
            how, generator = Repositioning(rotation_deg=1e-9, tilt_deg=1e-9), np.random.default_rng(seed)
            assert abs(motion_of(grid, generator, how)[0, 3]) <= far + 1e-6


def test_a_made_visit_shows_what_was_made():
    """Without noise and coil the ball is where the motion took it, as bright as before."""
    scan = _ball()
    quiet = Scanner(field=0, ln_gain_sd=0, noise=0)
    made = made_visit(scan, _no_change(scan), np.random.default_rng(5), scanner=quiet, repositioning=Repositioning())
    before, after = (s.contrasts[Contrast.T2].data for s in (scan, made))
    assert after.max() == pytest.approx(before.max(), rel=0.02)
    assert 0.5 < np.linalg.norm(np.subtract(ndimage.center_of_mass(after), ndimage.center_of_mass(before))) < 8


# What is fitted


def _made(slope: float, sd: float, *, subjects: int = 6, rng) -> pd.DataFrame:
    """Volumes of made visits whose change is measured with this slope and SD, per cent."""
    rows = []
    for s in range(subjects):
        for v, true in enumerate((0.0, 3.0, -3.0, 8.0, 0.0, -5.0)):
            for level in LEVELS[2:]:
                change = slope * true + rng.normal(0, sd)
                rows.append({"subject": f"s{s}", "session": f"v{v}", "level": level, "measure": "volume_mm3",
                             "contrasts": "t2", "true_percent": true, "reference_value": 9000.0,
                             "value": 9000 * (1 + change / 100), "change_percent": change,
                             "boundary_uncertainty_reference": 0.1, "boundary_uncertainty": 0.1,
                             "grid_shifts_sd_percent_reference": 2.0, "grid_shifts_sd_percent": 2.0,
                             "volume_method": "joint", "status": "ok"})
    return typed_frame(rows, MADE_VISITS)


def test_an_attenuated_change_is_known_as_such_and_the_sd_is_free_from_it(rng):
    errors = fitted_errors(_made(0.8, 1.0, rng=rng), SHIPPED)["t2"]["joint"]
    assert errors.recovered == pytest.approx(0.8, abs=0.04) and errors.origin is ErrorsFrom.STUDY
    assert errors.repeat.sd(0.1) == pytest.approx(0.01 / math.sqrt(2), rel=0.15)
    assert errors.usual_shifts_sd == 0.02  # this study's own: only what is more than usual widens an interval
    assert errors.truth == ErrorPart(0.04) and errors.bias == {"L4-L5": 0.02}  # what only synthetic scans can tell
    full = fitted_errors(_made(1.0, 1.0, rng=rng), SHIPPED)["t2"]["joint"]
    assert full.recovered == 1.0
    worse = fitted_errors(_made(1.0, 9.0, rng=rng), SHIPPED)["t2"]["joint"]
    assert worse.truth == worse.repeat  # a volume is not surer than its repetition


def test_the_table_says_bias_slope_spread_detection_and_coverage(rng):
    frame = calibration_frame(_made(1.0, 1.0, rng=rng), SHIPPED)
    assert check_rows(frame, CALIBRATION, where="calibration") == []
    row = frame[frame["level"] == "all"].iloc[0]
    assert (row["n_subjects"], row["n_values"], row["n_lost"]) == (6, 180, 0)
    assert row["sd_percent"] == pytest.approx(1, rel=0.15) and abs(row["bias_percent"]) < 0.3
    assert row["slope_low"] < 1 < row["slope_high"]
    assert 90 <= row["coverage_percent"] <= 99 and 88 <= row["unchanged_percent"] <= 100
    assert 70 <= row["detected_percent"] <= 95  # 3 % is 3 SD of an error of 1 %: 1.96 SD are exceeded in 85 %
    assert row["coverage_shipped_percent"] > 97  # 1.4 times as wide
    assert len(frame) == 6


def test_a_flagged_disc_does_not_speak_for_all_and_is_counted(rng):
    made = _made(1.0, 1.0, rng=rng)
    made.loc[0, ["change_percent", "status"]] = [48.0, "flagged"]
    assert fitted_errors(made, SHIPPED)["t2"]["joint"].repeat.sd(0.1) < 0.01
    row = calibration_frame(made, SHIPPED).set_index("level").loc["all"]
    assert (row["n_values"], row["n_flagged"]) == (180, 1) and row["sd_percent"] < 1.2
    assert row["coverage_percent"] < 100  # its interval missed


def test_lost_discs_are_counted_and_nothing_measured_is_no_error_model():
    lost = typed_frame([{"subject": "s", "session": "v", "level": "unnamed-1", "measure": "volume_mm3",
                         "contrasts": "t2", "status": "failed"}], MADE_VISITS)
    assert fitted_errors(lost, SHIPPED) == {}
    frame = calibration_frame(lost, SHIPPED)
    assert list(frame["n_lost"]) == [1] and frame["slope"].isna().all()
    assert "bedrest calibrate x.toml" in badge_words(frame, "x.toml")
    assert math.isnan(recovery(np.zeros(9), np.ones(9)).slope)


def test_a_disc_of_a_made_visit_is_compared_with_the_made_reference():
    day = {"subject": "s", "group": "g", "study_day": 0.0, "phase": "baseline", "source": "automatic",
           "mask_origin": "automatic"}
    measures = typed_frame([
        {**day, "session": "ref", "level": "L4-L5", "volume_mm3": 1000.0, "height_mean_mm": 10.0, "status": "ok"},
        {**day, "session": "one", "level": "L4-L5", "volume_mm3": 1030.0, "height_mean_mm": 10.2, "status": "ok"},
        {**day, "session": "ref", "level": "L5-S1", "volume_mm3": 900.0, "status": "ok"},
        {**day, "session": "one", "level": "L5-S1", "status": "failed", "reason": "not found"}], MEASURES)
    joint = pd.DataFrame({"session": ["ref", "one"], "level": "L4-L5", "boundary_uncertainty": [0.1, 0.2],
                          "grid_shifts_sd_percent": [1.0, 2.0], "volume_method": "joint",
                          "deformation_se_percent": math.nan})
    frame = made_frame(measures, joint, {"one": {"L4-L5": 3.0, "L5-S1": 0.0}}, reference="ref", contrasts="t2")
    assert check_rows(frame, MADE_VISITS, where="made") == []
    rows = frame.set_index(["level", "measure"])
    volume = rows.loc[("L4-L5", "volume_mm3")]
    assert volume["change_percent"] == pytest.approx(3) and volume["true_percent"] == 3
    assert (volume["boundary_uncertainty_reference"], volume["boundary_uncertainty"]) == (0.1, 0.2)
    height = rows.loc[("L4-L5", "height_mean_mm")]
    assert height["change_percent"] == pytest.approx(2) and math.isnan(height["true_percent"])
    assert rows.loc[("L5-S1", "volume_mm3")][["status", "reason"]].tolist() == ["failed", "not found"]


def test_the_badge():
    made = _made(1.0, 1.0, rng=np.random.default_rng(1))
    made["change_percent"] = 0.9 * made["true_percent"] + np.tile([0.3, -0.3], len(made) // 2)
    words = badge_words(calibration_frame(made, None), "s.toml")
    assert words.startswith("Of a true 3 % in this study's own scans, 2.7 % was recovered, SD 0.")
    assert "bedrest calibrate s.toml" in badge_words(empty_table(CALIBRATION), "s.toml")


# What the error model is used for


def test_the_studys_own_errors_take_precedence(tmp_path):
    errors = Errors(ErrorPart(0.05), ErrorPart(0.02), 7, recovered=0.8, origin=ErrorsFrom.STUDY)
    own = ErrorModel("abc", {"t2": {"joint": errors}})
    both = joined(SHIPPED, own)
    assert both.given("t2", "joint").repeat == ErrorPart(0.02) and joined(SHIPPED, None) is SHIPPED
    path = tmp_path / "errors.json"
    path.write_text(errors_text(own))
    assert read_errors(path, sha256="abc") == own and read_errors(path, sha256="other") is None
    assert read_errors(tmp_path / "none.json", sha256="abc") is None


def test_a_run_after_a_calibration_judges_by_it(tmp_path):
    subject = Segmented(tmp_path)
    subject.tables()
    before = subject.read(CHANGE)
    assert set(before["errors_from"]) == {"shipped"}
    own = {"water": {"joint": Errors(ErrorPart(0.05), ErrorPart(0.02), 7, recovered=0.8, origin=ErrorsFrom.STUDY)}}
    subject.results.study_errors.parent.mkdir()
    subject.results.study_errors.write_text(errors_text(ErrorModel(_weights_sha256(subject.study), own)))
    subject.tables()
    after, measured = subject.read(CHANGE), subject.read(MEASURES)
    assert set(after["errors_from"]) == {"study"} and set(measured["change_recovered"]) == {0.8}
    assert measured["volume_repeat_sd_mm3"].to_numpy() == pytest.approx(0.02 * measured["volume_mm3"].to_numpy())
    assert not np.allclose(after["se_percent"], before["se_percent"])
    subject.results.study_errors.write_text(errors_text(ErrorModel("other weights", own)))
    subject.tables()
    assert set(subject.read(CHANGE)["errors_from"]) == {"shipped"}


def _weights_sha256(study):
    return sha256_of(chosen_weights(study.weights))


def test_intervals_hold_what_attenuation_hides_and_verdicts_stay():
    """Volumes 1000 and 1040 with 1 % each: 4 % +- 1.96 x 1.04 x 1.414; with 0.8 recovered the upper end is 1/0.8."""
    def change(recovered, after):
        rows = [{"subject": "s", "group": "g", "session": session, "study_day": day, "phase": "baseline",
                 "level": "L4-L5", "source": "automatic", "mask_origin": "automatic", "volume_mm3": volume,
                 "volume_single_mm3": volume, "volume_method": "joint", "volume_repeat_sd_mm3": 0.01 * volume,
                 "errors_from": "study", "change_recovered": recovered, "status": "ok"}
                for session, day, volume in (("a", -1.0, 1000.0), ("b", 5.0, after))]
        return change_frame(typed_frame(rows, MEASURES), reference_session="a")

    full, part, fall = change(1.0, 1040.0), change(0.8, 1040.0), change(0.8, 960.0)
    reach = 1.959964 * 1.04 * math.sqrt(2)
    assert full["ci_high_percent"].item() == pytest.approx(4 + reach, abs=1e-4)
    assert part["ci_high_percent"].item() == pytest.approx((4 + reach) / 0.8, abs=1e-4)
    assert part["ci_low_percent"].item() == full["ci_low_percent"].item() == pytest.approx(4 - reach, abs=1e-4)
    assert fall["ci_low_percent"].item() == pytest.approx((-4 - 1.959964 * 0.96 * math.sqrt(2)) / 0.8, abs=1e-4)
    assert check_rows(part, CHANGE, where="change") == [] and part["errors_from"].item() == "study"
    verdict = detections_frame(part, empty_table(REPEATABILITY), confidence_level=0.95)
    assert check_rows(verdict, DETECTIONS, where="detections") == []
    assert verdict[["verdict", "limit_from"]].iloc[0].tolist() == ["rose", "calibration of this study"]


# The command


@pytest.fixture(scope="module")
def phantom_study(tmp_path_factory):
    """One subject's lower spine, water alone, each visit measured for itself; calibrated with two made visits."""
    from bedrest.imaging.crop import crop_grid
    from bedrest.io.images.masks import write_volume

    folder = tmp_path_factory.mktemp("phantom")
    generator = np.random.default_rng(77)
    scan = render_dixon(paint(draw_spine(generator), demo_grid(), generator), generator, Artefacts())
    box = (slice(0, 36), slice(50, 200), slice(0, 170))
    water = Volume(np.ascontiguousarray(scan.contrasts[Contrast.WATER].data[box]), crop_grid(demo_grid(), box))
    write_volume(water, folder / "water.nii.gz")
    (folder / "scans.csv").write_text("subject,session,contrast,path\n01,a,water,water.nii.gz\n")
    (folder / "study.toml").write_text("""
        name = "phantom"
        description = "synthetic"
        groups = ["g"]
        reference_session = "a"
        visits = "alone"
        levels = ["L5-S1", "L4-L5", "L3-L4", "L2-L3"]
        device = "cpu"
        output = "out"
        sessions = [{id = "a", study_day = 0, phase = "baseline"}]
        images = {layout = "csv", root = ".", scans_csv = "scans.csv"}
        calibration = {subjects = 1, visits = 2}
    """)
    assert main(["calibrate", str(folder / "study.toml")]) == 0
    return folder


def test_a_study_is_calibrated_on_its_own_scans(phantom_study):
    results = StudyResults(phantom_study / "out")
    made = read_table(results.calibration(MADE_VISITS), MADE_VISITS)
    assert set(made["session"]) == {"unchanged-1", "changed-1"} and made["contrasts"].eq("water").all()
    volume = made[made["measure"] == "volume_mm3"]
    assert len(volume) == 8 and volume["status"].isin(["ok", "flagged"]).all()
    assert (volume["change_percent"] - volume["true_percent"]).abs().max() < 3
    assert volume["true_percent"].abs().max() == pytest.approx(8, abs=0.05)
    study = load_study(phantom_study / "study.toml")
    model = read_errors(results.study_errors, sha256=_weights_sha256(study))
    assert model.errors["water"]["single"].origin is ErrorsFrom.STUDY
    assert not list(phantom_study.glob(".calibrate*"))  # no made image is left


def test_what_is_up_to_date_is_not_made_again(phantom_study, monkeypatch, capsys):
    done = []
    monkeypatch.setattr(calibrate, "run", lambda job: done.append(job.subject))
    toml = str(phantom_study / "study.toml")
    assert main(["calibrate", toml]) == 0 and done == []
    assert "Of a true 3 % in this study's own scans" in capsys.readouterr().out
    assert calibrate.outdated_calibration(StudyResults(phantom_study / "out")) == ""
    text = (phantom_study / "study.toml").read_text()
    (phantom_study / "study.toml").write_text(text.replace("visits = 2}", "visits = 2, seed = 1}"))
    main(["calibrate", toml])
    assert done == ["01"]
    (phantom_study / "study.toml").write_text(text)


def test_a_sample_is_spread_over_the_subjects():
    scans = pd.DataFrame({"subject": [f"s{n}" for n in range(9)] * 2, "session": ["a"] * 9 + ["b"] * 9,
                          "contrast": ["t2"] * 8 + ["mask"] + ["t2"] * 9})
    assert calibrate.sampled(scans, "a", 3) == ["s0", "s4", "s7"]
    assert calibrate.sampled(scans, "b", 99) == [f"s{n}" for n in range(9)]
    assert calibrate.sampled(scans, "c", 2) == []
