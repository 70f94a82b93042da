"""The command line as a user types it: help, wrong words, exit statuses, options that keep their spelling."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest
from bedrest.cli import main, parse
from bedrest.cli.commands import COMMANDS
from bedrest.cli.masks import Segment
from bedrest.cli.results import Verify
from bedrest.cli.run import Run
from bedrest.errors import OutputError

OPTIONS = {  # as they were before commands became dataclasses; scripts of users hold them
    "demo d --subjects 2 --sessions 3 --seed 4": {"subjects": 2, "sessions": 3, "seed": 4},
    "import-dicom d -o b --subject sub-01 --session ses-1 --set 7=water --set 8=fat": {"set": ("7=water", "8=fat")},
    "check s.toml --full": {"study": Path("s.toml"), "full": True},
    "run --cores 4 s.toml --device cuda --profile slurm --batch 3 --log-json l": {
        "cores": 4, "device": "cuda", "profile": "slurm", "batch": 3, "log_json": Path("l")},
    "segment --water w --fat f --in-phase i --opposed o --t2 t -o m --tissues all --probabilities p --resample "
    "--weights x --device=cpu": {"opposed": Path("o"), "in_phase": Path("i"), "output": Path("m"), "resample": True,
                                 "tissues": "all", "device": "cpu"},
    "measure m --levels 51=L5-S1,52=L4-L5 --image i --output c": {"levels": "51=L5-S1,52=L4-L5", "output": Path("c")},
    "evaluate a b --levels 1=L5-S1 --reference-levels 2=L5-S1 -o c": {"reference": Path("b"),
                                                                      "reference_levels": "2=L5-S1"},
    "calibrate s.toml --subjects 4 --device cpu --cores 1": {"subjects": 4, "device": "cpu", "cores": 1},
    "train s.toml -o f --start w --from-scratch --minutes 1.5 --folds 2 --validation-share .1 --synthetic-share 0 "
    "--patience 3 --seed 1 --device cpu --threads 2": {"from_scratch": True, "minutes": 1.5, "validation_share": 0.1},
    "benchmark s.toml --methods bedrest msfcn:voxel_dropout=0.1 --budget 2 --steps 1 --width 2 --folds 3 "
    "--encoder-weights e --seed 1 -o d": {"methods": ("bedrest", "msfcn:voxel_dropout=0.1"), "budget": 2.0},
    "benchmark s.toml --protocol gao2018 --budget 2 -o d": {"protocol": "gao2018", "methods": ()},
    "report s.toml --subject sub-01 --cores 3": {"subject": "sub-01", "cores": 3},
    "figures s.toml -o d": {"output": Path("d")},
    "verify s.toml --rerun --cores 2 --device cpu": {"rerun": True, "cores": 2},
    "export-bids s.toml -o d": {"output": Path("d")},
    "share s.toml -o None --cores 1": {"output": Path("None"), "cores": 1},
    "power --subjects 8 12 24 --groups 1 --visits 4 --levels 7 --cv 1.2 --growth 2 --response-sd 0.5 --missing 0 "
    "--change -3 --power 0.9 --replicates 10 --seed 3 --cores 1 -o c": {
        "subjects": (8, 12, 24), "groups": 1, "change": -3.0, "response_sd": 0.5},
}


@pytest.mark.parametrize("words", OPTIONS, ids=lambda w: w.split(" -")[0])
def test_options_keep_their_spelling(words):
    command = parse(words.split())
    assert type(command) is COMMANDS[words.split()[0]]
    assert {name: getattr(command, name) for name in OPTIONS[words]} == OPTIONS[words]


def test_every_command_has_its_options_tried():
    assert {words.split()[0] for words in OPTIONS} == set(COMMANDS)


def test_defaults_are_those_of_the_study():
    assert parse(["run", "s.toml"]) == Run(Path("s.toml"), cores=2, device=None, profile=None, batch=1, log_json=None)
    assert parse(["verify", "s.toml"]) == Verify(Path("s.toml"))
    assert parse(["segment", "-o", "m"]) == Segment(Path("m"))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_every_option(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    shown = capsys.readouterr().out
    assert stopped.value.code == 0 and COMMANDS[name].__doc__.split(",")[0][:40] in " ".join(shown.split())
    fields = {f.name: f for f in dataclasses.fields(COMMANDS[name])}
    assert set(fields) == set(get_type_hints(COMMANDS[name]))
    for field in fields:
        lines = [line for line in shown.splitlines() if f"--{field.replace('_', '-')}" in line]
        assert lines or fields[field].default is dataclasses.MISSING, field
    assert "None" not in shown


@pytest.mark.parametrize(("words", "shown"), [
    ([], "Expected one of"), (["rum", "s.toml"], "Did you mean run?"),
    (["benchmark-engine"], "Did you mean benchmark?"), (["xyz"], "Commands: demo"), (["run"], "STUDY.toml"),
    (["run", "s.toml", "--coers", "3"], "--cores"),
    (["run", "s.toml", "--device", "tpu"], "cuda"), (["demo", "d", "--subjects", "two"], "--subjects"),
    (["verify", "s.toml", "more"], "more"), (["segment", "--water", "w"], "--output"),
    (["power", "--groups", "3"], "--groups"),
])
def test_wrong_words_are_told_with_the_right_ones(words, shown, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2 and shown in capsys.readouterr().err


def test_errors_come_without_traceback(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (["run", "no.toml"], ["check", "no.toml"], ["measure", "no.nii.gz", "-o", "c.csv"],
                  ["evaluate", "a.nii.gz", "b.nii.gz", "-o", "c.csv"], ["segment", "-o", "m.nii.gz"],
                  ["segment", "--water", "w.nii.gz", "-o", "m.nii.gz"], ["verify", "no.toml"], ["report", "no.toml"],
                  ["demo", "d", "--subjects", "0"], ["run", "no.toml", "--cores", "0"], ["power", "--cv", "0"],
                  ["power", "--subjects"], ["train", "no.toml", "-o", "f"],
                  ["benchmark", "no.toml", "--budget", "1", "-o", "d"], ["export-bids", "no.toml", "-o", "d"],
                  ["share", "no.toml", "-o", "d"], ["figures", "no.toml"],
                  ["import-dicom", "no", "-o", "b", "--subject", "sub-01", "--session", "ses-1"]):
        assert main(words) == 1, words
        assert capsys.readouterr().err.startswith(f"bedrest {words[0]}: "), words
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), 130), (BrokenPipeError(), 1),
                                               (OutputError("a", "b", "c", "d"), 1)])
def test_what_ends_a_command_is_its_exit_status(error, status, monkeypatch, capsys):
    def interrupted(command):
        raise error

    monkeypatch.setattr(Run, "run", interrupted)
    assert main(["run", "s.toml"]) == status
    assert ("go on from here" in capsys.readouterr().err) == (status == 130)


def test_the_version_and_the_module(tmp_path):
    from bedrest import __version__

    done = subprocess.run([sys.executable, "-m", "bedrest", "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == (f"bedrest {__version__}\n", 0)
