"""Damages grow with their level, repeat with their seed, and keep boxes and pictures together."""

import cv2
import numpy as np
import pytest
import torch

from synergynet import fileio
from synergynet.geometry.crop import photo_to_crop
from utils.data.evaluation_crops import CROPS, EVAL, EvaluationCrops, EvaluationLabels, write_labels
from utils.evaluation import corrupt
from utils.evaluation.corrupt import BOX_JITTER, DAMAGES, LEVELS, DamagedCrops, sweep
from utils.evaluation.errors import read_truth
from utils.evaluation.sources import NetworkSource

COUNT = 5


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> EvaluationCrops:
    """Smooth pictures with one bright dot each, whose place is landmark 30's label."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("data")
    landmarks = rng.uniform(60, 200, (COUNT, 3, 68))
    for i in range(COUNT):
        image = np.full((120, 120, 3), 60, np.uint8)
        x, y = rng.integers(40, 80, 2)
        cv2.circle(image, (int(x), int(y)), 5, (255, 255, 255), -1)
        fileio.write_image(folder / CROPS / f"{i}.png", image)
        landmarks[i, :2, 30] = 2 * (x + 0.5) + 10, 2 * (y + 0.5) + 10
    fileio.write_list(folder / "AFLW2000-3D_crop.list", [f"{i}.png" for i in range(COUNT)])
    labels = EvaluationLabels(
        landmarks=landmarks,
        reannotated=None,
        yaw_deg=np.linspace(-80, 80, COUNT),
        roi_box=np.tile([10.0, 10, 250, 250], (COUNT, 1)),
        pose_rows=None,
        pose_deg=None,
    )
    write_labels(folder / EVAL, labels)
    return EvaluationCrops(folder)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_grows_with_its_level_and_leaves_the_original_alone(crops, damage):
    before = crops[0]
    change = []
    for level in range(len(LEVELS)):
        damaged = DamagedCrops(crops, damage, level)[0]
        assert damaged.shape == (120, 120, 3)
        assert damaged.dtype == torch.uint8
        change.append((damaged.float() - before.float()).abs().mean().item())
    assert 0 < change[0] < change[1] < change[2]
    assert torch.equal(crops[0], before)


@pytest.mark.parametrize("damage", [*DAMAGES, BOX_JITTER])
def test_damage_depends_on_seed_and_place_only(crops, damage):
    first, second = (DamagedCrops(crops, damage, 1) for _ in range(2))
    assert torch.equal(first[3], second[3])
    assert len(first) == COUNT
    if damage in ("noise", "occlusion", BOX_JITTER):
        assert not torch.equal(first[3], DamagedCrops(crops, damage, 1, seed=1)[3])


@pytest.mark.parametrize("level", [0, 1, 2])
def test_jittered_boxes_keep_labels_on_the_picture(crops, level):
    """The dot is where the label says, in the moved crop too."""
    damaged = DamagedCrops(crops, BOX_JITTER, level)
    assert (damaged.labels.roi_box != crops.labels.roi_box).any()
    for i in range(COUNT):
        bright = (damaged[i].numpy()[:, :, 0] > 150).nonzero()
        found = np.array([bright[1].mean(), bright[0].mean()]) + 0.5
        label = photo_to_crop(crops.labels.landmarks[i], damaged.labels.roi_box[i])[:2, 30]
        np.testing.assert_allclose(found, label, atol=0.6)


def test_sweep_scores_every_damage_at_every_level(crops):
    """A network that sees brightness only: its error says what it was shown."""

    def network(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        landmarks = images.float().mean(dim=(1, 2, 3))[:, None, None].expand(-1, 3, 68)
        params = torch.eye(3, 4).flatten().expand(len(images), 12)
        return torch.cat([params, torch.zeros(len(images), 50)], dim=1), landmarks

    table = sweep("brightness", NetworkSource(crops, network), read_truth(crops, None))
    assert table.nme.shape == (6, 4)
    assert (table.nme[:, 0] == table.nme[0, 0]).all()
    darkness, blur = (
        table.nme[table.damages.index("darkness")],
        table.nme[table.damages.index("blur")],
    )
    assert len(set(darkness)) == 4  # every level is another brightness
    np.testing.assert_allclose(blur, blur[0], rtol=0.05)  # the mean survives
    text = corrupt.format_robustness(table)
    assert len(text.splitlines()) == 9
    assert f"{darkness[3]:.3f}" in text
