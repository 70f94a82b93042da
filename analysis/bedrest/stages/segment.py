"""Scans of a subject -> masks of discs and their neighbours, what became of each visit, and findings about its discs.

Orders the work; computes nothing itself. A visit that cannot be segmented is a failed row; the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bedrest import schemas
from bedrest.errors import BedrestError, ImageError
from bedrest.findings import Finding, FindingCode, findings_of_error, worst_status
from bedrest.imaging.orientation import reorient_to_ras
from bedrest.io.images.masks import label_table_path, placed_on, read_label_map, write_label_map, write_volume
from bedrest.io.images.nifti import read_grid
from bedrest.io.images.read_ahead import read_ahead
from bedrest.io.tables.frames import concat_tables, typed_frame
from bedrest.measurement.numbering.recognise import IN_STUDY, NamedMask, name_discs
from bedrest.settings import Study
from bedrest.stages.stage import Job, Scope, Stage, write_slice
from bedrest.stages.visits import Visit, like, scan_of, visits_of
from bedrest.tables.segmented import segmented_frame
from bedrest.types import Scan, SegmentedDisc
from bedrest.vocabulary import LEVEL_OF_LABEL, MEASURED, TISSUE_OF_LABEL, MaskOrigin, MaskRole

if TYPE_CHECKING:
    from bedrest.segmentation.weights import TrainedNetwork


def run(job: Job) -> None:
    """Segment every visit; the network is loaded once a process, and only where a mask is not given."""
    visits = visits_of(job)
    network = None if all(MaskRole.MASK in v.paths for v in visits) else _network(job)
    records, segmented = [], []
    read = partial(_read_visit, study=job.study)
    for visit, contents in read_ahead(visits, read):
        record, discs = _segment_visit(job, visit, contents, network)
        records.append(record)
        segmented.append(segmented_frame(discs, subject=visit.subject, session=visit.session))
    rows = ({**r, "status": worst_status(r["findings"]).value} for r in records)
    write_slice(job, typed_frame(rows, schemas.SCAN_RECORDS), schemas.SCAN_RECORDS)
    write_slice(job, concat_tables(segmented, schemas.FINDINGS), schemas.FINDINGS)


def _read_visit(visit: Visit, *, study: Study) -> NamedMask | Scan:
    """The mask that was given, its discs named, or the scan to segment."""
    if given := visit.paths.get(MaskRole.MASK):
        labels = study.images.labels
        mask = read_label_map(given, where=visit.where, by_name=labels is None)
        for image in list(visit.contrasts().values())[:1]:
            with suppress(BedrestError):  # an image that cannot be read is reported where signals are measured
                mask = placed_on(mask, read_grid(image, where=visit.where))
        return name_discs(mask, labels, where=f"{visit.where} ({given})", option=IN_STUDY)
    return scan_of(visit, resample=study.images.resample)


def _network(job: Job) -> tuple[TrainedNetwork, str]:
    """The network, and the device it runs on."""
    from bedrest.segmentation.device import resolve_device
    from bedrest.segmentation.weights import chosen_weights

    device = resolve_device(job.device)
    use_threads(device, job.threads)
    return loaded_weights(chosen_weights(job.study.weights)), device


def _segment_visit(job: Job, visit: Visit, contents: Callable[[], NamedMask | Scan],
                   network: tuple[TrainedNetwork, str] | None) -> tuple[dict[str, Any], list[SegmentedDisc]]:
    key = {"subject": visit.subject, "session": visit.session}
    target = job.results.mask(visit.subject, visit.session)
    header = like(visit)
    record: dict[str, Any] = {**key, "mask_path": "", "source": MaskOrigin.AUTOMATIC.value, "contrasts": "",
                              "voxel_mm": "", "device": "", "seconds": float("nan"), "findings": ()}
    begun = time.monotonic()
    try:
        content = contents()
        if isinstance(content, NamedMask):
            record["source"] = MaskOrigin.GIVEN.value
            discs = content.in_ours()
            segmented = [SegmentedDisc(label, level, content.findings(level)) for label, level in LEVEL_OF_LABEL.items()
                         if (discs.data == label).any()]
        else:
            from bedrest.segmentation.engine import segment as segment_scan

            assert network is not None  # a visit without a given mask has it
            trained, device = network
            result = segment_scan(trained, content, device=device, tissues=job.study.tissues == "all")
            discs, segmented = result.discs, list(result.segmented)
            _refuse_exchanged(segmented, visit.where)
            record |= {"contrasts": "+".join(c for c in visit.contrasts() if c in trained.contrasts),
                       "device": device,
                       "findings": (*content.notes, *result.warnings)}
            write_volume(result.disc_probability, job.results.probability(visit.subject, visit.session), like=header,
                         dtype=np.int16)
            if result.tissues is not None:
                names = {**TISSUE_OF_LABEL, **{d.label: d.name for d in segmented}}
                write_label_map(result.tissues, job.results.tissue_mask(visit.subject, visit.session), names=names,
                                like=header)
        write_label_map(discs, target, names={**LEVEL_OF_LABEL, **{d.label: d.name for d in segmented}}, like=header)
        record |= {"mask_path": str(target.relative_to(job.results.output_dir)),
                   "voxel_mm": " x ".join(f"{mm:.4g}" for mm in reorient_to_ras(discs.grid).ras.spacing_mm),
                   "seconds": round(time.monotonic() - begun, 2)}
        if not any(d.status in MEASURED for d in segmented):
            record["findings"] += segmented[0].findings if segmented else (Finding(FindingCode.MASK_EMPTY),)
    except BedrestError as error:
        maps = (target, job.results.tissue_mask(visit.subject, visit.session))
        for left in (*maps, *map(label_table_path, maps), job.results.probability(visit.subject, visit.session)):
            left.unlink(missing_ok=True)  # of other images than those of now
        why = findings_of_error(error) if header is not None else (Finding(FindingCode.NO_IMAGES),)
        return record | {"findings": (*record["findings"], *why)}, []
    return record, segmented


def _refuse_exchanged(segmented: Sequence[SegmentedDisc], where: str) -> None:
    """Raise ImageError where every disc shows the same two contrasts exchanged: files that contradict their names."""
    shown = [[f for f in d.findings if f.code == FindingCode.CONTRASTS_EXCHANGED]
             for d in segmented if d.status in MEASURED]
    pairs = {(str(f.values["one"]), str(f.values["other"])) for findings in shown for f in findings}
    if shown and all(shown) and len(pairs) == 1:
        (one, other), values = pairs.pop(), shown[0][0].values
        raise ImageError(f"{one} and {other} as their files are named", f"the two exchanged: in {one} "
                         f"{values['tissue']} has {values['one_ratio']:.2f} of the signal of {segmented[0].name}, in "
                         f"{other} {values['other_ratio']:.2f}", where,
                         "Look at both images; give each file the name of what it shows, then run again.")


def use_threads(device: str, threads: int) -> None:
    """Let the network use this many threads where it runs on the CPU."""
    if device == "cpu":
        import torch

        torch.set_num_threads(threads)


@cache
def loaded_weights(path: Path) -> TrainedNetwork:
    """A trained network, loaded once for all subjects of a process; it is used and never changed."""
    from bedrest.segmentation.weights import load_weights

    return load_weights(path)


def weights_file(study: Study, page: str = "") -> Mapping[str, Path]:
    """The weights of a study's network."""
    from bedrest.segmentation.weights import chosen_weights

    return {"weights": chosen_weights(study.weights)}


STAGE = Stage("segment", run, Scope.SUBJECT, inputs=(schemas.SCANS, schemas.SESSIONS),
              settings=("tissues", "images.resample", "images.labels"), files=weights_file)
