"""A study as a benchmark of methods takes it: labelled visits, splits, our own engine, settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bedrest.errors import BedrestError, StudyError
from bedrest.imaging.common_grid import labels_on
from bedrest.io.files import sha256_of
from bedrest.io.manifest.resolve import Manifest
from bedrest.methods.cases import case_of
from bedrest.methods.staged_training import Budget
from bedrest.protocols.runs import Labelled, OwnEngine, Settings
from bedrest.protocols.scores import levels_of
from bedrest.protocols.shapes import Protocol
from bedrest.protocols.splits import Key, Split, by_subject, by_visit
from bedrest.segmentation import engine
from bedrest.segmentation.device import resolve_device
from bedrest.segmentation.weights import chosen_weights
from bedrest.settings import Study
from bedrest.stages.measure import read_reference
from bedrest.stages.segment import loaded_weights
from bedrest.stages.visits import Visit, scan_of
from bedrest.types import LabelMap
from bedrest.vocabulary import MaskRole, Status


@dataclass(frozen=True)
class BenchmarkOptions:
    """What a user may choose for a benchmark of methods."""

    budget_minutes: float  # of each training: of a row, in each fold
    methods: tuple[str, ...] = ()  # as `registry.read_choices` reads them, or `shapes.OWN_ENGINE`
    protocol: str | None = None  # of `published.PROTOCOLS`
    steps: int = 0  # at most so many of each network; 0: no limit
    width: int = 1  # see `MethodOptions`
    folds: int = 0  # groups of subjects to cross-validate over; 0: a quarter of the subjects is held out
    encoder_weights: Path | None = None  # see `MethodOptions`
    seed: int = 0
    device: str | None = None  # default: what study.toml says

    def command_words(self) -> list[str]:
        """As words of the command line; what is as usual is left out."""
        usual = BenchmarkOptions(self.budget_minutes)
        words = [*(["--methods", *self.methods] if self.methods else []),
                 *(["--protocol", self.protocol] if self.protocol else []), "--budget", f"{self.budget_minutes:g}"]
        for name in ("width", "folds", "seed", "steps", "device"):
            if getattr(self, name) != getattr(usual, name):
                words += [f"--{name}", str(getattr(self, name))]
        return words


def settings_of(study: Study, options: BenchmarkOptions) -> Settings:
    """What every row is trained with.

    Raises StudyError: a number is out of range, or there is no such file of weights.
    """
    if options.budget_minutes <= 0:
        raise StudyError("a positive number of minutes", f"{options.budget_minutes:g}", "--budget", "Correct it.")
    for name, least in (("width", 1), ("steps", 0), ("seed", 0)):
        if getattr(options, name) < least:
            raise StudyError(f"{least} or more", str(getattr(options, name)), f"--{name}", "Correct it.")
    device, cores = resolve_device(options.device or study.device), os.cpu_count() or 1
    encoder = options.encoder_weights
    if encoder is not None and not encoder.is_file():
        raise StudyError("a file with weights of a ResNet-50", "no such file", str(encoder), "Correct the path.")
    # On a CPU the network needs the cores; a GPU waits for pairs.
    workers = 0 if device == "cpu" else min(cores - 1, 8)
    budget = Budget(options.budget_minutes, device, options.seed, workers, options.steps)
    return Settings(budget, options.width, encoder, sha256_of(encoder) if encoder else "")


def labelled_cases(labelled: Sequence[Visit], manifest: Manifest, *,
                   resample: bool, labels: str | None = None) -> tuple[list[Labelled], list[dict[str, Any]]]:
    """Visits as methods take them, and the row of each; one that cannot be used is failed and left out."""
    sums = {(r.subject, r.session, r.contrast): r.sha256 for r in manifest.scans.itertuples()}
    visits, rows = [], []
    for v in tqdm(labelled, desc="labelled scans", unit="scan"):
        row = {"subject": v.subject, "session": v.session, "contrasts": "+".join(v.contrasts()), "discs": 0}
        try:
            scan = scan_of(v, resample=resample)
            reference = read_reference(v.paths[MaskRole.REFERENCE], where=v.where, labels=labels)
            if resample:
                reference = labels_on(reference, scan.grid, where=f"{v.where} {MaskRole.REFERENCE}")
            case = case_of(scan, reference, subject=v.subject, session=v.session)
            if not levels_of(reference):
                raise StudyError("discs, 1 = L5-S1 to 7 = T11-T12", "none", f"{v.where} {MaskRole.REFERENCE}",
                                 "Correct the mask, or take it out of the study.")
            named = {str(c): sums[v.subject, v.session, c] for c in (*v.contrasts(), MaskRole.REFERENCE)}
            visits.append(Labelled(case, reference, named))
            rows.append({**row, "discs": len(levels_of(reference)), "status": str(Status.OK)})
        except BedrestError as error:
            print(f"- {error}", file=sys.stderr)
            rows.append({**row, "status": str(Status.FAILED), "reason": str(error)})
    return visits, rows


def splits_of(study: Study, protocol: Protocol, visits: Sequence[Labelled],
              options: BenchmarkOptions) -> list[Split]:
    """By subject, or by visit where the protocol asks for it."""
    keys = [v.key for v in visits]
    if not protocol.by_visit:
        return by_subject(keys, folds=options.folds, seed=options.seed)
    days = {s.id: s.study_day for s in study.sessions}
    began = days[study.reference_session]
    later = sorted((s for s in days if s != study.reference_session), key=lambda s: (days[s] < began, days[s]))
    return by_visit(keys, sessions=[study.reference_session, *later])


def own_engine(study: Study, labelled: Sequence[Visit], device: str) -> OwnEngine:
    """Our own engine with the study's or the shipped weights; they are loaded when a scan is to be segmented."""
    by_key = {(v.subject, v.session): v for v in labelled}
    weights = chosen_weights(study.weights)

    def segmented(key: Key) -> LabelMap:
        scan = scan_of(by_key[key], resample=study.images.resample)
        return engine.segment(loaded_weights(weights), scan, device=device).discs

    return OwnEngine(segmented, f"{weights.name}, sha256 {sha256_of(weights)[:12]}")
