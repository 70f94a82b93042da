"""Documentation holds: snippets run, commands named in prose exist, links lead somewhere, pages build.

A fenced block marked python or console is run, in its page's own folder, page by page from top to bottom. A comment on
the line before it changes that: `<!-- slow -->` leaves it to the slow tests, `<!-- not run: why -->` excuses it. In a
console block lines after "$ " are commands, the others must come in what they print; "..." stands for anything.
"""

import os
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from bedrest.cli.commands import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("data_manifest/*.md")])
FENCE = re.compile(r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.M | re.S)
RUN, SLOW, EXCUSED = "run", "slow", "excused"
SHOWN = {"toml", "csv", "json", "text", "yaml"}  # languages of files that a page shows


@dataclass(frozen=True)
class Block:
    line: int
    language: str
    text: str
    fate: str


def blocks(text: str) -> list[Block]:
    """Every fenced block of a page with what becomes of it.

    Raises
    ------
    ValueError
        A block is neither run nor excused.
    """
    found = []
    for match in FENCE.finditer(text):
        line, mark, language = text[:match.start("language")].count("\n") + 1, match["mark"] or "", match["language"]
        fate = RUN
        if mark == "slow":
            fate = SLOW
        elif re.match(r"not run: \S", mark) or language in SHOWN:
            fate = EXCUSED
        elif language not in ("python", "console") and not language.startswith("{toctree}"):
            raise ValueError(f"line {line}: a block marked {language!r} is neither run nor excused")
        if language in ("python", "console") or fate != EXCUSED:
            found.append(Block(line, language, match["text"], fate))
    return [b for b in found if not b.language.startswith("{")]


def run_block(block: Block, folder: Path) -> None:
    """Run one block in a folder.

    Raises
    ------
    AssertionError
        It failed, or did not print what the page shows.
    """
    bin_folder = folder / ".bin"
    bin_folder.mkdir(exist_ok=True)
    program = bin_folder / "bedrest"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m bedrest "$@"\n')
    program.chmod(0o755)
    env = {**os.environ, "PATH": f"{bin_folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
           "PYTHONPATH": f"{ROOT / 'analysis'}:{ROOT}"}
    if block.language == "python":
        _done([sys.executable, "-P", "-c", block.text], folder, env, [])
        return
    command, shown = "", []
    for line in [*block.text.splitlines(), "$ "]:
        if line.startswith("$ "):
            if command:
                _done(["/bin/sh", "-c", command], folder, env, shown)
            command, shown = line[2:], []
        elif command:
            shown.append(line)


def _done(words: list[str], folder: Path, env: dict[str, str], shown: list[str]) -> None:
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{words[-1]}\n{done.stdout}\n{done.stderr}"
    printed = {" ".join(line.split()) for line in (done.stdout + done.stderr).splitlines()}
    missing = [line for line in shown if line.strip() not in ("", "...") and " ".join(line.split()) not in printed]
    assert not missing, f"{words[-1]} does not print {missing}, but\n{done.stdout}"


def _with(*fates: str) -> list[Path]:
    found = []
    for page in PAGES:
        with suppress(ValueError):  # told by `test_no_snippet_is_forgotten`
            if any(b.fate in fates for b in blocks(page.read_text())):
                found.append(page)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_no_snippet_is_forgotten(page):
    blocks(page.read_text())


@pytest.mark.parametrize("page", _with(RUN), ids=lambda p: p.name)
def test_snippets_run(page, tmp_path):
    for block in [b for b in blocks(page.read_text()) if b.fate == RUN]:
        run_block(block, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", _with(SLOW), ids=lambda p: p.name)
def test_long_snippets_run(page, tmp_path):
    for block in [b for b in blocks(page.read_text()) if b.fate in (RUN, SLOW)]:
        run_block(block, tmp_path)


def test_snippets_that_are_wrong_are_told(tmp_path):
    with pytest.raises(ValueError, match="line 3: a block marked 'bash' is neither run nor excused"):
        blocks("# x\n\n```bash\nbedrest run\n```\n")
    with pytest.raises(ValueError, match="neither run nor excused"):
        blocks("<!-- not run: -->\n```\nbedrest run\n```\n")
    ok, wrong, lost = blocks("```console\n$ echo 1  2\n1 2\n```\n```console\n$ echo 1\n2\n```\n```python\nx\n```\n")
    run_block(ok, tmp_path)
    with pytest.raises(AssertionError, match="does not print"):
        run_block(wrong, tmp_path)
    with pytest.raises(AssertionError, match="NameError"):
        run_block(lost, tmp_path)


def _flags() -> dict[str, set[str]]:
    """Flags of each command, from its reference."""
    sections = re.split(r"^## bedrest ", (ROOT / "docs/commands.md").read_text(), flags=re.M)[1:]
    return {s.split("\n")[0]: {"-h", "--help", *re.findall(r"`(--?[a-z][a-z0-9-]*)", s)} for s in sections}


FLAGS = _flags()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_named_in_a_page_exist(page):
    text = page.read_text()
    code = [*re.findall(r"`(bedrest [^`]+)`", text),
            *(line.removeprefix("$ ") for m in FENCE.finditer(text) for line in m["text"].splitlines()
              if re.match(r"(\$ )?bedrest ", line))]
    for words in (c.split("#")[0].split() for c in code):
        if len(words) < 2 or not re.fullmatch("[a-z][a-z-]+", words[1]):
            continue  # `bedrest COMMAND`, `bedrest --help`
        assert words[1] in COMMANDS, f"{page.name}: {' '.join(words)}"
        named = {re.split(r"[=`\]]", w.lstrip("["))[0] for w in words if w.lstrip("[").startswith("-")}
        assert {n for n in named if re.match(r"--?[a-z]", n)} <= FLAGS[words[1]], f"{page.name}: {' '.join(words)}"


def _anchors(page: Path) -> set[str]:
    """Anchors of headings as GitHub and Sphinx make them."""
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        assert target.exists(), f"{page.name}: {link}"
        assert target.resolve().is_relative_to(ROOT), f"{page.name}: {link} leaves the repository"
        assert not anchor or anchor in _anchors(target), f"{page.name}: {link}"


def test_the_reference_of_commands_is_that_of_the_command_line():
    done = subprocess.run([sys.executable, "docs/generate_commands.py"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (ROOT / "docs/commands.md").read_text() == done.stdout, "python docs/generate_commands.py > docs/commands.md"


def test_the_documentation_builds_without_a_warning(tmp_path):
    pytest.importorskip("sphinx", reason="sphinx is not installed; `pip install -r requirements.lock` brings it")
    out = tmp_path / "html"
    done = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", "-d",
                           str(tmp_path / "doctrees"), ".", str(out)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    index = (out / "docs/index.html").read_text()
    for page in PAGES:  # a page that nobody listed is there as well
        name = page.relative_to(ROOT).with_suffix(".html").as_posix()
        assert (out / name).is_file(), name
        own = os.path.relpath(out / name, out / "docs")
        assert f'href="{own}"' in index or name == "docs/index.html", name
    assert 'url=docs/index.html' in (out / "index.html").read_text()
    kinds = re.findall(r"<h2>(\w+):", index)
    assert kinds[:3] == ["Learn", "Do", "Look"] or kinds[0] == "Learn"
