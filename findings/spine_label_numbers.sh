#!/usr/bin/env bash
# What most would guess: programs that number vertebrae and discs of the spine agree at least on the direction of
#   counting and on discs being numbered one by one, so that a wrong table shows at once.
# What is true: each table is another, and most numbers mean something plausible in all of them. 100 is the L5-S1 disc
#   in TotalSpineSeg and every disc at once in SPINEPS' semantic mask; 20 is L1 in SPINEPS, C6 in TotalSegmentator's
#   vertebrae_mr and all discs in its total_mr; 24 is L5, T4 and C2. TotalSegmentator counts vertebrae from the sacrum
#   up and numbers no disc singly; SPINEPS counts down, adds 100 to the vertebra above for a disc, and puts a
#   thirteenth thoracic vertebra at 28, behind the sacrum (26). TotalSpineSeg counts down with gaps (82, 91 to 95,
#   100) and has no number for a sixth lumbar vertebra.
# Version: totalspineseg 20260807, spineps 2.1.3, TotalSegmentator 2.18.0, as their packages say.
# Who meets it: who measures discs in masks of one program with the table of another, or compares programs.
# Prints what lumbar numbers mean in each; ends with 1 if a table changes. The packages are read, not run.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3.11}" -m venv venv
for package in totalspineseg==20260807 spineps==2.1.3 totalsegmentator==2.18.0; do
    venv/bin/pip download -q --disable-pip-version-check --no-deps -d . "$package"
done
venv/bin/python - <<'PYTHON'
import ast
import re
from pathlib import Path
from zipfile import ZipFile


def text(package, ending):
    (wheel,) = Path().glob(f"{package}-*.whl")
    with ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(ending))
        return archive.read(name).decode()


def rows(page):
    return {int(n): name.strip() for n, name in re.findall(r"^\|\s*(\d+)\s*\|\s*([^|\n]+?)\s*\|$", page, re.MULTILINE)}


spineseg = rows(text("totalspineseg", ".dist-info/METADATA").split("## List of Classes")[1])
spineps = rows(text("spineps", ".dist-info/METADATA").split("subregion segmentation:")[1].split("CT only")[0])
veridah = text("spineps", ".dist-info/METADATA").split("## VERIDAH:")[1].split("## Using")[0]
maps = next(ast.literal_eval(node.value) for node in ast.parse(text("totalsegmentator", "/map_to_binary.py")).body
            if isinstance(node, ast.Assign) and node.targets[0].id == "class_map")
above = {20: "L1", 23: "L4", 24: "L5"}
peers = {"TotalSpineSeg": spineseg, "SPINEPS semantic": spineps,
         "SPINEPS instances": {**above, 26: "Sacrum", 28: "T13",
                               **{100 + n: f"disc below {v}" for n, v in above.items()}},
         "TotalSegmentator total": maps["total"], "TotalSegmentator total_mr": maps["total_mr"],
         "TotalSegmentator vertebrae_mr": maps["vertebrae_mr"]}
for peer, table in peers.items():
    print(f"{peer:30}", *(f"{n}: {table.get(n, '-')}," for n in (2, 20, 24, 28, 95, 100, 123)))
assert [spineseg[n] for n in (24, 28, 82, 91, 95, 100)] == [
    "vertebrae_T4", "vertebrae_T8", "disc_T11_T12", "disc_T12_L1", "disc_L4_L5", "disc_L5_S"]
assert not any("L6" in name for name in spineseg.values())
assert spineps[100] == "Vertebra_Disc" and spineps[26] == "Sacrum"
for row in ("| 28  | T13 |", "| 20  | L1 |", "| 21 - 25  | L2 - L6 |", "| 26  | Sacrum |"):
    assert row in veridah, row
assert "the label 119 is the IVD below the T12 vertebra" in veridah
assert (maps["total"][27], maps["total"][28]) == ("vertebrae_L5", "vertebrae_L4")
assert (maps["total_mr"][19], maps["total_mr"][20]) == ("vertebrae", "intervertebral_discs")
assert [maps["vertebrae_mr"][n] for n in (1, 2, 20, 24)] == ["sacrum", "vertebrae_L5", "vertebrae_C6", "vertebrae_C2"]
assert not any("disc" in name and re.search("L4|L5", name) for table in ("total", "total_mr", "vertebrae_mr")
               for name in maps[table].values())
PYTHON
