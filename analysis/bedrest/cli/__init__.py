"""The command line: `bedrest COMMAND`. Imports nothing heavy."""

from __future__ import annotations


def main() -> int:
    """Run the command that the process was given; returns its exit status."""
    from bedrest.cli.parser import main as run

    return run()
