"""Speed and memory of the whole benchmark, files to errors, beside the plain way of doing it.

    python benchmarks/evaluation.py [--images 2000] [--many 20000]

The plain way is what published evaluations do: one process, batches of 128, an eager network in the
default memory layout, landmarks and errors image by image in numpy. Both run in turns. Peak memory
is that of a fresh process with `--images` and with `--many` images; pictures of the open test set
are listed again and again.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import multiprocessing
import re
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import benchmark
from model_building import SynergyNet
from synergynet import fileio
from utils.data.evaluation_crops import (
    CROPS,
    EVAL,
    LIST,
    OPEN_TEST_FOLDER,
    EvaluationCrops,
    EvaluationLabels,
    write_labels,
)
from utils.data.folders import OPEN_WEIGHTS
from utils.data.preprocessing import BENCHMARK
from utils.evaluation import metrics
from utils.inference.loading import load_model

PLAIN_BATCH = 128


def repeat_test_set(folder: Path, count: int) -> Path:
    """The open test set listed again and again until it has `count` images."""
    crops = EvaluationCrops(OPEN_TEST_FOLDER)
    rows = np.arange(count) % len(crops)
    labels = crops.labels
    folder.mkdir()
    (folder / CROPS).symlink_to(OPEN_TEST_FOLDER / CROPS)
    fileio.write_list(folder / LIST, [crops.names[row] for row in rows])
    repeated = EvaluationLabels(
        landmarks=labels.landmarks[rows],
        reannotated=None,
        yaw_deg=labels.yaw_deg[rows],
        roi_box=labels.roi_box[rows],
        pose_rows=np.arange(count),
        pose_deg=labels.pose_deg[rows],
    )
    write_labels(folder / EVAL, repeated)
    return folder


def plain_nme(model: SynergyNet, folder: Path) -> np.ndarray:
    """Landmark errors (N,) image by image."""
    names = fileio.read_list(folder / LIST)
    labels = EvaluationCrops(folder).labels
    u, w_shp, w_exp = (t.numpy() for t in (model.u_base, model.w_shp_base, model.w_exp_base))
    mean, std = model.param_mean.numpy(), model.param_std.numpy()
    border = BENCHMARK.border_px
    result = []
    for start in range(0, len(names), PLAIN_BATCH):
        images = []
        for name in names[start : start + PLAIN_BATCH]:
            image = cv2.imread(str(folder / CROPS / name)).astype(np.float32)
            framed = np.zeros_like(image)
            framed[border:-border, border:-border] = image[border:-border, border:-border]
            images.append((framed.transpose(2, 0, 1) - 127.5) / 128)
        with torch.no_grad():
            params_w = model.I2P(torch.from_numpy(np.stack(images)))[0].numpy()
        for row, whitened in enumerate(params_w, start=start):
            params = whitened * std + mean
            camera = params[:12].reshape(3, 4)
            verts = (u + w_shp @ params[12:52, None] + w_exp @ params[52:, None]).reshape(68, 3)
            points = camera[:, :3] @ verts.T + camera[:, 3:]
            points[1] = 121 - points[1]
            sx, sy, ex, ey = labels.roi_box[row]
            points[0] = points[0] * (ex - sx) / 120 + sx
            points[1] = points[1] * (ey - sy) / 120 + sy
            truth = labels.landmarks[row]
            size = np.sqrt(np.ptp(truth[0]) * np.ptp(truth[1]))
            result.append(np.linalg.norm(points[:2] - truth[:2], axis=0).mean() / size)
    return np.array(result)


def peak_mib(folder: Path, workers: int) -> float:
    """Peak memory of a fresh process that evaluates a folder, MiB."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(_evaluate_and_measure, folder, workers).result()


def _evaluate_and_measure(folder: Path, workers: int) -> float:
    benchmark.evaluate(load_model(OPEN_WEIGHTS), folder, workers=workers)
    # not getrusage's ru_maxrss: a new process inherits that of the one that started it
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024


def main(args: argparse.Namespace) -> int:
    model = load_model(OPEN_WEIGHTS).eval()
    with tempfile.TemporaryDirectory() as temporary:
        folder = repeat_test_set(Path(temporary) / "few", args.images)
        seconds: dict[str, list[float]] = {"plain": [], "ours": []}
        for _ in range(args.repeats):
            start = time.perf_counter()
            nme = plain_nme(model, folder)
            seconds["plain"].append(time.perf_counter() - start)
            start = time.perf_counter()
            result = benchmark.evaluate(model, folder, workers=args.workers)
            seconds["ours"].append(time.perf_counter() - start)
        expected = metrics.summarise_nme(nme, EvaluationCrops(folder).labels.yaw_deg)["mean"]
        if abs(result["nme"]["mean"] - expected) > 1e-3:
            raise RuntimeError(f"NME {result['nme']['mean']} against {expected}: other work")
        plain, ours = (float(np.median(times)) for times in seconds.values())
        print(
            f"{args.images} images: plain {plain:.1f} s, ours {ours:.1f} s, {plain / ours:.2f}x",
            flush=True,
        )
        many = repeat_test_set(Path(temporary) / "many", args.many)
        few_mib, many_mib = (peak_mib(path, args.workers) for path in (folder, many))
        growth = (many_mib - few_mib) * 1024 / (args.many - args.images)
        print(
            f"peak memory: {few_mib:.0f} MiB with {args.images} images, {many_mib:.0f} MiB with "
            f"{args.many}: {growth:.2f} KiB an image, where a picture has 42"
        )
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=2000, help="default: %(default)s")
    parser.add_argument("--many", type=int, default=20000, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="default: %(default)s")
    sys.exit(fileio.run_command(main, parser.parse_args()))
