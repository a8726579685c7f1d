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


def test_what_a_plot_cuts_off_is_marked():
    yaw, orange = np.linspace(-80, 80, 300), np.array([14, 127, 255])  # BGR, tab:orange
    error = np.full(300, 3.0)
    marked = []
    for error[150] in (3.0, 80.0):
        plot = plots.error_against_yaw_plot(error, yaw, "title").astype(int)
        marked.append(int((np.abs(plot - orange).max(axis=2) < 10).sum()))
    assert marked[0] == 0
    assert marked[1] > 20
