"""benchmarks/jitter.py: its two measures on made-up motion, and one short run."""

import numpy as np
import pytest

from benchmarks import jitter

FPS = 25.0


def moving_points(seconds: np.ndarray) -> np.ndarray:
    """Landmarks (N, 3, 68) px on a slow oval path."""
    path = np.stack([40 * np.sin(seconds), 30 * np.cos(2 * seconds), 0 * seconds], 1)  # (N, 3)
    return path[:, :, None] + np.random.default_rng(0).normal(0, 50, (3, 68))


def test_lag_is_the_delay_and_ignores_constant_errors():
    seconds = np.arange(400) / FPS
    truth = moving_points(seconds)
    late = moving_points(seconds - 0.06) + np.random.default_rng(1).normal(0, 5, (3, 68))
    assert jitter.lag_ms(late, truth, FPS) == pytest.approx(60, abs=2)
    assert jitter.lag_ms(truth + 7, truth, FPS) == pytest.approx(0, abs=1e-6)


def test_jitter_is_the_noise_and_ignores_motion():
    truth = moving_points(np.arange(2000) / FPS)
    noise = np.random.default_rng(1).normal(0, 0.5, truth.shape)
    # the mean length of a 2D normal vector is sigma sqrt(pi / 2); differences have sigma sqrt(2)
    assert jitter.jitter_px(truth + noise, truth) == pytest.approx(0.5 * np.sqrt(np.pi), rel=0.01)
    assert jitter.jitter_px(truth + 3, truth) == pytest.approx(0, abs=1e-9)


def test_a_short_run(capsys, monkeypatch):
    monkeypatch.setattr(jitter, "PEOPLE", (1,))
    assert jitter.main(jitter.get_args_parser().parse_args(["--frames", "3"])) == 0
    *_, plain, smoothed = capsys.readouterr().out.splitlines()
    assert plain.startswith("| as it comes |")
    assert smoothed.startswith("| smoothed |")
