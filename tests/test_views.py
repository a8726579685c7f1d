"""benchmarks/views.py: landmarks go where the picture goes, and a run on the open test set."""

import shutil

import numpy as np
import pytest
import torch

from benchmarks import views
from model_building import build_model, load_morphable, pack_weights
from synergynet import fileio
from synergynet.geometry.mirror import mirror_landmarks
from synergynet.geometry.parameters import IMG_SIZE
from utils.data.folders import OPEN_FOLDER
from utils.evaluation.metrics import landmark_nme
from utils.preparation.aflw2000 import read_labelled_photo

BOX = np.array([90.0, 60.0, 290.0, 240.0])  # clipped by the photo, so not square
SPOT_PX = 0.1  # half a pixel of the photo is 0.3 of the crop


def run(*flags):
    args = views.get_args_parser().parse_args(list(map(str, flags)))
    return fileio.run_command(views.main, args)


def cells(row):
    return row.strip("| ").split(" | ")


def spot_at(point):
    """A black photo with a bright spot, round and smooth, at a point (2,) px."""
    y, x = np.mgrid[:300, :320] + 0.5
    spot = 255 * np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / 40)
    return np.repeat(spot[..., None], 3, 2).round().astype(np.uint8)


def centre_of_light(picture):
    light = picture[..., 0] * (picture[..., 0] > 20.0)
    y, x = np.indices(light.shape) + 0.5
    return np.array([(light * x).sum(), (light * y).sum()]) / light.sum()


@pytest.fixture
def no_noise(monkeypatch):
    monkeypatch.setattr(views, "MOST_NOISE", 0.0)


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_a_spot_on_a_landmark_stays_on_it(seed, no_noise):
    point = np.array([170.3, 141.8])
    rng = None if seed is None else np.random.default_rng(seed)
    crop, to_crop = views.make_view(spot_at(point), BOX, rng)
    expected = (to_crop @ [*point, 1])[:2]
    np.testing.assert_allclose(centre_of_light(crop), expected, atol=SPOT_PX)


def test_views_stay_within_their_limits():
    corners = np.array([[90, 60, 1], [290, 240, 1]], float).T
    middle, scales = np.array([190, 150, 1]), []
    for seed in range(50):
        _, to_crop = views.make_view(spot_at((0, 0)), BOX, np.random.default_rng(seed))
        assert (np.abs((to_crop @ middle)[:2] - IMG_SIZE / 2) <= views.MOST_SHIFT_PX).all()
        across = np.diff((to_crop @ corners)[:2], axis=1)
        scales.append(np.log(np.linalg.norm(across) / np.hypot(IMG_SIZE, IMG_SIZE)))
    assert np.abs(scales).max() <= views.MOST_LOG_SCALE
    assert np.ptp(scales) > views.MOST_LOG_SCALE


def test_exposure_keeps_black_white_and_grey(no_noise):
    rng = np.random.default_rng(0)
    ramp = np.repeat(np.linspace(0, 255, IMG_SIZE).round().astype(np.uint8)[None, :, None], 3, 2)
    ramp = np.repeat(ramp, IMG_SIZE, 0)
    seen = views.expose(ramp, rng)
    assert (seen.min(), seen.max()) == (0, 255)
    np.testing.assert_array_equal(seen[..., 0], seen[..., 2])
    assert (np.diff(seen[0, :, 0].astype(int)) >= 0).all()
    assert np.abs(seen.astype(int) - ramp).max() > 5


def test_noise_is_no_more_than_it_says():
    grey = np.full((IMG_SIZE, IMG_SIZE, 3), 128, np.uint8)
    spread = [views.expose(grey, np.random.default_rng(seed)).std() for seed in range(20)]
    assert 0.5 * views.MOST_NOISE < max(spread) < 1.1 * views.MOST_NOISE


class Draughtsman:
    """Stands for a network: finds the landmarks where a photo with spots has them."""

    def __init__(self, truth):
        self.truth = truth

    def predict_crops(self, crops, image_index, boxes, roi_boxes, exact):
        assert exact
        self.crops = crops
        found = np.stack([self._find(crop, i % 2) for i, crop in enumerate(crops)])
        return type("Faces", (), {"landmarks": found})

    def _find(self, crop, is_mirrored):
        in_crop = self.maps.pop(0) @ np.vstack([self.truth, np.ones(68)])
        if is_mirrored:
            in_crop[:2] = mirror_landmarks(torch.from_numpy(in_crop[:2]))
        return in_crop


def test_landmarks_come_back_to_the_photo(labelled_photos, monkeypatch):
    """A network that is right about every view has no error, mirrored or not."""
    photo = labelled_photos / "0.jpg"
    truth = read_labelled_photo(photo).label.landmarks[:2]
    network, made = Draughtsman(truth), views.make_view
    network.maps = []

    def make_view(*args):
        crop, to_crop = made(*args)
        network.maps.append(to_crop)
        return crop, to_crop

    monkeypatch.setattr(views, "make_view", make_view)
    scores = views.errors(network, photo, 6, (0, 0))
    np.testing.assert_allclose(scores, 0, atol=1e-3)
    np.testing.assert_array_equal(network.crops[1], network.crops[0][:, ::-1])
    assert not np.array_equal(network.crops[2], network.crops[0])


def test_the_first_view_is_the_benchmarks(labelled_photos):
    network = views.SynergyNet()
    photo, label, box = read_labelled_photo(labelled_photos / "1.jpg")
    faces = network.predict_crops([photo], np.zeros(1, int), box[None], box[None], exact=True)
    expected = 100 * landmark_nme(faces.landmarks[:, :2], label.landmarks[None, :2])
    scores = views.errors(network, labelled_photos / "1.jpg", 2, (0, 0))
    np.testing.assert_allclose(scores[0], expected[0], rtol=1e-3)


def test_all_views_are_scored(labelled_photos, capsys):
    assert run("--photos", labelled_photos, "--views", 6) == 0
    *_, row = capsys.readouterr().out.splitlines()
    _, plain, mirrored, everything, interval = cells(row)
    low, high = map(float, interval.split(" to "))
    assert max(float(plain), float(mirrored)) < 6
    assert low <= float(everything) <= high < 6
    assert run("--photos", labelled_photos, "--views", 6) == 0
    assert capsys.readouterr().out.splitlines()[-1] == row
    assert run("--photos", labelled_photos, "--views", 6, "--seed", 1) == 0
    assert capsys.readouterr().out.splitlines()[-1] != row


def test_weights_share_a_table_and_their_views(labelled_photos, tmp_path, capsys):
    """All see the same crops: the same weights have the same row wherever they stand."""
    untrained = tmp_path / "untrained.pth.tar"
    torch.manual_seed(0)
    model = build_model("mobilenet_025", morphable=load_morphable(OPEN_FOLDER))
    torch.save(pack_weights(model), untrained)
    same = shutil.copy(views.OPEN_WEIGHTS, tmp_path / "same.pth.tar")
    weights = (views.OPEN_WEIGHTS, untrained, same)
    assert run("--photos", labelled_photos, "--views", 4, "-w", *weights) == 0
    names, *columns = zip(*map(cells, capsys.readouterr().out.splitlines()[-3:]), strict=True)
    assert names == ("open_mobilenet_v2", "untrained", "same")
    assert all(own == copied for own, _, copied in columns)
    assert float(columns[2][0]) < 6 < float(columns[2][1])


def test_one_view_or_no_photo_is_one_line(labelled_photos, tmp_path, capsys):
    assert run("--photos", labelled_photos, "--views", 1) == 2
    assert "--views 1" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run("--photos", tmp_path / "empty") == 2
    assert "no .jpg with a .mat" in capsys.readouterr().err
