"""benchmarks/off_centre.py: its camera against OpenCV's, and what the lens puts right."""

import cv2
import numpy as np
import pytest

from benchmarks import off_centre
from synergynet import SynergyNet, fileio
from synergynet.geometry.camera import rotation_vector
from utils.data.folders import OPEN_FOLDER
from utils.synthetic.pictures import GeneratorSource, load_generator
from utils.synthetic.portrait.projection import project


@pytest.fixture(scope="module")
def generator():
    return load_generator(GeneratorSource.of(OPEN_FOLDER, True, None, ()))


def test_heads_are_drawn_as_opencv_projects_them(generator):
    scene = off_centre.sample_scene(generator, 25, np.random.default_rng(4))
    landmarks = off_centre.landmarks_of(generator, scene.face)
    matrix = np.diag([off_centre.LENS.focal_px, off_centre.LENS.focal_px, 1])
    rvec = rotation_vector(scene.rotation)
    expected, _ = cv2.projectPoints(landmarks, rvec, scene.translation, matrix, None)
    seen = project(off_centre.camera_of_scene(scene, landmarks), landmarks)
    np.testing.assert_allclose(seen[:, :2] * (1, -1), expected[:, 0], atol=1e-6)
    depth = (landmarks @ scene.rotation.T + scene.translation)[:, 2]
    np.testing.assert_array_equal(seen[:, 2].argsort(), (-depth).argsort())  # nearer is larger


def test_the_lens_puts_rotations_right():
    rows = off_centre.measure(SynergyNet(), 30, count=12, seed=1)
    before, after, off = np.median(rows, axis=0)
    assert 22 < before < 38
    assert after < 8
    assert off < 10


def test_a_short_run(capsys):
    args = off_centre.get_args_parser().parse_args(["--count", "1"])
    assert fileio.run_command(off_centre.main, args) == 0
    assert capsys.readouterr().out.count("\n") == 2 + len(off_centre.ASIDE_DEG)
