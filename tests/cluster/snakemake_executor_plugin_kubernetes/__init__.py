"""In place of the plugin for Kubernetes, which is no dependency: the options we use, as in its version 0.5."""

from dataclasses import dataclass, field

from fake_cluster import Executor
from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

__all__ = ["Executor", "ExecutorSettings", "common_settings"]


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    namespace: str = field(default="default", metadata={"help": "namespace"})
    persistent_volumes: list[str] = field(default_factory=list, metadata={"help": "volumes", "nargs": "+"})


common_settings = CommonSettings(non_local_exec=True, implies_no_shared_fs=True, job_deploy_sources=True,
                                 pass_default_storage_provider_args=True, pass_default_resources_args=True,
                                 pass_envvar_declarations_to_cmd=False, auto_deploy_default_storage_provider=True)
