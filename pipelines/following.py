"""All visits of a subject -> the volume of each disc, measured in all of them alike. Orders; computes nothing."""

from __future__ import annotations

from analysis import schemas
from analysis.errors import BedrestError
from analysis.io.images import read_volume
from analysis.io.masks import read_label_map
from analysis.io.tables import empty_table
from analysis.longitudinal.joint import SeenVisit, joint_volumes, see
from analysis.measure.volumes import volumes_from_probability
from analysis.segmentation.device import resolve_device
from analysis.segmentation.weights import chosen_weights, load_weights
from analysis.tables.joint import joint_frame
from analysis.vocabulary import LEVEL_OF_LABEL
from pipelines.jobs import Job, images_of, use_threads, visits_of, write_slice


def follow_subject(job: Job) -> None:
    """Write the subject's joint volumes; no rows where they were not asked for, or less than two visits have a mask."""
    seen, single = _look(job) if job.study.visits == "together" else ({}, {})
    if len(seen) < 2:
        write_slice(job, empty_table(schemas.JOINT), schemas.JOINT)
        return
    device = resolve_device(job.device)
    use_threads(device, job.threads)
    trained = load_weights(chosen_weights(job.study.weights))
    volumes = [v for label in LEVEL_OF_LABEL for v in joint_volumes(trained, seen, label, device=device)]
    write_slice(job, joint_frame(volumes, subject=job.subject, single_mm3=single), schemas.JOINT)


def _look(job: Job) -> tuple[dict[str, SeenVisit], dict[str, dict[int, float]]]:
    """What the joint measurement needs of every visit that was segmented, and its volumes alone."""
    records = job.results.read_subject(job.subject, schemas.SCAN_RECORDS).set_index("session")
    seen, single = {}, {}
    for visit in visits_of(job):
        record = records.loc[visit.session]
        scan = images_of(visit)
        if scan is None or record["source"] != "automatic" or not record["mask_path"]:
            continue
        try:
            discs = read_label_map(job.results.output_dir / record["mask_path"], where=visit.where)
            probability = read_volume(job.results.probability(visit.subject, visit.session), where=visit.where)
        except BedrestError:  # measuring tells
            continue
        seen[visit.session] = see(scan, discs, probability, LEVEL_OF_LABEL)
        single[visit.session] = volumes_from_probability(probability, discs)
    return seen, single
