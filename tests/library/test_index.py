"""A library is made, brought up to date, moved, cut off and gone on with; bad files have an outcome each."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.features.clips import steady, write_video

import topa as package
from topa.core.artifacts import RECORD
from topa.core.embedded import resolve
from topa.core.errors import (
    AllFailed,
    ArtifactError,
    ArtifactMismatch,
    InputError,
    MissingVideos,
    OutputError,
    UsageError,
)
from topa.core.record import RecordedFile, record_of
from topa.features.encoder import Encoder
from topa.features.video import sample_frames
from topa.library import fingerprint, parts
from topa.library import index as indexing
from topa.library.outcome import IndexResult
from topa.library.verbs import IndexConfig

MICRO = "microworld/clip"
Make = Callable[..., IndexResult]


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of 4, 2 and 3 seconds, a quarter of a second a frame."""
    folder = tmp_path_factory.mktemp("shots")
    for name, seconds in (("a.mp4", 4), ("b.mkv", 2), ("c.mp4", 3)):
        write_video(folder / name, steady(4 * seconds, 4))
    return folder


@pytest.fixture
def home(tmp_path: Path, shots: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with videos/a.mp4, videos/b.mkv and videos/deep/c.mp4."""
    (tmp_path / "home" / "videos" / "deep").mkdir(parents=True)
    for name in ("a.mp4", "b.mkv"):
        shutil.copy(shots / name, tmp_path / "home" / "videos" / name)
    shutil.copy(shots / "c.mp4", tmp_path / "home" / "videos" / "deep" / "c.mp4")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture(scope="session")
def micro() -> Encoder:
    return Encoder.from_pretrained(resolve(MICRO))


@pytest.fixture
def make(micro: Encoder, monkeypatch: pytest.MonkeyPatch) -> Make:
    """`topa index`, with an encoder that is loaded once."""
    monkeypatch.setattr(Encoder, "from_pretrained", lambda *given, **options: micro)

    def run(*inputs: str, out: str = "lib", **wanted: object) -> IndexResult:
        given = {"encoder": MICRO, "workers": 1} | wanted
        return indexing.index(IndexConfig(videos=inputs, out=Path(out), **given), show=False)  # type: ignore[arg-type]

    return run


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are decoded."""
    paths: list[str] = []
    original = indexing._IndexRun.decoded

    def noted(self, clips, encoder):
        def each() -> Iterator[object]:
            for clip in clips:
                paths.append(Path(clip.path).name)
                yield clip

        return original(self, each(), encoder)

    monkeypatch.setattr(indexing._IndexRun, "decoded", noted)
    return paths


def shown(out: str = "lib") -> dict[str, int]:
    return {video.path: video.frames for video in package.Library.open(out)}


def test_features_are_those_of_the_frames_at_the_rate(home, make, micro):
    result = make("videos")
    assert result.new == ["videos/a.mp4", "videos/b.mkv", "videos/deep/c.mp4"]
    library = package.Library.open("lib")
    assert len(library) == 3
    assert shown() == {"videos/a.mp4": 4, "videos/b.mkv": 2, "videos/deep/c.mp4": 3}
    for video in library:
        sampled = sample_frames(home / video.path, video.frames)
        found = library.contents.features(video)
        torch.testing.assert_close(found.values, micro.encode_images(sampled.frames), atol=2e-3, rtol=0)
        assert found.times.tolist() == sampled.times
        assert video.duration == pytest.approx(video.frames, abs=0.25)
        assert library.contents.file(video) == home / video.path
    assert result.frames == 9
    assert result.seconds == pytest.approx(9, abs=0.5)


def test_rate_cap_and_scenes(home, make):
    make("videos", rate=2, cap=6)
    assert shown() == {"videos/a.mp4": 6, "videos/b.mkv": 4, "videos/deep/c.mp4": 6}
    times = [
        package.Library.open("lib").contents.features(video).times.tolist() for video in package.Library.open("lib")
    ]
    assert np.allclose(np.diff(times[0]), 4 / 6, atol=0.25)
    make("videos", out="few", rate=0.1)
    assert set(shown("few").values()) == {1}
    make("videos", out="many", rate=100)  # a frame that is shown at several times is kept once
    assert shown("many")["videos/b.mkv"] == 8


def test_a_scene_keeps_one_frame(tmp_path, make, monkeypatch, micro):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mp4", steady(12, 2))
    rows = torch.nn.functional.one_hot(torch.tensor([0, 0, 1, 1, 1, 2]), micro.width).float()
    monkeypatch.setattr(micro, "encode_images", lambda images, batch_size=32: rows[: len(images)])
    result = make("a.mp4", scenes=0.5)
    assert result.frames == 3
    (video,) = package.Library.open("lib")
    assert package.Library.open("lib").contents.features(video).values.argmax(dim=1).tolist() == [0, 1, 2]


def test_what_has_not_changed_is_not_read(home, make, decoded, monkeypatch):
    make("videos")
    assert sorted(decoded) == ["a.mp4", "b.mkv", "c.mp4"]
    written = {path: path.stat().st_mtime_ns for path in Path("lib").rglob("*.*")}
    monkeypatch.setattr(indexing, "_look", lambda *given: pytest.fail("a file was read"))
    result = make()
    assert (result.unchanged, result.videos, result.new) == (3, 3, [])
    assert len(decoded) == 3
    assert {path: path.stat().st_mtime_ns for path in Path("lib").rglob("*.*")} == written | {
        Path("lib/run.lock"): Path("lib/run.lock").stat().st_mtime_ns
    }


def test_files_come_change_move_and_go(home, make, decoded, shots):
    make("videos")
    decoded.clear()
    os.rename("videos/a.mp4", "videos/deep/renamed.mp4")
    os.remove("videos/b.mkv")
    shutil.copy("videos/deep/c.mp4", "videos/copy.mp4")
    write_video(home / "videos" / "new.mp4", steady(5, 1))
    result = make()
    assert result.moved == ["videos/deep/renamed.mp4"]
    assert result.gone == ["videos/b.mkv"]
    assert result.copies == ["videos/copy.mp4"]
    assert result.new == ["videos/new.mp4"]
    assert decoded == ["new.mp4"]
    assert shown() == {"videos/copy.mp4": 3, "videos/deep/c.mp4": 3, "videos/deep/renamed.mp4": 4, "videos/new.mp4": 5}
    write_video(home / "videos" / "new.mp4", steady(6, 1))
    shutil.copy2(shots / "b.mkv", "videos/b.mkv")
    result = make()
    assert result.changed == ["videos/new.mp4"]
    assert shown()["videos/new.mp4"] == 6
    assert shown()["videos/b.mkv"] == 2
    assert decoded == ["new.mp4", "new.mp4"]  # what has gone is known when it returns


def test_a_touched_file_is_read_but_not_decoded(home, make, decoded):
    make("videos")
    decoded.clear()
    os.utime("videos/a.mp4", (1, 1))
    result = make()
    assert (result.unchanged, result.changed, decoded) == (3, [], [])


def test_a_moved_file_of_other_bytes_is_another_one(home, make, decoded):
    """Same size and time, other content in the middle: the sample sees it in a small file."""
    make("videos")
    old = os.stat("videos/a.mp4")
    data = bytearray(Path("videos/a.mp4").read_bytes())
    data[len(data) // 2] ^= 255
    os.remove("videos/a.mp4")
    Path("videos/z.mp4").write_bytes(data)
    os.utime("videos/z.mp4", ns=(old.st_atime_ns, old.st_mtime_ns))
    decoded.clear()
    assert make().new == ["videos/z.mp4"]
    assert decoded == ["z.mp4"]


def test_a_library_moves_with_its_videos(home, make, decoded, tmp_path, shots):
    write_video(tmp_path / "outside.mp4", steady(2, 1))
    make("videos", str(tmp_path / "outside.mp4"))
    decoded.clear()
    home.rename(tmp_path / "other")
    os.chdir(tmp_path)
    result = make(out="other/lib")
    assert (result.unchanged, result.gone, decoded) == (4, [], [])
    library = package.Library.open("other/lib")
    assert [library.contents.file(video).is_file() for video in library] == [True] * 4
    assert next(video.path for video in library) == str(tmp_path / "outside.mp4")


def test_patterns_lists_and_more_inputs(home, make):
    Path("list.csv").write_text("id,path\nx,videos/a.mp4\n")
    assert make("list.csv").new == ["videos/a.mp4"]
    assert make("videos/**/*.mp4").new == ["videos/deep/c.mp4"]
    shutil.copy("videos/b.mkv", "videos/deep/d.mp4")
    result = make()
    assert result.new == ["videos/deep/d.mp4"]  # the pattern is remembered
    assert result.videos == 3
    library = package.Library.open("lib")
    assert library.add("videos").copies == ["videos/b.mkv"]
    assert len(library) == 4
    Path("part.csv").write_text("path,start,end\nvideos/a.mp4,1,2\n")
    with pytest.raises(InputError, match="expected whole videos"):
        make("part.csv")
    with pytest.raises(InputError, match="no video of that pattern"):
        make("videos/*.avi")
    with pytest.raises(InputError, match="found nothing there"):
        make("missing")


def test_what_is_refused(home, make, monkeypatch):
    with pytest.raises(UsageError, match="no video was named"):
        make(out="nothing")
    assert not Path("nothing").exists()
    with pytest.raises(UsageError, match="--rate: found 0"):
        make("videos", rate=0)
    with pytest.raises(ArtifactMismatch, match=r"found 'a\.mp4' and no catalogue"):
        make("videos", out="videos")
    with pytest.raises(InputError, match="missing: found nothing there; expected a video file, or a library"):
        package.Library.open("missing")
    Path("empty").mkdir()
    with pytest.raises(InputError, match="found no video in it"):
        make("empty")
    make("videos")
    with pytest.raises(ArtifactMismatch, match=r"--rate 1\.0; found 2"):
        make("videos", rate=2)
    monkeypatch.setattr("topa.features.encoder.identify", lambda name: "siglip-1")
    with pytest.raises(ArtifactMismatch, match=r"of the encoder clip-.*; found siglip-1\. Nothing was changed"):
        make("videos", encoder="google/siglip")
    assert len(package.Library.open("lib")) == 3


def test_another_format_version_is_refused_and_kept(home, make):
    make("videos")
    path = Path("lib/catalogue.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    before = path.read_bytes()
    for call in (lambda: make("videos"), lambda: package.Library.open("lib")):
        with pytest.raises(ArtifactError, match=r"format version 2; this topa reads 1\. Nothing was changed.*--out"):
            call()
    assert path.read_bytes() == before
    path.write_bytes(before[:100])
    with pytest.raises(ArtifactError, match="can't be read"):
        make("videos")


def test_lost_features_are_made_again(home, make, decoded):
    make("videos/a.mp4")
    make("videos")
    decoded.clear()
    for path in Path("lib/features/part-00001").glob("features-*"):
        path.unlink()
    result = make()
    assert sorted(decoded) == ["b.mkv", "c.mp4"]
    assert result.videos == len(package.Library.open("lib")) == 3


def test_files_that_differ_between_the_sampled_pieces_are_no_copies(home, make):
    """What is behind the film is read by no player; equal size and equal samples don't make it the same content."""
    film = Path("videos/a.mp4").read_bytes()
    for name, sign in (("one", b"1"), ("two", b"2")):
        padding = bytearray(8 << 20)
        padding[300_000:300_001] = sign
        Path(f"{name}.mp4").write_bytes(film + bytes(padding))
    size = Path("one.mp4").stat().st_size
    assert fingerprint.sample("one.mp4", size) == fingerprint.sample("two.mp4", size)
    result = make("one.mp4", "two.mp4")
    assert not result.copies
    assert len({video.id for video in package.Library.open("lib")}) == 2


@pytest.fixture
def bad(home: Path, shots: Path) -> Path:
    """Files of all kinds that go wrong, or should not, in videos/."""
    folder = home / "videos"
    (folder / "zero.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("once upon a time\n" * 100)
    write_video(folder / "sound.mp4", [], audio_s=1)
    long = write_video(folder / "cut.mp4", steady(40, 4), mux={"movflags": "faststart"}, options={"g": "4"})
    long.write_bytes(long.read_bytes()[: int(long.stat().st_size * 0.7)])
    headless = write_video(folder / "headless.mp4", steady(40, 4))
    headless.write_bytes(headless.read_bytes()[: headless.stat().st_size // 2])
    write_video(folder / "turned.mp4", steady(8, 4), rotation=90, turned=-1)
    write_video(folder / "variable.mp4", [Fraction(0), Fraction(1, 10), Fraction(3), Fraction(5)])
    write_video(folder / "deep.mp4", steady(8, 4), pix_fmt="yuv420p10le")
    (folder / "one.mp4").symlink_to("two.mp4")
    (folder / "two.mp4").symlink_to("one.mp4")
    (folder / "nowhere.mp4").symlink_to("missing")
    (folder / "deep" / "up").symlink_to("..")
    (folder / "folder.mp4").mkdir()
    os.mkfifo(folder / "pipe.mp4")
    return folder


def test_every_bad_file_has_an_outcome(bad, make, decoded):
    result = make("videos")
    reasons = {Path(name).name: reason for name, reason in result.bad.items()}
    for name, words in {
        "zero.mp4": "empty file",
        "text.mp4": "not a video",
        "sound.mp4": "audio streams only",
        "headless.mp4": "not a video",
        "one.mp4": "symbolic links",
        "two.mp4": "symbolic links",
        "nowhere.mp4": "No such file",
        "pipe.mp4": "a pipe",
    }.items():
        assert words in reasons.pop(name), name
    assert not reasons
    assert result.truncated == ["videos/cut.mp4"]
    frames = shown()
    assert frames.keys() == {
        "videos/a.mp4", "videos/b.mkv", "videos/deep/c.mp4", "videos/cut.mp4", "videos/turned.mp4",
        "videos/variable.mp4", "videos/deep.mp4",
    }  # fmt: skip
    assert frames["videos/turned.mp4"] == frames["videos/deep.mp4"] == 2
    assert 3 <= frames["videos/cut.mp4"] < 10
    assert frames["videos/variable.mp4"] == 2  # its five targets show two different frames
    decoded.clear()
    again = make()
    assert decoded == []  # they are not tried again
    assert again.bad == result.bad
    shutil.copy("videos/a.mp4", "videos/zero.mp4")
    (bad / "pipe.mp4").unlink()
    mended = make()
    assert mended.changed == ["videos/zero.mp4"]
    assert mended.bad.keys() == result.bad.keys() - {"videos/zero.mp4", "videos/pipe.mp4"}


def test_only_bad_files(tmp_path, make, monkeypatch, shots):
    monkeypatch.chdir(tmp_path)
    Path("a.mp4").write_bytes(b"")
    with pytest.raises(AllFailed, match=r"all 1 files failed; .*such as .*a\.mp4\): found an empty file"):
        make("a.mp4")
    with pytest.raises(ArtifactError, match="no finished library"):
        package.Library.open("lib")
    shutil.copy(shots / "a.mp4", "a.mp4")
    assert make(rate=2).frames == 8  # nothing was encoded: another rate is as good


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, for whom nothing is forbidden."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


def test_what_may_not_be_read_is_kept_and_told(make, shots, decoded, monkeypatch):
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are shut for others
        monkeypatch.chdir(name)
        Path("videos/shut").mkdir(parents=True)
        for file, folder in (("a.mp4", "videos"), ("b.mkv", "videos"), ("c.mp4", "videos/shut")):
            shutil.copy(shots / file, folder)
        assert make("videos").videos == 3
        if os.geteuid() == 0:
            for path in (Path(name), *Path(name).rglob("*")):
                os.chown(path, 65534, 65534)
        os.utime("videos/a.mp4", (1, 1))
        os.chmod("videos/a.mp4", 0)
        os.chmod("videos/shut", 0)
        decoded.clear()
        with as_nobody():
            result = make()
            assert "Permission denied" in result.bad["videos/a.mp4"]
            assert "can't be listed" in result.bad["videos/shut"]
            assert result.gone == []
            assert shown().keys() == {"videos/b.mkv", "videos/shut/c.mp4"}
            os.chmod("videos/a.mp4", 0o600)
            os.chmod("videos/shut", 0o700)
            assert make().bad == {}
        assert decoded == []
        assert len(shown()) == 3


def test_a_file_that_changes_while_it_is_read(home, make, monkeypatch):
    original = indexing._IndexRun.decoded

    def grows(self, clips, encoder):
        for clip, found in original(self, clips, encoder):
            if clip.path.endswith("a.mp4"):
                with open(clip.path, "ab") as file:
                    file.write(b"more")
            yield clip, found

    with monkeypatch.context() as patch:
        patch.setattr(indexing._IndexRun, "decoded", grows)
        result = make("videos")
    assert "changed or removed while it was read" in result.bad["videos/a.mp4"]
    assert make().bad == {}
    assert len(shown()) == 3


SCRIPT = """
import sys
from pathlib import Path
from topa.library import index
from topa.library.verbs import IndexConfig
index._FLUSH_SECONDS = -1
original = index._IndexRun._save
count = 0
def told(self):
    global count
    original(self)
    count += 1
    print(count, flush=True)
    if count == int(sys.argv[1]):
        sys.stdin.read()
index._IndexRun._save = told
videos = tuple(sys.argv[2:])
index.index(IndexConfig(videos=videos, out=Path("lib"), encoder="microworld/clip", workers=1), show=False)
"""


def started(stop: int, *inputs: str) -> subprocess.Popen[str]:
    """A real process that indexes, and waits where it has saved so many times."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(stop), *inputs],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    for _ in range(stop):
        assert process.stdout.readline()
    return process


def test_a_killed_run_is_gone_on_with(home, make, decoded):
    process = started(3, "videos")  # once before the first video, and after each
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with pytest.raises(ArtifactError, match="no finished library"):
        package.Library.open("lib")
    part = home / "lib" / "features" / "part-00000"
    for name in (".features-00002.safetensors.ours", ".features-mine"):
        (part / name).write_bytes(b"half")
    record_of(part).add(".features-00002.safetensors.ours", RecordedFile("unfinished"))
    result = make("videos")
    assert decoded == ["c.mp4"]
    assert (result.videos, result.frames) == (3, 9)
    whole = make("videos", out="whole")
    assert whole.frames == 9
    one, other = package.Library.open("lib"), package.Library.open("whole")
    for video, same in zip(one, other, strict=True):
        assert video == same
        assert torch.equal(one.contents.features(video).values, other.contents.features(same).values)
    assert {path.name for path in home.glob("lib/**/.*")} == {RECORD, ".features-mine"}


def test_two_writers(home, make):
    process = started(1, "videos")
    assert {path.name for path in Path("lib").glob("[!.]*")} == {
        "catalogue.json",
        "run.lock",
    }  # a library before it has any features
    with pytest.raises(OutputError, match="another process is at work in it"):
        make("videos")
    second = subprocess.Popen(
        [sys.executable, "-m", "topa.cli", "index", "videos", "--out", "lib", "--wait", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    process.communicate("")
    assert process.returncode == 0
    told = json.loads(second.communicate(timeout=60)[0])
    assert second.returncode == 0
    assert (told["unchanged"], told["videos"], told["new"]) == (3, 3, [])


def test_the_command(home, topa, monkeypatch, micro):
    monkeypatch.setattr(Encoder, "from_pretrained", lambda *given, **options: micro)
    (home / "videos" / "zero.mp4").touch()
    plan = topa("index", "videos", "--out", "lib", "--encoder", MICRO, "--dry-run", "--workers", 1)
    assert plan.code == 0
    assert "4 files to look into" in plan.out
    assert "told from 3 of them" in plan.out
    assert not Path("lib").exists()
    done = topa("index", "videos", "--out", "lib", "--encoder", MICRO, "--workers", 1)
    assert done.code == 0
    assert "left out: videos/zero.mp4: found an empty file" in done.err
    assert "indexed: 3 new, 0 unchanged" in done.out
    assert "next:    topa search lib" in done.out
    told = json.loads(topa("index", "--out", "lib", "--json").out)
    assert (told["videos"], told["unchanged"], list(told["bad"])) == (3, 4, ["videos/zero.mp4"])
    estimate = json.loads(topa("index", "--out", "lib", "--dry-run", "--json").out)
    assert (estimate["look"], estimate["frames"]) == (0, 0)


def test_what_has_not_changed_needs_no_torch(home, make):
    make("videos")
    command = [sys.executable, "-X", "importtime", "-m", "topa.cli", "index", "--out", "lib", "--encoder", MICRO]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert not loaded & {"torch", "transformers", "av"}


def test_a_full_disk_loses_nothing(home, make, decoded, monkeypatch):
    make("videos/a.mp4")
    original = parts.write_shard

    def full(*given: object) -> None:
        raise OutputError("No space left on device.")

    monkeypatch.setattr(parts, "write_shard", full)
    with pytest.raises(OutputError, match="What was indexed before is kept: free some space"):
        make("videos")
    assert shown() == {"videos/a.mp4": 4}
    monkeypatch.setattr(parts, "write_shard", original)
    assert make("videos").videos == 3


def content(folder: str) -> dict[str, bytes]:
    """All files of a library but the lock."""
    return {
        str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file() and path.name != "run.lock"
    }


def test_a_library_that_moved_alone_is_refused_and_told_where_its_videos_are(home, make, decoded, tmp_path):
    make("videos")
    (tmp_path / "elsewhere").mkdir()
    shutil.move("lib", tmp_path / "elsewhere" / "lib")
    os.chdir(tmp_path / "elsewhere")
    before = content("lib")
    with pytest.raises(
        MissingVideos,
        match=rf"none of its 3 videos; expected them in {tmp_path}/elsewhere/videos.*"
        r"topa index --out lib --root DIR.*--forget-missing",
    ):
        make()
    assert content("lib") == before
    decoded.clear()
    result = make(root="../home")
    assert (result.unchanged, result.moved, result.gone, result.new, decoded) == (3, [], [], [], [])
    library = package.Library.open("lib")
    assert shown() == {"videos/a.mp4": 4, "videos/b.mkv": 2, "videos/deep/c.mp4": 3}
    assert all(library.contents.file(video).is_file() for video in library)
    shutil.copy("../home/videos/a.mp4", "../home/videos/copy.mp4")
    assert make().copies == ["videos/copy.mp4"]  # from here on without --root
    os.chdir(tmp_path)
    assert make(out="elsewhere/lib").unchanged == 4
    assert decoded == []


@pytest.mark.parametrize("root", ["new", "new/videos"])
def test_the_root_may_be_the_folder_of_videos_or_the_one_that_holds_it(home, make, decoded, root):
    make("videos/**/*.mp4", "videos/b.mkv")
    Path("new").mkdir()
    os.rename("videos", "new/videos")
    decoded.clear()
    result = make(root=root)
    assert (result.unchanged, result.gone, result.absent, decoded) == (3, [], {}, [])
    names = {str(Path("new/videos", name).relative_to(root)) for name in ("a.mp4", "b.mkv", "deep/c.mp4")}
    assert shown().keys() == names
    assert result.videos == make().unchanged == 3


def test_videos_outside_of_the_root_are_found_below_another_one(tmp_path, make, shots, decoded, monkeypatch):
    """By absolute paths before: as of a disk that is mounted at another place."""
    shutil.copytree(shots, tmp_path / "disk" / "films")
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    assert make("../disk/films").new == [
        str(tmp_path / "disk" / "films" / name) for name in ("a.mp4", "b.mkv", "c.mp4")
    ]
    (tmp_path / "disk").rename(tmp_path / "media")
    with pytest.raises(MissingVideos):
        make()
    decoded.clear()
    result = make(root="../media")
    assert (result.unchanged, result.gone, decoded) == (3, [], [])
    assert shown().keys() == {"films/a.mp4", "films/b.mkv", "films/c.mp4"}
    (tmp_path / "home").rename(tmp_path / "house")
    assert make(out=str(tmp_path / "house" / "lib")).unchanged == 3


def test_a_root_that_holds_the_library_moves_with_it(tmp_path, make, shots, decoded, monkeypatch):
    shutil.copytree(shots, tmp_path / "one" / "videos")
    (tmp_path / "one" / "libraries" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "one" / "libraries" / "mine")
    make("../../videos")
    make(root=str(tmp_path / "one"))
    assert set(shown()) == {"videos/a.mp4", "videos/b.mkv", "videos/c.mp4"}
    (tmp_path / "one").rename(tmp_path / "two")
    monkeypatch.chdir(tmp_path / "two")
    decoded.clear()
    assert make(out="libraries/mine/lib").unchanged == 3
    assert decoded == []


def test_renamed_videos_are_known_by_their_content(home, make, decoded):
    make("videos")
    Path("new/2024").mkdir(parents=True)
    shutil.copyfile("videos/a.mp4", "new/2024/first.mp4")  # with a time of its own
    os.rename("videos/b.mkv", "new/2024/second.mkv")
    os.rename("videos/deep/c.mp4", "new/2024/third.mp4")
    shutil.rmtree("videos")
    decoded.clear()
    result = make(root="new")
    assert result.moved == ["2024/first.mp4", "2024/second.mkv", "2024/third.mp4"]
    assert (result.gone, decoded) == ([], [])
    assert shown() == {"2024/first.mp4": 4, "2024/second.mkv": 2, "2024/third.mp4": 3}
    assert make().unchanged == 3


def test_a_root_without_the_videos_is_refused(home, make, tmp_path):
    make("videos")
    before = content("lib")
    os.rename("videos", tmp_path / "away")
    Path("other").mkdir()
    write_video(home / "other" / "a.mp4", steady(3, 1))
    with pytest.raises(InputError, match=r"other: found no video of the library lib below it.*holds videos/a\.mp4"):
        make(root="other")
    with pytest.raises(InputError, match="absent: found no folder"):
        make(root="absent")
    with pytest.raises(UsageError, match="--root: found no library in new"):
        make("other", out="new", root="other")
    assert content("lib") == before


def test_an_emptied_library_finds_its_videos_again(home, make, decoded, tmp_path):
    """As topa 0.1 left it, or --forget-missing."""
    make("videos")
    os.rename("videos", tmp_path / "videos")
    result = make(forget_missing=True)
    assert (result.videos, len(result.gone), result.absent) == (0, 3, {})
    assert make().videos == 0  # nothing is left that could be lost
    decoded.clear()
    result = make(root=str(tmp_path))
    assert (result.returned, decoded) == (["videos/a.mp4", "videos/b.mkv", "videos/deep/c.mp4"], [])
    assert len(shown()) == 3


@pytest.mark.parametrize("mount", ["gone", "empty"])
def test_a_folder_of_several_that_is_not_there_keeps_its_videos(home, make, decoded, shots, mount):
    make("videos")
    Path("disk").mkdir()
    write_video(home / "disk" / "d.mp4", steady(5, 1))
    write_video(home / "disk" / "e.mp4", steady(6, 1))
    make("disk")
    os.rename("disk", "unmounted")
    if mount == "empty":
        Path("disk").mkdir()
    os.remove("videos/b.mkv")
    decoded.clear()
    result = make()
    assert (result.gone, result.absent, result.videos) == (["videos/b.mkv"], {str(home / "disk"): 2}, 4)
    assert set(shown()) == {"videos/a.mp4", "videos/deep/c.mp4", "disk/d.mp4", "disk/e.mp4"}
    os.rename("unmounted/d.mp4", "videos/d.mp4")
    result = make()
    assert (result.moved, result.absent) == (["videos/d.mp4"], {str(home / "disk"): 1})
    assert decoded == []
    result = make(forget_missing=True)
    assert (result.gone, result.videos) == (["disk/e.mp4"], 3)
    assert make().absent == {}


def test_new_videos_in_place_of_all_old_ones_are_no_accident(home, make):
    """A camera that keeps a day."""
    make("videos")
    shutil.rmtree("videos")
    Path("videos").mkdir()
    write_video(home / "videos" / "today.mp4", steady(5, 1))
    result = make()
    assert (result.new, len(result.gone), result.videos) == (["videos/today.mp4"], 3, 1)


def test_what_is_the_users_below_a_library_stays(home, make):
    make("videos/a.mp4")
    own = {
        "lib/.features-mine", "lib/.index.html", "lib/.manifest.json.txt", 
        "lib/notes/.features-00000.safetensors.abcd1234",
        "lib/features/.features-x", "lib/features/part-mine/notes.txt", "lib/features/part-00007/manifest.json",
        "lib/features/part-00000/.features-", "lib/features/part-00008/notes.txt",
    }  # fmt: skip
    for path in map(Path, own):
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("mine")
    Path("lib/.catalogue.json.abcd1234").symlink_to(home / "videos" / "a.mp4")
    ours = [Path("lib/.catalogue.json.abcd_123"), Path("lib/features/part-00000/.index.safetensors.abcd_123")]
    for path in ours:
        path.write_bytes(b"half")
        record_of(path.parent).add(path.name, RecordedFile("unfinished"))
    assert make("videos").new == ["videos/b.mkv", "videos/deep/c.mp4"]
    assert {path for path in own if Path(path).read_text() == "mine"} == own
    assert Path("lib/.catalogue.json.abcd1234").is_symlink()
    assert not any(path.exists() for path in ours)
    assert Path("lib/features/part-00009/manifest.json").is_file()
    assert make().unchanged == 3


def test_videos_that_were_named_one_by_one_are_kept_where_their_folder_is_not_there(home, make):
    Path("list.txt").write_text("deep/c.mp4\n")
    os.rename("list.txt", "videos/list.txt")
    make("videos/a.mp4", "videos/list.txt", "videos/b.mkv")
    os.rename("videos/deep", "deep")
    os.remove("videos/b.mkv")
    result = make()
    assert (result.gone, result.absent) == (["videos/b.mkv"], {str(home / "videos" / "deep"): 1})
    assert set(shown()) == {"videos/a.mp4", "videos/deep/c.mp4"}


def test_naming_the_new_place_is_as_good_as_a_root(home, make, decoded, tmp_path):
    """Those that are found elsewhere are moved ones, whether or not their folder is there."""
    make("videos")
    os.rename("videos", tmp_path / "films")
    decoded.clear()
    result = make(str(tmp_path / "films"))
    assert (len(result.moved), result.gone, result.absent, decoded) == (3, [], {}, [])
    assert set(shown()) == {str(tmp_path / "films" / name) for name in ("a.mp4", "b.mkv", "deep/c.mp4")}
    assert make().unchanged == 3


def test_a_source_that_is_where_it_was_stays_there(home, make, decoded, tmp_path):
    make("videos/deep", "videos/a.mp4")
    os.rename("videos/deep", tmp_path / "deep")
    decoded.clear()
    result = make(root=str(tmp_path))
    assert (result.unchanged, result.gone, result.absent, decoded) == (2, [], {}, [])
    assert set(shown()) == {"deep/c.mp4", "home/videos/a.mp4"}


def test_a_root_above_or_below_the_one_before_moves_nothing(home, make, decoded, tmp_path):
    make("videos")
    decoded.clear()
    for root, prefix in ((tmp_path, "home/videos/"), (home / "videos", ""), (home, "videos/")):
        result = make(root=str(root))
        assert (result.unchanged, result.gone, decoded) == (3, [], [])
        assert set(shown()) == {f"{prefix}a.mp4", f"{prefix}b.mkv", f"{prefix}deep/c.mp4"}


def test_copies_elsewhere_are_taken_though_the_old_ones_are_there(home, make, decoded, tmp_path):
    make("videos")
    (tmp_path / "disk").mkdir()
    for number, name in enumerate(("a.mp4", "b.mkv", "deep/c.mp4")):
        shutil.copyfile(home / "videos" / name, tmp_path / "disk" / f"{number}.mp4")
    decoded.clear()
    assert len(make(root=str(tmp_path / "disk")).moved) == 3
    assert (set(shown()), decoded) == ({"0.mp4", "1.mp4", "2.mp4"}, [])


def test_after_the_move_all_verbs_find_the_videos(home, make, topa, tmp_path, micro_model):
    make("videos")
    os.rename("videos", tmp_path / "films")
    refused = topa("index", "--out", "lib")
    assert (refused.code, refused.out) == (1, "")
    assert "topa index --out lib --root DIR" in refused.err
    plan = topa("index", "--out", "lib", "--root", tmp_path, "--dry-run")
    assert f"next:      topa index --out lib --root {tmp_path}" in plan.out
    assert "3 unchanged" in topa("index", "--out", "lib", "--root", tmp_path).out
    found = json.loads(topa("search", "lib", "a ball", "--top", 1, "--json").out)
    assert "films/" in json.dumps(found)
    for name in ("films/a.mp4", tmp_path / "films" / "a.mp4", "a.mp4"):
        told = topa("ask", "lib", "where is the ball ?", "--video", name, "--model", micro_model)
        assert told.code == 0, told.err
    page = tmp_path / "why"
    assert topa("explain", "lib", "where ?", "--video", "a.mp4", "--model", micro_model, "--out", page).code == 0
    os.rename(tmp_path / "films", tmp_path / "away")
    os.rename("lib", "library")
    left = topa("index", "--out", "library", "--forget-missing", "--json")
    assert (left.code, json.loads(left.out)["videos"]) == (0, 0)
