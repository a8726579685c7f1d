"""The table of files: what is there, missing, damaged, of another shape, published or not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from synergynet import fileio
from utils.data.folders import OPEN_FOLDER
from utils.preparation import inventory


def group_state(root: Path, folder: str, files: str = "") -> inventory.GroupState:
    """The one group of a folder with a file whose name contains `files`."""
    (state,) = [
        s
        for s in inventory.inspect(root)
        if s.group.folder == folder and any(files in f.name for f in s.files)
    ]
    return state


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project folder where the open model's files stand for the Basel Face Model's."""
    shutil.copytree(OPEN_FOLDER, tmp_path / "3dmm_data")
    return tmp_path


def test_an_empty_project_lacks_everything_and_says_whom_to_ask(tmp_path):
    states = inventory.inspect(tmp_path)
    assert len(states) == len(inventory.GROUPS)
    for group, files, usable, problem in states:
        assert usable is None
        assert problem
        assert str(tmp_path) not in problem
        assert {file.state for file in files} == {"missing"}
        assert all((group.what, group.licence, group.ask, group.unlocks))
    assert list(tmp_path.iterdir()) == []


def test_what_ships_is_usable():
    for folder in ("3dmm_data/open", "aflw2000_data/open"):
        state = group_state(inventory.ROOT, folder)
        assert state.problem is None
        assert state.usable
    weights = group_state(inventory.ROOT, "pretrained", "open_mobilenet_v2")
    assert weights.usable.startswith("checkpoint of")


def test_shapes_types_and_hashes(root):
    state = group_state(root, "3dmm_data")
    files = {file.name: file for file in state.files}
    assert state.usable.startswith("morphable model open-2")
    mean = np.load(root / "3dmm_data" / "u_shp.npy")
    assert files["u_shp.npy"] == (
        "u_shp.npy",
        "present",
        mean.shape,
        "float32",
        inventory.content_hash(mean),
        False,
    )
    assert files["param_whitening.pkl"].shape == (2, 62)
    assert files["tri.mat"].shape[0] == 3
    assert files["BFM_UV.npy"].state == "missing"
    basis = np.load(root / "3dmm_data" / "w_exp_sim.npy")
    rows = np.load(root / "3dmm_data" / "keypoints_sim.npy")
    assert files["w_exp_sim.npy"].hash == inventory.content_hash(basis[rows])


def test_a_file_of_another_shape_and_a_damaged_one(root):
    fileio.write_array(root / "3dmm_data" / "w_exp_sim.npy", np.zeros((8460, 9), np.float32))
    (root / "3dmm_data" / "u_exp.npy").write_bytes(b"no array")
    fileio.write_array(root / "3dmm_data" / "BFM_UV.npy", np.zeros((5, 3), np.float32))
    state = group_state(root, "3dmm_data")
    files = {file.name: file for file in state.files}
    assert state.usable is None
    assert files["w_exp_sim.npy"].state == "expected (any, 10)"
    assert files["w_exp_sim.npy"].shape == (8460, 9)
    assert files["BFM_UV.npy"].state == "expected (any, 2)"
    assert files["u_exp.npy"].state.startswith("not a readable .npy array")


def test_arrays_of_other_types(root):
    """Landmark rows saved as floats are usable; triangles that are no numbers are said to be."""
    folder = root / "3dmm_data"
    rows = np.load(folder / "keypoints_sim.npy")
    fileio.write_array(folder / "keypoints_sim.npy", rows.astype(np.float64))
    scipy.io.savemat(folder / "tri.mat", {"tri": np.array(["a", "b"], dtype=object)})
    files = {file.name: file for file in group_state(root, "3dmm_data").files}
    basis = np.load(folder / "w_exp_sim.npy")
    assert files["w_exp_sim.npy"].hash == inventory.content_hash(basis[rows])
    assert files["tri.mat"].state == "holds values that are not finite numbers"


def test_a_content_hash_is_of_values_and_shape():
    array = np.arange(12, dtype=np.uint16).reshape(3, 4)
    assert inventory.content_hash(array) == inventory.content_hash(array.astype(np.int64))
    assert inventory.content_hash(array) != inventory.content_hash(array.reshape(4, 3))
    assert inventory.content_hash(array) == inventory.content_hash(np.asfortranarray(array))
    changed = array.copy()
    changed[2, 3] += 1
    assert inventory.content_hash(array) != inventory.content_hash(changed)
    assert inventory.content_hash(array / 2.0) == inventory.content_hash(np.float32(array / 2))


def test_the_report_and_its_json_hold_every_file(root):
    states = inventory.inspect(root)
    report = inventory.format_report(states)
    values = json.loads(json.dumps(inventory.as_json(states)))
    for state, value in zip(states, values, strict=True):
        assert state.group.ask in report
        assert value["usable"] == state.usable
        assert [f["name"] for f in value["files"]] == [f.name for f in state.files]
        for file in state.files:
            assert file.name in report
            assert file.hash is None or file.hash in report
    assert "not as published" in report


def test_training_data_is_found_where_training_looks(tmp_path):
    images = tmp_path / "train_aug_120x120"
    for name in ("a.jpg", "b.jpg"):
        fileio.write_image(images / name, np.zeros((120, 120, 3), np.uint8))
    fileio.write_list(tmp_path / "3dmm_data" / "train_aug_120x120.list.train", ["a.jpg", "b.jpg"])
    params = np.zeros((2, 102), np.float32)
    fileio.write_pickle(tmp_path / "3dmm_data" / "param_all_norm_v201.pkl", params)
    state = group_state(tmp_path, ".")
    assert state.usable == "training set of 2 crops"
    assert [file.shape for file in state.files] == [(2,), (2,), (2, 102)]


def test_real_files_are_recognised_as_published(shared_folder, tmp_path):
    data = shared_folder / "data"
    shutil.copytree(data / "3dmm_bfm", tmp_path / "3dmm_data")
    shutil.copytree(data / "aflw2000_eval", tmp_path / "aflw2000_data" / "eval")
    shutil.copytree(data / "3ddfa_v2", tmp_path / "pretrained")
    published = [
        file
        for folder, name in (("3dmm_data", ""), ("aflw2000_data", ""), ("pretrained", "mb05"))
        for file in group_state(tmp_path, folder, name).files
        if file.state == "present"
    ]
    assert len(published) == 7 + 4 + 2
    assert all(file.published for file in published)
