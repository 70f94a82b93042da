"""The command line: `bedrest COMMAND`. Parses, runs one command, prints errors without a traceback.

Imports nothing heavy: `--help` must answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bedrest.cli.commands import Command

DESCRIPTION = """Segments, names and measures lumbar discs on Dixon, T2 or T1 MR, follows them through the visits of a \
bed-rest study, and reports what changed. Research use only.

Exit status: 0 all well; 1 the command could not do its work; 2 wrong arguments; 3 done, but something failed on the \
way (see tables/failures.csv), or `verify` found a difference. `bedrest COMMAND --help` explains a command, \
`bedrest --version` prints the version."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status. SystemExit as `parse`."""
    from bedrest import __version__
    from bedrest.errors import BedrestError

    words = list(sys.argv[1:] if argv is None else argv)
    if words == ["--version"]:
        print(f"bedrest {__version__}")
        return 0
    command = parse(words)
    try:
        return command.run()
    except BedrestError as error:
        print(f"bedrest {words[0]}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again to go on from here.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1


def parse(words: Sequence[str]) -> Command:
    """A command with its options; SystemExit after --help, or with status 2 where arguments are wrong."""
    import tyro

    from bedrest.cli.arguments import PARSING
    from bedrest.cli.commands import COMMANDS

    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        near = get_close_matches(words[0], COMMANDS, n=1)
        advice = f"Did you mean {near[0]}?" if near else f"Commands: {', '.join(COMMANDS)}."
        print(f"bedrest: there is no command {words[0]!r}. {advice}", file=sys.stderr)
        raise SystemExit(2)
    command: Command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS, prog="bedrest", description=DESCRIPTION, args=words, config=PARSING)
    return command
