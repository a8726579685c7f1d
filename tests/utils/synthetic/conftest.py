"""The open face model, a generator of its faces, and its labels decoded as the card says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from model_building import load_morphable
from synergynet.geometry.parameters import IMG_SIZE
from utils.data.folders import OPEN_FOLDER
from utils.synthetic.head import load_head
from utils.synthetic.pictures import Generator


@pytest.fixture(scope="package")
def morphable():
    return load_morphable(OPEN_FOLDER)


@pytest.fixture(scope="package")
def generator(morphable):
    return Generator(load_head(OPEN_FOLDER), morphable)


@pytest.fixture(scope="package")
def decode(morphable) -> Callable[[np.ndarray], np.ndarray]:
    """Vertices (V, 3) of a label (62,) in the crop, y down: SPEC 3, written out."""

    def vertices(params):
        params = torch.from_numpy(params)
        shape, expression = params[12:52, None], params[52:62, None]
        x = morphable.u + morphable.w_shp @ shape + morphable.w_exp @ expression
        camera = params[:12].reshape(3, 4)
        verts = camera[:, :3] @ x.reshape(-1, 3).T + camera[:, 3:]  # (3, V)
        verts[1] = IMG_SIZE + 1 - verts[1]
        return verts.T.numpy()

    return vertices
