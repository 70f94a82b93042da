"""Whether a study says of itself that nobody was scanned: then its results are called synthetic wherever they stand."""

from __future__ import annotations

import json
from contextlib import suppress

from bedrest.settings import Study

_WORD = "synthetic"


def says_synthetic(study: Study) -> bool:
    """The word stands in the study's description or name, or in the name of its BIDS dataset."""
    words = [study.name, study.description]
    described = study.images.root / "dataset_description.json"
    if described.is_file():
        with suppress(OSError, ValueError, KeyError, TypeError):  # damaged: then no dataset of ours
            words.append(str(json.loads(described.read_text())["Name"]))
    return any(_WORD in w.lower() for w in words)
