"""What came from files is shown in pages and never run: hostile words in every place that takes free text."""

import json
import re
import shutil
from pathlib import Path

import pytest
from bedrest import schemas
from bedrest.figures import style
from bedrest.io.results import StudyResults
from bedrest.io.tables.typed_csv import read_table, write_table
from bedrest.pages import reports
from bedrest.pages.index import write_index
from bedrest.pages.notebooks import _without_scripts
from bedrest.settings import Study, load_study
from bedrest.stages.provenance import write_provenance
from bedrest.statistics.study.paper_text import plain
from bs4 import BeautifulSoup
from hostile_study import EVIL, GROUPS, SUBJECTS

FAILING = ('# %% tags=["parameters"]\noutput_dir: str = ""\nstudy_toml: str = ""\n\n# %%\n'
           f"raise ValueError({EVIL!r} + '</style>')\n")


@pytest.fixture(scope="module")
def hostile(given, tmp_path_factory) -> tuple[Study, StudyResults]:
    """The study with its pages: one subject's, the cohort's, a failing notebook's and the index."""
    folder = tmp_path_factory.mktemp("hostile") / "a study & more"
    shutil.copytree(given[0].path.parent, folder)
    study = load_study(folder / "study.toml")
    results = StudyResults(study.output_dir)
    (study.path.parent / "bad.py").write_text(FAILING)
    study.path.write_text('notebooks = ["bad.py"]\n' + study.path.read_text())
    study = load_study(study.path)
    told = json.loads(results.program_json.read_text())
    told["machine"] |= {"cpu": EVIL, "cards": [{"name": EVIL, "driver": "</table>"}]}
    told["packages"] = dict.fromkeys(told["packages"], EVIL)
    told["weights"] |= {"file": EVIL, "trained_on": EVIL}
    results.program_json.write_text(json.dumps(told))
    for subject in SUBJECTS:
        _poison(results.subject_table(subject, schemas.SCAN_RECORDS), schemas.SCAN_RECORDS)
        _poison(results.subject_table(subject, schemas.FAILURES), schemas.FAILURES)
    _poison(results.table(schemas.FAILURES), schemas.FAILURES)
    assert reports.make_subject_report(study, results, SUBJECTS[0]), results.subject_html(SUBJECTS[0]).read_text()
    assert reports.make_cohort_report(study, results), results.page("cohort").read_text()
    assert not reports.make_page(study, results, "own/bad")
    reports.write_reports_table(study, results)
    write_index(results, study)
    write_provenance(results, study)
    return study, results


def _poison(path: Path, table: schemas.Table) -> None:
    """Hostile words in every column that holds words of anybody."""
    frame = read_table(path, table)
    for name in ("reason", "warnings", "device", "contrasts"):
        if name in frame:
            frame[name] = EVIL
    write_table(frame, path, table)


PAGES = ("index.html", "cohort.html", f"subjects/{SUBJECTS[0]}.html", "own/bad.html")


@pytest.mark.parametrize("name", PAGES)
def test_no_page_holds_anything_that_runs(hostile, name):
    source = (hostile[1].output_dir / name).read_text()
    page = BeautifulSoup(source, "html.parser")
    assert EVIL in page.get_text(), "the words are not shown at all"
    scripts = page.find_all("script")
    assert len(scripts) == (1 if name == "index.html" else 0)
    assert not any("alert" in s.get_text() for s in scripts)
    for tag in page.find_all(True):
        assert not any(a.lower().startswith("on") for a in tag.attrs), tag.attrs
        for a in ("href", "src", "action", "formaction", "data"):
            assert not re.match(r"\s*(javascript|vbscript|https?):", str(tag.get(a, "")), re.I), tag.attrs
    assert not page.find_all(["iframe", "object", "embed", "base", "form", "link"])
    assert [i for i in page.find_all("img") if i.get("src") == "x"] == []


@pytest.mark.parametrize("name", PAGES[:3])
def test_no_page_is_torn(hostile, name):
    source = (hostile[1].output_dir / name).read_text()
    page = BeautifulSoup(source, "html.parser")
    assert len(page.find_all(["html", "body", "main", "title"])) == 4
    assert len(page.find_all("style")) == source.count("<style") == source.count("</style>")
    assert page.find("main").get_text().rstrip().endswith(("alone.", "Research use only."))  # nothing fell out of it
    for table in page.find_all("table"):
        widths = {len(r.find_all(["td", "th"])) for r in table.find_all("tr")}
        assert len(widths) == 1, widths
    assert "Content-Security-Policy" in source or name == "index.html"


def test_sentences_hold_no_markup_and_no_link(hostile):
    text = hostile[1].paper_text.read_text()
    assert "<" not in text and "](" not in text and "://" not in text
    page = BeautifulSoup(hostile[1].page("cohort").read_text(), "html.parser")
    assert all(g[:1].upper() + g[1:] in page.get_text() for g in GROUPS)


def test_tables_and_figures_data_hold_no_formula(hostile, tmp_path):
    from fuzz_texts import no_formulas

    _, results = hostile
    assert list(results.read_manifest(schemas.SESSIONS)["scan_time"])[:2] == ["=1+1", EVIL]  # and reading gives it back
    from matplotlib.figure import Figure

    style.save_figure(Figure(), tmp_path / "f", data=results.read_manifest(schemas.SUBJECTS), dpi=50)
    for path in (*results.output_dir.rglob("*.csv"), tmp_path / "f.csv"):
        no_formulas(path)


@pytest.mark.parametrize("body", [
    "<script>a</script>", "<SCRIPT src=x>a</script >b", "<scr<script>x</script>ipt>alert(1)</scr<script></script>ipt>",
    "<script>never closed", "<script\n>a</script\t>", "</script><script/x>a", "< script>a</ script>", "<svg><script>a",
])
def test_scripts_cannot_be_put_together_by_taking_scripts_out(body):
    found = BeautifulSoup(_without_scripts(f"<p>before</p>{body}<p>after</p>"), "html.parser")
    assert found.find("script") is None
    assert "<script" not in _without_scripts(body).lower()


@pytest.mark.parametrize("words", [EVIL, "[a](http://b)", "https://evil.example", "# head", "- item",
                                   "*b* _c_ `d` **e**", "a\n\n# b", "<!-- -->", "![x](y)", "\\*", "&lt;b&gt;", "$x$",
                                   "| a | b |", "~~a~~"])
def test_plain_words_come_out_of_markdown_as_they_went_in(words):
    from nbconvert.filters import markdown2html

    shown = BeautifulSoup(markdown2html(f"before {plain(words)} after"), "html.parser")
    assert shown.get_text().strip() == f"before {' '.join(words.split())} after"
    assert [t.name for t in shown.find_all(True)] == ["p"]
