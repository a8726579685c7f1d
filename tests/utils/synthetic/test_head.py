"""The committed head is sound; a head that is missing or damaged is one clear error."""

import dataclasses

import numpy as np
import pytest

from synergynet.fileio import InputError
from utils.data.folders import OPEN_FOLDER
from utils.synthetic.head import EYE_LEFT, EYE_RIGHT, SKIN, load_head, write_head


@pytest.fixture(scope="module")
def head():
    return load_head(OPEN_FOLDER)


def test_held_out_people_are_others(head):
    distance = np.linalg.norm(head.identities[None] - head.held_out_identities[:, None], axis=2)
    assert distance.min() > 0.7


def test_head_has_its_parts(head):
    assert set(np.unique(head.part)) == set(range(6))
    face_forward = head.mean[np.unique(head.triangles[head.part == SKIN])]
    for eye, side in ((EYE_LEFT, 1), (EYE_RIGHT, -1)):
        ball = head.mean[np.unique(head.triangles[head.part == eye])]
        assert np.sign(ball[:, 0].mean()) == side
        assert ball[:, 2].max() < face_forward[:, 2].max()


def test_missing_head_is_one_clear_error(tmp_path):
    with pytest.raises(InputError, match=r"head\.npz: file not found"):
        load_head(tmp_path)


def test_damaged_head_is_one_clear_error(tmp_path):
    data = (OPEN_FOLDER / "head.npz").read_bytes()
    (tmp_path / "head.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="not a readable head"):
        load_head(tmp_path)


def test_written_head_is_read_back(tmp_path, head):
    write_head(tmp_path, head)
    again = load_head(tmp_path)
    for field in dataclasses.fields(head):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(head, field.name))
