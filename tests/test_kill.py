"""A run that is killed at any moment is completed by the next one, to the bytes of a run that nobody disturbed."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from bedrest.cli import main
from bedrest.errors import OutputError
from bedrest.io.files import sha256_of
from bedrest.io.results import StudyResults
from bedrest.workflow.locks import at_work, locked
from given_study import copied, differing, finish, finish_here, start, to_be_done, write_study

KILLS = 30


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    return write_study(tmp_path_factory.mktemp("kill"))


def undisturbed(study: Path, to: Path, *, whole: bool) -> tuple[Path, float]:
    """A copy that ran to its end, and how long that took."""
    copied(study, to)
    began = time.monotonic()
    finish(to, whole=whole)
    return to, time.monotonic() - began


def killed(folder: Path, seconds: float, *, whole: bool, after_steps: int = 0) -> bool:
    """Start a run and kill all of its processes at once, so long after so many steps; False: it ended before."""
    process = start(folder, whole=whole)
    while steps_done(folder) < after_steps and process.poll() is None:
        time.sleep(0.02)
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=seconds)
        return False
    kernels = psutil.Process(process.pid).children(recursive=True)  # a notebook's has a group of its own
    os.killpg(process.pid, signal.SIGKILL)
    for kernel in kernels:
        with suppress(psutil.NoSuchProcess):
            kernel.kill()
    process.communicate()
    psutil.wait_procs(kernels, timeout=30)
    return True


def assert_same(folder: Path, reference: Path) -> None:
    """Every table, slice, figure's data and sentence, and every mask; no file too many, none under a temporary name."""
    ours, theirs = StudyResults(folder / "out"), StudyResults(reference / "out")
    assert differing(ours.output_dir, theirs.output_dir) == []
    assert ours.output_files() == theirs.output_files()
    for name in ours.output_files():
        if name.startswith("masks/") or name.endswith(("_measured.nii.gz", ".pdf", ".svg", ".png", "index.html")):
            assert sha256_of(ours.output_dir / name) == sha256_of(theirs.output_dir / name), name
    assert not [p for p in ours.output_dir.rglob("*") if ".tmp-" in p.name]


def steps_done(folder: Path) -> int:
    return len(list((folder / "out/work/_records").rglob("*.json")))


def test_two_kills_in_a_row_and_the_run_after_them(study, tmp_path, monkeypatch):
    reference, folder = copied(study, tmp_path / "reference"), copied(study, tmp_path / "killed")
    finish_here(reference, monkeypatch)
    rng = np.random.default_rng(7)
    assert killed(folder, float(rng.uniform(0, 2)), after_steps=1, whole=False)
    left = folder / "out/tables/.tmp-99999-measures.csv"  # as one that was killed while it wrote would leave it
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_text("half a tab")
    assert killed(folder, 0.1, after_steps=5, whole=False)
    assert 5 <= steps_done(folder) < steps_done(reference)
    assert "segment" not in finish(folder)  # what had ended is kept
    assert_same(folder, reference)
    assert to_be_done(folder) == {}


@pytest.mark.slow
def test_thirty_kills_at_any_moment(study, tmp_path):
    """Moments are uniform over what is left of the run; up to six kills before one is let go to its end."""
    reference, length = undisturbed(study, tmp_path / "reference", whole=True)
    rng = np.random.default_rng(2026)
    kills = trials = 0
    print(f"\nundisturbed run: {length:.0f} s, {steps_done(reference)} steps")
    while kills < KILLS:
        trials += 1
        folder, last = copied(study, tmp_path / f"trial-{trials}"), int(rng.integers(1, 7))
        for _ in range(min(last, KILLS - kills)):
            done = steps_done(folder)
            seconds = float(rng.uniform(0, 1)) * length * (1 - done / (steps_done(reference) + 1))
            if not killed(folder, seconds, whole=True):
                break
            kills += 1
            print(f"trial {trials}, kill {kills} after {seconds:5.1f} s: {done} -> {steps_done(folder)} steps ended",
                  flush=True)
        finish(folder, whole=True)
        assert_same(folder, reference)
        assert "Nothing to do" in finish(folder, whole=True)
    print(f"{kills} kills in {trials} trials: every trial ended with the bytes of the undisturbed run")


# Two commands at once


def test_a_second_run_is_refused_while_the_first_goes_on_unharmed(study, tmp_path):
    folder = copied(study, tmp_path / "two")
    first = start(folder)
    while not (folder / "out/.lock").exists():
        assert first.poll() is None
        time.sleep(0.05)
    output = finish(folder, status=1)
    assert "found another command at work" in output and "Wait for it to end" in output
    assert first.poll() is None, "the second run came too late to tell"
    assert "tables" in first.communicate()[0] and first.returncode == 0


@pytest.mark.parametrize("words", [["report"], ["figures"], ["verify"], ["verify", "--rerun"], ["run"]])
def test_no_command_works_on_results_that_another_writes(stored, capsys, words):
    study, results = stored
    results.provenance_json.write_text("{}")
    with locked(study.output_dir):
        assert main([words[0], str(study.path), *words[1:]]) == 1
    assert "another command at work" in capsys.readouterr().err


def test_check_tells_that_another_command_is_at_work(stored, capsys):
    study, _ = stored
    with locked(study.output_dir):
        assert main(["check", str(study.path)]) == 1
    assert "another command at work" in capsys.readouterr().out


def test_readers_share_and_a_lock_that_a_killed_process_left_never_blocks(tmp_path):
    with locked(tmp_path, to_read=True) as none:
        assert none == -1 and not list(tmp_path.iterdir())
    with locked(tmp_path):
        pass
    with locked(tmp_path, to_read=True), locked(tmp_path, to_read=True), pytest.raises(OutputError, match="at work"), \
            locked(tmp_path):
        pass
    holder = subprocess.Popen([sys.executable, "-c", "import sys, time; from pathlib import Path\n"
                               "from bedrest.workflow.locks import locked\nwith locked(Path(sys.argv[1])):\n"
                               "    print(1, flush=True); time.sleep(60)", str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"1\n"
    with pytest.raises(OutputError, match="another command at work"), locked(tmp_path):
        pass
    holder.kill()
    holder.communicate()
    with locked(tmp_path):
        pass


def test_what_outlives_a_killed_run_still_keeps_others_out(tmp_path):
    (tmp_path / "work").mkdir()
    with locked(tmp_path) as lock:  # as Snakemake is given it
        child = subprocess.Popen(["sleep", "60"], pass_fds=[lock])
    with pytest.raises(OutputError, match="another command at work"), locked(tmp_path):
        pass
    child.kill()
    child.wait()
    with at_work(tmp_path), pytest.raises(OutputError, match="a step of a killed run"), locked(tmp_path):
        pass
    with locked(tmp_path), at_work(tmp_path):
        pass
