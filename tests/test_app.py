"""The page to try it: the function behind it, and the server that answers."""

import importlib.util
import io as byte_io
import os
import socket
import subprocess
import sys
import time
import urllib.request

import cv2
import numpy as np
import pytest

from synergy3DMM import SynergyNet
from synergynet import fileio
from synergynet.drawing.texture import unwrap_surface
from utils.data.folders import OPEN_WEIGHTS, ROOT

APP = ROOT / "demo" / "app.py"
CROP = ROOT / "aflw2000_data" / "open" / "AFLW2000-3D_crop" / "face0000003.jpg"


@pytest.fixture(scope="module")
def app():
    """demo/app.py as a module; gradio is imported inside its functions only."""
    spec = importlib.util.spec_from_file_location("demo_app", APP)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def net():
    return SynergyNet(OPEN_WEIGHTS, "cpu", detector="none", refine_crop=True)


@pytest.fixture(scope="module")
def photo():
    return cv2.resize(fileio.read_image(CROP), (360, 360), interpolation=cv2.INTER_CUBIC)


def test_a_photo_gives_pictures_poses_and_a_mesh(app, net, photo):
    trimesh = pytest.importorskip("trimesh")
    before = photo.copy()
    unwrapping = unwrap_surface(net.model, net.model.dense)
    result = app.analyse(net, unwrapping, photo)
    np.testing.assert_array_equal(photo, before)
    assert next(iter(result.pictures)) == "3D face"
    for name, picture in result.pictures.items():
        assert picture.dtype == np.uint8
        assert picture.std() > 5, name
        assert name == "texture" or picture.shape == photo.shape
    angles = np.ravel(net.predict([photo]).pose("exact"))
    assert result.poses[0][0] == 1
    np.testing.assert_allclose(result.poses[0][1:], angles, atol=0.051)
    scene = trimesh.load_scene(byte_io.BytesIO(result.meshes[0]), file_type="glb")
    (mesh,) = scene.geometry.values()
    assert 0.15 < mesh.extents[1] < 0.25  # metres: a head is about 18 cm high
    assert mesh.visual.material.baseColorTexture.size == (1024, 1024)


def test_the_largest_face_comes_first(app, net, photo):
    wide = np.concatenate([cv2.resize(photo, (180, 180)), np.zeros((180, 180, 3), np.uint8)])
    both = np.concatenate([wide, photo], axis=1)
    boxes = np.array([[0, 0, 180, 180, 1.0], [180, 0, 540, 360, 1.0]])
    two = SynergyNet(OPEN_WEIGHTS, "cpu", detector=lambda _: boxes)
    result = app.analyse(two, unwrap_surface(net.model, net.model.dense), both)
    assert [row[0] for row in result.poses] == [1, 2]
    largest = two.predict([both], [boxes[1:]]).pose("exact")
    np.testing.assert_allclose(result.poses[0][1:], np.ravel(largest), atol=0.051)
    assert len(result.meshes) == 2
    assert result.meshes[0] != result.meshes[1]


def test_a_16_bit_grey_photo_is_a_photo_and_errors_name_no_folder(app, photo, tmp_path):
    deep = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY).astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    np.testing.assert_allclose(app.read_photo(str(tmp_path / "deep.png"))[..., 0], deep // 257)
    (tmp_path / "cut.jpg").write_bytes(CROP.read_bytes()[:2000])
    (tmp_path / "notes.jpg").write_text("no picture")
    for name in ("cut.jpg", "notes.jpg", "absent.jpg"):
        with pytest.raises(fileio.InputError, match=f"^{name}: ") as error:
            app.read_photo(str(tmp_path / name))
        assert str(tmp_path) not in str(error.value)


def test_photos_beyond_the_budget_are_refused(app, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(app, "MOST_PIXELS", 1e4)
    fileio.write_image(tmp_path / "large.png", photo)
    with pytest.raises(fileio.InputError, match=r"large\.png: 360 x 360 px, more than"):
        app.read_photo(str(tmp_path / "large.png"))


def test_no_face_is_none(app, net, photo):
    blind = SynergyNet(OPEN_WEIGHTS, "cpu", detector=lambda _: np.empty((0, 5)))
    assert app.analyse(blind, unwrap_surface(net.model, net.model.dense), photo) is None


def test_without_gradio_there_is_one_clear_line(app, net, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(
        fileio.InputError, match=r"gradio is not installed: pip install '\.\[app\]'"
    ):
        app.build_page(net, tmp_path)


@pytest.mark.parametrize("port", ["0", "65536"])
def test_ports_that_cannot_be_are_refused_at_once(app, port):
    with pytest.raises(fileio.InputError, match=f"--port {port}: must be from 1 to 65535"):
        app.main(app.get_args_parser().parse_args(["--port", port]))


def test_a_port_in_use_is_one_clear_line(app):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = [f"--port={port}", "--weights=absent.pth"]  # before anything is loaded
        with pytest.raises(fileio.InputError, match=f"--port {port}: in use"):
            app.main(app.get_args_parser().parse_args(options))


def test_the_server_answers_and_its_function_too(tmp_path):
    pytest.importorskip("gradio")
    client = pytest.importorskip("gradio_client")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, str(APP), f"--port={port}", "--detector=none", "--device=cpu",
               f"--weights={OPEN_WEIGHTS}"]  # fmt: skip
    log = tmp_path / "log"
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, cwd=tmp_path, env=os.environ)
    try:
        page = fetch(url, server, seconds=120)
        assert "SynergyNet" in page, log.read_text()
        asked = client.Client(url, verbose=False, download_files=str(tmp_path))
        answer = asked.predict(client.handle_file(str(CROP)), api_name="/analyse")
        pictures, poses, mesh, files, _ = answer
        assert len(pictures) == 7
        assert len(poses["data"]) == 1
        with open(mesh, "rb") as file:
            assert file.read(4) == b"glTF"
        assert len(files) == 1
        (tmp_path / "notes.txt").write_text("no picture")
        with pytest.raises(Exception, match=r"notes\.txt: not a picture"):
            asked.predict(client.handle_file(str(tmp_path / "notes.txt")), api_name="/analyse")
    finally:
        server.terminate()
        server.wait(30)


def fetch(url: str, server: subprocess.Popen, seconds: float) -> str:
    """The page, once it is there; what is there after so many seconds is an error."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.read().decode()
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                return ""
            time.sleep(0.5)
