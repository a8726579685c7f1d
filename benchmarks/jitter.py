"""How steady landmarks are in a video, and how late: tracking with and without smoothing.

    python benchmarks/jitter.py

Held-out people of the open generator turn, nod and drift for some seconds, under sensor noise that
is new in every frame; the true landmarks are known. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from model_building import load_morphable
from synergy3DMM import SynergyNet
from synergynet import fileio
from synergynet.geometry.crop import CROP_FACTOR, crop_to_photo
from synergynet.geometry.parameters import IMG_SIZE, N_POSE
from synergynet.geometry.pose import Pose, compose_rotation
from synergynet.video.tracking import Tracker, tight_box
from utils.data.folders import OPEN_FOLDER, OPEN_WEIGHTS
from utils.evaluation.metrics import landmark_nme
from utils.inference.arguments import add_device, add_network, network_files
from utils.synthetic.head import load_head
from utils.synthetic.labels import decode_landmarks
from utils.synthetic.pictures import Generator

PEOPLE = (1, 7, 13)  # seeds
FRAME_PX = 480
FACE_SCALE = 0.8  # of a crop cut out exactly, so that the face may drift
# amplitude and period in seconds
YAW_DEG, PITCH_DEG, ROLL_DEG = (25, 6.0), (8, 4.3), (6, 5.1)
SHIFT_X, SHIFT_Y = (8, 3.7), (4, 2.9)  # crop px


def make_clip(n_frames: int, fps: float, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames (N, 480, 480, 3) uint8 BGR, and their true landmarks (N, 3, 68) px."""
    generator = Generator(
        load_head(OPEN_FOLDER),
        load_morphable(OPEN_FOLDER),
        held_out=True,
        without=("occluders", "borders"),
    )
    face = generator.labels.sample(np.random.default_rng(seed))
    mean_face = generator.labels.landmark_mean  # (68, 3) micrometres
    scale = FACE_SCALE * IMG_SIZE / (CROP_FACTOR * np.ptp(mean_face[:, :2], axis=0).max())
    rng = np.random.default_rng(seed)
    frames, params = [], []
    for seconds in tqdm(np.arange(n_frames) / fps, desc="drawing", leave=False, disable=None):
        yaw, pitch, roll, x, y = (
            amplitude * np.sin(2 * np.pi * seconds / period)
            for amplitude, period in (YAW_DEG, PITCH_DEG, ROLL_DEG, SHIFT_X, SHIFT_Y)
        )
        pose = Pose(*np.array([yaw, pitch, roll]))
        camera = np.zeros((3, 4))
        camera[:, :3] = scale * compose_rotation(pose)
        centre = camera[:, :3] @ mean_face.mean(0)
        camera[:, 3] = [IMG_SIZE / 2 + x, IMG_SIZE / 2 + y, 0] - centre
        params.append(np.concatenate([camera.reshape(N_POSE), face[N_POSE:]]))
        person = np.random.default_rng(seed)  # the same look in every frame
        crop = generator.studio.render(generator.head_verts(params[-1]), camera, person)
        frame = cv2.resize(crop, (FRAME_PX, FRAME_PX), interpolation=cv2.INTER_CUBIC)
        frames.append((frame + rng.normal(0, noise, frame.shape)).clip(0, 255).astype(np.uint8))
    landmarks = decode_landmarks(generator.labels, np.array(params))
    return np.array(frames), crop_to_photo(landmarks, np.array([0, 0, FRAME_PX, FRAME_PX]))


def track(net: SynergyNet, frames: np.ndarray, fps: float, smooth: bool) -> np.ndarray:
    """Landmarks (N, 3, 68) of the one face of a clip."""
    tracker = Tracker(net, smooth=smooth)
    found = [tracker.step(frame, index / fps)[1].landmarks for index, frame in enumerate(frames)]
    if any(len(landmarks) != 1 for landmarks in found):
        raise RuntimeError("the face was lost")
    return np.concatenate(found)


def jitter_px(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Mean change of the landmarks' error from frame to frame, px: 0 for a constant error."""
    error = (predicted - truth)[:, :2]
    return float(np.linalg.norm(np.diff(error, axis=0), axis=1).mean())


def lag_ms(predicted: np.ndarray, truth: np.ndarray, fps: float) -> float:
    """How late the landmarks are: the delay T that explains their error best, e = -T v + const."""
    velocity = np.gradient(truth[:, :2], 1 / fps, axis=0)
    error = (predicted - truth)[:, :2]
    error, velocity = error - error.mean(0), velocity - velocity.mean(0)
    return float(-1000 * (error * velocity).sum() / (velocity**2).sum())


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add_network(parser, weights=str(OPEN_WEIGHTS))
    add_device(parser)
    add("--frames", type=int, default=125, help="default: %(default)s")
    add("--fps", type=float, default=25.0, help="default: %(default)s")
    add("--noise", type=float, default=6.0, help="grey levels (default: %(default)s)")
    return parser


def main(args: argparse.Namespace) -> int:
    fileio.require_at_least(args, {"--frames": 3})
    scores: dict[str, list[list[float]]] = {"as it comes": [], "smoothed": []}
    for seed in PEOPLE:
        frames, truth = make_clip(args.frames, args.fps, args.noise, seed)
        boxes = np.column_stack([tight_box(truth[:1]), [1.0]])
        net = SynergyNet(
            **network_files(args)._asdict(),
            device=args.device,
            detector=lambda frame, boxes=boxes: boxes,
        )
        for name, smooth in (("as it comes", False), ("smoothed", True)):
            found = track(net, frames, args.fps, smooth)
            nme = 100 * landmark_nme(found, truth).mean()
            scores[name].append([jitter_px(found, truth), lag_ms(found, truth, args.fps), nme])
    print(f"{len(PEOPLE)} x {args.frames} frames of {FRAME_PX} px at {args.fps:g} frames/s\n")
    print("| landmarks | jitter, px a frame | lag, ms | NME, % |\n|---|---:|---:|---:|")
    for name, rows in scores.items():
        jitter, lag, nme = np.mean(rows, axis=0)
        print(f"| {name} | {jitter:.2f} | {lag:.0f} | {nme:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
