"""The shipped networks on phantoms they never saw; geometry in and out; memory that does not suffice."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from bedrest.errors import StudyError, WeightsError
from bedrest.findings import Finding, FindingCode
from bedrest.imaging.crop import box_around, box_of, crop_grid
from bedrest.imaging.orientation import reorient_to_ras
from bedrest.imaging.resample import grid_with_spacing, resample
from bedrest.io.images.read_ahead import read_ahead
from bedrest.phantom.paint import paint, paint_levels
from bedrest.phantom.random_spine import draw_spine
from bedrest.phantom.render import Artefacts, demo_grid, render_dixon
from bedrest.segmentation.device import resolve_device
from bedrest.segmentation.forward import forward
from bedrest.segmentation.network import Architecture, build_network
from bedrest.segmentation.normalise import normalise
from bedrest.segmentation.predict import predict
from bedrest.segmentation.weights import (
    SHIPPED,
    Calibration,
    TrainedNetwork,
    check_weights,
    load_weights,
    save_weights,
)
from bedrest.types import Grid, Scan, Volume
from bedrest.vocabulary import LEVEL_OF_LABEL, Contrast, Status
from scipy import ndimage

SMALL = Architecture((4, 4, 4, 4, 4))


@pytest.mark.parametrize("codes", ["LPS", "PIR", "RAS", "ASL"])
def test_turning_goes_and_comes_back(codes, rng):
    data = rng.random((5, 6, 7)).astype(np.float32)
    affine = nib.orientations.inv_ornt_aff(
        nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes)),
        (5, 6, 7))
    reorientation = reorient_to_ras(Grid((5, 6, 7), affine))
    assert nib.aff2axcodes(reorientation.ras.affine_ras_mm) == ("R", "A", "S")
    np.testing.assert_array_equal(reorientation.undo(reorientation.apply(data)), data)
    # one voxel stays at its place in the world
    index = np.array([1, 2, 3])
    marked = np.zeros(data.shape)
    marked[tuple(index)] = 1
    there = np.argwhere(reorientation.apply(marked))[0]
    np.testing.assert_allclose(reorientation.ras.affine_ras_mm @ [*there, 1], affine @ [*index, 1], atol=1e-9)


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
    spine = draw_spine(rng).posed(rng, shift_mm=2, rotation_deg=1)
    painting = paint(spine, demo_grid(), rng)
    return render_dixon(painting, rng, Artefacts()), paint_levels(spine, demo_grid()).data


@pytest.fixture(scope="module")
def segmented(held_out):
    """What the shipped network makes of it, neighbours included."""
    from bedrest.segmentation.engine import segment

    return segment(load_weights(), held_out[0], device="cpu", tissues=True)


def _dice(found: np.ndarray, truth: np.ndarray) -> list[float]:
    return [2 * float(((found == k) & (truth == k)).sum()) / float((found == k).sum() + (truth == k).sum())
            for k in LEVEL_OF_LABEL]


def test_the_locator_keeps_every_disc_in_the_crop(held_out):
    scan, truth = held_out
    found = predict(load_weights(), scan, "cpu")
    assert not found.notes
    kept = truth[box_of(found.grid, scan.grid)]
    assert (kept > 0).sum() == (truth > 0).sum()
    assert kept.size < 0.5 * truth.size


def test_a_scan_without_a_spine_is_searched_whole_and_says_so(rng):
    from bedrest.segmentation.engine import segment

    grid = Grid((24, 48, 48), np.diag([2.0, 1.25, 1.25, 1.0]))
    noise = Scan({Contrast.T2: Volume(rng.random(grid.shape).astype(np.float32), grid)})
    result = segment(load_weights(), noise, device="cpu")
    assert result.warnings[0] == Finding(FindingCode.SPINE_NOT_LOCATED)
    assert all(f.status == Status.FAILED for f in result.segmented if f.label in LEVEL_OF_LABEL)


def test_the_shipped_network_names_and_outlines_a_phantom_it_never_saw(held_out, segmented):
    _, truth = held_out
    result = segmented
    assert [f.status for f in result.segmented] == [Status.OK] * 7
    assert np.mean(_dice(result.discs.data, truth)) >= 0.90
    # the probabilities are calibrated: their sum is the volume, without any threshold
    near = ndimage.binary_dilation(truth > 0, iterations=3)
    assert result.disc_probability.data[near].sum() == pytest.approx((truth > 0).sum(), rel=0.03)


def test_the_same_scan_gives_the_same_bytes_with_and_without_neighbours(held_out, segmented):
    from bedrest.segmentation.engine import segment

    again = segment(load_weights(), held_out[0], device="cpu")
    assert again.disc_probability.data.tobytes() == segmented.disc_probability.data.tobytes()
    assert again.discs.data.tobytes() == segmented.discs.data.tobytes()


def test_every_neighbour_of_a_phantom_is_named(segmented):
    result = segmented
    np.testing.assert_array_equal(np.where(result.tissues.data < 10, result.tissues.data, 0), result.discs.data)
    heights = {k: np.argwhere(result.tissues.data == k)[:, 2].mean() for k in (*range(1, 8), *range(10, 18), 20)}
    for k in LEVEL_OF_LABEL:  # sacrum or lower body, disc, upper body
        assert heights[9 + k] < heights[k] < heights[10 + k]


def test_axes_in_another_order_give_the_same_mask(held_out, segmented):
    from bedrest.segmentation.engine import segment

    scan, _ = held_out
    flipped = {}
    for contrast, volume in scan.contrasts.items():
        affine = volume.grid.affine_ras_mm @ np.array([[0, 0, 1, 0], [0, -1, 0, 255], [1, 0, 0, 0], [0, 0, 0, 1.0]])
        data = np.ascontiguousarray(volume.data.transpose(2, 1, 0)[:, ::-1])
        flipped[contrast] = Volume(data, Grid((256, 256, 36), affine))
    turned = segment(load_weights(), Scan(flipped), device="cpu").discs.data
    np.testing.assert_array_equal(turned[:, ::-1].transpose(2, 1, 0), segmented.discs.data)


class _Small(torch.nn.Module):
    """Five scores a voxel; refuses inputs above a size, as a device without memory does."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.conv, self.most, self.seen = torch.nn.Conv3d(5, 5, 3, padding=1), most, []

    def forward(self, x):
        self.seen.append(x[0, 0].numel())
        if self.seen[-1] > self.most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate too much")
        return self.conv(x)


def test_weights_that_do_not_know_t1_use_the_other_contrasts_as_ever(held_out, tmp_path):
    """Weights of the first five contrasts, and the same beside a T1 image: the same bytes, and a remark."""
    trained = load_weights()
    path, five = tmp_path / "five.safetensors", tuple(Contrast)[:5]
    networks = [build_network(SMALL, channels=5).eval() for _ in range(2)]
    save_weights(path, TrainedNetwork(*networks, SMALL, SMALL, Calibration(), trained.record, contrasts=five))
    small = load_weights(path)
    assert small.contrasts == check_weights(path) == five
    scan = held_out[0]
    t1 = Scan({Contrast.T1: scan.contrasts[Contrast.IN_PHASE]})
    alone, beside = (predict(small, Scan(c), "cpu") for c in (scan.contrasts, {**scan.contrasts, **t1.contrasts}))
    np.testing.assert_array_equal(alone.data, beside.data)
    assert FindingCode.CONTRAST_NOT_LEARNT in {f.code for f in beside.notes} - {f.code for f in alone.notes}
    with pytest.raises(WeightsError, match=r"five\.safetensors.*t1 alone.*--weights"):
        predict(small, t1, "cpu")


def test_tiles_take_over_where_memory_does_not_suffice_and_say_so(rng):
    image = rng.random((5, 50, 170, 170)).astype(np.float32)
    torch.manual_seed(0)
    network = _Small(most=1_300_000)
    found = forward(network, image, "cpu")
    assert network.seen[0] > 1_300_000 and max(network.seen[1:]) <= 1_300_000
    assert found.notes == (Finding(FindingCode.OUT_OF_MEMORY, {"device": "cpu", "next_device": "cpu"}),)
    network.most = 10**9
    dense = forward(network, image, "cpu")
    assert dense.notes == ()
    # The same but for one voxel along the tiles' own rims, where this network sees zeros.
    same = np.isclose(found.data, dense.data, atol=1e-4)
    assert same.mean() > 0.9 and same[:, 5:9, 20:120, 20:120].all()
    note, = forward(network, image[:, :48, :160, :160], "cpu", dense_voxels=1000).notes
    assert note == Finding(FindingCode.COMPUTED_IN_TILES, {"voxels": image[0, :48, :160, :160].size, "limit": 1000})


def test_an_error_that_is_not_about_memory_is_not_hidden(rng):
    class Broken(torch.nn.Module):
        def forward(self, x):
            raise RuntimeError("wrong shape")

    with pytest.raises(RuntimeError, match="wrong shape"):
        forward(Broken(), rng.random((5, 8, 16, 16)).astype(np.float32), "cpu")


def test_boxes_hold_what_they_should():
    whole = Grid((20, 40, 40), np.diag([2.0, 1.0, 1.0, 1.0]))
    part = crop_grid(whole, (slice(5, 9), slice(10, 30), slice(0, 7)))
    assert box_of(part, whole) == (slice(5, 9), slice(10, 30), slice(0, 7))
    assert box_of(part, whole, margin_mm=4) == (slice(3, 11), slice(6, 34), slice(0, 11))
    coarse = grid_with_spacing(part, (4.0, 2.0, 2.0))
    assert box_of(coarse, whole)[1] == slice(10, 30)
    inside = np.zeros((5, 6, 7), bool)
    inside[1:3, 2, 4:6] = True
    assert box_around(inside) == (slice(1, 3), slice(2, 3), slice(4, 6))


def test_reading_ahead_keeps_order_and_gives_each_error_to_its_own_key():
    def read(key):
        if key == 2:
            raise WeightsError("a", "b", "c", "d")
        return 10 * key

    got = []
    for key, content in read_ahead([1, 2, 3], read):
        try:
            got.append((key, content()))
        except WeightsError:
            got.append((key, None))
    assert got == [(1, 10), (2, None), (3, 30)]
    assert list(read_ahead([], read)) == []


@pytest.mark.parametrize("contrast", [Contrast.IN_PHASE, Contrast.OPPOSED])
def test_one_contrast_alone_still_gives_named_discs(held_out, contrast):
    from bedrest.segmentation.engine import segment

    scan, truth = held_out
    result = segment(load_weights(), Scan({contrast: scan.contrasts[contrast]}), device="cpu")
    assert np.mean(_dice(result.discs.data, truth)) >= 0.80
