"""Shared fixtures: the reference vectors, their morphable model, and the development material."""

from __future__ import annotations

import json
import os
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
import torch

from model_building import SynergyNet
from synergynet import fileio
from synergynet.face_model import MorphableModel
from synergynet.geometry.parameters import N_EXPR, N_SHAPE
from synergynet.geometry.pose import Pose, compose_rotation
from utils.data.evaluation_crops import OPEN_TEST_FOLDER, EvaluationCrops
from utils.data.folders import ROOT
from utils.preparation.labels import FaceLabel

os.environ["SYNERGYNET_DEBUG"] = "1"  # bugs are no exit code 2: they fail their test
FIXTURES = Path(__file__).parent / "fixtures"
SHARED = ROOT.parent / "shared"


class Reference:
    """What the published code returned: arrays by name, and the JSON's entries in `facts`.

    tests/fixtures/reference_vectors.* are numbers only, copied from the development material.
    """

    def __init__(self) -> None:
        self.arrays = dict(np.load(FIXTURES / "reference_vectors.npz"))
        self.facts = json.loads((FIXTURES / "reference_vectors.json").read_text())

    def tensor(self, name: str) -> torch.Tensor:
        """A copy of one array."""
        return torch.from_numpy(self.arrays[name].copy())

    def state_dict(self, morphable: MorphableModel) -> dict[str, torch.Tensor]:
        """The published checkpoint of these vectors: every key with `module.`, right dtypes."""
        rows = morphable.keypoints
        known = {
            "param_mean": morphable.param_mean,
            "param_std": morphable.param_std,
            "u": morphable.u,
            "w_shp": morphable.w_shp,
            "w_exp": morphable.w_exp,
            "u_base": morphable.u[rows],
            "w_shp_base": morphable.w_shp[rows],
            "w_exp_base": morphable.w_exp[rows],
        }
        state = {}
        for name, (shape, dtype) in self.facts["state_dict"].items():
            key = name.removeprefix("module.")
            value = known[key] if key in known else reference_tensor(key, tuple(shape))
            state[name] = value.to(getattr(torch, dtype))
        return state


def reference_tensor(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The weights that the reference vectors were computed with, float64."""
    rng = np.random.RandomState(zlib.crc32(key.encode()) & 0x7FFFFFFF)
    if key.endswith("num_batches_tracked"):
        value = np.zeros(shape)
    elif key.endswith("running_var"):
        value = rng.uniform(0.5, 1.5, shape)
    elif key.endswith("running_mean"):
        value = rng.randn(*shape) * 0.1
    elif key.endswith("bias"):
        value = rng.randn(*shape) * 0.05
    elif len(shape) == 1:
        value = rng.uniform(0.8, 1.2, shape)
    else:
        value = rng.randn(*shape) * np.sqrt(2.0 / np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(value))


@pytest.fixture(scope="session")
def reference() -> Reference:
    """The reference vectors of the published system."""
    return Reference()


@pytest.fixture(scope="session")
def tiny_morphable(reference: Reference) -> MorphableModel:
    """A generated morphable model of 600 vertices with the real whitening."""
    u = reference.tensor("threedmm_u_shp") + reference.tensor("threedmm_u_exp")
    return MorphableModel(
        u=u,
        w_shp=reference.tensor("threedmm_w_shp"),
        w_exp=reference.tensor("threedmm_w_exp"),
        keypoints=reference.tensor("threedmm_keypoints"),
        param_mean=reference.tensor("threedmm_mean"),
        param_std=reference.tensor("threedmm_std"),
        triangles=reference.arrays["threedmm_tri"].T.astype(np.int64) - 1,
        name="tiny",
    )


@pytest.fixture(scope="session")
def morphable_folder(reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_morphable` as a 3dmm_data folder; tests must not change it."""
    folder = tmp_path_factory.mktemp("morphable") / "tiny"
    arrays = reference.arrays
    fileio.write_array(folder / "u_shp.npy", arrays["threedmm_u_shp"])
    fileio.write_array(folder / "u_exp.npy", arrays["threedmm_u_exp"])
    fileio.write_array(folder / "w_shp_sim.npy", arrays["threedmm_w_shp"])
    fileio.write_array(folder / "w_exp_sim.npy", arrays["threedmm_w_exp"])
    fileio.write_array(folder / "keypoints_sim.npy", arrays["threedmm_keypoints"])
    scipy.io.savemat(folder / "tri.mat", {"tri": arrays["threedmm_tri"]})
    whitening = {"param_mean": arrays["threedmm_mean"], "param_std": arrays["threedmm_std"]}
    (folder / "param_whitening.pkl").write_bytes(pickle.dumps(whitening))
    return folder


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Development material with real images; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("../shared (development material) is not here")
    return SHARED


@pytest.fixture
def broken(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a file that opens and cannot be read, as on a damaged disk."""
    if not Path("/proc/self/mem").exists():
        pytest.skip("no file here that opens and cannot be read")

    def make(name: str) -> Path:
        path = tmp_path / name
        path.symlink_to("/proc/self/mem")
        return path

    return make


@pytest.fixture
def labelled_photos(tmp_path: Path) -> Path:
    """Two crops of the open test set, put back into black photos, with their labels."""
    crops = EvaluationCrops(OPEN_TEST_FOLDER)
    for row in range(2):
        start, side = crops.labels.roi_box[row, :2], np.ptp(crops.labels.roi_box[row, ::2])
        photo = np.zeros((450, 450, 3), np.uint8)
        x, y = (start - 1).astype(int)
        side = int(side)
        crop = cv2.imread(str(OPEN_TEST_FOLDER / "AFLW2000-3D_crop" / crops.names[row]))
        photo[y : y + side, x : x + side] = cv2.resize(crop, (side, side))
        cv2.imwrite(str(tmp_path / f"{row}.jpg"), photo)
        label = {"pt3d_68": crops.labels.landmarks[row], "Pose_Para": np.zeros((1, 7))}
        scipy.io.savemat(tmp_path / f"{row}.mat", label)
    return tmp_path


@pytest.fixture(scope="session")
def label_landmarks() -> Callable[[FaceLabel, MorphableModel, int], np.ndarray]:
    """From a label of 300W-LP, a face model and the photo's height to the label's 68 landmarks."""
    return _label_landmarks


def _label_landmarks(label: FaceLabel, morphable: MorphableModel, image_height: int) -> np.ndarray:
    """(3, 68) photo px, y down, by 300W-LP's own formulas."""
    rows = morphable.keypoints
    bases = (morphable.u, morphable.w_shp, morphable.w_exp)
    u, w_shp, w_exp = (np.asarray(basis[rows], np.float64) for basis in bases)
    points = u[:, 0] + w_shp @ label.shape[:N_SHAPE] + w_exp @ label.expression[:N_EXPR]  # (204,)
    pitch, yaw, roll = np.rad2deg(label.pose[:3])
    rotation = compose_rotation(Pose(yaw, pitch, roll))
    points = label.pose[6] * rotation @ points.reshape(-1, 3).T + label.pose[3:6, None]  # y up
    points[1] = image_height + 1 - points[1]
    return points


@pytest.fixture
def as_3ddfa_v2() -> Callable[[SynergyNet], dict[str, torch.Tensor]]:
    """Turns a model into 3DDFA_V2's state dict."""
    return _as_3ddfa_v2


def _as_3ddfa_v2(model: SynergyNet) -> dict[str, torch.Tensor]:
    """The model's backbone under 3DDFA_V2's names, which are given here independently."""
    own = model.I2P.backbone.state_dict()
    stages = {2: 2, 3: 2, 4: 2, 5: 6}
    blocks = [f"dw{stage}_{i}" for stage, n in stages.items() for i in range(1, n + 1)] + ["dw6"]
    places = {"features.0.0": "conv1", "features.0.1": "bn1"}
    for number, block in enumerate(blocks, start=1):
        names = {0: "conv_dw", 1: "bn_dw", 3: "conv_sep", 4: "bn_sep"}
        places |= {f"features.{number}.{i}": f"{block}.{name}" for i, name in names.items()}
    state = {}
    for key, value in own.items():
        place, entry = key.rsplit(".", 1)
        if place in places:
            state[f"module.{places[place]}.{entry}"] = value
    for entry in ("weight", "bias"):
        heads = [own[f"classifier_{head}.1.{entry}"] for head in ("ori", "shape", "exp")]
        state[f"module.fc_param.{entry}"] = torch.cat(heads)
        state[f"module.fc_lm.{entry}"] = torch.zeros(136)
    return state
