"""benchmarks/visibility.py: the depth buffers of drawn heads, and how often `Faces` agrees."""

import numpy as np
import pytest

from benchmarks import visibility
from synergynet import SynergyNet, fileio

LEAST = 0.965  # of 40 faces; 97.5 % of many


@pytest.fixture(scope="module")
def drawn():
    net = SynergyNet()
    return *visibility.draw_faces(net, 40, seed=3), net


def test_visibility_agrees_with_the_depth_buffers_of_drawn_heads(drawn):
    labelled, found, seen, _ = drawn
    for faces, least in ((labelled, LEAST), (found, LEAST - 0.02)):
        landmarks, vertices = visibility.agreement(faces, seen)
        assert landmarks.mean() > least
        assert vertices.mean() > least - 0.015


def test_what_is_seen_depends_on_the_pose(drawn):
    labelled, _, seen, net = drawn
    yaw = np.abs(labelled.pose("exact").yaw)
    landmarks = seen[:, net.model.landmark_vertices].mean(axis=1)
    assert np.corrcoef(yaw, landmarks)[0, 1] < -0.5


def test_a_short_run(capsys):
    args = visibility.get_args_parser().parse_args(["--count", "3"])
    assert fileio.run_command(visibility.main, args) == 0
    assert "| of the exact label |" in capsys.readouterr().out
