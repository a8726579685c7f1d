"""AFLW2000-3D from originals: generated ones by hand, the real samples, and bad files."""

import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
import torch

from model_building import load_morphable
from synergynet import fileio
from synergynet.geometry import crop
from synergynet.geometry.parameters import N_EXPR, N_SHAPE
from synergynet.geometry.pose import decode_pose
from synergynet.photos.crops import network_crop
from utils.data.evaluation_crops import EvaluationCrops
from utils.evaluation.metrics import summarise_nme
from utils.preparation import aflw2000

SAMPLE_ROWS = [55, 150, 286, 311, 749, 1238, 1263, 1984]  # of the real arrays
LABEL_FIT_PX = 2.5  # 40 + 10 of the label's 199 + 29 coefficients, in 450-px pictures


@pytest.fixture
def originals(tmp_path: Path) -> Path:
    """Three generated originals; the second has a pitch beyond 99 degrees."""
    folder = tmp_path / "originals"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, pitch_deg in ((7, 10), (40, -120), (300, 20)):
        stem = folder / f"image{number:05d}"
        cv2.imwrite(f"{stem}.jpg", rng.integers(0, 256, (450, 450, 3), np.uint8))
        landmarks = rng.uniform(100, 300, (3, 68)).astype(np.float32)
        pose = np.array([[np.deg2rad(pitch_deg), 0.5, -0.25, 0, 0, 0, 1e-3]], np.float32)
        scipy.io.savemat(f"{stem}.mat", {"pt3d_68": landmarks, "Pose_Para": pose})
    return folder


def test_everything_a_test_set_needs(originals, tmp_path):
    reannotated = np.arange(3 * 2 * 68, dtype=np.float32).reshape(3, 2, 68)
    fileio.write_array(tmp_path / "re.npy", reannotated)
    output = tmp_path / "data"
    assert aflw2000.prepare(originals, output, tmp_path / "re.npy") == 3
    crops = EvaluationCrops(output)
    labels = crops.labels
    assert crops.names == ["image00007.jpg", "image00040.jpg", "image00300.jpg"]
    for index, name in enumerate(crops.names):
        stored = scipy.io.loadmat(originals / name.replace(".jpg", ".mat"))
        np.testing.assert_array_equal(labels.landmarks[index], stored["pt3d_68"])
        box = crop.roi_box_from_landmarks(stored["pt3d_68"], 450, 450)
        np.testing.assert_array_equal(labels.roi_box[index], box)
        expected = network_crop(fileio.read_image(originals / name), box)
        # noise is JPEG's worst case; a shifted or swapped crop would be off by about 80
        assert np.abs(crops[index].numpy() - expected.astype(float)).mean() < 15
    np.testing.assert_allclose(labels.yaw_deg, np.rad2deg(0.5), rtol=1e-6)
    np.testing.assert_array_equal(labels.pose_rows, [0, 2])
    np.testing.assert_allclose(labels.pose_deg[:, 0], [10, 20], rtol=1e-6)  # pitch
    np.testing.assert_allclose(labels.pose_deg[:, 1], np.rad2deg(0.5), rtol=1e-6)  # yaw
    np.testing.assert_allclose(labels.pose_deg[:, 2], np.rad2deg(-0.25), rtol=1e-6)  # roll
    np.testing.assert_array_equal(labels.reannotated, reannotated)


def test_the_published_file_names(originals, tmp_path):
    aflw2000.prepare(originals, tmp_path / "data")
    names = sorted(path.name for path in (tmp_path / "data" / "eval").iterdir())
    assert names == [
        "AFLW2000-3D.pose.npy",
        "AFLW2000-3D.pose_3ANG.npy",  # not among the published: all images, not 1,969
        "AFLW2000-3D.pts68.npy",
        "AFLW2000-3D_crop.roi_box.npy",
        "ALFW2000-3D_pose_3ANG_excl.npy",
        "ALFW2000-3D_pose_3ANG_skip.npy",
    ]
    assert EvaluationCrops(tmp_path / "data").labels.reannotated is None


def write_zip(path: Path, originals: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for original in sorted(originals.iterdir()):
            file.write(original, f"AFLW2000/{original.name}")
        file.writestr("__MACOSX/AFLW2000/._image00007.mat", "resource fork")


def test_a_zip_gives_the_same(originals, tmp_path):
    write_zip(tmp_path / "AFLW2000-3D.zip", originals)
    aflw2000.prepare(tmp_path / "AFLW2000-3D.zip", tmp_path / "from_zip")
    aflw2000.prepare(originals, tmp_path / "from_folder")
    for path in (tmp_path / "from_folder").rglob("*.*"):
        twin = tmp_path / "from_zip" / path.relative_to(tmp_path / "from_folder")
        assert twin.read_bytes() == path.read_bytes()


def test_a_zip_that_leads_outside_is_refused_and_writes_nothing(originals, tmp_path):
    archive = tmp_path / "deep" / "AFLW2000-3D.zip"
    archive.parent.mkdir()
    write_zip(archive, originals)
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("../../image00001.mat", "a label")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(fileio.InputError, match=r"AFLW2000-3D\.zip: refused, .* leads outside"):
        aflw2000.prepare(archive, tmp_path / "deep" / "data")
    assert sorted(tmp_path.rglob("*")) == before


def test_an_output_folder_may_hold_other_things(originals, tmp_path):
    (tmp_path / "data" / "open").mkdir(parents=True)
    aflw2000.prepare(originals, tmp_path / "data")
    entries = sorted(path.name for path in (tmp_path / "data").iterdir())
    assert entries == ["AFLW2000-3D_crop", "AFLW2000-3D_crop.list", "eval", "open"]
    with pytest.raises(fileio.InputError, match="AFLW2000-3D_crop: already there"):
        aflw2000.prepare(originals, tmp_path / "data")


# ---------------------------------------------------------------- bad files


def remove_image(folder: Path) -> None:
    (folder / "image00040.jpg").unlink()


def remove_label(folder: Path) -> None:
    (folder / "image00040.mat").unlink()


def truncate_image(folder: Path) -> None:
    path = folder / "image00040.jpg"
    path.write_bytes(path.read_bytes()[:5000])


def corrupt_label(folder: Path) -> None:
    (folder / "image00040.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))


def other_label(folder: Path) -> None:
    scipy.io.savemat(folder / "image00040.mat", {"pt2d": np.zeros((2, 21))})


def infinite_label(folder: Path) -> None:
    landmarks = np.full((3, 68), np.inf)
    scipy.io.savemat(
        folder / "image00040.mat", {"pt3d_68": landmarks, "Pose_Para": np.zeros((1, 7))}
    )


def label_outside(folder: Path) -> None:
    landmarks = np.random.default_rng(0).uniform(-300, -100, (3, 68))
    scipy.io.savemat(
        folder / "image00040.mat", {"pt3d_68": landmarks, "Pose_Para": np.zeros((1, 7))}
    )


def label_on_one_line(folder: Path) -> None:
    landmarks = np.random.default_rng(0).uniform(100, 200, (3, 68))
    landmarks[0] = 150
    scipy.io.savemat(
        folder / "image00040.mat", {"pt3d_68": landmarks, "Pose_Para": np.zeros((1, 7))}
    )


def duplicate_label(folder: Path) -> None:
    (folder / "copy").mkdir()
    shutil.copy(folder / "image00040.mat", folder / "copy")


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (remove_image, r"image00040\.jpg: file not found"),
        (remove_label, r"image00040\.mat is missing"),
        (truncate_image, r"image00040\.jpg: the picture is cut off"),
        (corrupt_label, r"image00040\.mat: not a readable \.mat"),
        (other_label, r"image00040\.mat: no AFLW2000 label"),
        (infinite_label, r"image00040\.mat: holds values that are not finite"),
        (label_outside, r"image00040\.mat: its landmarks lie outside"),
        (label_on_one_line, r"image00040\.mat: its landmarks lie on one line"),
        (duplicate_label, r"image00040\.mat is in it twice"),
        (shutil.rmtree, "no such folder or zip"),
    ],
)
def test_bad_originals_are_named_and_leave_nothing_behind(originals, tmp_path, break_it, message):
    break_it(originals)
    with pytest.raises(fileio.InputError, match=message):
        aflw2000.prepare(originals, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_file_that_is_no_zip(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(fileio.InputError, match=r"a\.zip: not a readable zip"):
        aflw2000.prepare(tmp_path / "a.zip", tmp_path / "data")


def test_a_folder_without_labels(tmp_path):
    with pytest.raises(fileio.InputError, match=r"no image\*\.mat in it"):
        aflw2000.prepare(tmp_path, tmp_path / "data")


def test_reannotated_labels_of_another_length(originals, tmp_path):
    fileio.write_array(tmp_path / "re.npy", np.zeros((4, 2, 68), np.float32))
    with pytest.raises(fileio.InputError, match=r"re\.npy: 4 rows for 3 images"):
        aflw2000.prepare(originals, tmp_path / "data", tmp_path / "re.npy")
    assert not (tmp_path / "data").exists()


# ---------------------------------------------------------------- real samples


def test_real_samples_equal_the_published_arrays(shared_folder, tmp_path):
    assert aflw2000.prepare(shared_folder / "data" / "aflw2000_samples", tmp_path / "data") == 8
    labels = EvaluationCrops(tmp_path / "data").labels
    published = shared_folder / "data" / "aflw2000_eval"
    for ours, name in (
        (labels.landmarks, "AFLW2000-3D.pts68.npy"),
        (labels.roi_box, "AFLW2000-3D_crop.roi_box.npy"),
    ):
        np.testing.assert_array_equal(ours, np.load(published / name)[SAMPLE_ROWS])
    yaw = np.load(published / "AFLW2000-3D.pose.npy")[SAMPLE_ROWS]
    np.testing.assert_allclose(labels.yaw_deg, yaw, atol=1e-5)


def euler_matrix(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """Rx Ry Rz as 300W-LP and AFLW2000 build it, radians, float64."""
    (c, s) = np.cos(pitch), np.sin(pitch)
    rx = np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
    (c, s) = np.cos(yaw), np.sin(yaw)
    ry = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    (c, s) = np.cos(roll), np.sin(roll)
    rz = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    return rx @ ry @ rz


def test_labels_own_rotations_decode_exactly_but_not_as_published(shared_folder):
    morphable = load_morphable(shared_folder / "data" / "3dmm_bfm")
    rows = morphable.keypoints
    u, w_shp, w_exp = (x[rows].numpy() for x in (morphable.u, morphable.w_shp, morphable.w_exp))
    published_error = []
    for path in sorted((shared_folder / "data" / "aflw2000_samples").glob("*.mat")):
        table = scipy.io.loadmat(path)
        pose = table["Pose_Para"][0].astype(np.float64)
        pitch, yaw, roll, tx, ty, _, f = pose
        rotation = euler_matrix(pitch, yaw, roll)
        # this rotation is the label's: with it the label's own face lies on its landmarks
        alpha = table["Shape_Para"][:N_SHAPE], table["Exp_Para"][:N_EXPR]
        points = (u + w_shp @ alpha[0] + w_exp @ alpha[1]).reshape(68, 3).T  # (3, 68)
        x, y = (f * rotation @ points)[:2] + np.array([[tx], [ty]])
        truth = table["pt3d_68"]
        distance = np.hypot(x - truth[0], 450 + 1 - y - truth[1])
        assert distance.mean() < LABEL_FIT_PX
        camera = torch.from_numpy(np.hstack([f * rotation, np.zeros((3, 1))]).reshape(1, 12))
        exact = [float(a) for a in decode_pose(camera, "exact")]  # yaw, pitch, roll
        expected = np.rad2deg([yaw, pitch, roll])
        np.testing.assert_allclose(exact, expected, atol=1e-4)
        published = decode_pose(camera, "published")
        published_error.append(abs(float(published.yaw) - expected[0]))
    assert max(published_error) > 2
    assert np.median(published_error) > 0.5


# ---------------------------------------------------------------- comparison


@pytest.fixture
def prepared(originals, tmp_path) -> Path:
    aflw2000.prepare(originals, tmp_path / "data")
    return tmp_path / "data"


def test_a_set_equals_itself(prepared):
    differences = {d.file: d for d in aflw2000.compare(prepared, prepared)}
    assert sorted(differences) == sorted(
        [
            "AFLW2000-3D.pose.npy",
            "AFLW2000-3D.pts68.npy",
            "AFLW2000-3D_crop",
            "AFLW2000-3D_crop.roi_box.npy",
            "ALFW2000-3D_pose_3ANG_excl.npy",
        ]
    )
    assert all(d.differing == 0 and d.largest == 0 for d in differences.values())
    assert differences["AFLW2000-3D.pts68.npy"].images == 3
    assert differences["ALFW2000-3D_pose_3ANG_excl.npy"].images == 2


def test_differences_are_found_and_named(prepared, tmp_path):
    shutil.copytree(prepared, tmp_path / "other")
    changed = np.load(tmp_path / "other" / "eval" / "AFLW2000-3D_crop.roi_box.npy")
    changed[1, 2] += 3
    changed[2, 0] -= 1
    fileio.write_array(tmp_path / "other" / "eval" / "AFLW2000-3D_crop.roi_box.npy", changed)
    crop_file = "AFLW2000-3D_crop/image00300.jpg"
    fileio.write_image(tmp_path / "other" / crop_file, np.zeros((120, 120, 3), np.uint8))
    differences = {d.file: d for d in aflw2000.compare(prepared, tmp_path / "other")}
    boxes = differences["AFLW2000-3D_crop.roi_box.npy"]
    assert boxes == ("AFLW2000-3D_crop.roi_box.npy", 3, 2, 3.0, "image00040.jpg")
    crops = differences["AFLW2000-3D_crop"]
    assert (crops.differing, crops.worst) == (1, "image00300.jpg")
    assert crops.largest == pytest.approx(
        np.mean(fileio.read_image(prepared / crop_file)), rel=1e-6
    )


def test_rows_are_matched_by_the_lists(prepared, originals, tmp_path):
    """The published set has images that ours lacks, and the other way round."""
    for suffix in (".mat", ".jpg"):
        (originals / f"image00007{suffix}").unlink()
    aflw2000.prepare(originals, tmp_path / "fewer")
    for first, second in ((prepared, tmp_path / "fewer"), (tmp_path / "fewer", prepared)):
        for difference in aflw2000.compare(first, second):
            assert difference.differing == 0
            expected = 1 if "3ANG" in difference.file else 2
            assert difference.images == expected


def test_arrays_alone_are_compared_row_by_row(prepared):
    differences = aflw2000.compare(prepared, prepared / "eval")
    assert [d.images for d in differences] == [3, 3, 3, 2]
    assert all(d.differing == 0 for d in differences)


def test_what_cannot_be_compared_is_said(prepared, tmp_path):
    with pytest.raises(fileio.InputError, match="none of AFLW2000-3D's arrays in it"):
        aflw2000.compare(prepared, tmp_path)
    fileio.write_array(tmp_path / "AFLW2000-3D.pts68.npy", np.zeros((2, 3, 68)))
    with pytest.raises(fileio.InputError, match=r"pts68\.npy: 2 rows for 3 images"):
        aflw2000.compare(prepared, tmp_path)
    fileio.write_array(tmp_path / "AFLW2000-3D.pts68.npy", np.zeros((3, 2, 68)))
    with pytest.raises(
        fileio.InputError, match=r"rows of shape \(3, 68\) here, \(2, 68\) published"
    ):
        aflw2000.compare(prepared, tmp_path)


def test_real_samples_against_the_published_arrays(shared_folder, tmp_path):
    """The 8 samples' rows of the published arrays, of 2,000; the others have made-up names."""
    names = [f"unknown{row:04d}.jpg" for row in range(2000)]
    samples = shared_folder / "data" / "aflw2000_samples"
    for row, path in zip(SAMPLE_ROWS, sorted(samples.glob("*.jpg")), strict=True):
        names[row] = path.name
    shutil.copytree(shared_folder / "data" / "aflw2000_eval", tmp_path / "published" / "eval")
    fileio.write_list(tmp_path / "published" / "AFLW2000-3D_crop.list", names)
    aflw2000.prepare(samples, tmp_path / "data")
    differences = {d.file: d for d in aflw2000.compare(tmp_path / "data", tmp_path / "published")}
    assert {d.images for d in differences.values()} == {8}
    assert differences["AFLW2000-3D.pts68.npy"].differing == 0
    assert differences["AFLW2000-3D_crop.roi_box.npy"].differing == 0
    assert differences["AFLW2000-3D.pose.npy"].largest < 1e-5


def test_labelled_photos_are_those_with_a_label(labelled_photos, tmp_path):
    (labelled_photos / "0.jpg").rename(labelled_photos / "2.jpg")
    (labelled_photos / "2.mat").write_bytes((labelled_photos / "0.mat").read_bytes())
    (labelled_photos / "3.jpg").write_bytes(b"without a label")
    found = aflw2000.find_labelled_photos(labelled_photos)
    assert [path.name for path in found] == ["1.jpg", "2.jpg"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(fileio.InputError, match=r"empty: no \.jpg with a \.mat"):
        aflw2000.find_labelled_photos(tmp_path / "empty")


def test_angles_that_are_left_out_are_the_published_ones(shared_folder):
    """21 of these 1,000 labels, and 31 of all 2,000, have an angle beyond 99 degrees; none of them
    lies between 95 and 99, so that 90 is another set and 95 is not."""
    folder = shared_folder / "data" / "aflw2000_dev"
    if not folder.is_dir():
        pytest.skip("the development half of AFLW2000-3D is not there")
    angles = [aflw2000.read_label(path).angles_deg for path in sorted(folder.rglob("*.mat"))]
    kept = (np.abs(angles) <= aflw2000.MAX_ANGLE_DEG).all(1).sum()
    assert (len(angles), kept) == (1000, 979)


def test_yaw_bins_hold_the_published_numbers_of_images(shared_folder):
    yaw_deg = np.load(shared_folder / "data" / "aflw2000_eval" / "AFLW2000-3D.pose.npy")
    bins = summarise_nme(np.full(2000, 0.1), yaw_deg)["bin_images"]
    assert bins == {"0-30": 1312, "30-60": 383, "60-90": 305}
