"""`bedrest train`: targets from discs alone, splits by subject, the loop, what is stored, who may go on in a folder."""

import json
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from bedrest import schemas
from bedrest.anatomy.structures import Structure
from bedrest.cli import main
from bedrest.errors import GeometryError, ImageError, OutputError, StudyError, WeightsError
from bedrest.io.files import sha256_of
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import typed_frame
from bedrest.phantom.paint import Painting
from bedrest.phantom.tissues import Tissue
from bedrest.segmentation.network import Architecture, build_network
from bedrest.segmentation.training import fit as loop
from bedrest.segmentation.training.augment import Augmentation, Pool, draw_patch, plain_pairs
from bedrest.segmentation.training.finetune import (
    FineTuningPlan,
    Fold,
    Machine,
    claim_folder,
    make_folds,
    read_result,
    refuse_other_training,
    run_fold,
    start_from,
)
from bedrest.segmentation.training.fit import FitPlan, fit
from bedrest.segmentation.training.labelled import disc_dice, label_scan, training_target
from bedrest.segmentation.weights import Calibration, TrainedNetwork, chosen_weights, load_weights, save_weights
from bedrest.tables.training import accuracy_by_level, disc_by_disc
from bedrest.types import Grid, LabelMap, Scan, Segmentation, Volume
from bedrest.vocabulary import Contrast
from bedrest.workflow.run import prepare
from bedrest.workflow.run import run_workflow as workflow
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from study_folders import study_of

TINY = Architecture((4, 6, 8, 8, 8))
GRID = Grid((20, 36, 64), np.diag([2.0, 1.25, 1.25, 1.0]))
PATCH = Augmentation(patch=(8, 16, 32), off_centre=(2, 4, 8))
DISCS = {1: slice(18, 24), 2: slice(38, 44)}  # along the body axis


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> TrainedNetwork:
    """Tiny untrained networks, stored and read back."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    save_weights(path, TrainedNetwork(build_network(TINY), build_network(TINY), TINY, TINY,
                                      Calibration(1.25, (0.0, 0.1, -0.2, 0.3, 0.4)), {"data": "nothing yet"}))
    return load_weights(path)


def toy(seed: int) -> tuple[Scan, LabelMap]:
    """Two bright discs in dim noise, water and fat; every seed at another place."""
    rng = np.random.default_rng(seed)
    labels, shift = np.zeros(GRID.shape, np.int32), int(rng.integers(-3, 4))
    for label, heights in DISCS.items():
        labels[4:16, 10 + shift : 26 + shift, heights] = label
    noise = rng.uniform(0, 30, (2, *GRID.shape)).astype(np.float32)
    water = noise[0] + 20 + 100 * (labels > 0)
    return (Scan({Contrast.WATER: Volume(water, GRID), Contrast.FAT: Volume(noise[1] + 40 * (labels == 0), GRID)}),
            LabelMap(labels, GRID))


class Background(torch.nn.Module):
    """A teacher that sees background everywhere."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        background = 9.0 * torch.eye(len(Structure))[Structure.BACKGROUND]
        return background[None, :, None, None, None].expand(1, -1, *image.shape[2:])


@pytest.fixture(scope="module")
def pool(start) -> Pool:
    teacher = replace(start, network=Background(), calibration=Calibration())
    return Pool([label_scan(*toy(seed), teacher, "cpu", subject=subject, session="ses-1")
                 for seed, subject in ((1, "A"), (2, "B"))])


# Targets


def test_discs_come_from_the_person_and_the_rest_from_the_network():
    spacing, discs = 1.25, np.zeros((1, 1, 60), np.float32)
    discs[..., 20:24], discs[..., 24], discs[..., 34:38] = 1, 0.5, 1
    prediction = np.tile(np.array([0.1, 0.0, 0.6, 0.3, 0.0], np.float32)[:, None, None, None], (1, 1, 60))
    prediction = prediction.reshape(5, 1, 1, 60)
    guess = np.array([0.1, 0.6, 0.3, 0.0, 0.0], np.float32)
    for k in (29, 42, 50, 6, 15):
        prediction[:, 0, 0, k] = guess
    prediction[:, 0, 0, 30] = [0, 1, 0, 0, 0]
    target = training_target(discs, prediction, spacing)[:, 0, 0]
    np.testing.assert_allclose(target.sum(axis=0), 1, atol=1e-6)
    np.testing.assert_allclose(target[:, 21], [0, 1, 0, 0, 0], atol=1e-6)  # the subject's disc
    np.testing.assert_allclose(target[:, 24], [0.05, 0.5, 0.3, 0.15, 0], atol=1e-6)  # half a voxel of it
    np.testing.assert_allclose(target[:, 45], [0.1, 0, 0.6, 0.3, 0], atol=1e-6)  # nobody says disc
    # The network's disc between the labelled ones, or up to 8 mm (6.4 voxels) beyond: to the neighbours 1 : 3.
    for k in (29, 42, 15):
        np.testing.assert_allclose(target[:, k], [0.25, 0, 0.75, 0, 0], atol=1e-6, err_msg=str(k))
    np.testing.assert_allclose(target[:, 30], [1, 0, 0, 0, 0], atol=1e-6)  # no neighbour to give it to
    for k in (50, 6):  # farther away it may be a disc that nobody drew
        np.testing.assert_allclose(target[:, k], guess, atol=1e-6, err_msg=str(k))


def test_a_mask_becomes_shares_that_keep_its_volume(start):
    fine = Grid((40, 72, 130), np.diag([1.0, 0.625, 0.625, 1.0]))
    labels = np.zeros(fine.shape, np.int32)
    labels[9:31, 21:51, 37:49] = 2
    image = np.random.default_rng(0).uniform(1, 9, fine.shape).astype(np.float32)
    found = label_scan(Scan({Contrast.T2: Volume(image, fine)}), LabelMap(labels, fine), start, "cpu", subject="A",
                       session="s")
    volume = found.discs.astype(float).sum() * np.prod(found.spacing_mm)
    assert volume == pytest.approx((labels > 0).sum() * fine.voxel_volume_mm3, rel=0.01)
    assert ((found.discs > 0.01) & (found.discs < 0.99)).any()
    assert found.channels == (list(Contrast).index(Contrast.T2),) and found.image[4].any() and not found.image[:4].any()


@pytest.mark.parametrize(("change", "error", "told"), [
    (lambda m: LabelMap(np.where(m.data == 2, 8, m.data), m.grid), ImageError, r"labels \[8\]"),
    (lambda m: LabelMap(np.where(m.data == 2, 201, m.data), m.grid), ImageError, r"labels \[201\]"),
    (lambda m: LabelMap(m.data * 0, m.grid), ImageError, "empty mask"),
    (lambda m: LabelMap(m.data, Grid(m.grid.shape, np.diag([2.0, 1.0, 1.25, 1]))), GeometryError, r"8\.8 mm apart"),
    (lambda m: LabelMap(m.data[1:], Grid((19, 36, 64), m.grid.affine_ras_mm)), GeometryError, "19, 36, 64"),
])
def test_masks_that_do_not_fit_are_refused(start, change, error, told):
    scan, mask = toy(1)
    with pytest.raises(error, match=f"A ses-1 reference mask.*{told}"):
        label_scan(scan, change(mask), start, "cpu", subject="A", session="ses-1")


# Patches


def test_patches_keep_shares_and_lose_contrasts(pool, rng):
    scan, kept = pool.scans[0], set()
    for _ in range(40):
        image, target = draw_patch(scan, rng, PATCH)
        np.testing.assert_allclose(target.sum(axis=0), 1, atol=1e-5)
        assert image.min() >= 0 and not image[2:].any()
        assert target[Structure.DISC].max() > 0.9  # a disc is near
        kept.add(tuple(np.flatnonzero(image.any(axis=(1, 2, 3)))))
    assert kept == {(0,), (1,), (0, 1)}


def test_a_plain_patch_holds_the_scans_own_voxels(pool):
    scan = pool.scans[0]
    own = np.unique(scan.image[0])
    for image, _ in plain_pairs([scan], PATCH, each=4, seed=0):
        assert np.isin(image[0].astype(np.float16), own).all()
    warped = draw_patch(scan, np.random.default_rng(0), replace(PATCH, warped=1.0))[0]
    assert not np.isin(warped[0].astype(np.float16), own).all()


def test_synthetic_patches_come_in_by_their_share(pool, rng):
    tissue = np.full((40, 60, 96), Tissue.SACRUM_MARROW, np.uint8)
    mixed = replace(pool, synthetic=[Painting(tissue, GRID)], synthetic_share=0.5)
    how = replace(PATCH, patch=(8, 32, 32))
    synthetic = [mixed.draw(rng, how)[1][Structure.SACRUM].min() > 0.99 for _ in range(40)]
    assert 8 <= sum(synthetic) <= 32


# Splits


@settings(deadline=None)
@given(st.sets(st.text("abc123", min_size=1, max_size=4), min_size=1, max_size=12), st.integers(0, 12),
       st.floats(0, 0.9), st.integers(0, 5))
def test_splits_are_by_subject_and_repeat(subjects, folds, share, seed):
    plan = FineTuningPlan(folds=folds, validation_share=share, seed=seed)
    if folds == 1 or folds > len(subjects):
        with pytest.raises(StudyError, match="--folds"):
            make_folds(subjects, plan)
        return
    made = make_folds(subjects, plan)
    assert made == make_folds(sorted(subjects) * 2, plan)
    for fold in made:
        parts = (*fold.training, *fold.validation, *fold.held_out)
        assert sorted(parts) == sorted(subjects) and (fold.training or len(subjects) == folds == 1)
    assert sorted(s for fold in made for s in fold.held_out) == (sorted(subjects) if folds else [])
    final = made[-1]
    assert final.name == "final" and final.training and not final.held_out
    assert bool(final.validation) == (not folds and share > 0 and len(subjects) > 1)


# The loop


def constant(step: int):
    image = torch.rand(2, len(Contrast), 4, 16, 16, generator=torch.Generator().manual_seed(step))
    while True:
        yield image, torch.full((2, 5, 4, 16, 16), 0.2)


def test_patience_ends_a_run_and_the_best_weights_are_kept(tmp_path):
    scores, seen = iter([0.2, 0.6, 0.5, 0.6, 0.4, 0.9]), []

    def validate(network):
        seen.append({k: v.detach().clone() for k, v in network.state_dict().items()})
        return next(scores)

    plan = FitPlan(5, "cpu", validate_every=2, patience=3)
    network, progress = fit(build_network(TINY), constant, plan, tmp_path / "c.pt", validate=validate)
    assert progress.step == 10 and [v[2] for v in progress.validations] == [0.2, 0.6, 0.5, 0.6, 0.4]
    assert progress.best == 0.6 and progress.seconds < 300
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, seen[1][name])
    assert any(not torch.equal(seen[1][k], seen[4][k]) for k in seen[1])


@pytest.fixture(scope="module")
def learnt(start, pool, tmp_path_factory):
    """A run from scratch on two scans of two subjects, one of which only says when to stop."""
    plan = FineTuningPlan(minutes=0.25, from_scratch=True, fewest_steps=20, augmentation=PATCH, synthetic_share=0)
    asked = start_from(start, {"A ses-1 water": "a1", "A ses-1 reference_mask": "a2", "B ses-1 water": "b1"})
    folder = tmp_path_factory.mktemp("run") / "final"
    fold = Fold("final", ("A",), ("B",), ())
    with pytest.MonkeyPatch.context() as patched:
        # A clock that goes by steps, two readings each: the same run on a busy machine. Few steps need a short memory.
        patched.setattr(loop, "time", SimpleNamespace(monotonic=partial(next, count(0, 0.04))))
        patched.setattr("bedrest.segmentation.training.finetune.FitPlan", partial(FitPlan, average_decay=0.9))
        return run_fold(fold, pool, asked, plan, machine=Machine(), folder=folder), folder, asked, plan


def test_training_learns_what_an_untrained_network_does_not_know(learnt, start, pool):
    result, folder, *_ = learnt
    assert result.curve[-1][2] < 0.6 * result.curve[0][2]
    assert disc_dice(start.network, pool.scans[1], "cpu") == pytest.approx(result.start_dice, abs=1e-4)
    assert result.start_dice < 0.5 < 0.8 < result.dice
    stored = load_weights(folder / "weights.safetensors")
    assert disc_dice(stored.network, pool.scans[1], "cpu") == pytest.approx(result.dice, abs=1e-4)


def test_weights_say_how_they_were_made_and_name_no_path(learnt, start):
    result, folder, asked, plan = learnt
    stored = load_weights(folder / "weights.safetensors")
    assert (stored.architecture, stored.locator_architecture) == (TINY, TINY)
    assert stored.calibration != start.calibration and all(np.isfinite(stored.calibration.offsets))
    for one, two in zip(stored.locator.state_dict().values(), start.locator.state_dict().values(), strict=True):
        assert torch.equal(one, two)
    record = stored.record
    assert record["data"] == f"user's scans, from scratch, neighbours by {sha256_of(start.path)}"
    assert record["subjects"] == {"training": ["A"], "validation": ["B"], "held_out": []}
    assert record["inputs_sha256"] == {"training": {"A ses-1 water": "a1", "A ses-1 reference_mask": "a2"},
                                       "validation": {"B ses-1 water": "b1"}}
    assert record["started_from"] == {"sha256": asked.sha256, "record": {"data": "nothing yet"}}
    assert record["plan"]["minutes"] == plan.minutes and record["plan"]["augmentation"]["patch"] == list(PATCH.patch)
    assert record["steps"] == result.steps > 100 and record["torch"] == torch.__version__ and "commit" in record["code"]
    with safe_open(folder / "weights.safetensors", framework="pt") as file:
        assert str(start.path.parent.parent) not in json.dumps(file.metadata())
        assert set(file.metadata()) == {"architecture", "locator_architecture", "calibration", "record", "spacing_mm",
                                        "locator_spacing_mm", "contrasts", "label_map", "intensity_rule"}


@pytest.mark.parametrize(("key", "value"), [("spacing_mm", "[1.0, 1.0, 1.0]"), ("label_map", '{"disc": 2}'),
                                            ("intensity_rule", "z score"), ("contrasts", '["t1"]')])
def test_weights_for_another_program_are_refused(start, tmp_path, key, value):
    with safe_open(start.path, framework="pt") as file:
        header = file.metadata()
    path = tmp_path / "other.safetensors"
    save_file(load_file(start.path), path, metadata={**header, key: value})
    with pytest.raises(WeightsError, match=f"other.safetensors.*{key}"):
        load_weights(path)


def test_a_finished_run_is_not_done_again(learnt, pool, monkeypatch):
    result, folder, asked, plan = learnt
    monkeypatch.setattr("bedrest.segmentation.training.finetune.fit", None)  # would fail if it were called
    again = run_fold(result.fold, pool, asked, plan, machine=Machine(), folder=folder)
    assert again == result == read_result(folder) and not (folder / "checkpoint.pt").exists()


def test_a_stopped_run_goes_on_where_it_was(start, pool, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY_S", 0.0)
    calls = []

    def score(network, scan, device):
        calls.append(scan.subject)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return 0.5 + 0.01 * len(calls)

    monkeypatch.setattr("bedrest.segmentation.training.finetune.disc_dice", score)
    plan = FineTuningPlan(minutes=5, patience=2, fewest_steps=5, augmentation=PATCH, synthetic_share=0)
    monkeypatch.setattr("bedrest.segmentation.training.finetune.STEPS_FOR_A_VALIDATION_SCAN", 5)
    go = (Fold("final", ("A",), ("B",), ()), pool, start_from(start, {}), plan)
    with pytest.raises(KeyboardInterrupt):
        run_fold(*go, machine=Machine(), folder=tmp_path)
    before = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["progress"]
    assert before["step"] == 9 and [v[0] for v in before["validations"]] == [5]
    assert not (tmp_path / "result.json").exists()
    scores = iter([0.7, 0.6, 0.6])  # of steps 10, 15, 20; then start and end
    monkeypatch.setattr("bedrest.segmentation.training.finetune.disc_dice", lambda *_: next(scores, 0.65))
    result = run_fold(*go, machine=Machine(), folder=tmp_path)
    assert [v[0] for v in result.validations] == [5, 10, 15, 20] and result.steps == 20
    assert result.validations[0] == before["validations"][0] and result.minutes * 60 >= before["seconds"] - 0.6
    assert result.stopped.startswith("no better")
    assert set(load_weights(tmp_path / "weights.safetensors").record) == {
        "data", "subjects", "inputs_sha256", "plan", "steps", "minutes", "bedrest", "code", "torch", "started_from"}


# The numbers of the report


def test_before_and_after_by_level_count_what_was_missed():
    row = {"fold": "fold-1", "subject": "A", "session": "s", "status": "ok"}
    rows = [{**row, "network": "start", "level": "L5-S1", "dice": 0.6, "volume_error_percent": 20.0},
            {**row, "network": "start", "level": "L4-L5", "dice": None, "status": "failed", "reason": "missing"},
            {**row, "network": "trained", "level": "L5-S1", "dice": 0.9, "volume_error_percent": -4.0},
            {**row, "network": "trained", "level": "L4-L5", "dice": 0.7, "volume_error_percent": 2.0}]
    accuracy = typed_frame(rows, schemas.TRAINING_ACCURACY)
    found = accuracy_by_level(accuracy).set_index("level")
    assert found.loc["L4-L5", ["discs", "missed, start", "missed, trained"]].tolist() == [1, 1, 0]
    assert found.loc["all", ["discs", "missed, start", "Dice, start", "Dice, trained"]].tolist() == [2, 1, 0.6, 0.8]
    assert found.loc["all", "volume error (%), trained"] == -1.0
    one = disc_by_disc(accuracy)
    assert one["level"].tolist() == ["L4-L5", "L5-S1"] and one["status"].tolist() == ["ok", "ok"]
    assert np.isnan(one["Dice, start"][0]) and one["Dice, trained"].tolist() == [0.7, 0.9]


# Who may go on in a folder


@pytest.mark.parametrize(("change", "told"), [
    (lambda s, p: (s, replace(p, minutes=10.0)), "minutes 30.0 -> 10.0"),
    (lambda s, p: (s, replace(p, seed=3, folds=2)), "folds 0 -> 2; seed 0 -> 3"),
    (lambda s, p: (replace(s, inputs_sha256={"A s water": "2"}), p), "A s water another file"),
    (lambda s, p: (replace(s, inputs_sha256={"B s water": "1"}), p), "A s water gone; files: B s water added"),
    (lambda s, p: (replace(s, sha256="x"), p), "starting weights another file"),
])
def test_other_data_or_options_are_refused_and_named(start, tmp_path, change, told):
    asked, plan = start_from(start, {"A s water": "1"}), FineTuningPlan()
    refuse_other_training(tmp_path, asked, plan)
    claim_folder(tmp_path, asked, plan)
    refuse_other_training(tmp_path, asked, plan)
    with pytest.raises(OutputError, match=told):
        refuse_other_training(tmp_path, *change(asked, plan))


# The commands


def write_study(folder: Path, subjects: str, *, masks: bool = True) -> Path:
    rows = []
    for seed, subject in enumerate(subjects):
        scan, mask = toy(seed)
        files = {c.value: v.data for c, v in scan.contrasts.items()}
        if masks:
            files["reference_mask"] = mask.data.astype(np.uint8)
        for name, data in files.items():
            (folder / f"{subject}_{name}.nii").parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(data, GRID.affine_ras_mm), folder / f"{subject}_{name}.nii")
            rows.append(f"{subject},ses-1,{name},{subject}_{name}.nii")
    (folder / "scans.csv").write_text("subject,session,contrast,path\n" + "\n".join(rows) + "\n")
    return study_of(folder, 'layout = "csv"\nroot = "."\nscans_csv = "scans.csv"', groups='["all"]').path


def test_train_folds_report_and_again(start, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("bedrest.segmentation.training.finetune.CALIBRATION_PATCHES", 1)
    study, out = write_study(tmp_path / "study", "ABC"), tmp_path / "out"
    words = ["train", study, "-o", out, "--start", start.path, "--folds", "3", "--minutes", "0.02", "--threads", "1",
             "--synthetic-share", "0", "--device", "cpu"]
    code = main(list(map(str, words)))
    said = capsys.readouterr()
    assert code in (0, 3), said.err
    assert "every subject was tested in a fold" in said.out and "weights = " in said.out
    results = StudyResults(out)
    folds = results.read(schemas.TRAINING_FOLDS).set_index("fold")
    assert sorted(folds.loc["fold-1":"fold-3", "held_out"]) == ["A", "B", "C"]
    assert folds.loc["final", "training"] == "A, B, C" and np.isnan(folds.loc["final", "best_dice"])
    accuracy = results.read(schemas.TRAINING_ACCURACY)
    assert len(accuracy) == 2 * 3 * len(DISCS) and set(accuracy["level"]) == {"L5-S1", "L4-L5"}
    page = (out / "report.html").read_text()
    assert "Training report" in page and "data:image/png" in page and "could not be made" not in page
    assert str(tmp_path) not in page
    record = json.loads((out / "weights.json").read_text())
    assert record["sha256"] == sha256_of(out / "weights.safetensors")
    assert list(record["inputs_sha256"]["training"]) == [
        f"{s} ses-1 {c}" for s in "ABC" for c in ("fat", "reference_mask", "water")]
    stamps = {p: p.stat().st_mtime_ns for p in out.glob("*/result.json")}
    assert len(stamps) == 4 and main(list(map(str, words))) == code
    assert stamps == {p: p.stat().st_mtime_ns for p in out.glob("*/result.json")}
    capsys.readouterr()
    assert main([*map(str, words), "--seed", "1"]) == 1
    assert "seed 0 -> 1" in capsys.readouterr().err


@pytest.mark.parametrize(("subjects", "masks", "more", "told"), [
    ("A", False, [], "at least one visit with a reference mask, found none"),
    ("AB", True, ["--folds", "3"], "at least 3 labelled subjects"),
    ("A", True, ["--minutes", "0"], "--minutes: expected a positive number"),
    ("A", True, ["--start", "absent.safetensors"], "absent.safetensors: expected a weights file"),
])
def test_what_cannot_be_trained_is_told(start, tmp_path, capsys, subjects, masks, more, told):
    study = write_study(tmp_path / "study", subjects, masks=masks)
    words = ["train", study, "-o", tmp_path / "out", *(["--start", start.path] if "--start" not in more else [])]
    assert main([*map(str, words), *more]) == 1
    assert told in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_segment_uses_the_weights_named(start, tmp_path, capsys, monkeypatch):
    write_study(tmp_path, "A")
    used = []

    def engine(trained, scan, *, device, **_):
        used.append((trained.path, trained.record))
        nothing = np.zeros(scan.grid.shape, np.int32)
        return Segmentation(LabelMap(nothing, scan.grid), Volume(nothing.astype(np.float32), scan.grid), ())

    monkeypatch.setattr("bedrest.segmentation.engine.segment", engine)
    words = ["segment", "--water", str(tmp_path / "A_water.nii"), "-o", str(tmp_path / "m.nii.gz"), "--weights"]
    assert main([*words, str(start.path)]) == 3  # nothing found
    assert used == [(start.path, {"data": "nothing yet"})]
    assert main([*words, str(tmp_path / "absent")]) == 1 and len(used) == 1
    assert "absent: expected a weights file, found no such file" in capsys.readouterr().err


def test_weights_of_a_study_are_found_recorded_and_redone(start, tmp_path, monkeypatch):
    path = write_study(tmp_path, "A")
    path.write_text('weights = "own.safetensors"\n' + path.read_text())
    from bedrest.settings import load_study

    study = load_study(path)
    assert study.weights == tmp_path / "own.safetensors"
    with pytest.raises(WeightsError, match=r"own\.safetensors"):
        chosen_weights(study.weights)
    assert main(["check", str(path)]) == 1
    (tmp_path / "own.safetensors").write_bytes(start.path.read_bytes())
    results = StudyResults(study.output_dir)
    manifest, problems = prepare(study, results)
    assert not problems
    commands = []

    class Done:
        def __init__(self, command, **_):
            commands.append(command)
            self.stdout, self.returncode = iter(()), 0

        def wait(self, timeout=None):
            return self.returncode

        def poll(self):
            return self.returncode

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("subprocess.Popen", Done)
    work = results.output_dir / "work"
    workflow(study, results, manifest, cores=1, device="cpu")
    first = (work / "settings/segment.json").read_text()
    assert sha256_of(start.path) in first and commands
    save_weights(tmp_path / "own.safetensors", replace(start, record={"data": "other"}))
    workflow(study, results, manifest, cores=1, device="cpu")
    assert (work / "settings/segment.json").read_text() != first
