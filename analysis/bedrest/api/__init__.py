"""The Python interface: what `import bedrest` offers. Each name loads its libraries when it is first used.

The commands `bedrest segment`, `measure` and `evaluate` print what these functions return.
"""

from bedrest.api.opened_study import OpenedStudy, open_study
from bedrest.api.single_scan import evaluate, measure, segment, write_segmentation

__all__ = ["OpenedStudy", "evaluate", "measure", "open_study", "segment", "write_segmentation"]
