"""The figures of a study for a paper, each with its caption and the rows it shows. Draws stored tables only.

Widths are one or two journal columns, so that no journal has to scale a figure and its letters with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from bedrest import schemas
from bedrest.figures.agreement import change_agreement, volume_agreement
from bedrest.figures.change_intervals import absolute_change, arvd_heat_map, forest
from bedrest.figures.diagnostics import residual_panels
from bedrest.figures.flow import flow_diagram
from bedrest.figures.style import PRINT_DPI, save_figure
from bedrest.figures.trajectories import cohort_trajectories, group_volumes
from bedrest.io.files import write_text
from bedrest.io.results import StudyResults
from bedrest.measurement.registry import VOLUME
from bedrest.settings import Study
from bedrest.statistics.study.summary import absolute_change_means, group_means
from bedrest.vocabulary import Family

SOURCE = "automatic"  # the series measured by the network


@dataclass(frozen=True, eq=False)
class PublicationFigure:
    """One figure as printed in a paper."""

    name: str  # file name without ending
    figure: Figure
    data: pd.DataFrame  # the rows shown, with the columns of the table they come from.
    caption: str  # with n and units.


def publication_figures(study: Study, results: StudyResults) -> Iterator[PublicationFigure]:
    """The figures, one after the other; a figure without rows is left out.

    Raises ManifestError, ManyProblems: a stored table is missing or departs from its schema.
    """
    ending = f" {study.description}" if study.description else ""
    for item in (*_of_subjects(study, results), *_of_change(study, results), *_of_models(results),
                  *_against_reference(results)):
        yield PublicationFigure(item.name, item.figure, item.data, item.caption + ending)


def save_publication_figures(study: Study, results: StudyResults, folder: Path) -> list[Path]:
    """Write each figure as PDF, SVG and PNG at print resolution, its rows as CSV, and all captions as captions.md.

    Returns: of every file written. Raises OutputError: a file cannot be written.
    """
    written, captions = [], []
    for item in publication_figures(study, results):
        written += save_figure(item.figure, folder / item.name, data=item.data, dpi=PRINT_DPI)
        captions.append(f"**{item.name}**: {item.caption}\n")
    write_text(folder / "captions.md", "\n".join(captions))
    return [*written, folder / "captions.md"]


def _of_subjects(study: Study, results: StudyResults) -> Iterator[PublicationFigure]:
    flow, measures = results.read(schemas.FLOW), results.read(schemas.MEASURES)
    yield PublicationFigure("flow", flow_diagram(flow, groups=study.groups, sessions=study.session_ids), flow,
                            "Flow of subjects: those enrolled, and at each visit those scanned, measured and analysed, "
                            f"n = {flow.groupby('group')['enrolled'].max().sum()}.")
    means = group_means(measures[measures["source"] == SOURCE])
    if (means["n"] > 0).any():
        n = measures.loc[measures[VOLUME.name].notna(), "subject"].nunique()
        yield PublicationFigure("volumes", group_volumes(means, source=SOURCE), means,
                                f"Mean disc volume (mm³) by group and visit, n = {n} subjects; bars are "
                                f"{100 * means['confidence_level'].iloc[0]:g} % t intervals of the mean.")


def _of_change(study: Study, results: StudyResults) -> Iterator[PublicationFigure]:
    change, contrasts = (results.read(t, measure=VOLUME.name) for t in (schemas.CHANGE, schemas.CONTRASTS))
    rows_automatic, tests = change[change["source"] == SOURCE], contrasts[contrasts["source"] == SOURCE]
    since = f"since {study.reference_session}"
    if len(rows_automatic):
        n = rows_automatic.loc[rows_automatic["change_percent"].notna(), "subject"].nunique()
        level = f"{100 * study.statistics.confidence_level:g} % intervals"
        figure = cohort_trajectories(change, contrasts, source=SOURCE, start=study.reference_day)
        yield PublicationFigure("trajectories", figure, rows_automatic,
                                f"Volume change of each disc {since} (%), n = {n} subjects; thin lines are subjects, "
                                f"thick ones estimates of the mixed model with {level}.")
        for between, name, what in ((False, "change_within_groups", "Volume change within groups"),
                                    (True, "change_between_groups", "Difference of volume change between groups")):
            rows = tests[(tests["comparison"] == Family.BETWEEN) == between]
            if len(rows):
                yield PublicationFigure(name, forest(contrasts, source=SOURCE, between=between), rows,
                                        f"{what} {since} (%), estimates of the mixed models with {level}; n = {n} "
                                        "subjects in all, n of each row at its right.")
    means = absolute_change_means(change)
    if (means["n"] > 0).any():
        sources = " and ".join(dict.fromkeys(means["source"]))
        discs = int(means.loc[(means["by"] == "level") & (means["source"] == means["source"].iloc[0]), "n"].sum())
        yield PublicationFigure("absolute_change", absolute_change(means), means,
                                f"Mean absolute volume change {since} (%) of each level and each subject, {sources} "
                                f"masks, n = {discs} changes of discs; thin bars are one SD over discs. Changes "
                                "missing from one source are left out of both.")


def _of_models(results: StudyResults) -> Iterator[PublicationFigure]:
    residuals = results.read(schemas.RESIDUALS)
    rows = residuals[residuals["source"] == SOURCE]
    for kind, words in (("quantiles", "against normal quantiles"), ("fitted", "against fitted volume")):
        if len(rows):
            yield PublicationFigure(f"residuals_{kind}", residual_panels(residuals, source=SOURCE, kind=kind), rows,  # type: ignore[arg-type]
                                    f"Scaled residuals of the mixed models {words}, n = {rows['subject'].nunique()} "
                                    "subjects.")


def _against_reference(results: StudyResults) -> Iterator[PublicationFigure]:
    accuracy, arvd = results.read(schemas.ACCURACY), results.read(schemas.ARVD)
    agreement = results.read(schemas.AGREEMENT, measure=VOLUME.name)
    limits = "the lines are bias and 95 % limits of agreement, the bands their intervals."
    rows = accuracy[accuracy["volume_predicted_mm3"].notna() & accuracy["volume_reference_mm3"].notna()]
    if len(rows):
        yield PublicationFigure("volume_agreement", volume_agreement(accuracy, agreement), rows,
                                f"Automatic against reference volume (mm³), n = {len(rows)} discs of "
                                f"{rows['subject'].nunique()} subject(s); {limits}")
    rows = arvd[arvd["signed_change_error"].notna()]
    if len(rows):
        yield PublicationFigure("change_agreement", change_agreement(arvd, agreement), rows,
                                f"Automatic against reference change of volume (mm³), n = {len(rows)} changes in "
                                f"{rows['subject'].nunique()} subject(s); {limits}")
    for session in dict.fromkeys(rows["session"]):
        of_session = arvd[arvd["session"] == session]
        n = of_session["subject"].nunique()
        for column, words in (("arvd", "arvd (Li et al. 2018, eq. 4), which ignores the sign of change"),
                              ("signed_change_error", "Signed change error; below 0, growth is underestimated")):
            figure = arvd_heat_map(arvd, column=column, session=session)  # type: ignore[arg-type]
            yield PublicationFigure(f"{column}_{session}", figure, of_session,
                                    f"{words}; % of the reference volume at the reference visit, {session}, "
                                    f"n = {n} subjects.")
