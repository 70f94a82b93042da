"""`python -m pipelines.benchmarks.image_checks`: what the checks of images say of sound and of spoilt scans.

Sound ones are synthetic or real: an alarm there is a false one, unless the scan shows no lumbar spine.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bedrest import __version__
from bedrest.io.tables.markdown import markdown_table
from bedrest.vocabulary import MEASURED, Contrast, Status

from pipelines.command_line import command_text, run_command

if TYPE_CHECKING:
    from bedrest.segmentation.weights import TrainedNetwork
    from bedrest.types import Scan

MODULE = "pipelines.benchmarks.image_checks"
_HEAD = """# What the checks of images say

Before and after segmentation every scan is checked for what no sound one has: empty or copied slices, regions without
signal at a disc, negative or wrapped intensities, images of another contrast than their names say, no lumbar spine. The
same checks are made by `bedrest segment`, `bedrest.segment` and `bedrest run`, as findings
([codes](../data_manifest/finding_codes.md)): remarks on the scan, and doubts about discs, which are then flagged. A run
refuses a visit where every disc shows the same two contrasts exchanged; a file that holds the same voxels as that of
another contrast is refused on reading.

What they cannot tell: fat given as in-phase alone, T2 given as water or in-phase, in-phase or water given as T1, an
image that was cut at a level below the limits of integers, and a region where water and fat are exchanged beside the
spine.

Alarms on real scans that are right: in `lumbar-t2-ivd-fmrp` the first of 16 slices holds one value everywhere and two
subjects' discs reach the slice beside it; the last four data sets show an abdomen, legs and a pelvis, no lumbar spine.

"""
_REAL: dict[str, tuple[tuple[str, dict[Contrast, str]], ...]] = {
    "lumbar-dixon-water-tum": tuple((n, {Contrast.WATER: f"vol-{n}_water"}) for n in ("01", "22", "40")),
    "lower-spine-t2-berlin": tuple((n, {Contrast.T2: f"vol-{n}_t2"}) for n in ("05", "07", "12", "17")),
    "lumbar-t2-ivd-fmrp": tuple((n, {Contrast.T2: f"vol-{n}_t2"}) for n in ("11", "20", "25")),
    "lumbar-t1-repeat-siegen": tuple((n, {Contrast.T1: f"{n}_t1"}) for n in ("AKa3", "AKs6", "AKs8")),
    "lumbar-t2-sct": (("", {Contrast.T2: "t2_lumbar"}),),
    "spine-t2-crop-tptbox": (("", {Contrast.T2: "sub-mri_label-6_T2w"}),),
    "abdomen-mr-totalsegmentator": (("", {Contrast.T2: "example_mr_sm"}),),
    "dixon-dualecho-ge-cptac": (("", {Contrast.IN_PHASE: "in", Contrast.OPPOSED: "opp"}),),
    "dixon-legs-qmritools": (("legs", {Contrast.WATER: "water", Contrast.FAT: "fat"}),
                             ("pelvis", {Contrast.WATER: "pelvis_water"})),
}


@dataclass(frozen=True)
class ImageChecks:
    """Show what the checks of images say of sound, spoilt and real scans.

    Attributes
    ----------
    subjects
        Synthetic subjects, each with every contrast alone and together; the first one is spoilt in every way.
    real
        Folder of the real data sets.
    output
        Also write the page.
    """

    subjects: int = 4
    real: Path | None = None
    output: Path | None = None


def run(options: ImageChecks) -> int:
    """Print the page, and write it where wanted."""
    from bedrest.io.files import write_text
    from bedrest.segmentation.weights import load_weights

    from pipelines.benchmarks.image_faults import draw, spoilt

    trained = load_weights()
    sections = {
        "Real scans": _real(options.real),
        "Synthetic scans in order": _sound(options.subjects),
        "Synthetic scans, spoilt": spoilt(draw(10_001)).items(),
    }
    text = _HEAD + f"Made by `{command_text(options, module=MODULE)}`, bedrest {__version__}.\n"
    for title, scans in sections.items():
        rows = [remarks(trained, name, scan) for name, scan in scans if {*scan.contrasts} & {*trained.contrasts}]
        text += f"\n## {title}\n\n" + markdown_table(
            ("scan", "contrasts", "discs ok", "flagged", "remarks on the scan", "doubts about discs"), rows)
    if options.output is not None:
        write_text(options.output, text)
    print(text)
    return 0


def remarks(trained: TrainedNetwork, name: str, scan: Scan) -> list[str]:
    """One row: what was remarked on a scan and on how many of its discs. Levels out of view are left out."""
    from bedrest.segmentation.engine import segment

    result = segment(trained, scan, device="cpu")
    codes = Counter(f.code.value for d in result.segmented for f in d.findings if d.status in MEASURED)
    status = Counter(d.status for d in result.segmented)
    return [name, " ".join(scan.contrasts), str(status[Status.OK]), str(status[Status.FLAGGED]),
            ", ".join(dict.fromkeys(f.code.value for f in result.warnings)) or "-",
            ", ".join(f"{code} ({n})" for code, n in codes.items()) or "-"]


def _real(folder: Path | None) -> Iterator[tuple[str, Scan]]:
    from bedrest.io.images.nifti import read_scan

    for data, scans in _REAL.items() if folder is not None else ():
        for name, files in scans:
            if folder is not None and (folder / data).is_dir():
                paths = {c: folder / data / f"{stem}.nii.gz" for c, stem in files.items()}
                yield f"{data} {name}".strip(), read_scan(paths, where=data)


def _sound(subjects: int) -> Iterator[tuple[str, Scan]]:
    from pipelines.benchmarks.image_faults import draw, only

    for i in range(1, subjects + 1):
        anatomy = draw(10_000 + i)
        yield f"subject {i}", anatomy.dixon
        yield f"subject {i}", anatomy.t2
        yield f"subject {i}", anatomy.t1
        for contrast in anatomy.dixon.contrasts:
            yield f"subject {i}", only(anatomy.dixon, contrast)


if __name__ == "__main__":
    sys.exit(run_command(ImageChecks, run, module=MODULE))
