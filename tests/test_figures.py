"""Figures draw what the tables hold, have units, fit their page, and come out the same twice."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.text import Text

from analysis.figures.change import arvd_heat_map, forest
from analysis.figures.display import table
from analysis.figures.overlays import VisitView, sagittal_views
from analysis.figures.style import save_figure
from analysis.figures.trajectories import cohort_trajectories, subject_trajectories
from analysis.schemas import CONTRASTS, MEASURES
from analysis.stats.cohort_models import joint_model, level_models
from analysis.stats.estimates import contrasts_frame
from analysis.stats.responses import Choices, observations
from analysis.tables.arvd import arvd_frame
from analysis.tables.change import change_frame
from analysis.types import Grid, LabelMap, Volume
from analysis.vocabulary import LEVELS

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
    choices = Choices(("rest", "exercise"), tuple(v[0] for v in VISITS), "ses-1")
    data = observations(measures, source="automatic", subjects=subjects, sessions=measures, choices=choices)
    return contrasts_frame([*level_models(data, choices), joint_model(data, choices)], subjects)


def texts(figure) -> str:
    return " ".join(t.get_text() for t in figure.findobj(Text))


def test_a_subjects_lines_are_its_changes(measures, change):
    mine = measures[measures["subject"] == "s0"], change[change["subject"] == "s0"]
    figure = subject_trajectories(*mine, unit="percent")
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
    assert "not measured" in texts(subject_trajectories(mine, changes, unit="percent"))


def test_forest_states_n_and_unit(contrasts):
    figure = forest(contrasts, source="automatic")
    assert "n = 4" in texts(figure) and "volume change (%)" in texts(figure)


def test_cohort_figure_names_its_groups_with_n(change, contrasts):
    words = texts(cohort_trajectories(change, contrasts, source="automatic"))
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


def bars(figure, level: str) -> list[np.ndarray]:
    """Ends of the error bars of a panel, one array of two points a bar."""
    panel = next(a for a in figure.axes if a.get_title(loc="left") == level)
    return [segment for c in panel.containers if isinstance(c, ErrorbarContainer) for segment in c[2][0].get_segments()]


def test_intervals_are_drawn_where_there_are_any(measures):
    mine = measures[measures["subject"] == "s0"].copy()
    known = (mine["source"] == "automatic") & (mine["level"] != "L5-S1")
    mine.loc[known, "volume_repeat_sd_mm3"] = 100.0
    change = change_frame(mine, reference_session="ses-1")
    figure = subject_trajectories(mine, change, unit="percent")
    rows = change[(change["level"] == "L4-L5") & (change["source"] == "automatic")]
    drawn = bars(figure, "L4-L5")
    assert np.allclose([b[:, 0] for b in drawn], [[60, 60], [74, 74]])  # none at the reference visit, none of reference
    assert np.allclose([b[:, 1] for b in drawn], rows[["ci_low_percent", "ci_high_percent"]])
    assert bars(figure, "L5-S1") == [] and "95 % interval" in texts(figure)
    assert "interval" not in texts(subject_trajectories(mine, change, unit="mm3"))
    without = change.assign(ci_low_percent=np.nan, ci_high_percent=np.nan)
    assert "interval" not in texts(subject_trajectories(mine, without, unit="percent"))
