"""How often visibility is right: against the depth buffers of drawn heads.

    python benchmarks/visibility.py

Held-out people of the open generator are drawn in perspective. A landmark, or a vertex of the face,
is seen there where no surface of the whole head (ears, neck and the back of it too) is nearer by
more than a tolerance. That is compared with `Faces.visible`, which knows the weak-perspective face
alone: of the exact labels, and of what a network makes of the pictures. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from synergynet import SynergyNet, fileio
from synergynet.drawing.rasterize import rasterize_depth
from synergynet.faces import Faces, decode_faces
from synergynet.geometry.parameters import IMG_SIZE
from utils.data.folders import OPEN_FOLDER
from utils.synthetic.labels import Shot
from utils.synthetic.pictures import Generator, GeneratorSource, load_generator
from utils.synthetic.portrait.geometry import project_to_crop

ENLARGED = 8  # buffer px per crop px
# Landmarks lie up to 2.5 mm beneath the head's surface; what is hidden, is so by more than 5 mm.
TOLERANCE_MM = 5.0
BINS = ((0, 30), (30, 60), (60, 90))  # degrees of |yaw|


def seen_points(generator: Generator, shot: Shot, points: np.ndarray) -> np.ndarray:
    """Which points (N, 3) of a drawn head its camera sees, (N,) bool.

    Args:
        generator: that draws it.
        shot: the head and its camera.
        points: micrometres in the model frame.
    """
    head = project_to_crop(shot.camera, generator.head_verts(shot.face)) * ENLARGED
    x, y, z = project_to_crop(shot.camera, points).T * ENLARGED
    size = ENLARGED * IMG_SIZE
    depth = rasterize_depth(head, generator.head.triangles, size, size)
    inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
    nearest = np.full(len(points), -np.inf)
    nearest[inside] = depth[y[inside].astype(int), x[inside].astype(int)]
    px_per_mm = 1000 * ENLARGED * np.linalg.norm(shot.camera[0, :3])
    return nearest - z < TOLERANCE_MM * px_per_mm


def face_points(net: SynergyNet, face: np.ndarray) -> np.ndarray:
    """Vertices (V, 3) micrometres in the model frame, of shape and expression (50,)."""
    model = net.model
    moved = model.u[:, 0] + np.concatenate([model.w_shp, model.w_exp], axis=1) @ face
    return moved.reshape(-1, 3)


def draw_faces(net: SynergyNet, count: int, seed: int) -> tuple[Faces, Faces, np.ndarray]:
    """Faces as labelled, as the network sees them, and what is seen of their vertices (N, V)."""
    source = GeneratorSource.of(OPEN_FOLDER, True, None, ())
    generator = load_generator(source)
    shots, crops, seen = [], [], []
    for index in tqdm(range(count), desc="drawing", leave=False, disable=None):
        rng = np.random.default_rng((seed, index))
        shots.append(generator.shoot(rng))
        crops.append(generator.render(shots[-1], rng))
        seen.append(seen_points(generator, shots[-1], face_points(net, shots[-1].face)))
    boxes = np.tile([0.0, 0, IMG_SIZE, IMG_SIZE], (count, 1))
    params = np.array([shot.params for shot in shots])
    labelled = decode_faces(net.model, params, boxes, boxes, np.arange(count))
    found = net.predict_crops(crops, np.arange(count), boxes, boxes, exact=True)
    return labelled, found, np.array(seen)


def agreement(faces: Faces, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of landmarks and of vertices, (N,) each, whose visibility is as in `seen` (N, V)."""
    rows = faces.model.landmark_vertices
    return (
        (faces.visible == seen[:, rows]).mean(axis=1),
        (faces.visible_vertices == seen).mean(axis=1),
    )


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("-w", "--weights", help="ONNX file of export.py (default: the open weights)")
    add("--count", type=int, default=500, help="faces (default: %(default)s)")
    add("--seed", type=int, default=0, help="default: %(default)s")
    return parser


def main(args: argparse.Namespace) -> int:
    fileio.require_at_least(args, {"--count": 1, "--seed": 0})
    net = SynergyNet(args.weights)
    labelled, found, seen = draw_faces(net, args.count, args.seed)
    yaw = np.abs(labelled.pose("exact").yaw)
    rows = net.model.landmark_vertices
    print(f"{args.count} drawn faces, {100 * seen[:, rows].mean():.1f} % of landmarks seen\n")
    names = " | ".join(f"{low}-{high}" for low, high in BINS)
    print(f"| right, % | {names} | all landmarks | vertices |\n|---|{'---:|' * (len(BINS) + 2)}")
    for name, faces in (("of the exact label", labelled), ("of the network's face", found)):
        landmarks, vertices = agreement(faces, seen)
        bins = [landmarks[(yaw >= low) & (yaw < high)] for low, high in BINS]
        shares = [part.mean() if len(part) else np.nan for part in (*bins, landmarks, vertices)]
        print(f"| {name} | {' | '.join(f'{100 * share:.1f}' for share in shares)} |")
    return 0


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
