"""Summaries for reading, by hand."""

import pandas as pd
import pytest
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


def test_reasons_of_one_kind_are_counted_together():
    failures = pd.DataFrame({
        "stage": "measure", "subject": ["a", "a", "b", "c"], "status": ["flagged", "flagged", "flagged", "failed"],
        "reason": ["wedge of 21.5 deg; touches L4-L5", "wedge of 30 deg", "wedge of -3 deg", "no disc was found"]})
    found = failure_counts(failures)
    assert found.iloc[0][["reason", "cases", "subjects"]].to_list() == ["wedge of N deg", 3, 2]
    assert set(found["reason"]) == {"wedge of N deg", "touches L4-L5", "no disc was found"}
    assert found.set_index("reason").at["no disc was found", "status"] == "failed"
    assert failure_counts(failures.head(0)).empty
