"""Broken input is told in the project's own words, within limits of time and memory, and writes nothing elsewhere.

The cases are made from a seed, see `fuzz_run.py`; one that fails is made again by its number.
"""

import csv
import json
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bedrest import schemas
from bedrest.cli.parser import main
from bedrest.errors import MAX_CHARACTERS, ImageError, ManyProblems, Problem, StudyError, WeightsError, shown
from bedrest.io.files import no_plain_file
from bedrest.io.images.nifti import read_volume
from bedrest.io.results import StudyResults
from bedrest.io.tables.cells import as_meant, without_formulas
from bedrest.segmentation.weights import load_weights, training_record
from bedrest.settings import is_safe_name, load_study
from bedrest.workflow.run import prepare
from fuzz_run import FAULTS, KINDS, cases, counts
from fuzz_studies import HOSTILE
from fuzz_texts import Runs, weights
from hostile_study import EVIL, LOST, PLANTED, SESSIONS, write_hostile_study
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from study_folders import image

FAST, SLOW = 160, 2500
PAGE = Path(__file__).parents[1] / "docs" / "fuzzing.md"


def failures(found) -> str:
    return "\n".join(f"{c.number} {c.kind} {c.name}: {c.outcome}\n{c.detail}" for c in found
                     if c.outcome not in ("value", "refused"))


def test_broken_input_gives_a_value_or_our_own_words():
    found = list(cases(0, 0, FAST))
    assert [c.number for c in found] == list(range(FAST))
    assert failures(found) == ""
    assert {c.kind for c in found} == set(KINDS)
    refused = [c for c in found if c.outcome == "refused"]
    assert FAST / 4 < len(refused) < FAST  # or the cases are all broken, or none is
    assert not [c for c in refused if "\n" in c.detail.removeprefix("ManyProblems: ").replace("\n- ", "")]


@pytest.mark.slow
def test_thousands_of_broken_inputs_give_a_value_or_our_own_words():
    found = list(cases(7, 0, SLOW))
    print(f"\n{counts(found)}")
    assert len(found) == SLOW and failures(found) == ""
    slowest = max(c.seconds for c in found)
    words, _, _ = PAGE.read_text().partition("## Counts")
    PAGE.write_text(f"{words}## Counts\nSeed 7, {SLOW:,} cases, written by the last run of the slow test; the slowest "
                    f"case took {slowest:.1f} s of processor.\n\n{counts(found)}\n")


def test_the_runner_notices_what_it_is_there_for():
    """A traceback, a hang, too much memory, a file elsewhere, a crash: each is an outcome of its own."""
    assert [c.outcome for c in cases(-1, 0, len(FAULTS))] == [
        "traceback", "too slow", "too much memory", "a file outside the output folder", "crash", "value"]


# Names and cells.

@drawn(st.text(max_size=40))
@settings(deadline=None, max_examples=200)
def test_cells_come_back_as_they_were_and_never_as_formulas(text):
    written = str(without_formulas(pd.DataFrame({"a": [text]}))["a"].iloc[0])
    assert as_meant(written) == text
    assert not written.startswith(("=", "@", "\t", "\r", "\n"))
    assert written[:1] not in ("+", "-") or float(written) == float(text)


@drawn(st.text(max_size=60))
@settings(deadline=None, max_examples=200)
def test_safe_names_make_files_where_they_should(text):
    if is_safe_name(text):
        path = StudyResults(Path("/out")).mask(text, text)
        assert path.parent == Path("/out/masks") and os.path.normpath(path) == str(path) and len(path.name) < 240
        assert "\n" not in text and text.isascii()


@pytest.mark.parametrize("name", ["a\n", "", " a", "a ", "a.", "../a", "a/b", "NA", "nan", "a" * 101, "=a", "-a", "é"])
def test_names_that_are_refused(name):
    assert not is_safe_name(name)


@drawn(st.text())
@settings(deadline=None, max_examples=100)
def test_messages_stay_on_one_line_and_end(text):
    assert shown(text).isprintable() and len(shown(text * 1000)) <= 12 * MAX_CHARACTERS + 40
    assert str(Problem(text, text, text, text)).encode()


@pytest.mark.parametrize("layout", ["bids", "csv", "ivdm3seg"])
@pytest.mark.parametrize("name", [h for h in HOSTILE if "\udce9" not in h])
def test_hostile_names_make_no_file_outside_the_output_folder(tmp_path, layout, name):
    home = tmp_path / "a" / "b" / "study"
    root = home / "images"
    root.mkdir(parents=True)
    flat = name.replace("/", "_")
    rows = []
    if layout == "bids":
        image(root / f"sub-{flat}" / "ses-1" / "anat" / "x_T2w.nii")
        (root / "participants.tsv").write_text(f"participant_id\tgroup\n{name.split(chr(9))[0]}\tg\n")
    elif layout == "ivdm3seg":
        image(root / flat / "01_wat.nii")
    else:
        image(root / "x.nii")
        rows = [["subject", "session", "contrast", "path"], [name, "ses-1", "water", "x.nii"],
                ["S", name, "water", "x.nii"]]
        with (home / "scans.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    scans = 'scans_csv = "scans.csv"' if rows else ""
    (home / "study.toml").write_text(
        f'name = "s"\ngroups = ["g"]\nreference_session = "ses-1"\noutput = "out"\n[images]\nlayout = "{layout}"\n'
        f'root = "images"\n{scans}\n{SESSIONS}')
    before = {p for p in tmp_path.rglob("*") if not p.is_relative_to(home / "out")}
    study = load_study(home / "study.toml")
    manifest, _ = prepare(study, StudyResults(study.output_dir))
    assert {p for p in tmp_path.rglob("*") if not p.is_relative_to(home / "out")} == before
    assert all(is_safe_name(s) for s in manifest.subjects["subject"])
    work = {p.name for p in (home / "out" / "work").glob("*/")}
    assert work <= set(manifest.subjects["subject"])


@pytest.mark.parametrize("group", ["=cmd|x", "+a", "-a", "@a", "'a", "\ta", "a\nb", "", " a", "NA", "x" * 101])
def test_groups_that_no_table_can_hold_are_refused(tmp_path, group):
    (tmp_path / "study.toml").write_text(
        f'name = "s"\ngroups = [{json.dumps(group)}]\nreference_session = "ses-1"\n[images]\nlayout = "bids"\n'
        f'root = "."\n{SESSIONS}')
    with pytest.raises(ManyProblems, match=r"groups\.0"):
        load_study(tmp_path / "study.toml")


# Files that are none, and weights.

def test_what_is_no_plain_file_is_told_and_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.nii")
    (tmp_path / "loop.nii").symlink_to("loop.nii")
    (tmp_path / "zero.nii").symlink_to("/dev/zero")
    for name, words in (("pipe.nii", "a pipe"), ("loop.nii", "no such file"), ("zero.nii", "device"),
                        ("x" * 300, "too long"), (".", "a folder"), ("none", "no such file"),
                        ("a\0b", "no file can have")):
        assert words in no_plain_file(tmp_path / name)
        with pytest.raises(ImageError):
            read_volume(tmp_path / name, where="case")
    with pytest.raises(StudyError):
        load_study(tmp_path / "pipe.nii")


@pytest.mark.parametrize("number", range(9, 200, 10))
def test_files_that_are_no_weights_are_refused_without_running_them(tmp_path, number):
    act = weights(tmp_path, tmp_path, np.random.default_rng((3, number)))
    try:
        act()
    except WeightsError as error:
        assert str(tmp_path) in str(error)
    assert not (tmp_path / "was_run").exists()


def test_a_pickle_under_the_name_of_weights_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(pickle.dumps(Runs(str(tmp_path / "was_run"))))
    for read in (load_weights, training_record):
        with pytest.raises(WeightsError, match="made by this toolkit"):
            read(path)
    assert not (tmp_path / "was_run").exists()
    pickle.loads(path.read_bytes())  # the file would have done it
    assert (tmp_path / "was_run").exists()


# Whole programs.

def test_check_tells_of_many_broken_inputs_at_once(tmp_path, capsys):
    study = write_hostile_study(tmp_path / "study")
    root = study.images.root
    (root / "Meyer-11_ses-1.nii.gz").unlink()
    os.mkfifo(root / "Meyer-11_ses-1.nii.gz")
    (root / "Okafor-27_ses-1_mask.nii.gz").write_bytes(b"\x1f\x8b" + bytes(40))
    (root / "Kowalski-04_ses-1.nii.gz").unlink()
    (root / "Kowalski-04_ses-1.nii.gz").symlink_to("Kowalski-04_ses-1.nii.gz")
    scans = study.path.parent / "scans.csv"
    scans.write_text(scans.read_text() + '"../../x",ses-1,water,a\n"b\nc",ses-1,water,"d\ne"\n')
    assert main(["check", str(study.path)]) == 1
    told = capsys.readouterr().out
    lines = told.splitlines()
    assert all(line.startswith("- ") for line in lines[:-1]) and re.search(r"; \d+ problem\(s\)$", lines[-1])
    for words in ("a pipe", "Okafor-27 ses-1 mask", "levels of symbolic links", f"{LOST} ses-2", "'../../x'", "b\\nc"):
        assert words in told, words
    assert PLANTED not in told and EVIL not in lines[-1]
    results = StudyResults(study.output_dir)
    manifest, problems = prepare(study, results)
    assert len(problems) >= 7 and set(manifest.subjects["subject"]) >= {LOST, "Meyer-11"}
    assert len(results.read_manifest(schemas.INPUT_PROBLEMS)) == len(problems)
