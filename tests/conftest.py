"""Shared fixtures: the reference vectors, their morphable model, and the development material."""

from __future__ import annotations

import json
import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from utils import io
from utils.params import ROOT, MorphableModel

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
    io.write_array(folder / "u_shp.npy", arrays["threedmm_u_shp"])
    io.write_array(folder / "u_exp.npy", arrays["threedmm_u_exp"])
    io.write_array(folder / "w_shp_sim.npy", arrays["threedmm_w_shp"])
    io.write_array(folder / "w_exp_sim.npy", arrays["threedmm_w_exp"])
    io.write_array(folder / "keypoints_sim.npy", arrays["threedmm_keypoints"])
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
