"""The flags that name networks: one value for all weights or one each, and their short names."""

import argparse

import pytest

from synergynet.fileio import InputError
from utils.inference.arguments import (
    NetworkFiles,
    add_device,
    add_network,
    each_network,
    network_files,
    unique_names,
)


def parse(*arguments: str, **options) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_network(parser, **options)
    add_device(parser)
    return parser.parse_args(arguments)


def test_one_network():
    args = parse("-w", "a", "--whitening", "w", required=True)
    assert network_files(args) == NetworkFiles("a", None, None, "w")
    assert args.device == "auto"


def test_defaults():
    assert network_files(parse(weights="open", arch="resnet18"))[:2] == ("open", "resnet18")


def test_weights_may_be_required(capsys):
    with pytest.raises(SystemExit):
        parse(required=True)
    assert "-w/--weights" in capsys.readouterr().err


def test_one_value_for_all_weights_or_one_each():
    one = parse("-w", "a", "b", "--arch", "resnet18", several=True)
    assert each_network(one) == [NetworkFiles(w, "resnet18", None, None) for w in "ab"]
    each = parse("-w", "a", "b", "--morphable", "auto", "m", several=True)
    assert [files.morphable for files in each_network(each)] == [None, "m"]
    assert each_network(parse("--morphable", "m", several=True, weights=[])) == []


@pytest.mark.parametrize("flag", ["--arch", "--morphable", "--whitening"])
def test_another_count_is_one_clear_line(flag):
    args = parse("-w", "a", "b", "c", flag, "x", "y", several=True)
    with pytest.raises(InputError, match=f"{flag}: 2 values for 3 weights; give one for all"):
        each_network(args)


def test_names_are_short_where_they_can_be():
    names = unique_names(["a/best.pth.tar", "b/best.pth.tar", "c/other.npz"])
    assert list(names.values()) == ["a/best.pth.tar", "b/best.pth.tar", "other"]
