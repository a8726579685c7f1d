"""Score a network on AFLW2000-3D, or on the open test set that ships.

    python benchmark.py -w pretrained/open_mobilenet_v2.pth.tar
    python benchmark.py -w mb05_120x120.pth -a 3ddfa_v2:mb05 --whitening FILE   # 3DDFA_V2's weights

Prints landmark and head pose errors as the published system does, then what that leaves out, and
writes benchmark.json, overlays 0.png ... 49.png, ced.png and error_vs_yaw.png to results/.
Source: SynergyNet, section 4.1, and the published benchmark's protocol.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from model_building import SynergyNet, load_model
from utils import io, metrics, render
from utils.crop import crop_to_photo, photo_to_crop
from utils.ddfa import (
    BENCHMARK,
    CROPS,
    OPEN_TEST_FOLDER,
    EvaluationCrops,
    EvaluationLabels,
    Preset,
    default_test_folder,
    evaluation_loader,
    read_crop,
)
from utils.inference import choose_device, make_regressor, regress_all
from utils.params import (
    IMG_SIZE,
    OPEN_FOLDER,
    ROOT,
    default_morphable_folder,
)
from utils.pose import decode_pose, decompose_camera

N_OVERLAYS = 50
OVERLAY_PX = 480
NOSE_TIP = 30  # of the 68 landmarks


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What the network says about N crops.

    Attributes:
        params: (N, 62) real (de-whitened) parameters.
        landmarks: (N, 3, 68) photo px, y down.
        seconds: reading, pre-processing, network and decoding together.
    """

    params: Tensor
    landmarks: np.ndarray
    seconds: float


# ---------------------------------------------------------------- scores


def predict(
    model: SynergyNet,
    crops: EvaluationCrops,
    device: torch.device | str,
    batch_size: int = 64,
    workers: int = 0,
    preset: Preset = BENCHMARK,
) -> Predictions:
    """Run the backbone over a test set; `model` is not modified.

    Args:
        model: in any mode, on any device.
        crops: the test set.
        device: where to compute.
        batch_size: images a batch.
        workers: loading processes; 0 loads in this one.
        preset: pre-processing.
    """
    regress = make_regressor(model, device)
    regress(torch.zeros(1, 3, IMG_SIZE, IMG_SIZE))  # the first call sets kernels up
    loader = evaluation_loader(crops, batch_size, workers)
    start = time.perf_counter()
    with torch.inference_mode():
        batches = tqdm(loader, desc="benchmark", unit="batch", leave=False, disable=None)
        params_w = regress_all(regress, batches, preset).to(model.u.device)
        landmarks = model.landmarks(params_w).cpu().numpy()  # (N, 3, 68) crop px
        params = model.params(params_w).cpu()
    seconds = time.perf_counter() - start
    if len(params) != len(crops):
        raise RuntimeError(f"{len(params)} images scored, {len(crops)} listed")
    return Predictions(params, crop_to_photo(landmarks, crops.labels.roi_box), seconds)


def score(predictions: Predictions, labels: EvaluationLabels) -> dict[str, Any]:
    """All errors of the predictions; an entry whose labels are absent is None."""
    nme = metrics.landmark_nme(predictions.landmarks, labels.landmarks)
    result: dict[str, Any] = {
        "images": len(nme),
        "nme": metrics.summarise_nme(nme, labels.yaw_deg),
        "nme_reannotated": None,
        "pose_mae": None,
        "pose_mae_exact": None,
    }
    if labels.reannotated is not None:
        nme = metrics.landmark_nme(predictions.landmarks, labels.reannotated)
        result["nme_reannotated"] = metrics.summarise_nme(nme, labels.yaw_deg)
    if labels.pose_deg is not None and len(labels.pose_deg):
        params = predictions.params[labels.pose_rows]
        for name, method in (("pose_mae", "published"), ("pose_mae_exact", "exact")):
            result[name] = metrics.pose_mae(decode_pose(params, method), labels.pose_deg)
    return result


def evaluate(
    model: SynergyNet,
    data_folder: str | os.PathLike,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    workers: int = 0,
    preset: Preset = BENCHMARK,
) -> dict[str, Any]:
    """Score a model on an `aflw2000_data` folder; `model` is not modified.

    Returns:
        The content of results/benchmark.json; `weights` is None, for the caller to name.
    Raises:
        InputError: the folder is incomplete or holds an unreadable image.
    """
    crops = EvaluationCrops(data_folder)
    predictions = predict(model, crops, device, batch_size, workers, preset)
    return summarise(model, crops, predictions, device, preset)


def summarise(
    model: SynergyNet,
    crops: EvaluationCrops,
    predictions: Predictions,
    device: torch.device | str,
    preset: Preset = BENCHMARK,
) -> dict[str, Any]:
    """Errors of the predictions, and what they were measured with."""
    return score(predictions, crops.labels) | {
        "seconds": predictions.seconds,
        "images_per_second": len(crops) / predictions.seconds,
        "weights": None,
        "arch": model.arch,
        "morphable": model.morphable_id,
        "data": _relative(crops.folder),
        "device": str(device),
        "preprocessing": f"BGR, {preset.border_px}-px black border, (x - 127.5) / 128",
    }


def _relative(path: str | os.PathLike) -> str:
    """A path inside the project as seen from its root, any other as it is."""
    path = Path(path)
    inside = path.is_absolute() and path.is_relative_to(ROOT)
    return str(path.relative_to(ROOT) if inside else path)


# ---------------------------------------------------------------- printing


def format_report(result: dict[str, Any]) -> str:
    """The published blocks to the letter, then what they leave out."""
    lines = [metrics.format_nme(result["nme"])]
    if result["pose_mae"]:
        lines.append(metrics.format_pose_mae(result["pose_mae"]))
    lines.append("\nBeyond the published report:")
    if exact := result["pose_mae_exact"]:
        lines.append(metrics.format_angles("Mean MAE, exact decoding", exact))
    if reannotated := result["nme_reannotated"]:
        bins = ", ".join(
            f"{label} {metrics.as_number(reannotated[name]):.3f}"
            for name, label in metrics.BIN_LABELS.items()
        )
        lines.append(f"NME, re-annotated labels: {bins}, mean {reannotated['mean']:.3f}")
    lines.append(f"NME, mean over images: {result['nme']['image_mean']:.3f}")
    lines.append(
        f"{result['images']} images in {result['seconds']:.2f} s on {result['device']}: "
        f"{result['images_per_second']:.0f} images/s, files to landmarks"
    )
    return "\n".join(lines)


# ---------------------------------------------------------------- pictures


def draw_overlay(index: int, crops: EvaluationCrops, predictions: Predictions) -> np.ndarray:
    """One crop twice, enlarged: predicted landmarks with the head's axes, and the true ones."""
    labels = crops.labels
    crop = read_crop(crops.folder / CROPS / crops.names[index])
    image = render.enlarge(crop, OVERLAY_PX)
    box, truth_photo = labels.roi_box[index], labels.landmarks[index]
    predicted = _enlarged(photo_to_crop(predictions.landmarks[index], box))
    truth = _enlarged(photo_to_crop(truth_photo, box))
    params = predictions.params[index : index + 1]
    _, rotation, _ = decompose_camera(params[:, :12].reshape(-1, 3, 4))
    left = render.draw_landmarks(image, predicted)
    left = render.draw_pose_axes(left, rotation[0].numpy(), predicted[:2, NOSE_TIP], OVERLAY_PX / 5)
    right = render.draw_landmarks(image, truth, render.TRUTH_BGR)
    nme = metrics.landmark_nme(predictions.landmarks[index][None], truth_photo[None])[0]
    pose = decode_pose(params, "exact")
    left = render.add_caption(
        left, [f"prediction: NME {100 * nme:.2f} %", _angles(*(a.item() for a in pose))]
    )
    right = render.add_caption(
        right, [f"label: {crops.names[index]}", _label_angles(index, labels)]
    )
    return render.side_by_side([left, right])


def _enlarged(landmarks_crop: np.ndarray) -> np.ndarray:
    """Crop px to px of the enlarged picture, whose pixel centres lie half a pixel in."""
    return (landmarks_crop + 0.5) * (OVERLAY_PX / IMG_SIZE) - 0.5


def _angles(yaw: float, pitch: float, roll: float) -> str:
    yaw, pitch, roll = (round(float(angle), 1) + 0.0 for angle in (yaw, pitch, roll))  # no -0.0
    return f"yaw {yaw:.1f}, pitch {pitch:.1f}, roll {roll:.1f} degrees"


def _label_angles(index: int, labels: EvaluationLabels) -> str:
    rows = labels.pose_rows
    if rows is None or index not in rows:
        return f"yaw {labels.yaw_deg[index]:.1f} degrees"
    pitch, yaw, roll = labels.pose_deg[np.searchsorted(rows, index)]
    return _angles(yaw, pitch, roll)


def write_pictures(output: Path, crops: EvaluationCrops, predictions: Predictions) -> None:
    """Write 0.png ... 49.png, ced.png and error_vs_yaw.png; overlays of an older run disappear."""
    labels = crops.labels
    for index in range(N_OVERLAYS):
        path = output / f"{index}.png"
        if index < len(crops):
            io.write_image(path, draw_overlay(index, crops, predictions))
        else:
            path.unlink(missing_ok=True)
    nme = 100 * metrics.landmark_nme(predictions.landmarks, labels.landmarks)
    curves = {"68 landmarks": nme}
    if labels.reannotated is not None:
        curves["re-annotated labels"] = 100 * metrics.landmark_nme(
            predictions.landmarks, labels.reannotated
        )
    title = f"{len(crops)} images of {_relative(crops.folder)}"
    io.write_image(output / "ced.png", render.cumulative_error_plot(curves, title))
    plot = render.error_against_yaw_plot(nme, labels.yaw_deg, title)
    io.write_image(output / "error_vs_yaw.png", plot)


# ---------------------------------------------------------------- command


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("-w", "--weights", required=True, help="checkpoint: published, ours, or 3DDFA_V2's")
    add("-a", "--arch", help="default: the checkpoint's, else mobilenet_v2")
    add("-d", "--device", default="auto", help="auto, cpu, cuda or a number (default: %(default)s)")
    add("--data", help="aflw2000_data folder (default: real data when there, else the open set)")
    add("--morphable", help="3dmm_data folder (default: the checkpoint's, real or open)")
    add("--output", default="results", help="folder for numbers and pictures (default: results)")
    add("--batch-size", type=int, default=64, help="default: %(default)s")
    add("--workers", type=int, default=2, help="loading processes (default: %(default)s)")
    add("--whitening", help="parameter mean and std, for weights that carry none (3DDFA_V2)")
    add(
        "--img_size", type=int, default=IMG_SIZE, help="always %(default)s, as in published scripts"
    )
    return parser


def main(args: argparse.Namespace) -> int:
    if args.img_size != IMG_SIZE:
        raise io.InputError(
            f"--img_size {args.img_size}: the crops are {IMG_SIZE} px; leave it away"
        )
    if args.batch_size < 1 or args.workers < 0:
        raise io.InputError("--batch-size must be at least 1, --workers at least 0")
    device = choose_device(args.device)
    output = io.make_output_folder(args.output)
    if not args.morphable and default_morphable_folder() == OPEN_FOLDER:
        print("3dmm_data/ has no Basel Face Model: using the open morphable model that ships")
    if not args.data and default_test_folder() == OPEN_TEST_FOLDER:
        print("aflw2000_data/ has no AFLW2000-3D: scoring the open synthetic test set that ships")
    model = load_model(args.weights, args.arch, args.morphable, args.whitening)
    crops = EvaluationCrops(args.data or default_test_folder())
    print(
        f"weights {args.weights}, arch {model.arch}, "
        f"morphable model {model.morphable_id['name']}, test set {_relative(crops.folder)}"
    )
    predictions = predict(model, crops, device, args.batch_size, args.workers)
    result = summarise(model, crops, predictions, device)
    result["weights"] = str(args.weights)
    print(format_report(result))
    io.write_json(output / "benchmark.json", result)
    write_pictures(output, crops, predictions)
    print(f"numbers and pictures: {output}")
    return 0


if __name__ == "__main__":
    sys.exit(io.run_command(main, get_args_parser().parse_args()))
