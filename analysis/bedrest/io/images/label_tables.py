"""The colours of labels, and the tables by which other programs show them: BIDS, ITK-SNAP, 3D Slicer.

Knows nothing of masks. Formats: the label file that ITK-SNAP itself exports; Slicer's colour table as in
https://slicer.readthedocs.io/en/5.6/developer_guide/modules/colors.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bedrest.io.files import write_if_changed
from bedrest.vocabulary import FIRST_UNNAMED_LABEL, LABEL_COLOURS, LEVEL_OF_LABEL, TISSUE_OF_LABEL, UNNAMED_COLOUR

# Every label that a mask may hold; more unnamed discs than levels hardly ever occur.
ALL_LABELS: dict[int, str] = {
    **TISSUE_OF_LABEL, **{FIRST_UNNAMED_LABEL + i: f"unnamed-{i + 1}" for i in range(len(LEVEL_OF_LABEL))}}

_ITK_SNAP_HEAD = """# ITK-SnAP Label Description File
# IDX: index; -R-, -G-, -B-: colour, 0..255; -A-: opacity, 0..1; VIS, MSH: visibility of label and mesh, 0 or 1
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
"""


def colour_of(label: int) -> str:
    """Colour of a label as #RRGGBB; grey for discs without a name."""
    return LABEL_COLOURS.get(label, UNNAMED_COLOUR)


def bids_label_table(names: Mapping[int, str]) -> str:
    """The BIDS label table: columns index, name and color."""
    rows = "".join(f"{label}\t{name}\t{colour_of(label)}\n" for label, name in sorted(names.items()))
    return "index\tname\tcolor\n" + rows


def write_label_files(stem: Path, names: Mapping[int, str]) -> None:
    """Write ``<stem>.label`` for ITK-SNAP and ``<stem>.ctbl`` for 3D Slicer, unless they exist with this content.

    ITK-SNAP reads them by *Segmentation > Import Label Descriptions*; Slicer shows an underscore in a name as a space.
    """
    snap = f"{_ITK_SNAP_HEAD}    0     0    0    0        0  0  0    \"Clear Label\"\n"
    slicer = f"# Color table file\n# {len(names) + 1} values\n0 background 0 0 0 0\n"
    for label, name in sorted(names.items()):
        r, g, b = bytes.fromhex(colour_of(label).removeprefix("#"))
        snap += f"{label:5d} {r:5d} {g:4d} {b:4d} {1:8d} {1:2d} {1:2d}    \"{name}\"\n"
        slicer += f"{label} {name.replace(' ', '_')} {r} {g} {b} 255\n"
    write_if_changed(stem.with_name(f"{stem.name}.label"), snap)
    write_if_changed(stem.with_name(f"{stem.name}.ctbl"), slicer)
