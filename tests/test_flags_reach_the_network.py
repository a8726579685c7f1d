"""Every flag that says which network runs is handed on under its own name, by every command."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from types import ModuleType

import pytest

import singleImage
import synergy3DMM
import synergynet.net
from synergynet.command.main import make_onnx_net
from synergynet.command.parser import get_args_parser
from utils.data.folders import ROOT
from utils.inference import crop_engine

OF_CHECKPOINTS = {
    "weights": "w.pth.tar",
    "device": "3",
    "morphable": "morphable",
    "engine": "opencv",
    "refine_crop": True,
    "arch": "mobilenet_05",
    "whitening": "whitening.pkl",
}


class Caught(Exception):
    """Carries the arguments a network was asked for with, by name."""


@pytest.fixture
def catch(monkeypatch):
    """Puts a class in a module's place for SynergyNet that raises what it was called with."""

    def put(module: ModuleType, like: type) -> None:
        signature = inspect.signature(like)

        def stand_in(*args, **kwargs):
            raise Caught(signature.bind(*args, **kwargs).arguments)

        monkeypatch.setattr(module, "SynergyNet", stand_in)

    return put


def arguments_of(call) -> dict:
    with pytest.raises(Caught) as caught:
        call()
    return dict(caught.value.args[0])


def flags(values: dict) -> list[str]:
    return [
        f"--{name.replace('_', '-')}" if value is True else f"--{name.replace('_', '-')}={value}"
        for name, value in values.items()
    ]


def test_single_image(catch):
    catch(singleImage, synergy3DMM.SynergyNet)
    args = get_args_parser().parse_args(flags(OF_CHECKPOINTS))
    found = arguments_of(lambda: singleImage.make_net(args, "the detector"))
    assert found == OF_CHECKPOINTS | {"detector": "the detector"}


def test_the_installed_command(catch):
    catch(synergynet.net, synergynet.net.SynergyNet)
    values = {"weights": "w.onnx", "engine": "opencv", "refine_crop": True}
    args = get_args_parser().parse_args(flags(values))
    found = arguments_of(lambda: make_onnx_net(args, "the detector"))
    assert found == values | {"detector": "the detector"}


def test_the_page(catch):
    spec = importlib.util.spec_from_file_location("demo_page", ROOT / "demo" / "app.py")
    page = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = page  # dataclasses look their module up
    spec.loader.exec_module(page)
    catch(page, synergy3DMM.SynergyNet)
    values = {k: v for k, v in OF_CHECKPOINTS.items() if k not in ("engine", "refine_crop")}
    values["detector"] = "none"
    args = page.get_args_parser().parse_args([*flags(values), "--port=7999"])
    assert arguments_of(lambda: page.main(args)) == values | {"refine_crop": True}


def test_a_checkpoint(monkeypatch):
    """From synergy3DMM.SynergyNet on, through its engine, to the loading."""
    signature = inspect.signature(crop_engine.load_model)

    def stand_in(*args, **kwargs):
        raise Caught(signature.bind(*args, **kwargs).arguments)

    monkeypatch.setattr(crop_engine, "load_model", stand_in)
    asked = OF_CHECKPOINTS | {"device": "cpu"}
    found = arguments_of(lambda: synergy3DMM.SynergyNet(**asked))
    names = ("weights", "arch", "morphable", "whitening")
    assert {name: str(value) for name, value in found.items()} == {n: asked[n] for n in names}
