"""The source tree as tests of its rules see it: modules by dotted name, what each imports, and the layer it is in."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "analysis" / "bedrest"
PIPELINES = ROOT / "pipelines"


def _dotted(path: Path) -> str:
    base = PACKAGE.parent if path.is_relative_to(PACKAGE) else ROOT
    return ".".join(p for p in path.relative_to(base).with_suffix("").parts if p != "__init__")


MODULES: dict[str, Path] = {_dotted(p): p for p in sorted([*PACKAGE.rglob("*.py"), *PIPELINES.rglob("*.py")])}
FOLDERS = sorted({p.parent for p in MODULES.values()})


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Dotted names of every import, within functions and for type checkers too; of ours, the modules that are meant."""
    names: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = path.parent if node.level else None
            if base is not None:
                for _ in range(node.level - 1):
                    base = base.parent
            source = ".".join(filter(None, (_dotted(base / "__init__.py") if base else "", node.module)))
            for alias in node.names:
                full = f"{source}.{alias.name}"
                names.add(full if full in MODULES or source == "bedrest" else source)
    return frozenset(names)


def layer_of(module: str) -> str:
    """`pipelines`, or the package's child that a module lies in."""
    first, *more = module.split(".")
    return "pipelines" if first == "pipelines" else ".".join([first, *more[:1]])
