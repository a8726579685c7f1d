"""AFLW's 21 points end to end on generated files."""

import numpy as np
import pytest
import torch

from synergynet import fileio
from synergynet.geometry.crop import crop_to_photo
from utils.data.evaluation_crops import EVAL
from utils.evaluation import aflw, metrics
from utils.evaluation.aflw import AflwCrops, aflw_errors
from utils.evaluation.sources import NetworkSource

COUNT = 5
BOX = np.array([10.0, 20, 250, 200])


def network(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """68 landmarks that depend on a crop's brightness only."""
    grid = torch.arange(68.0) * torch.tensor([[0.5], [1.1], [0.0]]) % 90
    landmarks = grid + images.float().mean(dim=(1, 2, 3))[:, None, None] / 10
    params = torch.cat([torch.eye(3, 4).flatten(), torch.zeros(50)]).expand(len(images), 62)
    return params, landmarks


@pytest.fixture
def folder(tmp_path):
    """Labels are the predictions moved by 3 px in x, some points hidden."""
    points = []
    for i in range(COUNT):
        image = np.full((120, 120, 3), 40 * i, np.uint8)
        fileio.write_image(tmp_path / aflw.CROPS / f"{i}.png", image)
        _, landmarks = network(torch.from_numpy(image)[None])
        points.append(metrics.aflw_points(crop_to_photo(landmarks.numpy(), BOX))[0])
    points = np.stack(points)
    points[:, 0] += 3
    points[1, :, 5:9] = metrics.AFLW_HIDDEN
    fileio.write_list(tmp_path / aflw.LIST, [f"{i}.png" for i in range(COUNT)])
    fileio.write_array(tmp_path / EVAL / aflw.POINTS_FILE, points)
    fileio.write_array(tmp_path / EVAL / aflw.ROI_BOX_FILE, np.tile(BOX, (COUNT, 1)))
    fileio.write_array(tmp_path / EVAL / aflw.YAW_FILE, np.array([0, 40, 50, 70, 80.0]))
    return tmp_path


def test_error_that_was_put_in_is_found(folder):
    crops = AflwCrops(folder)
    result = aflw_errors(NetworkSource(crops, network))
    expected = []
    for points in crops.labels.points:
        seen = points[:, points[0] != metrics.AFLW_HIDDEN]
        expected.append(100 * 3 / np.sqrt(np.ptp(seen, axis=1).prod()))
    assert result["image_mean"] == pytest.approx(np.mean(expected), rel=1e-4)
    assert result["30-60"] == pytest.approx(np.mean(expected[1:3]), rel=1e-4)
    assert result["bin_images"] == {"0-30": 1, "30-60": 2, "60-90": 2}


def test_without_the_files_there_is_no_figure(folder):
    source = NetworkSource(AflwCrops(folder), network)
    (folder / aflw.LIST).unlink()
    assert aflw_errors(source) is None


def test_an_image_without_visible_points_is_named(folder):
    points = np.load(folder / EVAL / aflw.POINTS_FILE)
    points[3, :, 1:] = metrics.AFLW_HIDDEN
    fileio.write_array(folder / EVAL / aflw.POINTS_FILE, points)
    with pytest.raises(fileio.InputError, match=r"fewer than two visible points of 3\.png"):
        AflwCrops(folder)


def test_two_visible_points_are_enough(folder):
    points = np.load(folder / EVAL / aflw.POINTS_FILE)
    points[3, :, 2:] = metrics.AFLW_HIDDEN
    fileio.write_array(folder / EVAL / aflw.POINTS_FILE, points)
    assert len(AflwCrops(folder)) == COUNT


def test_other_counts_are_refused(folder):
    fileio.write_array(folder / EVAL / aflw.YAW_FILE, np.zeros(COUNT - 1))
    with pytest.raises(fileio.InputError, match="4 rows for 5 images"):
        AflwCrops(folder)
