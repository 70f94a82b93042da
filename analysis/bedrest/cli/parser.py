"""The command line. Parses, hands over to `bedrest.cli.commands`, prints errors without a traceback.

Imports nothing heavy: `--help` must answer at once.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from bedrest import __version__
from bedrest.errors import BedrestError

# Commands that do not live in `bedrest.cli.commands`; each loads only when it is asked for.
MODULE_OF = {"simulate": "bedrest.workflow.planning", "power": "bedrest.workflow.planning",
             "train": "bedrest.workflow.train", "figures": "bedrest.workflow.figures",
             "verify": "bedrest.workflow.verify", "export-bids": "bedrest.workflow.export",
             "import-dicom": "bedrest.workflow.import_dicom", "share": "bedrest.workflow.share",
             "benchmark": "bedrest.cli.parser"}
DEVICES = ("auto", "cpu", "cuda", "mps")
PROTOCOLS = ("li2018-ablation", "li2018-modalities", "li2018-two-stage", "wang2020-combinations", "wang2020-planes",
             "gao2018", "chen2016", "georgiev2018")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bedrest",
        description="Segments, names and measures lumbar discs on Dixon or T2 MR, follows them through the visits of "
        "a bed-rest study, and reports what changed. Research use only.",
        epilog="Exit status: 0 all well; 1 the command could not do its work; 3 done, but something failed on the "
        "way (see tables/failures.csv), or `verify` found a difference.",
    )
    parser.add_argument("--version", action="version", version=f"bedrest {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="write the synthetic demo cohort and its study.toml")
    demo.add_argument("folder", type=Path, metavar="DIR")
    demo.add_argument("--subjects", type=int, default=8)
    demo.add_argument("--sessions", type=int, default=3)
    demo.add_argument("--seed", type=int, default=0)

    _add_import_dicom(commands)

    check = commands.add_parser("check", help="validate a study and print every problem")
    check.add_argument("study", type=Path, metavar="STUDY.toml")
    check.add_argument("--full", action="store_true",
                       help="read every image whole; default: its header, and that the file is not cut off")

    run = commands.add_parser("run", help="do everything that is not up to date")
    run.add_argument("study", type=Path, metavar="STUDY.toml")
    run.add_argument("--cores", type=int, default=2)
    run.add_argument("--device", choices=DEVICES, default=None, help="default: what study.toml says")
    run.add_argument("--profile", default=None, metavar="NAME_OR_DIR",
                     help="run on a cluster: slurm, or a folder with a Snakemake profile of your own")
    run.add_argument("--batch", type=int, default=1, metavar="N",
                     help="subjects still to be done that share the loading of the network (default 1)")
    run.add_argument("--log-json", type=Path, default=None, metavar="FILE", help="also write every event, one a line")

    segment = commands.add_parser("segment", help="segment one scan from any set of contrasts")
    for flag in ("water", "fat", "in-phase", "opposed", "t2"):
        segment.add_argument(f"--{flag}", type=Path, metavar="FILE")
    segment.add_argument("-o", "--output", type=Path, required=True, metavar="MASK")
    segment.add_argument("--device", choices=DEVICES, default="auto")
    segment.add_argument("--tissues", choices=("discs", "all"), default="discs",
                         help="all: also vertebral bodies, sacrum and spinal canal")
    segment.add_argument("--probabilities", type=Path, metavar="FILE", help="also write the probability of disc")
    segment.add_argument("--resample", action="store_true",
                         help="bring contrasts on other grids onto that of the first instead of refusing them")
    segment.add_argument("--weights", type=Path, metavar="FILE", help="default: the shipped network")

    measure = commands.add_parser("measure", help="measure the discs of a mask made by anyone")
    measure.add_argument("mask", type=Path, metavar="MASK")
    measure.add_argument("--levels", default=None, metavar="51=L5-S1,...", help="default: 1=L5-S1 ... 7=T11-T12")
    measure.add_argument("--image", type=Path, metavar="FILE", help="an image to take mean signals from")
    measure.add_argument("-o", "--output", type=Path, required=True, metavar="CSV")

    evaluate = commands.add_parser("evaluate", help="compare a mask with a reference mask, level by level")
    evaluate.add_argument("predicted", type=Path, metavar="PREDICTED")
    evaluate.add_argument("reference", type=Path, metavar="REFERENCE")
    evaluate.add_argument("--levels", default=None, metavar="1=L5-S1,...")
    evaluate.add_argument("--reference-levels", default=None, metavar="51=L5-S1,...")
    evaluate.add_argument("-o", "--output", type=Path, required=True, metavar="CSV")

    _add_train(commands)
    _add_benchmark(commands)

    report = commands.add_parser("report", help="make reports again from stored results")
    report.add_argument("study", type=Path, metavar="STUDY.toml")
    report.add_argument("--subject", default=None, metavar="sub-01")
    report.add_argument("--cores", type=int, default=2, help="pages at a time (default 2)")

    figures = commands.add_parser("figures", help="write the publication figures as PDF, SVG, PNG and their data")
    figures.add_argument("study", type=Path, metavar="STUDY.toml")
    figures.add_argument("-o", "--output", type=Path, default=None, metavar="DIR",
                         help="default: figures/ in the study's output folder")

    _add_verify(commands)

    export = commands.add_parser("export-bids", help="write the masks of a study as a BIDS derivatives dataset")
    export.add_argument("study", type=Path, metavar="STUDY.toml")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="DIR",
                        help="an empty folder, or one that is not there; best <BIDS dataset>/derivatives/bedrest")
    share = commands.add_parser("share", help="copy reports, tables and figures under pseudonyms, to hand them on")
    share.add_argument("study", type=Path, metavar="STUDY.toml")
    share.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="a folder that is not there yet")
    share.add_argument("--cores", type=int, default=2, help="pages at a time (default 2)")

    simulate = commands.add_parser("simulate", help="error rates of the statistics on synthetic cohorts of known truth")
    simulate.add_argument("--replicates", type=int, default=2400, help="cohorts a scenario (default 2400)")
    simulate.add_argument("--sizes", action="store_true", help="time and memory by size of the study instead")
    simulate.add_argument("--seed", type=int, default=1)
    simulate.add_argument("--cores", type=int, default=2)
    simulate.add_argument("-o", "--output", type=Path, default=None, metavar="MD", help="also write the table there")

    power = commands.add_parser("power", help="power and smallest detectable change of a study that is being planned")
    power.add_argument("--subjects", type=int, nargs="+", default=[8, 12, 16, 24], help="in all groups together")
    power.add_argument("--groups", type=int, choices=(1, 2), default=2)
    power.add_argument("--visits", type=int, default=3, help="the last one is tested against the first")
    power.add_argument("--levels", type=int, default=1, help="discs of a subject; more than one: joint model")
    power.add_argument("--cv", type=float, default=1.0, metavar="%", help="SD of one disc volume at the first visit")
    power.add_argument("--growth", type=float, default=3.0, help="variance of the last visit over that of the first")
    power.add_argument("--response-sd", type=float, default=1.0, metavar="%", help="spread of true change among people")
    power.add_argument("--missing", type=float, default=0.1, help="share of visits that do not take place")
    power.add_argument("--change", type=float, default=3.0, metavar="%", help="true change that power is asked for")
    power.add_argument("--power", type=float, default=0.8, help="wanted, for the smallest detectable change")
    power.add_argument("--replicates", type=int, default=1000)
    power.add_argument("--seed", type=int, default=1)
    power.add_argument("--cores", type=int, default=2)
    power.add_argument("-o", "--output", type=Path, default=None, metavar="CSV")
    return parser


def _add_import_dicom(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    dicom = commands.add_parser("import-dicom", help="one examination's DICOM folder -> one visit of a BIDS dataset")
    dicom.add_argument("folder", type=Path, metavar="DICOM_DIR")
    dicom.add_argument("-o", "--output", type=Path, required=True, metavar="BIDS_DIR")
    dicom.add_argument("--subject", required=True, metavar="sub-01",
                       help="the study's own identifier, not the header's")
    dicom.add_argument("--session", required=True, metavar="ses-1")
    dicom.add_argument("--set", action="append", default=[], metavar="IMAGE=CONTRAST",
                       help="what an image is that the headers do not tell, as 7=water; may be given again")


def _add_verify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verify = commands.add_parser("verify", help="prove that results are what they claim: checksums of every file")
    verify.add_argument("study", type=Path, metavar="STUDY.toml")
    verify.add_argument("--rerun", action="store_true",
                        help="also run the study again into a temporary folder and compare every table")
    verify.add_argument("--cores", type=int, default=None, help="of the second run; default: as the first one")
    verify.add_argument("--device", choices=DEVICES, default=None, help="of the second run; default: as the first one")


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    train = commands.add_parser("train", help="train the network on the study's own labelled scans")
    train.add_argument("study", type=Path, metavar="STUDY.toml")
    train.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    train.add_argument("--start", type=Path, metavar="WEIGHTS", help="network to start from; default: the shipped one")
    train.add_argument("--from-scratch", action="store_true", help="begin with random weights")
    train.add_argument("--minutes", type=float, default=30.0, help="at most, for each run (default 30)")
    train.add_argument("--folds", type=int, default=0, metavar="N",
                       help="cross-validate over N groups of subjects first (default 0: no)")
    train.add_argument("--validation-share", type=float, default=0.2, metavar="SHARE",
                       help="of a run's subjects, to say when to stop (default 0.2)")
    train.add_argument("--synthetic-share", type=float, default=0.3, metavar="SHARE",
                       help="of patches from synthetic anatomies, so that nothing is forgotten (default 0.3)")
    train.add_argument("--patience", type=int, default=10, help="validations without a better Dice (default 10)")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--device", choices=DEVICES, default=None, help="default: what study.toml says")
    train.add_argument("--threads", type=int, default=None, help="default: every core")


def _add_benchmark(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    bench = commands.add_parser("benchmark", help="train and test published methods on the study's labelled scans")
    bench.add_argument("study", type=Path, metavar="STUDY.toml")
    bench.add_argument("--methods", nargs="+", default=[], metavar="NAME",
                       help="methods to compare, as in docs/methods.md, with choices as in msfcn:voxel_dropout=0.1, or "
                            "bedrest for our own engine; with --protocol those of its rows alone")
    bench.add_argument("--protocol", choices=PROTOCOLS, default=None, metavar="NAME",
                       help=f"rows, split and tables of a paper: {', '.join(PROTOCOLS)}")
    bench.add_argument("--budget", type=float, required=True, metavar="MINUTES",
                       help="of each training: of a row, in each fold")
    bench.add_argument("--steps", type=int, default=0, metavar="N",
                       help="also at most so many steps of each network (default 0: no limit)")
    bench.add_argument("--width", type=int, default=1, metavar="W",
                       help="divide the number of feature maps, for a small machine (default 1: as published)")
    bench.add_argument("--folds", type=int, default=0, metavar="N",
                       help="cross-validate over N groups of subjects (default 0: a quarter of them is held out)")
    bench.add_argument("--encoder-weights", type=Path, default=None, metavar="FILE",
                       help="ResNet-50 to start triplanar-resnet from (default: random weights)")
    bench.add_argument("--seed", type=int, default=0)
    bench.add_argument("--device", choices=DEVICES, default=None, help="default: what study.toml says")
    bench.add_argument("-o", "--output", type=Path, required=True, metavar="DIR",
                       help="a folder for any number of protocols; finished rows in it are not trained again")


def benchmark(args: argparse.Namespace) -> int:
    """`bedrest benchmark`."""
    from bedrest.protocols.command import benchmark as run
    from bedrest.protocols.inputs import BenchmarkOptions

    return run(args.study, args.output, BenchmarkOptions(
        args.budget, tuple(args.methods), args.protocol, args.steps, args.width, args.folds, args.encoder_weights,
        args.seed, args.device))


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    module = import_module(MODULE_OF.get(args.command, "bedrest.cli.commands"))
    try:
        return int(getattr(module, args.command.replace("-", "_"))(args))
    except BedrestError as error:
        print(f"bedrest {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again to go on from here.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
