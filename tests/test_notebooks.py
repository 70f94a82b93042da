"""The notebook runner: parameters are checked before anything runs, failures are kept, pages stand alone."""

import re

import pytest
from bedrest.errors import NotebookError
from bedrest.pages.notebooks import NOTEBOOKS, run_notebook

HEAD = '# %% tags=["parameters"]\nsubject: str = ""\nn: int = 0\n\n'


@pytest.fixture
def run(tmp_path):
    """Runs a small notebook of the given cells; returns where its results should be."""
    def go(cells: str, **parameters: object):
        source = tmp_path / "small.py"
        source.write_text(HEAD + cells)
        run_notebook(source, parameters=parameters, notebook=tmp_path / "out.ipynb", html=tmp_path / "out.html",
                     title="<small> & safe")
        return tmp_path
    return go


def test_text_stays_text_and_the_page_stands_alone(run):
    folder = run('# %%\nprint(type(subject).__name__, subject, n + 1)\n', subject="01", n=2)
    page = (folder / "out.html").read_text()
    assert "str 01 3" in page
    assert "&lt;small&gt; &amp; safe" in page and "<small>" not in page
    assert not re.search(r"<script|(src|href)=[\"']https?:", page)
    assert 'subject = "01"' in (folder / "out.ipynb").read_text().replace("\\", "")


@pytest.mark.parametrize(("parameters", "words"), [
    ({"subject": "a", "n": 1, "sbject": "b"}, "Did you mean 'subject'"),
    ({"subject": "a"}, "a parameter 'n'"),
    ({"subject": 1, "n": 1}, "subject as str"),
    ({"subject": "a", "n": True}, "n as int"),
])
def test_parameters_that_do_not_fit_are_refused_before_running(run, tmp_path, parameters, words):
    with pytest.raises(NotebookError, match=re.escape(words)):
        run("# %%\nprint(1)\n", **parameters)
    assert not (tmp_path / "out.html").exists()


def test_a_failed_notebook_is_kept_and_named(run, tmp_path):
    with pytest.raises(NotebookError, match="ZeroDivisionError") as raised:
        run("# %%\n1 / 0\n", subject="a", n=1)
    assert "out.failed.ipynb" in str(raised.value)
    assert (tmp_path / "out.failed.ipynb").exists()
    assert not (tmp_path / "out.ipynb").exists() and not (tmp_path / "out.html").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("source", sorted(NOTEBOOKS.glob("*.py")), ids=lambda p: p.name)
def test_notebooks_are_thin(source):
    text = source.read_text()
    assert len(text.splitlines()) <= 150
    assert not re.search(r"^\s*def |\.to_csv\(|\.savefig\(|write_text\(", text, re.MULTILINE)


def test_a_notebook_whose_process_dies_is_kept_and_named(run, tmp_path):
    with pytest.raises(NotebookError, match="runs to its end") as raised:
        run("# %%\nimport os\n\nos._exit(3)\n", subject="a", n=1)
    assert "DeadKernel" in str(raised.value) and (tmp_path / "out.failed.ipynb").exists()
    assert not (tmp_path / "out.html").exists() and not list(tmp_path.glob(".*"))
