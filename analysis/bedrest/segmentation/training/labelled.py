"""A manually labelled scan -> its training target: shares of all five structures on the working grid.

A manual mask holds discs, maybe not all of them; vertebrae, sacrum and canal come from a trained network. Knows
nothing of files and of the training loop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bedrest.anatomy.structures import Structure
from bedrest.errors import ImageError
from bedrest.imaging.crop import Box, box_around, crop_grid
from bedrest.imaging.orientation import reorient_to_ras
from bedrest.imaging.resample import grid_with_spacing, resample
from bedrest.segmentation.forward import forward
from bedrest.segmentation.network import WORKING_SPACING_MM
from bedrest.segmentation.predict import calibrated, network_input
from bedrest.segmentation.weights import TrainedNetwork
from bedrest.types import LabelMap, Scan, require_same_grid
from bedrest.vocabulary import FIRST_UNNAMED_LABEL, LEVEL_OF_LABEL, Contrast

Float = NDArray[np.float32]
Half = NDArray[np.float16]

# A disc farther than this above or below the labelled ones may exist without a label. The vertebra between two discs is
# 20 mm high or more, so a neighbouring disc that was left out on purpose lies beyond it.
BEYOND_MM = 8.0
# Around the labels: the reach of a patch around an outer disc, and context for the dense prediction.
MARGIN_MM = (16.0, 40.0, 50.0)
DISC_LABELS = (*LEVEL_OF_LABEL, *range(FIRST_UNNAMED_LABEL, FIRST_UNNAMED_LABEL + 19))


@dataclass(frozen=True, eq=False)
class LabelledScan:
    """One labelled visit, ready for training: the part of the working grid around its labels."""

    subject: str
    session: str
    channels: tuple[int, ...]  # contrasts of the scan, as channel numbers
    # float16, (5, I, J, K), axes right, front, head; normalised contrasts; zeros where a contrast is missing
    image: Half
    discs: Half  # float16, (I, J, K); share of each voxel that the labelled discs fill
    target: Half  # float16, (5, I, J, K); share of each voxel that each structure fills; see `training_target`
    spacing_mm: NDArray[np.float64]  # (3,) of the working grid


def label_scan(scan: Scan, mask: LabelMap, teacher: TrainedNetwork, device: str, *, subject: str,
               session: str) -> LabelledScan:
    """Bring a scan and its mask to the working grid, as `predict` does, and make the target.

    `teacher`: gives the structures that the mask does not hold.
    Raises GeometryError: scan and mask lie on different grids.
    Raises ImageError: the mask is empty, or holds labels that are no discs.
    """
    where = f"{subject} {session} reference mask"
    require_same_grid(scan.grid, mask.grid, names=("the scan", "the reference mask"), where=where)
    unknown = sorted(set(np.unique(mask.data).tolist()) - {0, *DISC_LABELS})
    if unknown or not mask.data.any():
        raise ImageError("labels 1 = L5-S1 ... 7 = T11-T12, or 101, 102, ... for discs without a name",
                         f"labels {unknown[:5]}" if unknown else "an empty mask", where,
                         "Renumber the mask, or take the visit's mask out of the study.")
    reorientation = reorient_to_ras(scan.grid)
    working = grid_with_spacing(reorientation.ras, WORKING_SPACING_MM)
    discs = resample(reorientation.apply((mask.data > 0).astype(np.float32)), reorientation.ras, working, order=1)
    box = _around(discs, working.spacing_mm, where)
    grid, discs = crop_grid(working, box), discs[box]
    known = teacher.known(scan.contrasts)
    image = network_input({c: reorientation.apply(scan.contrasts[c].data) for c in known}, reorientation.ras, grid)
    channels = tuple(i for i, c in enumerate(Contrast) if c in known)
    predicted = calibrated(forward(teacher.network, image, device).data, teacher.calibration.given(known))
    target = training_target(discs, predicted, float(grid.spacing_mm[2]))
    return LabelledScan(subject, session, channels, image.astype(np.float16), discs.astype(np.float16),
                        target.astype(np.float16), grid.spacing_mm)


def training_target(discs: Float, prediction: Float, spacing_head_mm: float) -> Float:
    """Shares of the five structures from manual discs and the prediction of a network for the rest.

    Disc is what was labelled. The other four share the remainder in the proportions that the network gives them; so
    where the network predicts disc and the mask has none, that share goes to the neighbours. Above and below the
    labelled discs, from `BEYOND_MM` on, the network's disc is kept: a missing label there does not prove that there is
    no disc.

    `discs`: float32, (I, J, K), axes right, front, head; share of each voxel that labelled discs fill; at least one
    voxel of one half or more; `prediction`: float32, (5, I, J, K); probabilities of the structures; `spacing_head_mm`:
    Distance of voxels along the body axis.
    Returns float32, (5, I, J, K), sums to 1 over the first axis.
    """
    kept = ~near_labels(discs, spacing_head_mm)
    share = np.clip(np.where(kept, np.maximum(discs, prediction[Structure.DISC]), discs), 0, 1)
    others = np.delete(prediction, Structure.DISC, axis=0)
    total = others.sum(axis=0)
    only_disc = total < 1e-9  # the network predicts nothing else: no proportion to keep
    others = np.where(only_disc, np.eye(len(others), dtype=np.float32)[Structure.BACKGROUND][:, None, None, None],
                      others / np.where(only_disc, 1, total))
    result: Float = np.insert(others * (1 - share), Structure.DISC, share, axis=0).astype(np.float32)
    return result


def near_labels(discs: NDArray[np.floating], spacing_head_mm: float) -> NDArray[np.bool_]:
    """Slices across the body axis, (1, 1, K), between the lowest and highest labelled voxel, `BEYOND_MM` added."""
    labelled = np.flatnonzero((discs >= 0.5).any(axis=(0, 1)))
    k, beyond = np.arange(discs.shape[2]), BEYOND_MM / spacing_head_mm
    result: NDArray[np.bool_] = ((k >= labelled[0] - beyond) & (k <= labelled[-1] + beyond))[None, None]
    return result


def disc_dice(network: nn.Module, scan: LabelledScan, device: str) -> float:
    """Dice of all labelled discs together, near them only: beyond them a disc may lack its label."""
    near = near_labels(scan.discs, float(scan.spacing_mm[2]))
    logits = forward(network, scan.image.astype(np.float32), device).data
    predicted = (torch.softmax(logits, dim=0)[Structure.DISC].numpy() >= 0.5) & near
    truth = scan.discs >= 0.5
    return 2 * float((predicted & truth).sum()) / float(predicted.sum() + truth.sum())


def _around(discs: Float, spacing_mm: NDArray[np.float64], where: str) -> Box:
    """Index box of the labels, widened by `MARGIN_MM` within the grid."""
    if not (discs >= 0.5).any():
        raise ImageError(f"discs that fill a voxel of the working grid, {WORKING_SPACING_MM} mm", "none", where,
                         "Check the mask's voxel size.")
    margin = np.ceil(np.array(MARGIN_MM) / spacing_mm).astype(int)
    i, j, k = (slice(max(s.start - int(m), 0), min(s.stop + int(m), n))
               for s, m, n in zip(box_around(discs >= 0.5), margin, discs.shape, strict=True))
    return i, j, k
