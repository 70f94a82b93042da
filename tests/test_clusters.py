"""The shipped profile hands every job to a cluster with what it needs; no cluster is there. Synthetic tables."""

import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from bedrest.errors import StudyError
from bedrest.io.results import StudyResults
from bedrest.stages.all_stages import JOBS
from bedrest.workflow.run import PROFILES, ExecutionOptions, find_profile, prepare, run_workflow

from pipelines.benchmarks.scale.simulated_results import draw_results
from pipelines.benchmarks.scale.synthetic_study import scenario_of, write_inputs

CLUSTER = Path(__file__).parent / "cluster"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three subjects with an image of a few voxels a visit."""
    folder, scenario = tmp_path_factory.mktemp("cluster"), scenario_of(3)
    return write_inputs(folder, scenario, draw_results(scenario, np.random.default_rng(0)), sample=0)


@pytest.fixture(scope="module")
def handed_over(study, tmp_path_factory):
    """Runs the study under a profile, once for each way to ask; the folder of what the cluster was given."""

    @cache
    def run(name: str, *, batch: int = 1, device: str = "cuda") -> Path:
        jobs, results = tmp_path_factory.mktemp("jobs"), StudyResults(tmp_path_factory.mktemp("out"))
        manifest, _ = prepare(study, results)
        assert len(manifest.subjects) == 3
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FAKE_CLUSTER", str(jobs))
            patch.setenv("PYTHONPATH", str(CLUSTER), prepend=":")
            outcome = run_workflow(study, results, manifest, cores=4, device=device,
                                   execution=ExecutionOptions(find_profile(name), batch))
        assert outcome.finished, outcome.log.read_text()
        return jobs

    return run


def read(folder: Path, pattern: str = "*.json") -> list[dict]:
    return [json.loads(p.read_text()) for p in folder.glob(pattern)]


def test_every_job_asks_the_cluster_for_memory_time_and_gpu(handed_over):
    jobs = read(handed_over("slurm"))
    assert {job["rule"] for job in jobs} == set(JOBS)
    assert len(jobs) == 2 * 3 + 2 + 5  # two jobs a subject, two pages, five of the cohort
    for job in jobs:
        resources = job["resources"]
        assert resources["mem_mb"] >= 1000 and resources["runtime"] >= 30, job
        assert (resources.get("gpu"), job["threads"]) == ((1, 4) if job["rule"] == "subject" else (None, 1)), job
        assert re.search(rf"--target-jobs '?{job['rule']}:", job["script"])
        assert "bedrest.workflow.snakemake_events" not in job["script"]  # a node runs plain Snakemake


def test_a_batch_is_one_job_for_all_its_subjects(handed_over):
    jobs = read(handed_over("slurm", batch=2, device="cpu"))
    batches = [j for j in jobs if j["rule"].startswith("subject_batch")]
    assert sorted(j["command"].split(" subject ")[1].split(" --device ")[1] for j in batches) == [
        "cpu --threads 4 --subject s1 s2", "cpu --threads 4 --subject s3"]
    assert sum(j["rule"] == "subject_report" for j in jobs) == 3
    assert {j["resources"]["gpu"] for j in batches} == {0}
    assert not any(j["rule"] == "subject" for j in jobs)


def test_a_profile_that_is_not_there_is_named_with_those_that_are(tmp_path):
    with pytest.raises(StudyError, match="slurm, or a folder"):
        find_profile("slrum")
    copy = tmp_path / "mine"
    copy.mkdir()
    (copy / "config.yaml").write_text((PROFILES / "slurm/config.yaml").read_text())
    assert find_profile(str(copy)) == copy
