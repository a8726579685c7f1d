"""What a training run shows: progress bar, log lines, a CSV file, TensorBoard, and one picture.

The CSV file has a row for every line of the log: losses and speed, or a validation's errors.
"""

from __future__ import annotations

import csv
import datetime
import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from synergynet import fileio
from utils.data.training_crops import Batch

try:
    import resource
except ImportError:  # Windows
    resource = None

MAX_UNREADABLE = 100  # images; more are no accident
TIMED_STEPS = 2  # the first run estimates the time; the step before them sets kernels up
COLUMNS = (
    *("epoch", "step", "learning_rate", "loss"),
    *("loss_LMK_f0", "loss_LMK_pointNet", "loss_Param_In", "loss_Param_S2", "loss_Param_S1S2"),
    *("images_per_second", "nme", "pose_mae", "test_nme", "test_pose_mae"),
)

log = logging.getLogger("train")


def log_to(file: str, rank: int, mode: str = "a") -> None:
    """Log to stdout, and to `file` when given; other processes than the first log errors only.

    Args:
        file: path, or nothing.
        rank: this process; the first one's file begins as `mode` says.
        mode: w for a new file, a to add to it.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if file:
        fileio.make_output_folder(Path(file).parent)
        handlers.append(logging.FileHandler(file, mode if rank == 0 else "a"))
    logging.basicConfig(format="%(asctime)s %(message)s", handlers=handlers, force=True)
    log.setLevel(logging.INFO if rank == 0 else logging.ERROR)


class Progress:
    """Mean losses, speed and remaining time, every `print_freq` steps.

    Args:
        steps: of the whole run.
        done: of them, before this process started.
        resumed: whether an earlier process did them; the table's rows up to there are kept.
        print_freq: steps between two lines.
        world_size: processes, each of which sees a batch like the one reported.
        table: CSV file, or None.
        tensorboard: folder for TensorBoard, or None.
        quiet: say nothing; for all processes but the first.
    Raises:
        InputError: TensorBoard is not installed.
    """

    def __init__(
        self,
        steps: int,
        done: int = 0,
        print_freq: int = 50,
        world_size: int = 1,
        table: Path | None = None,
        tensorboard: Path | None = None,
        quiet: bool = False,
        resumed: bool = False,
    ) -> None:
        self.steps, self.step, self.done = steps, done, done
        self.print_freq, self.world_size = print_freq, world_size
        self.epoch, self.learning_rate = 0, 0.0
        self.unreadable: set[str] = set()
        self.table = table
        self.rows = read_table(table, done) if table is not None and resumed else []
        self.is_table_begun = False
        self.writer = _tensorboard_writer(tensorboard) if tensorboard is not None else None
        self.bar = tqdm(
            total=steps, initial=done, unit="step", leave=False, disable=True if quiet else None
        )
        self.timed = 0.0  # seconds of the first TIMED_STEPS
        self._restart()
        self.start_clock()

    def _restart(self) -> None:
        self.window: list[Tensor] = []
        self.images, self.seconds = 0, 0.0

    def start_clock(self) -> None:
        """Steps follow: what was done since the last one, such as validation, takes no time."""
        self.clock = time.perf_counter()

    def start_epoch(self, epoch: int, learning_rate: float) -> None:
        """Say which epoch the steps that follow belong to."""
        self.epoch, self.learning_rate = epoch, learning_rate
        log.info(f"epoch {epoch}, learning rate {learning_rate:.5g}")

    def update(self, batch: Batch, losses: dict[str, Tensor]) -> None:
        """Count one step; losses are averaged from line to line.

        Raises:
            InputError: more than MAX_UNREADABLE images could not be read.
        """
        self._report_unreadable(batch.unreadable)
        self.step += 1
        self.bar.update()
        self.images += len(batch.images) * self.world_size
        self.names = list(losses)
        self.window.append(torch.stack([loss.detach() for loss in losses.values()]))
        is_due = self.step % self.print_freq == 0 or self.step == self.steps
        means = self._means() if is_due else {}
        before, self.clock = self.clock, time.perf_counter()
        self.seconds += self.clock - before
        if 1 < self.step - self.done <= 1 + TIMED_STEPS:  # the first step sets kernels up
            self.timed += self.clock - before
            if self.step - self.done == 1 + TIMED_STEPS:
                self._estimate(self.window[-1].device)
        if is_due:
            self._report(means)

    def _means(self) -> dict[str, float]:
        means = torch.stack(self.window).mean(dim=0).tolist()  # waits for the GPU
        return dict(zip(self.names, means, strict=True))

    def _report_unreadable(self, lines: list[str]) -> None:
        for line in sorted(set(lines) - self.unreadable):
            self.unreadable.add(line)
            log.error(f"left out, number {len(self.unreadable)}: {line}")
        if len(self.unreadable) > MAX_UNREADABLE:
            raise fileio.InputError(
                f"more than {MAX_UNREADABLE} images could not be read, the last is {lines[-1]}"
            )

    def _estimate(self, device: torch.device) -> None:
        seconds = self.timed / TIMED_STEPS
        whole = datetime.timedelta(seconds=round((self.steps - self.done) * seconds))
        log.info(
            f"a step takes {seconds:.3f} s, the run about {whole}; "
            f"peak memory {peak_memory(device) / 2**30:.2f} GiB a process"
        )

    def _report(self, means: dict[str, float]) -> None:
        speed = self.images / self.seconds
        remaining = (self.steps - self.step) * self.seconds / len(self.window)
        named = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
        eta = datetime.timedelta(seconds=round(remaining))
        log.info(f"step {self.step}/{self.steps}, {named}, {speed:.0f} img/s, ETA {eta}")
        self.bar.set_postfix_str(f"loss {means['loss']:.3f}, {speed:.0f} img/s")
        self._write({**means, "images_per_second": speed})
        self._restart()

    def validated(self, name: str, report: dict[str, Any], prefix: str = "") -> None:
        """Log the headline figures of a `benchmark.evaluate` report.

        Args:
            name: what was scored on what.
            report: the figures.
            prefix: of the columns: "test_" for a test set.
        """
        pose = report["pose_mae"]
        figures = {"nme": report["nme"]["mean"], "pose_mae": pose["mean"] if pose else None}
        line = f"{name}: {report['images']} images, NME {figures['nme']:.3f} %"
        log.info(line + (f", pose MAE {figures['pose_mae']:.3f} deg" if pose else ""))
        self._write({prefix + key: value for key, value in figures.items() if value is not None})

    def _write(self, values: dict[str, float]) -> None:
        place = {"epoch": self.epoch, "step": self.step, "learning_rate": self.learning_rate}
        self.rows.append(place | values)
        if self.table is not None and self.is_table_begun:
            with open(self.table, "a", newline="") as file:
                csv.DictWriter(file, COLUMNS).writerow(self.rows[-1])
        elif self.table is not None:
            write_table(self.table, self.rows)
            self.is_table_begun = True
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(name, value, self.step)
            self.writer.flush()

    def close(self) -> None:
        """Report the steps since the last line, and take the bar away."""
        if self.window:
            self._report(self._means())
        self.bar.close()


def peak_memory(device: torch.device) -> int:
    """Bytes: on a GPU of its tensors, else of this process; 0 where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if resource is None:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _tensorboard_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise fileio.InputError(
            "--tensorboard needs TensorBoard: pip install '.[tensorboard]', or leave it out"
        ) from None
    return SummaryWriter(str(folder))


# ---------------------------------------------------------------- table and picture


def write_table(path: Path, rows: list[dict[str, float]]) -> None:
    """Write rows as CSV, with COLUMNS; what a row does not have stays empty."""
    with fileio.whole_file(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def read_table(path: Path, steps: int) -> list[dict[str, float]]:
    """Rows of a table up to a step, but for one that was not finished; none without the file.

    Raises:
        InputError: not such a table.
    """
    if not path.is_file():
        return []
    try:
        text = fileio.read_bytes(path).decode()
        text = text[: text.rfind("\n") + 1]
        rows = [
            {name: _number(value) for name, value in row.items() if value}
            for row in csv.DictReader(text.splitlines())
        ]
        return [row for row in rows if row["step"] <= steps]
    except (KeyError, TypeError, ValueError, UnicodeDecodeError):
        raise fileio.InputError(f"{path}: not a table of main_train.py; move it away") from None


def _number(text: str) -> float:
    return int(text) if text.isdecimal() else float(text)


def training_plot(rows: list[dict[str, float]]) -> np.ndarray:
    """Loss, NME and pose error against the step, (H, W, 3) uint8 BGR."""
    figure = Figure(figsize=(12, 3.6), dpi=130, layout="constrained")
    titles = {"loss": "training loss", "nme": "validation NME (%)", "pose_mae": "pose MAE (deg)"}
    for axes, (name, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        points = [(row["step"], row[name]) for row in rows if name in row]
        axes.plot(*zip(*points, strict=True) if points else ((), ()), ".-", linewidth=1)
        axes.set(title=title, xlabel="step")
        axes.grid(color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[:, :, 2::-1])
