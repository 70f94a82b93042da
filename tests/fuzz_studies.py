"""Whole studies with broken inputs in every layout, made and never stored: checked and resolved as a run does."""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bedrest.cli import main
from bedrest.io.results import StudyResults
from bedrest.settings import load_study
from bedrest.workflow.run import prepare
from fuzz_images import MAKERS as IMAGES
from fuzz_images import nifti
from fuzz_texts import CELLS, no_formulas, table_bytes

Act = Callable[[], object]
Rng = np.random.Generator
HOSTILE = ("../../escape", "..", "sub/../..", "/tmp/escape", "a\nb", "=1+1", "@x", "-rf", "x" * 120, "x" * 240, "NA",
           "nan", "<script>alert(1)</script>", "a b", "é", "e\u0301", "$(touch x)", "a'b\"c", ".hidden", "CON", "a.",
           "a ", "{w}", "a\tb", "%2e%2e", "\udce9", "A;B", "01")
SESSIONS = ('[[sessions]]\nid = "ses-1"\nstudy_day = -3\nphase = "baseline"\n'
            '[[sessions]]\nid = "ses-2"\nstudy_day = 60\nphase = "bed_rest"\n')


def _toml(folder: Path, images: str, rng: Rng) -> None:
    groups = '["control", "exercise"]' if rng.random() < 0.5 else '["control"]'
    (folder / "study.toml").write_text(
        f'name = "s"\ngroups = {groups}\nreference_session = "ses-1"\noutput = "out"\n[images]\n{images}\n{SESSIONS}')


def _image(path: Path, rng: Rng) -> None:
    """A good image, or now and then a broken one or something else in its place."""
    if rng.random() < 0.25:
        made = path.parent / f"m{rng.integers(10**6)}"
        made.mkdir()
        name = str(rng.choice([n for n in IMAGES if n != "names"]))
        with contextlib.suppress(OSError, ValueError):
            IMAGES[name](made, rng).rename(path)
        return
    with contextlib.suppress(OSError, ValueError):
        path.write_bytes(nifti(rng, shape=(4, 5, 6)))


def _name(good: str, rng: Rng) -> str:
    return str(rng.choice(HOSTILE)) if rng.random() < 0.3 else good


def _folder(path: Path) -> Path | None:
    """A folder whose name the file system takes."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError):
        return None
    return path


def bids(folder: Path, rng: Rng) -> None:
    root = folder / "bids"
    for i in range(int(rng.integers(1, 3))):
        subject = f"sub-{_name(f'0{i + 1}', rng).replace('/', '_')}"
        for session in ("ses-1", f"ses-{_name('2', rng).replace('/', '_')}"):
            anat = _folder(root / subject / session / "anat")
            if anat is None:
                continue
            for ending in rng.choice(["rec-water_T1w", "echo-1_MEGRE", "T2w", "dseg", "x_-_y-", "rec-fat_T1w_T1w"], 2):
                stem = f"{subject}_{session}_{ending}"[:200]
                _image(anat / f"{stem}.nii", rng)
                sidecar = rng.choice(["{}", "[]", "null", "{", '{"ImageType": {"a": 1}}', '{"ImageType": [null, 1]}',
                                      '{"ImageType": "IP"}', "[" * 5000, '"\\ud800"', "1e999",
                                      '{"DixonPhase": ["OP"]}'])
                with contextlib.suppress(OSError):
                    (anat / f"{stem}.json").write_text(str(sidecar))
        if rng.random() < 0.5 and (root / subject).is_dir():
            rows = [["session_id", "study_day", "phase", "scan_time"], ["ses-1", "-3", "baseline", "08:00"],
                    [str(rng.choice(CELLS)), str(rng.choice(CELLS)), str(rng.choice(CELLS)), "=1"]]
            text = "\n".join("\t".join(r) for r in rows)
            with contextlib.suppress(OSError):  # a name too long for a file
                (root / subject / f"{subject}_sessions.tsv").write_bytes(text.encode("utf-8", "surrogatepass"))
    root.mkdir(exist_ok=True)
    if rng.random() < 0.7:
        cells = [str(c) for c in rng.choice(CELLS, 4)]
        rows = [["participant_id", "group", "age", cells[0]], ["sub-01", "control", "3", cells[1]],
                [_name("sub-02", rng), cells[2], cells[3], "x"]]
        text = "\n".join("\t".join(r) for r in rows)
        (root / "participants.tsv").write_bytes(text.encode("utf-8", "surrogatepass"))
    if rng.random() < 0.2:
        (root / "sub-loop").symlink_to("..")
    _toml(folder, 'layout = "bids"\nroot = "bids"\nderivatives = "bids"', rng)


def csv(folder: Path, rng: Rng) -> None:
    root = folder / "images"
    root.mkdir()
    rows = [["subject", "session", "contrast", "path"]]
    for i in range(int(rng.integers(1, 4))):
        subject, path = _name("AB"[i % 2], rng), _name(f"i{i}.nii", rng)
        contrast = str(rng.choice(["water", "fat", "mask", "reference_mask"]))
        rows.append([subject, _name(f"ses-{i % 2 + 1}", rng), contrast, path])
        if Path(path).name == path and path not in ("..", ".") and not path.startswith("."):
            _image(root / path, rng)
    text = "\n".join(",".join(f'"{c.replace(chr(34), chr(34) * 2)}"' for c in row) for row in rows)
    (folder / "scans.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    (folder / "subjects.csv").write_bytes(
        table_bytes("subjects", rng) if rng.random() < 0.4 else b"subject,group,note\nA,control,=1+1\nB,exercise,@x\n")
    images = 'layout = "csv"\nroot = "images"\nsubjects_csv = "subjects.csv"\nscans_csv = "scans.csv"'
    if rng.random() < 0.4:
        (folder / "sessions.csv").write_bytes(table_bytes("sessions", rng))
        images += '\nsessions_csv = "sessions.csv"'
    _toml(folder, images, rng)


def ivdm3seg(folder: Path, rng: Rng) -> None:
    root = folder / "cases"
    root.mkdir()
    names = [_name(f"0{i}", rng).replace("/", "_") for i in range(1, int(rng.integers(2, 4)))]
    for name in names:
        case = _folder(root / name)
        for what in rng.choice(["fat", "inn", "wat", "WAT", "Labels", "opp", "x"], 3) if case is not None else ():
            _image(root / name / f"01_{what}.nii", rng)
    pairs = ", ".join(f"{json.dumps(n)} = {json.dumps([_name('P1', rng), 'ses-1'])}" for n in names[:1]
                      if "\udce9" not in n)
    _toml(folder, f'layout = "ivdm3seg"\nroot = "cases"\npairs = {{{pairs}}}'.replace("\\udce9", "x"), rng)


def corrected(folder: Path, rng: Rng) -> None:
    """A csv study with edited masks and levels.csv that are broken."""
    csv(folder, rng)
    edited = folder / "out" / "masks" / "edited"
    edited.mkdir(parents=True)
    for name in rng.choice(["A_ses-1_discs.nii", "A_ses-1_discs.nii.gz", "B_ses-2_discs.nii", "x.nrrd", "..nii"], 2):
        _image(edited / str(name), rng)
    (folder / "levels.csv").write_bytes(table_bytes("levels", rng))


LAYOUTS = {"bids": bids, "csv": csv, "ivdm3seg": ivdm3seg, "corrected": corrected}


def make(name: str, folder: Path, out: Path, rng: Rng) -> Act:
    """Write one study; then check it by the command line and resolve it as a run does."""
    LAYOUTS[name](folder, rng)

    def act() -> object:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = main(["check", str(folder / "study.toml")])
        assert status in (0, 1), status
        study = load_study(folder / "study.toml")
        manifest, problems = prepare(study, StudyResults(study.output_dir))
        assert problems or status == 0
        for path in study.output_dir.rglob("*.csv"):
            no_formulas(path)
        return manifest
    return act
