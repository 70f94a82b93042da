"""Ways to a change, compared on discs whose errors are laid down."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipelines.benchmarks.change.methods import changes, comparison
from pipelines.benchmarks.result_tables import BASELINE, GROWN, REPEAT


def _discs(maker: str, *, joint_slope: float) -> pd.DataFrame:
    """Joint volumes see `joint_slope` of a change; deformation sees it, and an error of +-0.5 % by turns."""
    rows = []
    for k in range(12):
        for session, true in ((BASELINE, 0.0), (REPEAT, 0.0), (GROWN, 3.0)):
            error = 0.005 * (-1) ** k if session != BASELINE else 0.0
            ln = np.log1p(true / 100)
            rows.append({"maker": maker, "condition": "standard", "subject": f"sub-{k:02d}", "session": session,
                         "level": "L4-L5", "true_change_percent": true, "single_mm3": 1000.0,
                         "joint_mm3": 1000 * np.exp(joint_slope * ln), "grid_shifts_sd_mm3": 5.0,
                         "deformation_ln": ln + error, "deformation_ln_se": 0.0035})
    return pd.DataFrame(rows)


def test_attenuation_error_and_cover() -> None:
    table = comparison(changes(_discs("own", joint_slope=0.5))).set_index("way")
    assert table.loc["joint", "slope"] == pytest.approx(0.5)
    assert table.loc["single", "slope"] == 0
    assert table.loc["deformation", "slope"] == pytest.approx(1)
    assert table.loc["deformation", "error_sd"] == pytest.approx(0.5 * np.sqrt(24 / 23))
    assert table.loc["deformation", "covered"] == 100  # +-0.5 within 1.96 x 0.35 x sqrt 2
    assert "regression" not in table.index  # no other maker


def test_regression_is_fitted_on_other_makers() -> None:
    """Of a maker whose joint volumes see all, fitted where they see half: its changes come out doubled."""
    both = pd.concat([_discs("own", joint_slope=0.5), _discs("second", joint_slope=1.0)])
    both.loc[:, "deformation_ln"] = 0.0
    table = comparison(changes(both)).set_index(["maker", "way"])
    assert table.loc[("second", "regression"), "slope"] == pytest.approx(2)
    assert table.loc[("own", "regression"), "slope"] == pytest.approx(0.5)
