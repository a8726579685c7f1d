"""MATLAB files without SciPy: the same numbers as SciPy reads, and one line where that fails."""

import contextlib
import zlib

import numpy as np
import pytest
import scipy.io

from synergynet import fileio, matfile
from synergynet.matfile import read_mat_array

ARRAYS = {
    "int32": np.arange(12, dtype=np.int32).reshape(3, 4) + 1,
    "small numbers, stored as bytes": np.arange(12.0).reshape(3, 4),
    "double": np.random.default_rng(0).normal(size=(3, 5)),
    "single": np.float32([[1.5, 2.5]]),
    "uint16, small element": np.uint16([[7]]),
    "three axes": np.arange(24, dtype=np.int64).reshape(2, 3, 4),
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_are_what_scipy_wrote(tmp_path, kind, compressed):
    path = tmp_path / "a.mat"
    table = {"before": np.eye(2), "tri": ARRAYS[kind], "text": "x"}
    scipy.io.savemat(path, table, do_compression=compressed)
    np.testing.assert_array_equal(read_mat_array(path, "tri"), ARRAYS[kind])


def test_the_real_triangles(shared_folder):
    path = shared_folder / "data/3dmm_bfm/tri.mat"
    np.testing.assert_array_equal(read_mat_array(path, "tri"), scipy.io.loadmat(path)["tri"])


@pytest.mark.parametrize("compressed", [False, True])
def test_files_cut_off_anywhere_are_refused(tmp_path, compressed):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"tri": ARRAYS["double"]}, do_compression=compressed)
    data = path.read_bytes()
    for length in range(0, len(data) - 1, 7):
        path.write_bytes(data[:length])
        with pytest.raises(fileio.InputError, match=r"a\.mat: (not a readable|no array)"):
            read_mat_array(path, "tri")


@pytest.mark.parametrize(
    "value", ["text", np.array([[1 + 2j]]), {"field": 1}, np.array([["cell"]], object)]
)
def test_what_is_no_real_array_is_refused(tmp_path, value):
    scipy.io.savemat(tmp_path / "a.mat", {"tri": value})
    with pytest.raises(fileio.InputError, match=r"a\.mat: not a readable .*real numbers"):
        read_mat_array(tmp_path / "a.mat", "tri")


def test_an_array_that_is_not_there_and_one_that_is_not_finite_are_named(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"tri": np.array([[np.nan]])})
    with pytest.raises(fileio.InputError, match="no array 'uv'"):
        read_mat_array(tmp_path / "a.mat", "uv")
    with pytest.raises(fileio.InputError, match="not finite"):
        read_mat_array(tmp_path / "a.mat", "tri")


def test_what_unpacks_to_more_than_is_allowed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(matfile, "MAX_BYTES", 1000)
    scipy.io.savemat(tmp_path / "a.mat", {"tri": np.zeros((100, 100))}, do_compression=True)
    with pytest.raises(fileio.InputError, match="too large"):
        read_mat_array(tmp_path / "a.mat", "tri")


def test_random_damage_never_gives_another_error(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"tri": ARRAYS["double"]}, do_compression=False)
    data = np.frombuffer(path.read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(400):
        damaged = data.copy()
        damaged[rng.integers(len(data), size=3)] = rng.integers(256, size=3)
        path.write_bytes(damaged.tobytes())
        with contextlib.suppress(fileio.InputError):
            read_mat_array(path, "tri")


def test_compressed_garbage_is_refused(tmp_path):
    path = tmp_path / "a.mat"
    header = b" " * 124 + b"\x00\x01IM"
    body = zlib.compress(b"nonsense" * 9)
    path.write_bytes(header + (15).to_bytes(4, "little") + len(body).to_bytes(4, "little") + body)
    with pytest.raises(fileio.InputError, match=r"a\.mat: (not a readable|no array)"):
        read_mat_array(path, "tri")
