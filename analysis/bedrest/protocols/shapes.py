"""What a paper's comparison is made of: rows, metrics, shapes of tables. Knows no paper.

Text in place of a number is as printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bedrest.methods.method import MethodOptions
from bedrest.vocabulary import Contrast

OWN_ENGINE = "bedrest"  # a further name beside those of `METHODS`; it is not trained here


@dataclass(frozen=True)
class Metric:
    """A column of a paper's table."""

    title: str  # as the paper has it
    value: str  # value, spread: names of fields of `MethodScore`; no spread where the paper gives none
    spread: str = ""
    scale: float = 1.0  # scale, digits: the value is multiplied by `scale` and shown with so many digits
    digits: int = 2


@dataclass(frozen=True)
class ProtocolRow:
    """One row of a table: a method with its choices."""

    name: str  # names a folder
    title: str  # as in the paper
    method: str  # of `registry.METHODS`, or `OWN_ENGINE`
    choices: MethodOptions = field(default_factory=MethodOptions)
    published: Mapping[str, str] = field(default_factory=dict)  # mapping of a metric's title to what was printed
    uses: str = ""  # name of the row whose networks this one takes: one training serves both. Empty: its own
    # taken where not every visit has the method's own contrasts. Empty: then the row fails
    otherwise: tuple[Contrast, ...] = ()


@dataclass(frozen=True)
class MethodsTable:
    """One line a row of the protocol, published and ours side by side."""

    name: str
    title: str
    head: str
    metrics: tuple[Metric, ...]


@dataclass(frozen=True)
class ScansTable:
    """One line a test scan, one column a disc, of one value; published means of discs 1 to 7, and of all."""

    name: str
    title: str
    value: str  # column of `METHOD_DISCS`
    digits: int
    published: tuple[float, ...]
    published_mean: float


@dataclass(frozen=True)
class DiscsTable:
    """One line each for published and ours, one column a disc: mean Dice of a row of the protocol."""

    name: str
    title: str
    row: str
    published: tuple[float, ...]
    published_mean: float


@dataclass(frozen=True)
class ArvdTable:
    """One line a disc, one column a subject: arvd, of visits after the reference visit; published means of subjects."""

    name: str
    title: str
    published: tuple[float, ...]
    published_summary: tuple[float, float, float]  # mean, median, largest


@dataclass(frozen=True)
class DirectionsTable:
    """One line a direction: trained at one visit, tested at the other."""

    name: str
    title: str
    metrics: tuple[Metric, ...]
    published: tuple[Mapping[str, str], Mapping[str, str]]  # visit 1 to 2, visit 2 to 1


@dataclass(frozen=True)
class ChangeTable:
    """One line a disc: mean absolute change of volume between the visits, drawn and automatic."""

    name: str
    title: str


@dataclass(frozen=True)
class WeberTable:
    """One line a contrast: intensities of discs and of all else, absolute Weber contrast."""

    name: str
    title: str
    # mapping of contrast to (disc, background, Weber contrast) as printed
    published: Mapping[Contrast, tuple[str, str, str]]


Shape = WeberTable | MethodsTable | ScansTable | DiscsTable | ArvdTable | DirectionsTable | ChangeTable


@dataclass(frozen=True)
class Protocol:
    """What one command trains and tests."""

    name: str
    title: str
    source: str  # the paper
    data: str  # what the published figures were measured on
    rows: tuple[ProtocolRow, ...]
    tables: tuple[Shape, ...]
    # train at one visit, test at the other, the same subjects on both sides. Else the split is by subject
    by_visit: bool = False
    notes: tuple[str, ...] = ()  # what differs from the paper
