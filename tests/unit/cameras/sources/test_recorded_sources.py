from __future__ import annotations

import contextlib
import logging
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from app.cameras.sampling import EvenGrid
from app.cameras.sources import FrameTime, Source, open_source
from app.cameras.sources.ffmpeg import VideoDecoder
from app.core.clock import Clock
from app.errors import SourceEnded, SourceUnavailable
from app.settings.source_url import SourceUrl
from app.simulation.spec import StreetSpec
from app.simulation.street import Street
from tests.support.cameras import ManualClock, drain, grey, write_video


def opened(url: str, clock: Clock, fps: float = 5.0) -> Source:
    source = open_source(SourceUrl.parse(url), fps, clock)
    source.open()
    return source


def levels_of(source: Source, frames: int) -> list[int]:
    levels = []
    for _ in range(frames):
        assert source.grab() is not None
        levels.append(round(float(source.retrieve().image.mean())))
    return levels


def test_the_street_gives_exactly_its_own_frames_from_index_0(manual: ManualClock):
    source = opened("synthetic://street?seed=3&fps=20&width=320&height=240", manual.clock())
    street = Street(StreetSpec(seed=3, fps=20.0, width=320, height=240))
    for index in range(3):
        timing = source.grab()
        assert timing is not None
        assert (timing.index, timing.time_s) == (index, pytest.approx(index / 20))
        assert np.array_equal(source.retrieve().image, street.frame(index).image)


def test_the_street_keeps_real_time_and_leaves_out_what_is_over(manual: ManualClock):
    source = opened("synthetic://street?fps=25", manual.clock())
    assert source.grab().index == 0
    began = manual.now
    assert source.grab().index == 1
    assert manual.now - began == pytest.approx(0.04)
    manual.now = began + 2.0
    assert source.grab().index == 50


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.mkv", "mpeg4")])
def test_a_video_is_paced_by_its_own_timestamps(tmp_path: Path, manual: ManualClock, name: str, codec: str):
    stamps = [n * 40 for n in range(30)]
    write_video(tmp_path / name, stamps, [grey(100)] * 30, codec)
    source = opened(f"{tmp_path / name}?loop=false", manual.clock())
    began = manual.now
    grabbed: list[FrameTime] = []
    shown: list[float] = []
    with pytest.raises(SourceEnded):
        drain(source, grabbed, lambda _: shown.append(manual.now - began))
    assert shown == pytest.approx([timing.time_s for timing in grabbed], abs=0.002)
    assert [timing.index for timing in grabbed] == list(range(30))
    assert grabbed[-1].time_s == pytest.approx(29 * 0.04, abs=0.002)
    source.close()


def test_a_variable_rate_is_shown_at_its_own_times(tmp_path: Path, manual: ManualClock):
    stamps = [0, 40, 80, 400, 440, 1400, 1440, 1460, 3000]
    write_video(tmp_path / "v.mp4", stamps, [grey(100)] * len(stamps), "libx264")
    source = opened(f"{tmp_path / 'v.mp4'}?loop=false", manual.clock())
    times = [source.grab().time_s for _ in stamps]
    assert times == pytest.approx([stamp / 1000 for stamp in stamps], abs=0.002)
    source.close()


def test_a_25_fps_video_sampled_at_5_fps_gives_every_fifth_frame_through_its_loops(tmp_path: Path, manual: ManualClock):
    write_video(tmp_path / "v.mp4", [n * 40 for n in range(25)], [grey(100)] * 25, "libx264")
    source, grid = opened(str(tmp_path / "v.mp4"), manual.clock()), EvenGrid(5)
    timings = [source.grab() for _ in range(100)]
    assert [t.index for t in timings if grid.takes(t.time_s)] == list(range(0, 100, 5))
    source.close()


def test_a_video_loops_without_a_break_and_its_index_rises_on(tmp_path: Path, manual: ManualClock):
    images = [grey(40), grey(120), grey(200)]
    write_video(tmp_path / "v.mp4", [0, 40, 80], images)
    source = opened(str(tmp_path / "v.mp4"), manual.clock())
    timings = [source.grab() for _ in range(7)]
    assert [timing.index for timing in timings] == list(range(7))
    assert [timing.time_s for timing in timings] == pytest.approx([n * 0.04 for n in range(7)], abs=0.002)
    source.close()


def test_a_recording_that_is_late_skips_frames_and_does_not_queue_them(tmp_path: Path, manual: ManualClock):
    write_video(tmp_path / "v.mp4", [n * 40 for n in range(50)], [grey(100)] * 50)
    source = opened(str(tmp_path / "v.mp4"), manual.clock())
    assert source.grab().index == 0
    manual.now += 0.8
    timing = source.grab()
    assert timing.time_s >= 0.8 - 0.1
    assert timing.index == round(timing.time_s / 0.04)
    source.close()


def test_a_recording_the_machine_is_too_slow_for_still_gives_frames(tmp_path: Path, manual: ManualClock):
    write_video(tmp_path / "v.mp4", [n * 40 for n in range(50)], [grey(100)] * 50)
    source = opened(str(tmp_path / "v.mp4"), manual.clock())
    for index in range(5):
        assert source.grab().index == index
        manual.now += 2.0
    source.close()


def test_a_raw_stream_without_timestamps_is_shown_at_its_rate(tmp_path: Path, manual: ManualClock):
    write_video(tmp_path / "v.h264", [n * 40 for n in range(10)], [grey(100)] * 10, "libx264", form="h264")
    source = opened(str(tmp_path / "v.h264"), manual.clock())
    assert [source.grab().time_s for _ in range(12)] == pytest.approx([n * 0.04 for n in range(12)], abs=0.01)
    source.close()


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotation_metadata_is_honoured_as_opencv_honours_it(tmp_path: Path, manual: ManualClock, rotation: int):
    image = grey(40, 128, 96)
    image[:32, :32] = (20, 20, 220)
    file = write_video(tmp_path / "r.mp4", [0, 40], [image, image], "libx264", rotation=rotation)
    source = opened(str(file), manual.clock())
    source.grab()
    upright = source.retrieve().image
    _, reference = cv2.VideoCapture(str(file)).read()
    assert upright.shape == reference.shape
    assert np.abs(upright.astype(int) - reference).mean() < 3
    source.close()


def test_a_video_damaged_in_the_middle_goes_on(tmp_path: Path, manual: ManualClock):
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(40)]
    file = write_video(tmp_path / "v.mkv", [n * 40 for n in range(40)], noise)
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    file.write_bytes(data)
    source = opened(f"{file}?loop=false", manual.clock())
    grabbed: list[FrameTime] = []
    with pytest.raises(SourceEnded):
        drain(source, grabbed)
    times = [timing.time_s for timing in grabbed]
    assert len(times) > 15
    assert times == sorted(times)
    source.close()


@pytest.mark.parametrize("content", [None, b"", b"no video at all" * 100])
def test_what_is_no_video_is_a_source_that_is_unavailable(tmp_path: Path, manual: ManualClock, content: bytes | None):
    file = tmp_path / "v.mp4"
    if content is not None:
        file.write_bytes(content)
    source = open_source(SourceUrl.parse(str(file)), 5, manual.clock())
    with pytest.raises(SourceUnavailable, match=r"v\.mp4"):
        source.open()
    source.close()
    source.close()


def test_an_interrupt_ends_the_wait_for_a_frame(tmp_path: Path):
    write_video(tmp_path / "v.mp4", [0, 30_000], [grey(100)] * 2)
    source = opened(str(tmp_path / "v.mp4"), Clock())
    assert source.grab() is not None
    threading.Timer(0.1, source.interrupt).start()
    began = time.monotonic()
    assert source.grab() is None
    assert time.monotonic() - began < 5
    assert source.grab() is None
    source.close()


def test_capture_is_stamped_when_the_frame_is_due_not_when_it_is_converted(tmp_path: Path, manual: ManualClock):
    write_video(tmp_path / "v.mp4", [0, 40], [grey(100)] * 2)
    source = opened(str(tmp_path / "v.mp4"), manual.clock())
    source.grab()
    due = manual.now
    manual.now += 0.01
    assert source.retrieve().captured.monotonic == due
    source.close()


def save(path: Path, level: int) -> None:
    cv2.imwrite(str(path), grey(level))


def test_a_folder_shows_its_images_in_natural_order_one_a_sample(tmp_path: Path, manual: ManualClock):
    for name, level in [("f10.png", 90), ("f2.png", 50), ("f1.png", 10), ("notes.txt", 0)]:
        save(tmp_path / name, level) if name.endswith("png") else (tmp_path / name).write_text("no image")
    source = opened(str(tmp_path), manual.clock(), fps=4.0)
    grid, began = EvenGrid(4.0), manual.now
    for index, level in enumerate([10, 50, 90, 10, 50]):
        timing = source.grab()
        assert timing.index == index
        assert grid.takes(timing.time_s)
        assert manual.now - began == pytest.approx(index / 4)
        assert round(float(source.retrieve().image.mean())) == level
    source.close()


def test_a_glob_and_a_single_image_are_sources_too(tmp_path: Path, manual: ManualClock):
    for number in range(3):
        save(tmp_path / f"a{number}.png", 10 * number)
        save(tmp_path / f"b{number}.png", 200)
    assert levels_of(opened(f"{tmp_path}/a*.png", manual.clock()), 4) == [0, 10, 20, 0]
    assert levels_of(opened(f"{tmp_path}/a2.png", manual.clock()), 3) == [20, 20, 20]
    assert levels_of(opened(f"file://{tmp_path}/a?.png", manual.clock()), 2) == [0, 10]


def test_images_that_do_not_loop_end(tmp_path: Path, manual: ManualClock):
    save(tmp_path / "a.png", 10)
    source = opened(f"{tmp_path}/a.png?loop=false", manual.clock())
    assert source.grab() is not None
    with pytest.raises(SourceEnded):
        source.grab()


def test_exif_orientation_is_honoured(tmp_path: Path, manual: ManualClock):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(grey(100, 80, 40)).save(tmp_path / "a.jpg", exif=exif)
    source = opened(str(tmp_path / "a.jpg"), manual.clock())
    source.grab()
    assert source.retrieve().image.shape == (80, 40, 3)


def test_an_unreadable_image_is_left_out_with_one_warning(
    tmp_path: Path, manual: ManualClock, caplog: pytest.LogCaptureFixture
):
    save(tmp_path / "a.png", 10)
    (tmp_path / "b.png").write_bytes(b"no image")
    save(tmp_path / "c.png", 30)
    with caplog.at_level(logging.WARNING):
        source = opened(str(tmp_path), manual.clock())
        assert levels_of(source, 5) == [10, 30, 10, 30, 10]
    assert len([r for r in caplog.records if "b.png" in r.getMessage()]) == 1


@pytest.mark.parametrize("files", [{}, {"a.jpg": b"", "b.png": b"no image"}])
def test_a_folder_without_a_readable_image_is_unavailable(tmp_path: Path, manual: ManualClock, files: dict[str, bytes]):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    source = open_source(SourceUrl.parse(str(tmp_path)), 5, manual.clock())
    with pytest.raises(SourceUnavailable):  # noqa: PT012 - either may tell
        source.open()
        source.grab()


def test_a_video_whose_name_looks_like_a_glob_is_a_video(tmp_path: Path, manual: ManualClock):
    file = write_video(tmp_path / "clip[1].mp4", [0, 40], [grey(100)] * 2)
    assert levels_of(opened(str(file), manual.clock()), 1) == [pytest.approx(100, abs=8)]


def test_opening_a_video_a_hundred_times_leaks_no_file(tmp_path: Path):
    url = SourceUrl.parse(str(write_video(tmp_path / "v.mp4", [0, 40], [grey(100)] * 2)))

    def held() -> int:
        found = 0
        for handle in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                found += str(handle.readlink()) == url.path
        return found

    for _ in range(100):
        decoder = VideoDecoder(url, url.path, {}, None, None)
        decoder.open()
        assert next(frame for frame in decoder.frames() if frame is not None)
        decoder.close()
        assert held() == 0


def write_motion_jpeg(path: Path, frames: int) -> None:
    write_video(path, [n * 100 for n in range(frames)], [grey(60 + 20 * n) for n in range(frames)], "mjpeg")


def test_a_motion_jpeg_s_pictures_can_be_had_as_they_came_or_decoded_and_after_the_source_went_on(
    tmp_path: Path, manual: ManualClock
):
    write_motion_jpeg(tmp_path / "a.avi", 4)
    source = opened(f"{tmp_path / 'a.avi'}?loop=false", manual.clock())
    frames = [source.retrieve() for _ in range(4) if source.grab() is not None]
    source.close()
    assert frames[0].jpeg is None  # by FFmpeg, to see that both read it alike
    for number, frame in enumerate(frames):
        assert round(float(frame.image.mean())) == pytest.approx(60 + 20 * number, abs=2)
        assert frame.jpeg is None or cv2.imdecode(np.frombuffer(frame.jpeg(), np.uint8), 1).mean() == frame.image.mean()
    assert sum(frame.jpeg is not None for frame in frames) == 3


def test_after_a_picture_of_a_motion_jpeg_that_cannot_be_decoded_ffmpeg_decodes_the_rest(
    tmp_path: Path, manual: ManualClock
):
    write_motion_jpeg(tmp_path / "a.avi", 6)
    data = (tmp_path / "a.avi").read_bytes()
    second = data.index(b"\xff\xd8", data.index(b"\xff\xd8") + 2)
    size = data.index(b"\xff\xc0", second)  # where it tells its size
    (tmp_path / "a.avi").write_bytes(data[: size + 1] + b"\xe9" + data[size + 2 :])
    source = opened(f"{tmp_path / 'a.avi'}?loop=false", manual.clock())
    source.grab()
    source.retrieve()
    source.grab()
    with pytest.raises(SourceUnavailable, match="a picture that cannot be decoded"):
        _ = source.retrieve().image
    source.grab()
    later = source.retrieve()
    assert later.jpeg is None
    assert later.image.mean() == pytest.approx(100, abs=2)
