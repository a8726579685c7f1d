"""What a training run starts from: its network, its crops, and the set that validates."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
from pathlib import Path

import torch

import model_building
from model_building import SynergyNet, load_morphable
from synergynet import fileio
from synergynet.morphable_folder import WHITENING_FILE, read_whitening
from utils.data import evaluation_crops
from utils.data.evaluation_crops import AFLW2000_FOLDER, OPEN_TEST_FOLDER, EvaluationCrops
from utils.data.folders import default_morphable_folder
from utils.data.landmark_model import LandmarkModel
from utils.data.mirror import mirror_targets
from utils.data.mixed_crops import MixedCrops, parse_mix, rewhiten
from utils.data.training_crops import TrainingCrops
from utils.data.turned_crops import Geometry, Mover
from utils.inference.loading import lacks_whitening
from utils.preparation.training_set import TRAINING_IMAGES, TRAINING_LIST, TRAINING_PARAMS

WHITENING_TOLERANCE = 1e-3  # of a parameter's spread; rounding leaves far less


def start_model(args: argparse.Namespace, device: torch.device) -> SynergyNet:
    """The network to train: with fresh weights by --seed, or with --weights.

    Raises:
        InputError: the weights do not fit the flags, or weights or morphable model have another
            whitening than the training targets.
    """
    folder = Path(args.morphable or default_morphable_folder())
    morphable = load_morphable(folder)
    torch.manual_seed(args.seed)
    model = model_building.build_model(args.arch, morphable=morphable, recipe=args.recipe)
    if args.weights:
        rest = model_building.load_weights(model, args.weights)
        if lacks_whitening(args.arch, rest, args.weights, args.whitening):
            model.param_mean, model.param_std = map(
                torch.from_numpy, read_whitening(args.whitening)
            )
        if model.forwardDirection is None and args.recipe != "backbone":
            raise fileio.InputError(f"{args.weights}: holds a backbone only; there is no refiner")
        model.recipe = args.recipe  # weights of any recipe may start any other
    _check_whitening(model, args, folder)
    if args.sync_bn:
        if device.type == "cpu":
            raise fileio.InputError("--sync-bn: PyTorch has it for GPUs only; leave it out")
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return model.to(device, memory_format=torch.channels_last)


def _check_whitening(model: SynergyNet, args: argparse.Namespace, folder: Path) -> None:
    """Compare a model with the training targets, whose whitening is in a file beside their list,
    where `prepare_data.py` has left one, and else the morphable model's.

    Raises:
        InputError: the model has another one.
    """
    beside = Path(args.filelists_train).with_name(WHITENING_FILE)
    source = beside if beside.is_file() else folder / WHITENING_FILE
    mean, std = map(torch.from_numpy, read_whitening(source))
    off, scale = (model.param_mean - mean) / std, model.param_std / std
    if max(off.abs().max(), (scale - 1).abs().max()) > WHITENING_TOLERANCE:
        raise fileio.InputError(
            f"{args.weights or folder}: not of the whitening in {source}, which training targets "
            f"have; pass --morphable the folder that they belong to, and --weights of it or none"
        )


def load_crops(args: argparse.Namespace, model: SynergyNet) -> TrainingCrops | MixedCrops:
    """The training set that the flags name, for a model.

    Raises:
        InputError: it is missing, damaged, or smaller than a batch.
    """
    if not Path(args.filelists_train).is_file():
        raise fileio.InputError(
            f"{args.filelists_train}: no training data here; `bash train_script.sh` makes a "
            f"synthetic set, README, 'Training', says where real data goes"
        )
    crops = TrainingCrops(args.root, args.filelists_train, args.param_fp_train, args.seed)
    parts = parse_mix(args.mix)
    sets = [crops, *(_read_part(part.folder, args.seed, model) for part in parts)]
    sets = [_as_shown(one, args, model) for one in sets]
    mixed = MixedCrops(sets, [part.share for part in parts]) if parts else sets[0]
    if len(mixed) < args.batch_size:
        raise fileio.InputError(
            f"--batch-size {args.batch_size}: there are only {len(mixed)} images"
        )
    return mixed


def _read_part(folder: Path, seed: int, model: SynergyNet) -> TrainingCrops:
    """A set to mix in, its targets whitened as the model's are.

    Raises:
        InputError: it is missing or damaged.
    """
    files = [folder / name for name in (TRAINING_IMAGES, TRAINING_LIST, TRAINING_PARAMS)]
    if not files[1].is_file():
        raise fileio.InputError(f"--mix {folder}: no set of prepare_data.py there")
    crops = TrainingCrops(*files, seed)
    if (folder / WHITENING_FILE).is_file():
        own = read_whitening(folder / WHITENING_FILE)
        wanted = (model.param_mean.cpu().numpy(), model.param_std.cpu().numpy())
        crops.params_w = rewhiten(crops.params_w, own, wanted)
    return crops


def _as_shown(crops: TrainingCrops, args: argparse.Namespace, model: SynergyNet) -> TrainingCrops:
    """The crops with mirror images and moves, as the flags say."""
    if args.mirror:
        crops = crops.with_mirror_images(mirror_targets(crops.params_w, model))
    if args.geometry:
        mover = Mover(LandmarkModel.of(model), model.param_mean.cpu(), model.param_std.cpu())
        crops = crops.with_geometry(Geometry.parse(args.geometry), mover)
    return crops


def fingerprint(crops: EvaluationCrops) -> str:
    """SHA-256 of names and labels: errors on two sets are never compared."""
    digest = hashlib.sha256("\n".join(crops.names).encode())
    for field in dataclasses.fields(crops.labels):
        labels = getattr(crops.labels, field.name)
        digest.update(b"" if labels is None else labels.tobytes())
    return digest.hexdigest()


def validation_folder(args: argparse.Namespace) -> tuple[Path, bool]:
    """Where to validate, and whether that may choose weights: never on a test set."""
    folder = Path(args.validation or evaluation_crops.default_test_folder())
    test_sets = (AFLW2000_FOLDER, OPEN_TEST_FOLDER)
    chooses = all(folder.resolve() != test.resolve() for test in test_sets)
    return folder, chooses and bool(args.validation)
