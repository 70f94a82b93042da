"""Figures draw what the tables hold, have units, fit their page, and come out the same twice."""

import numpy as np
import pandas as pd
import pytest
from bedrest.figures.change_intervals import arvd_heat_map, forest
from bedrest.figures.diagnostics import residual_panels
from bedrest.figures.display import families, models, sentences, table
from bedrest.figures.flow import flow_diagram
from bedrest.figures.scans.overlays import axial_views, sagittal_views
from bedrest.figures.scans.planes import VisitView, cut_image, cut_outlines, disc_plane, regions_of, sagittal_planes
from bedrest.figures.style import save_figure
from bedrest.figures.timeline import visit_timeline
from bedrest.figures.trajectories import cohort_trajectories, subject_trajectories
from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import CONTRASTS, MEASURES, MODELS
from bedrest.settings import Session
from bedrest.statistics.study.cohort_models import joint_model, level_models
from bedrest.statistics.study.estimates import contrasts_frame
from bedrest.statistics.study.responses import AnalysisPlan, observations
from bedrest.statistics.study.summary import change_bands
from bedrest.tables.arvd import arvd_frame
from bedrest.tables.change import change_frame
from bedrest.types import Grid, LabelMap, Volume
from bedrest.vocabulary import LEVELS
from matplotlib.container import ErrorbarContainer
from matplotlib.text import Text

VISITS = (("ses-1", -3.0, "baseline", 0.0), ("ses-2", 60.0, "bed_rest", 0.06), ("ses-3", 74.0, "recovery", 0.01))


@pytest.fixture
def measures(rng) -> pd.DataFrame:
    """Eight subjects of two groups, three visits, automatic and reference volumes."""
    rows = []
    for i in range(8):
        for session, day, phase, swelling in VISITS:
            for level in LEVELS:
                for source in ("automatic", "reference"):
                    volume = 10_000 * (1 + swelling / (1 + i % 2)) + rng.normal(0, 60)
                    rows.append({"subject": f"s{i}", "group": ("rest", "exercise")[i % 2], "session": session,
                                 "study_day": day, "phase": phase, "level": level, "source": source,
                                 "volume_mm3": volume, "status": "ok", "reason": ""})
    return pd.DataFrame(rows).reindex(columns=MEASURES.column_names)


@pytest.fixture
def change(measures) -> pd.DataFrame:
    return change_frame(measures, reference_session="ses-1")


@pytest.fixture
def contrasts(measures, change) -> pd.DataFrame:
    subjects = measures[["subject", "group"]].drop_duplicates()
    plan = AnalysisPlan(("rest", "exercise"), tuple(v[0] for v in VISITS), "ses-1")
    data = observations(measures, source="automatic", subjects=subjects, sessions=measures, plan=plan)
    return contrasts_frame([*level_models(data, plan), joint_model(data, plan)], subjects)


def texts(figure) -> str:
    return " ".join(t.get_text() for t in figure.findobj(Text))


def test_a_subjects_lines_are_its_changes(measures, change):
    mine = measures[measures["subject"] == "s0"], change[change["subject"] == "s0"]
    figure = subject_trajectories(*mine)
    assert "(%)" in texts(figure) and all(level in texts(figure) for level in LEVELS)
    automatic = mine[1][(mine[1]["level"] == "L4-L5") & (mine[1]["source"] == "automatic")]
    panel = next(a for a in figure.axes if a.get_title() == "L4-L5" or a.get_title(loc="left") == "L4-L5")
    drawn = [line.get_ydata() for line in panel.lines]
    assert any(len(y) == 3 and np.allclose(y[1:], automatic["change_percent"]) for y in drawn)


def test_a_visit_that_failed_is_marked(measures):
    mine = measures[measures["subject"] == "s0"].copy()
    lost = (mine["session"] == "ses-2") & (mine["level"] == "L4-L5")
    mine.loc[lost, ["volume_mm3", "status", "reason"]] = [np.nan, "failed", "no disc"]
    changes = change_frame(mine, reference_session="ses-1")
    assert "not measured" in texts(subject_trajectories(mine, changes))


def test_forest_states_n_and_unit(contrasts):
    figure = forest(contrasts, source="automatic")
    assert "n = 4" in texts(figure) and "volume change (%)" in texts(figure)


def test_tests_are_shown_with_their_intervals_and_what_was_not_done_as_a_sentence(contrasts):
    shown = families(contrasts).data
    fitted = contrasts[contrasts["estimate_percent"].notna()]
    assert len(fitted) and shown.count("<table>") == contrasts["family"].nunique()
    for row in fitted.itertuples():
        assert f"{row.estimate_percent:.2f} ({row.ci_low_percent:.2f} to {row.ci_high_percent:.2f})" in shown
    refused = families(contrasts.assign(status="failed", reason="too few subjects")).data
    assert "Not done: too few subjects." in refused and "<table>" not in refused
    assert families(contrasts.head(0), empty="Nothing <b>.").data == "<p>Nothing &lt;b&gt;.</p>"
    lost = typed_frame([{"model": "primary", "source": "automatic", "level": "all", "formula": "y ~ x", "random": "",
                         "status": "failed", "reason": "too few"}], MODELS)
    assert models(lost).data == "<p>Primary model: y ~ x.</p><p>Not done: too few.</p>"


def test_a_documents_sections_go_one_step_down():
    shown = sentences("# Title\n\n*Note*\n\n## Methods\n\nWords.\n\n## Results\n").data
    assert shown == "### Methods\n\nWords.\n\n### Results\n"


def test_cohort_figure_names_its_groups_with_n(change, contrasts):
    words = texts(cohort_trajectories(change, contrasts, source="automatic", start=-3.0))
    assert "rest (n = 4)" in words and "exercise (n = 4)" in words


@pytest.mark.parametrize("column", ["arvd", "signed_change_error"])
def test_heat_map_prints_the_tables_values(measures, column):
    arvd = arvd_frame(measures, reference_session="ses-1")
    figure = arvd_heat_map(arvd, column=column, session="ses-2")
    words = texts(figure)
    assert all(f"s{i}" in words for i in range(8)) and "%" in words


def test_files_are_the_same_twice_and_carry_their_data(tmp_path, change, contrasts):
    for folder in ("a", "b"):
        save_figure(forest(contrasts, source="automatic"), tmp_path / folder / "f", data=contrasts)
    for ending in ("png", "pdf", "svg", "csv"):
        assert (tmp_path / f"a/f.{ending}").read_bytes() == (tmp_path / f"b/f.{ending}").read_bytes(), ending


def test_outlines_of_two_visits(rng):
    grid = Grid((8, 40, 60), np.diag([2, 1.25, 1.25, 1.0]))
    labels = np.zeros(grid.shape, np.int32)
    labels[2:6, 10:30, 10:15], labels[2:6, 10:30, 30:35] = 1, 101
    image = Volume(rng.random(grid.shape).astype(np.float32), grid)
    mask = LabelMap(labels, grid)
    figure = sagittal_views([VisitView("ses-1", image, mask, mask), VisitView("ses-2", image, mask)])
    words = texts(figure)
    assert "L5-S1" in words and "unnamed-1" in words and "reference mask" in words
    assert "nothing to show" in texts(sagittal_views([]))


def test_tables_escape_and_show_units(contrasts):
    frame = contrasts.head(2).assign(reason=["<script>", ""])
    html = table(frame[["level", "estimate_percent", "p", "status", "reason"]], CONTRASTS).data
    assert "estimate (%)" in html and "&lt;script&gt;" in html and "<script>" not in html
    assert f"{frame['estimate_percent'].iloc[0]:.2f}" in html


def test_heat_map_shows_means_over_discs_and_over_subjects(measures):
    arvd = arvd_frame(measures, reference_session="ses-1")
    own = 100 * arvd[arvd["session"] == "ses-2"].pivot(index="subject", columns="level", values="arvd")[list(LEVELS)]
    panel = arvd_heat_map(arvd, column="arvd", session="ses-2").axes[0]
    shown = np.asarray(panel.images[0].get_array())
    assert np.allclose(shown[:-1, -1], own.mean(axis=1)) and np.allclose(shown[-1, :-1], own.mean(axis=0))
    assert shown[-1, -1] == pytest.approx(own.to_numpy().mean())
    assert [t.get_text() for t in panel.get_xticklabels()][-1] == "mean"


def test_a_missing_visit_stands_on_the_time_line_at_its_planned_day():
    planned = [Session(id=v[0], study_day=v[1], phase=v[2]) for v in VISITS]
    own = pd.DataFrame({"session": ["ses-1", "ses-3"], "study_day": [-2.0, 75.0], "phase": ["baseline", "recovery"],
                        "scan_time": ["08:15", ""], "minutes_supine": [np.nan, 40.0]})
    figure = visit_timeline(planned, own)
    words = texts(figure)
    assert "ses-1, day -2\n08:15" in words and "ses-3, day 75\n40 min supine" in words
    assert "ses-2, day 60\nnot scanned" in words and "missing" in words
    crosses = [line for line in figure.axes[0].lines if line.get_marker() == "X"]
    assert [list(c.get_xdata()) for c in crosses] == [[60.0]]
    assert "missing" not in texts(visit_timeline([planned[0], planned[2]], own))


def test_labels_of_the_time_line_do_not_print_over_each_other():
    planned = [Session(id=f"ses-{n}", study_day=d, phase="bed_rest") for n, d in enumerate((1, 2, 4, 30, 31, 60))]
    figure = visit_timeline(planned, pd.DataFrame(columns=["session", "study_day", "scan_time", "minutes_supine"]))
    figure.draw_without_rendering()
    boxes = [t.get_window_extent() for t in figure.axes[0].texts]
    assert len(boxes) == 6
    assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[n + 1:])
    right = figure.axes[0].get_window_extent().x1
    assert max(b.x1 for b in boxes) <= right


def test_the_groups_spread_and_the_limits_lie_behind_a_subjects_line(measures, change):
    mine = measures[measures["subject"] == "s0"], change[change["subject"] == "s0"]
    bands = change_bands(change[(change["group"] == "rest") & (change["source"] == "automatic")])
    row = bands.set_index(["level", "session"]).loc[("L4-L5", "ses-2")]
    own = change[(change["group"] == "rest") & (change["source"] == "automatic") & (change["level"] == "L4-L5")
                 & (change["session"] == "ses-2")]["change_percent"]
    assert row["n"] == 4 and row["mean_percent"] == pytest.approx(own.mean())
    assert row["high_percent"] - row["low_percent"] == pytest.approx(2 * own.std(ddof=1))
    limits = mine[1][mine[1]["source"] == "automatic"].assign(
        limit_low_percent=-3.0, limit_high_percent=3.1, limit_from="repeated scans of this study")
    figure = subject_trajectories(*mine, bands=bands, limits=limits)
    assert "mean and ± 1 SD (n ≤ 4)" in texts(figure) and "within error (repeated scans" in texts(figure)
    panel = next(a for a in figure.axes if a.get_title(loc="left") == "L4-L5")
    grey, blue = (c.get_paths()[0].get_extents() for c in panel.collections[:2])
    assert (grey.y0, grey.y1) == (-3.0, 3.1) and (grey.x0, grey.x1) == (-3.0, 74.0)
    assert blue.y1 == pytest.approx(row["high_percent"])


def test_flow_names_who_was_lost_and_who_was_left_out():
    row = {"group": "a", "session": "ses-1", "enrolled": 5, "scanned": 5, "segmented": 5, "measured": 4, "passed_qc": 4,
           "analysed": 3, "discs_expected": 35, "discs_analysed": 20}
    out = {**row, "group": "(left out)", "enrolled": 2, **dict.fromkeys(
        ["scanned", "segmented", "measured", "passed_qc", "analysed", "discs_expected", "discs_analysed"], 0)}
    words = texts(flow_diagram(pd.DataFrame([out, row]), groups=["a"], sessions=["ses-1"]))
    assert "enrolled (n = 7)" in words and "left out (n = 2)" in words and "a (n = 5)" in words
    assert "measured 4 (1 lost)" in words and "analysed 3 (1 lost)" in words and "discs analysed 20 of 35" in words


@pytest.mark.parametrize("kind", ["quantiles", "fitted"])
def test_residuals_are_drawn_as_stored(kind):
    values = np.array([1.5, -0.5, 0.2])
    rows = pd.DataFrame({"source": "automatic", "model_level": "L4-L5", "fitted_mm3": [9e3, 1e4, 1.1e4],
                         "residual_scaled": values})
    panel = residual_panels(rows, source="automatic", kind=kind).axes[0]
    dots = next(line for line in panel.lines if line.get_marker() == "o")
    expected = np.sort(values) if kind == "quantiles" else values
    assert np.allclose(dots.get_ydata(), expected)
    assert "no model" in texts(residual_panels(rows, source="reference", kind=kind))


@pytest.fixture
def tilted(rng) -> VisitView:
    """A box of 40 x 30 x 10 mm as L4-L5, turned by 20 degrees about the left-right axis; intensity = height in it."""
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = -40.0, -45.0, -30.0
    grid = Grid((41, 91, 61), affine)
    x, y, z = (affine[:3, :3] @ np.indices(grid.shape).reshape(3, -1) + affine[:3, 3:]).reshape(3, *grid.shape)
    turn = np.deg2rad(20)
    front, head = np.cos(turn) * y + np.sin(turn) * z, -np.sin(turn) * y + np.cos(turn) * z
    inside = (abs(x) <= 20) & (abs(front) <= 15) & (abs(head) <= 5)
    return VisitView("v", Volume((100 + head).astype(np.float32), grid), LabelMap(inside.astype(np.int32) * 2, grid))


def test_a_discs_plane_follows_its_tilt(tilted):
    plane = disc_plane(tilted, "L4-L5")
    assert np.degrees(np.arccos(np.cross(plane.right, plane.up) @ [0, 0, 1])) % 180 == pytest.approx(160, abs=2)
    image = cut_image(tilted.image, plane)
    middle = image[20:-20, 20:-20]
    assert np.abs(middle - 100).max() < 1.5  # the same height in the disc all over: nothing but the disc is cut
    outline = np.concatenate(cut_outlines(regions_of(tilted.mask), plane)[2]) * plane.pixel_mm
    assert np.ptp(outline, axis=0) == pytest.approx([41, 30], abs=1.5)
    assert disc_plane(tilted, "L5-S1") is None


def test_slices_of_two_visits_lie_at_the_same_place_in_the_body(tilted):
    shift = np.array([6.0, -4.0, 9.0])
    moved = tilted.image.grid.affine_ras_mm.copy()
    moved[:3, 3] += shift
    grid = Grid(tilted.image.grid.shape, moved)
    again = VisitView("w", Volume(tilted.image.data, grid), LabelMap(tilted.mask.data, grid))
    first, second = sagittal_planes([tilted, again])
    assert second.centre_mm - first.centre_mm == pytest.approx(shift) and first.bounds_mm == second.bounds_mm
    assert np.array_equal(cut_image(tilted.image, first), cut_image(again.image, second))
    side = np.array([30.0, 0, 0])  # beside the disc: nothing to outline
    assert cut_outlines(regions_of(tilted.mask), first.moved(side)) == {}


def test_discs_in_their_planes_say_which_were_not_measured(tilted):
    words = texts(axial_views([tilted], {"L4-L5": "changed most", "L5-S1": ""}))
    assert "L4-L5\nchanged most" in words and "not measured" in words


def bars(figure, level: str) -> list[np.ndarray]:
    """Ends of the error bars of a panel, one array of two points a bar."""
    panel = next(a for a in figure.axes if a.get_title(loc="left") == level)
    return [segment for c in panel.containers if isinstance(c, ErrorbarContainer) for segment in c[2][0].get_segments()]


def test_intervals_are_drawn_where_there_are_any(measures):
    mine = measures[measures["subject"] == "s0"].copy()
    known = (mine["source"] == "automatic") & (mine["level"] != "L5-S1")
    mine.loc[known, "volume_repeat_sd_mm3"] = 100.0
    change = change_frame(mine, reference_session="ses-1")
    figure = subject_trajectories(mine, change)
    rows = change[(change["level"] == "L4-L5") & (change["source"] == "automatic")]
    drawn = bars(figure, "L4-L5")
    assert np.allclose([b[:, 0] for b in drawn], [[60, 60], [74, 74]])  # none at the reference visit, none of reference
    assert np.allclose([b[:, 1] for b in drawn], rows[["ci_low_percent", "ci_high_percent"]])
    assert bars(figure, "L5-S1") == [] and "95 % interval" in texts(figure)
    without = change.assign(ci_low_percent=np.nan, ci_high_percent=np.nan)
    assert "interval" not in texts(subject_trajectories(mine, without))
