"""Finding pictures and videos, naming what is made of them, and keeping account of what is done."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from synergynet import fileio
from synergynet.photos import sources


@pytest.fixture
def album(tmp_path, monkeypatch) -> Path:
    """A folder with pictures at two depths, and with what is none; also the working directory."""
    for name in ("b.JPG", "a.png", "trip/c.jpeg", "trip/a.png", "notes.txt", ".hidden.jpg"):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "album" / ".thumbnails").mkdir()
    (tmp_path / "album" / ".thumbnails" / "t.jpg").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "album"


def find_pictures(*paths: str, skip: Path | None = None) -> list[sources.Source]:
    pictures, videos = sources.find_sources(paths, skip)
    assert videos == []
    return pictures


def names(found: list[sources.Source]) -> list[str]:
    return [source.name for source in found]


def test_folders_are_searched_to_the_bottom_in_order(album):
    pictures = find_pictures("album")
    assert names(pictures) == ["a", "b", "trip/a", "trip/c"]
    assert [picture.path for picture in pictures][2:] == ["album/trip/a.png", "album/trip/c.jpeg"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("album/*.png", ["a"]),
        ("album/**/*.png", ["a", "trip/a"]),
        ("album/*/a.???", ["trip/a"]),
        ("al*/[ab].*", ["album/a", "album/b"]),
    ],
)
def test_patterns_name_pictures_by_their_variable_part(album, pattern, expected):
    assert names(find_pictures(pattern)) == expected


def test_a_named_file_is_taken_whatever_it_is(album):
    pictures = find_pictures("album/notes.txt", "absent.jpg", str(album / "b.JPG"))
    assert names(pictures) == [str(n) for n in ("b", "absent", "notes")]


def test_a_file_with_wildcards_in_its_name_is_a_file(album):
    (album / "face[1].jpg").touch()
    assert names(find_pictures("album/face[1].jpg")) == ["face[1]"]


def test_a_picture_that_is_found_twice_is_one(album):
    assert len(find_pictures("album", "album/*.png", "album/a.png")) == 4


def test_names_that_differ_by_suffix_keep_it(album):
    (album / "a.jpg").touch()
    assert names(find_pictures("album")) == ["a.jpg", "a.png", "b", "trip/a", "trip/c"]


def test_two_pictures_of_one_name_are_an_error(album):
    with pytest.raises(fileio.InputError, match=r"album/trip/a\.png: .* album/a\.png's"):
        find_pictures("album/a.png", "album/trip/a.png")


def test_videos_are_found_and_named_apart_from_pictures(album):
    for name in ("a.mp4", "b.MOV", "trip/b.avi", "trip/a.mp4", "trip/b.mp4"):
        (album / name).touch()
    pictures, videos = sources.find_sources(["album", "webcam:0"])
    assert names(pictures) == ["a", "b", "trip/a", "trip/c"]
    assert names(videos) == ["a", "b", "trip/a", "trip/b.avi", "trip/b.mp4", "webcam0"]
    assert videos[-1].path == "webcam:0"
    assert names(sources.find_sources(["album/**/*.mp4"])[1]) == ["a", "trip/a", "trip/b"]
    with pytest.raises(fileio.InputError, match=r"album/trip/a\.mp4: .* album/a\.mp4's"):
        sources.find_sources(["album/a.mp4", "album/trip/a.mp4"])


def test_what_is_a_video():
    assert all(map(sources.is_video, ["a.mp4", "b/c.AVI", "d.webm", "webcam:0"]))
    assert not any(map(sources.is_video, ["a.jpg", "folder", "webcam", "webcam:x", "*.mp4.jpg"]))


@pytest.mark.parametrize("source", ["empty", "album/*.gif"])
def test_where_nothing_is_found_one_line_says_so(album, source):
    Path("empty").mkdir()
    with pytest.raises(fileio.InputError) as error:
        find_pictures("album", source)
    assert str(error.value).startswith(f"{source}: ")
    assert "no pictures" in str(error.value)


def test_a_recursive_pattern_leaves_results_alone(album):
    (album / "results" / "deep").mkdir(parents=True)
    (album / "results" / "deep" / "d.png").touch()
    pattern = str(album / "**" / "*.png")
    assert names(find_pictures(pattern, skip=album / "results")) == ["a", "trip/a"]
    assert names(find_pictures(pattern)) == ["a", "results/deep/d", "trip/a"]


def test_results_inside_the_folder_are_not_taken_for_pictures(album):
    output = album / "inference_output"
    output.mkdir()
    (output / "x.jpg").touch()
    assert names(find_pictures("album", skip=output)) == ["a", "b", "trip/a", "trip/c"]
    assert "inference_output/x" in names(find_pictures("album"))


@pytest.mark.parametrize("source", ["album", "album/**/*.*"])
def test_results_of_an_earlier_run_are_no_sources_wherever_they_lie(album, source):
    """Neither in another output folder than this run's, nor in the folder of the photos itself."""
    (album / "film.mp4").touch()
    expected = sources.find_sources([source])
    assert (len(expected[0]), names(expected[1])) == (4, ["film"])
    for output in (album / "older", album):
        for name in ("landmarks/trip/a.jpg", "depth/a.png", "videos/clip.mp4"):
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            (output / name).touch()
        for name in ("results_rank0.jsonl", "videos/clip.csv", "videos/clip.json"):
            (output / name).touch()
        (output / "videos" / "clip.jsonl").touch()
    assert sources.find_sources([source]) == expected
    assert names(find_pictures("album/landmarks")) == ["trip/a"]  # named on purpose
    (album / "results_rank0.jsonl").unlink()
    pictures, _ = sources.find_sources([source])
    assert "landmarks/trip/a" in names(pictures)  # somebody's own folder


# ---------------------------------------------------------------- results files


def as_rank(monkeypatch, rank: int, world_size: int) -> None:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(world_size))


def test_alone_this_process_is_the_first_of_one(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert sources.rank_and_world_size() == (0, 1)


def test_what_any_process_finished_is_done(tmp_path, monkeypatch):
    for rank in range(3):
        as_rank(monkeypatch, rank, 3)
        results = sources.ResultsFile(tmp_path, resume=False)
        results.add({"image": f"{rank}.jpg", "faces": [{}] * rank})
        results.add({"image": f"broken{rank}.jpg", "error": "damaged"})
    as_rank(monkeypatch, 0, 2)  # fewer processes than before
    assert sources.ResultsFile(tmp_path, resume=True).done() == {"0.jpg": 0, "1.jpg": 1, "2.jpg": 2}


@pytest.mark.parametrize(
    ("whole", "rest"),
    [(b"", b""), (b"", b"x" * 50), (b"a\n", b"x" * 50), (b"abc\n" * 30, b""), (b"abc\n" * 30, b"x"),
     (b"ab\n" * 40, b"x" * 16), (b"\n", b"x" * 15)],
)  # fmt: skip
def test_only_what_follows_the_last_whole_line_is_cut_off(tmp_path, monkeypatch, whole, rest):
    monkeypatch.setattr(sources, "BLOCK_BYTES", 16)
    (tmp_path / "results_rank0.jsonl").write_bytes(whole + rest)
    sources.ResultsFile(tmp_path, resume=True)
    assert (tmp_path / "results_rank0.jsonl").read_bytes() == whole


def test_an_unfinished_line_is_dropped_and_done_again(tmp_path):
    results = sources.ResultsFile(tmp_path, resume=False)
    results.add({"image": "a.jpg", "faces": []})
    with open(results.path, "a") as file:
        file.write('{"image": "b.j')
    again = sources.ResultsFile(tmp_path, resume=True)
    assert again.done() == {"a.jpg": 0}
    again.add({"image": "b.jpg"})
    lines = results.path.read_text().splitlines()
    assert [json.loads(line)["image"] for line in lines] == ["a.jpg", "b.jpg"]


def test_a_fresh_run_puts_old_results_of_all_processes_aside(tmp_path, monkeypatch):
    for rank in range(5):
        (tmp_path / f"results_rank{rank}.jsonl").write_text('{"image": "old.jpg"}\n')
    (tmp_path / "results_rank_mine.jsonl").write_text("kept\n")
    for rank in range(2):
        as_rank(monkeypatch, rank, 2)
        sources.ResultsFile(tmp_path, resume=False).add({"image": f"{rank}.jpg"})
    assert sorted(os.listdir(tmp_path)) == [
        *(f"older_results_rank{rank}.jsonl" for rank in range(5)),
        "results_rank0.jsonl",
        "results_rank1.jsonl",
        "results_rank_mine.jsonl",
    ]
    assert "old" not in (tmp_path / "results_rank0.jsonl").read_text()
    assert "old" in (tmp_path / "older_results_rank4.jsonl").read_text()


def test_pictures_of_phones_are_not_passed_over(tmp_path):
    """OpenCV cannot read them; who is not told waits for a result that never comes."""
    (tmp_path / "a.HEIC").touch()
    pictures, _ = sources.find_sources([str(tmp_path)])
    assert [picture.name for picture in pictures] == ["a"]
