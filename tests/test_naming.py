"""Naming on hand-made probability maps: discs from the sacrum up with a confidence, and their neighbours."""

import numpy as np
import pytest
from bedrest.anatomy.structures import Structure
from bedrest.findings import FindingCode
from bedrest.segmentation.level_naming import name_discs
from bedrest.segmentation.neighbour_naming import name_neighbours
from bedrest.types import Grid
from bedrest.vocabulary import LEVEL_OF_LABEL, TISSUE_OF_LABEL, Status
from sentences import codes

GRID = Grid((20, 30, 130), np.diag([2.0, 1.25, 1.25, 1.0]))
DISC_Z = [20 + 14 * i for i in range(7)]  # lower edges of seven discs, 17.5 mm apart


def _column(*, missing: tuple[int, ...] = (), sacrum: bool = True) -> np.ndarray:
    """A column of blocks: sacrum below, then discs and vertebrae in turn; one-hot probabilities."""
    structure = np.zeros(GRID.shape, np.uint8)
    structure[7:13, :6] = Structure.CANAL
    body = (slice(4, 16), slice(6, 24))
    structure[(*body, slice(0, DISC_Z[0]))] = Structure.SACRUM if sacrum else Structure.VERTEBRA
    structure[(*body, slice(DISC_Z[0], 126))] = Structure.VERTEBRA
    for i, z in enumerate(DISC_Z):
        if i not in missing:
            structure[(*body, slice(z, z + 5))] = Structure.DISC
    return np.eye(len(Structure), dtype=np.float32)[structure].transpose(3, 0, 1, 2)


def test_discs_are_counted_upwards_from_the_sacrum():
    named = name_discs(_column(), GRID)
    assert [f.status for f in named.discs] == [Status.OK] * 7
    for label, z in enumerate(DISC_Z, start=1):
        assert np.unique(named.labels[6:14, 8:22, z : z + 5]).tolist() == [label]


def test_a_gap_keeps_its_name_and_says_so():
    named = name_discs(_column(missing=(3,)), GRID)
    by_name = {f.name: f for f in named.discs}
    assert codes(by_name["L2-L3"].findings) == [FindingCode.DISC_IN_GAP]
    assert by_name["L1-L2"].status == Status.OK
    assert np.unique(named.labels[6:14, 8:22, DISC_Z[4]]).tolist() == [5]


def _cut(probabilities: np.ndarray, first: int) -> tuple[np.ndarray, Grid]:
    """A field of view that begins higher."""
    affine = GRID.affine_ras_mm.copy()
    affine[2, 3] = first * 1.25
    return probabilities[..., first:], Grid((*GRID.shape[:2], GRID.shape[2] - first), affine)


def _below_lowest(probabilities: np.ndarray, sacrum: float) -> np.ndarray:
    """What lies under the lowest disc is taken for sacrum with this probability, else for vertebra."""
    below = (slice(4, 16), slice(6, 24), slice(0, DISC_Z[0]))
    probabilities[(slice(None), *below)] = 0
    probabilities[(Structure.SACRUM, *below)], probabilities[(Structure.VERTEBRA, *below)] = sacrum, 1 - sacrum
    return probabilities


def test_without_a_sacrum_in_view_nothing_is_named():
    named = name_discs(*_cut(_column(sacrum=False), 14))
    assert all(f.status == Status.FAILED for f in named.discs[:7])
    assert [f.name for f in named.discs[7:]] == [f"unnamed-{i}" for i in range(1, 8)]
    assert set(np.unique(named.labels)) == {0, *range(101, 108)}
    assert codes(named.warnings) == [FindingCode.SACRUM_NOT_IN_VIEW]
    assert {c for d in named.discs[7:] for c in codes(d.findings)} == {FindingCode.DISC_WITHOUT_LEVEL}


def test_nothing_found_is_seven_failed_rows():
    empty = np.zeros((5, *GRID.shape), np.float32)
    empty[0] = 1
    named = name_discs(empty, GRID)
    assert [f.name for f in named.discs] == list(LEVEL_OF_LABEL.values())
    assert all(codes(f.findings) == [FindingCode.NO_DISC_FOUND] for f in named.discs)


def test_remnant_disc_inside_the_sacrum_is_not_counted():
    probabilities = _column()
    block = (slice(None), slice(4, 16), slice(6, 24), slice(4, 8))
    probabilities[block] = 0
    probabilities[(Structure.DISC, *block[1:])] = 1
    named = name_discs(probabilities, GRID)
    assert np.unique(named.labels[6:14, 8:22, DISC_Z[0]]).tolist() == [1]
    assert not named.labels[:, :, 4:8].any()


def test_a_clear_border_is_named_with_confidence():
    named = name_discs(_column(), GRID)
    assert all(f.level_confidence > 0.9 for f in named.discs)


def test_confidence_falls_above_an_inferred_gap():
    by_name = {f.name: f.level_confidence for f in name_discs(_column(missing=(3,)), GRID).discs}
    assert by_name["L1-L2"] == pytest.approx(0.9 * by_name["L3-L4"])
    assert np.isnan(by_name["L2-L3"])


def test_two_places_for_the_border_are_never_chosen_between_in_silence():
    # What lies below the lowest disc is sacrum; the body above it is as likely sacrum as vertebra.
    probabilities = _column()
    body = (slice(4, 16), slice(6, 24), slice(DISC_Z[0] + 5, DISC_Z[1]))
    probabilities[(slice(None), *body)] = 0
    for structure in (Structure.SACRUM, Structure.VERTEBRA):
        probabilities[(structure, *body)] = 0.5
    named = name_discs(probabilities, GRID)
    found = [f for f in named.discs if f.status != Status.FAILED]
    assert found and all(codes(f.findings) == [FindingCode.LEVEL_UNCERTAIN] for f in found)
    assert all(f.level_confidence == pytest.approx(0.5, abs=0.02) for f in found)


def test_a_sacrum_that_is_not_recognised_costs_confidence_and_no_names():
    # A block that looks like a vertebra; 25 mm of it are in view, where the next disc would be 17.5 mm below.
    named = name_discs(_below_lowest(_column(), 0.1), GRID)
    sure = name_discs(_column(), GRID).discs[0].level_confidence
    for label, z in enumerate(DISC_Z, start=1):
        assert np.unique(named.labels[6:14, 8:22, z : z + 5]).tolist() == [label]
        disc = named.discs[label - 1]
        assert disc.level_confidence < sure and disc.status == Status.FLAGGED
        assert FindingCode.SACRUM_NOT_RECOGNISED in codes(disc.findings)
    assert named.discs[0].findings[0].values["sacrum"] == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("sacrum", [0.5, 0.3])
def test_bone_cut_off_below_the_lowest_disc_gives_no_names(sacrum):
    named = name_discs(*_cut(_below_lowest(_column(), sacrum), 14))
    assert [d.name for d in named.discs[7:]] == [f"unnamed-{i}" for i in range(1, 8)]
    assert all(d.status == Status.FAILED for d in named.discs[:7])


def test_too_little_of_what_may_be_the_sacrum_is_told_as_such():
    probabilities, grid = _cut(_below_lowest(_column(), 0.7), 14)
    named = name_discs(probabilities, grid)
    doubts = [d.findings[0] for d in named.discs[7:]]
    assert {f.code for f in doubts} == {FindingCode.ENDS_BELOW_LOWEST_DISC}
    assert [f.values["name"] for f in doubts] == list(LEVEL_OF_LABEL.values())


def test_a_lowest_disc_that_was_missed_does_not_shift_the_names():
    # Under L4-L5 a vertebra, then sacrum; of the disc between them a trace.
    probabilities = _column(missing=(0,))
    place = (slice(4, 16), slice(6, 24), slice(DISC_Z[0], DISC_Z[0] + 5))
    probabilities[(Structure.DISC, *place)], probabilities[(Structure.VERTEBRA, *place)] = 0.3, 0.7
    named = name_discs(probabilities, GRID)
    assert codes(named.discs[0].findings) == [FindingCode.DISC_MISSED]
    for label, z in list(enumerate(DISC_Z, start=1))[1:]:
        assert np.unique(named.labels[6:14, 8:22, z : z + 5]).tolist() == [label]
        assert FindingCode.LOWEST_DISC_MISSED in codes(named.discs[label - 1].findings)


def test_a_large_mass_away_from_the_column_is_no_disc():
    # In front of the sacrum, as large as a disc, with bone around it: bladder or bowel.
    probabilities = _column()
    block = np.eye(5, dtype=np.float32)
    probabilities[:, 4:16, 27:30, 2:12] = block[Structure.VERTEBRA][:, None, None, None]
    probabilities[:, 4:16, 27:30, 4:9] = block[Structure.DISC][:, None, None, None]
    named = name_discs(probabilities, GRID)
    assert np.unique(named.labels[6:14, 8:22, DISC_Z[0]]).tolist() == [1]
    assert not named.labels[4:16, 27:30, 2:12].any()


def test_a_tall_disc_inside_the_sacrum_is_told():
    probabilities = _column()
    block = (slice(None), slice(4, 16), slice(6, 24), slice(8, 12))
    probabilities[block] = 0
    probabilities[(Structure.DISC, *block[1:])] = 1
    assert codes(name_discs(probabilities, GRID).warnings)[-1] == FindingCode.DISC_IN_SACRUM
    assert not name_discs(_column(), GRID).warnings


def _neighbours(probabilities: np.ndarray) -> np.ndarray:
    return name_neighbours(probabilities.argmax(axis=0).astype(np.uint8), name_discs(probabilities, GRID).labels, GRID)


@pytest.mark.parametrize("missing", [(), (3,)])
def test_bodies_are_named_by_the_discs_they_lie_between(missing):
    probabilities = _column(missing=missing)
    probabilities[:, 8:12, 1:4, :] = np.eye(5)[Structure.CANAL][:, None, None, None]
    out = _neighbours(probabilities)
    for k, z in enumerate(DISC_Z, start=1):
        assert np.unique(out[6:14, 8:22, z + 7 : z + 12]).tolist() == [10 + k], TISSUE_OF_LABEL[10 + k]
    assert np.unique(out[6:14, 8:22, 2:18]).tolist() == [10]
    assert np.unique(out[8:12, 1:4, :]).tolist() == [20]


def test_bodies_without_named_discs_stay_unnamed():
    probabilities, grid = _cut(_column(sacrum=False), 14)
    out = name_neighbours(probabilities.argmax(axis=0).astype(np.uint8), name_discs(probabilities, grid).labels, grid)
    assert set(np.unique(out)) == {0, 20, 30, *range(101, 108)}
