"""What tells who a person is stays where it was: header fields, names, paths; nothing goes to the network."""

import gzip
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bedrest import schemas
from bedrest.cli import main
from bedrest.errors import ManyProblems, OutputError
from bedrest.io.images.masks import write_label_map, write_volume
from bedrest.io.images.nifti import read_volume
from bedrest.io.pseudonyms import HIDDEN_REASON, Pseudonyms, find_leaks, load_key
from bedrest.io.results import StudyResults
from bedrest.pages import reports
from bedrest.settings import load_study
from bedrest.types import LabelMap
from bedrest.workflow import share
from bs4 import BeautifulSoup
from hostile_study import EVIL, LOST, PLANTED, SUBJECTS, planted_image, write_hostile_study

MARKS = (b"DOE", b"JANE", b"19700101")


def readings(path: Path) -> list[bytes]:
    """A file's bytes, and what is packed in them."""
    raw = path.read_bytes()
    contents = [raw]
    if path.name.endswith(".gz"):
        contents.append(gzip.decompress(raw))
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", raw, re.DOTALL):
        try:
            contents.append(zlib.decompress(stream))
        except zlib.error:
            continue
    return contents


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


@pytest.fixture(scope="module")
def done(given, tmp_path_factory):
    """A copy of a study of planted headers, run but for the pages of notebooks."""
    folder = tmp_path_factory.mktemp("private") / "study of jane"
    shutil.copytree(given[0].path.parent, folder)
    study = load_study(folder / "study.toml")
    return study, StudyResults(study.output_dir)


def test_the_marks_are_planted_where_they_are_looked_for(done):
    study, _ = done
    image = study.images.root / f"{SUBJECTS[0]}_ses-1.nii.gz"
    assert readings(image)[1].count(b"DOE^JANE") == 8  # five fields and three extensions
    assert PLANTED in image.with_name(f"{SUBJECTS[0]}_ses-1.json").read_text()


def test_no_header_text_is_copied_into_any_output(done):
    _, results = done
    contents = files(results.output_dir)
    assert len([p for p in contents if p.name.endswith(".nii.gz")]) == 7 and results.provenance_json in contents
    for path in contents:
        for content in readings(path):
            assert not any(mark in content for mark in MARKS), path


def test_masks_and_probabilities_take_codes_alone_from_the_scan(tmp_path):
    scan = planted_image(np.random.default_rng(0).integers(0, 99, (5, 6, 7)).astype(np.int16), tmp_path / "scan.nii.gz")
    volume = read_volume(scan, where="scan")
    mask = LabelMap((volume.data > 50).astype(np.int32), volume.grid)
    write_label_map(mask, tmp_path / "m.nii.gz", names={1: "L5-S1"}, like=scan)
    write_volume(volume, tmp_path / "p.nii.gz", like=scan, dtype=np.int16)
    for name in ("m.nii.gz", "p.nii.gz"):
        raw = gzip.decompress((tmp_path / name).read_bytes())
        assert not any(mark in raw for mark in MARKS)
        text = b"".join(raw[a:b] for a, b in ((4, 38), (148, 252), (328, 344)))  # what a header has for words
        assert set(text) <= {0, ord("r")} and raw[348] == 0  # nothing but 'regular', and no extension


# The key and what it does to words and tables.

@pytest.fixture
def hidden(tmp_path) -> Pseudonyms:
    names = {"sub-01": "P02", "Meyer": "P01", "01": "P04", "B": "P03"}
    return Pseudonyms(names, ("ses-1", "ses-2"), ("/data/jane study/sub-01 a.nii",), ("/data", "/home/jane"))


@pytest.mark.parametrize(("words", "expected"), [
    ("sub-01 ses-1: expected", "P02 ses-1: expected"),
    ("sub-011 is another, so is xsub-01", "sub-011 is another, so is xsub-01"),
    ("masks/Meyer_ses-1_discs.nii.gz", "masks/P01_ses-1_discs.nii.gz"),
    ("01 ses-1 (/home/jane/x/01.nii): found 01 of 01", "P04 ses-1 ((a file of the study)): found 01 of 01"),
    ("B: expected B-spline", "P03: expected B-spline"),
    ("found 'B', B_ses-2", "found 'P03', P03_ses-2"),
    ("(/data/jane study/sub-01 a.nii): cut", "((a file of the study)): cut"),
    ("0.01 ses-1", "0.01 ses-1"),
])
def test_words_under_pseudonyms(hidden, words, expected):
    assert hidden.words(words) == expected


def test_a_key_is_drawn_by_chance_kept_and_the_owners_alone(tmp_path):
    subjects = [f"sub-{i:02d}" for i in range(40)]
    path = tmp_path / "key.csv"
    first = load_key(path, subjects)
    assert sorted(first.values()) == [f"P{i:02d}" for i in range(1, 41)]
    assert list(first.values()) != sorted(first.values())  # by chance: once in 40! runs they are in order
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = load_key(path, [*subjects, "sub-99"])
    assert {s: again[s] for s in subjects} == first and again["sub-99"] == "P41"
    assert load_key(path, subjects) == again
    assert load_key(tmp_path / "other.csv", subjects) != first


def test_subjects_that_are_called_like_pseudonyms_get_others(tmp_path):
    names = load_key(tmp_path / "key.csv", ["P01", "p2", "Q7x"])
    assert sorted(names.values()) == ["X01", "X02", "X03"]


@pytest.mark.parametrize(("file", "content", "leaks"), [
    ("a.html", b"<p>Nobody.</p>", False), ("a.html", b"<p>SUB-01</p>", True), ("a.html", b"<p>sub&#45;01</p>", True),
    ("a.html", b'<a href="x%2Fsub%2D01">', True), ("a.html", b"<h1>B </h1>", True),
    ("a.html", b"<p>Vitamin B</p>", False), ("a.html", b'<img src="data:image/png;base64,MeyerB/+01">', False),
    ("a.csv", b"subject,n\n01,1\n", True), ("a.csv", b"subject,n\nP01,01\n", False),
    ("a.png", b"\x89PNG tEXt sub-01", True), ("a.png", b"Meyer by chance", False),
    ("a.json", b'{"file": "/home/jane/x"}', True), ("subjects/B.html", b"", True), ("Meyer.txt", b"", True),
    ("a.pdf", b"1 0 obj stream\n" + zlib.compress(b"(Meyer) Tj") + b"\nendstream", True),
])
def test_leaks_are_found_wherever_they_hide(hidden, tmp_path, file, content, leaks):
    path = tmp_path / "share" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    contents = find_leaks(tmp_path / "share", hidden)
    assert [p.where for p in contents] == ([file] if leaks else [])


# The copy for others.

@pytest.fixture(scope="module")
def shared(done, tmp_path_factory):
    """The copy; every page but those of two subjects is left out, to save time."""
    study, _ = done
    folder = tmp_path_factory.mktemp("others") / "for others"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bedrest.figures.publication.PRINT_DPI", 60)
        patch.setattr(reports, "run_notebook", _fast(reports.run_notebook))
        assert main(["share", str(study.path), "-o", str(folder)]) == 0
    return folder, load_key(study.path.parent / share.KEY_NAME, [])


def _fast(real):
    """Run the notebook of one subject; the others' pages show their parameters."""
    def run(source, *, parameters, notebook, html, title, footer=""):
        if source.name == "subject_report.py" and parameters["subject"] == "P01":
            return real(source, parameters=parameters, notebook=notebook, html=html, title=title, footer=footer)
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(f"{title}{parameters.get('subject', '')}{footer}")
        return None
    return run


def test_the_copy_holds_pages_tables_and_figures_and_no_name_in_any_byte(given, done, shared):
    study, _ = done
    folder, key = shared
    names = {p.relative_to(folder).as_posix() for p in files(folder)}
    assert set(key) == set(SUBJECTS) and {f"subjects/{p}.html" for p in key.values()} <= names
    assert {"index.html", "cohort.html", "tables/measures.csv", "methods_and_results.md", "provenance.json"} <= names
    assert any(n.endswith(".pdf") for n in names) and any(n.startswith("thumbnails/P") for n in names)
    assert not [n for n in names if n.endswith((".ipynb", ".nii.gz")) or "manifest" in n or share.KEY_NAME in n]
    secrets = [*SUBJECTS, *(s.split("-")[0] for s in SUBJECTS), "DOE^", "^JANE", f"{Path.home()}/",
               str(study.path.parent), str(given[0].path.parent)]
    for path in files(folder):
        for content in (*readings(path), path.name.encode()):
            assert not [t for t in secrets if t.lower().encode() in content.lower()], path
    heads = ",".join(p.read_text().splitlines()[0] for p in folder.glob("tables/*.csv")).split(",")
    assert not {"age", "scan_time", "note <b>"} & set(heads)


def test_the_copys_numbers_are_those_of_the_study(done, shared):
    folder, key = shared
    ours = done[1].read(schemas.MEASURES)
    theirs = pd.read_csv(folder / "tables/measures.csv", dtype={"subject": str})
    assert len(ours) == len(theirs) == 56
    columns = ["session", "level", "volume_mm3", "status"]
    for subject, group in ours.groupby("subject"):
        other = theirs[theirs["subject"] == key[subject]]
        assert np.allclose(group["volume_mm3"], other["volume_mm3"], equal_nan=True)
        assert group[columns[:2]].to_numpy().tolist() == other[columns[:2]].to_numpy().tolist()
    assert list(dict.fromkeys(theirs["subject"])) == sorted(key.values())
    page = BeautifulSoup((folder / "subjects/P01.html").read_text(), "html.parser")
    assert page.h1.get_text().split()[0] == "P01" and len(page.find_all("svg")) > 20  # the pictures are there


def test_reasons_of_the_copy_quote_no_file(done, shared):
    folder, key = shared
    failures = pd.read_csv(folder / "tables/failures.csv", dtype=str, keep_default_na=False)
    lost = failures[failures["subject"] == key[LOST]]
    assert HIDDEN_REASON in set(lost["reason"]) and not failures["reason"].str.contains("nii").any()
    listed = json.loads((folder / "provenance.json").read_text())
    assert listed["pseudonyms"] and "inputs_sha256" not in listed
    names = {p.relative_to(folder).as_posix() for p in files(folder)}
    assert set(listed["outputs_sha256"]) == names - {"provenance.json"}


def test_nothing_is_handed_on_where_a_name_is_found_or_the_key_would_lie(done, tmp_path, monkeypatch):
    study, results = done
    for folder in (study.path.parent, study.path.parent.parent, results.output_dir / "x"):
        with pytest.raises(OutputError):
            share._refuse_place(folder.absolute(), study.path.parent / share.KEY_NAME, study)
    hidden = share._hidden(study, results, {s: f"P0{i}" for i, s in enumerate(SUBJECTS)})
    (results.output_dir / "cohort.html").write_text(f"<p>{SUBJECTS[1]}</p>")
    with pytest.raises(ManyProblems, match=r"cohort\.html"):
        share._copy(study, results, tmp_path / "never", hidden)
    (results.output_dir / "cohort.html").unlink()
    assert list(tmp_path.iterdir()) == []


# Nothing goes to the network.

GUARD = '''
import socket, sys
_real = socket.socket.connect
def _local(address):
    return not isinstance(address, tuple) or str(address[0]) in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "")
def _refuse(name, real, at):
    def guarded(*args, **kwargs):
        address = args[at] if len(args) > at else None
        host = address if isinstance(address, tuple) or address is None else (address, 0)
        if not _local(host):
            with open({log!r}, "a") as file:
                file.write(f"{{name}} {{address}} {{sys.argv}}\\n")
            raise OSError(f"no network: {{name}} {{address}}")
        return real(*args, **kwargs)
    return guarded
for _name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, _name, _refuse(_name, getattr(socket.socket, _name), -1 if _name == "sendto" else 1))
for _name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "create_connection"):
    setattr(socket, _name, _refuse(_name, getattr(socket, _name), 0))
open({commands!r}, "a").write(str(sys.argv) + "\\n")
'''


def guarded(folder: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A bedrest command in which nothing but this machine can be reached, its children included; without DNS."""
    (folder / "guard").mkdir(exist_ok=True)
    code = GUARD.format(log=str(folder / "calls.txt"), commands=str(folder / "seen.txt"))
    (folder / "guard" / "sitecustomize.py").write_text(code)
    source = str(Path(__file__).parents[1] / "analysis")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder / "guard"), source)), "HOME": str(folder)}
    env |= {f"{p}_proxy": "http://192.0.2.1:9" for p in ("http", "https", "all")}
    command = [sys.executable, "-m", "bedrest", *words]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=1500)


def test_the_guard_refuses_and_notes(tmp_path):
    (tmp_path / "x.py").write_text("import urllib.request as u\nu.urlopen('http://example.org', timeout=3)\n")
    guarded(tmp_path, "--version", cwd=tmp_path)
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "guard")}
    done = subprocess.run([sys.executable, "x.py"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert "no network" in done.stderr and "example.org" in (tmp_path / "calls.txt").read_text()


def test_checking_a_hostile_study_reaches_nothing_beyond_this_machine(tmp_path):
    study = write_hostile_study(tmp_path / "study")
    printed = guarded(tmp_path, "check", str(study.path), cwd=tmp_path)
    assert printed.returncode == 1 and "Traceback" not in printed.stderr and LOST in printed.stdout
    assert (tmp_path / "seen.txt").is_file() and not (tmp_path / "calls.txt").exists()


@pytest.mark.slow
def test_a_whole_run_reaches_nothing_beyond_this_machine_and_copies_no_header(tmp_path):
    """The network segments what it can of these boxes; Snakemake, kernels and every page are real."""
    study = write_hostile_study(tmp_path / "a {study} of jane", masks=False)
    ran = guarded(tmp_path, "run", str(study.path), "--device", "cpu", cwd=tmp_path)
    assert ran.returncode == 3 and "Traceback" not in ran.stdout + ran.stderr, ran.stdout + ran.stderr
    others = ["share", "-o", str(tmp_path / "others")]
    for words in (["report", "--subject", SUBJECTS[0]], ["figures"], ["verify"], others):
        printed = guarded(tmp_path, words[0], str(study.path), *words[1:], cwd=tmp_path)
        assert printed.returncode in (0, 3) and "Traceback" not in printed.stderr, printed.stderr
    commands = (tmp_path / "seen.txt").read_text()
    assert "snakemake" in commands and "ipykernel" in commands
    assert not (tmp_path / "calls.txt").exists(), (tmp_path / "calls.txt").read_text()
    for path in files(study.output_dir):
        for content in readings(path):
            assert not any(mark in content for mark in MARKS), path
    for path in files(tmp_path):  # the home of this user is here, with its caches and histories
        if not path.is_relative_to(study.path.parent) and path.name != "seen.txt":
            assert not [s for s in SUBJECTS if s.encode() in path.read_bytes()], path
    assert EVIL not in (study.output_dir / "index.html").read_text()
    before = {p: p.stat().st_mtime_ns for p in (study.output_dir / "tables").iterdir()}
    again = guarded(tmp_path, "run", str(study.path), "--device", "cpu", cwd=tmp_path)
    assert "Nothing to do" in again.stdout
    assert before == {p: p.stat().st_mtime_ns for p in (study.output_dir / "tables").iterdir()}
