"""What each paper compared, as data: rows, published figures, the shape of its tables. Trains and measures nothing.

Published figures were measured on other scans with other splits: they stand beside ours to be looked at, not to be
beaten. Text in place of a number is as printed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from bedrest.errors import StudyError
from bedrest.methods.method import MethodOptions
from bedrest.methods.registry import read_choices
from bedrest.protocols.shapes import (
    OWN_ENGINE,
    ArvdTable,
    ChangeTable,
    DirectionsTable,
    DiscsTable,
    MethodsTable,
    Metric,
    Protocol,
    ProtocolRow,
    ScansTable,
    WeberTable,
)
from bedrest.vocabulary import DIXON, Contrast

COMPARISON = "comparison"
RMVD = MethodOptions(voxel_dropout=0.01)
_CHALLENGE = "IVDM3Seg, 24 scans of 12 subjects at two visits"

MLD = Metric("MLD ± SD (mm)", "mld_mm", "sd_mm")
MDOC = Metric("MDOC ± SDDOC (%)", "mdoc_percent", "sddoc_percent")


def _li(mld: str, mdoc: str) -> dict[str, str]:
    return {MLD.title: mld, MDOC.title: mdoc}


_LI = "Li et al. 2018"
_ABLATION = Protocol(
    "li2018-ablation", "Multi-scale input and voxel dropout", _LI, f"{_CHALLENGE}: 18 scans to learn from, 6 to test",
    (ProtocolRow("baseline", "Baseline", "fcn-baseline", published=_li("0.42 ± 0.29", "90.48 ± 1.97")),
     ProtocolRow("u-net", "U-Net (Çiçek et al. 2016)", "unet3d", MethodOptions(contrasts=DIXON),
                 _li("0.37 ± 0.20", "90.97 ± 2.27")),
     ProtocolRow("msfcn", "MsFCN", "msfcn", published=_li("0.39 ± 0.24", "91.17 ± 2.07")),
     ProtocolRow("msfcn-a-rmvd", "MsFCN-A + RMVD", "msfcn-a", RMVD, _li("0.37 ± 0.21", "90.72 ± 2.54")),
     ProtocolRow("msfcn-rmvd", "MsFCN + RMVD", "msfcn", RMVD, _li("0.36 ± 0.21", "91.34 ± 2.16"))),
    (MethodsTable("table_5", "Li et al. 2018, Table 5: methods", "Method", (MLD, MDOC)),),
    notes=("RMVD: voxels of one randomly chosen contrast are set to 0, ratio 0.01.",
           "The U-Net is `unet3d` on four contrasts and this paper's crops of 32 x 64 x 64, with Dice loss."))

_MODALITIES = Protocol(
    "li2018-modalities", "One contrast or four", _LI, f"{_CHALLENGE}: 18 scans to learn from, 6 to test",
    tuple(ProtocolRow(name, title, "fcn-baseline", MethodOptions(contrasts=contrasts), _li(mld, mdoc))
          for name, title, contrasts, mld, mdoc in (
        ("fat", "single: fat", (Contrast.FAT,), "0.77 ± 0.49", "86.74 ± 3.68"),
        ("in-phase", "single: in-phase", (Contrast.IN_PHASE,), "0.87 ± 0.84", "86.68 ± 5.13"),
        ("opposed-phase", "single: opposed-phase", (Contrast.OPPOSED,), "0.44 ± 0.28", "89.48 ± 2.61"),
        ("water", "single: water", (Contrast.WATER,), "0.49 ± 0.39", "89.68 ± 2.81"),
        ("four", "four modalities", DIXON, "0.42 ± 0.29", "90.48 ± 1.97"))),
    (MethodsTable("table_4", "Li et al. 2018, Table 4: contrasts, all by the baseline network", "Modality",
                  (MLD, MDOC)),))

_TWO_STAGE = Protocol(
    "li2018-two-stage", "Two visits: volumes and their change", _LI, f"{_CHALLENGE}: 12 at one visit, 12 at the other",
    (ProtocolRow("msfcn-rmvd", "MsFCN + RMVD", "msfcn", RMVD),),
    (ArvdTable("table_6", "Li et al. 2018, Table 6: arvd (%), trained at visit 1, tested at visit 2",
               (5.35, 3.25, 3.95, 4.90, 5.28, 4.99, 8.53), (5.18, 3.65, 21.9)),
     DirectionsTable("table_7", "Li et al. 2018, Table 7: two directions", (MLD, MDOC),
                     (_li("0.47 ± 0.45", "90.56 ± 2.48"), _li("0.46 ± 0.34", "90.48 ± 0.02"))),
     ChangeTable("figure_10", "Li et al. 2018, Fig. 10: mean absolute change of volume between the visits")),
    by_visit=True,
    notes=("The same subjects stand on both sides, at different visits, as in the paper: figures are better than they "
           "would be on subjects whom the network never saw.",
           "arvd cannot tell growth from shrinking. Beside it stands the signed error of change with both visits "
           "automatic: each visit's volume comes from the network that was trained at the other."))

_DICE = Metric("Mean Dice ± SD (%)", "mdoc_percent", "sddoc_percent", digits=1)
_HD = Metric("Mean HD ± SD (mm)", "hausdorff_mm", "hausdorff_sd_mm", digits=1)
_W, _F, _I, _O = Contrast.WATER, Contrast.FAT, Contrast.IN_PHASE, Contrast.OPPOSED
_COMBINATIONS = Protocol(
    "wang2020-combinations", "Combinations of contrasts", "Wang et al. 2020", "IVDM3Seg, 8 scans: 6 and 2",
    tuple(ProtocolRow(name, title, "two-stage-unet3d", MethodOptions(contrasts=contrasts), published)
          for name, title, contrasts, published in (
        ("all", "opp, wat, fat and inn", (_O, _W, _F, _I), {_DICE.title: "87.9 ± 1.7"}),
        ("without-in-phase", "opp, wat and fat", (_O, _W, _F), {_DICE.title: "89.0 ± 1.4", _HD.title: "0.8 ± 0.3"}),
        ("without-fat", "opp, wat and inn", (_O, _W, _I), {_DICE.title: "88.0 ± 1.6"}),
        ("opposed-and-water", "opp and wat", (_O, _W), {_DICE.title: "88.5 ± 1.6"}))),
    (WeberTable("table_1", "Wang et al. 2020, Table I: absolute Weber contrast",
                {_F: ("15.9 ± 12.7", "35.2 ± 47.5", "0.57"), _I: ("172.1 ± 39.9", "97.9 ± 89.5", "0.75"),
                 _O: ("155.4 ± 47.5", "63.2 ± 65.1", "1.46"), _W: ("163.4 ± 41.1", "67.9 ± 67.5", "1.43")}),
     MethodsTable("table_3", "Wang et al. 2020, Table III: contrasts (HD: Table IV)", "Combination", (_DICE, _HD))),
    notes=("HD is taken disc by disc; the paper does not say of what it is the mean.",))

_PLANES = Protocol(
    "wang2020-planes", "Slices along one axis or all", "Wang et al. 2020", "IVDM3Seg, 8 scans: 6 and 2",
    (*(ProtocolRow(f"{axis}-axis", f"{axis.upper()}-Axis", "unet2d", MethodOptions(planes=(axis,)), published,
                   uses="average")
       for axis, published in (("x", {_DICE.title: "79.4 ± 1.0"}),
                               ("y", {_DICE.title: "81.8 ± 1.3", _HD.title: "2.4 ± 1.0"}),
                               ("z", {_DICE.title: "77.3 ± 67 (as printed)"}))),
     ProtocolRow("average", "Average of All Axes", "unet2d", MethodOptions(planes=("x", "y", "z")),
                 {_DICE.title: "80.0 ± 1.5"})),
    (MethodsTable("table_5", "Wang et al. 2020, Table V: directions of slices (HD: Table IV)", "Directions",
                  (_DICE, _HD)),),
    notes=("One training of three networks serves all four rows; the budget is that of the three together.",))

_GAO = Protocol(
    "gao2018", "Dense atrous pooling, disc by disc", "Gao 2018", "IVDM3Seg, test set: 8 scans of 4 subjects",
    (ProtocolRow("dense-aspp2d", "Dense ASPP, V-Net, spine region", "dense-aspp2d"),),
    (ScansTable("table_1", "Gao 2018, Table 1: Dice", "dice", 3,
                (0.897, 0.920, 0.926, 0.912, 0.902, 0.888, 0.897), 0.9058),
     ScansTable("table_2", "Gao 2018, Table 2: average absolute surface distance (mm)", "maad_mm", 2,
                (0.67, 0.62, 0.56, 0.63, 0.64, 0.63, 0.51), 0.607),
     ScansTable("table_3", "Gao 2018, Table 3: localisation (mm)", "centre_distance_mm", 2,
                (0.65, 0.78, 0.64, 1.00, 0.92, 0.87, 0.58), 0.776)),
    notes=("The paper heads its Table 3, too, with surface distance; its rows and its text say localisation.",))

_P2 = Metric("P (2.0 mm)", "p2_percent", digits=1)
_MD = Metric("MD ± SD (%)", "mdoc_percent", "sddoc_percent", digits=1)
_MAAD = Metric("MAAD ± SD (mm)", "maad_mm", "maad_sd_mm")


def _chen(*printed: str) -> dict[str, str]:
    return {m.title: text for m, text in zip((MLD, _P2, _MD, _MAAD), printed, strict=True)}


_CHEN = Protocol(
    "chen2016", "Convolutions in two or three dimensions", "Chen, Dou et al. 2016",
    "MICCAI 2015 challenge, T2: 15 scans to learn from, test1 of 5",
    (ProtocolRow("fcn2d", "2D FCN", "fcn2d", published=_chen("1.07 ± 0.62", "91.4", "83.2 ± 4.6", "1.58 ± 0.28"),
         otherwise=(Contrast.WATER,)),
     ProtocolRow("fcn3d", "3D FCN", "fcn3d", published=_chen("0.91 ± 0.58", "94.3", "88.4 ± 5.3", "1.27 ± 0.26"),
         otherwise=(Contrast.WATER,))),
    (MethodsTable("table_1", "Chen, Dou et al. 2016, Table 1: localisation and segmentation", "Method",
                  (MLD, _P2, _MD, _MAAD)),),
    notes=("T2 where every visit has it, else water; the trainings table says which.",))

_MEAN_DICE = Metric("Mean DICE", "mdoc_percent", scale=0.01, digits=3)
_GEORGIEV = Protocol(
    "georgiev2018", "Three planes and their ensemble", "Georgiev and Asenov 2018",
    "IVDM3Seg, 16 scans, four-fold cross-validation",
    (*(ProtocolRow(name, name.capitalize(), "triplanar-resnet", MethodOptions(planes=(axis,)),
                   {_MEAN_DICE.title: dice}, uses="ensemble")
       for name, axis, dice in (("sagittal", "x", "0.81"), ("axial", "z", "0.81"), ("coronal", "y", "0.77"))),
     ProtocolRow("ensemble", "Ensemble", "triplanar-resnet", MethodOptions(), {_MEAN_DICE.title: "0.915"})),
    (MethodsTable("table_1", "Georgiev and Asenov 2018, Table 1: planes and ensemble", "2D planes used",
                  (_MEAN_DICE,)),
     DiscsTable("table_2", "Georgiev and Asenov 2018, Table 2: Dice by disc, ensemble", "ensemble",
                (0.898695, 0.925335, 0.937724, 0.929478, 0.916675, 0.907566, 0.893001), 0.915)),
    notes=("One training of three planes and their fusion serves all four rows; the budget is that of all together. "
           "The fusion learns from subjects that the planes did not learn from.",
           "The paper's four folds: --folds 4."))

PROTOCOLS: dict[str, Protocol] = {p.name: p for p in (
    _ABLATION, _MODALITIES, _TWO_STAGE, _COMBINATIONS, _PLANES, _GAO, _CHEN, _GEORGIEV)}

_ALL = (MLD, _P2, MDOC, _MAAD, Metric("HD of meshes ± SD (mm)", "hausdorff_mm", "hausdorff_sd_mm"))
_OWN_ROW = ProtocolRow(OWN_ENGINE, "bedrest", OWN_ENGINE)


def protocol_of(name: str | None, methods: Sequence[str]) -> Protocol:
    """The protocol asked for, its rows of these methods alone where some are named; without one, a comparison of them.

    Raises StudyError: neither is named, a name or choice is unknown, or the protocol has no row of a method.
    """
    if name is None:
        if not methods:
            raise StudyError("--methods, --protocol or both", "neither", "bedrest benchmark", "Say what to compare.")
        rows = tuple(_row(m) for m in dict.fromkeys(methods))
        return Protocol(COMPARISON, "Methods side by side", "no paper", "", rows, (
            MethodsTable("comparison", "Methods side by side", "Method", _ALL),))
    if name not in PROTOCOLS:
        raise StudyError(f"one of {', '.join(PROTOCOLS)}", name, "--protocol", "Correct the name.")
    protocol = PROTOCOLS[name]
    there = {r.method for r in protocol.rows}
    if odd := [m for m in methods if m not in there and m != OWN_ENGINE]:
        raise StudyError(f"methods of {name}: {', '.join(sorted(there))}", ", ".join(odd), "--methods",
                         "Leave them out, or leave --protocol out.")
    rows = tuple(r for r in protocol.rows if not set(methods) - {OWN_ENGINE} or r.method in methods)
    return replace(protocol, rows=(*rows, _OWN_ROW) if OWN_ENGINE in methods else rows)


def _row(text: str) -> ProtocolRow:
    """A method by itself, with the choices that its user names."""
    if text == OWN_ENGINE:
        return _OWN_ROW
    method, choices = read_choices(text)
    return ProtocolRow(re.sub(r"[:,=]", "-", text), text, method, choices, otherwise=_otherwise(method))


def _otherwise(method: str) -> tuple[Contrast, ...]:
    """What stands in for contrasts that a study lacks, where a protocol says so."""
    return next((r.otherwise for p in PROTOCOLS.values() for r in p.rows if r.method == method), ())


def training_row(protocol: Protocol, row: ProtocolRow) -> ProtocolRow:
    """The row whose networks a row takes: itself, or the one it names, be it asked for or not."""
    if not row.uses:
        return row
    return next(r for r in PROTOCOLS[protocol.name].rows if r.name == row.uses)
