"""Zips: what they hold arrives, and hostile ones are refused with nothing written."""

from __future__ import annotations

import stat
import warnings
import zipfile
from pathlib import Path

import pytest

from synergynet.fileio import InputError
from utils.preparation import archive


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in members.items():
                file.writestr(name, content)
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    members = {
        "300W_LP/AFW/a.jpg": b"picture",
        "300W_LP/AFW/a.mat": b"label",
        "300W_LP/AFW_Flip/a.JPG": b"flipped",
        "300W_LP/code/a.m": b"not wanted",
        "__MACOSX/300W_LP/AFW/._a.jpg": b"resource fork",
    }
    return write_zip(tmp_path / "good.zip", members)


def test_wanted_files_arrive_under_their_paths_and_go_again(good, tmp_path):
    with archive.as_folder(good, (".jpg", ".mat"), tmp_path) as folder:
        files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.*")}
    assert files == {
        "300W_LP/AFW/a.jpg": b"picture",
        "300W_LP/AFW/a.mat": b"label",
        "300W_LP/AFW_Flip/a.JPG": b"flipped",
    }
    assert not folder.exists()


def test_errors_about_a_file_name_its_path_in_the_zip(good, tmp_path):
    def fail() -> None:
        with archive.as_folder(good, (".mat",), tmp_path) as folder:
            raise InputError(f"{folder / '300W_LP' / 'AFW' / 'a.mat'}: damaged")

    with pytest.raises(InputError) as caught:
        fail()
    assert str(caught.value) == f"{good}/300W_LP/AFW/a.mat: damaged"


def test_a_folder_passes_as_it_is(tmp_path):
    with archive.as_folder(tmp_path, (".jpg",), tmp_path) as folder:
        assert folder == tmp_path
    assert tmp_path.exists()


def test_read_member(good):
    with archive.open_zip(good) as file:
        assert archive.read_member(file, "300W_LP/AFW/a.mat") == b"label"
        with pytest.raises(InputError, match=r"good\.zip: AFW/b\.mat is not in it"):
            archive.read_member(file, "AFW/b.mat")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../evil.jpg", "leads outside"),
        ("a/../../evil.jpg", "leads outside"),
        ("a\\..\\..\\evil.jpg", "leads outside"),
        ("/etc/evil.jpg", "leads outside"),
        ("C:\\evil.jpg", "leads outside"),
        ("\\\\host\\share\\evil.jpg", "leads outside"),
    ],
)
def test_paths_that_lead_outside_are_refused(tmp_path, name, message):
    path = write_zip(tmp_path / "evil.zip", {"good.jpg": b"1", name: b"2"})
    before = sorted(tmp_path.rglob("*"))
    with (
        pytest.raises(InputError, match=rf"evil\.zip: refused, .*{message}"),
        archive.as_folder(path, (".jpg",), tmp_path),
    ):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_links_are_refused(tmp_path):
    link = zipfile.ZipInfo("a.jpg")
    link.create_system = 3  # Unix
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match=r"link\.zip: refused, 'a\.jpg' in it is a link"):
        archive.open_zip(tmp_path / "link.zip")


def test_a_name_twice_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(tmp_path / "two.zip", "w") as file:
            file.writestr("a.jpg", b"1")
            file.writestr("a.jpg", b"2")
    with pytest.raises(InputError, match=r"two\.zip: a\.jpg is in it twice"):
        archive.open_zip(tmp_path / "two.zip")


def test_zip_bombs_are_refused_by_size_and_by_ratio(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "bomb.zip", {"a.jpg": bytes(3_000_000)})
    with archive.open_zip(path) as file:  # 1000 : 1, but small
        assert len(archive.read_member(file, "a.jpg")) == 3_000_000
    monkeypatch.setattr(archive, "SMALL_BYTES", 2_000_000)
    with pytest.raises(InputError, match=r"bomb\.zip: refused, would unpack from 0\.0 MB"):
        archive.open_zip(path)
    monkeypatch.setattr(archive, "SMALL_BYTES", 2**28)
    monkeypatch.setattr(archive, "MAX_BYTES", 2_000_000)
    with pytest.raises(InputError, match=r"bomb\.zip: refused, would unpack"):
        archive.open_zip(path)


def test_a_member_that_lies_about_its_size_gives_no_more(tmp_path):
    path = write_zip(tmp_path / "lie.zip", {"a.jpg": bytes(1_000_000)})
    data = bytearray(path.read_bytes())
    real, claimed = (n.to_bytes(4, "little") for n in (1_000_000, 1_000))
    assert data.count(real) == 2  # local header and central directory
    path.write_bytes(data.replace(real, claimed))
    with (
        archive.open_zip(path) as file,
        pytest.raises(InputError, match=r"lie\.zip: a\.jpg in it is damaged"),
    ):
        archive.read_member(file, "a.jpg")


def test_damaged_encrypted_and_missing_zips(tmp_path, good):
    with pytest.raises(InputError, match=r"none\.zip: no such folder or zip"):
        archive.open_zip(tmp_path / "none.zip")
    data = good.read_bytes()
    (tmp_path / "cut.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"cut\.zip: not a readable zip"):
        archive.open_zip(tmp_path / "cut.zip")
    stored = tmp_path / "flipped.zip"
    with zipfile.ZipFile(stored, "w") as file:
        file.writestr("a.jpg", b"picture")
    stored.write_bytes(stored.read_bytes().replace(b"picture", b"Picture"))
    with (
        archive.open_zip(stored) as file,
        pytest.raises(InputError, match=r"flipped\.zip: a\.jpg in it is damaged"),
    ):
        archive.read_member(file, "a.jpg")
    locked = bytearray(data)
    locked[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    with pytest.raises(InputError, match=r"locked\.zip: is encrypted"):
        archive.open_zip(tmp_path / "locked.zip")


def test_a_full_disk_is_said_before_the_work(tmp_path):
    archive.require_room(tmp_path, 1, "a zip")
    with pytest.raises(InputError, match=r"a zip needs 1000000000\.0 GB"):
        archive.require_room(tmp_path, 10**18, "a zip")
