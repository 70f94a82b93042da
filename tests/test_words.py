"""Names say what they hold: words that CONTRIBUTING.md bans are no names in the code."""

import ast
import re

from source_tree import MODULES, ROOT, parsed

BANNED = {"found", "own", "told", "seen", "said", "asked", "looks", "softness", "spread"}
SENTENCES = re.compile(r"\bpeople\b|\bpersons?\b(?! was scanned)|drawn by hand|\bone row a\b|\bLeafing\b|"
                       "dropped in silence")


def _names(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.FunctionDef | ast.ClassDef):
            names.add(node.id if isinstance(node, ast.Name) else node.name)
        elif isinstance(node, ast.arg | ast.keyword | ast.Attribute):
            names.add(str(node.attr if isinstance(node, ast.Attribute) else node.arg))
    return names


def test_names_say_what_they_hold():
    banned = {name: sorted(words) for name, path in MODULES.items() if (words := _names(parsed(path)) & BANNED)}
    assert banned == {}


def test_sentences_use_the_words_of_the_field():
    banned = {name: words for name, path in MODULES.items() if (words := SENTENCES.findall(path.read_text()))}
    assert banned == {}


def test_the_list_stands_in_contributing():
    listed = (ROOT / "CONTRIBUTING.md").read_text()
    assert [word for word in BANNED if word not in listed] == []
