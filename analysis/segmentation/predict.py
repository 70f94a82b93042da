"""One scan in, probabilities of the structures out, on the network's own grid in one dense pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.imaging.orientation import Turn, turn_to_ras
from analysis.imaging.resample import grid_with_spacing, resample
from analysis.phantom.tissues import Structure
from analysis.segmentation.network import MULTIPLES, WORKING_SPACING_MM
from analysis.segmentation.normalise import normalise
from analysis.segmentation.weights import TrainedNetwork
from analysis.types import Grid, Scan
from analysis.vocabulary import Contrast

# Beyond this many voxels one pass would need more than about 6 GB: tiles, then.
DENSE_VOXELS = 12_000_000
TILE = (48, 160, 160)


@dataclass(frozen=True, eq=False)
class Probabilities:
    """Structure probabilities of one scan.

    Attributes
    ----------
    data : float32, (5, I, J, K), sums to 1 over the first axis; axes right, front, head
    grid : Grid
        The working grid.
    turn : Turn
        From the scan's stored axes to right, front, head.
    """

    data: NDArray[np.float32]
    grid: Grid
    turn: Turn


def predict(trained: TrainedNetwork, scan: Scan, device: str) -> Probabilities:
    """Run the network on every contrast the scan has; missing contrasts are zeros."""
    import torch

    turn = turn_to_ras(scan.grid)
    grid = grid_with_spacing(turn.turned, WORKING_SPACING_MM)
    padded = tuple(-(-n // m) * m for n, m in zip(grid.shape, MULTIPLES, strict=True))
    image = np.zeros((1, len(Contrast), *padded), dtype=np.float32)
    for channel, contrast in enumerate(Contrast):
        if contrast in scan.contrasts:
            data = resample(turn.apply(scan.contrasts[contrast].data), turn.turned, grid, order=1)
            # Repeated edges, not zeros: an artificial dark rim would look like the end of the body.
            pad = [(0, p - n) for p, n in zip(padded, grid.shape, strict=True)]
            image[0, channel] = np.pad(normalise(data), pad, mode="edge")
    network = trained.network.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    with torch.inference_mode():
        tensor = torch.from_numpy(image).to(device, memory_format=torch.channels_last_3d)
        probabilities = torch.softmax(_scores(network, tensor), dim=1)[0]
    i, j, k = grid.shape
    return Probabilities(probabilities[:, :i, :j, :k].float().cpu().numpy(), grid, turn)


def _scores(network, tensor):
    if tensor[0, 0].numel() <= DENSE_VOXELS:
        return network(tensor)
    from monai.inferers import sliding_window_inference

    return sliding_window_inference(tensor, TILE, 1, network, overlap=0.25, mode="gaussian")


def disc_probability(probabilities: Probabilities) -> NDArray[np.float32]:
    """Probability of disc, shape (I, J, K) on the working grid."""
    return probabilities.data[Structure.DISC]
