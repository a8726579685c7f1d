"""Turned views: identities, labels that are where the picture shows them, no holes, whole sets."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import prepare_data
from model_building import load_morphable
from synergynet import fileio
from synergynet.fileio import run_command
from synergynet.geometry.camera import camera_of, camera_rotation
from synergynet.geometry.parameters import POSE
from synergynet.geometry.pose import Pose, compose_rotation, exact_angles
from utils.data.folders import OPEN_FOLDER
from utils.data.landmark_model import LandmarkModel
from utils.data.training_crops import TrainingCrops
from utils.preparation import lp300w, turned_views
from utils.preparation.training_set import FaceFile, LabelledFace
from utils.preparation.turned_views import (
    FaceSurface,
    PhotoMesh,
    View,
    ViewReader,
    choose_yaws_deg,
    cut_view,
    photo_mesh,
    with_views,
)

WIDTH, HEIGHT = 500, 420
SHOWN_PX = 2.0  # what a view shows at a landmark is this near; 8-bit colours tell 1 px
# inner landmarks that a face turned to the picture's left shows up to 90 degrees
NEAR_LEFT = [23, 24, 25, 26, 43, 44, 45, 46, 47, 53, 54, 55]


@pytest.fixture(scope="module")
def model() -> LandmarkModel:
    return LandmarkModel.of(load_morphable(OPEN_FOLDER))


@pytest.fixture(scope="module")
def surface() -> FaceSurface:
    return FaceSurface.of(load_morphable(OPEN_FOLDER))


def colour_map(height: int = HEIGHT, width: int = WIDTH, step: float = 2.0) -> np.ndarray:
    """A photo whose blue tells x and whose green tells y; its red is full."""
    image = np.zeros((height, width, 3), np.float64)
    image[:, :, 0] = np.arange(width) / step
    image[:, :, 1] = np.arange(height)[:, None] / step
    image[:, :, 2] = 255
    return image.round().astype(np.uint8)


def place_read_off(image: np.ndarray, points: np.ndarray, step: float = 2.0) -> np.ndarray:
    """Photo px (2, N) of `colour_map` that a view shows at `points` (2, N)."""
    x, y = (points - 1).astype(np.float32)  # photo px count from 1
    colours = cv2.remap(image, x[None], y[None], cv2.INTER_LINEAR)[0]  # (N, 3)
    return step * colours[:, :2].T.astype(np.float64) + 1


def labelled_face(
    model: LandmarkModel, seed: int = 0, yaw_deg: float = 0.0, size: float = 1.0
) -> LabelledFace:
    """A face of about 150 px in the middle of `colour_map`."""
    rng = np.random.default_rng(seed)
    params = rng.normal(model.param_mean, model.param_std)
    pose = Pose(*(np.float64(angle) for angle in (yaw_deg, *rng.uniform(-15, 15, 2))))
    camera = size * 1e-3 * compose_rotation(pose)
    params[POSE] = np.column_stack([camera, np.zeros(3)]).ravel()
    middle = model.decode(params).mean(1)
    params[[3, 7]] += [size * WIDTH / 2 - middle[0], middle[1] - size * HEIGHT / 2]
    image = colour_map(round(size * HEIGHT), round(size * WIDTH), 2 * size)
    return LabelledFace(image, params, model.decode(params), error=0.5)


def angles_deg(face: LabelledFace) -> np.ndarray:
    return np.array(exact_angles(camera_rotation(camera_of(face.params))), np.float64)


def mesh_of(face: LabelledFace, surface: FaceSurface, model: LandmarkModel) -> PhotoMesh:
    return photo_mesh(face, surface, model)


# ---------------------------------------------------------------- pictures and labels


@pytest.mark.parametrize("yaw_deg", [0.0, 30.0, -50.0])
def test_turned_by_nothing_the_view_is_the_photo_itself(model, surface, yaw_deg):
    face = labelled_face(model, 1, yaw_deg)
    rng = np.random.default_rng(0)
    face = dataclasses.replace(face, image=rng.integers(0, 256, face.image.shape, np.uint8))
    mesh = mesh_of(face, surface, model)
    view = mesh.turned(yaw_deg)
    difference = np.abs(view.image.astype(int) - mesh.face.image).max(2)
    assert (difference <= 8).mean() > 0.999  # noise, shown a hundredth of a pixel beside itself
    np.testing.assert_allclose(view.params, mesh.face.params, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(view.landmarks, mesh.face.landmarks, atol=1e-9)
    left, top = np.round(face.landmarks - mesh.face.landmarks)[:2, 0].astype(int)
    rows, columns = mesh.face.image.shape[:2]
    np.testing.assert_array_equal(
        mesh.face.image, face.image[top : top + rows, left : left + columns]
    )


@pytest.mark.parametrize("size", [1.0, 2.7])
def test_a_view_is_cut_out_with_its_label(model, size):
    """Large faces are made smaller; then as before photo and label agree."""
    face = labelled_face(model, 2, 20.0, size)
    view, picture = cut_view(face)
    assert view.image.shape[0] == view.image.shape[1] < 2.2 * turned_views.MOST_FACE_PX
    assert picture.shape[0] > 1.4 * view.image.shape[0]
    np.testing.assert_allclose(model.decode(view.params), view.landmarks, atol=1e-6)
    seen = place_read_off(view.image, view.landmarks[:2], 2 * size)
    np.testing.assert_allclose(seen, face.landmarks[:2], atol=2.5 * size)


@pytest.mark.parametrize("first_deg", [0.0, 35.0])
@pytest.mark.parametrize("yaw_deg", [45.0, 65.0, 88.0])
def test_a_view_shows_its_landmarks_where_its_label_has_them(model, surface, first_deg, yaw_deg):
    """What is seen at the label's landmarks came from the photo's landmarks."""
    for seed in range(3):
        face = labelled_face(model, seed, first_deg)
        mesh = mesh_of(face, surface, model)
        view = mesh.turned(yaw_deg)
        np.testing.assert_allclose(model.decode(view.params), view.landmarks, atol=1e-6)
        seen = place_read_off(view.image, view.landmarks[:2, NEAR_LEFT])
        distance_px = np.hypot(*(seen - face.landmarks[:2, NEAR_LEFT]))
        assert np.median(distance_px) < SHOWN_PX
        assert np.percentile(distance_px, 75) < 2 * SHOWN_PX


def test_the_label_turns_as_it_says(model, surface):
    face = labelled_face(model, 3, 12.0)
    mesh = mesh_of(face, surface, model)
    yaw, pitch, roll = angles_deg(face)
    for turned_deg in (12.0, 40.0, 89.0, -60.0):
        view = mesh.turned(turned_deg)
        np.testing.assert_allclose(angles_deg(view), (turned_deg, pitch, roll), atol=1e-6)
        np.testing.assert_allclose(view.landmarks.mean(1), mesh.face.landmarks.mean(1), atol=1e-9)
        np.testing.assert_array_equal(view.params[12:], face.params[12:])
        assert view.error == face.error
    there = photo_mesh(mesh.turned(50.0), surface, model).turned(yaw)
    np.testing.assert_allclose(there.params[:3], face.params[:3], atol=1e-9)


def test_views_have_no_holes(model, surface, monkeypatch):
    """Every pixel of every view is covered by a triangle, but for a few on their edges."""
    depths = []

    def spy(*args):
        shown, depth = rasterize(*args)
        depths.append(depth)
        return shown, depth

    rasterize = turned_views.rasterize
    face = labelled_face(model, 4)
    mesh = mesh_of(face, surface, model)
    monkeypatch.setattr(turned_views, "rasterize", spy)
    for yaw_deg in (-90, -60, -30, 0, 15, 45, 75, 90):
        view = mesh.turned(yaw_deg)
        assert (view.image[..., 2] == 255).all()
        assert np.isneginf(depths[-1]).mean() < 1e-3
    cracks = np.full((5, 5), -np.inf), np.zeros((5, 5))
    cracks[0][2, 2:] = 0
    closed = turned_views._close_cracks(np.full((5, 5), 7.0) * np.isfinite(cracks[0]), cracks[0])
    assert (closed[1:4, 1:] == 7).all()


def test_the_border_of_the_picture_does_not_move(model, surface):
    mesh = mesh_of(labelled_face(model, 5), surface, model)
    rigid = mesh.rigid[:, 0]
    x, y = mesh.verts[:, 0], -mesh.verts[:, 1]
    on_border = np.isin(x, (x.min(), x.max())) | np.isin(y, (y.min(), y.max()))
    assert on_border.sum() > 100
    assert (rigid[on_border] == 0).all()
    assert (rigid >= 0).all()
    assert (rigid <= 1).all()
    assert (rigid[-len(surface.mean) :] == 1).all()


def cut_left(face: LabelledFace, left: int) -> LabelledFace:
    """The face in a photo without its first columns."""
    params = face.params.copy()
    params[3] -= left
    return dataclasses.replace(
        face,
        image=face.image[:, left:],
        params=params,
        landmarks=face.landmarks - [[left], [0], [0]],
    )


@pytest.mark.parametrize(("beside_px", "is_mirrored"), [(-30, False), (80, True)])
def test_beyond_the_photo_its_edge_goes_on(model, surface, beside_px, is_mirrored):
    """Nothing is black; where the face is at the edge, it is not seen in a mirror."""
    face = labelled_face(model, 6)
    cut = cut_left(face, int(face.landmarks[0].min()) - beside_px)
    view = mesh_of(cut, surface, model).turned(60.0)
    assert (view.image[..., 2] == 255).all()
    _, picture = cut_view(cut)
    row = picture[len(picture) // 2, :, 0].astype(int)  # blue, which grows with x
    assert (np.diff(row) < 0).any() == is_mirrored


# ---------------------------------------------------------------- the face that is drawn


@pytest.mark.parametrize("most", [0, 10_000])
def test_a_surface_is_the_model_at_its_own_vertices(monkeypatch, most):
    monkeypatch.setattr(turned_views, "MOST_VERTICES", most)
    morphable = load_morphable(OPEN_FOLDER)
    surface = FaceSurface.of(morphable)
    params = morphable.param_mean + 0.5 * morphable.param_std
    verts = morphable.vertices(params[None])[0].numpy().T  # (V, 3)
    placed = surface.place(params.double().numpy())
    placed[:, 1] = 121 - placed[:, 1]
    assert np.linalg.norm(placed[:, None] - verts[None], axis=2).min(1).max() < 1e-3
    a, b, c = surface.triangles.T
    assert ((a != b) & (b != c) & (c != a)).all()
    if most:
        assert len(surface.triangles) == len(morphable.triangles)
    else:
        assert len(surface.triangles) < 0.7 * len(morphable.triangles)


def test_landmarks_of_a_fine_model_are_on_its_surface(shared_folder):
    morphable = load_morphable(shared_folder / "data" / "3dmm_bfm")
    surface = FaceSurface.of(morphable)
    assert len(surface.mean) < turned_views.MOST_VERTICES
    landmarks = LandmarkModel.of(morphable).mean
    distance = np.linalg.norm(landmarks[:, None] - surface.mean[None], axis=2)
    assert distance.min(1).max() < 1e-2  # micrometres


def test_a_model_without_triangles_cannot_be_turned(tmp_path):
    morphable = dataclasses.replace(load_morphable(OPEN_FOLDER), triangles=None)
    with pytest.raises(ValueError, match="no triangles"):
        FaceSurface.of(morphable)
    for path in OPEN_FOLDER.iterdir():
        if path.name != "tri.mat":
            shutil.copy(path, tmp_path / path.name)
    with pytest.raises(fileio.InputError, match=r"no triangles .+ leave --rotate out"):
        turned_views.face_surface(tmp_path)


# ---------------------------------------------------------------- which views


@pytest.mark.parametrize("yaw_deg", [0.0, 25.0, -25.0, 88.0, -90.0])
def test_yaws_go_from_the_photos_to_90_degrees(yaw_deg):
    yaws_deg = choose_yaws_deg(yaw_deg, 6, 0, "anna")
    size_deg = np.abs(yaws_deg)
    steps = abs(yaw_deg) + (90 - abs(yaw_deg)) * np.arange(7) / 6
    assert (steps[:-1] <= size_deg).all()
    assert (size_deg <= steps[1:]).all()
    if yaw_deg:
        assert (np.sign(yaws_deg) == np.sign(yaw_deg)).all()
    np.testing.assert_array_equal(yaws_deg, choose_yaws_deg(yaw_deg, 6, 0, "anna"))


def test_yaws_depend_on_the_name_and_the_seed():
    one = choose_yaws_deg(0, 40, 0, "anna")
    assert 5 < (one > 0).sum() < 35  # a face from the front is turned to either side
    assert np.abs(one - choose_yaws_deg(0, 40, 1, "anna")).max() > 1
    assert np.abs(one - choose_yaws_deg(0, 40, 0, "ben")).max() > 1


def test_views_follow_their_photo():
    faces = [FaceFile(name, f"p{name}", f"{name}.jpg", 7) for name in "ab"]
    every = with_views(faces, 2, lambda face: face.name == "b")
    assert [face.name for face in every] == ["a", "b", "b_view01", "b_view02"]
    assert {face.photo for face in every[1:]} == {"pb"}
    assert [face.label for face in every[2:]] == [View(faces[1], 0), View(faces[1], 1)]


def test_photos_of_300w_lp_are_turned_and_its_views_are_not():
    def is_photo(picture: str, mirrored: bool = False) -> bool:
        return lp300w.is_photo(FaceFile("a", "a", picture, "a.mat", mirrored))

    assert is_photo("300W_LP/AFW/AFW_134212_1_0.jpg")
    assert not is_photo("300W_LP/AFW/AFW_134212_1_3.jpg")
    assert not is_photo("300W_LP/HELEN/HELEN_1_1_17.jpg")
    assert not is_photo("300W_LP/AFW_Flip/AFW_134212_1_0.jpg", mirrored=True)
    assert is_photo("image00002.jpg")


# ---------------------------------------------------------------- whole sets


@pytest.fixture
def photos(model, tmp_path) -> Path:
    """Three photos of `colour_map` with their .pts."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, name in enumerate(("anna", "ben", "carl")):
        face = labelled_face(model, seed, (-20.0, 0.0, 30.0)[seed])
        cv2.imwrite(str(folder / f"{name}.png"), face.image)
        lines = [f"{x:.4f} {y:.4f}" for x, y in face.landmarks[:2].T]
        (folder / f"{name}.pts").write_text("\n".join(["{", *lines, "}"]))
    return folder


def run(photos: Path, output: Path, *flags: object) -> int:
    words = ["folder", "--images", photos, "--output", output, "--jaw=bone", "--augment=2"]
    words += [f"--morphable={OPEN_FOLDER}", *flags]
    args = prepare_data.get_args_parser().parse_args([str(word) for word in words])
    return run_command(prepare_data.main, args)


def folder_bytes(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_photos_and_their_views_become_a_set(photos, model, tmp_path, capsys):
    assert run(photos, tmp_path / "data", "--rotate=3", "--workers=0") == 0
    assert "12 faces (9 turned) x 2 crops" in capsys.readouterr().out
    output = tmp_path / "data"
    crops = TrainingCrops(
        output / "train_aug_120x120",
        output / "train_aug_120x120.list.train",
        output / "param_all_norm_v201.pkl",
    )
    views = ("", "_view01", "_view02", "_view03")
    expected = [f"{n}{v}_{k}.jpg" for n in ("anna", "ben", "carl") for v in views for k in (0, 1)]
    assert crops.names == expected
    params = crops.params_w.numpy() * model.param_std + model.param_mean
    yaws_deg = exact_angles(camera_rotation(camera_of(params))).yaw[::2]
    for photo in yaws_deg.reshape(3, 4):
        assert (np.diff(np.abs(photo)) > 0).all()
        assert np.abs(photo)[-1] > 60
    sheet = fileio.read_image(output / "views.jpg")
    assert sheet.shape[1] == 4 * 320
    assert len(fileio.read_list(output / "fits.csv")) == 4  # photos only, below a header


def test_crops_of_views_show_what_their_labels_say(photos, model, tmp_path):
    assert run(photos, tmp_path / "data", "--rotate=2", "--workers=0") == 0
    params_w = fileio.read_pickle(tmp_path / "data" / "param_all_norm_v201.pkl")
    names = fileio.read_list(tmp_path / "data" / "train_aug_120x120.list.train")
    rows = [
        i for i, name in enumerate(names) if name.startswith("carl") and name.endswith("_0.jpg")
    ]
    sources = []
    for row in rows:
        landmarks = model.decode(params_w[row] * model.param_std + model.param_mean)
        crop = fileio.read_image(tmp_path / "data" / "train_aug_120x120" / names[row])
        sources.append(place_read_off(crop, landmarks[:2, NEAR_LEFT] + 0.5))
    for turned in sources[1:]:  # the same places of the photo, in the crops of all views
        distance_px = np.hypot(*(turned - sources[0]))
        assert np.percentile(distance_px, 75) < 3 * SHOWN_PX  # a crop px is 1.8 photo px


def test_processes_interruptions_and_repetitions_change_nothing(photos, tmp_path, monkeypatch):
    for name, workers in (("one", 0), ("two", 2)):
        assert run(photos, tmp_path / name, "--rotate=2", f"--workers={workers}") == 0
    assert folder_bytes(tmp_path / "one") == folder_bytes(tmp_path / "two")
    whole = (photos / "ben.png").read_bytes()
    (photos / "ben.png").write_bytes(b"")
    assert run(photos, tmp_path / "three", "--rotate=2", "--workers=0") == 2
    (photos / "ben.png").write_bytes(whole)
    assert run(photos, tmp_path / "three", "--rotate=2", "--workers=0", "--seed=5") == 2
    assert run(photos, tmp_path / "three", "--rotate=3", "--workers=0") == 2
    assert run(photos, tmp_path / "three", "--workers=0") == 2
    assert run(photos, tmp_path / "three", "--rotate=2", "--workers=0") == 0
    assert folder_bytes(tmp_path / "one") == folder_bytes(tmp_path / "three")
    assert run(photos, tmp_path / "four", "--rotate=2", "--workers=0", "--seed=5") == 0
    assert folder_bytes(tmp_path / "one") != folder_bytes(tmp_path / "four")


def test_a_photo_that_cannot_be_turned_is_counted_once(photos, tmp_path, capsys):
    (photos / "ben.png").write_bytes(b"")
    small = ["{", *(["100 100", "103 104"] * 34), "}"]
    (photos / "carl.pts").write_text("\n".join(small))
    assert run(photos, tmp_path / "data", "--rotate=3", "--workers=0") == 2
    assert "(and 1 more in errors.txt)" in capsys.readouterr().err
    assert len(fileio.read_list(tmp_path / "data" / "errors.txt")) == 2
    done = {path.name for path in (tmp_path / "data" / "train_aug_120x120").iterdir()}
    assert {name.split("_")[0] for name in done} == {"anna"}
    assert len(done) == 8


def test_faces_of_a_few_pixels_are_not_turned(model):
    face = labelled_face(model, 0, 0.0, 0.06)
    read = ViewReader(lambda file: face, OPEN_FOLDER, 1, 0)
    photo = FaceFile("a", "a", "a.jpg", None)
    assert read(photo) is face
    with pytest.raises(fileio.InputError, match=r"a\.jpg: a face of \d+ px is too small"):
        read(FaceFile("a_view01", "a", "a.jpg", View(photo, 0)))


def test_views_do_not_validate(photos, tmp_path):
    assert run(photos, tmp_path / "data", "--rotate=2", "--workers=0", "--validation=0.05") == 0
    validation = fileio.read_list(tmp_path / "data" / "validation" / "AFLW2000-3D_crop.list")
    training = fileio.read_list(tmp_path / "data" / "train_aug_120x120.list.train")
    assert (len(validation), len(training)) == (1, 2 * 3 * 2)  # photos by 3 pictures by 2 crops
    held_back = {name.split("_")[0] for name in validation}
    assert not held_back & {name.split("_")[0] for name in training}


def test_a_negative_number_of_views_is_refused(photos, tmp_path, capsys):
    assert run(photos, tmp_path / "data", "--rotate=-1") == 2
    assert "--rotate" in capsys.readouterr().err


def test_real_photos_of_aflw2000_turn(shared_folder, tmp_path):
    """Labels of 300W-LP's kind, whose depth lies anywhere."""
    words = ["300w-lp", "--source", shared_folder / "data" / "aflw2000_samples", "--check=0"]
    words += ["--morphable", shared_folder / "data" / "3dmm_bfm", "--output", tmp_path / "data"]
    words += ["--rotate=2", "--augment=1", "--validation=0", "--workers=0"]
    args = prepare_data.get_args_parser().parse_args([str(word) for word in words])
    assert run_command(prepare_data.main, args) == 0
    names = fileio.read_list(tmp_path / "data" / "train_aug_120x120.list.train")
    assert len(names) == 8 * 3
    assert fileio.read_image(tmp_path / "data" / "views.jpg").shape[1] == 4 * 320
