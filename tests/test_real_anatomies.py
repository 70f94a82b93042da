"""Anatomies painted out of SPIDER's masks: split, names, volumes and neighbours are the masks' own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bedrest.anatomy.structures import Structure
from bedrest.phantom.paint import FINE, Painting
from bedrest.phantom.tissues import STRUCTURE_OF_TISSUE, Tissue
from bedrest.phantom.variation import paint_anatomy
from bedrest.segmentation.training.sampling import Sampling, draw_patch
from bedrest.types import Grid
from bedrest.vocabulary import LABEL_OF_LEVEL, LEVELS

from pipelines.anatomies import real_masks
from pipelines.anatomies.real_anatomies import REAL_SEED, RealAnatomy, paint_real_anatomies, paint_real_anatomy
from pipelines.anatomies.real_masks import HELD_OUT_PATIENTS, TRAINING_PATIENTS, series_of
from pipelines.anatomies.vary_tissues import vary_tissues
from pipelines.training.overview import coarse_shares

# One of each kind of geometry and numbering: LPS and PIR, SPACE and thick slices, upwards and falling, cut at a side.
SERIES = ("100_t2", "24_t1", "127_t2_SPACE", "166_t2")
CUT, WHOLE = "166_t2", "100_t2"


@pytest.fixture(scope="module")
def told() -> pd.DataFrame:
    """disc_volumes.csv of the series that are there."""
    table = real_masks.MASKS / "disc_volumes.csv"
    if not table.is_file():
        pytest.skip(f"{table} is not there")
    discs = pd.read_csv(table)
    there = {p.stem for p in Path(real_masks.MASKS).glob("*.mha")}
    return discs[discs["case"].isin(there)]


@pytest.fixture(scope="module")
def laid(told: pd.DataFrame) -> dict[str, RealAnatomy]:
    """Each of SERIES as it is, without variation."""
    return {s: paint_real_anatomy(s, np.random.default_rng(11), varied=False) for s in SERIES}


def _kind(series: pd.DataFrame) -> int:
    """Rarest kind of series of a patient: SPACE, T2 with L5 numbered 24, T2 with L5 numbered 1, T1."""
    names, schemes = series["case"], series["scheme"]
    if names.str.contains("SPACE").any():
        return 0
    t2 = names.str.contains("t2")
    return 1 if (t2 & (schemes == "24=L5")).any() else 2 if t2.any() else 3


def test_the_split_follows_its_rule(told: pd.DataFrame) -> None:
    kinds = {int(patient): _kind(rows) for patient, rows in told.groupby("patient")}
    held = [n for kind in range(4) for n in sorted(p for p, k in kinds.items() if k == kind)[1::3]]
    assert sorted(held) == sorted(HELD_OUT_PATIENTS) and len(held) >= 8
    assert sorted(set(kinds) - set(held)) == sorted(TRAINING_PATIENTS)


def test_no_patient_is_on_both_sides(told: pd.DataFrame) -> None:
    sides = [set(series_of(held_out=side)) for side in (False, True)]
    assert sides[0] | sides[1] == set(told["case"]) and not sides[0] & sides[1]
    patients = [{int(s.split("_")[0]) for s in side} for side in sides]
    assert not patients[0] & patients[1]
    for side in sides:
        rows = told[told["case"].isin(side)]
        assert {s.split("_", 1)[1] for s in side} == {"t1", "t2", "t2_SPACE"}
        assert set(rows["scheme"]) == {"1=L5", "24=L5"}


@pytest.mark.parametrize("series", SERIES)
def test_every_named_disc_of_the_mask_has_its_volume(laid: dict[str, RealAnatomy], told: pd.DataFrame, series: str
                                                     ) -> None:
    """The masks' volumes go by level from 2 to 10 cm3 here, so a wrong name would show, too."""
    anatomy = laid[series]
    expected = told[told["case"] == series].set_index("level_if_normal")["volume_mm3"]
    expected = expected[expected.index.isin(LEVELS)]
    assert set(expected.index) == anatomy.real
    assert set(np.unique(anatomy.discs.data)) >= {LABEL_OF_LEVEL[level] for level in anatomy.real}
    compared = [level for level in anatomy.volumes_mm3 if level in anatomy.real - anatomy.cut]
    assert len(compared) >= 4
    for level in compared:
        assert anatomy.volumes_mm3[level] == pytest.approx(expected[level], rel=0.02), level
        voxels = int((anatomy.discs.data == LABEL_OF_LEVEL[level]).sum())
        assert voxels * anatomy.discs.grid.voxel_volume_mm3 == pytest.approx(expected[level], rel=0.04), level


def test_a_disc_cut_at_the_side_is_made_whole(laid: dict[str, RealAnatomy], told: pd.DataFrame) -> None:
    anatomy = laid[CUT]
    assert anatomy.cut == {"L5-S1", "L4-L5", "L3-L4"}
    expected = told[told["case"] == CUT].set_index("level_if_normal")["volume_mm3"]
    for level in anatomy.cut & set(anatomy.volumes_mm3):
        assert 0.99 < anatomy.volumes_mm3[level] / expected[level] < 1.15
        area = (anatomy.discs.data == LABEL_OF_LEVEL[level]).sum(axis=(1, 2))
        area = area[area > 0]
        assert max(area[0], area[-1]) < 0.35 * area.max()  # the stack left up to 0.27 of it in its last slice


@pytest.mark.parametrize("series", SERIES)
def test_each_disc_lies_between_its_bones(laid: dict[str, RealAnatomy], series: str) -> None:
    anatomy = laid[series]
    structure = STRUCTURE_OF_TISSUE[anatomy.painting.tissue]
    places = {}
    for level, label in LABEL_OF_LEVEL.items():
        if level not in anatomy.real:
            continue
        i, j, k = (FINE * np.argwhere(anatomy.discs.data == label)).T
        places[label] = k.mean()
        middle = (np.abs(i - i.mean()) < 12) & (np.abs(j - j.mean()) < 10)
        columns = {(a, b) for a, b in zip(i[middle], j[middle], strict=True)}
        for side, bone in ((1, Structure.VERTEBRA), (-1, Structure.SACRUM if label == 1 else Structure.VERTEBRA)):
            met = [_first_beyond(structure[a, b], int(k[(i == a) & (j == b)].mean()), side) for a, b in columns]
            assert np.mean([m == bone for m in met]) > 0.9, (level, side)
    assert sorted(places, key=lambda label: places[label]) == sorted(places)


def _first_beyond(column: np.ndarray, start: int, step: int) -> int:
    """The structure that the disc at `start` meets along a column."""
    along = column[start::step]
    return int(along[np.argmax(along != Structure.DISC)]) if along[0] == Structure.DISC else int(along[0])


def test_named_discs_are_painted_as_discs(laid: dict[str, RealAnatomy]) -> None:
    for anatomy in laid.values():
        shares = (STRUCTURE_OF_TISSUE[anatomy.painting.tissue] == Structure.DISC)[::FINE, ::FINE, ::FINE]
        assert shares[anatomy.discs.data > 0].mean() > 0.85


def test_the_same_seed_paints_the_same_and_another_one_does_not(laid: dict[str, RealAnatomy]) -> None:
    one, again, other = (paint_real_anatomy(WHOLE, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.painting.tissue, again.painting.tissue) and one.volumes_mm3 == again.volumes_mm3
    assert one.volumes_mm3["L4-L5"] != other.volumes_mm3["L4-L5"]


def test_many_are_painted_from_one_side_and_feed_the_networks(told: pd.DataFrame) -> None:
    painted = paint_real_anatomies(1, seed=REAL_SEED + 1, processes=1, held_out=True)[0]
    first = paint_real_anatomy(series_of(held_out=True)[0], np.random.default_rng([REAL_SEED + 1, 0]))
    assert np.array_equal(painted.tissue, first.painting.tissue)
    image, target = draw_patch(painted, np.random.default_rng(0), Sampling())
    assert np.isfinite(image).all() and np.allclose(target.sum(axis=0), 1, atol=1e-5)
    shares = coarse_shares(painted)
    assert shares.shape[0] == len(Tissue) and int(shares.sum(axis=0).min()) == 64


@pytest.fixture(scope="module")
def shape_model() -> Painting:
    whole = paint_anatomy(0, 12345)
    return Painting(whole.tissue[:, 128:384], Grid((36, 128, 256), whole.grid.affine_ras_mm))


def test_varied_tissues_keep_every_structure_but_the_sacrums_wings(shape_model: Painting) -> None:
    before = shape_model.tissue.copy()
    structure = STRUCTURE_OF_TISSUE[before]
    varied = [vary_tissues(shape_model, np.random.default_rng(seed)).tissue for seed in range(12)]
    assert np.array_equal(shape_model.tissue, before)
    for tissue in varied:
        changed = STRUCTURE_OF_TISSUE[tissue] != structure
        assert set(np.unique(structure[changed])) <= {Structure.SACRUM}
    plates = [int((t == Tissue.END_PLATE).sum()) for t in (before, *varied)]
    assert min(plates[1:]) < 0.5 * plates[0] and max(plates[1:]) > 1.5 * plates[0]
    assert len({t.tobytes() for t in varied}) == len(varied)
