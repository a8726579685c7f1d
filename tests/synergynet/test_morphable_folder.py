"""Reading morphable models and whitenings."""

from __future__ import annotations

import dataclasses
import pickle
import shutil

import numpy as np
import pytest
import scipy.io
import torch

from model_building import load_morphable
from synergynet import fileio
from synergynet.morphable_folder import read_morphable_folder, read_whitening


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


def test_texture_coordinates_count_when_they_are_the_models(folder):
    own = np.random.default_rng(0).random((600, 2)).astype(np.float32)
    assert read_morphable_folder(folder).uv is None
    fileio.write_array(folder / "BFM_UV.npy", own)
    np.testing.assert_array_equal(read_morphable_folder(folder).uv, own)
    fileio.write_array(folder / "BFM_UV.npy", own[:-1])  # of another face model
    assert read_morphable_folder(folder).uv is None
    (folder / "BFM_UV.npy").write_bytes(b"no array")
    with pytest.raises(fileio.InputError, match=r"BFM_UV\.npy: not a readable"):
        read_morphable_folder(folder)


def test_hash_does_not_follow_the_folder(folder):
    renamed = shutil.copytree(folder, folder.with_name("renamed"))
    assert load_morphable(renamed).name == "renamed"
    assert load_morphable(renamed).hash == load_morphable(folder).hash


def test_hash_follows_the_shape_and_not_the_whitening(folder, tiny_morphable):
    ones = torch.ones(62)
    whitened = dataclasses.replace(tiny_morphable, param_mean=ones, param_std=ones)
    assert whitened.hash == tiny_morphable.hash
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
    mean, std = read_whitening(path)
    np.testing.assert_array_equal(mean, np.arange(62))
    np.testing.assert_array_equal(std, mean + 1)
    assert mean.dtype == std.dtype == np.float32


def test_real_whitenings_agree(shared_folder):
    """3DDFA_V2's file holds the same numbers under other names."""
    ours = read_whitening(shared_folder / "data/3dmm_bfm/param_whitening.pkl")
    theirs = read_whitening(shared_folder / "data/3ddfa_v2/param_mean_std_62d_120x120.pkl")
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


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
