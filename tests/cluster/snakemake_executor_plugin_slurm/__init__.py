"""In place of Snakemake's plugin for Slurm, which is no dependency."""

from fake_cluster import COMMON as common_settings
from fake_cluster import Executor

__all__ = ["Executor", "common_settings"]
