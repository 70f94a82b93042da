"""In place of the plugin for Slurm, which is no dependency: common settings as in its version 2.8."""

from fake_cluster import Executor
from snakemake_interface_executor_plugins.settings import CommonSettings

__all__ = ["Executor", "common_settings"]
common_settings = CommonSettings(non_local_exec=True, implies_no_shared_fs=False, job_deploy_sources=False,
                                 pass_default_storage_provider_args=True, pass_default_resources_args=True,
                                 pass_envvar_declarations_to_cmd=False, auto_deploy_default_storage_provider=False)
