"""The measurement of the landmark definition finds what was planted."""

import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from benchmarks import landmark_definition
from model_building import load_morphable
from synergynet.geometry.mirror import MIRRORED_LANDMARKS
from utils.data.folders import OPEN_FOLDER
from utils.data.landmark_model import LandmarkModel
from utils.synthetic.head import load_head


@pytest.fixture(scope="module")
def face():
    """Mean landmarks (68, 3) and basis (68, 3, 50) of the open model, mm."""
    model = LandmarkModel.of(load_morphable(OPEN_FOLDER))
    head = load_head(OPEN_FOLDER)
    spread = np.concatenate([head.identities.std(0), head.expressions.std(0)])
    basis = np.concatenate([model.shp, model.expr], axis=2) / 1000
    return model.mean / 1000, basis * spread


def labels_of(mean, basis, rng, count=60):
    """Faces (count, 68, 3) of any pose and scale."""
    coefficients = 0.5 * rng.standard_normal((count, basis.shape[2]))
    points = mean + np.einsum("kcs,ns->nkc", basis, coefficients)
    rotation = Rotation.random(count, random_state=0).as_matrix()
    return 1.7 * np.einsum("nij,nkj->nki", rotation, points) + rng.normal(0, 50, (count, 1, 3))


def test_fit_explains_faces_of_the_model(face):
    labels = labels_of(*face, np.random.default_rng(0))
    _, nme, left = landmark_definition.fit(labels, *face)
    assert nme < 0.2
    assert np.abs(left).max() < 0.1  # mm


def test_planted_offsets_are_found(face):
    """Offsets of single landmarks; a part of them looks like identity and is taken for it."""
    mean, basis = face
    planted = np.zeros((68, 3))
    planted[[36, 45]] = [[1.5, 0, 0], [-1.5, 0, 0]]
    planted[30, 2] = 2.0
    labels = labels_of(mean + planted, basis, np.random.default_rng(1))
    offsets, _, nme = landmark_definition.measure(labels, mean, basis)
    assert nme < landmark_definition.fit(labels, mean, basis)[1]
    error = np.linalg.norm(offsets - (planted - planted.mean(0)), axis=1)
    assert error.mean() < 0.15
    moved = np.abs(planted) > 0
    assert (offsets[moved] / planted[moved] > 0.5).all()


def test_symmetric_displacements_stay():
    rng = np.random.default_rng(0)
    once = landmark_definition.symmetric(rng.standard_normal((68, 3)))
    np.testing.assert_allclose(landmark_definition.symmetric(once), once)
    np.testing.assert_allclose(once[MIRRORED_LANDMARKS] * [-1, 1, 1], once)


def test_frame_is_the_planted_similarity(face):
    turn = Rotation.from_euler("x", 2, degrees=True).as_matrix()
    pitch_deg, scale, shift = landmark_definition.frame(face[0], 1.1 * face[0] @ turn.T + [0, 3, 4])
    assert pitch_deg == pytest.approx(2)
    assert scale == pytest.approx(1.1)
    np.testing.assert_allclose(shift, [0, 3, 4], atol=1e-9)


def test_the_open_model_has_the_landmarks_of_real_labels(shared_folder, capsys, monkeypatch):
    """A model without the measured offsets is off by 1 mm, its frame by 0.9 degrees."""
    monkeypatch.setattr(landmark_definition, "SAMPLES", 500)
    monkeypatch.setattr(landmark_definition, "PASSES", 2)
    args = landmark_definition.get_args_parser().parse_args(
        [
            f"--basel={shared_folder / 'data' / '3dmm_bfm'}",
            f"--labels={shared_folder / 'data' / 'aflw2000_eval' / 'AFLW2000-3D.pts68.npy'}",
        ]
    )
    assert landmark_definition.main(args) == 0
    printed = capsys.readouterr().out
    training, labels = map(float, re.findall(r"definition off by ([\d.]+) mm", printed))
    assert training < 0.2
    assert labels < 0.5
    (pitch_deg,) = map(float, re.findall(r"about x by (\S+) degrees", printed))
    assert abs(pitch_deg) < 0.2
