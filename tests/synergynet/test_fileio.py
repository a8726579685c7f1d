"""Readers name the file that is wrong; writers leave whole files or none."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
import torch

from model_building import read_checkpoint
from synergynet import fileio
from utils.data.mat import read_mat


class Hostile:
    """A pickle that would create a file when read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


READERS = {
    "picture.jpg": fileio.read_image,
    "array.npy": fileio.read_array,
    "names.list": fileio.read_list,
    "facts.json": fileio.read_json,
    "table.mat": read_mat,
    "table.pkl": fileio.read_pickle,
    "weights.pth.tar": read_checkpoint,
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", [None, b"", b"\x80\xff\xfe nonsense"])
def test_missing_empty_and_damaged_files_are_named(tmp_path, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    if name == "names.list" and content == b"":
        assert fileio.read_list(path) == []
        return
    with pytest.raises(fileio.InputError, match=name) as error:
        READERS[name](path)
    assert "\n" not in str(error.value)


UNREADABLE = {
    "too long": ("x" * 300, "File name too long"),
    "input/output error": ("/proc/self/mem", "Input/output error"),
    "a folder": (".", "is a folder"),
    "no folder": ("/dev/null/x", "file not found"),
    "permission": (None, "Permission denied"),
}


@pytest.mark.parametrize("reader", [*READERS.values(), fileio.read_arrays, fileio.file_hash])
@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_file_that_the_system_refuses_is_named(tmp_path, monkeypatch, reader, kind):
    """One of a thousand pictures must not end the run, whatever is wrong with it."""
    path, message = UNREADABLE[kind]
    if path == "/proc/self/mem" and not os.path.exists(path):
        pytest.skip("no file here that opens and cannot be read")
    if path is None:  # root may read everything
        path = str(tmp_path / "locked")
        Path(path).touch()
        error = PermissionError(13, "Permission denied", path)
        monkeypatch.setattr("builtins.open", lambda *_, **__: (_ for _ in ()).throw(error))
    with pytest.raises(fileio.InputError) as raised:
        reader(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)


def test_a_file_name_of_the_greatest_length_is_written_and_read(tmp_path):
    path = tmp_path / ("é" * 125 + ".json")  # 255 bytes, as much as file systems take
    fileio.write_json(path, 1)
    assert fileio.read_json(path) == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_pictures_that_break_off_are_refused(tmp_path, suffix):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = tmp_path / f"face{suffix}"
    fileio.write_image(path, image)
    assert fileio.read_image(path).shape == (64, 64, 3)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(fileio.InputError, match=f"face{suffix}"):
        fileio.read_image(path)


def test_a_truncated_jpeg_with_an_end_marker_in_its_head_is_refused(tmp_path):
    """Cameras embed thumbnails, whose end marker must not pass for the picture's own."""
    _, data = cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))
    data = data.tobytes()
    thumbnail = b"\xff\xe1\x00\x08" + data[-2:] * 3
    path = tmp_path / "camera.jpg"
    path.write_bytes(data[:2] + thumbnail + data[2:-40])
    with pytest.raises(fileio.InputError, match="is cut off"):
        fileio.read_image(path)


def film(length: int) -> bytes:
    """What a phone appends to a photo: it holds JPEG's scan marker, and no end marker after it."""
    noise = np.random.default_rng(1).integers(0, 255, length, np.uint8).tobytes()  # no 0xff
    return b"\0\0\0\x18ftypmp42" + noise + b"\xff\xda" + noise


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("restart", [0, 2])  # MCUs between restart markers
def test_a_jpeg_ends_where_its_own_end_marker_stands(tmp_path, progressive, restart):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_RST_INTERVAL, restart]
    _, encoded = cv2.imencode(".jpg", image, options)
    whole = encoded.tobytes()
    path = tmp_path / "motion.jpg"
    path.write_bytes(whole + film(1000))
    np.testing.assert_array_equal(fileio.read_image(path), cv2.imdecode(encoded, 1))
    for length in (len(whole) // 2, len(whole) - 2, len(whole) - 1):
        for padding in (b"", bytes(4096)):  # a copy that stopped may leave the rest as zeros
            path.write_bytes(whole[:length] + padding)
            with pytest.raises(fileio.InputError, match="is cut off"):
                fileio.read_image(path)


@pytest.mark.parametrize("value", ["text", True, np.nan, np.inf, 1j])
def test_arrays_hold_finite_numbers(tmp_path, value):
    path = tmp_path / "array.npy"
    np.save(path, np.array([value, value]))
    with pytest.raises(fileio.InputError, match=r"array\.npy: .* not finite numbers"):
        fileio.read_array(path)


def test_pictures_with_trailing_data_are_read(tmp_path):
    """Phones append whole films; what follows the end of a picture is not the picture."""
    path = tmp_path / "motion.png"
    fileio.write_image(path, np.zeros((8, 8, 3), np.uint8))
    path.write_bytes(path.read_bytes() + b"film" * 99)
    assert fileio.read_image(path).shape == (8, 8, 3)
    path.write_bytes(path.read_bytes()[:40] + b"IEND")
    with pytest.raises(fileio.InputError, match="is cut off"):
        fileio.read_image(path)


def test_pictures_too_large_for_opencv_are_refused(tmp_path):
    path = tmp_path / "huge.bmp"
    fileio.write_image(path, np.zeros((8, 8, 3), np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[:18] + (99_999).to_bytes(4, "little") * 2 + data[26:])
    with pytest.raises(fileio.InputError, match=r"huge\.bmp: not a picture"):
        fileio.read_image(path)


def test_hostile_pickles_are_refused_unread(tmp_path):
    path, trap = tmp_path / "evil.pkl", tmp_path / "trap"
    path.write_bytes(pickle.dumps({"param_mean": Hostile(trap)}))
    with pytest.raises(fileio.InputError, match=r"evil\.pkl: refused"):
        fileio.read_pickle(path)
    torch.save({"state_dict": Hostile(trap)}, path)
    with pytest.raises(fileio.InputError, match=r"evil\.pkl: not a checkpoint"):
        read_checkpoint(path)
    assert not trap.exists()


@pytest.mark.parametrize("name", ["builtins.eval", "numpy.load", "os.system"])
def test_the_unpickler_admits_no_other_functions(tmp_path, name):
    module, function = name.split(".")
    path = tmp_path / "evil.pkl"
    path.write_bytes(f"c{module}\n{function}\n(S'1'\ntR.".encode())
    with pytest.raises(fileio.InputError, match="refused"):
        fileio.read_pickle(path)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickles_of_any_protocol_are_read(tmp_path, protocol):
    path = tmp_path / "plain.pkl"
    value = {"a": np.arange(3.0), "b": [1, "x", None], "c": np.float32(2)}
    path.write_bytes(pickle.dumps(value, protocol))
    got = fileio.read_pickle(path)
    np.testing.assert_array_equal(got["a"], value["a"])
    assert (got["b"], got["c"]) == (value["b"], value["c"])


def test_pickles_of_numpy_1_and_python_2_are_read(tmp_path):
    path = tmp_path / "old.pkl"
    data = pickle.dumps(np.arange(3.0), 2)
    path.write_bytes(data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    np.testing.assert_array_equal(fileio.read_pickle(path), np.arange(3.0))


def test_object_arrays_and_other_shapes_are_refused(tmp_path):
    path = tmp_path / "array.npy"
    np.save(path, np.array([{}], object), allow_pickle=True)
    with pytest.raises(fileio.InputError, match=r"array\.npy"):
        fileio.read_array(path)
    np.save(path, np.zeros((3, 2)))
    assert fileio.read_array(path, (None, 2)).shape == (3, 2)
    with pytest.raises(fileio.InputError, match=r"shape \(3, 2\), expected \(any, 3\)"):
        fileio.read_array(path, (None, 3))


def test_checkpoints_are_dicts(tmp_path):
    path = tmp_path / "weights.pth.tar"
    torch.save([1], path)
    with pytest.raises(fileio.InputError, match="holds a list"):
        read_checkpoint(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_that_break_off_are_refused(tmp_path, zipped, recwarn):
    path = tmp_path / "weights.pth.tar"
    torch.save({"a": torch.zeros(64)}, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    for length in range(len(data) // 40, len(data), len(data) // 20):
        path.write_bytes(data[:length])
        with pytest.raises(fileio.InputError, match=r"weights\.pth\.tar: not a checkpoint"):
            read_checkpoint(path)
    assert not recwarn.list


def test_lists_and_json_round_trip(tmp_path):
    fileio.write_list(tmp_path / "names.list", ["a.jpg", "b c.jpg"])
    assert fileio.read_list(tmp_path / "names.list") == ["a.jpg", "b c.jpg"]
    fileio.write_json(tmp_path / "facts.json", {"a": [1, None]})
    assert fileio.read_json(tmp_path / "facts.json") == {"a": [1, None]}
    with pytest.raises(ValueError, match="JSON"):
        fileio.write_json(tmp_path / "nan.json", float("nan"))
    assert not (tmp_path / "nan.json").exists()


def test_mat_files_are_read(tmp_path):
    scipy.io.savemat(tmp_path / "table.mat", {"tri": np.eye(3)})
    np.testing.assert_array_equal(read_mat(tmp_path / "table.mat")["tri"], np.eye(3))


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "new" / "file.txt"

    def write(text):
        with fileio.whole_file(path) as temporary:
            temporary.write_text(text)
            if text == "bad":
                raise RuntimeError

    write("good")
    with pytest.raises(RuntimeError):
        write("bad")
    assert path.read_text() == "good"
    assert list(path.parent.iterdir()) == [path]


def test_output_folders_are_proved_writable(tmp_path):
    assert fileio.make_output_folder(tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(fileio.InputError, match="cannot write here"):
        fileio.make_output_folder(tmp_path / "file" / "sub")


@pytest.mark.parametrize(
    ("error", "code", "printed"),
    [
        (fileio.InputError("a.jpg: not\n a picture"), 2, "error: a.jpg: not a picture\n"),
        (PermissionError(13, "Permission denied", "out"), 2, "error: out: Permission denied\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
        (KeyboardInterrupt("go on later"), 130, "stopped: go on later\n"),
    ],
)
def test_run_command_prints_one_line(capsys, error, code, printed):
    def main(_):
        raise error

    assert fileio.run_command(main, None) == code
    assert capsys.readouterr().err == printed


def test_run_command_passes_results_through_and_bugs_if_asked(monkeypatch, capsys):
    assert fileio.run_command(lambda args: args, 3) == 3
    monkeypatch.delenv("SYNERGYNET_DEBUG")
    assert fileio.run_command(lambda _: 1 / 0, None) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ZeroDivisionError: division by zero (a bug; ")
    assert error.count("\n") == 1
    with pytest.raises(ZeroDivisionError):
        fileio.run_command(lambda _: 1 / 0, argparse.Namespace(debug=True))
    monkeypatch.setenv("SYNERGYNET_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        fileio.run_command(lambda _: 1 / 0, None)


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def fill(path: Path, data: bytes) -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(fileio.InputError, match=r"a\.bin: cannot be written \(No space left"):
        fileio.write_bytes(tmp_path / "a.bin", b"data")
    assert list(tmp_path.iterdir()) == []


def test_all_or_nothing_moves_what_was_written_and_leaves_no_trace(tmp_path):
    with fileio.all_or_nothing(tmp_path / "set", ("a.npy", "folder", "list")) as staging:
        (staging / "folder").mkdir()
        (staging / "folder" / "b").write_text("b")
        (staging / "list").write_text("list")
        (staging / "scratch").write_text("not asked for")
        assert not (tmp_path / "set" / "list").exists()
    assert sorted(p.name for p in (tmp_path / "set").rglob("*")) == ["b", "folder", "list"]
    with (
        pytest.raises(fileio.InputError, match="folder: already there"),
        fileio.all_or_nothing(tmp_path / "set", ("a.npy", "folder")),
    ):
        pass
    assert sorted(p.name for p in (tmp_path / "set").rglob("*")) == ["b", "folder", "list"]


def test_all_or_nothing_writes_nothing_after_an_error(tmp_path):
    def write_half() -> None:
        with fileio.all_or_nothing(tmp_path / "set", ("a",)) as staging:
            (staging / "a").write_text("half")
            raise fileio.InputError("the source ends")

    with pytest.raises(fileio.InputError, match="the source ends"):
        write_half()
    assert not (tmp_path / "set").exists()


def test_npz_files_hold_their_arrays_and_no_more(tmp_path, monkeypatch):
    """Every keyword of numpy 2.1's savez is an array; later versions have settings among them."""
    stored = {}
    savez = np.savez

    def savez_2_1(file, **arrays):
        stored.update(arrays)
        savez(file, **arrays)

    monkeypatch.setattr(np, "savez", savez_2_1)
    fileio.write_arrays(tmp_path / "one.npz", {"one": np.arange(3)})
    assert stored.keys() == {"one"}
    np.testing.assert_array_equal(fileio.read_arrays(tmp_path / "one.npz")["one"], np.arange(3))
