"""Snakemake in a process of its own, with a log handler that appends its events to the run's file.

`python -m bedrest.workflow.snakemake_events` takes the arguments of `snakemake`, which finds plugins by the
names of installed top-level packages; ours is registered here, so that no second package has to be installed.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from logging import LogRecord
from pathlib import Path
from typing import Any, TextIO, cast

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry
from snakemake_interface_logger_plugins.registry.plugin import Plugin

from bedrest.workflow.events import append

NAME = "bedrest"


class LogHandler(LogHandlerBase):
    """Appends how many jobs there are, and each one that failed. Snakemake's working directory is the output folder."""

    writes_to_stream = writes_to_file = needs_rulegraph = False
    has_filter = has_formatter = True

    def __post_init__(self) -> None:
        self._of: dict[int, str] = {}  # number of a job -> its subject or page

    def emit(self, record: LogRecord) -> None:
        content = record.__dict__
        event = content.get("event")
        if event == LogEvent.RUN_INFO:
            append(Path(), {"event": "run_info", "rules": content["stats"]})
        elif event == LogEvent.JOB_INFO:
            wildcards = content["wildcards"] or {}
            self._of[content["jobid"]] = str(wildcards.get("subject") or wildcards.get("page") or "")
        elif event == LogEvent.JOB_ERROR:
            append(Path(), {"event": "job_error", "rule": content["rule_name"],
                            "of": self._of.get(content["jobid"], "")})


class _Output:
    """A stream whose reader may be gone: Snakemake would wait for ever for a job whose end it could not print."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def main() -> None:
    sys.stdout, sys.stderr = (cast(TextIO, _Output(stream)) for stream in (sys.stdout, sys.stderr))
    from snakemake.cli import main as snakemake

    LoggerPluginRegistry().plugins[NAME] = Plugin(log_handler=LogHandler, _logger_settings_cls=None, _name=NAME)
    snakemake(["--logger", NAME, *sys.argv[1:]])


if __name__ == "__main__":
    main()
