"""Images that cannot be right, through `bedrest.segment` and through a run: what is said, and of which discs."""

import csv
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from bedrest import schemas
from bedrest.api import segment
from bedrest.cli.masks import Segment
from bedrest.errors import ImageError, WeightsError
from bedrest.findings import FindingCode, render
from bedrest.imaging.voxel_checks import bad_slices, impossible_intensities, notes_of
from bedrest.io.images.nifti import read_scan
from bedrest.io.results import StudyResults
from bedrest.segmentation import engine
from bedrest.segmentation.disc_doubts import contrast_doubts
from bedrest.segmentation.network import LOCATOR, SEGMENTER, build_network
from bedrest.segmentation.predict import network_input, predict
from bedrest.segmentation.weights import SHIPPED, TrainedNetwork, load_weights, save_weights
from bedrest.settings import load_study
from bedrest.stages.all_stages import stage
from bedrest.stages.stage import Job
from bedrest.types import Grid, Scan, Volume
from bedrest.vocabulary import MEASURED, Contrast, Status
from bedrest.workflow.checks import check_study
from bedrest.workflow.run import prepare
from sentences import codes

from pipelines.benchmarks.image_faults import (
    FAT,
    IN_PHASE,
    OPPOSED,
    T1,
    T2,
    WATER,
    changed,
    copied,
    draw,
    emptied,
    exchanged,
    named,
    only,
    wrapped,
)
from pipelines.training.shipped_weights import _copy as copy_weights

ALL = slice(None)
DIXON = {c: c for c in (WATER, FAT, IN_PHASE, OPPOSED)}


@pytest.fixture(scope="module")
def sound():
    return draw(10_007)


@pytest.fixture(scope="module")
def level(sound):
    """Centre of L3-L4, voxels."""
    return np.argwhere(sound.discs == 3).mean(axis=0).round().astype(int)


@pytest.fixture(scope="module")
def predicted(sound):
    """What the network makes of the scan in order: its passes are what takes long here."""
    return predict(load_weights(), sound.dixon, "cpu")


@pytest.fixture
def doubts(predicted, monkeypatch):
    """Codes of every disc of a scan on the same grid, as if the network had found the discs in spite of the fault."""
    def of(scan: Scan) -> dict[str, set[FindingCode]]:
        reordered = {c: predicted.reorientation.apply(v.data) for c, v in scan.contrasts.items()}
        image = network_input(reordered, predicted.reorientation.ras, predicted.grid)
        images = {c: channel for c, channel in zip(Contrast, image, strict=True) if c in reordered}
        monkeypatch.setattr(engine, "predict", lambda *_: replace(predicted, images=images))
        result = engine.segment(None, scan, device="cpu")
        return {d.name: set(codes(d.findings)) for d in result.segmented if d.status in MEASURED}
    return of


@pytest.fixture
def small(rng):
    """A scan of noise, 8 x 9 x 10 voxels of 2 mm, for checks that need no spine."""
    grid = Grid((8, 9, 10), np.diag([2.0, 2.0, 2.0, 1.0]))
    return Scan({WATER: Volume(rng.uniform(50, 100, grid.shape).astype(np.float32), grid)})


# Slices

def test_a_scan_in_order_has_no_remark_and_no_doubt(sound, small):
    result = segment(scan=sound.dixon)
    assert not result.warnings and all(d.status == Status.OK for d in result.segmented)
    assert not bad_slices(small) and not impossible_intensities(small)


def test_every_contrast_in_order_has_no_doubt_alone(sound, doubts):
    for scan in (sound.t2, *(only(sound.dixon, c) for c in DIXON)):
        assert not any(doubts(scan).values())


@pytest.mark.parametrize(("region", "direction", "slices"), [
    ((slice(5, None),), "right-left", "5-7"), ((ALL, slice(3, 4)), "front-back", "3"),
    ((ALL, ALL, [0, 1, 9]), "head-foot", "0-1, 9")])
@pytest.mark.parametrize("value", [0, -1000, 7])
def test_empty_slices_are_told_along_any_axis(small, region, direction, slices, value):
    [bad] = bad_slices(changed(small, emptied(*region, value=value)))
    assert bad.code == FindingCode.EMPTY_SLICES
    assert (bad.note.values["direction"], bad.note.values["slices"]) == (direction, slices)
    assert slices in render(bad.note) and direction in render(bad.note)


def test_copied_slices_are_told_neighbours_or_not(small):
    [bad] = bad_slices(changed(small, copied(1, slice(6, 8))))
    assert bad.code == FindingCode.REPEATED_SLICES and bad.slices.tolist() == [1, 6, 7]


def test_discs_that_reach_empty_slices_are_flagged_whatever_the_order_of_axes(sound, level):
    scan = changed(only(sound.dixon, WATER), emptied(slice(level[0] + 4, None)))
    affine = scan.grid.affine_ras_mm[:, [2, 0, 1, 3]].copy()  # stored from foot to head, then left to right
    data = np.ascontiguousarray(scan.contrasts[WATER].data.transpose(2, 0, 1))
    scan = Scan({WATER: Volume(data, Grid(data.shape, affine))})
    result = segment(scan=scan)
    assert codes(result.warnings)[:1] == [FindingCode.EMPTY_SLICES]
    present = [d for d in result.segmented if d.status in MEASURED]
    assert len(present) >= 5 and all(FindingCode.CUT_BY_EMPTY_SLICES in codes(d.findings) for d in present)


def test_one_empty_slice_of_one_contrast_among_four(sound, level, doubts):
    water = changed(only(sound.dixon, WATER), emptied(slice(level[0], level[0] + 1)))
    found = doubts(Scan({**sound.dixon.contrasts, **water.contrasts}))
    assert found and all(FindingCode.CUT_BY_EMPTY_SLICES in c for c in found.values())


def test_empty_slices_away_from_the_discs_flag_none(sound, doubts):
    scan = changed(only(sound.dixon, WATER), emptied(ALL, slice(0, 3)))
    assert bad_slices(scan) and not any(doubts(scan).values())


def test_discs_in_copied_slices_are_flagged(sound, level, doubts):
    found = doubts(changed(only(sound.dixon, WATER), copied(level[0] + 2, slice(level[0] + 3, level[0] + 6))))
    assert found and all(FindingCode.IN_REPEATED_SLICES in c for c in found.values())


def test_a_block_without_signal_flags_the_disc_it_cuts_and_no_distant_one(sound, level, doubts):
    x, y, z = level
    block = emptied(slice(x, x + 8), slice(y - 8, y + 8), slice(z - 6, z + 6))
    found = doubts(changed(only(sound.dixon, WATER), block))
    assert FindingCode.SIGNAL_VOID in found["L3-L4"]
    assert not any(found[n] for n in ("L5-S1", "L1-L2", "T12-L1"))


# Intensities

@pytest.mark.parametrize(("share", "as_unsigned"), [(0.001, []), (0.02, [FindingCode.OVERFLOW])])
def test_wrapped_integers_flag_every_disc_and_the_remedy_mends_it(sound, share, as_unsigned, doubts):
    """The brightest of the second one do not fit into unsigned integers either."""
    scan = changed(only(sound.dixon, WATER), wrapped(share, signed=True))
    [finding] = impossible_intensities(scan)
    assert finding.code == FindingCode.NEGATIVE_INTENSITIES and finding.values["lowest"] < -20_000
    assert "unsigned integers" in render(finding)
    assert all(FindingCode.NEGATIVE_INTENSITIES in c for c in doubts(scan).values())
    again = changed(scan, lambda data: data.astype(np.int16).view(np.uint16))
    assert codes(impossible_intensities(again)) == as_unsigned


@pytest.mark.parametrize("change", [
    lambda d: (d - d.mean()) / d.std(),  # standardised
    lambda d: d - 90,  # an offset as in a rescaled image
    lambda d: 4096 * np.sin(d),  # phase
])
def test_other_images_far_below_zero_are_told(small, change):
    assert codes(impossible_intensities(changed(small, change))) == [FindingCode.NEGATIVE_INTENSITIES]


def test_a_little_ringing_below_zero_is_left_alone(sound, rng):
    scan = changed(only(sound.dixon, WATER), lambda d: d - 12 * (rng.random(d.shape) < 0.05) * (d < 20))
    assert scan.contrasts[WATER].data.min() < -5
    assert not impossible_intensities(scan)


def test_t1_and_t2_under_each_others_names(sound, doubts):
    images = {**sound.t1.contrasts, **sound.t2.contrasts}
    told = {FindingCode.CANAL_DARK_IN_T2, FindingCode.CANAL_BRIGHT_IN_T1, FindingCode.CONTRASTS_EXCHANGED}
    for names, code in (({T2: T1}, FindingCode.CANAL_DARK_IN_T2), ({T1: T2}, FindingCode.CANAL_BRIGHT_IN_T1),
                        ({T1: T2, T2: T1}, FindingCode.CONTRASTS_EXCHANGED), ({T1: T1, T2: T2}, None)):
        found = doubts(named(Scan(images), names))
        assert len(found) >= 5 and all(c & told == ({code} if code else set()) for c in found.values())


@pytest.mark.parametrize("share", [0.05, 0.01])
def test_unsigned_integers_beyond_their_range_are_told(sound, share):
    scan = changed(sound.t2, wrapped(share, signed=False))
    assert codes(impossible_intensities(scan)) == [FindingCode.OVERFLOW]
    assert not impossible_intensities(changed(sound.t2, lambda d: d * (65535 / d.max())))


# Contrasts

@pytest.mark.parametrize(("names", "code"), [
    ({WATER: FAT}, FindingCode.MARROW_BRIGHTER_THAN_DISC),
    ({OPPOSED: FAT}, FindingCode.MARROW_BRIGHTER_THAN_DISC),
    ({FAT: WATER}, FindingCode.MARROW_DARKER_THAN_DISC),
    ({FAT: OPPOSED}, FindingCode.MARROW_DARKER_THAN_DISC),
    ({T2: WATER}, FindingCode.CANAL_DARK_IN_T2),
    ({T2: IN_PHASE}, FindingCode.CANAL_DARK_IN_T2),
    ({**DIXON, WATER: FAT, FAT: WATER}, FindingCode.CONTRASTS_EXCHANGED),
    ({**DIXON, IN_PHASE: OPPOSED, OPPOSED: IN_PHASE}, FindingCode.CONTRASTS_EXCHANGED),
    ({WATER: IN_PHASE, IN_PHASE: WATER}, FindingCode.CONTRASTS_EXCHANGED),
], ids=lambda v: "-".join(f"{a}={b}" for a, b in v.items() if a != b) if isinstance(v, dict) else "")
def test_an_image_under_another_name_flags_every_disc(sound, names, code, doubts):
    found = doubts(named(sound.dixon, names))
    assert len(found) >= 5 and all(code in c for c in found.values())


def test_water_and_fat_exchanged_in_one_region_flag_its_discs(sound, level, doubts):
    found = doubts(exchanged(sound.dixon, (ALL, ALL, slice(level[2] + 12, None))))
    assert FindingCode.CONTRASTS_EXCHANGED in found["L1-L2"] and FindingCode.CONTRASTS_EXCHANGED in found["T12-L1"]
    assert not found["L5-S1"] and not found["L4-L5"]


def test_one_doubt_an_image():
    """Marrow over disc in each contrast: water and fat accuse each other, and in-phase is not accused with them."""
    [finding] = contrast_doubts({WATER: 3.0, FAT: 0.3, IN_PHASE: 0.55})
    assert {finding.values["one"], finding.values["other"]} == {"water", "fat"}
    assert not contrast_doubts({WATER: 0.7, FAT: 2.8, IN_PHASE: 1.9, OPPOSED: 0.5})  # as real scans have them
    assert not contrast_doubts({WATER: np.nan, FAT: np.nan})  # no bone beside the disc


def test_the_same_voxels_under_two_names_are_refused(sound, tmp_path):
    image = nib.Nifti1Image(sound.t2.contrasts[T2].data[:, ::8, ::8], np.eye(4))
    paths = {WATER: tmp_path / "w.nii.gz", FAT: tmp_path / "f.nii.gz"}
    for path in paths.values():
        nib.save(image, path)
    with pytest.raises(ImageError, match=r"(?s)same voxels.*w\.nii\.gz.*f\.nii\.gz"):
        read_scan(paths, where="sub-01 ses-1")
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) + 1, np.eye(4)), paths[FAT])
    assert set(read_scan(paths, where="sub-01 ses-1").contrasts) == {WATER, FAT}


# No lumbar spine

def test_an_axial_upper_abdomen_gets_no_level(real_data):
    data = real_data / "dixon-dualecho-ge-cptac"
    found = segment(in_phase=data / "in.nii.gz", opposed=data / "opp.nii.gz").segmented
    assert all(d.status == Status.FAILED for d in found if not d.name.startswith("unnamed"))
    unnamed = [d for d in found if d.name.startswith("unnamed")]
    assert unnamed and all(FindingCode.NO_SPINAL_CANAL in codes(d.findings) for d in unnamed)


def test_two_discs_in_view_are_flagged_and_keep_their_names(sound, level):
    scan = only(sound.dixon, WATER)
    z = int(np.argwhere(sound.discs == 2)[:, 2].max()) + 8
    grid = Grid((*scan.grid.shape[:2], z), scan.grid.affine_ras_mm)
    result = segment(scan=Scan({WATER: Volume(scan.contrasts[WATER].data[:, :, :z], grid)}))
    found = {d.name: codes(d.findings) for d in result.segmented if d.status in MEASURED}
    assert set(found) == {"L5-S1", "L4-L5"} and all(FindingCode.FEW_DISCS in c for c in found.values())


# Through the commands

def test_a_run_says_what_segment_says(sound, level, tmp_path):
    """Three visits: in order, fat given as water, the last slices empty; and the table holds the codes."""
    water, fat = (sound.dixon.contrasts[c] for c in (WATER, FAT))
    cut = changed(only(sound.dixon, WATER), emptied(slice(level[0] + 4, None))).contrasts[WATER]
    with (tmp_path / "scans.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("subject", "session", "contrast", "path"))
        for n, volume in enumerate((water, fat, cut), start=1):
            nib.save(nib.Nifti1Image(volume.data, volume.grid.affine_ras_mm), tmp_path / f"{n}.nii.gz")
            rows.writerow(("A", f"ses-{n}", "water", f"{n}.nii.gz"))
    (tmp_path / "subjects.csv").write_text("subject,group\nA,g\n")
    (tmp_path / "study.toml").write_text(
        'name = "s"\ngroups = ["g"]\nreference_session = "ses-1"\noutput = "out"\n[images]\nlayout = "csv"\n'
        'root = "."\nsubjects_csv = "subjects.csv"\nscans_csv = "scans.csv"\n' + "".join(
            f'[[sessions]]\nid = "ses-{n}"\nstudy_day = {n}\nphase = "bed_rest"\n' for n in (1, 2, 3)).replace(
                '"bed_rest"', '"baseline"', 1))
    measures = _measured(tmp_path)
    by_visit = {s: frame for s, frame in measures.groupby("session")}
    assert (by_visit["ses-1"]["status"] == "ok").all()
    for session, code in (("ses-2", "marrow_brighter_than_disc"), ("ses-3", "cut_by_empty_slices")):
        present = by_visit[session][by_visit[session]["status"].isin(MEASURED)]
        assert len(present) >= 5 and (present["status"] == "flagged").all()
        assert present["findings"].str.contains(code).all()


def test_a_run_refuses_a_visit_whose_water_and_fat_are_exchanged(sound, tmp_path):
    for name, contrast in (("water", FAT), ("fat", WATER)):
        volume = sound.dixon.contrasts[contrast]
        nib.save(nib.Nifti1Image(volume.data, volume.grid.affine_ras_mm), tmp_path / f"{name}.nii.gz")
    (tmp_path / "scans.csv").write_text("subject,session,contrast,path\n" + "".join(
        f"A,ses-1,{name},{name}.nii.gz\n" for name in ("water", "fat")))
    (tmp_path / "study.toml").write_text(
        'name = "s"\ngroups = ["g"]\nreference_session = "ses-1"\noutput = "out"\n[images]\nlayout = "csv"\n'
        'root = "."\nscans_csv = "scans.csv"\n[[sessions]]\nid = "ses-1"\nstudy_day = 1\nphase = "baseline"\n')
    measures = _measured(tmp_path)
    assert (measures["status"] == "failed").all() and measures["volume_mm3"].isna().all()
    record = StudyResults(tmp_path / "out").read_subject("A", schemas.SCAN_RECORDS).iloc[0]
    assert all(w in record["reason"] for w in ("the two exchanged: in ", "give each file the name of what it shows"))


def test_a_study_of_t1_alone_needs_weights_that_know_it(sound, tmp_path):
    """Weights without T1: refused by `check` and by the run; with it (started as in-phase) it runs through."""
    path, volume = tmp_path / "t1.nii.gz", sound.t1.contrasts[T1]
    nib.save(nib.Nifti1Image(volume.data, volume.grid.affine_ras_mm), path)
    (tmp_path / "scans.csv").write_text("subject,session,contrast,path\nA,ses-1,t1,t1.nii.gz\n")
    widened, five = build_network(SEGMENTER), build_network(SEGMENTER, channels=5)
    copy_weights(SHIPPED, widened, "segmenter")
    shipped = load_weights()
    for name, network, locator, known in (
            ("five", five, build_network(LOCATOR, channels=5), 5), ("six", widened, build_network(LOCATOR), 6)):
        save_weights(tmp_path / f"{name}.safetensors", TrainedNetwork(
            network, locator, SEGMENTER, LOCATOR, shipped.calibration, contrasts=tuple(Contrast)[:known]))
        toml = tmp_path / name / "study.toml"
        toml.parent.mkdir()
        toml.write_text(
            'name = "s"\ngroups = ["g"]\nreference_session = "ses-1"\noutput = "out"\n'
            f'weights = "../{name}.safetensors"\n[images]\nlayout = "csv"\nroot = ".."\nscans_csv = "../scans.csv"\n'
            '[[sessions]]\nid = "ses-1"\nstudy_day = 1\nphase = "baseline"\n')
        problems = [p for p in check_study(toml, read_images=False).problems if "weights know" in p]
        measures = _measured(toml.parent)
        record = StudyResults(toml.parent / "out").read_subject("A", schemas.SCAN_RECORDS).iloc[0]
        if known == 5:
            assert len(problems) == 1 and "t1 alone" in problems[0] and "give another image or a mask" in problems[0]
            assert record["status"] == "failed" and "not trained for that contrast" in record["reason"]
            assert (measures["status"] == "failed").all()
        else:
            found = measures[measures["status"].isin(MEASURED)]
            assert not problems and record["contrasts"] == "t1" and len(found) >= 5
            assert (found["signal_t1"] > 0).all() and found["signal_t1_normalised"].between(0.3, 0.9).all()
            assert found["signal_t2"].isna().all()


def test_real_t1_is_told_from_t2_and_needs_weights_that_know_it(real_data):
    path = real_data / "lumbar-t1-repeat-siegen" / "AKs6_t1.nii.gz"
    if not path.is_file():
        pytest.skip("no images of lumbar-t1-repeat-siegen")
    as_t2 = [d for d in segment(t2=path).segmented if d.status in MEASURED]
    assert len(as_t2) >= 5 and all(FindingCode.CANAL_DARK_IN_T2 in codes(d.findings) for d in as_t2)
    if Contrast.T1 not in load_weights().contrasts:
        with pytest.raises(WeightsError, match="t1 alone"):
            segment(t1=path)
        return
    as_t1 = [d for d in segment(t1=path).segmented if d.status in MEASURED]
    assert len(as_t1) >= 5 and not any(FindingCode.CANAL_BRIGHT_IN_T1 in codes(d.findings) for d in as_t1)


def test_padding_within_the_plane_of_thick_slices_is_no_remark():
    data = np.zeros((9, 40, 40), np.float32)
    data[1:, 4:36, 4:36] = np.random.default_rng(1).uniform(1, 9, (8, 32, 32))
    scan = Scan({WATER: Volume(data, Grid(data.shape, np.diag([4.0, 1.25, 1.25, 1.0])))})
    bad = bad_slices(scan)
    assert {b.axis for b in bad} == {0, 1, 2}  # discs are held against all of them
    [note] = notes_of(bad, scan.grid)
    assert note.values["slices"] == "0" and note.values["total"] == 9


def _measured(folder: Path) -> pd.DataFrame:
    """Measures of the one subject of a study, run as far as they need."""
    study = load_study(folder / "study.toml")
    results = StudyResults(study.output_dir)
    prepare(study, results)
    for name in ("segment", "joint_volumes", "measure"):
        stage(name).run(Job(study, results, "A", "cpu", 1))
    return results.read_subject("A", schemas.MEASURES)


def test_the_command_prints_the_doubts(sound, tmp_path, capsys):
    volume = sound.dixon.contrasts[FAT]
    nib.save(nib.Nifti1Image(volume.data, volume.grid.affine_ras_mm), tmp_path / "fat.nii.gz")
    Segment(tmp_path / "m.nii.gz", water=tmp_path / "fat.nii.gz", device="cpu").run()
    rows = [r for r in capsys.readouterr().out.splitlines() if " flagged " in r or " ok " in r]
    assert len(rows) >= 5 and all("is this the fat image?" in r and " flagged " in r for r in rows)
