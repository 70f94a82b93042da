"""Stands for a cluster: takes jobs as an executor plugin of Snakemake does, writes down what each asked for, and makes
empty outputs. No job is run. What it was given lies in the folder $FAKE_CLUSTER, a JSON file a job.
"""

import json
import os
from pathlib import Path

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

COMMON = CommonSettings(non_local_exec=True, implies_no_shared_fs=False, job_deploy_sources=False,
                        pass_default_storage_provider_args=True, pass_default_resources_args=True,
                        pass_envvar_declarations_to_cmd=False, auto_deploy_default_storage_provider=False)


class Executor(RemoteExecutor):
    def run_job(self, job):
        asked = {k: v for k, v in dict(job.resources).items() if isinstance(v, int | str)}
        given = {"rule": job.name, "resources": asked, "threads": job.threads, "script": self.format_job_exec(job),
                "command": job.shellcmd}
        (Path(os.environ["FAKE_CLUSTER"]) / f"{job.jobid}.json").write_text(json.dumps(given))
        for output in map(Path, job.output):
            output.parent.mkdir(parents=True, exist_ok=True)
            output.touch()
        self.report_job_submission(SubmittedJobInfo(job=job, external_jobid=str(job.jobid)))

    async def check_active_jobs(self, active_jobs):
        self.next_seconds_between_status_checks = 0.1
        for job_info in active_jobs:
            self.report_job_success(job_info)
        if False:
            yield

    def cancel_jobs(self, active_jobs):
        pass
