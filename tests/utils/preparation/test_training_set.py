"""Training sets: crops that agree with their labels, resuming, splitting, whitening, errors."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import cv2
import numpy as np
import pytest

from model_building import load_morphable
from synergynet import fileio
from synergynet.geometry.crop import square_box_from_landmarks
from synergynet.geometry.mirror import MIRRORED_LANDMARKS
from utils.data.evaluation_crops import EvaluationCrops
from utils.data.folders import OPEN_FOLDER
from utils.data.landmark_model import LandmarkModel
from utils.data.mirror import derive_mirror
from utils.data.training_crops import TrainingCrops
from utils.preparation import training_set
from utils.preparation.training_set import (
    FaceFile,
    LabelledFace,
    Recipe,
    mirror_face,
    write_training_set,
)

WIDTH, HEIGHT = 500, 400
RECIPE = Recipe(OPEN_FOLDER, crops=4, mirror=True, whiten_anew=False)
COLOUR_PX = 3.0  # photo px; JPEG, 8-bit colours, and the half pixels of px and pixels
MIRROR_PX = 2.0  # the open model's span is nearly, not quite, its own mirror image


@pytest.fixture(scope="module")
def model() -> LandmarkModel:
    return LandmarkModel.of(load_morphable(OPEN_FOLDER))


def colour_map() -> np.ndarray:
    """A photo whose blue tells x and whose green tells y."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.float64)
    image[:, :, 0] = np.arange(WIDTH) / 2
    image[:, :, 1] = np.arange(HEIGHT)[:, None] / 2
    return image.round().astype(np.uint8)


def place_read_off(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Photo px (2, N) that a crop of `colour_map` shows at `points` (2, N) crop px."""
    x, y = (points - 0.5).astype(np.float32)
    colours = cv2.remap(crop, x[None], y[None], cv2.INTER_LINEAR)[0]  # (N, 3)
    return 2 * colours[:, :2].T.astype(np.float64)


def draw_face(face_file: FaceFile) -> LabelledFace:
    """A random face in the middle of `colour_map`; its label is the seed."""
    model = training_set.landmark_model(OPEN_FOLDER)
    rng = np.random.default_rng(face_file.label)
    params = rng.normal(model.param_mean, model.param_std)
    params[:12] *= 1.2  # about 140 px
    centre = model.decode(params).mean(1)
    params[[3, 7]] += [WIDTH / 2 - centre[0], centre[1] - HEIGHT / 2]
    return LabelledFace(colour_map(), params, model.decode(params), error=float(face_file.label))


def some_faces(count: int) -> list[FaceFile]:
    return [FaceFile(f"face{i:03d}", f"photo{i // 2}", f"{i}.jpg", i) for i in range(count)]


def folder_bytes(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# ---------------------------------------------------------------- crops and labels


def test_crops_show_what_their_labels_say(model, tmp_path):
    """Exact, jittered and mirrored crops alike, through the files that training reads."""
    faces = some_faces(6)
    write_training_set(faces, [], draw_face, tmp_path, RECIPE, workers=0)
    crops = TrainingCrops(
        tmp_path / "train_aug_120x120",
        tmp_path / "train_aug_120x120.list.train",
        tmp_path / "param_all_norm_v201.pkl",
    )
    assert crops.names == [f"{face.name}_{k}.jpg" for face in faces for k in range(4)]
    for index, name in enumerate(crops.names):
        truth = draw_face(faces[index // 4]).landmarks[:2]
        params = crops.params_w[index].numpy() * model.param_std + model.param_mean
        points = model.decode(params)[:2]
        seen = place_read_off(fileio.read_image(crops.root / name), points)
        is_mirrored = index % 2
        if is_mirrored:  # the colours come from the other side
            seen, truth = seen[:, 17:], mirrored_order(truth)[:, 17:]
        distance_px = np.linalg.norm(seen - truth, axis=0)
        assert distance_px.mean() < COLOUR_PX + MIRROR_PX * is_mirrored, name


def mirrored_order(points: np.ndarray) -> np.ndarray:
    return points[:, MIRRORED_LANDMARKS]


def test_mirror_images_keep_image_label_and_landmarks_together(model):
    face = draw_face(FaceFile("a", "a", "a.jpg", 5))
    mirrored = mirror_face(face, derive_mirror(load_morphable(OPEN_FOLDER)))
    np.testing.assert_array_equal(mirrored.image[:, ::-1], face.image)
    np.testing.assert_allclose(mirrored.landmarks[0], WIDTH + 1 - mirrored_order(face.landmarks)[0])
    np.testing.assert_allclose(mirrored.landmarks[1:], mirrored_order(face.landmarks)[1:])
    distance_px = np.linalg.norm(model.decode(mirrored.params) - mirrored.landmarks, axis=0)
    assert distance_px.mean() < MIRROR_PX


def test_jittered_boxes_are_squares_near_the_exact_one():
    landmarks = np.random.default_rng(0).uniform(100, 300, (3, 68))
    exact = square_box_from_landmarks(landmarks)
    side = exact[2] - exact[0]
    boxes = np.stack(
        [training_set.jittered_box(landmarks, np.random.default_rng(i)) for i in range(500)]
    )
    np.testing.assert_array_equal(boxes, boxes.round())
    sides = boxes[:, 2:] - boxes[:, :2]
    np.testing.assert_array_equal(sides[:, 0], sides[:, 1])
    assert 0.89 * side < sides.min() < 0.92 * side
    assert 1.13 * side < sides.max() < 1.16 * side
    shift = (boxes[:, :2] + boxes[:, 2:] - exact[:2] - exact[2:]) / 2
    assert 0.07 * side < np.abs(shift).max() < 0.08 * side + 1


# ---------------------------------------------------------------- splitting


def test_a_photos_part_depends_on_its_name_only():
    faces = some_faces(400)
    training, validation = training_set.split(faces, 0.25)
    assert sorted(training + validation) == faces
    assert not {face.photo for face in training} & {face.photo for face in validation}
    assert 60 < len(validation) < 140
    fewer = training_set.split(faces[::3], 0.25)[1]
    assert set(fewer) == set(faces[::3]) & set(validation)
    assert training_set.split(faces, 0.0) == (faces, [])


def test_mirror_images_of_validation_photos_are_in_neither_part():
    faces = some_faces(100)
    mirrored = [face._replace(name=f"{face.name}_flip", is_mirrored=True) for face in faces]
    training, validation = training_set.split(faces + mirrored, 0.3)
    assert validation == training_set.split(faces, 0.3)[1]
    assert len(training) == 2 * (100 - len(validation))


def test_the_validation_part_is_a_test_set(tmp_path):
    faces = some_faces(12)
    errors = write_training_set(faces[:6], faces[6:], draw_face, tmp_path, RECIPE, workers=0)
    assert errors == {face.name: float(face.label) for face in faces}
    crops = EvaluationCrops(tmp_path / "validation")
    assert crops.names == [f"{face.name}_0.jpg" for face in faces[6:]]
    for index, face_file in enumerate(faces[6:]):
        face = draw_face(face_file)
        np.testing.assert_allclose(crops.labels.landmarks[index], face.landmarks, atol=1e-3)
        box = square_box_from_landmarks(face.landmarks).clip(1, [WIDTH, HEIGHT] * 2)
        np.testing.assert_array_equal(crops.labels.roi_box[index], box)
    assert (tmp_path / "train_aug_120x120.list.train").read_text().count("\n") == 24


# ---------------------------------------------------------------- whitening


def test_targets_are_whitened_as_the_file_beside_them_says(model, tmp_path):
    write_training_set(some_faces(5), [], draw_face, tmp_path, RECIPE, workers=0)
    written = fileio.read_pickle(tmp_path / "param_whitening.pkl")
    np.testing.assert_array_equal(written["param_mean"], np.float32(model.param_mean))
    np.testing.assert_array_equal(written["param_std"], np.float32(model.param_std))
    assert not (tmp_path / "3dmm_data").exists()


def test_a_whitening_of_its_own_comes_with_its_face_model(tmp_path):
    recipe = dataclasses.replace(RECIPE, whiten_anew=True)
    write_training_set(some_faces(20), [], draw_face, tmp_path, recipe, workers=0)
    params_w = fileio.read_pickle(tmp_path / "param_all_norm_v201.pkl")
    np.testing.assert_allclose(params_w.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(params_w.std(0), 1, atol=1e-4)
    ours, original = load_morphable(tmp_path / "3dmm_data"), load_morphable(OPEN_FOLDER)
    assert (ours.hash, ours.name) == (original.hash, original.name)
    assert not np.allclose(ours.param_std, original.param_std)
    written = fileio.read_pickle(tmp_path / "param_whitening.pkl")
    np.testing.assert_array_equal(ours.param_std, written["param_std"])
    command = training_set.training_command(tmp_path, recipe, validates=False)
    assert f"--morphable {tmp_path}/3dmm_data " in command


# ---------------------------------------------------------------- resuming and errors


def read_but(broken: set[str], read_names: list[str], face_file: FaceFile) -> LabelledFace:
    read_names.append(face_file.name)
    if face_file.name in broken:
        raise fileio.InputError(f"{face_file.picture}: broken")
    return draw_face(face_file)


def test_broken_faces_are_all_named_and_the_others_kept(tmp_path):
    training, validation = some_faces(9)[:7], some_faces(9)[7:]
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    write_training_set(training, validation, draw_face, whole, RECIPE, workers=0)
    read_names: list[str] = []
    read = functools.partial(read_but, {"face002", "face008"}, read_names)
    with pytest.raises(fileio.InputError, match=r"2\.jpg: broken \(and 1 more in errors\.txt\)"):
        write_training_set(training, validation, read, resumed, RECIPE, workers=0)
    assert fileio.read_list(resumed / "errors.txt") == ["2.jpg: broken", "8.jpg: broken"]
    assert not list(resumed.glob("*.list.train"))
    read_names.clear()
    (resumed / "train_aug_120x120" / ".half-written.jpg").touch()
    read = functools.partial(read_but, set(), read_names)
    write_training_set(training, validation, read, resumed, RECIPE, workers=0)
    assert read_names == ["face002", "face008"]
    assert folder_bytes(resumed) == folder_bytes(whole)


def test_faces_taken_out_of_the_source_are_not_listed(tmp_path):
    read = functools.partial(read_but, {"face002"}, [])
    with pytest.raises(fileio.InputError, match="broken"):
        write_training_set(some_faces(4), [], read, tmp_path, RECIPE, workers=0)
    rest = [face for face in some_faces(4) if face.name not in ("face001", "face002")]
    write_training_set(rest, [], read, tmp_path, RECIPE, workers=0)
    names = fileio.read_list(tmp_path / "train_aug_120x120.list.train")
    assert names == [f"{face.name}_{k}.jpg" for face in rest for k in range(4)]
    assert len(fileio.read_pickle(tmp_path / "param_all_norm_v201.pkl")) == 8


def test_a_conversion_that_fails_everywhere_gives_up(tmp_path, monkeypatch):
    monkeypatch.setattr(training_set, "MAX_ERRORS", 40)
    faces = some_faces(200)
    read = functools.partial(read_but, {face.name for face in faces}, [])
    with pytest.raises(fileio.InputError, match=r"and 63 more"):  # after two tasks
        write_training_set(faces, [], read, tmp_path, RECIPE, workers=0)


def test_processes_change_nothing(tmp_path):
    faces = some_faces(40)
    for workers in (0, 2):
        write_training_set(
            faces[:36], faces[36:], draw_face, tmp_path / str(workers), RECIPE, workers
        )
    assert folder_bytes(tmp_path / "0") == folder_bytes(tmp_path / "2")


def test_other_settings_do_not_finish_a_set(tmp_path):
    read = functools.partial(read_but, {"face001"}, [])
    with pytest.raises(fileio.InputError, match="broken"):
        write_training_set(some_faces(3), [], read, tmp_path, RECIPE, workers=0)
    other = dataclasses.replace(RECIPE, crops=2)
    with pytest.raises(fileio.InputError, match=r"unfinished set with other settings"):
        write_training_set(some_faces(3), [], draw_face, tmp_path, other, workers=0)


def test_a_finished_set_is_left_alone(tmp_path):
    write_training_set(some_faces(2), [], draw_face, tmp_path, RECIPE, workers=0)
    before = folder_bytes(tmp_path)
    with pytest.raises(fileio.InputError, match=r"list\.train: already there"):
        write_training_set(some_faces(3), [], draw_face, tmp_path, RECIPE, workers=0)
    assert folder_bytes(tmp_path) == before


def test_refusals_before_anything_is_read(tmp_path, monkeypatch):
    with pytest.raises(fileio.InputError, match="no face left to train on"):
        write_training_set([], some_faces(1), draw_face, tmp_path, RECIPE, workers=0)
    monkeypatch.setattr(training_set, "CROP_BYTES", 10**15)
    with pytest.raises(fileio.InputError, match=r"the set needs 8000000\.0 GB"):
        write_training_set(some_faces(2), [], draw_face, tmp_path, RECIPE, workers=0)


def test_a_face_outside_its_picture_is_named(tmp_path):
    def read(face_file: FaceFile) -> LabelledFace:
        face = draw_face(face_file)
        return dataclasses.replace(face, landmarks=face.landmarks + 5000)

    with pytest.raises(fileio.InputError, match=r"0\.jpg: its landmarks lie outside the picture"):
        write_training_set(some_faces(1), [], read, tmp_path, RECIPE, workers=0)
