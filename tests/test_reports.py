"""Pages of a study: one that fails stops no other, becomes a row and is named; notebooks of one's own are pages too."""

import json
import re
from collections import Counter
from types import SimpleNamespace

import pandas as pd
import pytest
from bedrest import schemas
from bedrest.cli import main
from bedrest.errors import ManyProblems, NotebookError
from bedrest.figures.publication import PublicationFigure
from bedrest.figures.style import empty_figure
from bedrest.io.tables.frames import empty_table, typed_frame
from bedrest.io.tables.typed_csv import write_table
from bedrest.pages import reports
from bedrest.pages.index import write_index
from bedrest.pages.notebooks import NOTEBOOKS, check_notebook
from bedrest.settings import load_study
from bedrest.stages.provenance import write_program
from bedrest.workflow.watch import RunOutcome

HEAD = '# %% tags=["parameters"]\noutput_dir: str = ""\nstudy_toml: str = ""\n\n# %%\n'


def with_notebooks(study, **sources: str):
    """The study again, naming notebooks of these sources."""
    for name, cells in sources.items():
        (study.path.parent / f"{name}.py").write_text(cells)
    text = study.path.read_text()
    listed = ", ".join(f'"{n}.py"' for n in sources)
    study.path.write_text(f"notebooks = [{listed}]\n{text}")
    return load_study(study.path)


@pytest.fixture
def no_kernels(monkeypatch):
    """Stands for running a notebook: writes what would be there, fails for sources that say so."""
    def fake(source, *, parameters, notebook, html, title, footer=""):
        check_notebook(source, parameters)
        html.parent.mkdir(parents=True, exist_ok=True)
        if "boom" in source.read_text():
            notebook.with_name(f"{notebook.stem}.failed.ipynb").write_text("kept")
            raise NotebookError("a notebook that runs to its end", "ValueError: <boom>", str(source), "Open it.")
        html.write_text(f"{title}{footer}")
        notebook.write_text("ran")
    monkeypatch.setattr(reports, "run_notebook", fake)


def test_a_failing_page_is_a_row_and_does_not_stop_the_others(stored, no_kernels, capsys):
    study, results = stored
    study = with_notebooks(study, mine=HEAD + "print(1)", bad=HEAD + "boom")
    assert main(["report", str(study.path)]) == 3
    pages = results.read(schemas.REPORTS).set_index("page")
    assert set(pages.index) == {"cohort.html", "method_checks.html", "publication_figures.html", "own/mine.html",
                                "own/bad.html", *(f"subjects/sub-0{i}.html" for i in (1, 2, 3, 4))}
    failed = pages[pages["status"] == "failed"]
    assert list(failed.index) == ["own/bad.html"] and "ValueError: <boom>" in failed["reason"].iloc[0]
    assert failed["notebook"].iloc[0] == "own/bad.failed.ipynb"
    assert "ValueError: &lt;boom&gt;" in (results.output_dir / "own/bad.html").read_text()
    for page, link in (("subjects/sub-01", "../provenance.json"), ("own/mine", "../provenance.json"),
                       ("cohort", "provenance.json")):
        assert f'href="{link}"' in results.page(page).read_text()
    index = results.index_html.read_text()
    assert "Reports that could not be made" in index and "ValueError: &lt;boom&gt;" in index
    assert 'href="own/mine.html"' in index and 'href="own/bad.failed.ipynb"' in index
    assert json.loads(results.provenance_json.read_text())["pages_failed"] == ["own/bad.html"]
    assert "report failed" in capsys.readouterr().err


def test_once_mended_the_page_is_no_longer_named(stored, no_kernels):
    study, results = stored
    study = with_notebooks(study, bad=HEAD + "boom")
    assert not reports.make_page(study, results, "own/bad")
    (study.path.parent / "bad.py").write_text(HEAD + "print(2)")
    assert reports.make_page(study, results, "own/bad")
    rows = reports.write_reports_table(study, results).set_index("page")
    assert rows.at["own/bad.html", "status"] == "ok" and rows.at["own/bad.html", "notebook"] == "own/bad.ipynb"
    assert rows.at["cohort.html", "status"] == "failed" and "not made" in rows.at["cohort.html", "reason"]


@pytest.mark.parametrize(("redone", "runs"), [(Counter(page=1), 1), (Counter(), 0)])
def test_a_run_whose_page_failed_ends_with_3_and_work_is_noted(stored, monkeypatch, capsys, redone, runs):
    study, results = stored
    write_table(empty_table(schemas.FAILURES), results.table(schemas.FAILURES), schemas.FAILURES)
    manifest = SimpleNamespace(subjects=results.read_manifest(schemas.SUBJECTS))
    monkeypatch.setattr("bedrest.workflow.run.prepare", lambda *_: (manifest, []))
    outcome = RunOutcome(results.output_dir / "run.log", redone, finished=True)
    monkeypatch.setattr("bedrest.workflow.run.run_workflow", lambda *_, **__: outcome)
    for status, expected in (("failed", 3), ("ok", 0)):
        row = {"page": "own/bad.html", "status": status, "reason": "a cell" if status == "failed" else ""}
        write_table(typed_frame([row], schemas.REPORTS), results.table(schemas.REPORTS), schemas.REPORTS)
        assert main(["run", str(study.path), "--device", "cpu"]) == expected
        assert ("failed: report own/bad.html: a cell" in capsys.readouterr().err) == (status == "failed")
    noted = results.read_json(results.runs_json, default=[])
    assert [r["exit_status"] for r in noted] == [3, 0][: 2 * runs]
    assert results.read_json(results.program_json)["packages"]["numpy"]


def test_a_subject_without_its_report_is_marked_in_the_index(stored):
    study, results = stored
    write_table(typed_frame([{"page": "subjects/sub-02.html", "status": "failed", "reason": "a cell failed"}],
                            schemas.REPORTS), results.table(schemas.REPORTS), schemas.REPORTS)
    write_index(results, study)
    rows = results.index_html.read_text().split("<tr ")
    assert [r.split('html">')[1][:6] for r in rows if "no report</span>" in r] == ["sub-02"]


@pytest.mark.parametrize(("cells", "words"), [
    ("# %%\nprint(1)\n", "one cell tagged 'parameters'"),
    (HEAD.replace("output_dir: str", "output_dir: int"), "output_dir as int"),
    (HEAD.replace("output_dir", "outptu_dir"), "Did you mean 'outptu_dir'?"),
])
def test_own_notebooks_are_checked_before_anything_runs(stored, capsys, monkeypatch, cells, words):
    study, _ = stored
    study = with_notebooks(study, mine=cells)
    monkeypatch.setattr("bedrest.workflow.run.prepare", lambda *_: pytest.fail("the study was read"))
    assert main(["run", str(study.path)]) == 1
    assert words in capsys.readouterr().err
    assert main(["check", str(study.path)]) == 1
    assert words in capsys.readouterr().out


def test_a_missing_notebook_and_names_that_cannot_be_pages(stored):
    study, results = stored
    text = study.path.read_text()
    study.path.write_text('notebooks = ["absent.py"]\n' + text)
    with pytest.raises(NotebookError, match=r"absent\.py"):
        reports.check_own_notebook(load_study(study.path).notebooks[0], study, results)
    for listed, words in (('["a.txt"]', "end in .py or .ipynb"), ('["x/a.py", "y/a.ipynb"]', "'a' more than once"),
                          ('["{a}.py"]', "Rename it")):
        study.path.write_text(f"notebooks = {listed}\n{text}")
        with pytest.raises(ManyProblems, match=words.replace("(", r"\(")):
            load_study(study.path)


def test_the_method_checks_run_and_end_with_where_they_come_from(stored):
    study, results = stored
    write_program(results, study)
    assert reports.make_page(study, results, "method_checks"), results.page("method_checks").read_text()
    shown = results.page("method_checks").read_text()
    for words in ("Repeatability", "Of a true 3 % in this study's own scans, 2.7 % was recovered",
                  "Agreement with reference", "Discs by volume_method", "a gap between its neighbours",
                  "<img"):
        assert words in shown
    program = json.loads(results.program_json.read_text())
    assert 'href="provenance.json"' in shown and program["weights"]["sha256"][:16] in shown
    assert "Python" in shown and program["code"].get("commit", "no commit")[:12] in shown


@pytest.mark.parametrize("name", ["publication_figures", "explore"])
def test_thin_notebooks_run_as_plain_python(stored, name, monkeypatch):
    study, results = stored
    check_notebook(NOTEBOOKS / f"{name}.py", reports._common(study, results))
    shown: list[object] = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    source = (NOTEBOOKS / f"{name}.py").read_text()
    for parameter, value in reports._common(study, results).items():
        source, n = re.subn(rf'^{parameter}: str = "[^"]*"', f"{parameter}: str = {value!r}", source, flags=re.M)
        assert n == 1
    figures = [PublicationFigure(n, empty_figure(n), pd.DataFrame(), f"Of {n}.") for n in ("one", "two")]
    monkeypatch.setattr("bedrest.figures.publication.publication_figures", lambda *_: figures)
    exec(compile(source, name, "exec"), {})
    if name == "explore":
        axes = shown[-1].axes[0]
        n_drawn = sum(len(c.get_offsets()) for c in axes.collections)
        assert n_drawn == 4 * 2 * 2 - 1 and "(mm³)" in axes.get_ylabel()  # subjects, visits, levels; one disc is lost
    else:
        figures = [s.data for s in shown if "<figure" in s.data]
        assert len(figures) == 2 and all('src="data:image/png;base64,' in f for f in figures)
        assert "<strong>two</strong> Of two." in figures[1]
