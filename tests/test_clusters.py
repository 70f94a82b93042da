"""The shipped profiles hand every stage to a cluster with what it needs; no cluster is there. Synthetic tables."""

import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from bedrest.errors import StudyError
from bedrest.io.results import StudyResults
from bedrest.workflow.kubernetes import main
from bedrest.workflow.run import PROFILES, ExecutionOptions, find_profile, prepare, run_workflow

from pipelines.benchmarks.scale.simulated_results import draw_results
from pipelines.benchmarks.scale.synthetic_study import scenario_of, write_inputs

CLUSTER = Path(__file__).parent / "cluster"
STAGES = {"segment", "follow", "measure", "change", "subject_report", "tables", "statistics", "figures",
          "cohort_report", "page", "index"}
NETWORK = {"segment", "follow"}


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
            patch.setenv("PATH", str(CLUSTER / "bin"), prepend=":")
            outcome = run_workflow(study, results, manifest, cores=4, device=device,
                                   spread=ExecutionOptions(find_profile(name), batch))
        assert outcome.finished, outcome.log.read_text()
        return jobs

    return run


def read(folder: Path, pattern: str = "*.json") -> list[dict]:
    return [json.loads(p.read_text()) for p in folder.glob(pattern)]


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_every_stage_asks_the_cluster_for_memory_time_and_gpu(name, handed_over):
    jobs = read(handed_over(name))
    assert {job["rule"] for job in jobs} == STAGES
    assert len(jobs) == 5 * 3 + 2 + 5  # five stages a subject, two pages, five of the cohort
    for job in jobs:
        asked = job["resources"]
        assert asked["mem_mb"] >= 1000 and asked["runtime"] >= 30, job
        assert (asked.get("gpu"), job["threads"]) == ((1, 4) if job["rule"] in NETWORK else (None, 1)), job
        assert re.search(rf"--target-jobs '?{job['rule']}:", job["script"])


def test_kubernetes_is_asked_for_what_the_rule_needs_on_the_shared_volume(handed_over):
    asked = read(handed_over("kubernetes"), "*.manifest")
    by_stage: dict[str, list[dict]] = {}
    for one in asked:
        by_stage.setdefault(one["metadata"]["labels"]["stage"].replace("-", "_"), []).append(one)
    assert set(by_stage) == STAGES and len(by_stage["segment"]) == 3
    for stage, jobs in by_stage.items():
        pod = jobs[0]["spec"]["template"]["spec"]
        limits = pod["containers"][0]["resources"]["limits"]
        assert limits.get("nvidia.com/gpu") == ("1" if stage in NETWORK else None)
        assert limits["memory"].endswith("M") and limits["cpu"] == ("4" if stage in NETWORK else "1")
        assert jobs[0]["spec"]["activeDeadlineSeconds"] >= 30 * 60
        assert pod["volumes"] == [{"name": "study", "persistentVolumeClaim": {"claimName": "study"}}]
        assert pod["containers"][0]["volumeMounts"] == [{"name": "study", "mountPath": "/study"}]
        assert pod["containers"][0]["image"] == "registry.example.org/bedrest:0.1.0"


@pytest.mark.parametrize(("answer", "code", "word"), [
    ('{"status": {"conditions": [{"type": "Failed", "status": "True"}]}}', 0, "failed"),
    ('{"status": {}}', 0, "running"),
    ("", 1, "running"),  # the cluster does not answer
    ("Error from server (NotFound): no such job", 1, "failed"),
])
def test_a_job_has_failed_only_where_kubernetes_says_so(answer, code, word, tmp_path, monkeypatch, capsys):
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f"#!/bin/sh\necho '{answer}' {'>&2' if code else ''}\nexit {code}\n")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("sys.argv", ["kubernetes", "status", "job-1"])
    assert main() == 0 and capsys.readouterr().out.strip() == word


def test_a_batch_is_one_job_of_segment_and_one_of_follow_for_all_its_subjects(handed_over):
    jobs = read(handed_over("slurm", batch=2, device="cpu"))
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
