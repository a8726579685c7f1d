"""Which face model is used when none is named."""

import shutil

import pytest

from model_building import load_morphable
from synergynet import fileio
from utils.data import folders


def test_the_real_model_wins_over_the_open_one(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "BFM_FOLDER", tmp_path)
    assert folders.default_morphable_folder() == folders.OPEN_FOLDER
    (tmp_path / "u_shp.npy").touch()
    assert folders.default_morphable_folder() == tmp_path


def test_a_real_model_in_part_is_an_error_that_names_it(morphable_folder, tmp_path, monkeypatch):
    folder = shutil.copytree(morphable_folder, tmp_path / "tiny")
    monkeypatch.setattr(folders, "BFM_FOLDER", folder)
    (folder / "u_shp.npy").unlink()
    with pytest.raises(fileio.InputError, match=rf"{folder}: .*u_shp\.npy missing"):
        load_morphable(folders.default_morphable_folder())
