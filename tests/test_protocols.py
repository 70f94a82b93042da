"""Protocols and evaluation of the method benchmark: published means from published tables, splits, shapes of tables."""

from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from bedrest.cli.learning import ProtocolName
from bedrest.errors import StudyError
from bedrest.figures.methods import change_errors, discs_by_method, method_curves
from bedrest.io.tables.frames import typed_frame
from bedrest.measurement.comparison.surfaces import mesh_hausdorff_mm, surface_distances
from bedrest.methods.method import SPACING_MM
from bedrest.methods.papers.weber import Weber
from bedrest.methods.registry import METHODS
from bedrest.protocols.cells import LEVELS, Outcome
from bedrest.protocols.published import PROTOCOLS, protocol_of
from bedrest.protocols.records import (
    METHOD_CHANGES,
    METHOD_CURVES,
    METHOD_DISCS,
    METHOD_SCORES,
    METHOD_TRAININGS,
)
from bedrest.protocols.scores import (
    MethodScore,
    change_rows,
    disc_rows,
    failed_rows,
    summarise_arvd,
    summarise_discs,
)
from bedrest.protocols.shapes import OWN_ENGINE, ArvdTable, DiscsTable, ScansTable
from bedrest.protocols.splits import by_subject, by_visit
from bedrest.protocols.tables import paper_tables, scores_frame
from bedrest.types import Grid, LabelMap
from bedrest.vocabulary import Contrast

REFERENCE = Path(__file__).parent / "reference"
NO_CHANGE = typed_frame([], METHOD_CHANGES)


@pytest.fixture(scope="module")
def gao() -> pd.DataFrame:
    return pd.read_csv(REFERENCE / "gao2018_tables.csv")


@pytest.fixture(scope="module")
def li() -> pd.DataFrame:
    return pd.read_csv(REFERENCE / "li2018_table6.csv")


# Published tables give published means


def test_the_tables_of_gao_give_the_published_means(gao):
    score = summarise_discs(gao, NO_CHANGE)
    assert (score.n, score.n_missing) == (56, 0)
    assert score.mdoc_percent / 100 == pytest.approx(0.9058, abs=5e-5)
    assert score.maad_mm == pytest.approx(0.607, abs=5e-4)
    assert score.mld_mm == pytest.approx(0.776, abs=5e-4)
    assert score.p2_percent == pytest.approx(100 * 55 / 56)  # one centre of Test_03 is 2.11 mm off
    assert np.isnan(score.volume_error_percent) and np.isnan(score.hausdorff_mm)


def test_table_6_of_li_gives_the_published_arvd(li):
    every, without = summarise_arvd(li["arvd_percent"]), summarise_arvd(li.loc[li["subject"] != "H", "arvd_percent"])
    assert every.n == 84
    assert (every.mean, every.median, every.maximum) == (pytest.approx(5.18, abs=5e-3), pytest.approx(3.65), 21.9)
    assert without.n == 77 and without.mean == pytest.approx(4.20, abs=5e-3)


def test_printed_means_of_discs_are_those_of_the_printed_tables(gao, li):
    for shape in PROTOCOLS["gao2018"].tables:
        assert isinstance(shape, ScansTable)
        means = gao.groupby("level")[shape.value].mean()
        assert shape.published == pytest.approx([means[lv] for lv in LEVELS], abs=0.5 * 10**-shape.digits + 1e-9)
        assert shape.published_mean == pytest.approx(gao[shape.value].mean(), abs=5e-4)
    arvd = next(s for s in PROTOCOLS["li2018-two-stage"].tables if isinstance(s, ArvdTable))
    means = li.groupby("level")["arvd_percent"].mean()
    assert arvd.published == pytest.approx([means[lv] for lv in LEVELS], abs=5.1e-3)
    ensemble = next(s for s in PROTOCOLS["georgiev2018"].tables if isinstance(s, DiscsTable))
    assert np.mean(ensemble.published) == pytest.approx(ensemble.published_mean, abs=5e-4)


# Measures


def box_mask(*boxes: tuple[int, tuple[slice, slice, slice]]) -> LabelMap:
    data = np.zeros((12, 20, 40), np.int32)
    for label, box in boxes:
        data[box] = label
    return LabelMap(data, Grid(data.shape, np.diag([*SPACING_MM, 1.0])))


LOW = (slice(2, 8), slice(4, 14), slice(4, 10))
HIGH = (slice(2, 8), slice(4, 14), slice(20, 26))
MOVED = (slice(2, 8), slice(4, 14), slice(22, 28))  # two voxels up: 2.5 mm
LARGER = (slice(2, 8), slice(4, 14), slice(4, 12))  # 8 instead of 6 voxels high


def test_a_lost_disc_counts_as_none_and_enters_no_distance():
    reference = box_mask((1, LOW), (2, HIGH))
    frame = typed_frame(({"row": "m", "fold": "f", "subject": "a", "session": "s", **r}
                         for r in disc_rows(box_mask((1, LARGER)), reference)), METHOD_DISCS)
    score = summarise_discs(frame, NO_CHANGE)
    dice = 2 * 6 / (6 + 8)
    assert (score.n, score.n_missing) == (2, 1)
    assert score.mdoc_percent == pytest.approx(100 * dice / 2)
    assert score.sddoc_percent == pytest.approx(100 * np.std([dice, 0], ddof=1))
    assert score.mld_mm == pytest.approx(1.25)  # one voxel, of the disc that was found
    assert score.p2_percent == 50 and score.levels_right_percent == 50
    assert score.volume_error_percent == pytest.approx(100 * 2 / 6)
    assert frame.set_index("level").loc["L4-L5", "volume_reference_mm3"] == pytest.approx(6 * 10 * 6 * 3.125)


def test_a_centre_more_than_two_millimetres_off_is_no_detection():
    reference = box_mask((1, LOW), (2, HIGH))
    score = summarise_discs(pd.DataFrame(disc_rows(box_mask((1, LOW), (2, MOVED)), reference)), NO_CHANGE)
    assert score.p2_percent == 50 and score.mld_mm == pytest.approx(1.25)


def test_nothing_found_is_a_dice_of_0_and_a_failed_scan_keeps_its_discs():
    reference = box_mask((1, LOW), (2, HIGH))
    for rows in (disc_rows(box_mask(), reference), failed_rows(reference, reason="broke")):
        score = summarise_discs(typed_frame(({"row": "m", "fold": "f", "subject": "a", "session": "s", **r}
                                             for r in rows), METHOD_DISCS), NO_CHANGE)
        assert (score.n, score.n_missing, score.mdoc_percent, score.p2_percent) == (2, 2, 0, 0)
        assert np.isnan(score.mld_mm) and np.isnan(score.volume_error_percent)


def test_dice_under_any_name_tells_a_wrong_name_from_a_wrong_outline():
    reference = box_mask((1, LOW), (2, HIGH))
    score = summarise_discs(pd.DataFrame(disc_rows(box_mask((2, LARGER), (3, HIGH)), reference)), NO_CHANGE)
    assert score.mdoc_percent == 0 and score.levels_right_percent == 0
    assert score.any_name_percent == pytest.approx(100 * (2 * 6 / (6 + 8) + 1) / 2)
    assert summarise_discs(pd.DataFrame(disc_rows(box_mask(), reference)), NO_CHANGE).any_name_percent == 0


def test_the_hausdorff_distance_of_meshes_by_hand():
    spacing = np.array(SPACING_MM)
    one = box_mask((1, LOW)).data == 1
    assert mesh_hausdorff_mm(one, one, spacing_mm=spacing) == 0
    larger = box_mask((1, LARGER)).data == 1
    assert mesh_hausdorff_mm(larger, one, spacing_mm=spacing) == pytest.approx(2 * 1.25)  # two voxels at one end
    assert mesh_hausdorff_mm(one, larger, spacing_mm=spacing) == pytest.approx(2 * 1.25)
    touching = np.ones((3, 4, 5), bool)  # closed where the array ends
    assert mesh_hausdorff_mm(touching, touching, spacing_mm=spacing) == 0
    assert np.isnan(mesh_hausdorff_mm(one & False, one, spacing_mm=spacing))
    # A single voxel beside a disc: its mesh reaches half a voxel round it, elements of `surfaces` lie at its corners.
    speck = one.copy()
    speck[4, 8, 15] = True
    mesh = mesh_hausdorff_mm(speck, one, spacing_mm=spacing)
    assert mesh == pytest.approx(6.5 * 1.25 - 0.5 * 1.25)  # from the tip at 15.5 to the face at 9.5
    assert surface_distances(speck, one, spacing_mm=spacing).hausdorff_mm == pytest.approx(mesh, abs=1.25)


def test_change_takes_each_visit_from_the_network_that_did_not_learn_from_it():
    rows = [("visit-2-to-1", "ses-1", 100.0, 90.0), ("visit-1-to-2", "ses-2", 110.0, 105.0)]
    discs = typed_frame(({"row": "m", "fold": f, "subject": "A", "session": s, "level": "L4-L5", "status": "ok",
                          "volume_reference_mm3": drawn, "volume_predicted_mm3": found, "right": True}
                         for f, s, drawn, found in rows), METHOD_DISCS)
    (change,) = change_rows(discs, reference_session="ses-1")
    assert change["session"] == "ses-2" and change["reason"] == ""
    assert change["arvd_percent"] == pytest.approx(abs(abs(100 - 105) - abs(100 - 110)))  # 5
    assert change["reference_baseline_error_percent"] == pytest.approx(-5)
    assert change["change_error_percent"] == pytest.approx((105 - 90) - (110 - 100))  # +5: arvd tells no sign
    lost = discs.assign(volume_predicted_mm3=[np.nan, 105.0])
    (change,) = change_rows(lost, reference_session="ses-1")
    assert change["arvd_percent"] == pytest.approx(5)  # eq. 4 needs visit 2 alone
    assert np.isnan(change["change_error_percent"]) and change["reason"] == "not found at ses-1"


def test_scores_are_the_columns_of_their_table():
    assert [f.name for f in fields(MethodScore)] == METHOD_SCORES.column_names[2:]


# Splits


VISITS = [(s, v) for s in "ABCDEFGH" for v in ("s1", "s2")]


@pytest.mark.parametrize("folds", [0, 3, 8])
def test_no_subject_stands_on_both_sides(folds):
    splits = by_subject(VISITS, folds=folds, seed=1)
    for split in splits:
        assert not {s for s, _ in split.training} & {s for s, _ in split.testing}
        assert sorted([*split.training, *split.testing]) == VISITS
    tested = [v for split in splits for v in split.testing]
    assert sorted(tested) == VISITS if folds else len(tested) == 4  # a quarter of 8 subjects, two visits each
    assert splits == by_subject(reversed(VISITS), folds=folds, seed=1) != by_subject(VISITS, folds=folds, seed=2)


def test_from_visit_to_visit_takes_those_who_have_both():
    listed = [*VISITS, ("I", "s1"), ("K", "s3"), ("L", "s3"), ("L", "s1")]
    one, two = by_visit(listed, sessions=["s1", "s2", "s3"])
    assert (one.name, two.name) == ("visit-1-to-2", "visit-2-to-1")
    assert one.training == two.testing == tuple((s, "s1") for s in "ABCDEFGH")
    assert one.testing == two.training == tuple((s, "s2") for s in "ABCDEFGH")
    one, _ = by_visit(listed[-1:] + listed[-2:-1], sessions=["s1", "s2", "s3"])
    assert one.testing == (("L", "s3"),)
    with pytest.raises(StudyError, match=r"images\.pairs"):
        by_visit([("A", "s1"), ("B", "s1")], sessions=["s1", "s2"])


@pytest.mark.parametrize(("n", "folds"), [(1, 0), (2, 3), (4, 1)])
def test_too_few_subjects_are_refused(n, folds):
    with pytest.raises(StudyError):
        by_subject(VISITS[:2 * n], folds=folds, seed=0)


# Protocols


def test_every_protocol_names_what_is_there():
    assert tuple(PROTOCOLS) == get_args(ProtocolName)
    for protocol in PROTOCOLS.values():
        names = [r.name for r in protocol.rows]
        assert len(set(names)) == len(names) and len({t.name for t in protocol.tables}) == len(protocol.tables)
        metrics = {m.title for t in protocol.tables for m in getattr(t, "metrics", ())}
        for row in protocol.rows:
            assert row.method in METHODS and row.uses in ("", *names)
            assert set(row.published) <= metrics
            has = METHODS[row.method][2]
            assert not row.choices.voxel_dropout or "voxel_dropout" in has
            assert not row.choices.planes or "planes" in has


def test_rows_are_those_of_the_papers():
    assert [r.method for r in PROTOCOLS["li2018-ablation"].rows] == [
        "fcn-baseline", "unet3d", "msfcn", "msfcn-a", "msfcn"]
    assert [r.choices.voxel_dropout for r in PROTOCOLS["li2018-ablation"].rows] == [0, 0, 0, 0.01, 0.01]
    fat = PROTOCOLS["li2018-modalities"].rows[0]
    assert fat.choices.contrasts == (Contrast.FAT,) and fat.published["MLD ± SD (mm)"] == "0.77 ± 0.49"
    assert {r.uses for r in PROTOCOLS["wang2020-planes"].rows} == {"average", ""}


def test_names_are_chosen_or_refused():
    both = protocol_of(None, ["msfcn", "bedrest", "msfcn"])
    assert [r.method for r in both.rows] == ["msfcn", OWN_ENGINE]
    assert protocol_of(None, ["fcn3d"]).rows[0].otherwise == (Contrast.WATER,)
    chosen = protocol_of(None, ["msfcn:voxel_dropout=0.1", "msfcn:voxel_dropout=0.001"]).rows
    assert [r.name for r in chosen] == ["msfcn-voxel_dropout-0.1", "msfcn-voxel_dropout-0.001"]
    assert [r.choices.voxel_dropout for r in chosen] == [0.1, 0.001]
    assert [r.name for r in protocol_of("li2018-ablation", ["msfcn", "bedrest"]).rows] == [
        "msfcn", "msfcn-rmvd", "bedrest"]
    assert len(protocol_of("chen2016", ["bedrest"]).rows) == 3
    for name, methods, told in (("nnn", [], "li2018-ablation"), (None, [], "neither"), (None, ["msfnc"], "msfnc"),
                                ("chen2016", ["msfcn"], "methods of chen2016: fcn2d, fcn3d")):
        with pytest.raises(StudyError, match=told):
            protocol_of(name, methods)


# Tables in the papers' own shape


def outcome_of(name: str) -> Outcome:
    """Every row of a protocol tested on two subjects at two visits: each disc 3 % too large, one disc lost."""
    protocol, discs, trainings = PROTOCOLS[name], [], []
    for row in protocol.rows:
        for subject in "AB":
            for session, drawn in (("ses-1", 1000.0), ("ses-2", 1100.0)):
                fold = ("visit-2-to-1" if session == "ses-1" else "visit-1-to-2") if protocol.by_visit else "holdout"
                for level in LEVELS:
                    lost = (subject, session, level) == ("B", "ses-2", "T11-T12")
                    found = {} if lost else {
                        "dice": 0.9, "centre_distance_mm": 1.0, "maad_mm": 0.5, "mesh_hausdorff_mm": 2.0,
                        "volume_predicted_mm3": 1.03 * drawn, "volume_error_percent": 3.0}
                    discs.append({"row": row.name, "fold": fold, "subject": subject, "session": session, "level": level,
                                  "volume_reference_mm3": drawn, "right": not lost, **found,
                                  "status": "failed" if lost else "ok", "reason": "lost" if lost else ""})
        for fold in ("visit-1-to-2", "visit-2-to-1") if protocol.by_visit else ("holdout",):
            trainings.append({"row": row.name, "fold": fold, "title": row.title, "method": row.method, "width": 1,
                              "seed": 0, "steps": "7", "ended": "stopped by its budget of 1 min", "status": "ok"})
    frame = typed_frame(discs, METHOD_DISCS)
    changes = typed_frame(change_rows(frame, reference_session="ses-1"), METHOD_CHANGES)
    return Outcome(protocol, frame, changes, typed_frame(trainings, METHOD_TRAININGS), "ses-1", 3.125)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_tables_stand_beside_published_figures_with_signed_errors(name):
    outcome = outcome_of(name)
    for table in paper_tables(outcome):
        assert all(len(row) == len(table.header) for row in table.rows) and len(set(table.header)) == len(table.header)
        if "Weber" in table.title:
            continue  # of the images alone
        words = " ".join([*table.header, *(c for row in table.rows for c in row), table.note])
        assert "change error" in words.lower() and ("volume error" in words or "arvd" in table.title
                                                    or "change" in table.title)
        assert "Dice 0" in table.note and table.markdown().count("\n|") >= len(table.rows) + 2
        if table.name != "figure_10":
            assert "published" in words and "stopped by its budget" in words
    scores = scores_frame(outcome)
    assert scores["n"].tolist() == [28] * len(outcome.protocol.rows)
    assert scores["mdoc_percent"].tolist() == pytest.approx([90 * 27 / 28] * len(scores))


def test_the_weber_table_has_published_and_own_intensities_and_a_dash_for_a_contrast_that_is_not_there():
    own = {Contrast.WATER: Weber(150.0, 10.0, 60.0, 20.0)}
    table = paper_tables(replace(outcome_of("wang2020-combinations"), weber=own))[0]
    assert table.rows[0] == ["fat", "15.9 ± 12.7", "-", "35.2 ± 47.5", "-", "0.57", "-"]
    assert table.rows[3] == ["water", "163.4 ± 41.1", "150.0 ± 10.0", "67.9 ± 67.5", "60.0 ± 20.0", "1.43", "1.50"]


def test_the_shapes_of_the_papers():
    ablation, = paper_tables(outcome_of("li2018-ablation"))
    assert len(ablation.rows) == 5
    row = dict(zip(ablation.header, ablation.rows[-1], strict=True))
    assert row["Method"] == "MsFCN + RMVD"
    assert (row["MLD ± SD (mm), published"], row["MLD ± SD (mm), ours"]) == ("0.36 ± 0.21", "1.00 ± 0.00")
    assert row["MDOC ± SDDOC (%), ours"].startswith("86.79 ± ") and row["discs missing"] == "1 of 28"
    assert row["volume error ± SD (%), ours"] == "3.0 ± 0.0"
    assert row["change error ± SD (%), ours"] == "0.3 ± 0.0"  # 1.03 x 100 - 100 of 1000
    assert row["training, ours"] == "stopped by its budget of 1 min, 7 steps"
    arvd, directions, change = paper_tables(outcome_of("li2018-two-stage"))
    assert [r[1] for r in arvd.rows] == [f"{i} {lv}" for i, lv in enumerate(LEVELS, 1)]
    first, last = (dict(zip(arvd.header, r, strict=True)) for r in (arvd.rows[0], arvd.rows[-1]))
    assert first["A"] == first["B"] == "3.30" and (last["A"], last["B"]) == ("3.30", "-")
    assert first["mean of 12 subjects, published"] == "5.35"
    assert first["signed error, visit 1 by reference (%)"] == "3.30"
    assert first["signed change error (%)"] == "0.30"
    assert [r[1:3] for r in directions.rows] == [["time point 1", "time point 2"], ["time point 2", "time point 1"]]
    assert [r[6].split(" ±")[0] for r in directions.rows] == ["83.57", "90.00"]  # the lost disc is one of visit 2
    assert change.rows[0][:3] == ["1 L5-S1", "100", "32"] and change.rows[0][3] == "103"
    scans = paper_tables(outcome_of("gao2018"))[0]
    assert len(scans.rows) == 1 + 4 + 1 and scans.rows[0][-2] == "0.9058"
    assert scans.rows[-2][1:] == ["B ses-2", *["0.900"] * 6, "0.000", "0.771", "3.0"]
    by_disc = paper_tables(outcome_of("georgiev2018"))[1]
    assert [r[0] for r in by_disc.rows] == ["Dice, published", "Dice, ours: Ensemble",
                                            "volume error (%), ours: Ensemble", "change error (%), ours: Ensemble"]


def test_a_failed_row_says_why_and_shows_no_numbers():
    outcome = outcome_of("chen2016")
    trainings = outcome.trainings.copy()
    trainings.loc[trainings["row"] == "fcn3d", ["status", "reason"]] = ["failed", "no t2 | at all"]
    gone = Outcome(outcome.protocol, outcome.discs[outcome.discs["row"] != "fcn3d"],
                   outcome.changes[outcome.changes["row"] != "fcn3d"], trainings, "ses-1", 3.125)
    table, = paper_tables(gone)
    row = dict(zip(table.header, table.rows[1], strict=True))
    assert row["training, ours"] == "failed: no t2 | at all" and row["MLD ± SD (mm), ours"] == "-"
    assert row["MLD ± SD (mm), published"] == "0.91 ± 0.58" and r"no t2 \| at all" in table.markdown()


# Figures


def test_figures_show_every_disc_once_and_say_when_there_is_none():
    outcome = outcome_of("li2018-ablation")
    titles = {r.name: r.title for r in outcome.protocol.rows}
    left, right = discs_by_method(outcome.discs, titles).axes
    assert [t.get_text() for t in left.get_yticklabels()] == list(titles.values())
    # One collection a method and level; 28 discs a row, one of them lost: at Dice 0, and without a volume error.
    assert [sum(len(c.get_offsets()) for c in panel.collections) for panel in (left, right)] == [5 * 28, 5 * 27]
    panels = change_errors(outcome.changes, titles).axes[:5]
    assert [len(p.collections[0].get_offsets()) for p in panels] == [13] * 5  # two subjects, seven discs, one lost
    middle, error = panels[0].collections[0].get_offsets()[0]
    assert (middle, error) == (pytest.approx(10.15), pytest.approx(0.3))  # drawn 10 %, automatic 10.3 %
    curves = typed_frame([{"row": "msfcn", "fold": "holdout", "stage": "segment", "step": 50 * i, "minutes": i,
                           "loss": 1 / i} for i in (1, 2)], METHOD_CURVES)
    (panel,) = (a for a in method_curves(curves, titles).axes if a.lines)
    assert panel.get_title(loc="left") == "MsFCN" and panel.lines[0].get_xydata().tolist() == [[1, 1], [2, 0.5]]
    for figure, told in ((discs_by_method(outcome.discs.iloc[:0], titles), "no row"),
                         (change_errors(NO_CHANGE, titles), "no disc"),
                         (method_curves(curves.iloc[:0], titles), "before its first")):
        assert told in figure.texts[0].get_text() and not figure.axes
