"""Prints docs/commands.md, the reference of every command, from the parser itself.

    python -m bedrest.cli.page > docs/commands.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from bedrest.cli.parser import build_parser

_HEAD = """# Every command

Generated from the command line's own parser by `python -m bedrest.cli.page`; edit `analysis/bedrest/cli/parser.py`.
`bedrest COMMAND --help` says the same.

{description}

{epilog}
"""


def cli_page() -> str:
    """Every command with its arguments, as Markdown."""
    parser = build_parser()
    head = _HEAD.format(description=parser.description, epilog=parser.epilog)
    return head + "".join(_section(name, command, about) for name, command, about in commands_of(parser))


def commands_of(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Name, parser and help of each command, in their order."""
    for action in parser._actions:  # argparse has no public way to them
        if isinstance(action, argparse._SubParsersAction):
            about = {choice.dest: choice.help or "" for choice in action._choices_actions}
            yield from ((name, command, about[name]) for name, command in action.choices.items())


def _section(name: str, command: argparse.ArgumentParser, about: str) -> str:
    actions = [a for a in command._actions if not isinstance(a, argparse._HelpAction)]
    rows = "".join(f"| {_words(a)} | {_meaning(a)} |\n" for a in actions)
    return f"\n## bedrest {name}\n{about[:1].upper()}{about[1:]}.\n\n| argument | meaning |\n| --- | --- |\n{rows}"


def _words(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else action.metavar or (
        "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper())
    value = " ".join(value) if isinstance(value, tuple) else value
    value += " ..." if action.nargs in ("+", "*") else ""
    return ", ".join(f"`{f} {value}`" if value else f"`{f}`" for f in action.option_strings) or f"`{value}`"


def _meaning(action: argparse.Action) -> str:
    told = [(action.help or "").replace("%%", "%").replace("|", "\\|")]
    default = action.default
    shown = " ".join(map(str, default)) if isinstance(default, list) else str(default)
    if action.option_strings and action.nargs != 0 and default not in (None, []) and "default" not in told[0]:
        told.append(f"default {shown}")
    if action.required and action.option_strings:
        told.append("must be given")
    return "; ".join(t for t in told if t) or "-"


if __name__ == "__main__":
    sys.stdout.write(cli_page())
