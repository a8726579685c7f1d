"""Crops as the network sees them: one pre-processing, for training, benchmark and photos.

Images leave the workers as uint8 and become the network's input on its own device, in one batched
`preprocess`; training, benchmark and photos differ by a preset only and cannot drift apart.

Source: SynergyNet, section 4, for the augmentation.
"""

from __future__ import annotations

import dataclasses

import torch

from backbone_nets import THREEDDFA_V2
from synergynet.photos.crops import BORDER_PX, PIXEL_MEAN, PIXEL_STD

ERASE_PROBABILITY = 0.01


@dataclasses.dataclass(frozen=True)
class Preset:
    """What `preprocess` does beyond normalisation: a black border, and random erasing."""

    border_px: int
    augment: bool

    @property
    def description(self) -> str:
        """What reports and exported files say of it."""
        border = f"{self.border_px}-px black border" if self.border_px else "no border"
        return f"BGR, {border}, (x - {PIXEL_MEAN}) / {PIXEL_STD:.0f}"


TRAIN = Preset(border_px=BORDER_PX, augment=True)
BENCHMARK = Preset(border_px=BORDER_PX, augment=False)
IN_THE_WILD = Preset(border_px=0, augment=False)


def benchmark_preset(arch: str) -> Preset:
    """How crops are scored: as the weights were trained, 3DDFA_V2's without a border."""
    return IN_THE_WILD if arch == THREEDDFA_V2 else BENCHMARK


def preprocess(
    images: torch.Tensor, preset: Preset = BENCHMARK, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Turn crops into the network's input: float, black border, erasing (TRAIN), (x - 127.5) / 128.

    Args:
        images: (B, H, W, 3) uint8 BGR on any device. Not modified.
        preset: TRAIN, BENCHMARK or IN_THE_WILD.
        generator: CPU generator of the erasing, which then does not depend on the device.
    Returns:
        (B, 3, H, W) float32 on the same device, channels last in memory.
    Raises:
        ValueError: not a batch of BGR uint8 images.
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != torch.uint8:
        raise ValueError(f"expected (B, H, W, 3) uint8, got {tuple(images.shape)} {images.dtype}")
    batch, height, width, _ = images.shape
    inputs = images.permute(0, 3, 1, 2).float()  # (B, 3, H, W), stays channels last
    if border := preset.border_px:
        inputs[:, :, :border] = inputs[:, :, height - border :] = 0
        inputs[:, :, :, :border] = inputs[:, :, :, width - border :] = 0
    if preset.augment:
        erased = torch.rand(batch, generator=generator) < ERASE_PROBABILITY  # (B,)
        region = torch.randint(7, (batch,), generator=generator)  # (B,)
        keep = _region_masks(height, width)[region[erased]]  # (erased, H, W)
        rows = erased.nonzero()[:, 0].to(images.device, non_blocking=True)
        inputs[rows] *= keep.to(inputs.device, non_blocking=True)[:, None]
    return inputs.sub_(PIXEL_MEAN).div_(PIXEL_STD)


def _region_masks(height: int, width: int) -> torch.Tensor:
    """The seven regions random erasing may keep, (7, H, W) of 0 and 1.

    Four quadrants, left and right half, the centre without a quarter of the size at each side.
    NOTE(released): one of the published quadrants keeps another quadrant's pixels; here each keeps
    its own.
    """
    top, bottom = slice(0, height // 2), slice(height // 2, None)
    left, right = slice(0, width // 2), slice(width // 2, None)
    centre_rows = slice(height // 4, height - height // 4)
    centre_columns = slice(width // 4, width - width // 4)
    masks = torch.zeros(7, height, width)
    regions = [(top, left), (top, right), (bottom, left), (bottom, right)]
    regions += [(slice(None), left), (slice(None), right), (centre_rows, centre_columns)]
    for mask, (rows, columns) in zip(masks, regions, strict=True):
        mask[rows, columns] = 1
    return masks
