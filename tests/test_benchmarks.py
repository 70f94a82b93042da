"""The rules a benchmark judges by, on toys worked out by hand; the page with every row on it."""

import json
import math
import shlex
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch
from bedrest.anatomy.structures import Structure
from bedrest.errors import GeometryError
from bedrest.measurement.definition import DiscMeasure
from bedrest.phantom.demo_cohort import DemoPlan
from bedrest.protocols.scores import level_is_right, score_discs
from bedrest.segmentation.network import LOCATOR, SEGMENTER
from bedrest.segmentation.predict import predict
from bedrest.segmentation.weights import Calibration, TrainedNetwork
from bedrest.tables.measures import VisitKey, measures_frame
from bedrest.types import Grid, LabelMap, Scan, Volume
from bedrest.vocabulary import LABEL_OF_LEVEL, Contrast
from torch import nn

from pipelines.benchmarks.engine import __main__ as benchmarks
from pipelines.benchmarks.engine.child import Everywhere, NetworkClock, SlidingWindows, read_saved_scan, save_scan
from pipelines.benchmarks.engine.placement import place_discs
from pipelines.benchmarks.engine.real import between_vertebrae, manual_discs, summarise_placements
from pipelines.benchmarks.engine.speed import nnunet
from pipelines.benchmarks.engine.synthetic_visits import ALL_DIXON, CohortScores, disc_row, summarise_volumes
from pipelines.benchmarks.mask_scores import summarise
from pipelines.benchmarks.memory import peak_memory_bytes
from pipelines.benchmarks.result_tables import ENGINE_DISCS
from pipelines.benchmarks.targets import BY_NAME, ENGINE, Missing, Target, TargetResult, judge, not_measured
from pipelines.command_line import command_text, read_options

# 1 mm voxels: world and index are one. Vertebrae L3, L4, L5 are boxes 20 high; gaps of 10 hold the discs.
GRID = Grid((40, 60, 120), np.eye(4))
BODY = (slice(10, 30), slice(10, 30))
NAMES = {3: "L3", 4: "L4", 5: "L5"}
GAP = {"L5-S1": slice(10, 20), "L4-L5": slice(40, 50), "L3-L4": slice(70, 80), "L2-L3": slice(100, 110)}


def spine() -> LabelMap:
    data = np.zeros(GRID.shape, np.int32)
    for label, z in ((5, 20), (4, 50), (3, 80)):
        data[(*BODY, slice(z, z + 20))] = label
    return LabelMap(data, GRID)


def discs(where: dict[str, slice], *, shift: tuple[int, int, int] = (0, 0, 0)) -> LabelMap:
    data = np.zeros(GRID.shape, np.int32)
    for level, z in where.items():
        data[(*BODY, z)] = LABEL_OF_LEVEL[level]
    return LabelMap(np.roll(data, shift, (0, 1, 2)), GRID)


def placed(where: dict[str, slice], **kwargs) -> dict:
    return {p.level: p for p in place_discs(discs(where, **kwargs), spine(), NAMES)}


def test_discs_in_their_gaps_are_right():
    found = placed(GAP)
    assert list(found) == ["L5-S1", "L4-L5", "L3-L4", "L2-L3"]  # above L3 no mask: judged against L3 alone
    assert all(p.right and p.inside_percent == 0 and p.volume_mm3 == 4000 for p in found.values())


def test_discs_named_one_level_too_high_are_wrong():
    one_up = {"L4-L5": GAP["L5-S1"], "L3-L4": GAP["L4-L5"], "L2-L3": GAP["L3-L4"]}
    found = placed(one_up)
    assert not any(p.right for p in found.values())
    assert found["L5-S1"].reason == "not found"
    assert found["L4-L5"].reason.startswith("below") and found["L2-L3"].reason == "not above L3"


def test_discs_named_one_level_too_low_are_wrong():
    found = placed({"L5-S1": GAP["L4-L5"], "L4-L5": GAP["L3-L4"], "L3-L4": GAP["L2-L3"]})
    assert {k: p.reason for k, p in found.items()} == {
        "L5-S1": "not below L5", "L4-L5": "above both of its vertebrae or level with one",
        "L3-L4": "above both of its vertebrae or level with one"}


def test_a_disc_beside_the_column_is_wrong():
    # 16 mm to the front: between its vertebrae in height, but off their line
    assert placed({"L4-L5": GAP["L4-L5"]}, shift=(0, 10, 0))["L4-L5"].right
    assert placed({"L4-L5": GAP["L4-L5"]}, shift=(0, 16, 0))["L4-L5"].reason == (
        "16 mm off the line between its vertebrae")


def test_a_disc_half_in_a_vertebra_says_so():
    found = placed({"L4-L5": slice(45, 55)})["L4-L5"]  # L4 begins at 50
    assert found.inside_percent == 50 and found.right
    summary = summarise_placements([found, *place_discs(discs({}), spine(), NAMES)])
    # the three that must be there and are not: L5-S1, L4-L5, L3-L4
    assert (summary.n, summary.n_right, summary.largest_inside_percent) == (4, 1, 50)


def test_l5_s1_nearer_to_another_vertebra_than_l5_is_wrong():
    upside_down = LabelMap(np.select([spine().data == 5, spine().data == 3], [3, 5], spine().data), GRID)
    found = {p.level: p for p in place_discs(discs({"L5-S1": GAP["L5-S1"]}), upside_down, NAMES)}
    assert found["L5-S1"].reason == "nearer to L3 than to L5"


def test_masks_on_two_grids_are_refused():
    with pytest.raises(GeometryError):
        place_discs(discs(GAP), LabelMap(spine().data, replace(GRID, affine_ras_mm=2 * np.eye(4))), NAMES)


def test_a_level_is_right_when_each_mask_says_so():
    truth = np.repeat([1, 1, 1, 1, 2, 2, 2, 2, 0, 0], 10)
    assert level_is_right(truth, truth, 1)
    shifted = np.roll(truth, 10)  # a quarter of each disc lies in its neighbour's place
    assert level_is_right(shifted, truth, 1) and level_is_right(shifted, truth, 2)
    renamed = np.where(truth == 1, 2, np.where(truth == 2, 1, 0))
    assert not level_is_right(renamed, truth, 1)
    swallowed = np.where(truth > 0, 1, 0)  # one label over both discs: overlaps the second as much as the first
    assert not level_is_right(swallowed, truth, 1) and not level_is_right(swallowed, truth, 2)
    assert not level_is_right(np.where(truth == 1, 101, truth), truth, 1)  # found but not named
    assert not level_is_right(np.zeros_like(truth), truth, 1)


def test_a_missing_disc_counts_as_dice_0_and_a_wrong_level():
    truth = discs({"L5-S1": slice(10, 20), "L4-L5": slice(40, 50)})
    half = discs({"L5-S1": slice(15, 25)})  # Dice 0.5, centre 5 mm too high, volume as it should be
    score = summarise(score_discs(half, truth, levels={1: "L5-S1", 2: "L4-L5"}))
    assert (score.n, score.n_missing, score.levels_right_percent) == (2, 1, 50)
    assert score.dice == pytest.approx(0.25) and score.mld_mm == pytest.approx(5)
    assert score.volume_bias_percent == 0
    nothing = summarise(score_discs(discs({}), truth, levels={1: "L5-S1"}))
    assert nothing.dice == 0 and math.isnan(nothing.mld_mm)


def measured(session: str, volumes: dict[str, float], source: str) -> pd.DataFrame:
    visit = VisitKey("sub-01", "bed rest", session, -1 if session == "ses-1" else 60, "baseline")
    discs = [DiscMeasure(lv, LABEL_OF_LEVEL[lv], {"volume_mm3": v}) for lv, v in volumes.items()]
    return measures_frame(discs, visit=visit, source=source)


def test_bias_and_change_by_hand():
    frame = pd.concat([
        measured("ses-1", {"L4-L5": 100, "L5-S1": 200}, "reference"),
        measured("ses-2", {"L4-L5": 110, "L5-S1": 200}, "reference"),
        measured("ses-1", {"L4-L5": 102, "L5-S1": 196}, "automatic"),  # +2 %, -2 %
        measured("ses-2", {"L4-L5": 121, "L5-S1": 190}, "automatic"),  # +10 %, -5 %
    ], ignore_index=True)
    summary = summarise_volumes(frame, reference_session="ses-1")
    v = summary.volumes
    assert (v.n, v.n_missing) == (4, 0)
    assert v.bias == pytest.approx((2 - 2 + 10 - 5) / 4)
    assert v.by_level["L4-L5"][0] == pytest.approx(6) and v.by_level["L5-S1"][0] == pytest.approx(-3.5)
    assert (v.worst_level, v.worst) == ("L4-L5", pytest.approx(6))
    # arvd: ||100-121|-|100-110||/100 = 11 %; ||200-190|-|200-200||/200 = 5 %
    assert summary.arvd == pytest.approx(8)
    # signed: (19 - 10)/100 = +9 %; (-6 - 0)/200 = -3 %; mean 3, SD sqrt(72) of two values
    assert summary.change_error == pytest.approx(3) and summary.change_error_sd == pytest.approx(72**0.5)


def test_a_disc_without_a_measured_volume_is_counted():
    frame = pd.concat([measured("ses-1", {"L4-L5": 100, "L5-S1": 100}, "reference"),
                       measured("ses-1", {"L4-L5": 103}, "automatic")], ignore_index=True)
    v = summarise_volumes(frame, reference_session="ses-1").volumes
    assert (v.n, v.n_missing, v.bias) == (2, 1, pytest.approx(3))


def test_met_missed_and_not_measured():
    values = {"mean Dice": 0.95, "mean distance of centres (MLD)": 0.301, "levels right": Missing("no scanner")}
    verdicts = {c.what: c for c in judge("synthetic", values)}
    assert verdicts["mean Dice"].verdict == TargetResult.MET
    assert verdicts["mean distance of centres (MLD)"].verdict == TargetResult.MISSED
    lost = verdicts["levels right"]
    assert (lost.verdict, lost.measured, lost.note) == (TargetResult.NOT_MEASURED, "", "no scanner")
    assert judge("synthetic", {**values, "mean Dice": math.nan})[0].verdict == TargetResult.MISSED
    with pytest.raises(KeyError):
        judge("synthetic", {**values, "mean dice": 1.0})


def test_a_bias_is_bounded_on_both_sides_and_a_number_without_target_is_never_met():
    values = dict.fromkeys((t.what for t in BY_NAME["volumes"].targets), 0.0)
    by_what = {c.what: c.verdict for c in judge("volumes", {
        **values, "volume bias, mean over discs": -1.01, "volume bias, worst level": 1.0})}
    assert by_what["volume bias, mean over discs"] == TargetResult.MISSED
    assert by_what["volume bias, worst level"] == TargetResult.MET
    assert by_what["signed change error, mean"] == TargetResult.NO_TARGET
    assert [t.wanted for t in (Target("a", "{:g}", 1, 2), Target("a", "{:g}", 2, 2), Target("a", "{:g}"))] == [
        "1 to 2", "2", "-"]


def test_absent_data_are_not_measured(tmp_path):
    for part, name in ((manual_discs(None, tmp_path, "cpu"), "t2-discs"),
                       (between_vertebrae(None, tmp_path, "cpu"), "vertebrae"),
                       (nnunet(tmp_path / "result.json"), "nnunet")):
        assert [c.what for c in part.checks] == [t.what for t in BY_NAME[name].targets]
        assert all(c.verdict == TargetResult.NOT_MEASURED and c.note for c in part.checks) and not part.rows


def test_nnunet_is_read_and_half_a_result_is_none(tmp_path):
    terms = {"asked_minutes": 20, "training_scans": 12, "test_scans": 4, "data": "synthetic", "scans_sha256": "a",
             "threads": 2, "cores": 2, "cpu": "one", "device": "cpu"}
    one = {"dice": 0.9, "dice_unnamed": 0.95, "steps": 10, "minutes": 20.0, "seconds_a_scan": 3.0, "n": 28,
           "n_missing": 0, "volume_bias_percent": 1.0, "terms": terms}
    theirs = {**one, "dice": 0.6, "seconds_a_scan": 18.0, "versions": {"nnunetv2": "2"}, "memory_gb": 1,
              "patch": [1, 2, 3], "batch": 2}
    told = {"bedrest": one, "nnunet": theirs}
    (tmp_path / "result.json").write_text(json.dumps(told))
    dice, unnamed, seconds = nnunet(tmp_path / "result.json").checks
    assert (dice.measured, dice.verdict) == ("+0.300", TargetResult.MET)
    assert (unnamed.measured, unnamed.verdict) == ("+0.000", TargetResult.MET)
    assert (seconds.measured, seconds.verdict) == ("6.0", TargetResult.MET)
    other = {**one, "terms": {**terms, "asked_minutes": 40}}
    for half, why in (({}, "no result of bedrest"), (other, "differ in asked_minutes")):
        (tmp_path / "result.json").write_text(json.dumps({**told, "bedrest": half}))
        checks = nnunet(tmp_path / "result.json").checks
        assert all(c.verdict == TargetResult.NOT_MEASURED and why in c.note for c in checks)


def test_scans_for_the_timed_process_come_back_whole(rng, tmp_path):
    grid = Grid((3, 4, 5), np.diag([2.0, 1.25, 1.25, 1.0]))
    scan = Scan({c: Volume(rng.random(grid.shape).astype(np.float32), grid) for c in (Contrast.WATER, Contrast.T2)})
    save_scan(scan, tmp_path / "scan-00.npz")
    back = read_saved_scan(tmp_path / "scan-00.npz")
    assert set(back.contrasts) == set(scan.contrasts)
    assert back.grid.max_corner_distance_mm(grid) == 0
    np.testing.assert_array_equal(back.contrasts[Contrast.T2].data, scan.contrasts[Contrast.T2].data)


def test_the_sliding_window_searches_the_whole_scan_patch_by_patch():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = []

        def forward(self, image):
            self.patches.append(tuple(image.shape[2:]))
            return torch.zeros(image.shape[0], len(Structure), *image.shape[2:])

    counting = Counting()
    trained = TrainedNetwork(SlidingWindows(counting), Everywhere(), SEGMENTER, LOCATOR, Calibration())
    clock = NetworkClock([counting], "cpu")
    grid = Grid((40, 80, 128), np.diag([2.0, 1.25, 1.25, 1.0]))
    scan = Scan({Contrast.WATER: Volume(np.arange(np.prod(grid.shape), dtype=np.float32).reshape(grid.shape), grid)})
    assert predict(trained, scan, "cpu").grid.shape == grid.shape  # nothing is cut off
    # Half a patch of 24 x 64 x 96 from one to the next: 3 along 40, 2 along 80, 2 along 128.
    assert counting.patches == [(24, 64, 96)] * 12 and clock.seconds > 0


def test_peak_memory_is_of_the_child_alone():
    ballast = np.ones(40_000_000)  # 320 MB that the child must not be charged with
    code = "from pipelines.benchmarks.memory import peak_memory_bytes; print(peak_memory_bytes())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100e6 < ballast.nbytes < peak_memory_bytes()


def test_every_row_has_its_name_on_the_command_line():
    assert tuple(row.name for row in ENGINE) == get_args(benchmarks.RowName)


def test_the_page_holds_every_row(tmp_path, monkeypatch, capsys):
    """The command with its measuring replaced: one row measured, all others left out."""
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")

    trained = SimpleNamespace(record={"steps": 7, "data": "synthetic anatomies", "curve": [1, 2]})
    truth = discs({"L5-S1": slice(10, 20)})
    scores = score_discs(truth, truth, levels={1: "L5-S1"})

    def score_cohort(trained, plan, device, *, dixon, alone):
        assert plan == DemoPlan(2, 3, 777_001) and dixon and not alone
        rows = [{"row": "synthetic", "data": "synthetic", "contrasts": ALL_DIXON, "subject": "sub-01",
                 "session": "ses-1", "volume_analytic_mm3": 4010.0, **disc_row(s)} for s in scores]
        return CohortScores({ALL_DIXON: scores}, [], rows)

    monkeypatch.setattr("bedrest.segmentation.weights.load_weights", lambda path: trained)
    monkeypatch.setattr("pipelines.benchmarks.engine.synthetic_visits.score_cohort", score_cohort)
    page = tmp_path / "page.md"
    words = ["--device", "cpu", "--subjects", "2", "--weights", str(weights), "--rows", "synthetic"]
    options = read_options(benchmarks.EngineBenchmark, benchmarks.MODULE, [*words, "-o", str(page)])
    assert benchmarks.run(options) == 0
    text = page.read_text()
    command = shlex.join(["python", "-m", "pipelines.benchmarks.engine", *words, "--output", str(page)])
    assert command == command_text(options, module=benchmarks.MODULE) and f"made by `{command}`" in text
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    table = cells[2:]
    assert [c[1] for c in table] == [t.what for row in ENGINE for t in row.targets]
    assert [c[0] for c in table if c[0]] == [f"{i} {row.name}" for i, row in enumerate(ENGINE, start=1)]
    assert table[0][2:5] == ["1.000", ">= 0.950", "yes"]
    assert all(c[2] == "-" and c[4] == "not measured" and c[5] == "left out by --rows" for c in table[3:])
    for told in ("--rows synthetic", "777001", "steps 7", "synthetic anatomies", "machine: "):
        assert told in text
    assert "3 targets met, 0 missed" in capsys.readouterr().out
    rows = pd.read_csv(page.with_suffix(".csv"))
    assert list(rows.columns) == ENGINE_DISCS.column_names and rows.loc[0, "volume_ratio"] == 1 and rows.loc[0, "right"]


def test_a_row_left_out_has_every_number():
    assert len(not_measured("contrasts", "why")) == 5
