"""benchmarks/speed.py runs, on sizes too small to mean anything."""

from benchmarks import speed

SIZES = "--repeats 1 --inference-batches 1 --training-batch 2 --images 2 --faces 2 --vertices 99"


def test_every_stage_is_timed(capsys):
    args = speed.get_args_parser().parse_args(["--device=cpu", *SIZES.split()])
    assert speed.main(args) == 0
    comparison, photo = capsys.readouterr().out.split("\n\n| stage of one photo")
    rows = [line for line in comparison.splitlines() if line.startswith("| ")][1:]
    stages = dict.fromkeys(row.split(",")[0].split(" ", 1)[1] for row in rows)
    assert list(stages) == [
        "inference",
        "loading process",
        "files to network input",
        "training step",
        "dense decode",
        "shaded overlay",
    ]
    assert all(float(number) > 0 for row in rows for number in row.split(" | ")[1:3])
    stages = [line.split(" | ") for line in photo.splitlines()[2:]]
    names = [name.strip("| ").split(",")[0] for name, _ in stages]
    expected = ["read", "crop", "regress", "decode", "draw"]
    assert [name for name in names if name != "detect"] == expected
    assert all(float(milliseconds.strip("| ")) >= 0 for _, milliseconds in stages)
