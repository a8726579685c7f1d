"""Training: the reference's ten steps, the optimiser by hand, and runs end to end on tiny data."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import benchmark
import main_train
from model_building import build_model, load_morphable, load_weights, read_checkpoint
from synergynet import fileio
from synergynet.morphable_folder import WHITENING_FILE
from utils.data import evaluation_crops
from utils.data.evaluation_crops import OPEN_TEST_FOLDER
from utils.data.folders import ROOT
from utils.data.preprocessing import preprocess
from utils.inference.loading import load_model
from utils.training import checkpoint, optimization, start

SUM_ORDER_TOLERANCE = 1e-3  # two steps of a network of 30 layers, sums in another order


# ---------------------------------------------------------------- whole runs


@pytest.fixture(scope="module")
def data(reference, morphable_folder, tmp_path_factory):
    """A training set of 16 pictures and a test set of 4, in the published formats."""
    folder = tmp_path_factory.mktemp("data")
    images = reference.arrays["train_images"]
    names = [f"{i:02d}.jpg" for i in range(len(images))]
    for name, image in zip(names, images, strict=True):
        fileio.write_image(folder / "crops" / name, image)
    fileio.write_list(folder / "train.list", names)
    (folder / "train.pkl").write_bytes(pickle.dumps(reference.arrays["train_targets"]))
    for name, image in zip(names, reference.arrays["images"], strict=False):
        fileio.write_image(folder / "test" / "AFLW2000-3D_crop" / name, image)
    evaluation = folder / "test" / "eval"
    fileio.write_list(folder / "test" / "AFLW2000-3D_crop.list", names[:4])
    fileio.write_array(evaluation / "AFLW2000-3D.pts68.npy", reference.arrays["metric_gt"][:4])
    fileio.write_array(evaluation / "AFLW2000-3D.pose.npy", reference.arrays["metric_yaw"][:4])
    boxes = reference.arrays["metric_roi_box"][:4]
    fileio.write_array(evaluation / "AFLW2000-3D_crop.roi_box.npy", boxes)
    return folder


@pytest.fixture
def flags(data, morphable_folder, tmp_path, monkeypatch):
    """Flags of a run of two epochs with two steps each; checkpoints go to tmp_path/ckpts."""
    monkeypatch.setattr(evaluation_crops, "default_test_folder", lambda: data / "test")
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
    if not args.resume:  # many tests train anew in one folder
        checkpoint.snapshot_path(args, "last").unlink(missing_ok=True)
    return fileio.run_command(main_train.main, args)


def saved(tmp_path, epoch):
    return tmp_path / "ckpts" / f"Tiny_checkpoint_epoch_{epoch}.pth.tar"


def test_checkpoints_of_an_earlier_run_are_not_replaced(flags, tmp_path, capsys):
    last = tmp_path / "ckpts" / "Tiny_last.pth.tar"
    last.parent.mkdir()
    last.write_bytes(b"hours of work")
    args = main_train.get_args_parser().parse_args(command_line(flags))
    assert fileio.run_command(main_train.main, args) == 2
    assert f"{last}: of an earlier run; go on with --resume auto" in capsys.readouterr().err
    assert last.read_bytes() == b"hours of work"
    assert [path.name for path in last.parent.iterdir()] == [last.name]


def test_a_run_that_learned_nothing_leaves_no_weights(flags, tmp_path, reference, capsys):
    targets = np.full_like(reference.arrays["train_targets"], 3e38)
    (tmp_path / "huge.pkl").write_bytes(pickle.dumps(targets))
    assert run(flags | {"--param-fp-train": tmp_path / "huge.pkl"}) == 2
    assert "no step had a finite gradient, so nothing was learned" in capsys.readouterr().err
    assert not (tmp_path / "ckpts" / "Tiny_weights.pth.tar").exists()


@pytest.mark.parametrize("optimizer", optimization.OPTIMIZERS)
def test_train_resume_load_and_benchmark(
    flags, tmp_path, data, morphable_folder, capsys, optimizer
):
    flags |= {"--optimizer": optimizer}
    log_file = tmp_path / "logs" / "train.log"
    assert run(flags | {"--ema": 0.5, "--log-file": log_file}, "--test_initial") == 0
    whole = read_checkpoint(saved(tmp_path, 2))
    assert (whole["epoch"], whole["arch"], whole["recipe"]) == (2, "mobilenet_025", "paper")
    for text in (capsys.readouterr().out, log_file.read_text()):
        assert text.count("4 images, NME") == 5  # first, two epochs; last and best on the test set
        assert "step 4/4" in text
        assert "img/s, ETA" in text

    # from epoch 1 on, a resumed run gives the same bits
    saved(tmp_path, 2).unlink()
    assert run(flags | {"--ema": 0.5, "--resume": saved(tmp_path, 1)}) == 0
    resumed = read_checkpoint(saved(tmp_path, 2))
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
    for module in (main_train, start):
        monkeypatch.setattr(module, "default_morphable_folder", lambda: morphable)
    monkeypatch.setattr(evaluation_crops, "default_test_folder", lambda: validation)
    assert run(flags, "--dry-run") == 0
    assert f"morphable model in {morphable}, validation on {validation}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("recipe", "optimizer"), [("released", "sgd"), ("corrected", "adamw"), ("backbone", "adamw")]
)
def test_other_recipes_and_optimizers_train(flags, tmp_path, recipe, optimizer):
    assert run(flags | {"--recipe": recipe, "--optimizer": optimizer, "--epochs": 1}) == 0
    entries = read_checkpoint(saved(tmp_path, 1))
    assert entries["recipe"] == recipe


def run_elsewhere(flags, launch):
    command = [*launch, str(ROOT / "main_train.py"), *command_line(flags)]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)


@pytest.fixture
def one_thread(monkeypatch):
    """One thread here as in the processes that are started: the gradient of a network that knows
    nothing yet moves by 20 % when sums are taken in another order."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.mark.parametrize(("launch", "change"), [(TORCHRUN, {}), ([], {"--processes": 2})])
def test_two_processes_train_as_one_with_two_parts(flags, tmp_path, one_thread, launch, change):
    """Gradients, hence weights and momenta, of two gloo processes and of --accumulate 2."""
    flags |= {"--epochs": 1}
    done = run_elsewhere(flags | change, [sys.executable, *launch])
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("2 x cpu") == 1  # one process writes the log
    assert "step 2/2" in done.stdout
    together = read_checkpoint(saved(tmp_path, 1))
    assert run(flags | {"--accumulate": 2}) == 0
    alone = read_checkpoint(saved(tmp_path, 1))
    assert run(flags) == 0
    undivided = read_checkpoint(saved(tmp_path, 1))

    def momenta(entries):
        states = entries["optimizer"]["state"].values()
        return torch.cat([state["momentum_buffer"].flatten() for state in states])

    size = momenta(alone).norm()
    assert (momenta(together) - momenta(alone)).norm() < SUM_ORDER_TOLERANCE * size
    assert (momenta(undivided) - momenta(alone)).norm() > 0.1 * size  # batch norm sees a part
    model = build_model("mobilenet_025", morphable=load_morphable(flags["--morphable"]))
    for name, _ in model.named_parameters():
        one, other = (entries["state_dict"][f"module.{name}"] for entries in (together, alone))
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


# ---------------------------------------------------------------- published command lines


def parse(*words):
    return main_train.get_args_parser().parse_args([str(word) for word in words])


def test_every_published_flag_is_taken():
    """All that the published main_train.py parses, in each of its spellings."""
    short = parse("-j", 3, "-b", 16, "-vb", 8, "-p", 20, "--learning-rate", 0.01, "--wd", 0.1)
    assert (short.workers, short.batch_size, short.val_batch_size) == (3, 16, 8)
    assert (short.print_freq, short.base_lr, short.weight_decay) == (20, 0.01, 0.1)
    long = parse(
        *("--workers=3", "--batch-size=16", "--val-batch-size=8", "--print-freq=20"),
        *("--base-lr=0.01", "--weight-decay=0.1", "--momentum=0.8", "--epochs=40"),
        *("--start-epoch=1", "--resume=", "--resume_pose=", "--devices-id=0,1"),
        *("--filelists-train=a", "--root=b", "--snapshot=c", "--log-file=d", "--log-mode=w"),
        *("--arch=mobilenet_v2", "--milestones=15,25,30", "--task=all", "--test_initial=false"),
        *("--warmup=5", "--param-fp-train=e", "--img_size=120", "--save_val_freq=10"),
    )
    for name in ("workers", "batch_size", "val_batch_size", "print_freq", "base_lr"):
        assert getattr(long, name) == getattr(short, name)
    assert (long.momentum, long.weight_decay, long.log_mode) == (0.8, 0.1, "w")
    assert main_train.flags_without_meaning(long) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], False),
        (["--test_initial"], True),
        (["--test_initial=True"], True),
        (["--test_initial", "yes"], True),
        (["--test_initial=false"], False),
        (["--test_initial=0"], False),
    ],
)
def test_test_initial_as_a_switch_and_with_a_value(words, expected):
    assert parse(*words).test_initial is expected


def test_a_published_command_line_trains(flags, tmp_path, capsys):
    log_file = tmp_path / "train.log"
    log_file.write_text("an older log\n")
    switches = ["--test_initial=True", "--task=lmk", "--resume_pose=p.pth", "--img_size=120"]
    switches += ["--wd", "0.1", "--momentum", "0.5", "-vb", "2", "--resume="]
    assert run(flags | {"--log-file": log_file, "--log-mode": "w", "--epochs": 1}, *switches) == 0
    printed = capsys.readouterr().out
    assert "initial weights on" in printed
    assert printed.count("no script ever read it") == 2
    assert "an older log" not in log_file.read_text()
    group = read_checkpoint(saved(tmp_path, 1))["optimizer"]["param_groups"][0]
    assert (group["momentum"], group["weight_decay"]) == (0.5, 0.1)


@pytest.mark.parametrize(("optimizer", "expected"), [("sgd", 5e-4), ("adamw", 0.01)])
def test_weight_decay_without_the_flag_is_the_optimisers_own(flags, tmp_path, optimizer, expected):
    assert run(flags | {"--epochs": 1, "--optimizer": optimizer}) == 0
    group = read_checkpoint(saved(tmp_path, 1))["optimizer"]["param_groups"][0]
    assert group["weight_decay"] == expected


def test_a_resumed_run_goes_on_with_its_log(flags, tmp_path):
    log_file = tmp_path / "train.log"
    assert run(flags | {"--log-file": log_file, "--epochs": 1}) == 0
    assert run(flags | {"--log-file": log_file, "--resume": "auto"}) == 0
    text = log_file.read_text()
    assert "epoch 1, learning rate" in text
    assert "epoch 2, learning rate" in text
    assert run(flags | {"--log-file": log_file, "--epochs": 1}) == 0
    assert "epoch 2, learning rate" not in log_file.read_text()


# ---------------------------------------------------------------- interruptions


def test_a_run_killed_again_and_again_ends_with_the_same_bits(flags, tmp_path):
    """kill -9 at three moments, one of them while it writes; then the run is left to end."""
    flags |= {"--save-freq": 1, "--batch-size": 4, "--ema": 0.5, "--workers": 1}
    whole = flags | {"--snapshot": tmp_path / "whole" / "Tiny"}
    assert run(whole) == 0
    last = tmp_path / "ckpts" / "Tiny_last.pth.tar"
    command = [sys.executable, str(ROOT / "main_train.py"), *command_line(flags)]
    reached = []
    for kill in range(3):
        process = subprocess.Popen([*command, "--resume", "auto"], stdout=subprocess.DEVNULL)
        before = last.stat().st_mtime_ns if last.exists() else 0
        while process.poll() is None:
            writing = list(last.parent.glob(".Tiny_last*"))
            if (kill == 1 and before and writing) or (
                kill != 1 and last.exists() and last.stat().st_mtime_ns > before
            ):
                process.kill()
            time.sleep(0.001)
        assert process.returncode == -signal.SIGKILL
        entries = read_checkpoint(last)  # whole, whatever the moment
        reached.append(4 * entries["epoch"] + entries["step"])
    assert 0 < reached[0] <= reached[1] < reached[2] < 8
    assert run(flags | {"--resume": "auto"}) == 0
    assert not list(last.parent.glob(".Tiny*"))
    for name in ("Tiny_last.pth.tar", "Tiny_best.pth.tar"):
        expected, resumed = (
            read_checkpoint(tmp_path / folder / name) for folder in ("whole", "ckpts")
        )
        assert (expected["epoch"], expected["best"]) == (resumed["epoch"], resumed["best"])
        for entry in ("state_dict", "raw_state_dict"):
            for key, value in expected[entry].items():
                assert torch.equal(value, resumed[entry][key]), (name, entry, key)
        for one, other in zip(
            expected["optimizer"]["state"].values(),
            resumed["optimizer"]["state"].values(),
            strict=True,
        ):
            assert torch.equal(one["momentum_buffer"], other["momentum_buffer"])
    tables = [(tmp_path / folder / "Tiny_log.csv").read_text() for folder in ("whole", "ckpts")]
    whole_rows, resumed_rows = ([r.split(",") for r in table.splitlines()] for table in tables)
    assert [row[:9] for row in whole_rows] == [row[:9] for row in resumed_rows]  # but for speed


@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c_is_one_line_that_tells_how_to_go_on(flags, tmp_path, processes):
    """To the whole group of processes, as terminals do it."""
    flags |= {"--save-freq": 1, "--batch-size": 4, "--epochs": 999, "--workers": 1}
    flags |= {"--processes": processes, "--save_val_freq": 999}
    last = tmp_path / "ckpts" / "Tiny_last.pth.tar"
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "main_train.py"), *command_line(flags)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        while not last.exists():
            assert process.poll() is None
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, printed = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert printed == f"stopped: {last} is kept; go on with --resume auto\n"


def test_a_full_disk_is_one_line_and_leaves_the_checkpoint_before(flags, tmp_path):
    """A limit on the size of files stands for the disk's end."""
    assert run(flags | {"--epochs": 1}) == 0
    last = tmp_path / "ckpts" / "Tiny_last.pth.tar"
    before = last.read_bytes()
    flags |= {"--resume": "auto"}
    command = [sys.executable, str(ROOT / "main_train.py"), *command_line(flags)]
    done = subprocess.run(
        ["bash", "-c", f'ulimit -f {len(before) // 2048}; exec "$@"', "-", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 2, done.stderr[-2000:]
    assert done.stderr.count("\n") == 1
    assert "ckpts/" in done.stderr
    assert "make room" in done.stderr
    assert last.read_bytes() == before
    assert not list(last.parent.glob(".Tiny*"))


def test_resuming_with_other_flags_or_data_is_told(flags, tmp_path, data, capsys):
    assert run(flags | {"--epochs": 1}) == 0
    capsys.readouterr()
    assert run(flags | {"--resume": "auto", "--base-lr": 0.02}) == 0
    assert "--base-lr is 0.02, the checkpoint has 0.01" in capsys.readouterr().out
    names = fileio.read_list(data / "train.list")
    fileio.write_list(tmp_path / "other.list", names[1:] + names[:1])
    other = {"--filelists-train": tmp_path / "other.list", "--resume": saved(tmp_path, 1)}
    assert run(flags | other) == 2
    assert "trained on other data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("switch", "told"),
    [
        ("--mirror", "--mirror is False, the checkpoint has True"),
        ("--geometry=180,0.15,0.08", "--geometry is , the checkpoint has 180,0.15,0.08"),
    ],
)
def test_training_with_moved_images_is_another_run(flags, tmp_path, capsys, switch, told):
    assert run(flags, switch) == 0
    moved = torch.load(saved(tmp_path, 2), weights_only=True)["state_dict"]
    resumed = {**flags, "--resume": saved(tmp_path, 1)}
    assert run(resumed, switch) == 0
    again = torch.load(saved(tmp_path, 2), weights_only=True)["state_dict"]
    assert all(torch.equal(moved[name], again[name]) for name in again)
    capsys.readouterr()
    assert run(resumed) == 0
    assert told in "".join(capsys.readouterr())
    assert run(flags) == 0
    without = torch.load(saved(tmp_path, 2), weights_only=True)["state_dict"]
    assert any(not torch.equal(moved[name], without[name]) for name in without)


def test_resume_in_an_epoch_keeps_the_batch_size(flags, tmp_path, capsys):
    assert run(flags | {"--epochs": 1}) == 0
    middle = tmp_path / "middle.pth.tar"
    torch.save(read_checkpoint(saved(tmp_path, 1)) | {"epoch": 0, "step": 1}, middle)
    capsys.readouterr()
    assert run(flags | {"--resume": middle, "--batch-size": 4}) == 2
    assert "--batch-size 8; keep that size" in capsys.readouterr().err


# ---------------------------------------------------------------- what a run starts from and tells


def test_weights_start_a_run_of_another_recipe(flags, tmp_path, capsys):
    assert run(flags | {"--epochs": 1}) == 0
    capsys.readouterr()
    fine = {"--weights": saved(tmp_path, 1), "--recipe": "corrected", "--print-freq": 9}
    assert run(flags | fine, "--dry-run", "--test_initial") == 0
    first = capsys.readouterr().out
    assert run(flags | {"--recipe": "corrected"}, "--dry-run", "--test_initial") == 0
    fresh = capsys.readouterr().out
    report = benchmark.evaluate(load(flags, saved(tmp_path, 1)), flags["--validation"])
    assert f"NME {report['nme']['mean']:.3f}" in first.split("initial weights")[1].split("\n")[0]
    assert f"NME {report['nme']['mean']:.3f}" not in fresh
    assert run(flags | fine | {"--resume": saved(tmp_path, 1)}) == 2
    assert "give one" in capsys.readouterr().err


def write_another_whitening(source, path, entry):
    """Like another, but for one parameter in a hundredth of its spread."""
    whitening = fileio.read_pickle(source)
    values = whitening[entry].copy()
    values[20] += 0.01 * whitening["param_std"][20]
    fileio.write_pickle(path, whitening | {entry: values})


@pytest.mark.parametrize("entry", ["param_mean", "param_std"])
def test_weights_of_another_whitening_are_refused(flags, morphable_folder, tmp_path, capsys, entry):
    """Targets follow the folder's whitening; the network would learn that it is wrong, slowly."""
    assert run(flags | {"--epochs": 1}) == 0
    other = tmp_path / "other"
    shutil.copytree(morphable_folder, other)
    write_another_whitening(*[other / WHITENING_FILE] * 2, entry)
    fine = flags | {"--weights": saved(tmp_path, 1)}
    assert run(fine | {"--morphable": other}, "--dry-run") == 2
    assert f"not of the whitening in {other}" in capsys.readouterr().err
    assert run(fine, "--dry-run") == 0


def test_a_set_says_its_own_whitening(flags, data, morphable_folder, tmp_path, capsys):
    """Sets made with --whiten-anew do not go with the face model that they were made of."""
    beside = tmp_path / "set"
    beside.mkdir()
    shutil.copy(data / "train.list", beside)
    flags |= {"--filelists-train": beside / "train.list"}
    shutil.copy(morphable_folder / WHITENING_FILE, beside)
    assert run(flags, "--dry-run") == 0
    write_another_whitening(morphable_folder / WHITENING_FILE, beside / WHITENING_FILE, "param_std")
    assert run(flags, "--dry-run") == 2
    assert f"{morphable_folder}: not of the whitening in {beside}" in capsys.readouterr().err


def test_3ddfa_v2_weights_need_their_whitening(
    flags, as_3ddfa_v2, morphable_folder, tmp_path, capsys
):
    flags |= {"--arch": "3ddfa_v2:mb05", "--recipe": "backbone"}
    model = build_model("3ddfa_v2:mb05", morphable=load_morphable(morphable_folder))
    torch.save({"state_dict": as_3ddfa_v2(model)}, tmp_path / "mb05.pth")
    flags |= {"--weights": tmp_path / "mb05.pth"}
    assert run(flags, "--dry-run") == 2
    assert "carry no whitening" in capsys.readouterr().err
    assert run(flags | {"--whitening": morphable_folder / WHITENING_FILE}, "--dry-run") == 0
    write_another_whitening(
        morphable_folder / WHITENING_FILE, tmp_path / WHITENING_FILE, "param_mean"
    )
    assert run(flags | {"--whitening": tmp_path / WHITENING_FILE}, "--dry-run") == 2
    assert f"not of the whitening in {morphable_folder}" in capsys.readouterr().err


def load(flags, path):
    return load_model(path, morphable=flags["--morphable"])


def test_the_best_on_validation_is_kept_and_never_chosen_on_a_test_set(
    flags, tmp_path, monkeypatch
):
    figures = iter([5.0, 3.0, 4.0, 6.0, 7.0])  # three epochs, then last and best on the test set

    def evaluate(model, folder, device, batch_size, workers):
        scored.append(str(folder))
        return {"images": 4, "nme": {"mean": next(figures)}, "pose_mae": {"mean": 1.0}}

    scored: list[str] = []
    monkeypatch.setattr(benchmark, "evaluate", evaluate)
    monkeypatch.setattr(evaluation_crops, "default_test_folder", lambda: OPEN_TEST_FOLDER)
    assert run(flags | {"--epochs": 3}) == 0
    assert scored == [str(flags["--validation"])] * 3 + [str(OPEN_TEST_FOLDER)] * 2
    best = read_checkpoint(tmp_path / "ckpts" / "Tiny_best.pth.tar")
    assert (best["best"]["epoch"], best["best"]["nme"]) == (2, 3.0)
    expected = read_checkpoint(saved(tmp_path, 2))["state_dict"]
    assert all(torch.equal(value, best["state_dict"][key]) for key, value in expected.items())

    (tmp_path / "ckpts" / "Tiny_best.pth.tar").unlink()
    figures = iter([5.0])
    del flags["--validation"]
    assert run(flags | {"--epochs": 1}) == 0
    assert not (tmp_path / "ckpts" / "Tiny_best.pth.tar").exists()


@pytest.fixture
def figures(monkeypatch):
    """The NME of every validation, to be filled; what is scored is noted in `scored`."""
    given: list[float] = []

    def evaluate(model, folder, device, batch_size, workers):
        return {"images": 4, "nme": {"mean": given.pop(0)}, "pose_mae": {"mean": 1.0}}

    monkeypatch.setattr(benchmark, "evaluate", evaluate)
    return given


def best_of(folder, name="Tiny"):
    return read_checkpoint(folder / "ckpts" / f"{name}_best.pth.tar")["best"]


def test_runs_in_one_folder_keep_their_own_best(flags, tmp_path, figures):
    """Run A, then run B in the same folder, then A goes on: its best is still its own."""
    other = {"--snapshot": tmp_path / "ckpts" / "Other", "--seed": 5}
    figures += [5.0, 5.0, 5.0]
    assert run(flags | {"--epochs": 1}) == 0
    figures += [4.0, 4.0, 4.0]
    assert run(flags | other | {"--epochs": 1}) == 0
    figures += [6.0, 6.0, 5.0]
    assert run(flags | {"--resume": "auto"}) == 0
    assert (best_of(tmp_path)["epoch"], best_of(tmp_path)["nme"]) == (1, 5.0)
    assert best_of(tmp_path, "Other")["nme"] == 4.0
    expected = read_checkpoint(saved(tmp_path, 1))["state_dict"]
    kept = read_checkpoint(tmp_path / "ckpts" / "Tiny_best.pth.tar")["state_dict"]
    assert all(torch.equal(value, kept[key]) for key, value in expected.items())


def test_a_best_that_is_elsewhere_is_chosen_anew(flags, tmp_path, figures, capsys):
    figures += [5.0, 5.0, 5.0]
    assert run(flags | {"--epochs": 1}) == 0
    figures += [6.0, 6.0, 6.0]
    moved = {"--resume": saved(tmp_path, 1), "--snapshot": tmp_path / "elsewhere" / "Tiny"}
    assert run(flags | moved) == 0
    assert "Tiny_best.pth.tar does not hold it: choosing again" in capsys.readouterr().out
    best = read_checkpoint(tmp_path / "elsewhere" / "Tiny_best.pth.tar")["best"]
    assert (best["epoch"], best["nme"]) == (2, 6.0)


def test_another_validation_set_chooses_anew(flags, tmp_path, data, figures, capsys):
    figures += [5.0, 5.0, 5.0]
    assert run(flags | {"--epochs": 1}) == 0
    other = tmp_path / "validation"
    shutil.copytree(data / "test", other)
    yaw = fileio.read_array(other / "eval" / evaluation_crops.YAW_FILE)
    fileio.write_array(other / "eval" / evaluation_crops.YAW_FILE, yaw + 1)
    figures += [6.0, 6.0, 6.0]
    assert run(flags | {"--resume": "auto", "--validation": other}) == 0
    assert "chosen on another validation set: choosing again" in capsys.readouterr().out
    assert (best_of(tmp_path)["epoch"], best_of(tmp_path)["nme"]) == (2, 6.0)


def test_a_fresh_run_begins_a_table_of_its_own(flags, tmp_path):
    assert run(flags) == 0
    table = tmp_path / "ckpts" / "Tiny_log.csv"
    rows = table.read_text().count("\n")
    assert run(flags) == 0
    assert table.read_text().count("\n") == rows
    assert run(flags | {"--start-epoch": 2}) == 0
    assert "\n1," not in table.read_text()


def test_a_dry_run_tells_the_time_of_the_whole_run(flags, capsys):
    flags |= {"--batch-size": 4, "--epochs": 1000, "--print-freq": 1000}
    assert run(flags, "--dry-run") == 0
    printed = capsys.readouterr().out
    seconds, hours, minutes = re.search(
        r"a step takes ([\d.]+) s, the run about (\d+):(\d+):", printed
    ).groups()
    told = 3600 * int(hours) + 60 * int(minutes)
    assert told == pytest.approx(4000 * float(seconds), abs=60, rel=0.02)
    assert "step 4/4000, loss" in printed


def test_a_checkpoint_tells_what_made_it(flags, tmp_path):
    assert run(flags | {"--epochs": 1}) == 0
    entries = read_checkpoint(saved(tmp_path, 1))
    assert entries["args"]["base_lr"] == 0.01
    assert entries["args"]["seed"] == 0
    assert entries["versions"]["torch"] == str(torch.__version__)
    assert len(entries["data"]) == 64
    assert (entries["epoch"], entries["step"]) == (1, 0)


def test_an_unreadable_image_is_named_once_and_left_out(flags, data, tmp_path, capsys):
    crops = tmp_path / "crops"
    shutil.copytree(data / "crops", crops)
    (crops / "05.jpg").write_bytes(b"no picture")
    assert run(flags | {"--root": crops}) == 0
    assert capsys.readouterr().out.count("05.jpg: not a picture") == 1


def test_curves_are_drawn_and_tabulated(flags, tmp_path):
    pytest.importorskip("tensorboard")
    assert run(flags, "--tensorboard") == 0
    assert fileio.read_image(tmp_path / "results" / "training.png").shape[2] == 3
    assert list((tmp_path / "ckpts" / "Tiny_tensorboard").glob("events.*"))
    header, *rows = (tmp_path / "ckpts" / "Tiny_log.csv").read_text().splitlines()
    assert header.startswith("epoch,step,learning_rate,loss,")
    assert len(rows) == 8  # four steps, two validations, the test set for last and best


@pytest.mark.parametrize("arch", ["mobilenet_1", "resnet50", "timm:ghostnet_050"])
def test_other_backbones_train_resume_and_evaluate(flags, tmp_path, arch):
    if arch.startswith("timm:"):
        pytest.importorskip("timm")
    flags |= {"--arch": arch}
    assert run(flags | {"--epochs": 1}) == 0
    assert run(flags | {"--resume": saved(tmp_path, 1)}) == 0
    report = benchmark.evaluate(load(flags, saved(tmp_path, 2)), flags["--validation"])
    assert report["arch"] == arch


def test_the_compiled_backbone_has_the_same_gradients(tiny_morphable):
    """The eager compiler backend: what main_train compiles, without a C++ compiler's minutes."""
    model = build_model("mobilenet_025", morphable=tiny_morphable)
    images = preprocess(torch.randint(256, (2, 120, 120, 3), dtype=torch.uint8))
    state = list(model.state_dict())
    gradients = []
    for compiled in (False, True):
        if compiled:
            model.I2P.compile(backend="aot_eager")
        torch.manual_seed(0)
        model.zero_grad()
        model(images)["params"].square().mean().backward()
        gradients.append(model.I2P.backbone.classifier_ori[1].weight.grad.clone())
    torch.testing.assert_close(*gradients)
    assert list(model.state_dict()) == state


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
        ({"--accumulate": 3}, "--accumulate"),
        ({"--save-freq": 0}, "--save-freq 0"),
        ({"--weights": "nowhere.pth.tar"}, "nowhere.pth.tar"),
        ({"--devices-id": "-1"}, "--devices-id"),
        ({"--ema": 1.5}, "--ema 1.5"),
        ({"--base-lr": "nan"}, "--base-lr nan"),
        ({"--img_size": 100}, "--img_size 100"),
        ({"--momentum": 1}, "--momentum 1"),
        ({"--momentum": "nan"}, "--momentum nan"),
        ({"--weight-decay": -1}, "--weight-decay -1"),
        ({"--val-batch-size": 0}, "--val-batch-size 0"),
        ({"--optimizer": "adamw", "--momentum": 0.8}, "--momentum 0.8"),
        ({"--geometry": "180,0.15"}, "--geometry 180,0.15: give ROLL,SCALE,SHIFT"),
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
    torch.save(read_checkpoint(path) | damage, path)
    with pytest.raises(fileio.InputError, match=r"damaged\.pth\.tar: (cannot go on|its entry)"):
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
