"""The shipped profiles hand every stage to a cluster with what it needs; no cluster is there. Synthetic tables."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from analysis.errors import StudyError
from analysis.io.results import StudyResults
from analysis.stats.simulated_results import draw_results
from pipelines.run import PROFILES, Spread, find_profile, prepare, run_workflow
from pipelines.scale_cohort import scenario_of, write_inputs

CLUSTER = Path(__file__).parent / "cluster"
STAGES = {"segment", "follow", "measure", "change", "subject_report", "tables", "statistics", "figures",
          "cohort_report", "page", "index"}
NETWORK = {"segment", "follow"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three subjects with an image of a few voxels a visit."""
    folder, scenario = tmp_path_factory.mktemp("cluster"), scenario_of(3)
    return write_inputs(folder, scenario, draw_results(scenario, np.random.default_rng(0)), sample=0)


@pytest.fixture
def handed_over(study, tmp_path, monkeypatch):
    """Runs the study under a profile and returns the jobs that the cluster was given."""

    def run(name: str, *, batch: int = 1, device: str = "cuda") -> list[dict]:
        jobs = tmp_path / f"jobs-{name}"
        jobs.mkdir()
        monkeypatch.setenv("FAKE_CLUSTER", str(jobs))
        monkeypatch.setenv("PYTHONPATH", str(CLUSTER), prepend=":")
        results = StudyResults(tmp_path / "out")
        manifest, _ = prepare(study, results)
        assert len(manifest.subjects) == 3
        outcome = run_workflow(study, results, manifest, cores=4, device=device,
                               spread=Spread(find_profile(name), batch))
        assert outcome.finished, outcome.log.read_text()
        return [json.loads(p.read_text()) for p in jobs.iterdir()]

    return run


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_every_stage_asks_the_cluster_for_memory_time_and_gpu(name, handed_over):
    jobs = handed_over(name)
    assert {job["rule"] for job in jobs} == STAGES
    assert len(jobs) == 5 * 3 + 2 + 5  # five stages a subject, two pages, five of the cohort
    for job in jobs:
        asked = job["resources"]
        assert asked["mem_mb"] >= 1000 and asked["runtime"] >= 30, job
        assert (asked.get("gpu"), job["threads"]) == ((1, 4) if job["rule"] in NETWORK else (None, 1)), job
        assert re.search(rf"--target-jobs '?{job['rule']}:", job["script"])
    if name == "kubernetes":
        assert {job["image"] for job in jobs} == {"registry.example.org/bedrest:0.1.0"}
        # Without a manufacturer the plugin refuses a GPU; without limits Kubernetes does.
        assert {(j["resources"]["gpu_manufacturer"], j["resources"]["scale"]) for j in jobs} == {("nvidia", 0)}


def test_a_batch_is_one_job_of_segment_and_one_of_follow_for_all_its_subjects(handed_over):
    jobs = handed_over("slurm", batch=2, device="cpu")
    commands = sorted(j["command"].split(" --subject ")[1] for j in jobs if j["rule"].startswith("segment"))
    assert commands == ["s1 s2 --device cpu --threads 4", "s3 --device cpu --threads 4"]
    assert sum(j["rule"].startswith("follow") for j in jobs) == 2
    assert sum(j["rule"] == "measure" for j in jobs) == 3
    assert {j["resources"]["gpu"] for j in jobs if j["rule"].startswith(("segment", "follow"))} == {0}


def test_a_profile_that_is_not_there_is_named_with_those_that_are(tmp_path):
    with pytest.raises(StudyError, match="kubernetes, slurm, or a folder"):
        find_profile("slrum")
    own = tmp_path / "mine"
    own.mkdir()
    (own / "config.yaml").write_text((PROFILES / "slurm/config.yaml").read_text())
    assert find_profile(str(own)) == own
