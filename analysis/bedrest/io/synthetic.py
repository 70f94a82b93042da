"""Is a study synthetic by its own description? Then its results are marked as synthetic everywhere."""

from __future__ import annotations

import json
from contextlib import suppress

from bedrest.settings import Study

_WORD = "synthetic"


def says_synthetic(study: Study) -> bool:
    """Whether the word "synthetic" is part of the study's name or description, or of the name of its BIDS dataset."""
    words = [study.name, study.description]
    described = study.images.root / "dataset_description.json"
    if described.is_file():
        with suppress(OSError, ValueError, KeyError, TypeError):  # damaged: not written by this toolkit
            words.append(str(json.loads(described.read_text())["Name"]))
    return any(_WORD in w.lower() for w in words)
