"""What BIDS file names and JSON sidecars say of an image: entities, words of Dixon, times, field strength.

Sidecars are inherited as the standard says: one in a folder above stands for every image whose name has its suffix and
all its entities; the nearest one wins, key by key. Only the keys named here are read, and no free text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bedrest.errors import Problem, brief
from bedrest.io.contrast_rules import DIXON_WORDS, FAT_SUPPRESSED, MAX_FIELD_TESLA, NO_USE, field_in_tesla
from bedrest.io.files import require_plain_file
from bedrest.vocabulary import Contrast

MAX_ECHO_S = 1.0  # longer ones are in milliseconds
MAX_REPETITION_S = 100.0  # the same
PHASES = (Contrast.IN_PHASE, Contrast.OPPOSED)
_INDICES = ("echo", "run", "inv", "flip", "chunk", "split")  # entities whose values are numbers, which may be padded
_PHASE_MARK = "ph"  # dcm2niix appends it to what it takes for a phase image, those of ImageType IN_PHASE among them
_MEANINGS: dict[str, Contrast | str] = {"_".join(re.split(r"[^A-Z0-9*]+", word)): meaning
                                        for word, meaning in {**NO_USE, **DIXON_WORDS}.items()}
_LONGEST = max(word.count("_") + 1 for word in _MEANINGS)


@dataclass(frozen=True)
class BidsName:
    """A file name in parts: ``sub-01_echo-1_MEGRE.nii.gz`` has the entities sub and echo and the suffix MEGRE."""

    entities: Mapping[str, str]  # keys in small letters, numbers without leading zeros
    suffix: str

    @classmethod
    def of(cls, path: Path) -> BidsName:
        """The parts of a file's name."""
        *parts, suffix = path.name.removesuffix(".gz").rsplit(".", 1)[0].split("_")
        pairs = [part.split("-", 1) for part in parts if "-" in part]
        entities = {key.lower(): value for key, value in pairs}
        if suffix == _PHASE_MARK and parts and "-" not in parts[-1]:
            entities[_PHASE_MARK], suffix = "", parts[-1]
        return cls({k: v.lstrip("0") or "0" if k in _INDICES and v.isdecimal() else v for k, v in entities.items()},
                   suffix)

    def label(self, entity: str) -> str:
        """The value of an entity in small letters; empty where there is none."""
        return self.entities.get(entity, "").lower()

    @property
    def echo(self) -> int | None:
        """The number of the echo."""
        number = self.entities.get("echo", "")
        return int(number) if re.fullmatch("[0-9]{1,4}", number) else None

    @property
    def marked_as_phase(self) -> bool:
        """Whether dcm2niix took it for a phase image."""
        return _PHASE_MARK in self.entities


@dataclass(frozen=True)
class Sidecar:
    """All sidecars of one image, as one."""

    content: Mapping[str, Any]

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Known words of the image's type, upper case with underscores, however a converter cut or spelt them."""
        parts = [part for key in ("ImageType", "ImageTypeText", "DixonPhase") for part in _parts(self.content.get(key))]
        known, i = [], 0
        while i < len(parts):
            n = next((n for n in range(_LONGEST, 0, -1) if "_".join(parts[i:i + n]) in _MEANINGS), 0)
            if n:
                known.append("_".join(parts[i:i + n]))
            i += n or 1
        return tuple(known)

    @property
    def contrasts(self) -> set[Contrast]:
        """Contrasts that its words say."""
        return {meaning for word in self.words if isinstance(meaning := _MEANINGS[word], Contrast)}

    @property
    def no_use(self) -> str:
        """Why the image is none to measure, as a phase image or a map; empty where nothing speaks against it."""
        # dcm2niix adds PHASE to the words of a magnitude image when it finds IN_PHASE
        words = [w for w in self.words if not (w == "PHASE" and self.contrasts & {*PHASES})]
        words += _parts(self.content.get("ComplexImageComponent"))
        return next((str(m) for w in words if (m := _MEANINGS.get(w)) and not isinstance(m, Contrast)), "")

    @property
    def echo_time_ms(self) -> float:
        """NaN where it does not say."""
        seconds = _number(self.content.get("EchoTime"))
        return seconds * 1e3 if seconds < MAX_ECHO_S else seconds

    @property
    def repetition_time_ms(self) -> float:
        """NaN where it does not say."""
        seconds = _number(self.content.get("RepetitionTime"))
        return seconds * 1e3 if seconds < MAX_REPETITION_S else seconds

    @property
    def contrast_agent(self) -> bool:
        """Whether it names one."""
        given = self.content.get("ContrastBolusIngredient")
        return bool(given) and {*_parts(given)} - {"NONE", "NO", "N", "A"} != set()

    @property
    def field_tesla(self) -> float:
        """NaN where it does not say."""
        return field_in_tesla(*map(_number, map(self.content.get, ("MagneticFieldStrength", "ImagingFrequency"))))

    @property
    def echo_number(self) -> float:
        """The scanner's number of the echo; NaN where it does not say."""
        return _number(self.content.get("EchoNumber"))

    @property
    def sequence(self) -> str:
        """What it says of the sequence: "an echo-planar image", "a spin echo" or "a gradient echo"; else empty."""
        codes = _parts(self.content.get("ScanningSequence"))
        if "EP" in codes:
            return "an echo-planar image"
        return {(True, False): "a spin echo", (False, True): "a gradient echo"}.get(("SE" in codes, "GR" in codes), "")

    @property
    def suppressed(self) -> str:
        """How fat or fluid was suppressed; empty where it does not say."""
        if _number(self.content.get("InversionTime")) > 0 or "YES" in _parts(self.content.get("InversionRecovery")) \
                or any("IR" in _parts(self.content.get(key)) for key in ("ScanningSequence", "ImageType")):
            return "inversion recovery"
        return "fat suppression" if {*FAT_SUPPRESSED} & {*_parts(self.content.get("ScanOptions"))} else ""


class Sidecars:
    """The sidecars of a dataset, each read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[Path, list[tuple[BidsName, Path]]] = {}
        self._contents: dict[Path, dict[str, Any]] = {}
        self.problems: list[tuple[Path, Problem]] = []  # sidecars that cannot be read, or use other units

    def of(self, image: Path) -> Sidecar:
        """What the sidecars of an image below the dataset's root say."""
        name, content = BidsName.of(image), dict[str, Any]()
        above = [folder for folder in image.parents if folder.is_relative_to(self._root)]
        for folder in reversed(above):
            fitting = [(len(other.entities), path) for other, path in self._in(folder)
                       if other.suffix == name.suffix and other.entities.items() <= name.entities.items()]
            # Beside a sidecar of the very name of the image, more general ones are those of other images.
            for _, path in sorted(fitting)[-1:] if len(name.entities) in dict(fitting) else sorted(fitting):
                content |= self._read(path)
        return Sidecar(content)

    def _in(self, folder: Path) -> list[tuple[BidsName, Path]]:
        if folder not in self._files:
            self._files[folder] = [(BidsName.of(p), p) for p in sorted(folder.glob("*.json"))]
        return self._files[folder]

    def _read(self, path: Path) -> dict[str, Any]:
        if path not in self._contents:
            try:
                require_plain_file(path)
                raw = path.read_bytes()
                content = json.loads(raw.decode(json.detect_encoding(raw), errors="replace"))
                if not isinstance(content, dict):
                    raise TypeError("a list" if isinstance(content, list) else "a single value")
            except (OSError, ValueError, TypeError, RecursionError) as error:
                content = {}
                self.problems.append((path, Problem(str(path), "a JSON object, as BIDS sidecars are", brief(error),
                                                    "Repair the sidecar, or remove it: nothing of it is used.")))
            self._contents[path] = content
            self.problems += [(path, problem) for problem in _other_units(path, Sidecar(content))]
        return self._contents[path]


def _other_units(path: Path, sidecar: Sidecar) -> Iterator[Problem]:
    for key, unit, limit, read in (("EchoTime", "s", MAX_ECHO_S, f"{sidecar.echo_time_ms:g} ms"),
                                   ("MagneticFieldStrength", "T", MAX_FIELD_TESLA, f"{sidecar.field_tesla:g} T")):
        value = _number(sidecar.content.get(key))
        if value >= limit:
            yield Problem(f"{path}: {key}", f"below {limit:g} {unit}", f"{value:g}, taken for {read}".replace(
                "taken for nan T", "which is not used"), f"Write it in {unit}, as BIDS asks.")


def _parts(value: Any) -> list[str]:
    """Upper-case parts of a text or of a list of texts, cut at whatever is no letter, digit or asterisk."""
    texts = value if isinstance(value, list) else [value]
    return [part for text in texts if isinstance(text, str) for part in re.split(r"[^A-Z0-9*]+", text.upper()) if part]


def _number(value: Any) -> float:
    """A finite number, NaN for anything else."""
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan
