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
    value: str  # field of `MethodScore`
    sd: str = ""  # field of `MethodScore`; empty where the paper gives none
    scale: float = 1.0  # of value and SD, as the paper has them
    digits: int = 2


@dataclass(frozen=True)
class ProtocolRow:
    """One row of a table: a method with its choices."""

    name: str  # names a folder
    title: str  # as in the paper
    method: str  # of `registry.METHODS`, or `OWN_ENGINE`
    choices: MethodOptions = field(default_factory=MethodOptions)
    published: Mapping[str, str] = field(default_factory=dict)  # title of a metric to what was printed
    uses: str = ""  # row whose networks this one takes, so that one training serves both; empty: its own
    otherwise: tuple[Contrast, ...] = ()  # taken where a visit lacks the method's contrasts; empty: the row fails


@dataclass(frozen=True)
class Shape:
    """The shape of a table of a paper."""

    name: str
    title: str


@dataclass(frozen=True)
class MethodsTable(Shape):
    """One line a row of the protocol, published and ours side by side."""

    head: str
    metrics: tuple[Metric, ...]


@dataclass(frozen=True)
class ScansTable(Shape):
    """One line a test scan, one column a disc, of one value; published means of discs 1 to 7, and of all."""

    value: str  # column of `METHOD_DISCS`
    digits: int
    published: tuple[float, ...]
    published_mean: float


@dataclass(frozen=True)
class DiscsTable(Shape):
    """One line each for published and ours, one column a disc: mean Dice of a row of the protocol."""

    row: str
    published: tuple[float, ...]
    published_mean: float


@dataclass(frozen=True)
class ArvdTable(Shape):
    """One line a disc, one column a subject: arvd, of visits after the reference visit; published means of subjects."""

    published: tuple[float, ...]
    published_summary: tuple[float, float, float]  # mean, median, largest


@dataclass(frozen=True)
class DirectionsTable(Shape):
    """One line a direction: trained at one visit, tested at the other."""

    metrics: tuple[Metric, ...]
    published: tuple[Mapping[str, str], Mapping[str, str]]  # visit 1 to 2, visit 2 to 1


@dataclass(frozen=True)
class ChangeTable(Shape):
    """One line a disc: mean absolute change of volume between the visits, by the reference masks and automatic."""


@dataclass(frozen=True)
class WeberTable(Shape):
    """One line a contrast: intensities of discs and of all else, absolute Weber contrast."""

    published: Mapping[Contrast, tuple[str, str, str]]  # disc, background, Weber contrast, as printed


@dataclass(frozen=True)
class Protocol:
    """What one command trains and tests."""

    name: str
    title: str
    source: str  # the paper
    data: str  # what the published figures were measured on
    rows: tuple[ProtocolRow, ...]
    tables: tuple[Shape, ...]
    by_visit: bool = False  # trained at one visit, tested at the other, on the same subjects; else split by subject
    notes: tuple[str, ...] = ()  # what differs from the paper
