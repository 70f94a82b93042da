"""The words of the change benchmark: visits, ways to a volume, and the table of every disc.

Knows nothing of how people are drawn and measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from bedrest.protocols.disc_records import number
from bedrest.schemas import Col, Table
from bedrest.vocabulary import LEVELS, VolumeMethod

BASELINE, REPEAT, GROWN = VISITS = ("baseline", "repeat", "grown")
STANDARD_NAME = "standard"  # the condition that has targets


@dataclass(frozen=True)
class Way:
    """One way to a volume: its column, what it is called, and the method as the tables of a study name it."""

    column: str
    words: str
    method: VolumeMethod


VOXELS = Way("voxels_mm3", "voxels counted", VolumeMethod.VOXELS)
SINGLE = Way("single_mm3", "probabilities, each visit alone", VolumeMethod.SINGLE)
JOINT = Way("joint_mm3", "probabilities, all visits together", VolumeMethod.JOINT)
WAYS: tuple[Way, ...] = (VOXELS, SINGLE, JOINT)

CHANGE_DISCS = Table("change_benchmark", "one row a disc at a visit of a synthetic person", (
    Col("condition", "str", "what differed from the standard"),
    Col("contrasts", "str", "what the person was scanned with, joined by +"),
    Col("subject", "str", "synthetic person; of one name, the same person in every condition"),
    Col("session", "str", "visit", values=VISITS),
    Col("level", "str", "disc", values=LEVELS),
    Col("true_mm3", "float", "analytic volume", "mm3", minimum=0),
    number("voxels_mm3", "voxels of this visit's mask counted", "mm3"),
    number("single_mm3", "summed probabilities of this visit alone", "mm3"),
    number("joint_mm3", "summed probabilities, all visits looked at alike", "mm3"),
    number("grid_shifts_sd_mm3", "SD of the joint volume over the grid shifts", "mm3"),
    number("boundary_uncertainty", "undecided share of the joint volume: sum of p (1 - p) over sum of p", "1"),
    number("rotation_deg", "angle by which the visit was rotated to the mean pose", "degree"),
    Col("reason", "str", "why a volume is missing; empty when none is", required=False),
), ("condition", "subject", "session", "level"))
