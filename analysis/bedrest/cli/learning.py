"""`bedrest train` and `bedrest benchmark`: networks that learn from the study's own labelled scans."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from bedrest.cli.arguments import Count, Flag, OutputFolder, Seed, StudyDevice, StudyFile, WeightsFile, unset

ProtocolName = Literal["li2018-ablation", "li2018-modalities", "li2018-two-stage", "wang2020-combinations",
                       "wang2020-planes", "gao2018", "chen2016", "georgiev2018"]
_Share = Annotated[float, tyro.conf.arg(metavar="SHARE")]


@dataclass(frozen=True)
class Train:
    """Train the network on the study's own labelled scans."""

    study: StudyFile
    output: OutputFolder
    """Folder for weights, tables and report; an unfinished training in it goes on."""
    start: WeightsFile = None
    """Network to start from."""
    from_scratch: Flag = False
    """Begin with random weights."""
    minutes: float = 30.0
    """Time limit of each run."""
    folds: Count = 0
    """Cross-validate over N groups of subjects first; 0: do not."""
    validation_share: _Share = 0.2
    """Share of a run's subjects that decides when to stop."""
    synthetic_share: _Share = 0.3
    """Share of patches from synthetic anatomies, so that nothing is forgotten."""
    patience: int = 10
    """Validations without a better Dice before a run stops."""
    seed: Seed = 0
    device: StudyDevice = None
    threads: Annotated[int | None, unset("default: every core")] = None
    """CPU threads."""

    def run(self) -> int:
        from bedrest.segmentation.training.finetune import FineTuningPlan
        from bedrest.workflow.train import train

        plan = FineTuningPlan(self.minutes, self.folds, self.validation_share, self.patience, self.seed,
                              self.from_scratch, self.synthetic_share)
        return train(self.study, self.output, plan=plan, start=self.start, device=self.device, threads=self.threads)


@dataclass(frozen=True)
class Benchmark:
    """Train and test published methods on the study's labelled scans."""

    study: StudyFile
    output: OutputFolder
    """Folder for any number of protocols; finished rows in it are not trained again."""
    budget: Annotated[float, tyro.conf.arg(metavar="MINUTES")]
    """Time limit of each training: of a row, in each fold."""
    methods: Annotated[tuple[str, ...], unset("default: every row of --protocol", metavar="NAME ...")] = ()
    """Methods to compare, as in docs/methods.md, with options as in msfcn:voxel_dropout=0.1, or bedrest for our own
    engine; with --protocol only these of its rows."""
    protocol: Annotated[ProtocolName | None, unset("optional", metavar="NAME")] = None
    """Rows, split and tables of a paper: li2018-ablation, li2018-modalities, li2018-two-stage, wang2020-combinations,
    wang2020-planes, gao2018, chen2016 or georgiev2018."""
    steps: Count = 0
    """Limit to the steps of each network; 0: none."""
    width: Annotated[int, tyro.conf.arg(metavar="W")] = 1
    """Divide the number of feature maps, for a small machine; 1: as published."""
    folds: Count = 0
    """Cross-validate over N groups of subjects; 0: hold a quarter of them out."""
    encoder_weights: Annotated[Path | None, unset("default: random weights", metavar="FILE")] = None
    """ResNet-50 to start triplanar-resnet from."""
    seed: Seed = 0
    device: StudyDevice = None
    """Where networks run."""

    def run(self) -> int:
        from bedrest.protocols.command import benchmark
        from bedrest.protocols.inputs import BenchmarkOptions

        options = BenchmarkOptions(
            budget_minutes=self.budget, methods=self.methods, protocol=self.protocol, steps=self.steps,
            width=self.width, folds=self.folds, encoder_weights=self.encoder_weights, seed=self.seed,
            device=self.device)
        return benchmark(self.study, self.output, options)
