"""In place of Snakemake's plugin for any cluster, which is no dependency: runs the commands that it would run."""

import subprocess
from dataclasses import dataclass, field

import fake_cluster
from fake_cluster import COMMON as common_settings
from snakemake_interface_executor_plugins.settings import ExecutorSettingsBase

__all__ = ["Executor", "ExecutorSettings", "common_settings"]


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    submit_cmd: str = field(default="", metadata={"help": "Command for submitting jobs"})
    status_cmd: str = field(default="", metadata={"help": "Command for retrieving job status"})


class Executor(fake_cluster.Executor):
    def submit(self, job):
        script = self.get_jobscript(job)
        self.write_jobscript(job, script)
        command = job.format_wildcards(self.workflow.executor_settings.submit_cmd, dependencies="")
        return _said(f'{command} "{script}"')

    def ended_well(self, name):
        return _said(f"{self.workflow.executor_settings.status_cmd} '{name}'") == "success"


def _said(command):
    return subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout.strip()
