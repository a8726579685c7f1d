"""Training: the reference's ten steps, the optimiser by hand, and runs end to end on tiny data."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
import torch

import benchmark
import main_train
from model_building import build_model, load_weights
from utils import checkpoint, ddfa, io, optimization
from utils.params import ROOT, load_morphable

# ---------------------------------------------------------------- whole runs


@pytest.fixture(scope="module")
def data(reference, morphable_folder, tmp_path_factory):
    """A training set of 16 pictures and a test set of 4, in the published formats."""
    folder = tmp_path_factory.mktemp("data")
    images = reference.arrays["train_images"]
    names = [f"{i:02d}.jpg" for i in range(len(images))]
    for name, image in zip(names, images, strict=True):
        io.write_image(folder / "crops" / name, image)
    io.write_list(folder / "train.list", names)
    (folder / "train.pkl").write_bytes(pickle.dumps(reference.arrays["train_targets"]))
    for name, image in zip(names, reference.arrays["images"], strict=False):
        io.write_image(folder / "test" / "AFLW2000-3D_crop" / name, image)
    evaluation = folder / "test" / "eval"
    io.write_list(folder / "test" / "AFLW2000-3D_crop.list", names[:4])
    io.write_array(evaluation / "AFLW2000-3D.pts68.npy", reference.arrays["metric_gt"][:4])
    io.write_array(evaluation / "AFLW2000-3D.pose.npy", reference.arrays["metric_yaw"][:4])
    boxes = reference.arrays["metric_roi_box"][:4]
    io.write_array(evaluation / "AFLW2000-3D_crop.roi_box.npy", boxes)
    return folder


@pytest.fixture
def flags(data, morphable_folder, tmp_path):
    """Flags of a run of two epochs with two steps each; checkpoints go to tmp_path/ckpts."""
    return {
        "--arch": "mobilenet_025",
        "--root": data / "crops",
        "--filelists-train": data / "train.list",
        "--param-fp-train": data / "train.pkl",
        "--morphable": morphable_folder,
        "--validation": data / "test",
        "--batch-size": 8,
        "--base-lr": 0.01,
        "--epochs": 2,
        "--warmup": 1,
        "--milestones": "9",
        "--workers": 0,
        "--save_val_freq": 1,
        "--print-freq": 1,
        "--snapshot": tmp_path / "ckpts" / "Tiny",
        "--plot": tmp_path / "results" / "training.png",
    }


def command_line(flags, *switches):
    return [str(item) for pair in flags.items() for item in pair] + list(switches)


def run(flags, *switches):
    args = main_train.get_args_parser().parse_args(command_line(flags, *switches))
    return io.run_command(main_train.main, args)


def saved(tmp_path, epoch):
    return tmp_path / "ckpts" / f"Tiny_checkpoint_epoch_{epoch}.pth.tar"


@pytest.mark.parametrize("optimizer", optimization.OPTIMIZERS)
def test_train_resume_load_and_benchmark(
    flags, tmp_path, data, morphable_folder, capsys, optimizer
):
    flags |= {"--optimizer": optimizer}
    log_file = tmp_path / "logs" / "train.log"
    assert run(flags | {"--ema": 0.5, "--log-file": log_file}, "--test_initial") == 0
    whole = io.read_checkpoint(saved(tmp_path, 2))
    assert (whole["epoch"], whole["arch"], whole["recipe"]) == (2, "mobilenet_025", "paper")
    for text in (capsys.readouterr().out, log_file.read_text()):
        assert text.count("4 images, NME") == 3
        assert "step 4/4" in text
        assert "img/s, ETA" in text

    # from epoch 1 on, a resumed run gives the same bits
    saved(tmp_path, 2).unlink()
    assert run(flags | {"--ema": 0.5, "--resume": saved(tmp_path, 1)}) == 0
    resumed = io.read_checkpoint(saved(tmp_path, 2))
    for entry in ("state_dict", "raw_state_dict"):
        for key, value in whole[entry].items():
            assert torch.equal(value, resumed[entry][key]), key
    raw = {f"module.{key}": value for key, value in whole["raw_state_dict"].items()}
    key = "module.I2P.backbone.classifier_ori.1.weight"
    assert not torch.equal(raw[key], whole["state_dict"][key])

    # both files that a run leaves can be scored, and agree
    means = []
    for path in (saved(tmp_path, 2), tmp_path / "ckpts" / "Tiny_weights.pth.tar"):
        model = build_model("mobilenet_025", morphable=load_morphable(morphable_folder))
        load_weights(model, path)
        means.append(benchmark.evaluate(model, data / "test", "cpu")["nme"]["image_mean"])
    assert means[0] == pytest.approx(means[1], rel=1e-2)


def test_dry_run_writes_nothing(flags, tmp_path, capsys):
    assert run(flags | {"--log-file": tmp_path / "train.log"}, "--dry-run") == 0
    assert "nothing was written" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_folders_that_were_not_given_are_logged(flags, monkeypatch, capsys):
    morphable, validation = flags.pop("--morphable"), flags.pop("--validation")
    monkeypatch.setattr(main_train, "default_morphable_folder", lambda: morphable)
    monkeypatch.setattr(ddfa, "default_test_folder", lambda: validation)
    assert run(flags, "--dry-run") == 0
    assert f"morphable model in {morphable}, validation on {validation}" in capsys.readouterr().out


@pytest.mark.parametrize(("recipe", "optimizer"), [("released", "sgd"), ("corrected", "adamw")])
def test_other_recipes_and_optimizers_train(flags, tmp_path, recipe, optimizer):
    assert run(flags | {"--recipe": recipe, "--optimizer": optimizer, "--epochs": 1}) == 0
    entries = io.read_checkpoint(saved(tmp_path, 1))
    assert entries["recipe"] == recipe


def run_elsewhere(flags, launch):
    command = [*launch, str(ROOT / "main_train.py"), *command_line(flags)]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)


TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.mark.parametrize(("launch", "change"), [(TORCHRUN, {}), ([], {"--processes": 2})])
def test_two_processes_train_together(flags, tmp_path, launch, change):
    done = run_elsewhere(flags | {"--epochs": 1} | change, [sys.executable, *launch])
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("2 x cpu") == 1  # one process writes the log
    assert "step 2/2" in done.stdout
    assert saved(tmp_path, 1).is_file()


# ---------------------------------------------------------------- bad input


def test_an_error_in_two_processes_is_one_line(flags):
    done = run_elsewhere(flags | {"--arch": "mobilenet_v9", "--processes": 2}, [sys.executable])
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown arch 'mobilenet_v9'")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--filelists-train": "nowhere.list"}, "no training data here; `bash train_script.sh`"),
        ({"--batch-size": 1024}, "--batch-size 1024: there are "),
        ({"--arch": "mobilenet_v9"}, "mobilenet_v9"),
        ({"--root": "nowhere"}, "nowhere"),
        ({"--param-fp-train": "nowhere.pkl"}, "nowhere.pkl"),
        ({"--morphable": "nowhere"}, "nowhere"),
        ({"--validation": "nowhere"}, "nowhere"),
        ({"--resume": "nowhere.pth.tar"}, "nowhere.pth.tar"),
        ({"--snapshot": "/proc/nowhere/Tiny"}, "/proc/nowhere"),
        ({"--batch-size": 1}, "--batch-size"),
        ({"--start-epoch": 3}, "--epochs"),
        ({"--print-freq": 0}, "--print-freq 0"),
        ({"--save_val_freq": 0}, "--save_val_freq 0"),
        ({"--workers": -1}, "--workers -1"),
        ({"--seed": -1}, "--seed -1"),
        ({"--processes": 0}, "--processes 0"),
        ({"--devices-id": "-1"}, "--devices-id"),
        ({"--ema": 1.5}, "--ema 1.5"),
        ({"--base-lr": "nan"}, "--base-lr nan"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(flags, tmp_path, capsys, change, message):
    assert run(flags | change) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert list(tmp_path.glob("ckpts/*")) == []


@pytest.mark.parametrize(
    "damage",
    [{"optimizer": {}}, {"optimizer": {"param_groups": []}}, {"optimizer": 3}, {"epoch": "one"}],
)
def test_resume_refuses_damaged_states(tiny_morphable, tmp_path, damage):
    model = build_model("mobilenet_025", morphable=tiny_morphable)
    optimizer = optimization.build_optimizer(model, 0.01)
    path = tmp_path / "damaged.pth.tar"
    checkpoint.save_checkpoint(path, model, optimizer, None, {"epoch": 1, "step": 0})
    torch.save(io.read_checkpoint(path) | damage, path)
    with pytest.raises(io.InputError, match=r"damaged\.pth\.tar: cannot go on from it"):
        checkpoint.resume(str(path), model, optimizer, None)


def test_resume_refuses_weights_other_recipes_and_optimizers(flags, tmp_path, capsys):
    assert run(flags | {"--epochs": 1}) == 0
    capsys.readouterr()
    assert run(flags | {"--resume": tmp_path / "ckpts" / "Tiny_weights.pth.tar"}) == 2
    assert "weights only" in capsys.readouterr().err
    assert run(flags | {"--resume": saved(tmp_path, 1), "--recipe": "released"}) == 2
    assert "--recipe paper" in capsys.readouterr().err
    assert run(flags | {"--resume": saved(tmp_path, 1), "--optimizer": "adamw"}) == 2
    assert "--optimizer" in capsys.readouterr().err
