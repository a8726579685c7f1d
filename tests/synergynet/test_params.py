"""Reading morphable models and whitenings."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
import scipy.io
import torch

from synergynet import fileio, params
from synergynet.params import load_morphable, load_whitening


@pytest.fixture
def folder(morphable_folder, tmp_path):
    """A copy of the tiny 3dmm_data folder that a test may break."""
    return shutil.copytree(morphable_folder, tmp_path / "tiny")


def test_a_nameless_description_is_one_clear_error(folder):
    (folder / "morphable.json").write_text("{}")
    with pytest.raises(fileio.InputError, match=r'morphable\.json: no "name"'):
        load_morphable(folder)


def test_load_morphable_reads_what_was_written(morphable_folder, tiny_morphable):
    model = load_morphable(morphable_folder)
    for name in ("u", "w_shp", "w_exp", "keypoints", "param_mean", "param_std"):
        got, want = getattr(model, name), getattr(tiny_morphable, name)
        assert got.dtype == want.dtype
        assert torch.equal(got, want), name
    np.testing.assert_array_equal(model.triangles, tiny_morphable.triangles)
    assert (model.n_vertices, model.name) == (600, "tiny")
    assert model.hash == tiny_morphable.hash


def test_triangles_are_counted_from_zero(morphable_folder, reference):
    triangles = load_morphable(morphable_folder).triangles
    assert triangles.shape == (598, 3)
    np.testing.assert_array_equal(triangles[0], reference.arrays["threedmm_tri"][:, 0] - 1)


def test_triangles_that_run_clockwise_are_turned(folder, tiny_morphable, reference):
    scipy.io.savemat(folder / "tri.mat", {"tri": reference.arrays["threedmm_tri"][::-1]})
    np.testing.assert_array_equal(load_morphable(folder).triangles, tiny_morphable.triangles)


def test_triangles_may_be_absent_and_a_name_may_be_given(folder):
    (folder / "tri.mat").unlink()
    fileio.write_json(folder / "morphable.json", {"name": "open-9"})
    model = load_morphable(folder)
    assert model.triangles is None
    assert model.name == "open-9"


def test_hash_does_not_follow_the_folder(folder):
    renamed = shutil.copytree(folder, folder.with_name("renamed"))
    assert load_morphable(renamed).name == "renamed"
    assert load_morphable(renamed).hash == load_morphable(folder).hash


def test_hash_follows_the_shape_and_not_the_whitening(folder, tiny_morphable):
    whitened = tiny_morphable.with_whitening(torch.ones(62), torch.ones(62))
    assert whitened.hash == tiny_morphable.hash
    assert torch.equal(whitened.param_mean, torch.ones(62))
    u_shp = fileio.read_array(folder / "u_shp.npy")
    u_shp[5] += 1
    fileio.write_array(folder / "u_shp.npy", u_shp)
    assert load_morphable(folder).hash != tiny_morphable.hash


@pytest.mark.parametrize("keys", [("param_mean", "param_std"), ("mean", "std")])
@pytest.mark.parametrize("entries", [62, 102])
def test_both_kinds_of_whitening_are_read(tmp_path, keys, entries):
    path = tmp_path / "whitening.pkl"
    values = np.arange(entries, dtype=np.float32)
    path.write_bytes(pickle.dumps(dict(zip(keys, (values, values + 1), strict=True))))
    mean, std = load_whitening(path)
    assert torch.equal(mean, torch.arange(62.0))
    assert torch.equal(std, mean + 1)


def test_real_whitenings_agree(shared_folder):
    """3DDFA_V2's file holds the same numbers under other names."""
    ours = load_whitening(shared_folder / "data/3dmm_bfm/param_whitening.pkl")
    theirs = load_whitening(shared_folder / "data/3ddfa_v2/param_mean_std_62d_120x120.pkl")
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_real_model_has_the_basel_faces_size(shared_folder):
    model = load_morphable(shared_folder / "data/3dmm_bfm")
    assert model.n_vertices == 53_215
    assert model.triangles.shape == (105_840, 3)


def spoil_array(name, change):
    def spoil(folder):
        fileio.write_array(folder / name, change(fileio.read_array(folder / name)))

    return spoil


def spoil_triangles(folder):
    scipy.io.savemat(folder / "tri.mat", {"tri": np.full((3, 2), 601)})


def spoil_whitening(table):
    return lambda folder: fileio.write_pickle(folder / "param_whitening.pkl", table)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "no morphable model here"),
        (
            lambda folder: (folder / "w_exp_sim.npy").unlink(),
            r"tiny: no morphable model here \(w_exp_sim\.npy missing\); see README, 'Published",
        ),
        (spoil_array("w_shp_sim.npy", lambda a: a[:, :39]), r"w_shp_sim\.npy: shape \(1800, 39\)"),
        (spoil_array("u_shp.npy", lambda a: a[:1799]), "not a multiple of 3"),
        (spoil_array("u_exp.npy", lambda a: a[:900]), r"u_exp\.npy: shape"),
        (spoil_array("keypoints_sim.npy", lambda a: a + 1800), "keypoints_sim"),
        (spoil_array("keypoints_sim.npy", lambda a: a[:201]), "keypoints_sim"),
        (spoil_triangles, r"tri\.mat: triangles outside"),
        (spoil_array("u_shp.npy", lambda a: a * np.nan), r"u_shp\.npy: .* not finite"),
        (spoil_whitening({"param_mean": np.zeros(62)}), r"param_whitening\.pkl: no whitening"),
        (
            spoil_whitening({"mean": np.full(62, np.nan), "std": np.ones(62)}),
            r"param_whitening\.pkl: .* not finite",
        ),
    ],
)
def test_a_broken_folder_is_named_in_one_line(folder, spoil, message):
    spoil(folder)
    with pytest.raises(fileio.InputError, match=message) as error:
        load_morphable(folder)
    assert "\n" not in str(error.value)


def test_the_real_model_wins_over_the_open_one(tmp_path, monkeypatch):
    monkeypatch.setattr(params, "BFM_FOLDER", tmp_path)
    assert params.default_morphable_folder() == params.OPEN_FOLDER
    (tmp_path / "u_shp.npy").touch()
    assert params.default_morphable_folder() == tmp_path


def test_a_real_model_in_part_is_an_error_that_names_it(folder, monkeypatch):
    monkeypatch.setattr(params, "BFM_FOLDER", folder)
    (folder / "u_shp.npy").unlink()
    with pytest.raises(fileio.InputError, match=rf"{folder}: .*u_shp\.npy missing"):
        load_morphable(params.default_morphable_folder())
