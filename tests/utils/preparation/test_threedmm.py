"""3dmm_data from each kind of source, generated in its layout; and what does not belong together.

The layouts of 3DDFA_V2 and of the Basel Face Model are tested on generated files only.
"""

from __future__ import annotations

import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from model_building import load_morphable
from synergynet import fileio
from synergynet.face_model import MorphableModel
from synergynet.morphable_folder import REQUIRED_FILES
from utils.data.folders import OPEN_FOLDER
from utils.preparation import threedmm

NEEDED = (*REQUIRED_FILES, "tri.mat")


@pytest.fixture(scope="module")
def face() -> MorphableModel:
    """A model that looks like a face: the open one."""
    return load_morphable(OPEN_FOLDER)


def write_3ddfa(folder: Path) -> Path:
    """3DDFA's checkout: triangles lie in another folder than the other arrays."""
    for name in NEEDED:
        target = folder / ("visualize" if name == "tri.mat" else "train.configs") / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(OPEN_FOLDER / name, target)
    return folder


def write_3ddfa_v2(folder: Path, face: MorphableModel) -> Path:
    """3DDFA_V2's checkout: one pickle, triangles from 0 on, whitening of 62 under other names."""
    configs = folder / "configs"
    configs.mkdir(parents=True)
    table = {
        "u": face.u.numpy(),
        "w_shp": np.hstack([face.w_shp.numpy()] * 2),  # more columns than are used
        "w_exp": np.hstack([face.w_exp.numpy()] * 2),
        "keypoints": face.keypoints.numpy(),
        "tri": np.zeros((3, 5), np.int32),  # of the uncut face; tri.pkl replaces it
    }
    (configs / "bfm_noneck_v3.pkl").write_bytes(pickle.dumps(table))
    (configs / "tri.pkl").write_bytes(pickle.dumps(face.triangles.T.astype(np.int32)))
    whitening = {"mean": face.param_mean.numpy(), "std": face.param_std.numpy()}
    (configs / "param_mean_std_62d_120x120.pkl").write_bytes(pickle.dumps(whitening))
    return folder


def write_basel(folder: Path, face: MorphableModel) -> Path:
    """The original model's layout: more vertices in another order, everything counted from 1."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    kept = rng.permutation(face.n_vertices + 100)[: face.n_vertices]  # where each vertex comes from
    rows = threedmm._rows_of(kept)
    shape_mean = rng.normal(size=(3 * (face.n_vertices + 100), 1)).astype(np.float32)
    shape_basis = rng.normal(size=(len(shape_mean), 50)).astype(np.float32)
    offset = rng.normal(size=face.u.shape).astype(np.float32) * 100
    shape_mean[rows] = face.u.numpy() - offset
    shape_basis[rows, :40] = face.w_shp.numpy()
    scipy.io.savemat(
        folder / "01_MorphableModel.mat",
        {"shapeMU": shape_mean, "shapePC": shape_basis, "shapeEV": np.ones((50, 1))},
    )
    expression = np.hstack([face.w_exp.numpy(), rng.normal(size=(len(rows), 19))])
    scipy.io.savemat(
        folder / "Exp_Pca.mat",
        {"mu_exp": offset, "w_exp": expression, "sigma_exp": np.ones((29, 1))},
    )
    scipy.io.savemat(
        folder / "model_info.mat",
        {
            "trimIndex": kept[:, None] + 1,
            "keypoints": face.keypoints.numpy()[None, ::3] // 3 + 1,
            "tri": face.triangles.T + 1,
        },
    )
    shutil.copy(OPEN_FOLDER / "param_whitening.pkl", folder)
    return folder


def assert_same_face(got: MorphableModel, want: MorphableModel) -> None:
    for name in ("u", "w_shp", "w_exp"):
        torch.testing.assert_close(getattr(got, name), getattr(want, name), rtol=1e-6, atol=1e-2)
    for name in ("keypoints", "param_mean", "param_std"):
        assert torch.equal(getattr(got, name), getattr(want, name)), name
    np.testing.assert_array_equal(got.triangles, want.triangles)


@pytest.mark.parametrize("kind", ["3ddfa", "3ddfa_v2", "basel"])
def test_each_kind_of_source_gives_the_same_model(tmp_path, face, kind):
    source = {
        "3ddfa": lambda folder: write_3ddfa(folder),
        "3ddfa_v2": lambda folder: write_3ddfa_v2(folder, face),
        "basel": lambda folder: write_basel(folder, face),
    }[kind](tmp_path / "source")
    facts = threedmm.prepare(source, tmp_path / "3dmm_data")
    assert_same_face(load_morphable(tmp_path / "3dmm_data"), face)
    assert facts["vertices"] == face.n_vertices
    assert facts["triangles"] == len(face.triangles)
    assert facts["published"] == {"u": False, "w_shp": False, "w_exp": False}
    written = sorted(path.name for path in (tmp_path / "3dmm_data").iterdir())
    assert written == sorted([*NEEDED, "mean_face.png"])


def test_a_zip_with_extras_beside_the_open_model(tmp_path, face):
    """The published zip's layout; the output folder holds the open model already."""
    uv = np.random.default_rng(0).uniform(size=(face.n_vertices, 2)).astype(np.float32)
    fileio.write_array(tmp_path / "BFM_UV.npy", uv)
    fileio.write_list(tmp_path / "train_aug_120x120.list.train", ["a.jpg"])
    with zipfile.ZipFile(tmp_path / "3dmm_data.zip", "w") as file:
        for name in NEEDED:
            file.write(OPEN_FOLDER / name, f"3dmm_data/{name}")
        for name in ("BFM_UV.npy", "train_aug_120x120.list.train"):
            file.write(tmp_path / name, f"3dmm_data/{name}")
    (tmp_path / "3dmm_data" / "open").mkdir(parents=True)
    facts = threedmm.prepare(tmp_path / "3dmm_data.zip", tmp_path / "3dmm_data")
    assert facts["extras"] == ["BFM_UV.npy", "train_aug_120x120.list.train"]
    assert fileio.read_list(tmp_path / "3dmm_data" / "train_aug_120x120.list.train") == ["a.jpg"]
    np.testing.assert_array_equal(fileio.read_array(tmp_path / "3dmm_data" / "BFM_UV.npy"), uv)
    with pytest.raises(fileio.InputError, match=r"u_shp\.npy: already there"):
        threedmm.prepare(tmp_path / "3dmm_data.zip", tmp_path / "3dmm_data")


def test_a_training_list_that_is_there_already_stays(tmp_path, face):
    """README puts the list and the targets into 3dmm_data/, perhaps before the model."""
    source = write_3ddfa(tmp_path / "source")
    fileio.write_list(source / "train.configs" / "train_aug_120x120.list.train", ["theirs.jpg"])
    output = tmp_path / "3dmm_data"
    fileio.write_list(output / "train_aug_120x120.list.train", ["mine.jpg"])
    facts = threedmm.prepare(source, output)
    assert facts["extras"] == []
    assert fileio.read_list(output / "train_aug_120x120.list.train") == ["mine.jpg"]
    assert (output / "u_shp.npy").is_file()


def test_triangles_are_optional_and_whitening_may_come_from_elsewhere(tmp_path, face):
    source = write_3ddfa(tmp_path / "source")
    shutil.rmtree(source / "visualize")
    (source / "train.configs" / "param_whitening.pkl").unlink()
    with pytest.raises(fileio.InputError, match="pass one with --whitening"):
        threedmm.prepare(source, tmp_path / "out")
    facts = threedmm.prepare(source, tmp_path / "out", OPEN_FOLDER / "param_whitening.pkl")
    assert facts["triangles"] == 0
    assert torch.equal(load_morphable(tmp_path / "out").param_mean, face.param_mean)


def test_the_picture_shows_the_face_and_its_landmarks(face):
    picture = threedmm.mean_face_picture(face)
    assert picture.shape == (360, 720, 3)
    covered = (picture.max(axis=2) > 60).mean()
    assert 0.3 < covered < 0.8
    green = (picture[..., 1].astype(int) - picture[..., 2] > 60).mean()
    assert 0.005 < green < 0.1


# ---------------------------------------------------------------- what does not belong together


def turn_upside_down(folder: Path) -> None:
    path = folder / "train.configs" / "u_shp.npy"
    fileio.write_array(path, -np.load(path))


def use_millimetres(folder: Path) -> None:
    for name in ("u_shp", "u_exp"):
        path = folder / "train.configs" / f"{name}.npy"
        fileio.write_array(path, np.load(path) / 1000)


def remove_basis(folder: Path) -> None:
    (folder / "train.configs" / "w_exp_sim.npy").unlink()


def shorten_basis(folder: Path) -> None:
    path = folder / "train.configs" / "w_exp_sim.npy"
    fileio.write_array(path, np.load(path)[:-3])


def break_triangles(folder: Path) -> None:
    (folder / "visualize" / "tri.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(100))


def add_another_model(folder: Path) -> None:
    shutil.copytree(folder / "train.configs", folder / "copy")  # alone, no harm
    fileio.write_array(folder / "copy" / "u_shp.npy", np.zeros((9, 1)))


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (turn_upside_down, "its mean face is not a face .*eyes are not above the mouth"),
        (use_millimetres, "its mean face is not a face .*not in micrometres"),
        (remove_basis, r"w_exp_sim\.npy missing"),
        (shorten_basis, r"w_exp_sim\.npy: shape \(\d+, 10\), expected \(\d+, 10\)"),
        (break_triangles, r"tri\.mat: not a readable \.mat file"),
        (add_another_model, r"copy/u_shp\.npy and train\.configs/u_shp\.npy in it differ"),
        (empty, "no morphable model in it"),
        (shutil.rmtree, "no such folder or zip"),
    ],
)
def test_bad_sources_are_named_and_leave_nothing(tmp_path, break_it, message):
    source = write_3ddfa(tmp_path / "source")
    break_it(source)
    with pytest.raises(fileio.InputError, match=message):
        threedmm.prepare(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("variable", "file", "value", "message"),
    [
        ("trimIndex", "model_info.mat", None, "no .mat in it has trimIndex"),
        ("trimIndex", "model_info.mat", lambda kept: kept + 10**6, "trimIndex outside the"),
        ("trimIndex", "model_info.mat", lambda kept: kept[1:], "w_exp has .* rows, three for"),
        ("keypoints", "model_info.mat", lambda points: points[:, 1:], "not 204 rows"),
        ("keypoints", "model_info.mat", lambda points: points[:, ::-1], "is not a face"),
    ],
)
def test_index_maps_that_do_not_fit(tmp_path, face, variable, file, value, message):
    source = write_basel(tmp_path / "source", face)
    table = {k: v for k, v in scipy.io.loadmat(source / file).items() if k[0] != "_"}
    old = table.pop(variable)
    if value is not None:
        table[variable] = value(old)
    scipy.io.savemat(source / file, table)
    with pytest.raises(fileio.InputError, match=message):
        threedmm.prepare(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"u": Path("x")}, "refused"),
        ([1, 2], "no array 'u' in it"),
        ({"u": np.zeros(9), "w_shp": [1]}, "no array 'w_shp' in it"),
        ({"u": np.full(9, np.nan)}, "not finite"),
    ],
)
def test_a_pickle_of_something_else_is_refused(tmp_path, face, content, message):
    source = write_3ddfa_v2(tmp_path / "source", face)
    (source / "configs" / "bfm_noneck_v3.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(fileio.InputError, match=rf"bfm_noneck_v3\.pkl: .*{message}"):
        threedmm.prepare(source, tmp_path / "out")


def test_messages_name_files_where_the_user_has_them(tmp_path):
    """Neither the folder that a zip is unpacked to, nor the one that is written to first."""
    source = write_3ddfa(tmp_path / "source")
    fileio.write_array(source / "train.configs" / "u_exp.npy", np.zeros((3, 1)))
    with zipfile.ZipFile(tmp_path / "3DDFA.zip", "w") as file:
        for path in source.rglob("*.*"):
            file.write(path, path.relative_to(source))
    for given in (source, tmp_path / "3DDFA.zip"):
        with pytest.raises(fileio.InputError) as caught:
            threedmm.prepare(given, tmp_path / "out")
        assert str(caught.value).startswith(f"{given}/u_exp.npy: shape (3, 1)")


# ---------------------------------------------------------------- real arrays


def test_real_arrays_are_recognised(shared_folder, tmp_path):
    facts = threedmm.prepare(shared_folder / "data" / "3dmm_bfm", tmp_path / "out")
    assert facts["published"] == {"u": True, "w_shp": True, "w_exp": True}
    assert (facts["vertices"], facts["triangles"]) == (53215, 105840)
    source = load_morphable(shared_folder / "data" / "3dmm_bfm")
    assert load_morphable(tmp_path / "out").hash == source.hash
