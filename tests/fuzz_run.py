"""Runs fuzz cases in worker processes with limits of time and memory, and counts what became of them.

`python tests/fuzz_run.py --worker SEED FIRST LAST` is one worker: a line of JSON a case. A case is known by its seed
and number alone, so that each can be made again: `python tests/fuzz_run.py --worker SEED N N+1`.
"""

import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SECONDS, WAITING = 20, 240  # of processor and of waiting, for one case
STARTING = 900  # seconds for a worker to load the libraries, at worst
EXTRA_BYTES = 1_500_000_000  # above what the libraries take once loaded
KINDS = ("image", "table", "study", "image", "study_toml", "text_table", "study", "image", "table", "weights")


def _goes_on() -> None:
    while True:
        pass


# What a reader must not do, to see that it would be noticed: the cases of a seed below 0, from the folder `cwd`.
FAULTS = (lambda: {}["x"], _goes_on, lambda: bytearray(3 * EXTRA_BYTES), lambda: Path("../home/x").write_text("x"),
          lambda: os._exit(3), lambda: None)


@dataclass(frozen=True)
class Case:
    """One case and its outcome: `value`, `refused`, or else what went wrong."""

    number: int
    kind: str
    name: str
    outcome: str
    detail: str
    seconds: float


class Late(BaseException):
    """The case took too long."""


def _late(*_: object) -> None:
    raise Late


def _files(base: Path, apart: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file of the worker's own world, but for one output folder."""
    found = {}
    for root, folders, names in os.walk(base):
        if Path(root) == apart.parent and apart.name in folders:
            folders.remove(apart.name)
        for name in (*names, *folders):
            path = f"{root}/{name}"
            state = os.lstat(path)
            found[path] = (0, 0) if os.path.isdir(path) else (state.st_size, state.st_mtime_ns)  # noqa: PTH112
    return found


def _made(number: int, seed: int, folder: Path) -> tuple[str, Callable[[], object]]:
    """What is broken in a case, and what is done with it, once it is made."""
    import fuzz_images
    import fuzz_studies
    import fuzz_texts
    import numpy as np

    rng, kind, out = np.random.default_rng((seed, number)), KINDS[number % len(KINDS)], folder / "out"
    turn = number // len(KINDS) + number % len(KINDS)
    if kind in ("image", "study"):
        module, names = (fuzz_images, fuzz_images.MAKERS) if kind == "image" else (fuzz_studies, fuzz_studies.LAYOUTS)
        name = list(names)[turn % len(names)]
        return name, module.make(name, folder, out, rng)
    return kind, fuzz_texts.MAKERS[kind](folder, out, rng)


def _one(number: int, seed: int, base: Path) -> Case:
    from bedrest.errors import BedrestError

    kind = KINDS[number % len(KINDS)]
    folder = base / "a" / "b" / str(number)
    out = folder / "out"
    folder.mkdir(parents=True)
    name = "fault" if seed < 0 else kind
    begun = time.process_time()
    signal.setitimer(signal.ITIMER_REAL, WAITING)
    signal.setitimer(signal.ITIMER_PROF, SECONDS if seed >= 0 else 1)
    try:
        name, act = ("fault", FAULTS[number]) if seed < 0 else _made(number, seed, folder)
        before = _files(base, out)
        outcome, detail = "value", ""
        try:
            act()
        except BedrestError as error:
            parts = (error.expected, error.actual, error.where, error.remedy)
            outcome, detail = "refused", f"{type(error).__name__}: {error}"
            if not all(str(p).strip() for p in parts):
                outcome = "a refusal without words"
            if len(detail) > 100_000:
                outcome = "a refusal of endless length"
        after = _files(base, out)
        if after != before:
            outcome = "a file outside the output folder"
            detail = str(sorted(set(after.items()) ^ set(before.items()))[:3])
        if (out / "was_run").exists():
            outcome = "code of the file was run"
    except Late:
        outcome, detail = "too slow", traceback.format_exc()[-1500:]
    except MemoryError:
        outcome, detail = "too much memory", traceback.format_exc()[-1500:]
    except BaseException:
        outcome, detail = "traceback", traceback.format_exc()[-2500:]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
    return Case(number, kind, name, outcome, detail[:2500], round(time.process_time() - begun, 2))


def worker(seed: int, first: int, last: int) -> None:
    """Do cases one after another; a line each."""
    import shutil

    base = Path(tempfile.mkdtemp(prefix="bedrest-fuzz-"))
    home = Path.home()
    for name in ("home", "cwd", "tmp"):
        (base / name).mkdir()
    os.environ |= {"HOME": str(base / "home"), "TMPDIR": str(base / "tmp"),
                   "MPLCONFIGDIR": str(home / ".config" / "matplotlib")}
    tempfile.tempdir = str(base / "tmp")
    os.chdir(base / "cwd")
    if seed >= 0:  # everything is loaded before the limit is set: what counts is what a case takes
        import torch  # noqa: F401
        from bedrest.io.images import limits
        from bedrest.segmentation.weights import load_weights
        from fuzz_images import LOWERED

        load_weights()
        for name, lowered in LOWERED.items():
            assert lowered < getattr(limits, name)
            setattr(limits, name, lowered)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + EXTRA_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, _late)
    signal.signal(signal.SIGPROF, _late)
    print("READY", flush=True)
    try:
        for number in range(first, last):
            case = _one(number, seed, base)
            print("CASE " + json.dumps(case.__dict__), flush=True)
            shutil.rmtree(base / "a", ignore_errors=True)
    finally:
        os.chdir("/")
        shutil.rmtree(base, ignore_errors=True)


def cases(seed: int, first: int, last: int) -> Iterator[Case]:
    """Outcome of every case; a worker that dies or hangs loses its case, and another goes on behind it."""
    at = first
    while at < last:
        command = [sys.executable, "-P", __file__, "--worker", str(seed), str(at), str(last)]
        root = Path(__file__).parents[1]
        places = (root / "analysis", root, root / "tests")
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places)), "OMP_NUM_THREADS": "1",
               "PYTHONWARNINGS": "ignore"}
        with tempfile.TemporaryFile("w+") as told:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told, env=env)
            started = False
            assert process.stdout is not None
            rest = b""
            while at < last:
                ready, _, _ = select.select([process.stdout], [], [], WAITING + 60 if started else STARTING)
                read = os.read(process.stdout.fileno(), 65536) if ready else b""
                if not read:
                    outcome = "crash" if ready else "hang"
                    process.kill()
                    process.wait()
                    told.seek(0)
                    if not started:
                        process.stdout.close()
                        raise RuntimeError(f"no worker starts: {told.read()}")
                    detail = f"{process.returncode}: {told.read()[-1500:]}"
                    yield Case(at, KINDS[at % len(KINDS)], "", outcome, detail, 0)
                    at += 1
                    break
                started = True
                *lines, rest = (rest + read).split(b"\n")
                for line in lines:
                    if line.startswith(b"CASE "):
                        yield Case(**json.loads(line[5:]))
                        at += 1
            process.stdout.close()
            process.wait()


def counts(found: list[Case]) -> str:
    """Cases by kind and outcome, as a table of Markdown."""
    outcomes = ["value", "refused", *sorted({c.outcome for c in found} - {"value", "refused"})]
    kinds = sorted({c.kind for c in found})
    by = Counter((c.kind, c.outcome) for c in found)
    rows = [[k, str(sum(by[k, o] for o in outcomes)), *(str(by[k, o]) for o in outcomes)] for k in kinds]
    rows.append(["all", str(len(found)), *(str(sum(by[k, o] for k in kinds)) for o in outcomes)])
    lines = [["input", "cases", *outcomes], ["---"] * (len(outcomes) + 2), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        worker(*map(int, sys.argv[2:5]))
    else:
        everything = list(cases(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
        for bad in everything:
            if bad.outcome not in ("value", "refused"):
                print(f"--- {bad.number} {bad.kind} {bad.name}: {bad.outcome} ({bad.seconds} s)\n{bad.detail}\n")
        slowest = sorted((c.seconds, c.kind, c.name, c.number) for c in everything)[-5:]
        print(counts(everything), f"\nslowest: {slowest}")
