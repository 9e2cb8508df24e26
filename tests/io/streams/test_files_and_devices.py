"""Files and devices: how they may be named, pictures that change as they are shown, pictures of 16 bits."""

from __future__ import annotations

import ctypes
import os
import select
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from app.cameras import CameraState
from app.cameras.camera import CameraTiming
from app.cameras.sources import Source, open_source
from app.core.clock import Clock
from app.errors import SourceUnavailable
from app.settings.source_url import SourceKind, SourceUrl
from tests.support.cameras import ManualClock
from tests.support.numbered import draw, read
from tests.support.recordings import stamps_at, write_recording
from tests.support.rows import Rows
from tests.support.rtsp_server import RtspServer
from tests.support.watched import Watched

QUICK = CameraTiming(reopen_first_s=0.1, reopen_max_s=0.2)


def opened(url: str, fps: float = 5.0) -> Source:
    source = open_source(SourceUrl.parse(url), fps, ManualClock().clock())
    source.open()
    return source


def shown(source: Source, frames: int) -> list[int]:
    numbers = []
    for _ in range(frames):
        assert source.grab() is not None
        numbers.append(read(source.retrieve().image))
    return numbers


def save(file: Path, number: int) -> Path:
    assert cv2.imwrite(str(file), draw(number))
    return file


@pytest.mark.parametrize("name", ["clip.mp4", "cam 12:30.mp4", "gate:1.mp4", "http:clip.mp4", "100%.mp4", "a#b.mp4"])
@pytest.mark.parametrize(
    "form", ["{}", "./{}", "~/{}", "FILE://{path}", "file://localhost{path}", "File://LOCALHOST{path}"]
)
def test_a_recording_may_have_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, form: str, rows: Rows
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    write_recording(tmp_path / name, stamps_at(Fraction(25), 0.2))
    path = str(tmp_path / name).replace("%", "%25").replace("#", "%23")
    source = opened(form.format(name, path=path))
    assert shown(source, 3) == [0, 1, 2]
    source.close()
    rows.add("video file", "names with a colon, relative, with `~`, `FILE://`, `file://localhost/`", "opened")


def test_the_scheme_of_a_stream_ignores_case():
    with RtspServer() as server:
        source = open_source(SourceUrl.parse(server.url().replace("rtsp://", "RTSP://")), 5, Clock())
        source.open()
        assert len(shown(source, 3)) == 3
        source.close()


def test_a_picture_that_is_rewritten_in_place_is_followed(tmp_path: Path, rows: Rows):
    file = save(tmp_path / "now.jpg", 1)
    source = opened(str(file))
    assert shown(source, 2) == [1, 1]
    save(file, 2)
    assert shown(source, 2) == [2, 2]
    save(tmp_path / "next.jpg", 3).replace(file)
    assert shown(source, 1) == [3]
    source.close()
    rows.add("a picture", "rewritten in place, or replaced", "followed")


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
def test_a_picture_is_shown_as_it_was_while_a_new_one_is_written(tmp_path: Path, suffix: str):
    file = save(tmp_path / f"now.{suffix}", 1)
    source = open_source(SourceUrl.parse(str(file)), 100, Clock())
    source.open()
    assert shown(source, 1) == [1]
    data = save(tmp_path / f"next.{suffix}", 2).read_bytes()
    for part in (data[:0], data[:10], data[: len(data) // 2], data[:-20]):
        file.write_bytes(part)
        assert shown(source, 2) == [1, 1]
    file.write_bytes(data)
    assert shown(source, 1) == [2]
    source.close()


def test_a_folder_that_grows_and_shrinks_is_followed(tmp_path: Path, rows: Rows):
    for number in (1, 2, 3):
        save(tmp_path / f"{number}.png", number)
    source = opened(str(tmp_path), fps=1)
    assert shown(source, 4) == [1, 2, 3, 1]
    (tmp_path / "2.png").unlink()
    save(tmp_path / "4.png", 4)
    assert shown(source, 4) == [3, 4, 1, 3]
    save(tmp_path / "10.png", 10)
    assert shown(source, 4) == [4, 10, 1, 3]
    source.close()
    rows.add("a folder of pictures", "grows and shrinks", "followed")


def test_pictures_that_come_while_a_folder_without_a_loop_is_shown_are_shown(tmp_path: Path):
    save(tmp_path / "1.png", 1)
    source = opened(f"{tmp_path}?loop=false")
    assert shown(source, 1) == [1]
    save(tmp_path / "2.png", 2)
    assert shown(source, 1) == [2]
    source.close()


def test_a_folder_that_was_emptied_and_filled_again_is_followed(tmp_path: Path):
    save(tmp_path / "1.jpg", 1)
    with Watched(str(tmp_path), fps=20, timing=QUICK) as camera:
        camera.until_live()
        (tmp_path / "1.jpg").unlink()
        camera.until_down()
        save(tmp_path / "2.jpg", 2)
        camera.until(lambda: camera.state is CameraState.LIVE and camera.sent[-1].number == 2)


def turned(picture: Image.Image, file: Path) -> None:
    """Save a picture on its side, with the EXIF orientation that puts it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.rotate(90, expand=True).save(file, exif=exif)


PICTURES: dict[str, tuple[str, Callable[[Image.Image, Path], None]]] = {
    "CMYK": ("jpg", lambda picture, file: picture.convert("CMYK").save(file)),
    "grey": ("JPG", lambda picture, file: picture.convert("L").save(file, "JPEG")),
    "one bit": ("png", lambda picture, file: picture.convert("1").save(file)),
    "a palette": ("png", lambda picture, file: picture.convert("P").save(file)),
    "transparent": ("png", lambda picture, file: picture.convert("RGBA").save(file)),
    "WebP": ("webp", lambda picture, file: picture.save(file)),
    "BMP": ("bmp", lambda picture, file: picture.save(file)),
    "LZW": ("tif", lambda picture, file: picture.save(file, compression="tiff_lzw")),
    "floating point": ("tiff", lambda picture, file: picture.convert("F").save(file)),
    "PNG named JPEG": ("jpg", lambda picture, file: picture.save(file, "PNG")),
    "EXIF in JPEG": ("jpg", turned),
    "EXIF in PNG": ("png", turned),
    "EXIF in TIFF": ("tif", turned),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_of_any_form_is_shown_upright(tmp_path: Path, name: str, rows: Rows):
    suffix, write = PICTURES[name]
    write(Image.fromarray(draw(5)), tmp_path / f"picture.{suffix}")
    source = opened(str(tmp_path))
    assert source.grab() is not None
    image = source.retrieve().image
    source.close()
    assert (image.shape, image.dtype) == (draw(5).shape, np.uint8)
    assert read(image) == 5
    rows.add("a picture", f"{len(PICTURES)} forms: {', '.join(PICTURES)}", "shown upright, in 8 bits a channel")


VIDEOS = {
    "H.264, 10 bits": ("v.mp4", "libx264", "yuv420p10le", (160, 96)),
    "H.265, 10 bits": ("v.mkv", "libx265", "yuv420p10le", (160, 96)),
    "H.264, 4:4:4, odd size": ("v.mp4", "libx264", "yuv444p", (161, 97)),
    "H.264, grey": ("v.mp4", "libx264", "gray", (160, 96)),
    "H.264, interlaced": ("v.ts", "libx264", "yuv420p", (160, 96)),
    "H.264, no container": ("v.h264", "libx264", "yuv420p", (160, 96)),
    "ProRes": ("v.mov", "prores", "yuv422p10le", (160, 96)),
    "FFV1, 16 bits, colour": ("v.mkv", "ffv1", "gbrp16le", (160, 96)),
    "MPEG-2": ("v.mpg", "mpeg2video", "yuv420p", (160, 96)),
    "GIF": ("v.gif", "gif", "rgb8", (160, 96)),
}


@pytest.mark.parametrize("name", VIDEOS)
def test_a_recording_of_any_pixels_is_shown(tmp_path: Path, name: str, rows: Rows):
    file, codec, pixels, (width, height) = VIDEOS[name]
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    options |= {"x264-params": "interlaced=1"} if "interlaced" in name else {}
    with av.open(str(tmp_path / file), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        for number in range(8):
            frame = av.VideoFrame.from_ndarray(draw(number, width, height), format="bgr24").reformat(format=pixels)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    source = opened(str(tmp_path / file))
    assert shown(source, 5) == [0, 1, 2, 3, 4]
    source.close()
    rows.add("video file", f"{len(VIDEOS)} forms of pixels: {', '.join(VIDEOS)}", "every picture read")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda file: file.touch(), "Invalid data"),
        (lambda file: file.write_bytes(b"no video"), "Invalid data"),
        (lambda file: file.mkdir(), "holds no image"),
        (lambda file: file.symlink_to(file), "Too many levels of symbolic links"),
    ],
    ids=["empty", "text", "a folder", "a link to itself"],
)
def test_what_is_no_video_is_reported_in_one_line(tmp_path: Path, make: Callable[[Path], None], reason: str):
    make(tmp_path / "clip.mp4")
    with pytest.raises(SourceUnavailable, match=reason) as reported:
        opened(str(tmp_path / "clip.mp4"))
    assert "\n" not in str(reported.value)


def test_a_link_to_itself_in_a_folder_of_pictures_is_passed_over(tmp_path: Path):
    (tmp_path / "1.jpg").symlink_to(tmp_path / "1.jpg")
    save(tmp_path / "2.jpg", 2)
    source = opened(str(tmp_path))
    assert shown(source, 2) == [2, 2]
    source.close()


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_a_picture_of_16_bits_is_stretched(tmp_path: Path, suffix: str, rows: Rows):
    # A thermal camera: what it sees lies between 7000 and 7500 of 65535.
    picture = (7000 + draw(5)[:, :, 0].astype(np.uint16) * 500 // 255).astype(np.uint16)
    assert cv2.imwrite(str(tmp_path / f"heat.{suffix}"), picture)
    source = opened(str(tmp_path / f"heat.{suffix}"))
    assert source.grab() is not None
    image = source.retrieve().image
    source.close()
    assert image.dtype == np.uint8
    assert (int(image.min()), int(image.max())) == (0, 255)
    assert read(image) == 5
    rows.add("a picture", "16 bits a channel", "stretched from its darkest to its brightest")


def test_a_recording_of_16_bits_is_stretched(tmp_path: Path):
    picture = (7000 + draw(5)[:, :, 0].astype(np.uint16) * 500 // 255).astype(np.uint16)
    with av.open(str(tmp_path / "heat.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = picture.shape[1], picture.shape[0], "gray16le"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray16le")))
        container.mux(stream.encode())
    source = opened(str(tmp_path / "heat.mkv"))
    assert shown(source, 1) == [5]
    source.close()


@pytest.mark.parametrize(
    ("address", "device"),
    [
        ("device://0", 0),
        ("DEVICE://2", 2),
        ("/dev/video0", "/dev/video0"),
        ("/dev/v4l/by-id/usb-046d_C920-video-index0", "/dev/v4l/by-id/usb-046d_C920-video-index0"),
        ("device:///dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0", "/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0"),
    ],
)
def test_a_usb_camera_is_named_by_its_number_or_its_node(address: str, device: int | str):
    url = SourceUrl.parse(address)
    assert (url.kind, url.device) == (SourceKind.DEVICE, device)


def test_the_node_that_a_link_names_is_opened(tmp_path: Path, rows: Rows):
    """No capture device is here: that the kernel is asked for the right node is seen by inotify."""
    node = tmp_path / "video7"
    node.touch()
    (tmp_path / "by-id").symlink_to(node)
    source = open_source(SourceUrl.parse(f"device://{tmp_path}/by-id"), 5, Clock())
    with Opened(node) as opening:
        with pytest.raises(SourceUnavailable, match="cannot be opened"):
            source.open()
        assert opening.seen()
    source.close()
    rows.add("USB camera", "by number, `/dev/video0`, `/dev/v4l/by-id/…`, `device:///dev/…`", "its node is opened")


def test_a_usb_camera_that_is_not_plugged_in_is_reported():
    with pytest.raises(SourceUnavailable, match="there is no /dev/video97"):
        opened("/dev/video97")


class Opened:
    """Watches by inotify whether a file is opened."""

    _IN_OPEN = 0x20

    def __init__(self, file: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = file

    def __enter__(self) -> Opened:
        self._watch = self._libc.inotify_init1(os.O_NONBLOCK)
        assert self._libc.inotify_add_watch(self._watch, os.fsencode(self._file), self._IN_OPEN) >= 0
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._watch)

    def seen(self) -> bool:
        return bool(select.select([self._watch], [], [], 0)[0])
