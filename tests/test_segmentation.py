"""Naming on hand-made probability maps; the shipped network on phantoms it never saw; geometry in and out."""

import json

import nibabel as nib
import numpy as np
import pytest

from analysis.errors import StudyError, WeightsError
from analysis.imaging.orientation import turn_to_ras
from analysis.imaging.resample import grid_with_spacing, resample
from analysis.phantom.anatomy import draw_spine
from analysis.phantom.paint import paint, paint_levels
from analysis.phantom.render import Artefacts, demo_grid, render_dixon
from analysis.phantom.tissues import Structure
from analysis.segmentation.device import resolve_device
from analysis.segmentation.naming import name_discs
from analysis.segmentation.normalise import normalise
from analysis.segmentation.weights import SHIPPED, load_weights
from analysis.types import Grid, Scan, Volume
from analysis.vocabulary import LEVEL_OF_LABEL, Contrast, Status

GRID = Grid((20, 30, 130), np.diag([2.0, 1.25, 1.25, 1.0]))
DISC_Z = [20 + 14 * i for i in range(7)]  # lower edges of seven discs, 17.5 mm apart


def _column(*, missing: tuple[int, ...] = (), sacrum: bool = True) -> np.ndarray:
    """A column of blocks: sacrum below, then discs and vertebrae in turn; one-hot probabilities."""
    structure = np.zeros(GRID.shape, np.uint8)
    body = (slice(4, 16), slice(6, 24))
    if sacrum:
        structure[(*body, slice(0, DISC_Z[0]))] = Structure.SACRUM
    structure[(*body, slice(DISC_Z[0], 126))] = Structure.VERTEBRA
    for i, z in enumerate(DISC_Z):
        if i not in missing:
            structure[(*body, slice(z, z + 5))] = Structure.DISC
    return np.eye(len(Structure), dtype=np.float32)[structure].transpose(3, 0, 1, 2)


def test_discs_are_counted_upwards_from_the_sacrum():
    named = name_discs(_column(), GRID)
    assert [f.status for f in named.findings] == [Status.OK] * 7
    for label, z in enumerate(DISC_Z, start=1):
        assert np.unique(named.labels[6:14, 8:22, z : z + 5]).tolist() == [label]


def test_a_gap_keeps_its_name_and_says_so():
    named = name_discs(_column(missing=(3,)), GRID)
    by_name = {f.name: f for f in named.findings}
    assert by_name["L2-L3"].status == Status.FAILED and "gap" in by_name["L2-L3"].reason
    assert by_name["L1-L2"].status == Status.OK
    assert np.unique(named.labels[6:14, 8:22, DISC_Z[4]]).tolist() == [5]


def test_without_a_sacrum_nothing_is_named():
    named = name_discs(_column(sacrum=False), GRID)
    assert all(f.status == Status.FAILED for f in named.findings[:7])
    assert [f.name for f in named.findings[7:]] == [f"unnamed-{i}" for i in range(1, 8)]
    assert set(np.unique(named.labels)) == {0, *range(101, 108)}
    assert "sacrum" in named.warnings[-1]


def test_nothing_found_is_seven_failed_rows():
    empty = np.zeros((5, *GRID.shape), np.float32)
    empty[0] = 1
    named = name_discs(empty, GRID)
    assert [f.name for f in named.findings] == list(LEVEL_OF_LABEL.values())
    assert all(f.status == Status.FAILED and "no disc found" in f.reason for f in named.findings)


def test_remnant_disc_inside_the_sacrum_is_not_counted():
    probabilities = _column()
    block = (slice(None), slice(4, 16), slice(6, 24), slice(4, 8))
    probabilities[block] = 0
    probabilities[(Structure.DISC, *block[1:])] = 1
    named = name_discs(probabilities, GRID)
    assert np.unique(named.labels[6:14, 8:22, DISC_Z[0]]).tolist() == [1]
    assert not named.labels[:, :, 4:8].any()


@pytest.mark.parametrize("codes", ["LPS", "PIR", "RAS", "ASL"])
def test_turning_goes_and_comes_back(codes, rng):
    data = rng.random((5, 6, 7)).astype(np.float32)
    affine = nib.orientations.inv_ornt_aff(
        nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes)),
        (5, 6, 7))
    turn = turn_to_ras(Grid((5, 6, 7), affine))
    assert nib.aff2axcodes(turn.turned.affine_ras_mm) == ("R", "A", "S")
    np.testing.assert_array_equal(turn.undo(turn.apply(data)), data)
    # one voxel stays at its place in the world
    index = np.array([1, 2, 3])
    marked = np.zeros(data.shape)
    marked[tuple(index)] = 1
    there = np.argwhere(turn.apply(marked))[0]
    np.testing.assert_allclose(turn.turned.affine_ras_mm @ [*there, 1], affine @ [*index, 1], atol=1e-9)


def test_resampling_keeps_a_linear_ramp_and_the_field_of_view():
    grid = Grid((16, 40, 40), np.diag([4.4, 0.43, 0.43, 1.0]))
    target = grid_with_spacing(grid, (2.0, 1.25, 1.25))
    ramp = np.arange(16, dtype=np.float32)[:, None, None] * 4.4 * np.ones(grid.shape, np.float32)
    out = resample(ramp, grid, target, order=1)
    x = target.affine_ras_mm[0, 3] + target.affine_ras_mm[0, 0] * np.arange(target.shape[0])
    inside = (x >= 0) & (x <= 15 * 4.4)
    np.testing.assert_allclose(out[inside, 8, 8], x[inside], atol=1e-3)
    assert np.abs(target.spacing_mm * target.shape - grid.spacing_mm * grid.shape).max() < 2


def test_normalisation_is_blind_to_gain_and_negative_values(rng):
    image = rng.random((8, 8, 8)).astype(np.float32) * 100
    np.testing.assert_allclose(normalise(image), normalise(image * 7.5), rtol=1e-5)
    assert normalise(image - 50).min() == 0


def test_a_device_that_is_not_there_is_refused():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(StudyError, match="cuda"):
        resolve_device("cuda")
    assert resolve_device("auto") in ("cpu", "mps")


def test_weights_are_small_and_carry_their_record(tmp_path):
    assert SHIPPED.stat().st_size < 16e6
    trained = load_weights()
    assert trained.record["data"] == "synthetic anatomies only" and trained.record["steps"] > 0
    curve = json.loads(SHIPPED.with_suffix(".json").read_text())
    assert curve["steps"] == trained.record["steps"]
    broken = tmp_path / "w.safetensors"
    broken.write_bytes(SHIPPED.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"w\.safetensors"):
        load_weights(broken)


@pytest.fixture(scope="module")
def held_out():
    """A phantom of a seed that training never uses."""
    rng = np.random.default_rng(424242)
    spine = draw_spine(rng).posed(rng, shift_mm=2, turn_deg=1)
    painting = paint(spine, demo_grid(), rng)
    return render_dixon(painting, rng, Artefacts()), paint_levels(spine, demo_grid()).data


def _dice(found: np.ndarray, truth: np.ndarray) -> list[float]:
    return [2 * float(((found == k) & (truth == k)).sum()) / float((found == k).sum() + (truth == k).sum())
            for k in LEVEL_OF_LABEL]


def test_the_shipped_network_names_and_outlines_a_phantom_it_never_saw(held_out):
    from analysis.segmentation.engine import segment

    scan, truth = held_out
    result = segment(load_weights(), scan, device="cpu")
    assert [f.status for f in result.findings] == [Status.OK] * 7
    assert np.mean(_dice(result.discs.data, truth)) >= 0.90


def test_axes_in_another_order_give_the_same_mask(held_out):
    from analysis.segmentation.engine import segment

    scan, _ = held_out
    trained = load_weights()
    straight = segment(trained, scan, device="cpu").discs.data
    flipped = {}
    for contrast, volume in scan.contrasts.items():
        affine = volume.grid.affine_ras_mm @ np.array([[0, 0, 1, 0], [0, -1, 0, 255], [1, 0, 0, 0], [0, 0, 0, 1.0]])
        data = np.ascontiguousarray(volume.data.transpose(2, 1, 0)[:, ::-1])
        flipped[contrast] = Volume(data, Grid((256, 256, 36), affine))
    turned = segment(trained, Scan(flipped), device="cpu").discs.data
    np.testing.assert_array_equal(turned[:, ::-1].transpose(2, 1, 0), straight)


@pytest.mark.parametrize("contrast", [Contrast.IN_PHASE, Contrast.OPPOSED])
def test_one_contrast_alone_still_gives_named_discs(held_out, contrast):
    from analysis.segmentation.engine import segment

    scan, truth = held_out
    result = segment(load_weights(), Scan({contrast: scan.contrasts[contrast]}), device="cpu")
    assert np.mean(_dice(result.discs.data, truth)) >= 0.80
