"""The open face model, and its mean face as a photo shows it."""

import numpy as np
import pytest

from synergynet.geometry.pose import Pose, compose_rotation
from synergynet.morphable_folder import read_morphable_folder
from utils.data.folders import OPEN_FOLDER


@pytest.fixture(scope="package")
def morphable():
    return read_morphable_folder(OPEN_FOLDER)


@pytest.fixture(scope="package")
def photographed():
    """The mean face (3, V) in a photo of some height, turned by yaw."""

    def photograph(morphable, yaw_deg, height=300):
        verts = morphable.mean_face.astype(float)
        rotation = compose_rotation(Pose(*np.array([yaw_deg, 0.0, 0.0])))
        scale = 0.8 * height / np.ptp(verts[:, 1])
        turned = (rotation @ (verts - verts.mean(0)).T) * [[scale], [-scale], [scale]]
        return turned + height / 2

    return photograph
