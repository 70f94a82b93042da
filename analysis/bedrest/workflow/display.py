"""What a run is doing: a bar for every stage; without a terminal lines, one at least every 10 seconds; JSON on request.

Shows events; must not know where they come from.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TextIO

from tqdm import tqdm

from bedrest.io.terminal import quiet
from bedrest.workflow.events import Event

HEARTBEAT_S = 10.0
MOST_NAMED = 4  # running stages that a line names


class Display:
    """Shows events."""

    def show(self, event: Event) -> None:
        raise NotImplementedError

    def tick(self) -> None:
        """Called several times a second, whether or not anything happened."""

    def close(self) -> None:
        """Called at the end."""


class Bars(Display):
    """A bar for each stage, shown when it first starts, with the time it will still take."""

    def __init__(self) -> None:
        self._jobs: dict[str, int] = {}
        self.bars: dict[str, tqdm] = {}

    def show(self, event: Event) -> None:
        if event.event == "planned":
            self._jobs[event.stage] = event.jobs or 0
        elif event.event == "started" and event.stage not in self.bars:
            self.bars[event.stage] = tqdm(total=self._jobs.get(event.stage), desc=f"{event.stage:<14}", unit="job",
                                          position=len(self.bars))
        elif event.event == "finished" and event.stage in self.bars:
            self.bars[event.stage].update()

    def tick(self) -> None:
        for bar in self.bars.values():
            bar.refresh()

    def close(self) -> None:
        for bar in self.bars.values():
            bar.close()


@dataclass
class Lines(Display):
    """For logs, where a bar would be thousands of lines: a line when a stage has ended for all, or has failed.

    Where nothing of that happens for 10 seconds, a line says what is at work.
    """

    out: TextIO
    jobs: dict[str, int] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    stage_began: dict[str, float] = field(default_factory=dict)
    running: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    last_line: float = field(default_factory=time.monotonic)

    def show(self, event: Event) -> None:
        now = time.monotonic()
        if event.event == "planned":
            self.jobs[event.stage] = event.jobs or 0
        elif event.event == "started":
            self.stage_began.setdefault(event.stage, now)
            self.running[event.name] = now
        else:
            self.running.pop(event.name, None)
            self.done[event.stage] += event.event == "finished"
            total = self.jobs.get(event.stage, 0)
            if event.event == "failed":
                self._print(f"{event.name}: broke down")
            elif self.done[event.stage] == total:
                self._print(f"{event.stage}: {total} done in {now - self.stage_began.get(event.stage, now):.0f} s")

    def tick(self) -> None:
        now = time.monotonic()
        if now - self.last_line < HEARTBEAT_S:
            return
        named = [f"{name} ({now - since:.0f} s)" for name, since in list(self.running.items())[:MOST_NAMED]]
        more = len(self.running) - len(named)
        at_work = ", ".join(named) + (f" and {more} more" if more else "")
        total = sum(self.jobs.values())
        self._print(f"after {now - self.began:.0f} s: {self.done.total()} of {total} done; {at_work or 'waiting'}"
                    if total else f"after {now - self.began:.0f} s: finding out what there is to do")

    def _print(self, line: str) -> None:
        print(line, file=self.out, flush=True)
        self.last_line = time.monotonic()


@dataclass(frozen=True)
class JsonLog(Display):
    """Every event as a JSON object on a line of its own."""

    out: TextIO

    def show(self, event: Event) -> None:
        row = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event.event,
               "step": event.stage, "subject": event.subject or None, "page": event.page or None, "jobs": event.jobs,
               "seconds": None if event.seconds is None else round(event.seconds, 3), "reason": event.reason or None}
        print(json.dumps(row, ensure_ascii=False), file=self.out, flush=True)


def display_here() -> Display:
    """Bars in a terminal, lines elsewhere."""
    return Lines(sys.stderr) if quiet() else Bars()
