# ruff: noqa: E501 (a table: a case is a line)
"""Files made to hurt: each is refused in one line that names it, without memory or code.

A case is one line of CASES: a reader, and the bytes it is given. Fuzzers follow: whole files with
bytes changed, cut off and repeated, with a fixed seed.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import scipy.io
import torch

from model_building import read_checkpoint
from synergynet import fileio
from synergynet.detection.detectors import read_boxes
from synergynet.face_model import read_face_model
from synergynet.matfile import read_mat_array
from synergynet.morphable_folder import read_whitening
from synergynet.weights import read_weights
from utils.data.folders import OPEN_WEIGHTS, ROOT
from utils.data.mat import read_mat
from utils.inference.loading import load_model
from utils.preparation.aflw2000 import read_label
from utils.preparation.archive import open_zip
from utils.preparation.labels import read_face_label
from utils.preparation.own_photos import read_landmarks, read_pts

BOMB = 300_000_000  # bytes, of zeros
MOST_MEMORY = 100_000_000  # bytes that refusing a file may take, beyond what its imports do
FUZZED = int(os.environ.get("FUZZED", 150))  # variants of each whole file; `make attack`: 5,000


# ---------------------------------------------------------------- bytes


def npy(header: str, content: bytes = b"") -> bytes:
    """A `.npy` file whose header says anything."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


def npz(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def whole_npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def bomb(size: int) -> bytes:
    """A `.npy` file of zeros, small when compressed."""
    return npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size},)}}", bytes(size))


class Call:
    """Pickled, a call of any function."""

    def __init__(self, function: Callable, *arguments: Any):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def dtype_with_state(state: tuple) -> bytes:
    """A pickle of an array whose dtype has any state: numpy's own would believe it."""
    data = pickle.dumps(np.zeros(3), 2)
    plain = pickle.dumps(np.dtype("f8").__reduce__()[2], 2)[2:-1]
    at = data.index(b"(K\x03")
    end = data.index(b"b", at)
    assert plain[:3] == b"(K\x03"
    return data[:at] + pickle.dumps(state, 2)[2:-1] + data[end:]


def checkpoint(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def zip_bomb(size: int) -> bytes:
    """A checkpoint's zip, rewritten compressed, with a tensor of zeros."""
    plain = zipfile.ZipFile(io.BytesIO(checkpoint({"a": torch.zeros(size // 4)})))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in plain.infolist():
            archive.writestr(member.filename, plain.read(member))
    return file.getvalue()


def mat(**arrays: Any) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, arrays, do_compression=True)
    return file.getvalue()


def read_tri(path: Any) -> np.ndarray:
    return read_mat_array(path, "tri")


def label(**changes: Any) -> bytes:
    """A label of AFLW2000-3D with other arrays."""
    points = np.random.default_rng(0).uniform(10, 400, (3, 68))
    whole = {
        "pt3d_68": points,
        "Pose_Para": np.ones((1, 7)),
        "Shape_Para": np.zeros((199, 1)),
        "Exp_Para": np.zeros((29, 1)),
    }
    return mat(**{key: value for key, value in {**whole, **changes}.items() if value is not None})


def shipped(**entries: Any) -> Callable[[], bytes]:
    """The shipped checkpoint with other entries, among them those of its `state`."""

    def make() -> bytes:
        whole = read_checkpoint(OPEN_WEIGHTS)
        state = whole["state_dict"] | entries.pop("state", {})
        return checkpoint(whole | {"state_dict": state} | entries)

    return make


def zipped(*names: str, content: bytes = b"x", mode: int = 0, size: int | None = None) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # about names that are there already
        for name in names:
            member = zipfile.ZipInfo(name)
            member.external_attr, member.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(member, bytes(size) if size else content)
    return file.getvalue()


def encrypted(data: bytes) -> bytes:
    """A zip whose members say that they need a password."""
    at = data.index(b"PK\x01\x02") + 8
    return data[:6] + b"\x01" + data[7:at] + b"\x01" + data[at + 1 :]


def picture(suffix: str, cut: slice = slice(None)) -> bytes:
    """A small picture's bytes, or a part of them."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    return cv2.imencode(suffix, noise)[1].tobytes()[cut]


def pts(count: int = 68, end: str = "}", number: str = "1.5 2.5") -> bytes:
    return ("version: 1\nn_points: 68\n{\n" + f"{number}\n" * count + end).encode()


def read_csv_points(path: Any, suffix: str = ".csv") -> Any:
    """Points of one photo; what is wrong with a photo's points does not stop the others'."""
    points = read_landmarks(Path(path).rename(f"{path}{suffix}"), ["a.jpg"])["a.jpg"]
    if isinstance(points, fileio.InputError):
        raise points
    return points


def read_json_points(path: Any) -> Any:
    return read_csv_points(path, ".json")


BN = "module.I2P.backbone.features.1.conv.0.1.weight"  # (32,)
WEIGHTS = checkpoint({"state_dict": {"w": torch.arange(4000.0)}})
WHITENING = {"param_mean": np.zeros(62), "param_std": np.ones(62)}
HEADER = "{{'descr': {}, 'fortran_order': False, 'shape': {}}}"

# what, reader, bytes: one line a case
CASES: list[tuple[str, Callable, bytes | Callable[[], bytes]]] = [
    ("empty array", fileio.read_array, b""),
    ("array without a header", fileio.read_array, b"\x93NUMPY\x01\x00"),
    ("array of petabytes", fileio.read_array, npy(HEADER.format("'<f8'", "(1 << 50,)"))),
    ("array of petabytes, said plainly", fileio.read_array, npy(HEADER.format("'<f8'", "(10**15,)"))),
    ("array larger than its file", fileio.read_array, npy(HEADER.format("'<f8'", "(1000,)"), b"12")),
    ("array of negative size", fileio.read_array, npy(HEADER.format("'<f8'", "(-5,)"), b"12")),
    ("header with an open bracket", fileio.read_array, npy("{'descr': ((((((", b"")),
    ("header that is no dict", fileio.read_array, npy("[1, 2]", b"")),
    ("header that runs code", fileio.read_array, npy("__import__('os').getcwd()", b"")),
    ("header with a deep nest", fileio.read_array, npy("(" * 5000, b"")),
    ("header with null bytes", fileio.read_array, npy("\0\0\0", b"")),
    ("array of objects", fileio.read_array, npy(HEADER.format("'|O'", "(3,)"), bytes(24))),
    ("array of texts", fileio.read_array, whole_npy(np.array(["a", "b"]))),
    ("array of structures", fileio.read_array, whole_npy(np.zeros(2, [("a", "f8")]))),
    ("complex array", fileio.read_array, whole_npy(np.zeros(2, complex))),
    ("array of times", fileio.read_array, whole_npy(np.zeros(2, "M8[s]"))),
    ("array of truths", fileio.read_array, whole_npy(np.zeros(2, bool))),
    ("array with nan", fileio.read_array, whole_npy(np.array([1, np.nan]))),
    ("array with infinity", fileio.read_array, whole_npy(np.array([1, np.inf]))),
    ("text for an array", fileio.read_array, b"1 2 3\n4 5 6\n"),
    ("pickle for an array", fileio.read_array, pickle.dumps(np.zeros(3))),
    ("bomb of 300 MB", fileio.read_arrays, lambda: npz(a=bomb(BOMB))),
    ("bomb beside what is wanted", read_face_model, lambda: npz(u=whole_npy(np.zeros(3)), b=bomb(BOMB))),
    ("npz of objects", fileio.read_arrays, npz(a=npy(HEADER.format("'|O'", "(3,)"), bytes(24)))),
    ("npz of nothing", fileio.read_arrays, b"PK\x05\x06" + bytes(10)),
    ("npz that is cut off", fileio.read_arrays, npz(a=whole_npy(np.zeros(99)))[:-30]),
    ("npz with a wrong sum", fileio.read_arrays, flipped(npz(a=whole_npy(np.arange(999.0))), 400)),
    ("npz of another file", read_face_model, npz(a=whole_npy(np.zeros(3)))),
    ("pickle that calls", fileio.read_pickle, pickle.dumps(Call(print, "code ran"))),
    ("pickle that runs a shell", fileio.read_pickle, b"cposix\nsystem\n(S'exit 7'\ntR."),
    ("pickle that evaluates", fileio.read_pickle, b"c__builtin__\neval\n(S'1'\ntR."),
    ("pickle that gets attributes", fileio.read_pickle, b"c__builtin__\ngetattr\n."),
    ("pickle of numpy's own loader", fileio.read_pickle, b"cnumpy\nload\n(S'x'\ntR."),
    ("pickle of a nested name", fileio.read_pickle, b"\x80\x04\x8c\x05numpy\x8c\x0bndarray.data\x93."),
    ("pickle of an extension", fileio.read_pickle, b"\x80\x02\x82\x01."),
    ("pickle that asks elsewhere", fileio.read_pickle, b"Pname\n."),
    ("dtype with fields", fileio.read_pickle, dtype_with_state((3, "<", None, ("a",), {"a": 1}, 8, 1, 0))),
    ("dtype with a huge size", fileio.read_pickle, pickle.dumps(np.zeros(3, "V8"), 2)),
    ("dtype of objects", fileio.read_pickle, pickle.dumps(np.array([{}, None], object), 2)),
    ("array of texts in a pickle", fileio.read_pickle, pickle.dumps(np.array(["a"]))),
    ("complex array in a pickle", fileio.read_pickle, pickle.dumps(np.zeros(2, complex))),
    ("long doubles in a pickle", fileio.read_pickle, pickle.dumps(np.zeros(2, np.longdouble))),
    ("array with too few bytes", fileio.read_pickle, pickle.dumps(np.zeros(3), 2).replace(b"K\x03\x85", b"K\x09\x85")),
    ("array without a state", fileio.read_pickle, b"cnumpy.core.multiarray\n_reconstruct\n(tR."),
    ("a numpy type alone", fileio.read_pickle, b"cnumpy\nndarray\n."),
    ("a thousand nested lists", fileio.read_pickle, b"\x80\x02" + b"]" * 1000 + b"a" * 999 + b"."),
    ("a list of itself", fileio.read_pickle, b"\x80\x02]q\x00h\x00a."),
    ("pickle that is cut off", fileio.read_pickle, pickle.dumps(WHITENING)[:-40]),
    ("pickle of random bytes", fileio.read_pickle, bytes(range(256))),
    ("empty pickle", fileio.read_pickle, b""),
    ("pickle that promises 2 GB", fileio.read_pickle, b"\x80\x04\x8e" + struct.pack("<Q", 2**31) + b"x"),
    ("byte array of 9 GB", fileio.read_pickle, b"\x80\x05\x96" + struct.pack("<Q", 9 * 10**9) + b"x."),
    ("whitening of 61", read_whitening, pickle.dumps({"param_mean": np.zeros(61), "param_std": np.ones(61)})),
    ("whitening with a deviation of 0", read_whitening, pickle.dumps(WHITENING | {"param_std": np.zeros(62)})),
    ("whitening with a negative one", read_whitening, pickle.dumps(WHITENING | {"param_std": -np.ones(62)})),
    ("whitening with nan", read_whitening, pickle.dumps(WHITENING | {"param_mean": np.full(62, np.nan)})),
    ("whitening of texts", read_whitening, pickle.dumps({"param_mean": "a", "param_std": "b"})),
    ("whitening without names", read_whitening, pickle.dumps([1, 2])),
    ("checkpoint that calls", read_checkpoint, checkpoint({"a": Call(print, "code ran")})),
    ("checkpoint that calls, old format", read_checkpoint, pickle.dumps({"a": Call(print, "code ran")})),
    ("checkpoint of 300 MB of zeros", read_checkpoint, lambda: zip_bomb(BOMB)),
    ("checkpoint that is a list", read_checkpoint, checkpoint([1, 2])),
    ("checkpoint that is a number", read_checkpoint, checkpoint(3)),
    ("checkpoint that is cut off", read_checkpoint, WEIGHTS[:-200]),
    ("checkpoint with a flipped byte", read_checkpoint, flipped(WEIGHTS, len(WEIGHTS) // 2)),
    ("checkpoint with another", read_checkpoint, flipped(WEIGHTS, len(WEIGHTS) // 3)),
    ("empty checkpoint", read_checkpoint, b""),
    ("zip that is no checkpoint", read_checkpoint, npz(a=whole_npy(np.zeros(3)))),
    ("text for a checkpoint", read_checkpoint, b"weights"),
    ("json that nests", fileio.read_json, b"[" * 100_000),
    ("json that nests and closes", fileio.read_json, b"[" * 5000 + b"]" * 5000),
    ("json with 1e400", fileio.read_json, b'{"a": 1e400}'),
    ("json with NaN", fileio.read_json, b'{"a": NaN}'),
    ("json with Infinity", fileio.read_json, b'{"a": -Infinity}'),
    ("json that is cut off", fileio.read_json, b'{"a": [1, 2'),
    ("json of latin text", fileio.read_json, '{"ä": 1}'.encode("latin1")),
    ("empty json", fileio.read_json, b""),
    ("boxes that are a list", read_boxes, b"[[1, 2, 3, 4]]"),
    ("boxes of three numbers", read_boxes, b'{"a.jpg": [[1, 2, 3]]}'),
    ("boxes of texts", read_boxes, b'{"a.jpg": [["1", "b", "3", "4"]]}'),
    ("boxes that are swapped", read_boxes, b'{"a.jpg": [[30, 40, 10, 20]]}'),
    ("boxes of no width", read_boxes, b'{"a.jpg": [[10, 10, 10, 20]]}'),
    ("boxes of objects", read_boxes, b'{"a.jpg": [{"x": 1}]}'),
    ("boxes of null", read_boxes, b'{"a.jpg": [[null, 1, 2, 3]]}'),
    ("boxes beyond floats", read_boxes, b'{"a.jpg": [[0, 0, 1e999, 4]]}'),
    ("list that leaves", fileio.read_names, b"a.jpg\n../b.jpg\n"),
    ("list that leaves in the middle", fileio.read_names, b"a/../../b.jpg\n"),
    ("list with a root", fileio.read_names, b"/etc/passwd\n"),
    ("list with a drive", fileio.read_names, b"C:\\b.jpg\n"),
    ("list that leaves backwards", fileio.read_names, b"..\\b.jpg\n"),
    ("list that is no text", fileio.read_names, b"\xff\xfe\x00\x01"),
    ("picture that is empty", fileio.read_image, b""),
    ("picture that is text", fileio.read_image, b"hello"),
    ("picture of a billion px", fileio.read_image, b"P5 40000 40000 255\n"),
    ("picture of 0 px", fileio.read_image, b"P6 0 0 255\n"),
    ("picture with a huge header", fileio.read_image, b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 2**31) + b"IHDR"),
    ("jpeg that is cut off", fileio.read_image, b"\xff\xd8\xff\xe0\x00\x10JFIF"),
    ("mat that is empty", read_mat, b""),
    ("mat that is cut off", read_mat, mat(a=np.zeros((9, 9)))[:-9]),
    ("mat of 300 MB of zeros", read_mat, lambda: mat(a=np.zeros(BOMB, np.uint8))),
    ("mat with random bytes", read_mat, b"MATLAB 5.0".ljust(126) + b"IM" + bytes(range(200))),
    ("label without points", read_label, label(pt3d_68=None)),
    ("label without pose", read_label, label(Pose_Para=None)),
    ("label of 67 points", read_label, label(pt3d_68=np.ones((3, 67)))),
    ("label of points lying down", read_label, label(pt3d_68=np.ones((68, 3)))),
    ("label of complex points", read_label, label(pt3d_68=np.ones((3, 68), complex))),
    ("label of points in text", read_label, label(pt3d_68=np.full((3, 68), "x"))),
    ("label of points that are objects", read_label, label(pt3d_68=np.full((3, 68), {"a": 1}, object))),
    ("label of points with nan", read_label, label(pt3d_68=np.full((3, 68), np.nan))),
    ("label of points beyond floats", read_label, label(pt3d_68=np.full((3, 68), 1e300))),
    ("label of a structure", read_label, label(pt3d_68={"a": 1})),
    ("label of a complex pose", read_label, label(Pose_Para=np.ones(7, complex))),
    ("label of a pose in text", read_label, label(Pose_Para=np.full((1, 7), "x"))),
    ("label of a pose of 6", read_label, label(Pose_Para=np.ones((1, 6)))),
    ("label of an infinite pose", read_label, label(Pose_Para=np.full((1, 7), np.inf))),
    ("fit without a shape", read_face_label, label(Shape_Para=None)),
    ("fit of a short shape", read_face_label, label(Shape_Para=np.zeros((39, 1)))),
    ("fit of a shape in text", read_face_label, label(Shape_Para="shape")),
    ("fit of a complex shape", read_face_label, label(Shape_Para=np.ones((199, 1), complex))),
    ("fit of a shape with nan", read_face_label, label(Shape_Para=np.full((199, 1), np.nan))),
    ("fit of a short expression", read_face_label, label(Exp_Para=np.zeros((9, 1)))),
    ("fit of an expression of objects", read_face_label, label(Exp_Para=np.full((29, 1), {"a": 1}, object))),
    ("fit of scale 0", read_face_label, label(Pose_Para=np.zeros((1, 7)))),
    ("fit of a negative scale", read_face_label, label(Pose_Para=-np.ones((1, 7)))),
    ("fit of complex points", read_face_label, label(pt3d_68=np.ones((3, 68), complex))),
    ("weights of whole numbers", load_model, shipped(state={BN: torch.ones(32, dtype=torch.int64)})),
    ("weights of 8 bits", load_model, shipped(state={BN: torch.ones(32, dtype=torch.int8)})),
    ("weights of truths", load_model, shipped(state={BN: torch.ones(32, dtype=torch.bool)})),
    ("complex weights", load_model, shipped(state={BN: torch.ones(32, dtype=torch.complex64)})),
    ("sparse weights", load_model, shipped(state={BN: torch.ones(32).to_sparse()})),
    ("weights without numbers", load_model, shipped(state={BN: torch.ones(32, device="meta")})),
    ("quantised weights", load_model, shipped(state={BN: torch.quantize_per_tensor(torch.ones(32), 0.1, 0, torch.qint8)})),
    ("weights with nan", load_model, shipped(state={BN: torch.full((32,), torch.nan)})),
    ("infinite weights", load_model, shipped(state={BN: torch.full((32,), torch.inf)})),
    ("weights of another shape", load_model, shipped(state={BN: torch.ones(31)})),
    ("weights that are a scalar", load_model, shipped(state={BN: torch.tensor(1.0)})),
    ("weights that are text", load_model, shipped(state={BN: "text"})),
    ("weights that are a list", load_model, shipped(state={BN: [1.0] * 32})),
    ("weights that nobody knows", load_model, shipped(state={"module.more": torch.ones(3)})),
    ("weights named by a number", load_model, shipped(state={7: torch.ones(3)})),
    ("whitening of 0 in weights", load_model, shipped(state={"module.param_std": torch.zeros(62)})),
    ("negative whitening in weights", load_model, shipped(state={"module.param_std": -torch.ones(62)})),
    ("negative variance in weights", load_model, shipped(state={"module.I2P.backbone.features.0.1.running_var": -torch.ones(32)})),
    ("arch that is a number", load_model, shipped(arch=3)),
    ("arch that is nothing", load_model, shipped(arch=None)),
    ("arch that is a list", load_model, shipped(arch=["mobilenet_v2"])),
    ("recipe that is a number", load_model, shipped(recipe=3)),
    ("face model that is text", load_model, shipped(morphable="open")),
    ("state that is a list", load_model, shipped(state_dict=[1])),
    ("state that is empty", load_model, shipped(state_dict={})),
    ("optimiser that is a number", load_model, shipped(optimizer=1)),
    ("epoch that is text", load_model, shipped(epoch="two")),
    ("step that is a fraction", load_model, shipped(step=1.5)),
    ("flags that are a list", load_model, shipped(args=[1])),
    ("zip that leads up", open_zip, zipped("../a.jpg")),
    ("zip that leads up in the middle", open_zip, zipped("a/../../b.jpg")),
    ("zip with a root", open_zip, zipped("/etc/a.jpg")),
    ("zip with a drive", open_zip, zipped("C:\\a.jpg")),
    ("zip that leads up backwards", open_zip, zipped("..\\a.jpg")),
    ("zip with a link", open_zip, zipped("a.jpg", mode=0o120777)),
    ("zip with a name twice", open_zip, zipped("a.jpg", "a.jpg")),
    ("zip of 300 MB", open_zip, lambda: zipped("a.jpg", size=BOMB)),
    ("zip with a password", open_zip, encrypted(zipped("a.jpg"))),
    ("zip that is cut off", open_zip, zipped("a.jpg")[:-5]),
    ("zip that is empty", open_zip, b""),
    ("zip that is text", open_zip, b"not a zip"),
    ("points of 67", read_pts, pts(67)),
    ("points of 69", read_pts, pts(69)),
    ("points without an end", read_pts, pts(end="")),
    ("points of one number", read_pts, pts(number="1")),
    ("points of three numbers and text", read_pts, pts(number="1 2 x")),
    ("points with nan", read_pts, pts(number="nan 1")),
    ("points beyond floats", read_pts, pts(number="1e999 1")),
    ("points that are a picture", read_pts, picture(".png")),
    ("empty points", read_pts, b""),
    ("table of 135 numbers", read_csv_points, b"a.jpg" + b",1" * 135),
    ("table of text", read_csv_points, b"a.jpg" + b",x" * 136),
    ("table with nan", read_csv_points, b"a.jpg" + b",nan" * 136),
    ("table without the photo", read_csv_points, b"b.jpg" + b",1" * 136),
    ("empty table", read_csv_points, b""),
    ("table that is a picture", read_csv_points, picture(".png")),
    ("json points that are a list", read_json_points, b"[[1, 2]]"),
    ("json points of one number", read_json_points, b'{"a.jpg": 3}'),
    ("json points of text", read_json_points, b'{"a.jpg": ["x", "y"]}'),
    ("json points of null", read_json_points, b'{"a.jpg": null}'),
    ("png that is cut off", fileio.read_image, picture(".png", slice(-20))),
    ("png without its middle", fileio.read_image, picture(".png", slice(60))),
    ("jpeg without its end", fileio.read_image, picture(".jpg", slice(-2))),
    ("jpeg without its half", fileio.read_image, picture(".jpg", slice(400))),
    ("webp that is cut off", fileio.read_image, picture(".webp", slice(40))),
    ("tiff that is cut off", fileio.read_image, picture(".tiff", slice(100))),
    ("tiff of its first word", fileio.read_image, b"II*\0"),
    ("bmp that is cut off", fileio.read_image, picture(".bmp", slice(60))),
    ("bmp of its header", fileio.read_image, picture(".bmp", slice(54))),
    ("ppm that is cut off", fileio.read_image, picture(".ppm", slice(30))),
    ("avif of its first box", fileio.read_image, b"\0\0\0 ftypavif" + bytes(20)),
    ("avif of boxes without end", fileio.read_image, b"\0\0\0 ftypavif" + b"\0\0\0\x08meta" * 400),
    ("gif of its header", fileio.read_image, b"GIF89a" + bytes(4)),
    ("picture of zeros", fileio.read_image, bytes(500)),
    ("picture that is a zip", fileio.read_image, zipped("a.jpg")),
    ("picture that is a pickle", fileio.read_image, pickle.dumps([1, 2, 3])),
    ("heic", fileio.read_image, b"\0\0\0\x18ftypheic" + bytes(40)),
    ("runtime weights that are text", read_weights, b"weights"),
    ("runtime weights that are empty", read_weights, b""),
    ("runtime weights that are a checkpoint", read_weights, WEIGHTS),
    ("triangles of another name", read_tri, mat(a=np.zeros((3, 9)))),
    ("triangles of texts", read_tri, mat(tri="text")),
    ("triangles that are cut off", read_tri, mat(tri=np.zeros((3, 9)))[:-9]),
    ("triangles that are complex", read_tri, mat(tri=np.zeros((3, 9), complex))),
    ("triangles in a broken stream", read_tri, b"MATLAB".ljust(126) + b"IM" + struct.pack("<II", 15, 9) + b"123456789"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("reader", "data"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_attacks_get_one_line(tmp_path, capfd, reader, data):
    path = tmp_path / "file"
    path.write_bytes(data() if callable(data) else data)
    with pytest.raises(fileio.InputError) as error:
        reader(path)
    message = str(error.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < 400 + len(str(path))
    assert "code ran" not in capfd.readouterr().out


def test_the_flags_of_a_dtype_are_not_believed(tmp_path):
    """numpy would take numbers for pointers, and end the process."""
    path = tmp_path / "file"
    path.write_bytes(dtype_with_state((3, "<", None, None, None, -1, -1, 63)))
    np.testing.assert_array_equal(fileio.read_pickle(path), np.zeros(3))


BOMBS = [case for case in CASES if any(word in case[0] for word in ("bomb", "MB", "GB", "peta"))]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.parametrize(("name", "reader", "data"), BOMBS, ids=[case[0] for case in BOMBS])
def test_bombs_cost_little(tmp_path, name, reader, data):
    """In a process of its own, whose peak of memory is measured."""
    (tmp_path / "file").write_bytes(data() if callable(data) else data)
    program = f"""
from {reader.__module__} import {reader.__name__}

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024

before = peak()
try:
    {reader.__name__}("file")
except Exception as error:
    assert type(error).__name__ == "InputError", repr(error)
print(peak() - before)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < MOST_MEMORY


# ---------------------------------------------------------------- fuzzers

WHOLE: dict[str, tuple[Callable, bytes]] = {
    "npy": (fileio.read_array, whole_npy(np.arange(12.0).reshape(3, 4))),
    "npz": (fileio.read_arrays, npz(a=whole_npy(np.arange(12.0)), b=whole_npy(np.arange(3)))),
    "pickle 2": (fileio.read_pickle, pickle.dumps(WHITENING, 2)),
    "pickle 4": (fileio.read_pickle, pickle.dumps(WHITENING, 4)),
    "pickle 5": (fileio.read_pickle, pickle.dumps(WHITENING, 5)),
    "checkpoint": (read_checkpoint, checkpoint({"a": torch.zeros(9), "arch": "mobilenet_v2"})),
    "mat": (read_mat, mat(a=np.arange(12.0))),
    "tri": (read_tri, mat(tri=np.arange(12.0))),
    "json": (fileio.read_json, json.dumps({"a": [1.5, 2], "b": {"c": "d"}}).encode()),
    "boxes": (read_boxes, json.dumps({"a.jpg": [[1, 2, 30, 40]]}).encode()),
    "list": (fileio.read_names, b"a.jpg\nb/c.jpg\n"),
}


def spoil(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, a part left out, repeated or moved."""
    spoilt = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        start, end = np.sort(rng.integers(0, len(spoilt) + 1, 2))
        kind = rng.integers(4)
        if kind == 0 and spoilt:
            spoilt[rng.integers(len(spoilt))] = rng.integers(256)
        elif kind == 1:
            del spoilt[start : min(end, start + 20)]
        elif kind == 2:
            spoilt[start:start] = spoilt[start : min(end, start + 50)]
        else:
            spoilt[start:start] = rng.bytes(int(rng.integers(1, 9)))
    return bytes(spoilt)


@pytest.mark.filterwarnings("ignore")  # of readers, about what they find
@pytest.mark.parametrize("kind", WHOLE)
def test_spoilt_files_are_read_or_refused(tmp_path, kind):
    """Nothing else: no other error, and no end of the process."""
    reader, data = WHOLE[kind]
    path, rng = tmp_path / "file", np.random.default_rng(list(WHOLE).index(kind))
    refused = 0
    for _ in range(FUZZED):
        path.write_bytes(spoil(data, rng))
        try:
            reader(path)
        except fileio.InputError:
            refused += 1
    assert refused > FUZZED / 10
