"""Cameras as a user writes them, and addresses that never show a password."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.core.wanted import AS_CONFIGURED, Wanted
from app.errors import SettingsError
from app.settings.camera_lists import parse_camera_list, parse_cameras_file
from app.settings.cameras import CameraSettings, camera_of
from app.settings.source_url import SourceKind, SourceUrl, Transport, redact


def cameras_file(folder: Path, text: str) -> Path:
    path = folder / "cameras.yaml"
    path.write_text(text)
    return path


def listed(text: str) -> tuple[CameraSettings, ...]:
    return parse_camera_list(text).entries


def read_cameras_file(file: Path, environment: dict[str, str]) -> tuple[CameraSettings, ...]:
    return parse_cameras_file(file.read_text(), file, environment).entries


def test_a_camera_may_do_without_tracking():
    values = {"id": "yard", "url": "rtsp://yard.example/1"}
    assert camera_of(values).wanted.tracked
    assert not camera_of({**values, "tracking": False}).wanted.tracked
    with pytest.raises(SettingsError, match=r"^tracking: .*boolean"):
        camera_of({**values, "tracking": "perhaps"})


def test_a_list_names_cameras_or_numbers_them():
    cameras = listed("gate=rtsp://gate.example/1, synthetic://street?seed=3&fps=10,/data/clip.mp4")
    assert [camera.id for camera in cameras] == ["gate", "cam-2", "cam-3"]
    assert [camera.url.kind for camera in cameras] == [
        SourceKind.RTSP,
        SourceKind.SYNTHETIC,
        SourceKind.FILE,
    ]


def test_a_comma_within_a_url_is_percent_encoded():
    (camera,) = listed("a=http://host/x?area=1%2C2&name=b%20c")
    assert camera.url.reveal() == "http://host/x?area=1,2&name=b%20c"


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("a=rtsp://h/1,a=rtsp://h/2", "given twice"),
        ("bad id=rtsp://h/1", "pattern"),
        ("a=ftp://h/1", "allowed are rtsp"),
        ("a=device://front", "allowed is device://N"),
        ("a=rtsp:///nohost", "names no host"),
        ("a=synthetic://street?sed=7", "sed"),
        ("a=clip.mp4?loop=maybe", "true and false"),
    ],
)
def test_a_mistake_in_the_list_is_one_line(text: str, reported: str):
    with pytest.raises(SettingsError) as caught:
        listed(text)
    assert reported in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cameras_file_takes_variables_in_its_urls(tmp_path: Path):
    file = cameras_file(
        tmp_path,
        "cameras:\n- {id: gate, url: 'rtsp://viewer:${GATE}@gate.example/1', fps: 2, max_side: 640}\n",
    )
    (camera,) = read_cameras_file(file, {"GATE": "pa55"})
    assert camera.url.reveal() == "rtsp://viewer:pa55@gate.example/1"
    assert "pa55" not in repr(camera)
    assert (camera.fps, camera.max_side, camera.jpeg_quality) == (2.0, 640, 85)


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("cameras: [{id: a, url: 'rtsp://u:${NOPE}@h/1'}]", "NOPE is not set"),
        ("cameras: [{id: a, url: rtsp://h/1, fsp: 5}]", "cameras[0].fsp"),
        ("cameras: [{id: a, url: rtsp://h/1, fps: -1}]", "cameras[0].fps: -1"),
        ("cameras: [{id: a}]", "cameras[0].url"),
        ("cameras: [7]", "mapping"),
        ("cameras: {}", "list"),
        ("other: []", "one key"),
    ],
)
def test_a_mistake_in_the_file_names_its_place(tmp_path: Path, text: str, reported: str):
    with pytest.raises(SettingsError) as caught:
        read_cameras_file(cameras_file(tmp_path, text), {})
    assert reported in str(caught.value)


@pytest.mark.parametrize(
    "secret",
    [
        "rtsp://viewer:hunter2@gate.example:554/stream1",
        "http://gate.example/video?user=me&password=hunter2",
        "https://gate.example/video.m3u8?token=hunter2",
        "http://gate.example/cgi?loginuse=me&loginpas=hunter2",
        "http://gate.example/cgi?usr=me&pw=hunter2&channel=1",
        "rtsp://gate.example/user=admin_password=hunter2_channel=1.sdp",
        "rtsp://viewer:p@hunter2@gate.example/1",
    ],
)
def test_no_text_of_a_url_shows_its_secret(secret: str):
    url = SourceUrl.parse(secret)
    assert "hunter2" not in str(url) + repr(url) + redact(secret)
    assert "hunter2" in url.reveal()
    assert "gate.example" in str(url)


@pytest.mark.parametrize(
    "text",
    [
        "ftp://viewer:hunter2@gate.example/1",
        "rtsp://viewer:hunter2/x@gate.example/1",
        "rtsp://viewer:1/hunter2@gate.example/1",
        "rtsp://viewer:hunter2#x@gate.example/1",
        "rtsp://viewer:hunter2?x@gate.example/1",
        "rtsp://viewer:hunter2,x@gate.example/1",
        "rtsp:/viewer:hunter2@gate.example/1",
        "viewer:hunter2@gate.example/1",
        "rtsp://viewer:x@gate.example:hunter2/1",
    ],
)
def test_an_error_about_a_url_shows_no_secret(text: str):
    with pytest.raises(SettingsError) as caught:
        listed(f"a={text}")
    assert "hunter2" not in str(caught.value)


def test_a_camera_written_out_as_data_shows_no_secret():
    (camera,) = listed("a=rtsp://viewer:hunter2@gate.example/1")
    assert "hunter2" not in repr(camera.model_dump()) + camera.model_dump_json()


def test_harmless_parts_of_an_address_are_shown():
    shown = str(SourceUrl.parse("rtsp://viewer:hunter2@h:554/cam/realmonitor?channel=1&subtype=0"))
    assert shown == "rtsp://viewer:***@h:554/cam/realmonitor?channel=1&subtype=0"


def test_a_dollar_that_is_doubled_is_a_dollar(tmp_path: Path):
    file = cameras_file(tmp_path, "cameras: [{id: a, url: 'rtsp://u:$${X}@h/1'}]")
    assert read_cameras_file(file, {})[0].url.reveal() == "rtsp://u:${X}@h/1"


@pytest.mark.parametrize(
    "resources", ["{CPU: 1}", "{gpu: 1}", "{edge: -1}", "{edge: .nan}", "{edge: 1.5}", "{edge: 1.0e-8}"]
)
def test_resources_that_ray_would_refuse_are_refused(tmp_path: Path, resources: str):
    file = cameras_file(tmp_path, f"cameras: [{{id: a, url: rtsp://h/1, resources: {resources}}}]")
    with pytest.raises(SettingsError, match="resources"):
        read_cameras_file(file, {})


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https", "ftp"])
@pytest.mark.parametrize("password", ["hunter2", "1", "1a"])
@pytest.mark.parametrize("mark", ["/", "?", "#", "@/", "/1@", "@x/", "/x="])
def test_a_password_that_would_need_encoding_is_refused_and_never_shown(scheme: str, password: str, mark: str):
    with pytest.raises(SettingsError, match="%2F %3F") as caught:
        SourceUrl.parse(f"{scheme}://viewer:{password}{mark}pa55@gate.example/stream1?token=hunter2")
    assert not {"hunter2", "pa55"} & set(re.split(r"[^a-z0-9]", str(caught.value)))


def test_an_address_whose_port_is_no_number_says_how_a_password_is_written():
    with pytest.raises(SettingsError, match="%2F") as caught:
        SourceUrl.parse("rtsp://viewer:hunter2/pa55@gate.example/stream1")
    assert "pa55" not in str(caught.value)


@pytest.mark.parametrize("address", ["rtsp://gate/user@cam", "http://gate/user@cam", "rtsp://[::1]:554/s"])
def test_an_address_without_a_secret_is_shown_as_it_is(address: str):
    assert redact(address) == address


def test_a_password_from_the_environment_needs_no_encoding(tmp_path: Path):
    file = cameras_file(tmp_path, "cameras: [{id: a, url: 'rtsp://viewer:${SECRET}@h/1'}, {id: b, url: '${URL}'}]")
    environment = {"SECRET": "p@s/s#1?", "URL": "rtsp://viewer:a%2Fb@h/2"}
    cameras = read_cameras_file(file, environment)
    assert cameras[0].url.reveal() == "rtsp://viewer:p%40s%2Fs%231%3F@h/1"
    assert cameras[1].url.reveal() == environment["URL"]


def test_the_transport_of_an_rtsp_stream_is_read_and_taken_off_the_address():
    url = SourceUrl.parse("rtsp://gate.example/stream?transport=udp&channel=1")
    assert (url.transport, url.reveal()) == (Transport.UDP, "rtsp://gate.example/stream?channel=1")
    assert SourceUrl.parse("rtsp://gate.example/stream").transport is Transport.ANY
    assert SourceUrl.parse("rtsps://gate.example/stream?transport=tcp").transport is Transport.TCP
    other = SourceUrl.parse("http://gate.example/live?transport=udp")
    assert (other.transport, other.reveal()) == (Transport.ANY, "http://gate.example/live?transport=udp")


@pytest.mark.parametrize("address", ["rtsp://h/1?transport=sctp", "rtsps://h/1?transport=udp"])
def test_a_transport_that_cannot_be_is_reported(address: str):
    with pytest.raises(SettingsError, match="allowed is tcp"):
        SourceUrl.parse(address)


def test_what_was_written_of_a_camera_has_a_fingerprint_that_no_new_password_changes(tmp_path: Path):
    written = "{id: a, url: 'rtsp://u:${SECRET}@h/1', fps: 2}"
    text = f"cameras: [{written}, {{id: b, url: 'rtsp://h/2'}}]"
    before = parse_cameras_file(text, tmp_path, {"SECRET": "one"})
    after = parse_cameras_file(text, tmp_path, {"SECRET": "two"})
    assert before.entries[0] != after.entries[0]
    assert before.fingerprints == after.fingerprints
    changed = parse_cameras_file(text.replace("fps: 2", "fps: 3"), tmp_path, {"SECRET": "one"})
    assert changed.fingerprints["a"] != before.fingerprints["a"]
    assert changed.fingerprints["b"] == before.fingerprints["b"]


@pytest.mark.parametrize(
    "text",
    ["rtsp://viewer:pa55@gate.example/1", "http://gate.example/live?token=pa55", "rtsp://gate.example/pass=pa55/x"],
)
def test_an_address_given_as_it_is_shown_keeps_its_secret_and_no_other_gets_it(text: str):
    known = SourceUrl.parse(text)
    shown = SourceUrl.parse(str(known))
    assert "pa55" not in str(shown)
    assert shown.with_secrets_of(known) is known
    elsewhere = SourceUrl.parse(str(known).replace("gate.example", "evil.example"))
    for refused in (lambda: elsewhere.with_secrets_of(known), shown.refuse_redacted):
        with pytest.raises(SettingsError, match=r"\*\*\* in the place of a secret"):
            refused()
    whole = SourceUrl.parse(text.replace("pa55", "other"))
    assert whole.with_secrets_of(known) is whole


def test_loop_is_read_and_taken_off_the_address():
    assert SourceUrl.parse("clip.mp4?loop=false").path == "clip.mp4"
    assert not SourceUrl.parse("clip.mp4?loop=false").loop
    assert SourceUrl.parse("clip.mp4").loop
    assert SourceUrl.parse("synthetic://street?seed=7&loop=false").reveal() == "synthetic://street?seed=7"


def test_a_file_url_is_a_path():
    assert SourceUrl.parse("file:///data/my%20clip.mp4").path == "/data/my clip.mp4"
    assert SourceUrl.parse("/data/frames/*.jpg").is_images


@pytest.mark.parametrize("value", ["0", "-1", ".nan", "1000000", "slow"])
def test_a_stall_that_cannot_be_is_refused(tmp_path: Path, value: str):
    file = cameras_file(tmp_path, f"cameras: [{{id: a, url: rtsp://h/1, stall_s: {value}}}]")
    with pytest.raises(SettingsError, match="stall_s"):
        read_cameras_file(file, {})


def test_a_slow_camera_sets_its_own_stall(tmp_path: Path):
    file = cameras_file(tmp_path, "cameras: [{id: a, url: rtsp://h/1, stall_s: 30}, {id: b, url: rtsp://h/2}]")
    assert [camera.stall_s for camera in read_cameras_file(file, {})] == [30.0, None]


def test_a_camera_says_what_is_detected_in_its_frames(tmp_path: Path):
    entry = "{id: a, url: rtsp://h/1, model: default, confidence: 0, classes: [person, car]}"
    file = cameras_file(tmp_path, f"cameras: [{entry}, {{id: b, url: rtsp://h/2}}]")
    assert [camera.wanted for camera in read_cameras_file(file, {})] == [Wanted(0.0, ("person", "car")), AS_CONFIGURED]


@pytest.mark.parametrize(
    ("field", "refusal"),
    [
        ("confidence: 1.5", "cameras[0].confidence: 1.5: input should be less than or equal to 1"),
        ("confidence: .nan", "cameras[0].confidence: nan: input should be a finite number"),
        ("confidence: high", "cameras[0].confidence: 'high': input should be a valid number"),
        ("classes: [1]", "cameras[0].classes.0: 1: input should be a valid string"),
        ("classes: ['']", "cameras[0].classes.0: '': string should have at least 1 character"),
        (f"classes: [{', '.join(['x'] * 101)}]", "cameras[0].classes: "),
        ("model: ppe", "cameras[0].model: 'ppe': input should be 'default'"),
        ("decode: vaapi", "cameras[0].decode: 'vaapi': input should be 'auto', 'cpu', 'cuda', 'qsv' or 'drm'"),
    ],
)
def test_an_option_of_a_camera_that_cannot_be_is_named_with_its_value(tmp_path: Path, field: str, refusal: str):
    with pytest.raises(SettingsError) as refused:
        read_cameras_file(cameras_file(tmp_path, f"cameras: [{{id: a, url: rtsp://h/1, {field}}}]"), {})
    assert str(refused.value).startswith(refusal)
    assert "\n" not in str(refused.value)
