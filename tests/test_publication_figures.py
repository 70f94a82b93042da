"""Publication figures: journal widths, print resolution, embedded fonts of 7 to 9 pt, room for every word, and data
that are the tables' own rows."""

import itertools
import re
import struct
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bedrest import schemas
from bedrest.cli import main
from bedrest.figures.change_intervals import absolute_change, forest
from bedrest.figures.publication import PublicationFigure, publication_figures
from bedrest.figures.style import save_figure
from bedrest.io.results import StudyResults
from bedrest.statistics.study.summary import absolute_change_means
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

TABLE_OF = {"flow": schemas.FLOW, "residuals_quantiles": schemas.RESIDUALS, "residuals_fitted": schemas.RESIDUALS,
            "trajectories": schemas.CHANGE, "change_within_groups": schemas.CONTRASTS,
            "change_between_groups": schemas.CONTRASTS, "volume_agreement": schemas.ACCURACY,
            "change_agreement": schemas.ARVD}
NAMES = ["flow", "volumes", "trajectories", "change_within_groups", "change_between_groups", "absolute_change",
         "residuals_quantiles", "residuals_fitted", "volume_agreement", "change_agreement", "arvd_ses-2",
         "signed_change_error_ses-2"]
IN_FULL = ("flow", "trajectories", "absolute_change", "arvd_ses-2")  # the others are saved alike
POINTS_PER_MM = 72 / 25.4


@pytest.fixture(scope="module")
def drawn(stored_once) -> dict[str, PublicationFigure]:
    return {f.name: f for f in publication_figures(*stored_once)}


@pytest.fixture(scope="module")
def folder(stored_once, drawn, tmp_path_factory) -> Path:
    """What `bedrest figures -o` writes, of some figures the data alone."""
    out = tmp_path_factory.mktemp("figures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bedrest.figures.publication.publication_figures", lambda *_: [drawn[n] for n in IN_FULL])
        assert main(["figures", str(stored_once[0].path), "-o", str(out)]) == 0
    for name in set(NAMES) - set(IN_FULL):
        save_figure(drawn[name].figure, out / name, data=drawn[name].data, endings=())
    return out


def test_every_figure_comes_in_every_format_with_its_data(drawn, folder):
    assert list(drawn) == NAMES
    assert {p.name for p in folder.iterdir()} == {
        "captions.md", *(f"{n}.{e}" for n in IN_FULL for e in ("pdf", "svg", "png")), *(f"{n}.csv" for n in NAMES)}
    assert (folder / "captions.md").read_text().count("**") == 2 * len(IN_FULL)


@pytest.mark.parametrize("name", IN_FULL)
def test_width_resolution_and_fonts_of_the_files(folder, name):
    pdf = (folder / f"{name}.pdf").read_bytes()
    box = re.search(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)", pdf)
    width_mm = float(box[1]) / POINTS_PER_MM
    assert 85 <= width_mm <= 90 or 170 <= width_mm <= 180.01
    png = (folder / f"{name}.png").read_bytes()
    pixels = struct.unpack(">I", png[16:20])[0]
    assert pixels == pytest.approx(width_mm / 25.4 * 600, abs=2)
    at = png.index(b"pHYs")
    per_metre, _, unit = struct.unpack(">IIB", png[at + 4:at + 13])
    assert unit == 1 and per_metre * 0.0254 == pytest.approx(600, abs=0.5)
    fonts = re.findall(rb"/BaseFont\s*/(\S+)", pdf)
    assert fonts and all(b"DejaVuSans" in f for f in fonts)
    assert pdf.count(b"/FontFile2 ") == len(set(re.findall(rb"/FontName\s*/(\S+)", pdf)))
    sizes = {float(s) for s in re.findall(r"font-size: ([\d.]+)px", (folder / f"{name}.svg").read_text())}
    assert sizes and min(sizes) >= 7 and max(sizes) <= 9


def test_pdffonts_finds_every_font_embedded(folder):
    try:
        told = subprocess.run(["pdffonts", folder / "trajectories.pdf"], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("pdffonts (poppler) is not there")
    rows = told.stdout.splitlines()[2:]
    assert rows and all(row.split()[-5] == "yes" for row in rows)  # name type encoding emb sub uni object ID


@pytest.mark.parametrize("name", TABLE_OF)
def test_data_beside_a_figure_are_rows_of_the_table(stored_once, folder, name):
    table = TABLE_OF[name]
    whole = pd.read_csv(stored_once[1].table(table), dtype=str).fillna("")
    shown = pd.read_csv(folder / f"{name}.csv", dtype=str).fillna("")
    assert list(shown.columns) == list(whole.columns) and len(shown)
    pd.testing.assert_frame_equal(shown, shown.merge(whole, how="inner"), check_dtype=False)
    if name == "trajectories":
        assert len(shown) == (whole["source"] == "automatic").sum()
    if name == "volume_agreement":
        assert len(shown) == (whole["volume_predicted_mm3"] != "").sum()


def test_volumes_are_the_means_of_measures(stored_once, folder):
    measures = pd.read_csv(stored_once[1].table(schemas.MEASURES), dtype={"subject": str})
    shown = pd.read_csv(folder / "volumes.csv").query("n > 0")
    own = measures[(measures["source"] == "automatic") & (measures["status"] != "failed")]
    key = ["group", "session", "level"]
    volumes = own.groupby(key)["volume_mm3"]
    found = shown.set_index(key)
    assert found["mean_mm3"].to_dict() == pytest.approx(volumes.mean().to_dict(), rel=1e-12)
    assert found["n"].to_dict() == volumes.count().to_dict()


def test_heat_maps_share_the_rows_of_their_visit(stored_once, folder):
    whole = pd.read_csv(stored_once[1].table(schemas.ARVD), dtype=str).fillna("")
    for column in ("arvd", "signed_change_error"):
        shown = pd.read_csv(folder / f"{column}_ses-2.csv", dtype=str).fillna("")
        pd.testing.assert_frame_equal(shown, whole[whole["session"] == "ses-2"].reset_index(drop=True))


def test_absolute_change_is_the_mean_of_the_tables_absolute_changes(stored_once, folder):
    change = pd.read_csv(stored_once[1].table(schemas.CHANGE), dtype={"subject": str})
    shown = pd.read_csv(folder / "absolute_change.csv")
    wide = change.pivot(index=["subject", "level", "session"], columns="source", values="change_percent").dropna()
    for row in shown.itertuples():
        own = wide.xs(row.session, level="session").xs(row.name, level=row.by)[row.source].abs()
        assert row.n == len(own)
        assert row.mean_absolute_percent == pytest.approx(own.mean(), rel=1e-12, nan_ok=True)
        assert row.sd_percent == pytest.approx(own.std(ddof=1), rel=1e-12, nan_ok=True)
    assert set(shown["source"]) == {"automatic", "reference"} and set(shown["by"]) == {"level", "subject"}


def test_absolute_change_by_hand():
    rows = [("a", "L4-L5", 3.0), ("b", "L4-L5", -5.0), ("a", "L5-S1", np.nan), ("b", "L5-S1", -1.0)]
    change = pd.DataFrame(rows, columns=["subject", "level", "change_percent"]).assign(
        session="ses-2", source="automatic", study_day=60.0)
    means = absolute_change_means(change).set_index("name")
    assert means["mean_absolute_percent"].to_dict() == {"L4-L5": 4.0, "L5-S1": 1.0, "a": 3.0, "b": 3.0}
    assert means["n"].to_dict() == {"L4-L5": 2, "L5-S1": 1, "a": 1, "b": 2}
    assert means.at["L4-L5", "sd_percent"] == pytest.approx(np.sqrt(2)) and np.isnan(means.at["a", "sd_percent"])
    heights = sorted(p.get_height() for a in absolute_change(means.reset_index()).axes for p in a.patches)
    assert heights == [1.0, 3.0, 3.0, 4.0]


def _boxes(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    hidden = {id(t) for a in figure.axes if not a.axison for t in a.findobj(Text)}
    shown = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible() and id(t) not in hidden]
    return {t: t.get_window_extent(canvas.get_renderer()) for t in dict.fromkeys(shown)}


def _drawn_texts(figure):
    """Boxes of the words that are drawn: ticks beyond the axis' limits are not."""
    boxes = _boxes(figure)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            inside = {id(t) for tick in axis._update_ticks() for t in (tick.label1, tick.label2)}
            every = [t for tick in axis.get_major_ticks() for t in (tick.label1, tick.label2)]
            boxes = {t: b for t, b in boxes.items() if id(t) in inside or all(t is not e for e in every)}
    return boxes


def room(figure) -> list[str]:
    """What is clipped by the page or printed over something else."""
    boxes = _drawn_texts(figure)
    page, faults = figure.bbox, []
    for text, box in boxes.items():
        if box.x0 < -0.5 or box.y0 < -0.5 or box.x1 > page.width + 0.5 or box.y1 > page.height + 0.5:
            faults.append(f"clipped: {text.get_text()!r}")
    for (one, a), (other, b) in itertools.combinations(boxes.items(), 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        along = min(a.y1, b.y1) - max(a.y0, b.y0)
        if across > 1 and along > 1:
            faults.append(f"{one.get_text()!r} over {other.get_text()!r}")
    return faults


@pytest.mark.parametrize("name", NAMES)
def test_every_word_has_room_and_axes_have_units(drawn, name):
    figure, caption = drawn[name].figure, drawn[name].caption
    assert room(figure) == []
    assert "n = " in caption and "Synthetic study" in caption
    words = " ".join(t.get_text() for t in figure.findobj(Text))
    assert name == "flow" or re.search(r"\((1|%|mm³|% of Vg1)\)", words)
    assert {t.get_fontsize() for t in _boxes(figure)} <= {7, 8, 9}
    assert round(25.4 * figure.get_figwidth()) in (88, 180)


def test_room_is_really_looked_at(drawn, stored_once):
    contrasts = stored_once[1].read(schemas.CONTRASTS)
    figure = forest(contrasts, source="automatic")
    figure.text(0.99, 0.5, "beyond the page")
    figure.text(0.3, 0.3, "one"), figure.text(0.3, 0.3, "two")
    told = room(figure)
    assert "clipped: 'beyond the page'" in told and "'one' over 'two'" in told


@pytest.mark.parametrize("copies", [6, 7])  # 24 subjects and 28: names below the bars, and none
def test_many_subjects_have_room(stored_once, copies):
    change = stored_once[1].read(schemas.CHANGE)
    many = pd.concat([change.assign(subject=change["subject"] + f"-{k}") for k in range(copies)])
    figure = absolute_change(absolute_change_means(many))
    assert room(figure) == []
    words = " ".join(t.get_text() for t in figure.findobj(Text))
    assert ("subjects (n = 28)" in words) == (copies == 7) and ("sub-04-5" in words) == (copies == 6)


def test_one_visit_fits_one_column(stored_once, tmp_path):
    contrasts = stored_once[1].read(schemas.CONTRASTS)
    figure = forest(contrasts, source="automatic")
    assert figure.get_figwidth() * 25.4 == pytest.approx(88) and room(figure) == []
    assert save_figure(figure, tmp_path / "f", endings=("png",), dpi=100)[0].stat().st_size > 0


def test_without_results_the_remedy_is_named(stored, capsys):
    study, results = stored
    results.table(schemas.CONTRASTS).unlink()
    assert main(["figures", str(study.path)]) == 1
    assert "bedrest run" in capsys.readouterr().err


def test_by_default_they_lie_beside_the_results(stored, monkeypatch):
    study, results = stored
    called = []
    monkeypatch.setattr("bedrest.figures.publication.save_publication_figures",
                        lambda _study, of, folder: called.append((of, folder)))
    monkeypatch.setattr("bedrest.pages.index.write_index", lambda *_: called.append("index"))
    monkeypatch.setattr("bedrest.stages.provenance.write_provenance", lambda *_: called.append("provenance"))
    assert main(["figures", str(study.path)]) == 0
    assert called == [(StudyResults(study.output_dir), results.figures), "index", "provenance"]
