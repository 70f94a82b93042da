"""All visits of a subject together -> names that agree, and every disc's volume. Orders; computes nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bedrest import schemas
from bedrest.errors import BedrestError
from bedrest.io.files import sha256_of
from bedrest.io.images.masks import read_label_map
from bedrest.io.images.nifti import read_volume
from bedrest.io.tables.frames import empty_table
from bedrest.longitudinal.error_model import errors_path, load_errors
from bedrest.longitudinal.level_matching import PlacedDisc, match_levels
from bedrest.longitudinal.poses import Pose
from bedrest.measurement.volumes import volumes_from_probability
from bedrest.segmentation.device import resolve_device
from bedrest.segmentation.weights import chosen_weights
from bedrest.settings import Study
from bedrest.stages.segment import loaded_weights, use_threads, weights_file
from bedrest.stages.stage import Job, Scope, Stage, write_slice
from bedrest.stages.visits import Visit, images_of, is_ours, visits_of
from bedrest.tables.joint import joint_frame, matches_frame
from bedrest.vocabulary import LABEL_OF_LEVEL, LEVEL_OF_LABEL


@dataclass(frozen=True, eq=False)
class _Segmented:
    """What segmentation made of a visit, by label of the disc."""

    visit: Visit
    poses: dict[int, Pose]
    volumes_mm3: dict[int, float]

    def renamed(self, to: dict[int, int]) -> _Segmented:
        """Under other labels; discs that get none are left out."""
        return _Segmented(self.visit, {to[k]: v for k, v in self.poses.items() if k in to},
                          {to[k]: v for k, v in self.volumes_mm3.items() if k in to})


def run(job: Job) -> None:
    """Write which names were changed and the joint volumes; no rows of those for one visit, or not asked for."""
    records = job.results.read_subject(job.subject, schemas.SCAN_RECORDS).set_index("session")
    findings = job.results.read_subject(job.subject, schemas.FINDINGS)
    segmented = {v.session: masks for v in visits_of(job) if (masks := _read(job, v, records.loc[v.session]))}
    discs = {s: _discs(masks, findings[findings["session"] == s]) for s, masks in segmented.items()}
    matches = match_levels(discs)
    write_slice(job, matches_frame(matches, subject=job.subject), schemas.MATCHES)
    for m in matches:
        labels = {d.name: d.label for d in discs[m.session]}
        to = {labels[name]: LABEL_OF_LEVEL[level] for name, level in m.names.items() if level in LABEL_OF_LEVEL}
        segmented[m.session] = segmented[m.session].renamed(to)
    together = job.study.visits == "together" and len(segmented) > 1
    write_slice(job, _joint(job, segmented) if together else empty_table(schemas.JOINT), schemas.JOINT)


def _read(job: Job, visit: Visit, record: pd.Series) -> _Segmented | None:
    """None without a mask that was segmented here; a file that cannot be read is reported by measuring."""
    if not is_ours(record):
        return None
    from bedrest.longitudinal.joint_volumes import poses_of

    try:
        discs = read_label_map(job.results.output_dir / record["mask_path"], where=visit.where)
        probability = read_volume(job.results.probability(visit.subject, visit.session), where=visit.where)
    except BedrestError:
        return None
    return _Segmented(visit, poses_of(discs, probability), volumes_from_probability(probability, discs))


def _discs(visit: _Segmented, findings: pd.DataFrame) -> list[PlacedDisc]:
    by_label = findings.set_index("label")
    return [PlacedDisc(k, by_label.loc[k, "level"], float(by_label.loc[k, "level_confidence"]), visit.poses[k],
                       visit.volumes_mm3[k]) for k in sorted(visit.poses) if k in by_label.index]


def _joint(job: Job, segmented: dict[str, _Segmented]) -> pd.DataFrame:
    from bedrest.longitudinal.boxes import prepare_visit
    from bedrest.longitudinal.joint_volumes import joint_volumes

    device = resolve_device(job.device)
    use_threads(device, job.threads)
    weights = chosen_weights(job.study.weights)
    trained, errors = loaded_weights(weights), load_errors(weights, sha256=sha256_of(weights))
    prepared = {s: prepare_visit(scan, masks.poses) for s, masks in segmented.items()
                if (scan := images_of(masks.visit, resample=job.study.images.resample)) is not None}
    volumes = [v for label in LEVEL_OF_LABEL
               for v in joint_volumes(trained, prepared, label, device=device, errors=errors)]
    return joint_frame(volumes, subject=job.subject, single_mm3={s: f.volumes_mm3 for s, f in segmented.items()})


def weights_and_errors(study: Study, page: str = "") -> Mapping[str, Path]:
    """The weights of a study's network, and how large its errors are."""
    weights = weights_file(study)
    return {**weights, "errors of the network": errors_path(weights["weights"])}


STAGE = Stage("joint_volumes", run, Scope.SUBJECT, after=("segment",), inputs=(schemas.SCANS, schemas.SESSIONS),
              settings=("visits", "images.resample"), files=weights_and_errors)
