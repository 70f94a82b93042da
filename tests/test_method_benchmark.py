"""`bedrest benchmark` on tiny toy studies: rows, resumption, refusal, failed rows, pages. All synthetic.

Networks have one or two feature maps and two steps: what they find is nothing; what is tested is the way there.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from bedrest.cli import main
from bedrest.errors import ImageError, OutputError, StudyError
from bedrest.io.synthetic import says_synthetic
from bedrest.io.tables.typed_csv import read_table, read_text
from bedrest.methods.cases import on_scan_grid
from bedrest.methods.method import Method, MethodOptions, Prediction, Stage
from bedrest.methods.registry import METHODS
from bedrest.methods.staged_training import Budget
from bedrest.protocols import records
from bedrest.protocols.runs import FoldRun, Labelled, OwnEngine, Settings, run_row, stored_discs, stored_result
from bedrest.protocols.shapes import ProtocolRow
from bedrest.protocols.splits import Split
from bedrest.types import LabelMap, Segmentation, Volume
from bedrest.vocabulary import DIXON, Contrast
from bedrest.workflow.locks import locked
from study_folders import SESSION_BLOCKS, study_of
from toy_cases import toy_case

SHAPE = (36, 48, 76)
QUICK = ["--budget", "60", "--steps", "1", "--width", "16", "--device", "cpu"]
CHALLENGE = {Contrast.FAT: "fat", Contrast.IN_PHASE: "inn", Contrast.OPPOSED: "opp", Contrast.WATER: "wat"}


def write_toy_study(folder: Path, subjects: str, *, contrasts=DIXON, head: str = "") -> Path:
    """Each subject at two visits, four contrasts, named discs."""
    rng, rows = np.random.default_rng(0), []
    folder.mkdir(parents=True)
    for subject in subjects:
        for session in ("ses-1", "ses-2"):
            case = toy_case(rng, shape=SHAPE, contrasts=contrasts)
            files = {c.value: d.astype(np.int16) for c, d in zip(case.contrasts, case.image, strict=True)}
            files["reference_mask"] = case.labels.astype(np.uint8)
            for name, data in files.items():
                path = folder / f"{subject}_{session}_{name}.nii"
                nib.save(nib.Nifti1Image(data, case.grid.affine_ras_mm), path)
                rows.append(f"{subject},{session},{name},{path.name}")
    (folder / "scans.csv").write_text("subject,session,contrast,path\n" + "\n".join(rows) + "\n")
    return study_of(folder, 'layout = "csv"\nroot = "."\nscans_csv = "scans.csv"', groups='["all"]', head=head).path


def write_ivdm3seg(folder: Path, *, pairs: bool) -> Path:
    """Four scans of two subjects exactly as the challenge lays them: folders 01 to 04, one label for all discs."""
    rng = np.random.default_rng(1)
    for n in range(1, 5):
        case, at = toy_case(rng, shape=SHAPE), folder / "IVDM3Seg" / f"{n:02d}"
        at.mkdir(parents=True)
        for contrast, data in zip(case.contrasts, case.image, strict=True):
            name = at / f"{n:02d}_{CHALLENGE[contrast]}.nii"
            nib.save(nib.Nifti1Image(data.astype(np.int16), case.grid.affine_ras_mm), name)
        drawn = (case.labels > 0).astype(np.uint8)
        nib.save(nib.Nifti1Image(drawn, case.grid.affine_ras_mm), at / f"{n:02d}_Labels.nii")
    told = ('\n[images.pairs]\n01 = ["P1", "ses-1"]\n02 = ["P1", "ses-2"]\n03 = ["P2", "ses-1"]\n04 = ["P2", "ses-2"]\n'
            if pairs else "")
    path = folder / "study.toml"
    path.write_text(f'name = "challenge"\ngroups = ["volunteers"]\nreference_session = "ses-1"\n[images]\n'
                    f'layout = "ivdm3seg"\nroot = "IVDM3Seg"\n{told}{SESSION_BLOCKS}')
    return path


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    return write_toy_study(tmp_path_factory.mktemp("toy") / "study", "ABC",
                           head='description = "Synthetic boxes in noise."')


@pytest.fixture(autouse=True)
def one_pair_a_step(monkeypatch):
    """One step of one pair says as much here as one of ten."""
    monkeypatch.setattr("bedrest.methods.papers.li2018.BATCH", 1)


@pytest.fixture
def no_report(monkeypatch):
    """Leaves the notebook out, which has a process of its own."""
    monkeypatch.setattr("bedrest.pages.reports.make_methods_report", lambda folder: folder)


def bench(study: Path, out: Path, *more: str) -> int:
    return main(["benchmark", str(study), *more, *QUICK, "-o", str(out)])


def table(out: Path, which, protocol: str = "comparison") -> pd.DataFrame:
    return read_table(out / protocol / f"{which.name}.csv", which)


# The command


def test_methods_are_compared_and_reported_and_not_trained_again(study, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    assert bench(study, out, "--methods", "fcn-baseline", "--folds", "3") == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "6 labelled scans of 3 subjects; 3 training(s) of at most 60 min on cpu" in printed
    discs, trainings = table(out, records.METHOD_DISCS), table(out, records.METHOD_TRAININGS)
    assert len(discs) == 3 * 2 * 7 and sorted(discs["fold"].unique()) == ["fold-1", "fold-2", "fold-3"]
    assert discs["volume_reference_mm3"].notna().all()
    for fold, rows in discs.groupby("fold"):
        learnt = trainings.set_index("fold").loc[fold, "trained_on"]
        assert rows["subject"].nunique() == 1 and rows["subject"].iloc[0] not in learnt
    assert trainings["steps"].tolist() == ["1"] * 3 and trainings["ended"].tolist() == ["1 step, as asked"] * 3
    assert (trainings["status"] == "ok").all() and (trainings["width"] == 16).all()
    assert len(table(out, records.METHOD_CHANGES)) == 3 * 7
    scores = table(out, records.METHOD_SCORES).iloc[0]
    assert (scores["title"], scores["n"]) == ("fcn-baseline", 42)
    page = (out / "comparison.md").read_text()
    assert "**All scans are synthetic: no person was scanned.**" in page and "change error" in page
    assert f"made by `bedrest benchmark {study} --methods fcn-baseline --budget 60 --width 16 --folds 3" in page
    report = (out / "methods_comparison.html").read_text()
    assert "could not be made" not in report and report.count("data:image/png") >= 2 and "synthetic" in report
    record = json.loads((out / "comparison" / "benchmark.json").read_text())
    assert record["synthetic"] and record["device"] == "cpu" and record["machine"]["cores"]
    kept = {p: p.stat().st_mtime_ns for p in out.glob("comparison/*/*/*") if p.is_file()}
    monkeypatch.setattr("bedrest.pages.reports.make_methods_report", lambda folder: folder)
    assert bench(study, out, "--methods", "fcn-baseline", "--folds", "3") == 0
    assert kept == {p: p.stat().st_mtime_ns for p in out.glob("comparison/*/*/*") if p.is_file()}
    assert (out / "comparison.md").read_text() == page


def test_other_settings_are_refused_and_named(study, tmp_path, capsys, no_report):
    out = tmp_path / "out"
    assert bench(study, out, "--methods", "fcn3d") == 0
    before = (out / "comparison.md").read_text()
    for more, told in ((["--budget", "30"], "--budget 60.0 -> 30.0"), (["--width", "8"], "width 16 -> 8"),
                       (["--steps", "3"], "--steps 1 -> 3")):
        assert main(["benchmark", str(study), "--methods", "fcn3d", *QUICK, *more, "-o", str(out)]) == 1
        assert told in capsys.readouterr().err
    copied = Path(shutil.copytree(study.parent, tmp_path / "copy"))
    image = nib.load(copied / "A_ses-1_fat.nii")
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) + 1, image.affine), copied / "A_ses-1_fat.nii")
    assert bench(copied / "study.toml", out, "--methods", "fcn3d") == 1
    assert "A ses-1 fat another file" in capsys.readouterr().err
    assert (out / "comparison.md").read_text() == before


def test_two_commands_do_not_write_into_one_folder(study, tmp_path, capsys):
    with locked(tmp_path / "out"):
        assert bench(study, tmp_path / "out", "--methods", "fcn3d") == 1
    assert "another command at work" in capsys.readouterr().err


def test_a_row_that_lacks_a_contrast_fails_alone(tmp_path, capsys, no_report):
    few, out = write_toy_study(tmp_path / "study", "AB", contrasts=(Contrast.WATER, Contrast.FAT)), tmp_path / "out"
    assert bench(few, out, "--protocol", "li2018-modalities") == 3
    trainings = table(out, records.METHOD_TRAININGS, "li2018-modalities").set_index("row")
    assert trainings["status"].to_dict() == {"fat": "ok", "water": "ok", "in-phase": "failed",
                                             "opposed-phase": "failed", "four": "failed"}
    assert "no in_phase, opposed" in trainings.loc["four", "reason"]
    shown = read_text(out / "li2018-modalities" / "table_4.csv", "table_4").frame.set_index("Modality")
    assert shown.loc["four modalities", "MDOC ± SDDOC (%), published"] == "90.48 ± 1.97"
    assert shown.loc["four modalities", "training, ours"].startswith("failed: ")
    assert shown.loc["single: fat", "MDOC ± SDDOC (%), ours"] != ""
    assert (out / "li2018-modalities" / "four" / "holdout" / "error.txt").is_file()
    assert not (out / "li2018-modalities" / "four" / "holdout" / "begun_with.json").exists()  # nothing was trained


def test_a_study_without_t2_takes_water_for_chen(study, tmp_path, no_report):
    assert bench(study, tmp_path, "--protocol", "chen2016", "--methods", "fcn2d") == 0
    trainings = table(tmp_path, records.METHOD_TRAININGS, "chen2016")
    assert trainings["contrasts"].tolist() == ["water"]
    shown = read_text(tmp_path / "chen2016" / "table_1.csv", "table_1").frame
    assert shown["Method"].tolist() == ["2D FCN"] and shown["P (2.0 mm), published"].tolist() == ["91.4"]


def test_our_own_engine_stands_beside_and_is_not_trained(study, tmp_path, no_report, monkeypatch):
    """It is replaced by one that sees bright boxes and calls the lowest L4-L5."""
    def engine(trained, scan, *, device, **_):
        bright = scan.contrasts[Contrast.WATER].data > 140
        height = np.arange(bright.shape[2])[None, None, :]
        labels = np.where(bright & (height < 12), 2, 0).astype(np.int32)
        return Segmentation(LabelMap(labels, scan.grid), Volume(labels.astype(np.float32), scan.grid), ())

    monkeypatch.setattr("bedrest.segmentation.engine.segment", engine)
    assert bench(study, tmp_path, "--methods", "bedrest") == 0
    training = table(tmp_path, records.METHOD_TRAININGS).iloc[0]
    assert training["ended"].startswith("not trained here: synthetic.safetensors, sha256 ")
    discs = table(tmp_path, records.METHOD_DISCS)
    found = discs[discs["dice"].notna()]
    assert set(found["level"]) == {"L4-L5"} and not found["right"].any()  # the wrong name is no Dice


def test_a_folder_in_the_layout_of_the_challenge_needs_no_other_code(tmp_path, capsys, no_report):
    path, out = write_ivdm3seg(tmp_path / "challenge", pairs=True), tmp_path / "out"
    assert bench(path, out, "--methods", "fcn-baseline", "--folds", "2") == 0, capsys.readouterr().err
    discs = table(out, records.METHOD_DISCS)
    assert len(discs) == 4 * 7 and set(discs["subject"]) == {"P1", "P2"}  # binary masks were named
    assert set(discs["level"]) == {"L5-S1", "L4-L5", "L3-L4", "L2-L3", "L1-L2", "T12-L1", "T11-T12"}
    assert bench(path, out, "--protocol", "li2018-two-stage") == 0
    shown = read_text(out / "li2018-two-stage" / "table_7.csv", "table_7").frame
    assert shown["Training data"].tolist() == ["time point 1", "time point 2"]
    trainings = table(out, records.METHOD_TRAININGS, "li2018-two-stage").set_index("fold")
    assert trainings.loc["visit-1-to-2", ["trained_on", "tested_on"]].tolist() == [
        "P1 ses-1, P2 ses-1", "P1 ses-2, P2 ses-2"]
    assert "synthetic" not in (out / "li2018-two-stage.md").read_text()  # nothing says that these are


def test_unpaired_folders_of_the_challenge_are_warned_of(tmp_path, capsys, no_report):
    path = write_ivdm3seg(tmp_path / "challenge", pairs=False)
    assert bench(path, tmp_path / "out", "--methods", "fcn3d") == 0
    assert "not paired in study.toml (images.pairs): 01, 02, 03, 04" in (tmp_path / "out" / "comparison.md").read_text()
    assert bench(path, tmp_path / "out", "--protocol", "li2018-two-stage") == 1
    assert "images.pairs" in capsys.readouterr().err


def test_a_visit_that_cannot_be_used_is_a_failed_row(study, tmp_path, capsys, no_report):
    copied = Path(shutil.copytree(study.parent, tmp_path / "copy"))
    (copied / "A_ses-2_fat.nii").write_bytes(b"nothing")
    assert bench(copied / "study.toml", tmp_path / "out", "--methods", "fcn3d") == 3
    visits = table(tmp_path / "out", records.METHOD_VISITS).set_index(["subject", "session"])
    assert visits.loc[("A", "ses-2"), "status"] == "failed" and "fat" in visits.loc[("A", "ses-2"), "reason"]
    assert (visits["status"] == "ok").sum() == 5 and "A ses-2" not in set(
        table(tmp_path / "out", records.METHOD_TRAININGS)["trained_on"].str.cat(sep=", ").split(", "))


@pytest.mark.parametrize(("more", "told"), [
    (["--methods", "msfnc"], "msfnc"), ([], "neither"), (["--methods", "msfcn", "--budget", "0"], "--budget"),
    (["--methods", "msfcn", "--folds", "4"], "at least 4 subjects"),
    (["--protocol", "li2018-two-stage", "--folds", "2"], "no folds with li2018-two-stage"),
    (["--methods", "msfcn", "--encoder-weights", "absent.pt"], "absent.pt"),
])
def test_what_cannot_be_asked_for_is_told(study, tmp_path, capsys, more, told):
    assert main(["benchmark", str(study), *QUICK, *more, "-o", str(tmp_path / "out")]) == 1
    assert told in capsys.readouterr().err and not list(tmp_path.glob("out/*/*/*"))


def test_only_a_study_that_says_so_is_synthetic(tmp_path):
    plain = study_of(tmp_path / "a", 'layout = "ivdm3seg"\nroot = "."', groups='["all"]')
    assert not says_synthetic(plain)
    (tmp_path / "a" / "dataset_description.json").write_text('{"Name": "Synthetic bed-rest demo cohort"}')
    assert says_synthetic(plain)
    (tmp_path / "a" / "dataset_description.json").write_text("{damaged")
    assert not says_synthetic(plain)
    told = study_of(tmp_path / "b", 'layout = "ivdm3seg"\nroot = "."', groups='["all"]',
                    head='description = "A synthetic one"')
    assert says_synthetic(told)


# One row


class Flat:
    """A method of two planes, x and y; each network gives its own label everywhere that the image is bright."""

    trained: ClassVar[list[str]] = []

    @classmethod
    def build(cls, choices: MethodOptions) -> Method:
        import torch

        def network(plane):
            cls.trained.append(plane)
            return torch.nn.Conv3d(1, 1, 1)

        def predict(trained, case, device):
            names = sorted(trained.networks if not choices.planes else choices.planes)
            if names == ["y"]:
                raise ValueError("y is broken")
            labels = np.where(case.labels > 0, case.labels, 0).astype(np.int16)
            labels[labels > len(names)] = 0
            return Prediction(labels.astype(np.float32), labels)

        def draw(cases, trained, rng):
            return cases[0].image[:1, :8, :8, :8], cases[0].labels[:8, :8, :8]

        stages = tuple(Stage(p, lambda p=p: network(p), draw, lambda scores, target, share: scores.mean(), 1,
                             lambda step, share: 1e-3, share=0.5) for p in choices.planes or ("x", "y"))
        return Method("flat", "nobody", choices.contrasts or (Contrast.WATER,), stages, predict)


@pytest.fixture
def flat_run(monkeypatch, tmp_path, rng):
    """Makes a run of a row of `Flat` on two toy cases; `use` names the row whose networks it takes."""
    import bedrest.methods.papers.li2018 as module

    monkeypatch.setitem(METHODS, "flat", ("li2018", "flat", ("planes",)))
    monkeypatch.setattr(module, "flat", Flat.build, raising=False)
    Flat.trained.clear()
    cases = [toy_case(rng, subject=s, shape=SHAPE) for s in "AB"]
    nobody = OwnEngine(lambda key: visits[0].reference, "")
    visits = [Labelled(c, on_scan_grid(c.labels, c), {"water": c.subject}) for c in cases]
    split = Split("holdout", (("A", "ses-1"),), (("B", "ses-1"),))
    both = ProtocolRow("both", "Both", "flat", MethodOptions(planes=("x", "y")))

    def made(row: ProtocolRow = both, **settings) -> FoldRun:
        own = Settings(Budget(60, steps=2), **settings)
        return FoldRun(row, both if row.uses else row, split, own, visits, nobody, tmp_path / row.name,
                       tmp_path / (row.uses or row.name))

    return made


def test_one_training_serves_the_rows_that_use_it(flat_run):
    single = ProtocolRow("x", "X", "flat", MethodOptions(planes=("x",)), uses="both")
    run_row(flat_run(single))
    assert Flat.trained == ["x", "y"] and not list(flat_run(single).folder.glob("*.safetensors"))
    assert stored_discs(flat_run(single))["dice"].notna().sum() == 1  # of this row's own planes
    assert "networks of both" in stored_result(flat_run(single))["ended"]
    run_row(flat_run())
    assert stored_discs(flat_run())["dice"].notna().sum() == 2
    assert stored_result(flat_run())["steps"] == "x 2, y 2" and "networks of" not in stored_result(flat_run())["ended"]
    with pytest.raises(OutputError, match="width 1 -> 2"):
        flat_run(single, width=2).refuse_other()


def test_a_scan_that_breaks_the_method_keeps_its_discs(flat_run):
    run = flat_run(ProtocolRow("y", "Y", "flat", MethodOptions(planes=("y",)), uses="both"))
    run_row(run)
    discs = stored_discs(run)
    assert (discs["status"] == "failed").all() and set(discs["reason"]) == {"ValueError: y is broken"}
    assert discs["volume_reference_mm3"].notna().all()
    told = stored_result(run)
    assert told["status"] == "flagged" and "B ses-1" in told["reason"]


def test_a_test_scan_without_the_contrast_is_told_before_training(flat_run):
    with pytest.raises(ImageError, match="no t2"):
        run_row(flat_run(ProtocolRow("t2", "T2", "flat", MethodOptions(contrasts=(Contrast.T2,)))))
    assert Flat.trained == []
    run = flat_run(replace(flat_run().row, name="missing", choices=MethodOptions(planes=("z",)), uses="both"))
    with pytest.raises(StudyError, match="no z"):
        run_row(run)
