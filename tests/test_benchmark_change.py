"""The change benchmark on made volumes whose errors are known, its page, and the errors fitted to such volumes."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from bedrest.errors import StudyError
from bedrest.io.files import sha256_of
from bedrest.io.tables.frames import typed_frame
from bedrest.io.tables.typed_csv import read_table
from bedrest.longitudinal.error_model import ErrorModel, ErrorPart, Errors, errors_path, load_errors
from bedrest.longitudinal.joint_volumes import JointVolume
from bedrest.segmentation.weights import key_of
from bedrest.statistics.estimators.reliability import measurement_error
from bedrest.types import Grid, LabelMap, Scan, Segmentation, Volume
from bedrest.vocabulary import DIXON, LEVELS, Contrast, VolumeMethod
from matplotlib.text import Text

from pipelines.benchmarks.change import __main__ as change_benchmark
from pipelines.benchmarks.change import fit_errors as error_fit
from pipelines.benchmarks.change import synthetic_subjects
from pipelines.benchmarks.change.__main__ import CONDITION_SUBJECTS
from pipelines.benchmarks.change.figure import change_ablation
from pipelines.benchmarks.change.fit_errors import SEED as FIT_SEED
from pipelines.benchmarks.change.fit_errors import fit_errors, fit_part, subjects_by_condition
from pipelines.benchmarks.change.report import UNKNOWN, conditions_table, report_standard
from pipelines.benchmarks.change.scores import METHODS, column_of, summarise_method, within_disc_cv
from pipelines.benchmarks.change.synthetic_subjects import (
    FURTHER,
    SEED,
    STANDARD,
    T2,
    averaged,
    draw_subject,
    measure_subject,
)
from pipelines.benchmarks.result_tables import BASELINE, CHANGE_DISCS, GROWN, VISITS
from pipelines.benchmarks.targets import CHANGE, ENGINE, TargetResult, judge
from pipelines.command_line import read_options

JOINT, SINGLE, VOXELS = VolumeMethod.JOINT, VolumeMethod.SINGLE, VolumeMethod.VOXELS
COLUMNS = [column_of(method) for method in METHODS]
ALL_DIXON = key_of(DIXON)
# True and measured volumes of two discs at baseline, repetition, and grown by 3 %.
TRUE = {"L4-L5": (10_000.0, 10_000.0, 10_300.0), "L5-S1": (8000.0, 8000.0, 8240.0)}
FOUND = {"L4-L5": (10_100.0, 9999.0, 10_403.0),  # change -1 %, +3 %
         "L5-S1": (7920.0, 8078.4, 8236.8)}  # change +2 %, +4 %
HALF_PERCENT = Errors(ErrorPart(0.005), ErrorPart(0.005), 2)


def two_discs() -> pd.DataFrame:
    """One subject's two discs, measured alike by every method."""
    return typed_frame([
        {"condition": "standard", "contrasts": ALL_DIXON, "subject": "sub-01", "session": session, "level": level,
         "true_mm3": TRUE[level][v], **dict.fromkeys(COLUMNS, FOUND[level][v]), "boundary_uncertainty": 0.1}
        for level in TRUE for v, session in enumerate(VISITS)], CHANGE_DISCS)


def subjects(rng: np.random.Generator, n: int, *, condition=STANDARD, bias: float = 0.0) -> pd.DataFrame:
    """Discs whose joint error has a variance of 0.004^2 + (0.05 x uncertainty)^2, whose single one an SD of 0.012."""
    rows = []
    for i in range(n):
        for level in LEVELS:
            volume, uncertainty = rng.uniform(4000, 12000), 0.08 * math.exp(0.5 * rng.normal())
            for session in VISITS:
                true = volume * (1.03 if session == GROWN else 1.0)
                joint = ErrorPart(0.004, 0.05).sd(uncertainty) * rng.normal()
                rows.append({
                    "condition": condition.name, "contrasts": key_of(condition.contrasts), "session": session,
                    "subject": f"sub-{i + 1:02d}", "level": level, "true_mm3": true,
                    "voxels_mm3": true * (1 + 0.02 * rng.normal()),
                    "single_mm3": true * (1 + bias + 0.012 * rng.normal()), "joint_mm3": true * (1 + joint),
                    "boundary_uncertainty": uncertainty})
    return typed_frame(rows, CHANGE_DISCS)


def test_bias_cv_and_change_by_hand():
    s = summarise_method(two_discs(), JOINT, None)
    assert (s.volumes.n, s.volumes.n_missing, s.pairs, s.pairs_missing) == (6, 0, 4, 0)
    errors = {"L4-L5": (1.0, -0.01, 1.0), "L5-S1": (-1.0, 0.98, -3.2 / 82.40)}
    assert s.volumes.by_level["L4-L5"][0] == pytest.approx(1.99 / 3) and list(s.volumes.by_level) == ["L4-L5", "L5-S1"]
    assert (s.volumes.worst_level, s.volumes.worst) == ("L4-L5", pytest.approx(1.99 / 3))
    assert s.volumes.bias == pytest.approx(sum(map(sum, errors.values())) / 6)
    assert s.cv == pytest.approx(100 * (math.exp(math.sqrt((math.log(0.99)**2 + math.log(1.02)**2) / 4)) - 1))
    # errors of change: -1, +2 at the repetition, 0, +1 when grown: mean 0.5, squared distances sum to 5
    assert s.change_error == pytest.approx(0.5) and s.change_error_sd == pytest.approx(math.sqrt(5 / 3))
    # arvd, mm3 of the true baseline: 1 and 103 of 10 000; 78.4 and 3.2 of 8000
    assert s.arvd == pytest.approx((0.01 + 1.03 + 0.98 + 0.04) / 4)
    assert math.isnan(s.unchanged) and math.isnan(s.volume_covered)


def test_the_cv_is_that_of_the_studys_own_statistics(rng):
    first, second = rng.uniform(90, 110, 20), rng.uniform(90, 110, 20)
    theirs = measurement_error([*first, *second], targets=[*range(20), *range(20)]).cv_percent.value
    assert within_disc_cv(first, second) == pytest.approx(theirs)
    assert within_disc_cv([*first, np.nan], [*second, 100]) == pytest.approx(theirs)
    assert math.isnan(within_disc_cv([np.nan], [100]))


def test_what_standard_errors_say_by_hand():
    s = summarise_method(two_discs(), JOINT, HALF_PERCENT)
    # 1.96 standard errors of change are 1.96 x 0.005 x sqrt(2) x (100 + change): 1.37 at -1 %, 1.41 at +2 %
    assert s.unchanged == 50 and s.rise == 100
    assert s.change_covered == 75  # errors -1, +2, 0, +1
    # 0.98 % of the measured volume: 99, 98, 102, 78, 79, 81 mm3 against errors of 100, 1, 103, 80, 78, 3
    assert s.volume_covered == 50
    assert summarise_method(two_discs(), JOINT, replace(HALF_PERCENT, repeat=ErrorPart(0.02))).rise == 0
    fallen = two_discs()
    fallen.loc[fallen["session"] == GROWN, "joint_mm3"] *= 0.9
    assert summarise_method(fallen, JOINT, HALF_PERCENT).rise == 0  # far beyond error, and no rise


def test_boundary_uncertainty_widens_joint_intervals_alone():
    soft = Errors(ErrorPart(0.0, 0.1), ErrorPart(0.0, 0.1), 2)  # 0.1 x uncertainty 0.1 = 1 %
    joint, single = (summarise_method(two_discs(), method, soft) for method in (JOINT, SINGLE))
    assert (joint.volume_covered, joint.change_covered, joint.unchanged) == (100, 100, 100)
    assert (single.volume_covered, single.unchanged) == (0, 0)


def test_a_disc_that_was_not_found_counts_and_is_told():
    frame = two_discs()
    frame.loc[(frame["level"] == "L5-S1") & (frame["session"] == GROWN), "joint_mm3"] = np.nan
    s = summarise_method(frame, JOINT, HALF_PERCENT)
    assert (s.volumes.n, s.volumes.n_missing, s.pairs, s.pairs_missing) == (6, 1, 4, 1)
    assert (s.rise, s.change_covered, s.volume_covered) == (50, 50, pytest.approx(100 / 3))
    assert s.change_error == pytest.approx(1 / 3)  # -1, +2, 0
    notes = {c.what: c.note for c in report_standard(frame, None).checks}
    assert notes["volume bias, mean over discs"] == "6 volumes, 1 of them missing"
    assert notes["error of change, SD"] == "4 changes, 1 of them missing"
    frame.loc[(frame["level"] == "L5-S1") & (frame["session"] == BASELINE), "joint_mm3"] = np.nan
    assert summarise_method(frame, JOINT, None).pairs_missing == 2


def test_nothing_found_meets_nothing():
    frame = two_discs()
    frame[COLUMNS] = np.nan
    part = report_standard(frame, ErrorModel("", {ALL_DIXON: {"joint": HALF_PERCENT}}))
    assert {c.verdict for c in part.checks} == {TargetResult.MISSED}
    assert "6 volumes, 6 of them missing" in part.detail and "nan" not in part.detail


def test_every_row_is_judged_by_joint_volumes():
    frame = two_discs()
    frame["voxels_mm3"] = frame["true_mm3"] * 1.5
    checks = {c.what: c for c in report_standard(frame, None).checks}
    assert list(checks) == [t.what for row in CHANGE for t in row.targets]
    worst = checks["volume bias, worst level"]
    assert (worst.measured, worst.verdict, worst.note) == ("+0.66 %", TargetResult.MET, "L4-L5")
    assert checks["scan-rescan CV of volume"].verdict == TargetResult.MISSED
    assert checks["error of change, mean"].verdict == TargetResult.NO_TARGET
    unknown = [c for c in checks.values() if c.verdict == TargetResult.NOT_MEASURED]
    assert len(unknown) == 4 and {c.note for c in unknown} == {UNKNOWN}
    model = ErrorModel("", {ALL_DIXON: {"joint": HALF_PERCENT}})
    known = {c.what: c for c in report_standard(frame, model).checks}
    assert known["no change, none beyond error"].measured == "50.0 %"
    assert known["+3 %, a rise beyond error"].verdict == TargetResult.MET
    assert known["95 % intervals of volume that hold the truth"].verdict == TargetResult.MISSED


def test_methods_stand_side_by_side():
    frame = two_discs()
    frame["voxels_mm3"] = frame["true_mm3"] * 1.5
    frame.loc[0, "single_mm3"] = np.nan
    lines = report_standard(frame, ErrorModel("", {ALL_DIXON: {"joint": HALF_PERCENT}})).detail.splitlines()
    cells = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:] for line in lines if " | " in line}
    assert cells["number"] == [*METHODS.values(), "target"]
    assert cells["volume bias, worst level"][0] == "+50.00 %" and cells["volume bias, worst level"][2] == "+0.66 %"
    assert cells["+3 %, a rise beyond error"] == ["-", "-", "100.0 %", ">= 90.0 %"]
    assert cells["discs at a visit"][:3] == ["6 volumes", "6 volumes, 1 of them missing", "6 volumes"]
    assert cells["L4-L5"][0] == "+50.00 (0.00)"


def test_both_ends_of_a_target_belong_to_it():
    names = [t.what for t in next(row for row in CHANGE if row.name == "coverage").targets]
    for value, met in ((89.9, False), (90, True), (98, True), (98.1, False)):
        verdict = TargetResult.MET if met else TargetResult.MISSED
        assert {c.verdict for c in judge("coverage", dict.fromkeys(names, value))} == {verdict}
    assert judge("repeat", {"scan-rescan CV of volume": 0.5})[0].verdict == TargetResult.MET
    assert judge("repeat", {"scan-rescan CV of volume": 0.501})[0].verdict == TargetResult.MISSED
    assert not {row.name for row in CHANGE} & {row.name for row in ENGINE}


def test_conditions_are_compared_on_the_same_subjects(rng):
    frame = pd.concat([subjects(rng, 3), subjects(rng, 2, condition=T2)], ignore_index=True)
    lines = conditions_table(frame, [("t2", "T2 alone")], subjects=2).splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if " | " in line][2:]
    assert [r[0] for r in rows if len(r) == 6] == ["standard", "T2 alone"]
    assert all(line.endswith(f"{2 * 3 * len(LEVELS)} volumes |") for line in lines if "probabilities" in line)
    alone = summarise_method(frame[frame["condition"] == "t2"], VOXELS, None)
    numbers = f"{alone.volumes.bias:+.2f} % | {alone.cv:.2f} % | {alone.change_error_sd:.2f} %"
    assert f"T2 alone | voxels counted | {numbers}" in "\n".join(lines)


def test_the_fit_finds_floor_and_slope_again(rng):
    found = fit_errors(subjects(rng, 400, bias=0.01))
    assert list(found) == [ALL_DIXON] and list(found[ALL_DIXON]) == ["single", "joint"]
    single, joint = found[ALL_DIXON]["single"], found[ALL_DIXON]["joint"]
    for part in (joint.truth, joint.repeat):
        assert part.floor == pytest.approx(0.004, rel=0.1) and part.slope == pytest.approx(0.05, rel=0.1)
    # A bias of 1 % belongs to the distance from the truth; of two scans both have it.
    assert (single.truth.slope, single.repeat.slope) == (0, 0)
    assert single.truth.floor == pytest.approx(math.hypot(0.01, 0.012), rel=0.03)
    assert single.repeat.floor == pytest.approx(0.012, rel=0.03)
    assert single.discs == joint.discs == 400 * len(LEVELS)


@pytest.mark.parametrize("method", [JOINT, SINGLE])
def test_intervals_of_fitted_errors_hold_the_truth_of_other_subjects(rng, method):
    errors = fit_errors(subjects(rng, 100))[ALL_DIXON][method]
    s = summarise_method(subjects(rng, 100), method, errors)
    for share in (s.volume_covered, s.change_covered, s.unchanged):
        assert 93 < share < 97
    assert s.rise > 80 if method is JOINT else s.rise < 50  # 1.2 % of error hides 3 % of growth


@pytest.mark.parametrize(("n", "own"), [(100, True), (7, False)])
def test_the_bias_of_each_level_is_kept_apart_from_the_errors(rng, n: int, own: bool):
    frame = subjects(rng, n)
    off = frame["level"].map({level: 0.02 if level == "L5-S1" else 0.0 for level in LEVELS})
    found = fit_errors(frame.assign(joint_mm3=frame["joint_mm3"] * (1 + off)))[ALL_DIXON]
    assert found["single"].bias == {} and set(found["joint"].bias) == set(LEVELS)
    # Few subjects do not show a level's own bias: each then has that of all levels.
    assert found["joint"].bias["L5-S1"] == pytest.approx(0.02 if own else 0.02 / 7, abs=0.0015)
    assert found["joint"].bias["L4-L5"] == pytest.approx(0.0 if own else 0.02 / 7, abs=0.0015)
    if own:
        assert found["joint"].truth.sd(0.08) == pytest.approx(math.hypot(0.004, 0.05 * 0.08), rel=0.1)


def test_errors_of_few_subjects_are_enlarged():
    # Every joint volume 1 % too large or too small in turn, level by level: an SD of 1 % whoever is asked.
    def one(n: int) -> ErrorPart:
        frame = subjects(np.random.default_rng(0), n)
        sign = frame["session"].map({session: 1 if session == BASELINE else -1 for session in VISITS})
        return fit_errors(frame.assign(single_mm3=frame["true_mm3"] * np.exp(0.01 * sign)))[ALL_DIXON]["single"].repeat

    # ln differs by 0.02 between baseline and either visit, over the root of 2; t of 4 and 40 degrees of freedom
    assert one(4).floor == pytest.approx(0.02 / math.sqrt(2) * 2.7764 / 1.95996, rel=1e-3)
    assert one(40).floor == pytest.approx(0.02 / math.sqrt(2) * 2.0211 / 1.95996, rel=1e-3)


def test_floor_and_slope_reach_zero():
    uncertainty = np.array([0.05, 0.1, 0.2, 0.4])
    steep = fit_part(0.03 * uncertainty * [1, -1, 1, -1], uncertainty)
    assert (steep.floor, steep.slope) == (0, 0.03)
    falling = fit_part(np.array([0.02, -0.02, 0.01, -0.01]), uncertainty)  # less error where more uncertain: no slope
    assert falling == ErrorPart(float(f"{math.sqrt(2.5e-4):.4g}"), 0.0)
    assert fit_part(np.zeros(4), uncertainty) == ErrorPart(0.0, 0.0)
    assert fit_part(np.array([0.01, -0.03]), np.array([0.1, 0.1])).slope == 0


def test_errors_need_two_scans_of_a_disc():
    frame = two_discs()
    frame.loc[frame["session"] != BASELINE, "joint_mm3"] = np.nan
    assert list(fit_errors(frame)[ALL_DIXON]) == ["single"]


def test_one_contrast_alone_gets_a_quarter_of_the_subjects():
    assert [(c.name, n) for c, n in subjects_by_condition(32)] == [("standard", 32), ("water", 8), ("t2", 8),
                                                                     ("t1", 8)]
    assert [n for _, n in subjects_by_condition(8)] == [8, 4, 4, 4]
    assert [n for _, n in subjects_by_condition(1)] == [1, 1, 1, 1]


def test_averaged_slices_stay_where_they_are(rng):
    grid = Grid((6, 3, 4), np.array([[0.0, 0, 1.5, -7], [0, 1.25, 0, 2], [-2, 0, 0, 30], [0, 0, 0, 1]]))
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    head_mm = (index @ grid.affine_ras_mm[:3, :3].T + grid.affine_ras_mm[:3, 3])[..., 2]
    thick = averaged(Volume(head_mm.astype(np.float32), grid), 2)
    assert thick.data.shape == thick.grid.shape == (3, 3, 4) and thick.grid.spacing_mm[0] == 4
    np.testing.assert_allclose(thick.data[:, 0, 0], thick.grid.affine_ras_mm[2, 3] - 4.0 * np.arange(3))
    np.testing.assert_allclose(thick.data[0, 0, 0], (head_mm[0, 0, 0] + head_mm[1, 0, 0]) / 2)


def test_a_condition_scans_the_same_subject_in_another_way(monkeypatch):
    whole = synthetic_subjects.demo_grid()
    small = Grid((36, 32, 32), whole.affine_ras_mm @ np.diag([1, 8, 8, 1.0]))
    monkeypatch.setattr(synthetic_subjects, "demo_grid", lambda: small)
    visit, spine, scan = next(draw_subject(0, SEED))
    _, same, thick = next(draw_subject(0, SEED, replace(T2, slices_averaged=2)))
    assert visit == BASELINE and spine.volumes_mm3() == same.volumes_mm3()
    assert set(scan.contrasts) == set(DIXON) and set(thick.contrasts) == {Contrast.T2}
    assert (scan.grid.shape, thick.grid.shape) == ((36, 32, 32), (18, 32, 32))
    assert next(draw_subject(1, SEED))[1].volumes_mm3() != spine.volumes_mm3()


def test_a_disc_that_was_not_found_is_a_row_with_a_reason(monkeypatch):
    grid = Grid((4, 4, 4), np.eye(4))
    label = np.zeros(grid.shape, np.int32)
    label[:2], label[2:] = 1, 2
    found = Segmentation(LabelMap(label, grid), Volume(np.full(grid.shape, 0.5, np.float32), grid), ())
    spine = SimpleNamespace(volumes_mm3=lambda: dict.fromkeys(LEVELS, 30.0))
    scan = Scan({Contrast.WATER: Volume(np.ones(grid.shape, np.float32), grid)})
    monkeypatch.setattr(synthetic_subjects, "draw_subject", lambda *_: iter([(BASELINE, spine, scan)]))
    monkeypatch.setattr(synthetic_subjects, "segment", lambda *_, **__: found)
    monkeypatch.setattr(synthetic_subjects, "prepare_visit", lambda *_: None)
    monkeypatch.setattr(synthetic_subjects, "poses_of", lambda *_: {})
    monkeypatch.setattr(synthetic_subjects, "joint_volumes", lambda trained, seen, label, **_: {
        1: [JointVolume(1, BASELINE, frozenset({Contrast.WATER}), (28.0, 30.0), 0.2, 1.0)],
        2: [JointVolume(2, BASELINE, frozenset({Contrast.WATER}), (0.0, 0.0), math.nan, 1.0)]}.get(label, []))
    rows = measure_subject(None, 4, seed=SEED, device="cpu").set_index("level")
    assert len(rows) == len(LEVELS) and set(rows["subject"]) == {"sub-05"} and set(rows["contrasts"]) == {"water"}
    right = rows.loc["L5-S1"]
    assert (right["voxels_mm3"], right["single_mm3"], right["joint_mm3"]) == (32, 16, 29)
    assert right["boundary_uncertainty"] == 0.2
    assert right["reason"] == ""
    assert rows.loc["L4-L5", "reason"] == "nothing where the visits meet" and pd.isna(rows.loc["L4-L5", "joint_mm3"])
    lost = rows.drop(["L5-S1", "L4-L5"])
    assert set(lost["reason"]) == {"not found"} and lost[COLUMNS].isna().all(axis=None)


def texts(figure) -> str:
    return " ".join(t.get_text() for t in figure.findobj(Text))


def test_the_figure_shows_what_was_measured_and_says_synthetic(rng):
    frame = pd.concat([subjects(rng, 5), subjects(rng, 4, condition=T2)], ignore_index=True)
    figure = change_ablation(frame)
    told = texts(figure)
    assert "Synthetic scans of 5 subjects" in told and all(level in told for level in LEVELS)
    joint = summarise_method(frame[frame["condition"] == "standard"], JOINT, None)
    assert f"SD {joint.change_error_sd:.2f}\nn = 70" in told and "n = 35" in told
    assert all("%" in panel.get_ylabel() for panel in figure.axes)
    line = next(a for a in figure.axes[0].lines if len(a.get_xdata()) == len(LEVELS) and a.get_marker() == "o")
    assert np.allclose(line.get_ydata(), [joint.volumes.by_level[level][0] for level in LEVELS])


def test_the_figure_stands_with_few_rows_and_with_none():
    frame = two_discs()
    frame["joint_mm3"] = np.nan
    assert "Synthetic scans of 1 subject" in texts(change_ablation(frame)) and "none" in texts(change_ablation(frame))
    one = frame[(frame["level"] == "L4-L5") & (frame["session"] != GROWN)]
    assert "n = 1" in texts(change_ablation(one))
    for empty in (frame.iloc[:0], frame.assign(single_mm3=np.nan, voxels_mm3=np.nan)):
        assert "no disc" in texts(change_ablation(empty))


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A weights file whose network is never asked: every subject is made up, from its index and the seed."""
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"weights")
    asked: list[tuple[str, int, int]] = []

    def measure(trained, index, *, seed, device, condition, errors=None):
        asked.append((condition.name, index, seed))
        made = subjects(np.random.default_rng([seed, index]), 1, condition=condition)
        return made.assign(subject=f"sub-{index + 1:02d}")

    monkeypatch.setattr("bedrest.segmentation.weights.load_weights", lambda path: SimpleNamespace(
        record={"steps": 7}, contrasts=tuple(Contrast)))
    monkeypatch.setattr(synthetic_subjects, "measure_subject", measure)
    return SimpleNamespace(path=path, asked=asked)


def measure_change(*words: object) -> int:
    words = [str(w) for w in words]
    return change_benchmark.run(read_options(change_benchmark.ChangeBenchmark, change_benchmark.MODULE, words))


def fit(weights) -> bytes:
    words = ["--weights", str(weights.path), "--subjects", "12"]
    assert error_fit.run(read_options(error_fit.FitErrors, "fit_errors", words)) == 0
    return errors_path(weights.path).read_bytes()


def table_of(page: str) -> list[list[str]]:
    lines = page[: page.index("\n1. **repeat**")].splitlines()
    return [[c.strip() for c in line.strip("|").split("|")] for line in lines if line.startswith("| ")][2:]


def test_errors_are_fitted_once_and_then_used(tmp_path, weights, capsys):
    page = tmp_path / "docs" / "page.md"
    words = ("--weights", weights.path, "--subjects", 12, "--conditions", "noisy", "t2", "-o", page)
    assert measure_change(*words) == 0
    before = page.read_text()
    assert set(weights.asked) == {*(("standard", i, 778_001) for i in range(12)),
                                  *((c, i, 778_001) for c in ("noisy", "t2") for i in range(CONDITION_SUBJECTS))}
    table = table_of(before)
    assert [row[1] for row in table] == [t.what for row in CHANGE for t in row.targets]
    assert [row[0] for row in table if row[0]] == ["1 repeat", "2 bias", "3 change", "4 coverage"]
    assert [row[1] for row in table if row[5] == UNKNOWN] == [
        "no change, none beyond error", "+3 %, a rise beyond error",
        "95 % intervals of volume that hold the truth", "95 % intervals of change that hold the truth"]
    for told in ("seed 778001, 12 subjects x 3 visits", "--conditions noisy t2", "errors: not known", "SNR 7",
                 "T2 alone", "synthetic", "(figures/change_ablation.png)", "steps 7"):
        assert told in before
    assert "turned" not in before and "4 numbers not measured" in capsys.readouterr().out
    figures = list((page.parent / "figures").iterdir())
    assert [f.name for f in figures] == ["change_ablation.png"] and figures[0].read_bytes().startswith(b"\x89PNG")
    assert len(read_table(page.with_suffix(".csv"), CHANGE_DISCS)) == (12 + 2 * CONDITION_SUBJECTS) * 3 * len(LEVELS)

    weights.asked.clear()
    written = fit(weights)
    assert set(weights.asked) == {*(("standard", i, 778_101) for i in range(12)),
                                  *((c, i, 778_101) for c in ("water", "t2", "t1") for i in range(4))}
    assert fit(weights) == written
    assert set(json.loads(written)["errors"]) == {ALL_DIXON, "water", "t2", "t1"}

    assert measure_change(*words) == 0
    after = table_of(page.read_text())
    assert not [row for row in after if row[4] == "not measured"] and "weights.errors.json" in page.read_text()
    errors = load_errors(weights.path, sha256=sha256_of(weights.path)).given(ALL_DIXON, "joint")
    measured = read_table(page.with_suffix(".csv"), CHANGE_DISCS)
    joint = summarise_method(measured[measured["condition"] == "standard"], JOINT, errors)
    assert [row[2] for row in after[-2:]] == [f"{joint.volume_covered:.1f} %", f"{joint.change_covered:.1f} %"]
    weights.path.write_bytes(b"other weights")
    assert load_errors(weights.path, sha256="another") is None


def test_seeds_are_the_benchmarks_own():
    assert (SEED, FIT_SEED) == (778_001, 778_101)


def test_the_page_without_further_conditions(tmp_path, weights):
    page = tmp_path / "page.md"
    assert measure_change("--weights", weights.path, "--subjects", 1, "--conditions", "none", "-o", page) == 0
    assert {name for name, *_ in weights.asked} == {"standard"} and "## Other conditions" not in page.read_text()


def test_every_condition_has_its_name_on_the_command_line(tmp_path, weights):
    names = get_args(change_benchmark.ConditionName)
    assert names == ("all", "none", *(c.name for c in FURTHER))
    page = tmp_path / "page.md"
    assert measure_change("--weights", weights.path, "--subjects", 1, "-o", page) == 0
    assert {name for name, *_ in weights.asked} == {"standard", *names[2:]}
    assert all(c.words in page.read_text() for c in FURTHER)


@pytest.mark.parametrize("words", [("--subjects", "0"), ("--conditions", "none", "noisy"), ("-o", "page.txt")])
def test_what_makes_no_sense_is_refused(words, weights):
    with pytest.raises(StudyError):
        measure_change("--weights", weights.path, *words)
    assert not weights.asked


@pytest.mark.slow
def test_one_real_run_of_a_synthetic_subject():
    from bedrest.segmentation.weights import load_weights

    frame = measure_subject(load_weights(), 0, seed=SEED, device="cpu")
    assert len(frame) == 3 * len(LEVELS) and set(frame["reason"]) == {""}
    single, joint = (summarise_method(frame, method, None) for method in (SINGLE, JOINT))
    assert abs(joint.volumes.bias) < 3 and joint.cv < 1.5 and joint.change_error_sd < 2
    assert joint.change_error_sd < single.change_error_sd  # what measuring all visits together is for
