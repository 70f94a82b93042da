"""A viewer of slices and discs of every visit side by side, without scripts or network; thumbnails.

Each position is a radio button, so a click or the arrow keys move through them in any browser, from a file, and where
scripts are stripped. Outlines are vectors over WebP pictures, which keeps them sharp and lets them be hidden.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from IPython.display import HTML
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bedrest.figures.scans.overlays import AUTOMATIC, BEFORE, REFERENCE
from bedrest.figures.scans.planes import (
    RIGHT_OF_PATIENT,
    Outlines,
    Plane,
    Regions,
    VisitView,
    cut_image,
    cut_outlines,
    disc_plane,
    regions_of,
    sagittal_planes,
    window_of,
)
from bedrest.vocabulary import LEVELS, level_name

MOST_PICTURES = 130  # of all visits together: a page stays under 3 MB
MOST_SLICES = 21
STEP_MM = 2.5
THUMBNAIL_ROWS = 150
_QUALITY = 55


@dataclass(frozen=True)
class _Frame:
    """One position: its name on the button, in words, and a picture of each visit."""

    name: str
    words: str
    pictures: list[str]


def slice_viewer(views: Sequence[VisitView]) -> HTML:
    """Sagittal slices of all visits, at the same distance from the middle of the discs.

    `views`: in the order of the visits.
    """
    if not views:
        return HTML("<p>No visit could be segmented: nothing to show.</p>")
    planes = sagittal_planes(views)
    window = window_of([cut_image(v.image, p) for v, p in zip(views, planes, strict=True)])
    masks = [_masks(v) for v in views]
    reach = max(1, min(MOST_SLICES, MOST_PICTURES // len(views)) // 2)
    frames = []
    for n in range(-reach, reach + 1):
        shift = n * STEP_MM
        side = "the middle of the discs" if n == 0 else (
            f"{abs(shift):g} mm to the {'right' if n > 0 else 'left'} of the middle")
        pictures = [_picture(v, d, p.moved(shift * RIGHT_OF_PATIENT), window)
                    for v, d, p in zip(views, masks, planes, strict=True)]
        frames.append(_Frame(f"{shift:+g}" if n else "0", f"Sagittal slice: {side}.", pictures))
    return _viewer("slices", frames, first=reach, bar="bar ticks")


def disc_viewer(views: Sequence[VisitView]) -> HTML:
    """Every named disc in the plane of the disc, at all visits.

    `views`: in the order of the visits.
    """
    frames, masks = [], [_masks(v) for v in views]
    for level in LEVELS:
        planes = [disc_plane(v, level) for v in views]
        there = [(v, p) for v, p in zip(views, planes, strict=True) if p is not None]
        if not there:
            continue
        window = window_of([cut_image(v.image, p) for v, p in there])
        pictures = [_picture(v, d, p, window) if p is not None else _blank(v, f"{level} not measured")
                    for v, d, p in zip(views, masks, planes, strict=True)]
        frames.append(_Frame(level, f"{level} in the plane of the disc: front at the top, right side on the left.",
                             pictures))
    if not frames:
        return HTML("<p>No named disc to show.</p>")
    names = [f.name for f in frames]
    return _viewer("discs", frames, first=names.index("L4-L5") if "L4-L5" in names else 0, bar="bar")


def thumbnail(view: VisitView) -> bytes:
    """The mid-sagittal slice of a visit with its outlines, small, as WebP."""
    plane = sagittal_planes([view])[0]
    image = cut_image(view.image, plane)
    grey = Image.fromarray(_bytes(image, window_of([image]))).convert("RGB")
    scale = THUMBNAIL_ROWS / grey.height
    small = grey.resize((max(1, round(grey.width * scale)), THUMBNAIL_ROWS), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(small)
    for lines in cut_outlines(regions_of(view.mask), plane).values():
        for line in lines:
            pen.line([(float(x), float(y)) for x, y in line * scale], fill=AUTOMATIC, width=1)
    return _webp(small)


def _viewer(key: str, frames: Sequence[_Frame], *, first: int, bar: str) -> HTML:
    """One box of radio buttons and frames; the style travels with it, so it works in the notebook, too."""
    radios = "".join(f'<input type="radio" name="{key}" id="{key}-{n}" aria-label="{escape(f.words)}"'
                     f'{" checked" if n == first else ""}>' for n, f in enumerate(frames))
    labels = "".join(f'<label for="{key}-{n}" title="{escape(f.words)}"><span>{escape(f.name)}</span></label>'
                     for n, f in enumerate(frames))
    shown = "".join(f'<div class="frame"><p class="caption">{escape(f.words)}</p>'
                    f'<div class="visits">{"".join(f.pictures)}</div></div>' for f in frames)
    rules = "".join(f"#{key}-{n}:checked~.frames>:nth-child({n + 1}){{display:block}}"
                    f"#{key}-{n}:checked~.bar>:nth-child({n + 1}){{background:#0b5cad;color:#fff}}"
                    for n in range(len(frames)))
    return HTML(f'<style>{_STYLE}{rules}</style><div class="viewer" id="{key}">{radios}'
                f'<input type="checkbox" id="{key}-lines" class="lines" checked>'
                f'<div class="{bar}">{labels}</div>'
                f'<p class="small hint">Click a position, then use the arrow keys. '
                f'<label for="{key}-lines" class="toggle">outlines on / off</label></p>'
                f'<div class="frames">{shown}</div></div>')


_STYLE = (
    ".viewer{position:relative;margin:8px 0 26px}.viewer>input{position:absolute;opacity:0;top:0}"
    ".viewer .bar{display:flex;gap:2px;flex-wrap:wrap;max-width:760px}"
    ".viewer .bar label{flex:1 1 0;min-width:13px;padding:5px 0;text-align:center;background:#dde4eb;cursor:pointer;"
    "font-size:.8rem;border-radius:3px;white-space:nowrap}.viewer .bar:not(.ticks) label{min-width:64px}"
    ".viewer .ticks span{font-size:.62rem}"
    ".viewer>input:focus-visible~.bar{outline:2px solid #e69f00;outline-offset:3px}"
    ".viewer .toggle{cursor:pointer;text-decoration:underline;color:#0b5cad}"
    ".viewer .frame{display:none}.viewer .visits{display:flex;flex-wrap:wrap;gap:6px}"
    ".viewer figure{margin:0;flex:1 1 200px;max-width:300px}.viewer figcaption{font-size:.8rem;text-align:center}"
    ".viewer svg{width:100%;height:auto;display:block;margin:0;background:#000}"
    ".viewer .none{border:1px dashed #b8c4d0;color:#5a6775;padding:40px 8px;text-align:center;margin:0}"
    ".viewer path{fill:none;stroke-width:1.3;vector-effect:non-scaling-stroke}"
    f".viewer .measured{{stroke:{AUTOMATIC}}}.viewer .manual{{stroke:{REFERENCE};stroke-dasharray:4 3}}"
    f".viewer .before{{stroke:{BEFORE};stroke-dasharray:3 2}}"
    ".viewer text{fill:#fff;font-size:8px;font-family:inherit;text-anchor:start}"
    ".viewer .lines:not(:checked)~.frames path{display:none}"
    "@media(max-width:600px){.viewer figure{flex-basis:105px}.viewer text{font-size:12px}"
    ".viewer .ticks label:not(:nth-child(10n+1)) span{visibility:hidden}}"
)


def _picture(view: VisitView, masks: Mapping[str, Regions], plane: Plane, window: tuple[float, float]) -> str:
    rows, columns = plane.shape
    data = b64encode(_webp(Image.fromarray(_bytes(cut_image(view.image, plane), window)))).decode()
    outlines = {kind: cut_outlines(regions, plane) for kind, regions in masks.items()}
    paths = [_path(lines, kind) for kind, lines in outlines.items()]
    measured = outlines["measured"] if rows > 1.2 * columns else {}  # one disc alone is named above
    names = "".join(_name(label, lines) for label, lines in measured.items())
    return (f'<figure><svg viewBox="0 0 {columns} {rows}" role="img" aria-label="{escape(view.title)}">'
            f'<image href="data:image/webp;base64,{data}" width="{columns}" height="{rows}"/>{"".join(paths)}{names}'
            f"</svg><figcaption>{escape(view.title)}</figcaption></figure>")


def _blank(view: VisitView, words: str) -> str:
    return f'<figure><p class="none">{words}</p><figcaption>{escape(view.title)}</figcaption></figure>'


def _masks(view: VisitView) -> dict[str, Regions]:
    """The masks of a visit by the class of their outlines, the last one on top."""
    masks = {"before": view.before, "measured": view.mask, "manual": view.reference}
    return {kind: regions_of(m) for kind, m in masks.items() if m is not None}


def _path(outlines: Outlines, kind: str) -> str:
    words = "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in line) for lines in outlines.values()
                    for line in lines)
    return f'<path class="{kind}" d="{words}"/>' if words else ""


def _name(label: int, lines: list[NDArray[np.float64]]) -> str:
    """The disc's name behind it: in a sagittal view, to the right."""
    spots = np.concatenate(lines)
    return f'<text x="{spots[:, 0].max() + 4:.0f}" y="{spots[:, 1].mean() + 3:.0f}">{escape(level_name(label))}</text>'


def _bytes(image: NDArray[Any], window: tuple[float, float]) -> NDArray[np.uint8]:
    low, high = window
    return np.round(255 * np.clip((image - low) / (high - low), 0, 1)).astype(np.uint8)


def _webp(image: Image.Image) -> bytes:
    written = BytesIO()
    image.save(written, "WEBP", quality=_QUALITY, method=4)
    return written.getvalue()
