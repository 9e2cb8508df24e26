"""Which decoder a video gets, where there is no hardware at all: real PyAV, and real devices that are not there."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path

import pytest
from av.codec.hwaccel import HWAccel, hwdevices_available

from app.cameras.sources.decoder_choice import DecoderChoice, DeviceAbsent, HardwareRun, find_device
from app.cameras.sources.video import VideoSource
from app.errors import SourceEnded
from app.settings.cameras import Decode
from app.settings.source_url import SourceUrl
from tests.support.cameras import ManualClock
from tests.support.numbered import read
from tests.support.recordings import stamps_at, write_recording

STAMPS = stamps_at(Fraction(25), 0.6)
ALL = frozenset({"cuda", "qsv", "drm"})


def found(name: str) -> HWAccel:
    """Return a device of a type without looking whether it is there."""
    return HWAccel(name)


def absent(name: str) -> HWAccel:
    raise DeviceAbsent(f"no {name} here")


def numbers(file: Path, choice: DecoderChoice) -> list[int]:
    """Return the numbers of the pictures that a choice's decoder makes of a recording."""
    source = VideoSource(SourceUrl.parse(f"{file}?loop=false"), str(file), ManualClock().clock(), choice=choice)
    source.open()
    seen: list[int] = []
    with pytest.raises(SourceEnded):  # noqa: PT012 - any of the grabs may end it
        while source.grab() is not None:
            seen.append(read(source.retrieve().image))
    source.close()
    return seen


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("clips") / "v.mp4", STAMPS)


def lines(log: pytest.LogCaptureFixture) -> list[str]:
    ours = [record for record in log.records if record.name.startswith("app.")]  # pytest sees FFmpeg's own, too
    return [record.getMessage() for record in ours if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("asked", ["auto", "cuda", "qsv", "drm"])
def test_without_hardware_the_cpu_decodes_and_one_line_says_why(
    clip: Path, asked: Decode, caplog: pytest.LogCaptureFixture
):
    choice = DecoderChoice("gate", asked)
    for _ in range(2):  # a camera whose source is opened again does not say it again
        assert numbers(clip, choice) == list(range(len(STAMPS)))
        assert choice.running == "cpu"
    (line,) = lines(caplog)
    assert line.startswith(f"camera gate: the CPU decodes its video (decode: {asked}; ")
    assert "\n" not in line
    assert choice.why in line
    named = ["cuda", "qsv", "drm"] if asked == "auto" else [asked]
    assert [name for name in ("cuda", "qsv", "drm") if f"{name}: " in line] == named


@pytest.mark.parametrize("name", hwdevices_available())
def test_no_device_type_of_this_ffmpeg_is_found_where_there_is_none(name: str):
    with pytest.raises(DeviceAbsent) as reported:
        find_device(name)
    assert str(reported.value)
    assert "\n" not in str(reported.value)


@pytest.mark.parametrize("name", hwdevices_available())
@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mjpeg"])
def test_a_device_that_is_gone_when_the_video_is_opened_costs_no_picture(
    tmp_path: Path, name: Decode, codec: str, caplog: pytest.LogCaptureFixture
):
    file = write_recording(tmp_path / ("v.avi" if codec == "mjpeg" else "v.mp4"), STAMPS, codec)
    choice = DecoderChoice("gate", name, known=hwdevices_available, find=found)
    assert numbers(file, choice) == list(range(len(STAMPS)))
    assert choice.running == "cpu"
    assert len(lines(caplog)) == 1


def test_who_asks_for_the_cpu_has_no_device_looked_for(caplog: pytest.LogCaptureFixture):
    def never(_name: str) -> HWAccel:
        raise AssertionError

    choice = DecoderChoice("gate", "cpu", known=lambda: ALL, find=never)
    assert choice.begin() is None
    assert (choice.running, choice.why, lines(caplog)) == ("cpu", "", [])


@pytest.mark.parametrize(
    ("asked", "known", "there", "tried"),
    [
        ("auto", ALL, {"cuda", "qsv", "drm"}, ["cuda"]),
        ("auto", ALL, {"qsv", "drm"}, ["cuda", "qsv"]),
        ("auto", {"drm"}, {"drm"}, ["drm"]),
        ("qsv", ALL, {"cuda", "qsv"}, ["qsv"]),
        ("qsv", {"cuda"}, {"cuda"}, []),
        ("drm", ALL, {"cuda"}, ["drm"]),
    ],
)
def test_auto_takes_the_first_that_is_there_and_a_kind_that_is_named_only_that(
    asked: Decode, known: set[str], there: set[str], tried: list[str]
):
    looked: list[str] = []

    def find(name: str) -> HWAccel:
        looked.append(name)
        return found(name) if name in there else absent(name)

    choice = DecoderChoice("gate", asked, known=lambda: known, find=find)
    device = choice.begin()
    assert looked == tried
    assert (device is not None) == bool(tried and tried[-1] in there)
    choice.started()
    assert choice.running == (tried[-1] if device is not None else "cpu")


def test_a_device_that_failed_in_use_is_not_tried_again_and_one_that_is_absent_is():
    looked: list[str] = []

    def find(name: str) -> HWAccel:
        looked.append(name)
        return found(name) if len(looked) > 1 else absent(name)

    choice = DecoderChoice("gate", "cuda", known=lambda: ALL, find=find)
    assert choice.begin() is None
    assert choice.begin() is not None
    choice.started()
    choice.failed("it gives no pictures")
    assert (choice.running, choice.why) == ("cpu", "cuda: it gives no pictures")
    assert choice.begin() is None
    assert len(looked) == 2


def test_a_device_whose_pictures_come_in_its_own_format_decodes():
    choice = DecoderChoice("gate", "cuda", known=lambda: ALL, find=found)
    choice.begin()
    run = HardwareRun(choice, "h264", "cuda")
    assert not run.decoded(is_key=True, pictures=0, pixel_format="cuda")
    assert choice.running == "cpu"
    assert not run.decoded(is_key=False, pictures=1, pixel_format="cuda")
    assert choice.running == "cuda"


def test_ffmpeg_s_own_fall_back_to_the_cpu_is_seen_by_the_format_of_its_pictures(caplog: pytest.LogCaptureFixture):
    choice = DecoderChoice("gate", "cuda", known=lambda: ALL, find=found)
    choice.begin()
    HardwareRun(choice, "h264", "cuda").decoded(is_key=True, pictures=1, pixel_format="yuv420p10le")
    assert choice.running == "cpu"
    assert lines(caplog) == [
        "camera gate: the CPU decodes its video (decode: cuda; cuda: it does not take this kind of h264)"
    ]


def test_a_decoder_that_gives_nothing_from_a_key_frame_on_is_stuck_and_one_that_waits_for_a_key_frame_is_not():
    choice = DecoderChoice("gate", "cuda", known=lambda: ALL, find=found)
    choice.begin()
    waiting, stuck = HardwareRun(choice, "h264", "cuda"), HardwareRun(choice, "h264", "cuda")
    assert not any(waiting.decoded(is_key=False, pictures=0, pixel_format="cuda") for _ in range(1000))
    assert not any(stuck.decoded(is_key=number == 0, pictures=0, pixel_format="cuda") for number in range(250))
    assert stuck.decoded(is_key=False, pictures=0, pixel_format="cuda")
