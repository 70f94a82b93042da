"""What a study.toml may say, and how it is told what is wrong with it."""

from pathlib import Path

import pytest
from bedrest.errors import ManyProblems, StudyError
from bedrest.settings import Study, load_study

from docs.generate import columns_page, finding_codes_page, study_keys, study_schema

DOCS = Path(__file__).parents[1] / "data_manifest"
GOOD = """
name = "trial"
groups = ["control", "exercise"]
reference_session = "ses-1"
[images]
layout = "bids"
root = "bids"
[[sessions]]
id = "ses-1"
study_day = -3
phase = "baseline"
[[sessions]]
id = "ses-2"
study_day = 60
phase = "bed_rest"
"""


@pytest.fixture
def load(tmp_path):
    def from_text(text: str) -> Study:
        (tmp_path / "study.toml").write_text(text)
        return load_study(tmp_path / "study.toml")

    return from_text


def complaints(load, text: str) -> list[str]:
    with pytest.raises(ManyProblems) as caught:
        load(text)
    assert all("study.toml" in p.where for p in caught.value.problems)
    return [str(p) for p in caught.value.problems]


def test_paths_are_relative_to_the_file_and_output_to_the_working_folder(load, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    study = load(GOOD)
    assert study.images.root == tmp_path / "bids"
    assert study.output_dir == tmp_path / "elsewhere" / "reports" / "trial"
    assert load('output = "out"' + GOOD).output_dir == tmp_path / "out"
    assert study.session_ids == ("ses-1", "ses-2")
    assert study.statistics.confidence_level == 0.95 and study.device == "auto" and study.contrasts == ()


def test_unknown_keys_get_the_nearest_known_one_all_at_once(load):
    text = GOOD.replace("study_day = 60", "study_dya = 60").replace('root = "bids"', 'root = "bids"\nderivates = "x"')
    found = complaints(load, 'devise = "cpu"' + text)
    assert len(found) == 4
    for told in ("Did you mean 'device'?", "Did you mean 'study_day'?", "Did you mean 'derivatives'?",
                 "a key sessions.1.study_day"):
        assert any(told in f for f in found), told


def test_values_out_of_a_list_get_the_nearest_one(load):
    text = GOOD.replace('"bed_rest"', '"bedrest"').replace('layout = "bids"', 'layout = "bid"')
    found = complaints(load, 'contrasts = ["watr"]' + text)
    assert any("'watr'" in f and "Did you mean 'water'?" in f for f in found)
    assert any("'bedrest'" in f and "Did you mean 'bed_rest'?" in f for f in found)
    assert any("'bid'" in f and "Did you mean 'bids'?" in f for f in found)


@pytest.mark.parametrize(("old", "new", "told"), [
    ('reference_session = "ses-1"', 'reference_session = "ses1"', "Did you mean 'ses-1'?"),
    ('id = "ses-2"', 'id = "ses-1"', "'ses-1' more than once"),
    ('"exercise"]', '"control"]', "'control' more than once"),
    ('name = "trial"', 'name = "../etc"', "'../etc'"),
    ('name = "trial"', 'name = ""', "Choose another name"),
    ('id = "ses-2"', 'id = "ses/2"', "'ses/2'"),
    ('layout = "bids"', 'layout = "csv"', "images.scans_csv"),
    ('layout = "bids"', 'layout = "csv"\nscans_csv = "s.csv"', "images.subjects_csv"),
    ('layout = "bids"', 'layout = "bids"\npairs = {01 = ["P1", "ses-1"]}', "only with layout 'ivdm3seg'"),
    ('layout = "bids"', 'layout = "ivdm3seg"\npairs = {01 = ["P1", "ses-3"]}', "Did you mean 'ses-"),
    ("study_day = 60", "study_day = nan", "finite number"),
    ("study_day = 60", 'study_day = "sixty"', "valid number"),
    ('groups = ["control", "exercise"]', "groups = []", "at least 1 item"),
])
def test_values_that_do_not_fit(load, old, new, told):
    assert old in GOOD
    found = complaints(load, GOOD.replace(old, new))
    assert any(told in f for f in found), found


def test_no_file_and_no_toml(load, tmp_path):
    with pytest.raises(StudyError, match=r"no such file.*README"):
        load_study(tmp_path / "absent.toml")
    with pytest.raises(StudyError, match=r"valid TOML.*line 1"):
        load("name = = 3\n")


def test_where_the_file_lies_cannot_be_set(load):
    assert "unknown key 'path'" in complaints(load, 'path = "x"' + GOOD)[0]


@pytest.mark.parametrize("layout", ["bids", "ivdm3seg", "csv"])
def test_examples_load(layout):
    assert load_study(DOCS / "examples" / layout / "study.toml").images.layout == layout


def test_the_example_of_the_readme_loads(load):
    text = (DOCS / "README.md").read_text()
    study = load(text.split("```toml\n")[1].split("```")[0])
    assert study.reference_session == "ses-1"
    shown = [block.split("```")[0] for block in text.split("```csv\n")[1:]]
    files = [(DOCS / "examples/csv" / f"{n}.csv").read_text() for n in ("subjects", "sessions", "scans")]
    for block, whole in zip(shown, files, strict=True):
        assert block.splitlines()[0] == whole.splitlines()[0]


def test_generated_pages_are_up_to_date():
    remedy = "run docs/generate.py, see its docstring"
    assert (DOCS / "columns.md").read_text() == columns_page(), remedy
    assert (DOCS / "finding_codes.md").read_text() == finding_codes_page(), remedy
    assert (DOCS / "study.schema.json").read_text() == study_schema(), remedy
    assert (DOCS / "study_keys.md").read_text() == study_keys(), remedy


def test_a_key_that_was_appended_to_the_file_is_told_where_it_belongs(load):
    """What follows the last [[sessions]] belongs to that visit."""
    [told] = complaints(load, GOOD + 'levels = ["L4-L5", "L5-S1"]\n')
    assert "levels at the top of the file" in told and "Move it above the first line that begins with [" in told
    assert load('levels = ["L4-L5", "L5-S1"]\n' + GOOD).levels == ("L4-L5", "L5-S1")
