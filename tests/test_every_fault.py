"""One study with a fault of every kind: `bedrest check` lists all of them in one go, with place and remedy."""

import json
import re
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bedrest.cli import main
from spine_masks import AFFINE as SPINE_AFFINE
from spine_masks import LEVELS, numbered, spine
from study_folders import SESSION_BLOCKS, image

LINE = re.compile(r"- (doubtful: )?.+?: expected .+?, found .+?\. .+")
PAIR = {"echo-1_MEGRE": 0.00115, "echo-2_MEGRE": 0.0023}


class Subject:
    """Two visits of a subject in a BIDS dataset, all in order until a fault is put in."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        for session in ("ses-1", "ses-2"):
            for ending in ("rec-water_T1w", "rec-fat_T1w"):
                self.image(session, ending)

    def path(self, session: str, ending: str) -> Path:
        return self.root / self.name / session / "anat" / f"{self.name}_{session}_{ending}.nii.gz"

    def image(self, session: str, ending: str, sidecar: dict | None = None, **more: object) -> Path:
        path = image(self.path(session, ending), **more)
        if sidecar is not None:
            path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
        return path

    def mask(self, session: str, data: np.ndarray, ending: str = "desc-manual_dseg") -> Path:
        folder = self.root / "derivatives/manual" / self.name / session / "anat"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}_{session}_{ending}.nii.gz"
        nib.save(nib.Nifti1Image(data.astype(np.uint8), SPINE_AFFINE), path)
        return path

    def sessions(self, text: str) -> None:
        (self.root / self.name / f"{self.name}_sessions.tsv").write_text(text)


def echoes_contradict(s: Subject) -> None:
    for ending, te in PAIR.items():
        phase = "IN_PHASE" if ending.startswith("echo-1") else "OUT_PHASE"
        s.image("ses-1", ending, {"EchoTime": te, "MagneticFieldStrength": 3, "ImageType": ["ORIGINAL", phase]})


def fat_called_water(s: Subject) -> None:
    s.image("ses-2", "rec-water_T1w", {"ImageType": ["DERIVED", "PRIMARY", "FAT"]})


def of_another_subject(s: Subject) -> None:
    s.path("ses-1", "rec-fat_T1w").rename(s.path("ses-1", "rec-fat_T1w").with_name("sub-99_ses-1_rec-fat_T1w.nii.gz"))


def milliseconds(s: Subject) -> None:
    for ending, te in PAIR.items():
        s.image("ses-1", ending, {"EchoTime": te * 1000, "MagneticFieldStrength": 3})


def phase_image(s: Subject) -> None:
    s.image("ses-1", "rec-water_part-phase_T1w")


def stir(s: Subject) -> None:
    s.image("ses-1", "acq-STIR_T2w", {"InversionTime": 0.15})


def same_bytes(s: Subject) -> None:
    shutil.copy(s.path("ses-1", "rec-water_T1w"), s.path("ses-2", "rec-water_T1w"))


def order_of_visits(s: Subject) -> None:
    s.sessions("session_id\tacq_time\nses-1\t2019-05-20T09:00:00\nses-2\t2019-03-01T09:00:00\n")


def phase_against_day(s: Subject) -> None:
    s.sessions("session_id\tstudy_day\tphase\nses-1\t-3\tbaseline\nses-2\t-2\tbed_rest\n")


def other_scanner(s: Subject) -> None:
    for session, tesla in (("ses-1", 3), ("ses-2", 1.5)):
        s.image(session, "rec-water_T1w", {"MagneticFieldStrength": tesla})


def other_contrasts(s: Subject) -> None:
    s.path("ses-2", "rec-fat_T1w").unlink()


def other_grid(s: Subject) -> None:
    s.image("ses-1", "rec-fat_T1w", shift_mm=9.0)


def forms_apart(s: Subject) -> None:
    path = s.path("ses-1", "rec-fat_T1w")
    loaded = nib.load(path)
    elsewhere = loaded.affine.copy()
    elsewhere[0, 3] += 5
    loaded.set_qform(elsewhere, code=1)
    loaded.set_sform(loaded.affine, code=1)
    nib.save(loaded, path)


def cut_off(s: Subject) -> None:
    path = s.path("ses-1", "rec-water_T1w")
    path.write_bytes(path.read_bytes()[:90])


def numbered_from_the_top(s: Subject) -> None:
    s.mask("ses-1", spine(numbered(1, names=LEVELS[::-1])).data)


def mask_of_vertebrae(s: Subject) -> None:
    s.mask("ses-1", spine({}, {"L5": 1, "L4": 2}).data, "label-vertebrae_desc-manual_dseg")


def changed(path: Path, change: Callable[[np.ndarray], object]) -> None:
    loaded = nib.load(path)
    data = np.asarray(loaded.dataobj).copy()
    change(data)
    nib.save(nib.Nifti1Image(data, loaded.affine), path)


def empty_slice(s: Subject) -> None:
    changed(s.path("ses-1", "rec-water_T1w"), lambda data: data[-1].fill(0))


def wrapped(s: Subject) -> None:
    changed(s.path("ses-2", "rec-water_T1w"), lambda data: np.putmask(data, data > 250, data - 2000))


# The fault, what `check` says of it, and how strongly.
FAULTS: list[tuple[Callable[[Subject], None], str, str]] = [
    (echoes_contradict, r"IN_PHASE|in[- _]phase", "problem"), (fat_called_water, r"(?i)fat.*|water", "problem"),
    (of_another_subject, "sub-99", "problem"), (milliseconds, "EchoTime: expected below 1 s", "doubt"),
    (phase_image, "phase", "not used"), (stir, "(?i)invert|inversion|stir", "not used"),
    (same_bytes, "ses-1.*ses-2|same", "problem"), (order_of_visits, "2019-0", "problem"),
    (phase_against_day, "bed_rest", "problem"), (other_scanner, "field strength", "doubt"),
    (other_contrasts, "contrasts", "doubt"), (other_grid, "9.0 mm apart", "problem"),
    (forms_apart, "sform and qform", "problem"), (cut_off, "(?i)ends early|damaged|end", "problem"),
    (numbered_from_the_top, "(?i)top|order", "problem"), (mask_of_vertebrae, "vertebrae", "not used"),
    (empty_slice, "without any signal", "doubt"), (wrapped, "(?i)negative|below 0", "doubt"),
]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """A study whose first subject is in order; every other one has one fault."""
    folder = tmp_path_factory.mktemp("faults")
    names = [f"sub-{n:02d}" for n in range(len(FAULTS) + 1)]
    subjects = [Subject(folder / "bids", name) for name in names]
    for subject, (put_in, *_) in zip(subjects[1:], FAULTS, strict=True):
        put_in(subject)
    (folder / "bids/participants.tsv").write_text(
        "participant_id\tgroup\tsex\n" + "".join(f"{n}\t{'ab'[i % 2]}\t{'FM'[i % 2]}\n" for i, n in enumerate(names)))
    (folder / "study.toml").write_text(
        'name = "s"\ngroups = ["a", "b"]\nreference_session = "ses-1"\noutput = "out"\n[images]\nlayout = "bids"\n'
        'root = "bids"\nderivatives = "bids/derivatives/manual"\n[statistics]\ncovariates = ["sex"]\n' + SESSION_BLOCKS)
    return folder


@pytest.fixture(scope="module")
def lines(faulty):
    """What `check` prints of it."""
    out = StringIO()
    with redirect_stdout(out):
        assert main(["check", str(faulty / "study.toml"), "--full"]) == 1
    return out.getvalue().splitlines()


@pytest.mark.parametrize("n", range(1, len(FAULTS) + 1), ids=[f[0].__name__ for f in FAULTS])
def test_each_fault_is_listed_with_its_place(lines, n):
    _, words, strength = FAULTS[n - 1]
    start = {"problem": "- ", "doubt": "- doubtful: ", "not used": "- not used: "}[strength]
    found = [line for line in lines if f"sub-{n:02d}" in line and line.startswith(start) and re.search(words, line)
             and (strength != "problem" or not line.startswith(("- doubtful: ", "- not used: ")))]
    assert found, [line for line in lines if f"sub-{n:02d}" in line]


def test_each_line_says_what_was_expected_and_found_and_what_to_do(lines):
    told = [line for line in lines if line.startswith("- ") and not line.startswith("- not used: ")]
    assert len(told) >= len(FAULTS) - 3
    assert [line for line in told if not LINE.fullmatch(line)] == []


def test_a_visit_that_is_excluded_is_not_held_against_the_others(lines):
    assert [line for line in lines if "sub-02" in line and "same contrasts" in line] == []


def test_nothing_is_said_of_a_subject_in_order(lines):
    assert [line for line in lines if "sub-00" in line] == []


def test_covariates_that_repeat_the_groups_are_told_with_the_images_faults(lines):
    assert any("sex" in line and "group" in line for line in lines)
