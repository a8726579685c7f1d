"""benchmarks/speed.py runs, on sizes too small to mean anything."""

from benchmarks import speed

SIZES = "--repeats 1 --inference-batches 1 --training-batch 2 --images 2 --faces 2 --vertices 99"


def test_every_stage_is_timed(capsys):
    args = speed.get_args_parser().parse_args(["--device=cpu", *SIZES.split()])
    assert speed.main(args) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
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
