"""Names that stand for subjects in what is handed on: the key, words and tables under them, and the search for leaks.

The key is random and the only secret: no name can be inferred from a pseudonym. Knows no pages.
"""

from __future__ import annotations

import html
import os
import re
import secrets
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

import pandas as pd

from bedrest.errors import Problem
from bedrest.findings import Finding, encode
from bedrest.io.tables.finding_cells import findings_of
from bedrest.io.tables.typed_csv import read_table, write_table
from bedrest.schemas import FAILURES, INPUT_PROBLEMS, PSEUDONYMS, SUBJECTS, Table
from bedrest.vocabulary import FindingStage

HIDDEN_FILE, HIDDEN_REASON = "(a file of the study)", "a problem with the input; the study's own pages tell which"
# Columns that identify a subject as the name does; checksums of images do so too.
_DROPPED = ("scan_time", "age", "sex", "height_cm", "weight_kg")
_LONG = 6
_PICTURES = (".png", ".webp", ".jpeg", ".jpg")
_DATA = re.compile(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=\s]*")
_PDF_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.DOTALL)


def load_key(path: Path, subjects: Iterable[str]) -> dict[str, str]:
    """Pseudonyms of subjects: those of the key file, and random ones for new subjects, which are added to it.

    The file may be read and written by its owner alone.
    """
    known = read_table(path, PSEUDONYMS) if path.exists() else pd.DataFrame(columns=PSEUDONYMS.column_names)
    names = dict(zip(known["subject"], known["pseudonym"], strict=True))
    new = sorted(set(subjects) - set(names))
    taken = {n.lower() for n in (*names, *names.values(), *new)}
    letter = next(x for x in ("P", "Q", "X", "Pseudonym-") if not any(re.match(rf"{x}\d", n, re.I) for n in new))
    free = [n for n in (f"{letter}{i:02d}" for i in range(1, len(new) + len(taken) + 1)) if n.lower() not in taken]
    if new:
        names |= dict(zip(new, secrets.SystemRandom().sample(free[: len(new)], len(new)), strict=True))
        before = os.umask(0o077)
        try:
            write_table(pd.DataFrame(names.items(), columns=PSEUDONYMS.column_names), path, PSEUDONYMS)
        finally:
            os.umask(before)
    return names


@dataclass(frozen=True)
class Pseudonyms:
    """How words and tables look to those who must not know who is who."""

    names: Mapping[str, str]  # subject -> pseudonym
    sessions: tuple[str, ...]
    files: tuple[str, ...]  # paths of the study's files
    folders: tuple[str, ...]  # that no path may show: the study's, its images', its results', the user's home

    @staticmethod
    def is_common(name: str) -> bool:
        """Could this name be a number or a letter that means something else? Then it is known by its place alone."""
        return len(name) < 3 or (name.isdigit() and len(name) < 6)

    @cached_property
    def _paths(self) -> re.Pattern[str]:
        known = sorted(map(re.escape, self.files), key=len, reverse=True)
        below = [rf"{re.escape(f)}(?:/[^\s,;:'\")]*)?" for f in sorted(self.folders, key=len, reverse=True)]
        return re.compile("|".join([*known, *below]) or r"(?!)")

    def pattern(self, *common_places: str) -> re.Pattern[str]:
        """A name by itself; a common one only before a session, in quotes, or in a place, where {} stands for it."""
        names = [re.escape(n) for n in sorted(self.names, key=len, reverse=True)]
        sure = "|".join(n for n in names if not self.is_common(n))
        common = f"(?:{'|'.join(n for n in names if self.is_common(n))})"
        visit = "|".join(map(re.escape, self.sessions))
        parts = [rf"(?<![A-Za-z0-9])(?:{sure})(?![A-Za-z0-9])"] if sure else []
        if common != "(?:)":
            parts += [rf"(?<![A-Za-z0-9.]){common}(?=[ _/](?:{visit}))", f"(?<='){common}(?=')",
                      *(place.replace("{}", common) for place in common_places)]
        return re.compile("|".join(parts) or r"(?!)")

    @cached_property
    def _name(self) -> re.Pattern[str]:
        return self.pattern(r"\A{}(?=\Z|:| \()")

    def words(self, text: str) -> str:
        """Words with pseudonyms in place of names and without paths."""
        return self._name.sub(lambda m: self.names[m[0]], self._paths.sub(HIDDEN_FILE, text))

    def _hidden(self, finding: Finding) -> Finding:
        """A finding with pseudonyms in place of names and without paths."""
        values = {name: self.words(v) if isinstance(v, str) else v for name, v in finding.values.items()}
        return replace(finding, values=values, subject=self.names.get(finding.subject, finding.subject))

    def table(self, frame: pd.DataFrame, table: Table) -> pd.DataFrame:
        """Rows of a table, in the order of their pseudonyms; what describes a single subject is left out.

        Reasons of the input stage are left out as well: they quote what stands in files.
        """
        out = frame[[c for c in table.column_names if c in frame.columns]].copy()
        if table is SUBJECTS or "scan_time" in out:
            out = out.drop(columns=[c for c in _DROPPED if c in out])
        if "sha256" in out:
            out["sha256"] = ""
        if table is INPUT_PROBLEMS or table is FAILURES:
            quotes = out["stage"] == FindingStage.INPUT if "stage" in out else pd.Series(True, index=out.index)
            out["reason"], out["findings"] = out["reason"].mask(quotes, HIDDEN_REASON), out["findings"].mask(quotes, "")
        if "findings" in out:
            out["findings"] = [encode(self._hidden(f) for f in findings) for findings in findings_of(out)]
        for column in out.columns:
            if column not in ("subject", "findings") and not pd.api.types.is_numeric_dtype(out[column]):
                out[column] = out[column].map({v: self.words(v) if isinstance(v, str) else v
                                               for v in out[column].unique()})
        if "subject" in out:
            out["subject"] = [self.names.get(s, s) for s in out["subject"]]
            out = out.sort_values("subject", kind="stable", ignore_index=True)
        return out


def find_leaks(folder: Path, hidden: Pseudonyms) -> list[Problem]:
    """Files of a folder that hold a subject's name, or a path of the study, anywhere in their bytes or their own name.

    Text is looked at as it stands and with entities and percent signs read; streams of PDF are unpacked. Names of fewer
    than six characters are looked for as words, and not in the bytes of pictures, where chance would bring them. A name
    that might be a number (see `Pseudonyms.is_common`) is looked for in the subject's column, beside a session, in
    quotes, in links, and as all that a cell or heading holds.
    """
    lower = replace(hidden, names={n.lower(): p for n, p in hidden.names.items()},
                    sessions=tuple(s.lower() for s in hidden.sessions))
    pattern = lower.pattern(r"<(?:td class='key'|a [^>]*|h1|title)>\s*{}[\s,<]", r"(?:subjects|thumbnails)/{}[./]")
    anywhere = [n for n in lower.names if not hidden.is_common(n) and len(n) >= _LONG]
    folders = re.compile("|".join(rf"{re.escape(f)}(?![A-Za-z0-9])" for f in hidden.folders) or r"(?!)")
    problems = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        leak = _first_leak(path, name, anywhere, pattern, folders) or _named_in_column(path, hidden)
        if leak:
            problems.append(Problem(name, "no name of a subject and no path of the study", repr(leak),
                                    "Nothing was handed on. Is it a word of study.toml? Then write that otherwise."))
    return problems


def _first_leak(path: Path, name: str, anywhere: list[str], words: re.Pattern[str], folders: re.Pattern[str]) -> str:
    """The first leak: a long name anywhere, a word that is a name, a path; in any spelling but for paths."""
    raw = path.read_bytes()
    never = re.compile(r"(?!)")
    texts = [(text, words) for text in (name, *_texts(path, raw))]
    for text, names in (*texts, (raw.decode("latin-1"), never)):
        lower = text.lower()
        leak = next((w for w in anywhere if w in lower), "") or names.search(lower) or folders.search(text)
        if leak:
            return leak if isinstance(leak, str) else leak[0]
    return ""


def _texts(path: Path, raw: bytes) -> Iterator[str]:
    """What a file of these bytes says to those who read it; nothing of a picture."""
    if path.suffix == ".pdf":
        for stream in _PDF_STREAM.findall(raw):
            try:
                content = zlib.decompress(stream)
            except zlib.error:
                continue
            if content.isascii():  # fonts and pictures are not
                yield content.decode()
    elif path.suffix not in _PICTURES:
        text = _DATA.sub("data:", raw.decode("utf-8", "replace"))
        yield text
        yield unquote(html.unescape(text))


def _named_in_column(path: Path, hidden: Pseudonyms) -> str:
    if path.suffix != ".csv":
        return ""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return next((s for s in frame.get("subject", []) if s in hidden.names), "")
