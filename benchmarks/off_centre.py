"""Metric pose of heads beside the middle of the picture: what the lens puts right.

    python benchmarks/off_centre.py

Held-out people of the open generator are drawn as a pinhole camera sees them along slanted rays,
0.6 to 3 m away; the network sees the crops. Its rotation against the camera is compared with the
true one, as it comes and by `Faces.metric_pose`, and so is the place of the point between the
pupils, of which the true distance is known here. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from synergynet import SynergyNet, fileio
from synergynet.faces import LEFT_EYE, RIGHT_EYE, Faces, decode_faces
from synergynet.geometry.camera import rotation_from_vector, rotation_vector
from synergynet.geometry.conventions import to_opencv
from synergynet.geometry.crop import square_box_from_landmarks
from synergynet.geometry.parameters import IMG_SIZE
from synergynet.geometry.pinhole import PUPILS_MM, Lens, turn_to_ray
from utils.data.folders import OPEN_FOLDER
from utils.synthetic.labels import sample_rotation
from utils.synthetic.pictures import Generator, GeneratorSource, load_generator
from utils.synthetic.portrait.projection import project

ASIDE_DEG = (0, 10, 20, 30)  # angles of the viewing rays from the axis
MOST_YAW_DEG = 60.0  # of the head against its ray
DISTANCES_M = (0.6, 3.0)
LENS = Lens(1500.0, (0.0, 0.0))  # px are counted from the axis


class Scene(NamedTuple):
    """A head before the camera, in OpenCV's frame and micrometres of the head's own size.

    Attributes:
        face: (50,) shape and expression.
        rotation, translation: (3, 3) and (3,), from the model's frame.
    """

    face: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray


def sample_scene(generator: Generator, aside_deg: float, rng: np.random.Generator) -> Scene:
    """Somebody seen along a ray this far from the axis, anywhere around it."""
    face = generator.shoot(rng).face.astype(np.float64)
    around, aside = rng.uniform(0, 2 * np.pi), np.radians(aside_deg)
    ray = np.array([np.cos(around) * np.sin(aside), np.sin(around) * np.sin(aside), np.cos(aside)])
    seen = rotation_from_vector(to_opencv(sample_rotation(rng, (0.0, MOST_YAW_DEG))))
    rotation = turn_to_ray(ray) @ seen
    distance = 1e6 * np.exp(rng.uniform(*np.log(DISTANCES_M)))
    return Scene(face, rotation, distance * ray - rotation @ landmarks_of(generator, face).mean(0))


def landmarks_of(generator: Generator, face: np.ndarray) -> np.ndarray:
    """(68, 3) micrometres in the model's frame."""
    return generator.labels.landmark_mean + generator.labels.basis @ face


def camera_of_scene(scene: Scene, landmarks: np.ndarray) -> np.ndarray:
    """The projective camera (4, 4) into px from the axis, y up, for `portrait.projection`."""
    depth = (scene.rotation @ landmarks.mean(0) + scene.translation)[2]
    x, y, z = np.column_stack([scene.rotation, scene.translation])  # (4,) each
    scale = LENS.focal_px / depth
    nearer = depth * np.array([0, 0, 0, 1]) - z  # than the landmarks' middle
    return np.stack([scale * x, -scale * y, scale * nearer, z / depth])


def photograph(
    net: SynergyNet, generator: Generator, scene: Scene, rng: np.random.Generator
) -> Faces:
    """The face that the network finds, in px from the axis."""
    landmarks = landmarks_of(generator, scene.face)
    camera = camera_of_scene(scene, landmarks)
    image = project(camera, landmarks)[:, :2] * (1, -1)  # y down
    box = square_box_from_landmarks(image.T)
    scale = IMG_SIZE / (box[2] - box[0])
    to_crop = np.diag([scale, scale, scale, 1])
    to_crop[:2, 3] = -scale * box[0], IMG_SIZE + 1 + scale * box[1]
    camera = (to_crop @ camera).astype(np.float32)
    crop = generator.studio.render(generator.head_verts(scene.face), camera, rng)
    whole, first = np.array([[0.0, 0, IMG_SIZE, IMG_SIZE]]), np.zeros(1, np.int64)
    params = net.predict_crops([crop], first, whole, whole, exact=True).params
    return decode_faces(net.model, params, box[None], box[None], first)


def errors_of(faces: Faces, scene: Scene, landmarks: np.ndarray) -> tuple[float, float, float]:
    """Rotation off as it comes and with the lens, degrees; place off with the lens, percent."""
    metric = faces.metric_pose(LENS)
    raw = rotation_from_vector(to_opencv(faces.rotations.astype(np.float64)))[0]
    found = rotation_from_vector(metric.rvec)[0]
    turns = np.stack([scene.rotation.T @ raw, scene.rotation.T @ found])
    before, after = np.degrees(np.linalg.norm(rotation_vector(turns), axis=1))
    right, left = landmarks[RIGHT_EYE].mean(0), landmarks[LEFT_EYE].mean(0)
    place = scene.rotation @ (right + left) / 2 + scene.translation
    place_mm = place * PUPILS_MM / np.linalg.norm(left - right)
    off = np.linalg.norm(metric.tvec_mm[0] - place_mm) / np.linalg.norm(place_mm)
    return float(before), float(after), 100 * float(off)


def measure(net: SynergyNet, aside_deg: float, count: int, seed: int) -> np.ndarray:
    """`errors_of` of so many heads, (count, 3)."""
    generator = load_generator(GeneratorSource.of(OPEN_FOLDER, True, None, ()))
    rows = []
    for index in tqdm(range(count), desc=f"{aside_deg} degrees", leave=False, disable=None):
        rng = np.random.default_rng((seed, index))
        scene = sample_scene(generator, aside_deg, rng)
        faces = photograph(net, generator, scene, rng)
        rows.append(errors_of(faces, scene, landmarks_of(generator, scene.face)))
    return np.array(rows)


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("-w", "--weights", help="ONNX file of export.py (default: the open weights)")
    add("--count", type=int, default=200, help="heads of each angle (default: %(default)s)")
    add("--seed", type=int, default=0, help="default: %(default)s")
    return parser


def main(args: argparse.Namespace) -> int:
    fileio.require_at_least(args, {"--count": 1, "--seed": 0})
    net = SynergyNet(args.weights)
    print("| degrees from the axis | rotation off as it comes | with the lens | place off, % |")
    print("|---:|---:|---:|---:|")
    for aside_deg in ASIDE_DEG:
        before, after, off = measure(net, aside_deg, args.count, args.seed).mean(0)
        print(f"| {aside_deg} | {before:.1f} | {after:.1f} | {off:.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
