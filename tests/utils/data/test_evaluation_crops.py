"""Which test set is used: the real one, even in part, before the open one."""

import pytest

from synergynet import fileio
from utils.data import evaluation_crops


def test_the_real_test_set_wins_over_the_open_one(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation_crops, "AFLW2000_FOLDER", tmp_path)
    (tmp_path / "open").mkdir()
    assert evaluation_crops.default_test_folder() == evaluation_crops.OPEN_TEST_FOLDER
    fileio.write_list(tmp_path / "AFLW2000-3D_crop.list", ["image00002.jpg"])
    assert evaluation_crops.default_test_folder() == tmp_path


@pytest.mark.parametrize("part", ["AFLW2000-3D_crop/image00002.jpg", "AFLW2000-3D_crop.list"])
def test_a_real_test_set_in_part_is_an_error_that_names_it(tmp_path, monkeypatch, part):
    monkeypatch.setattr(evaluation_crops, "AFLW2000_FOLDER", tmp_path)
    (tmp_path / part).parent.mkdir(exist_ok=True)
    (tmp_path / part).write_text("image00002.jpg")
    with pytest.raises(fileio.InputError, match=f"^{tmp_path}"):
        evaluation_crops.EvaluationCrops(evaluation_crops.default_test_folder())
