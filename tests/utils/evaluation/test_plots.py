"""The benchmark's two plots."""

import numpy as np
import pytest

from utils.evaluation import plots


@pytest.mark.parametrize("count", [1, 300])
def test_plots_are_pictures(count):
    rng = np.random.default_rng(0)
    error, yaw = rng.gamma(3, 1, count), rng.uniform(-95, 95, count)
    for plot in (
        plots.cumulative_error_plot({"a": error, "b": error * 2}, "title"),
        plots.error_against_yaw_plot(error, yaw, "title"),
    ):
        assert plot.ndim == 3
        assert plot.dtype == np.uint8
        assert plot.std() > 5
