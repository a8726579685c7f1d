"""Exported files against the model they were made of, each read by its own runtime."""

import io
import json

import numpy as np
import pytest
import torch

import export
from model_building import build_model
from synergynet.fileio import InputError, run_command
from synergynet.geometry.pose import decode_pose
from utils.data.folders import OPEN_WEIGHTS, ROOT
from utils.data.preprocessing import BENCHMARK, IN_THE_WILD, preprocess
from utils.inference.export import FORMATS, OUTPUTS, FaceGraph
from utils.inference.loading import load_model

PARITY = 1e-4  # px; and of the largest value of random networks, whose values are huge
ANGLE_PARITY_DEG = 2e-4  # 3.5e-6 of a radian: float32 cannot do better where a head turns far


def random_images(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(256, (count, 120, 120, 3), dtype=torch.uint8, generator=generator)


def load(format_: str, data: bytes):
    """The function of a file, tensor to list of arrays, and its metadata."""
    if format_ == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession(data)
        texts = session.get_modelmeta().custom_metadata_map
        metadata = {k: json.loads(v) if v.startswith("{") else v for k, v in texts.items()}
        return lambda images: session.run(None, {"images": images.numpy()}), metadata
    extra = {"metadata.json": ""}
    if format_ == "torchscript":
        run = torch.jit.load(io.BytesIO(data), _extra_files=extra)
    else:
        run = torch.export.load(io.BytesIO(data), extra_files=extra).module()
    return lambda images: [a.numpy() for a in run(images)], json.loads(extra["metadata.json"])


def expected(model, inputs: torch.Tensor) -> dict[str, np.ndarray]:
    """All outputs, from the model itself."""
    with torch.no_grad():
        params_w = model.regress(inputs)
        params = model.params(params_w)
        return {
            "params": params.numpy(),
            "landmarks": model.landmarks(params_w).numpy(),
            "pose": torch.stack(decode_pose(params, "exact"), 1).numpy(),
            "vertices": model.vertices(params_w).numpy(),
        }


@pytest.fixture(scope="module")
def open_model():
    return load_model(OPEN_WEIGHTS).eval()


@pytest.fixture(scope="module")
def onnx_data(open_model) -> bytes:
    """An ONNX file of everything; it takes 10 s to make."""
    pytest.importorskip("onnxscript")
    return FORMATS["onnx"](FaceGraph(open_model, tuple(OUTPUTS), BENCHMARK))


def test_onnx_tells_nothing_of_the_machine_it_was_made_on(onnx_data):
    for place in (str(ROOT), torch.__path__[0], "export.py", "stack_trace"):
        assert place.encode() not in onnx_data


@pytest.mark.parametrize(
    ("format_", "preset"),
    [("onnx", BENCHMARK), ("torchscript", None), ("exported-program", IN_THE_WILD)],
)
def test_every_output_is_the_models_at_any_batch_size(open_model, format_, preset, request):
    if format_ == "onnx":
        data = request.getfixturevalue("onnx_data")
    else:
        data = FORMATS[format_](FaceGraph(open_model, tuple(OUTPUTS), preset))
    run, metadata = load(format_, data)
    for count in (1, 2, 5):
        images = random_images(count)
        inputs = preprocess(images, preset or BENCHMARK)
        got = dict(zip(OUTPUTS, run(images if preset else inputs), strict=True))
        for name, value in expected(open_model, inputs).items():
            assert got[name].shape == value.shape
            atol = ANGLE_PARITY_DEG if name == "pose" else PARITY
            np.testing.assert_allclose(got[name], value, rtol=0, atol=atol, err_msg=name)
    assert metadata["arch"] == "mobilenet_v2"
    assert metadata["morphable"] == open_model.morphable_id
    assert (preset.description if preset else "by the caller") in metadata["preprocessing"]
    assert ("uint8" if preset else "float32") in metadata["inputs"]["images"]
    assert metadata["outputs"] == OUTPUTS


def test_onnx_names_and_explains_its_input_and_outputs(onnx_data):
    onnx = pytest.importorskip("onnx")
    graph = onnx.load_from_string(onnx_data).graph
    assert [value.name for value in graph.input] == ["images"]
    assert {value.name: value.doc_string for value in graph.output} == OUTPUTS
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch", value.name
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim[1:]] == [120, 120, 3]


@pytest.mark.parametrize(
    ("arch", "format_"),
    [
        ("resnet18", "exported-program"),
        ("resnet18", "torchscript"),
        ("3ddfa_v2:mb05", "torchscript"),
    ],
)
def test_other_networks(tiny_morphable, arch, format_):
    torch.manual_seed(0)
    model = build_model(arch, morphable=tiny_morphable).eval()
    run, _ = load(format_, FORMATS[format_](FaceGraph(model, ("params",), IN_THE_WILD)))
    images = random_images(3)
    wanted = expected(model, preprocess(images, IN_THE_WILD))["params"]
    np.testing.assert_allclose(run(images)[0], wanted, rtol=0, atol=PARITY * abs(wanted).max())


def test_a_graph_holds_only_what_it_needs(open_model):
    sizes = {
        names: sum(b.numel() for b in FaceGraph(open_model, names).model.buffers(recurse=False))
        for names in [("params",), ("params", "landmarks"), ("vertices",)]
    }
    landmark_rows, vertex_rows = len(open_model.u_base), len(open_model.u)
    assert list(sizes.values()) == [124, 124 + 51 * landmark_rows, 124 + 51 * vertex_rows]
    keys = FaceGraph(open_model).state_dict()
    assert not [key for key in keys if "Direction" in key or "running_mean" in key]


def test_the_model_is_not_modified(tiny_morphable):
    model = build_model("mobilenet_025", morphable=tiny_morphable).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    FaceGraph(model, ("landmarks",))(FaceGraph(model).example())
    assert model.training
    assert model.forwardDirection is not None
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_networks_that_branch_on_their_data_are_refused(tiny_morphable):
    model = build_model("mobilenet_025", morphable=tiny_morphable)

    class Branching(torch.nn.Sequential):
        def forward(self, images):
            return super().forward(images if images.sum() > 0 else -images)

    model.I2P.backbone.features = Branching(*model.I2P.backbone.features)
    with pytest.raises(InputError, match="cannot be exported"):
        FaceGraph(model)


def run_export(*flags: str) -> int:
    return run_command(export.main, export.get_args_parser().parse_args(list(flags)))


def test_command(tmp_path, capsys):
    path = tmp_path / "new" / "face.pt"
    assert (
        run_export(
            *("-w", str(OPEN_WEIGHTS), "--format", "torchscript", "--output", str(path)),
            *("--with", "landmarks,pose", "--preprocess", "in-the-wild"),
        )
        == 0
    )
    run, metadata = load("torchscript", path.read_bytes())
    assert [a.shape for a in run(random_images(2))] == [(2, 62), (2, 3, 68), (2, 3)]
    assert list(metadata["outputs"]) == ["params", "landmarks", "pose"]
    assert "no border" in metadata["preprocessing"]
    printed = capsys.readouterr().out
    assert all(OUTPUTS[name] in printed for name in metadata["outputs"])
    assert list(path.parent.iterdir()) == [path]


def test_bad_input_gets_one_line_and_no_file(tmp_path, capsys, monkeypatch):
    def refuse(*flags: str) -> str:
        output = tmp_path / "face.onnx"
        assert run_export("--output", str(output), "-w", *flags) == 2
        assert list(tmp_path.iterdir()) == []
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "nothing.pth: file not found" in refuse("nothing.pth")
    assert "unknown output 'texture'" in refuse(str(OPEN_WEIGHTS), "--with", "pose,texture")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "need onnx and onnxscript: pip install" in refuse(str(OPEN_WEIGHTS))
