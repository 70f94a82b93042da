"""The words and tables of docs/scale.md, from what `pipelines.benchmarks.scale` measured. Measures nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from bedrest.io.tables.markdown import formatted, markdown_table

from pipelines.benchmarks.pages import origin
from pipelines.benchmarks.scale.growth import LARGEST_BYTES, LINEAR, growth
from pipelines.benchmarks.scale.synthetic_study import SAMPLE, VISITS
from pipelines.benchmarks.scale.workflow_parts import LOADING, NETWORK, NOTEBOOK

SCANS = 100_000  # of the estimate on paper
GB = 1e9
PAGE_STAGE = "one subject's page"
_HEAD = """# How large may a study be?

Everything here is synthetic: tables drawn from a seed ({visits} visits a subject, 7 discs, reference masks too, 5 % of
visits and 4 % of discs missing), images of full size for {sample} of the subjects, images of a few voxels for the
others. No network was run in the studies of many subjects; what it would have left was drawn.

{origin}
![Time and memory of every stage at each size; synthetic studies](figures/scale.png)

## Time and memory of every stage
"""
_GROWTH = """
*Further subject*: processor time that one subject more costs, between the two smallest sizes and between the two
largest. Up to {linear:g} times as much counts as linear. {verdict}
Most memory: {memory:.0f} MB ({stage}, {subjects:,} subjects); {allowed} 2 GB.

`workflow: every job` is Snakemake's own cost: the plan of all jobs, its book-keeping and a shell for each, with stages
that do nothing. `what changed` is what a run does first: it holds every file against the records of what was read and
written. `workflow: nothing to do` is Snakemake's cost where all records are there.
"""


def page_text(command: str, measured: pd.DataFrame, overhead: pd.DataFrame, pages: Sequence[Mapping[str, Any]],
              sizes: Mapping[str, float], *, csv: str) -> str:
    """The whole page.

    Parameters
    ----------
    command : as it was typed
    measured : DataFrame, as in `result_tables.SCALE`
    overhead : DataFrame, as in `result_tables.SCALE_PARTS`
    pages : mappings with subjects, page, bytes and, where a browser was there, seconds and elements
    sizes : bytes a scan of images, masks, page, thumbnails and slices
    csv : name of the table beside the page
    """
    head = _HEAD.format(visits=VISITS, sample=SAMPLE, origin=origin(
        command, "each stage ran alone, one thread",
        "**Processor seconds** are compared, since they depend little on what else the machine does; wall time is in "
        "the CSV.", "**Memory** is that of the stage and its children together, sampled every 20 ms; what they share "
        "counts for each.", f"every number: [{csv}]({csv}); figure below"))
    return "\n".join([head + _stages(measured), _pages(pages), _overhead(overhead, measured),
                      _estimate(overhead, measured, sizes)])


def _stages(measured: pd.DataFrame) -> str:
    counts = sorted(set(measured["subjects"]))
    at = measured.set_index(["stage", "subjects"])
    grown = growth(measured).set_index("stage")
    rows = [[stage, *(f"{at.loc[(stage, n), 'cpu_seconds']:.1f}" for n in counts),
             f"{at.loc[(stage, counts[-1]), 'peak_bytes'] / 1e6:.0f}", f"{costs['small_ms']:.1f}",
             f"{costs['large_ms']:.1f}", formatted(costs["ratio"], "{:.2f}")]
            for stage, costs in grown.iterrows()]
    head = ["stage", *(f"{n:,} subjects (s)" for n in counts), f"memory at {counts[-1]:,} (MB)",
            "further subject, few (ms)", "many (ms)", "ratio"]
    steep = list(grown.index[grown["ratio"] > LINEAR])
    most = measured.loc[measured["peak_bytes"].idxmax()]
    verdict = f"Steeper: {', '.join(steep)}." if steep else "No stage is steeper."
    return markdown_table(head, rows) + _GROWTH.format(
        linear=LINEAR, verdict=verdict, memory=most["peak_bytes"] / 1e6, stage=most["stage"],
        subjects=int(most["subjects"]), allowed="within" if most["peak_bytes"] <= LARGEST_BYTES else "above")


def _pages(pages: Sequence[Mapping[str, Any]]) -> str:
    rows = [[p["page"], f"{p['subjects']:,}", f"{p['bytes'] / 1e6:.2f}",
             f"{p['elements']:,}" if "elements" in p else "-",
             f"{p['seconds']:.1f}" if "seconds" in p else "not measured"] for p in pages]
    return ("## The pages of the whole cohort\n\n"
            + markdown_table(["page", "subjects", "size (MB)", "elements", "loaded after (s)"], rows)
            + "\nHeadless Chromium, from a file, on a machine that may be at other work. The cohort page shows 200 "
            "subjects, those with a visit to check before others, and 200 failures; the rest is a link away.\n")


def _overhead(parts: pd.DataFrame, measured: pd.DataFrame) -> str:
    a_scan = parts["cpu_seconds"] / parts["scans"]
    rows = [[r.stage, r.part, f"{s:.2f}", "" if r.counted else "not counted"]
            for r, s in zip(parts.itertuples(), a_scan, strict=True)]
    largest = int(measured["subjects"].max())
    whole = _whole_study(measured, largest)
    rows += [[stage, "all of it, at the largest size", f"{s:.2f}", ""] for stage, s in whole.items()]
    of_subject = float(a_scan[parts["counted"]].sum())
    total, smallest = of_subject + sum(whole.values()), int(measured["subjects"].min())
    small = of_subject + sum(_whole_study(measured, smallest).values())
    loading = float(a_scan[parts["part"] == LOADING].sum())
    met = "met" if total / 2 < 1 else "missed"
    return (f"## Where the time of a scan goes, the network and notebooks aside\n\nProcessor seconds a scan, one "
            f"synthetic subject of {VISITS} visits with four contrasts and reference masks:\n\n"
            + markdown_table(["stage", "part", "s a scan", ""], rows)
            + f"\nIn all {total:.2f} s of processor time a scan, {total / 2:.2f} s on two cores; target 1 s: {met}. "
            f"In a study of {smallest} subjects, where the stages of the whole study are shared by few scans, "
            f"{small:.2f} s, {small / 2:.2f} s on two cores. "
            f"Loading the network, twice a subject, is {loading:.2f} s of it; with `--batch N` it is paid once a "
            f"batch: {(total - loading) / 2:.2f} s on two cores for large batches.\n")


def _whole_study(measured: pd.DataFrame, subjects: int) -> dict[str, float]:
    """Processor seconds a scan of the stages of the whole study of this size, pages of notebooks left out."""
    cpu = measured[measured["subjects"] == subjects].set_index("stage")["cpu_seconds"]
    kept = ("tables", "statistics", "figures", "reports", "index", "provenance", "workflow: every job")
    return {stage: float(cpu[stage]) / (subjects * VISITS) for stage in kept if stage in cpu}


def _estimate(parts: pd.DataFrame, measured: pd.DataFrame, sizes: Mapping[str, float]) -> str:
    a_scan = (parts["cpu_seconds"] / parts["scans"]).groupby(parts["part"].isin([NETWORK])).sum()
    network, rest = float(a_scan.get(True, math.nan)), float(a_scan.get(False, math.nan))
    notebook = float((parts["cpu_seconds"] / parts["scans"])[parts["part"] == NOTEBOOK].sum())
    largest = measured[measured["subjects"] == measured["subjects"].max()]
    cohort = largest[~largest["stage"].isin(("prepare", PAGE_STAGE, "what changed", "workflow: nothing to do"))]
    alone = float(cohort["cpu_seconds"].sum()) / (largest["subjects"].max() * VISITS)
    hours = SCANS / 3600
    rows = [[kind, f"{size / 1e6:.2f}", f"{size * SCANS / GB:,.0f}"] for kind, size in sizes.items()]
    kept = sum(size for kind, size in sizes.items() if kind != "images")
    return (f"## {SCANS:,} scans, on paper\n\n25,000 subjects of four visits; nothing of that size was run. Numbers "
            "above, carried on as straight lines. Synthetic images compress otherwise than real ones.\n\n"
            + markdown_table(["storage", "MB a scan", f"GB for {SCANS:,}"], rows)
            + f"\n- **Storage**: {kept * SCANS / GB:,.0f} GB of results beside the images.\n"
            f"- **Network**: {network:.1f} s of processor time a scan, {network * hours:,.0f} core hours. A GPU was "
            "never measured, so GPU hours are not known; core hours stand in their place.\n"
            f"- **Everything else of a subject**: {rest:.1f} s a scan, {rest * hours:,.0f} core hours, of which "
            f"{notebook * hours:,.0f} are notebooks of the subjects' pages.\n"
            f"- **Stages of the whole study**: {alone * hours:,.1f} core hours in a row, on one core: they cannot be "
            "spread. Memory grows with them: " + _memory(measured) + "\n"
            f"- **Bottleneck**: with 100 cores the spread part takes {(network + rest) * hours / 100:,.0f} hours, the "
            f"stages of the whole study {alone * hours:,.1f}. Beyond some thousand subjects split the study, or let "
            "the cohort's pages wait until all subjects are measured.\n")


def _memory(measured: pd.DataFrame) -> str:
    """Peak memory of the hungriest stage carried on to the size on paper, as a straight line."""
    counts = sorted(set(measured["subjects"]))
    at = measured.set_index(["stage", "subjects"])["peak_bytes"]
    subjects = SCANS / VISITS
    reached = {}
    for stage in dict.fromkeys(measured["stage"]):
        low, high = at[(stage, counts[-2])], at[(stage, counts[-1])]
        reached[stage] = high + (high - low) / (counts[-1] - counts[-2]) * (subjects - counts[-1])
    most = max(reached, key=reached.__getitem__)
    return f"{most} would need {reached[most] / GB:.0f} GB, carried on as a straight line."
