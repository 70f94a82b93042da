"""Summaries for reading, against worked-out numbers."""

import pandas as pd
import pytest
from bedrest.findings import Finding, FindingCode, render
from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import FAILURES
from bedrest.statistics.study.summary import failure_counts, volume_methods, volume_methods_words


def test_volumes_by_method_are_held_against_the_one_that_counts():
    rows = [("L4-L5", "joint", 100.0, 98.0, 101.0), ("L4-L5", "joint", 200.0, 192.0, 206.0),
            ("L1-L2", "voxels", 50.0, 50.0, 50.0), ("L1-L2", "voxels", float("nan"), 1.0, 1.0),
            ("unnamed-1", "joint", 10.0, 1.0, 1.0)]
    measures = pd.DataFrame(rows, columns=["level", "volume_method", "volume_mm3", "volume_voxels_mm3",
                                           "volume_single_mm3"])
    found = volume_methods(measures)
    assert list(found["level"]) == ["L1-L2", "L4-L5"] and list(found["n"]) == [1, 2]
    assert found["counted, mean (%)"].to_list() == pytest.approx([0, -3])
    assert found["single, mean (%)"].to_list() == pytest.approx([0, 2])
    assert found.at[1, "counted, SD (%)"] == pytest.approx(2 ** 0.5)
    assert volume_methods_words(measures) == "Discs by volume_method: 3 joint, 1 voxels."
    assert volume_methods_words(measures.head(0)) == "Discs by volume_method: none was measured."


def test_findings_of_one_code_are_counted_together():
    def pieces(percent: float) -> Finding:
        return Finding(FindingCode.IN_PIECES, {"stray_percent": percent})

    edge, lost = Finding(FindingCode.AT_IMAGE_EDGE), Finding(FindingCode.DISC_IN_GAP)
    rows = [("a", "flagged", [pieces(21.5), edge]), ("a", "flagged", [pieces(30)]), ("b", "flagged", [pieces(3)]),
            ("c", "failed", [lost])]
    failures = typed_frame(({"stage": "measure", "subject": who, "status": status, "findings": findings}
                            for who, status, findings in rows), FAILURES)
    found = failure_counts(failures)
    assert found.iloc[0][["code", "cases", "subjects"]].to_list() == ["in_pieces", 3, 2]
    assert found.iloc[0]["example"] == render(pieces(21.5))
    assert set(found["code"]) == {"in_pieces", "at_image_edge", "disc_in_gap"}
    assert found.set_index("code").at["disc_in_gap", "status"] == "failed"
    assert failure_counts(failures.head(0)).empty
