"""Every function of the geometry gives numpy arrays and tensors the same numbers, in float64."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import synergynet.geometry
from synergynet.face_model import MorphableModel
from synergynet.geometry import (
    arrays,
    camera,
    conventions,
    crop,
    decoding,
    mirror,
    parameters,
    pinhole,
    pose,
)
from synergynet.geometry.mirror import FaceMirror
from synergynet.geometry.parameters import N_EXPR, N_LANDMARKS, N_PARAMS, N_SHAPE

TOLERANCE = 1e-12  # relative and absolute: the last digits of float64, summed in another order
BATCH = 5

rng = np.random.default_rng(0)
ROTATIONS = Rotation.random(BATCH, rng=rng).as_matrix()
ANGLES = rng.uniform(-80, 80, (3, BATCH))
VECTORS = rng.normal(size=(BATCH, 3))
PARAMS, OTHER_PARAMS = rng.normal(size=(2, BATCH, N_PARAMS))
RAYS = np.abs(VECTORS) / np.linalg.norm(VECTORS, axis=1, keepdims=True)
FOCAL_PX = np.arange(1000.0, 1000 + BATCH)
CAMERAS = rng.normal(size=(BATCH, 3, 4))
LANDMARKS = rng.uniform(0, 450, (BATCH, 3, N_LANDMARKS))
BOXES = np.array([10.0, 20, 130, 150]) + rng.uniform(0, 5, (BATCH, 4))
MEAN, STD = rng.normal(size=N_PARAMS), rng.uniform(1, 2, N_PARAMS)
LINEAR = (*(rng.normal(size=(30, n)) for n in (1, N_SHAPE, N_EXPR)),)  # a face of 10 points
FACE_MIRROR = FaceMirror(rng.normal(size=(50, 50)), rng.normal(size=50), 12.0)
MATRICES_4 = conventions.to_matrix4(ROTATIONS)

# For each function its arguments; what is an array becomes a tensor in the second call.
CALLS: dict[Callable[..., Any], tuple[Any, ...]] = {
    arrays.as_float64: (LANDMARKS.astype(np.float32),),
    camera.camera_of: (PARAMS,),
    camera.with_camera: (PARAMS, CAMERAS),
    camera.decompose_camera: (CAMERAS,),
    camera.camera_rotation: (CAMERAS,),
    camera.compose_camera: (np.arange(1.0, BATCH + 1), ROTATIONS, VECTORS),
    camera.nearest_rotation: (CAMERAS[:, :, :3],),
    camera.split_rotation: (CAMERAS[:, :, :3],),
    camera.rotation_from_vector: (VECTORS,),
    camera.rotation_vector: (ROTATIONS,),
    camera.cross_matrix: (VECTORS,),
    camera.params_to_photo: (PARAMS, BOXES),
    camera.params_to_crop: (PARAMS, BOXES),
    camera.move_params: (PARAMS, CAMERAS[:, :2, :3]),
    conventions.to_300w_lp: (ROTATIONS,),
    conventions.from_300w_lp: (VECTORS,),
    conventions.to_fsa_net: (ROTATIONS,),
    conventions.from_fsa_net: (VECTORS,),
    conventions.to_3ddfa: (ROTATIONS,),
    conventions.from_3ddfa: (VECTORS,),
    conventions.to_6drepnet: (ROTATIONS,),
    conventions.from_6drepnet: (ROTATIONS,),
    conventions.to_opencv: (ROTATIONS,),
    conventions.from_opencv: (VECTORS,),
    conventions.to_matrix4: (ROTATIONS,),
    conventions.from_matrix4: (MATRICES_4,),
    conventions.is_rotation: (ROTATIONS,),
    conventions.convert: (ROTATIONS, "6drepnet", "opencv"),
    crop.roi_box_from_landmarks: (LANDMARKS[0], 450, 450),
    crop.square_box_from_landmarks: (LANDMARKS,),
    crop.roi_box_from_face_box: (BOXES,),
    crop.tight_box: (LANDMARKS,),
    crop.crop_to_photo: (LANDMARKS, BOXES),
    crop.photo_to_crop: (LANDMARKS, BOXES),
    crop.photo_px_per_crop_px: (BOXES,),
    decoding.decode_points: (PARAMS, *LINEAR),
    decoding.model_points: (PARAMS, *LINEAR),
    decoding.turn_y: (LANDMARKS,),
    mirror.mirror_landmarks: (LANDMARKS,),
    mirror.mirror_rotation: (ROTATIONS,),
    mirror.mean_rotation: (ROTATIONS, ROTATIONS[::-1].copy()),
    mirror.mirror_params: (PARAMS, FACE_MIRROR),
    mirror.mean_params: (PARAMS, OTHER_PARAMS),
    parameters.unwhiten: (PARAMS, MEAN, STD),
    parameters.whiten: (PARAMS, MEAN, STD),
    pinhole.turn_to_ray: (RAYS,),
    pinhole.to_pinhole: (CAMERAS[:, :2, :3], VECTORS[:, :2], VECTORS, FOCAL_PX),
    pinhole.to_affine: (ROTATIONS, VECTORS + np.array([0, 0, 9]), VECTORS, FOCAL_PX),
    pose.compose_rotation: (pose.Pose(*ANGLES),),
    pose.exact_angles: (ROTATIONS,),
    pose.published_angles: (ROTATIONS,),
    pose.decode_pose: (PARAMS,),
    pose.in_plane_angle: (PARAMS,),
}
NOT_NUMBERS = {arrays.namespace}  # tested by its use


def as_tensors(value: Any) -> Any:
    if isinstance(value, pose.Pose):
        return pose.Pose(*map(as_tensors, value))
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def flat(result: Any, kind: type) -> list[Any]:
    """The arrays of a result, each of them checked to be of its kind."""
    parts = result if isinstance(result, tuple) else (result,)
    assert all(isinstance(part, (kind, bool)) for part in parts), [type(p) for p in parts]
    return [np.asarray(part) for part in parts]


@pytest.mark.parametrize("function", CALLS, ids=lambda f: f"{f.__module__[20:]}.{f.__name__}")
def test_numbers_are_the_same(function):
    arguments = CALLS[function]
    of_numpy = flat(function(*arguments), (np.ndarray, np.float64))
    of_torch = flat(function(*map(as_tensors, arguments)), torch.Tensor)
    assert len(of_numpy) == len(of_torch)
    for expected, found in zip(of_numpy, of_torch, strict=True):
        assert expected.dtype == found.dtype
        assert expected.shape == found.shape
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)


def test_no_function_is_left_out():
    names = [info.name for info in pkgutil.iter_modules(synergynet.geometry.__path__)]
    modules = [importlib.import_module(f"synergynet.geometry.{name}") for name in names]
    functions = {
        function
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }
    assert functions == CALLS.keys() | NOT_NUMBERS


def test_a_face_model_decodes_both_alike(tiny_morphable: MorphableModel):
    model = tiny_morphable.convert(lambda a: a if a.dtype == torch.int64 else a.double())
    twin = model.convert(lambda array: array.numpy())
    for method in ("landmarks", "landmarks_model", "vertices", "whiten", "unwhiten"):
        found = getattr(model, method)(torch.from_numpy(PARAMS))
        expected = getattr(twin, method)(PARAMS)
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * 1e5)  # um
