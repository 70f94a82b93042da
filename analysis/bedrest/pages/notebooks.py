"""Runs a parameterised notebook and makes one self-contained HTML page of it.

Parameters are checked against the notebook's tagged and annotated cell before anything runs: papermill alone would
only warn. A notebook runs in a process of its own (its kernel), so whatever it does, the next one starts afresh; a
failed one is kept beside the one it should have become. Knows nothing of studies.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bedrest.errors import NotebookError
from bedrest.io.files import atomic_path, write_text
from bedrest.io.shipped import shipped

NOTEBOOKS = shipped("notebooks")
TEMPLATES = Path(__file__).parent / "templates"
PAGE_TEMPLATES = {f"template {name}": TEMPLATES / name for name in ("report.html.j2", "style.css.j2")}
_TYPES = ("str", "int", "float", "bool")
# jsonschema, which nbformat imports, would build a grammar of web addresses, a second for every page: none has any.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
# A kernel's own log says nothing of the notebook: that TCP is not encrypted, which never leaves this machine, and that
# it was told to stop. What fails in a cell comes back as an exception.
_KERNEL = ["--IPKernelApp.log_level=CRITICAL"]
_WAIT_S = 300  # a machine that is busy answers late
_SCRIPT = re.compile(r"<script\b.*?</script\s*>", re.DOTALL | re.IGNORECASE)
_SCRIPT_TAG = re.compile(r"<(?=/?\s*script)", re.IGNORECASE)


def failed_notebook(notebook: Path) -> Path:
    """Where a notebook that failed is kept."""
    return notebook.with_name(f"{notebook.stem}.failed.ipynb")


def check_notebook(source: Path, parameters: Mapping[str, object]) -> None:
    """Check that a notebook can be read and takes these parameters, without running it; NotebookError if not."""
    _check_parameters(_read(source), parameters, source)


def run_notebook(source: Path, *, parameters: Mapping[str, object], notebook: Path, html: Path, title: str,
                 footer: str = "") -> None:
    """Execute a notebook, .py in percent format or .ipynb; write it with its results, and as HTML without inputs.

    Every parameter of the tagged cell is given, no other; text stays text, so ``01`` never becomes 1. `notebook` and
    `html` are not touched when it fails; `footer` is HTML that ends the page.

    Raises
    ------
    NotebookError
        It is not a notebook; a parameter is unknown, missing or of the wrong type; a cell failed, or the notebook's
        process died. What ran is kept as ``<name>.failed.ipynb``.
    """
    import nbformat
    import papermill
    from jupyter_core.utils import ensure_event_loop

    document = _read(source)
    _check_parameters(document, parameters, source)
    document.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    failed = failed_notebook(notebook)
    notebook.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(notebook) as temporary:
        prepared = temporary.with_name(f".in-{temporary.name}")
        try:
            nbformat.write(document, prepared)
            papermill.execute_notebook(prepared, temporary, parameters=dict(parameters), progress_bar=False,
                                       kernel_name="python3", log_output=False, extra_arguments=_KERNEL,
                                       start_timeout=_WAIT_S, iopub_timeout=_WAIT_S)
            page = _page(nbformat.read(temporary, as_version=4), title, footer)
        except Exception as error:  # a cell, its process, what it shows: whatever ends one must not end the others
            (temporary if temporary.is_file() else prepared).replace(failed)
            raise NotebookError("a notebook that runs to its end", _in_a_line(error), str(source),
                                f"Open {failed} to see the failing cell, then run `bedrest report`.") from error
        finally:
            ensure_event_loop().close()  # each thread gets one of its own, which nothing else closes
            prepared.unlink(missing_ok=True)
        write_text(html, page)
    failed.unlink(missing_ok=True)


def _read(source: Path) -> Any:
    import jupytext

    try:
        return jupytext.read(source)
    except Exception as error:  # jupytext and nbformat share no type of error
        raise NotebookError("a notebook in percent format (.py) or .ipynb", _in_a_line(error), str(source),
                            "Correct its name in study.toml, or the file.") from error


def _in_a_line(error: Exception) -> str:
    name, words = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
    return f"{name}: {' '.join(str(words).split())}"


def _check_parameters(document: Any, parameters: Mapping[str, object], source: Path) -> None:
    cells = [c for c in document.cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise NotebookError("one cell tagged 'parameters'", str(len(cells)), str(source), "Tag the cell.")
    declared = {node.target.id: ast.unparse(node.annotation) for node in ast.parse(cells[0].source).body
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    for name in parameters:
        if name not in declared:
            near = get_close_matches(name, declared, n=1)
            raise NotebookError(f"parameters out of {', '.join(declared)}", repr(name), str(source),
                                f"Did you mean {near[0]!r}?" if near else "Remove it.")
    for name, annotation in declared.items():
        if name not in parameters:
            raise NotebookError(f"a parameter {name!r}", "none", str(source), "Pass it.")
        if annotation not in _TYPES or type(parameters[name]).__name__ != annotation:
            raise NotebookError(f"{name} as {annotation}", f"{type(parameters[name]).__name__} "
                                f"{parameters[name]!r}", str(source), "Pass the right type.")


def _page(document: Any, title: str, footer: str) -> str:
    """One page: outputs and prose, styles inside, no script and nothing from the network.

    Scripts are taken out, and the page's own policy (in the template) forbids a browser to run or fetch what is left.
    """
    from jinja2 import Environment, FileSystemLoader
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="basic", exclude_input=True, exclude_input_prompt=True,
                            exclude_output_prompt=True, embed_images=True)
    hidden = {"parameters", "injected-parameters"}
    document.cells = [c for c in document.cells if not hidden & set(c.metadata.get("tags", []))]
    body, _ = exporter.from_notebook_node(document)
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    return environment.get_template("report.html.j2").render(title=title, body=_without_scripts(body), footer=footer)


def _without_scripts(body: str) -> str:
    """What stays of tags that were cut apart, or put together by the cutting, is shown as text."""
    return _SCRIPT_TAG.sub("&lt;", _SCRIPT.sub("", body))
