"""Settings: precedence, validation, and the one line a mistake gives."""

from __future__ import annotations

import re
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest

from app.errors import SettingsError
from app.settings.environment import ENVIRONMENT
from app.settings.loading import load_settings
from app.settings.paths import CONFIGS, ROOT
from app.settings.settings import Settings


def settings_file(folder: Path, text: str) -> Path:
    path = folder / "sightline.yaml"
    path.write_text(text)
    return path


def test_without_anything_given_the_contract_s_defaults_hold():
    settings = load_settings({})
    assert settings.inference_service_url.target == "127.0.0.1:9000"
    assert settings.inference_fps == 5.0
    assert settings.latency_budget_ms == 200
    assert settings.kafka.enabled
    assert settings.kafka.embedded
    assert settings.kafka.topic == "events.detections"
    assert settings.detector.device == "auto"
    assert (settings.detector.confidence, settings.detector.iou) == (0.25, 0.7)
    assert settings.detector.classes == ()
    assert (settings.detector.image_size, settings.detector.max_detections) == (None, 300)
    assert Path(settings.detector.model).name == "street.pt"
    assert [camera.id for camera in settings.cameras] == ["street-east", "street-west"]
    assert settings.token is None


def test_the_settings_file_that_is_shipped_says_the_defaults():
    assert load_settings({}, CONFIGS / "sightline.yaml") == load_settings({})


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path):
    file = settings_file(tmp_path, "inference_fps: 2\nkafka: {topic: from.file}\nlatency_budget_ms: 150\n")
    settings = load_settings({"KAFKA_TOPIC": "from.environment", "INFERENCE_FPS": "3"}, file)
    assert settings.kafka.topic == "from.environment"
    assert settings.inference_fps == 3.0
    assert settings.latency_budget_ms == 150


def test_a_camera_s_own_fps_wins_over_the_environment():
    cameras = load_settings({"INFERENCE_FPS": "3", "SIGHTLINE_CAMERAS": "a=synthetic://street"}).cameras
    assert cameras[0].fps == 3.0


@pytest.mark.parametrize(
    "name",
    ["SIGHTLINE_SERVICE_HOST", "SIGHTLINE_PORT", "SIGHTLINE_PORT_9000_TCP_ADDR", "DETECTOR_SERVICE_PORT_GRPC"],
)
def test_what_kubernetes_puts_into_a_pod_is_no_mistake_of_the_user(name: str):
    assert load_settings({name: "tcp://10.0.0.1:9000"}) == load_settings({})


def test_a_variable_set_to_nothing_counts_as_not_set():
    assert load_settings({"KAFKA_BOOTSTRAP_SERVERS": ""}).kafka.embedded


@pytest.mark.parametrize(
    ("text", "target", "secure"),
    [
        ("host:9000", "host:9000", False),
        ("grpc://host:9000", "host:9000", False),
        ("grpcs://host.example:443", "host.example:443", True),
        ("[::1]:9000", "[::1]:9000", False),
    ],
)
def test_a_service_address_is_read_in_each_of_its_forms(text: str, target: str, secure: bool):
    address = load_settings({"INFERENCE_SERVICE_URL": text}).inference_service_url
    assert (address.target, address.secure) == (target, secure)


@pytest.mark.parametrize(
    ("variable", "value", "reported"),
    [
        ("INFERENCE_SERVICE_URL", "http://host:9000", "grpc://host:port"),
        ("INFERENCE_SERVICE_URL", "host", "host:port"),
        ("INFERENCE_SERVICE_URL", "host:99999", "host:port"),
        ("INFERENCE_FPS", "fast", "number"),
        ("SIGHTLINE_TRACKING", "perhaps", "boolean"),
        ("SIGHTLINE_TRACKING_LOW", "-0.1", "greater than or equal to 0"),
        ("SIGHTLINE_TRACKING_HIGH", "1.1", "less than or equal to 1"),
        ("SIGHTLINE_TRACKING_LOST_AFTER", "0", "greater than 0"),
        ("SIGHTLINE_TRACKING_LOST_AFTER", "61", "less than or equal to 60"),
        ("SIGHTLINE_TRACKING_LOST_AFTER", "nan", "number"),
        ("INFERENCE_FPS", "0", "greater than 0"),
        ("INFERENCE_FPS", "nan", "number"),
        ("KAFKA_ENABLED", "perhaps", "boolean"),
        ("KAFKA_BOOTSTRAP_SERVERS", "broker", "host:port"),
        ("KAFKA_TOPIC", "no spaces", "pattern"),
        ("KAFKA_ANOMALIES_TOPIC", "no spaces", "pattern"),
        ("KAFKA_OBJECTS_TOPIC", "no spaces", "pattern"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS", "SASL_SSL"),
        ("KAFKA_SASL_MECHANISM", "MAGIC", "SCRAM-SHA-512"),
        ("KAFKA_SASL_OAUTH_TOKEN_URL", "http://login.example/token", "https://"),
        ("KAFKA_SASL_OAUTH_TOKEN_URL", "login.example", "https://"),
        ("KAFKA_SASL_OAUTH_TOKEN_URL", "https://login.example:x/token", "https://"),
        ("DETECTOR_DEVICE", "gpu", "cuda:N"),
        ("DETECTOR_CONFIDENCE", "1.5", "less than or equal to 1"),
        ("DETECTOR_IOU", "-1", "greater than or equal to 0"),
        ("DETECTOR_IMAGE_SIZE", "16", "greater than or equal to 32"),
        ("DETECTOR_IMAGE_SIZE", "large", "integer"),
        ("DETECTOR_MAX_DETECTIONS", "0", "greater than or equal to 1"),
        ("SIGHTLINE_LATENCY_BUDGET_MS", "0", "greater than or equal to 1"),
        ("SIGHTLINE_CAMERAS", "nowhere.yaml", "cameras file"),
    ],
)
def test_an_impossible_value_is_one_line_with_key_value_and_what_is_allowed(variable, value, reported):
    with pytest.raises(SettingsError) as caught:
        load_settings({variable: value})
    line = str(caught.value)
    assert "\n" not in line
    assert variable in line
    assert repr(value) in line
    assert reported in line


def test_a_lower_threshold_of_tracking_above_the_upper_one_is_one_line():
    with pytest.raises(SettingsError, match=r"^tracking: high \(0\.5\) is below low \(0\.6\); allowed is low to 1$"):
        load_settings({"SIGHTLINE_TRACKING_LOW": "0.6"})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("7d", timedelta(days=7)),
        ("1.5 h", timedelta(minutes=90)),
        ("90", timedelta(seconds=90)),
        ("45s", timedelta(0, 45)),
    ],
)
def test_a_duration_is_written_in_seconds_or_with_its_unit(tmp_path: Path, written: str, meant: timedelta):
    file = settings_file(tmp_path, f"kafka: {{max_event_age: {written}}}")
    assert load_settings({}, file).kafka.max_event_age == meant


@pytest.mark.parametrize("value", ["0", "-1", "7 weeks", "true", ".inf", "40000d", "[7d]"])
def test_a_duration_that_cannot_be_is_one_line_with_its_key(tmp_path: Path, value: str):
    with pytest.raises(SettingsError, match=r"^kafka\.max_event_age: .*allowed are seconds above 0") as caught:
        load_settings({}, settings_file(tmp_path, f"kafka: {{max_event_age: {value}}}"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["0", "17", "1.5", "true", "'4'", "many"])
def test_a_number_of_shards_that_cannot_be_is_one_line_with_key_and_value(tmp_path: Path, value: str):
    with pytest.raises(SettingsError, match=r"^publisher\.shards: .*: input should be") as caught:
        load_settings({}, settings_file(tmp_path, f"publisher: {{shards: {value}}}"))
    assert "\n" not in str(caught.value)


def test_there_is_one_shard_unless_the_file_says_otherwise(tmp_path: Path):
    assert load_settings({}).publisher.shards == 1
    assert load_settings({}, settings_file(tmp_path, "publisher: {shards: 16}")).publisher.shards == 16


def test_a_mistyped_variable_of_ours_is_refused_and_the_right_ones_named():
    with pytest.raises(SettingsError, match=r"DETECTOR_CONFIDNCE is not a setting.*DETECTOR_CONFIDENCE"):
        load_settings({"DETECTOR_CONFIDNCE": "0.5"})


def test_an_unknown_key_in_the_file_is_named_with_its_place(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"kafka\.topics is not a setting"):
        load_settings({}, settings_file(tmp_path, "kafka: {topics: x}"))


@pytest.mark.parametrize("text", ["- a list", "kafka: {", "kafka: 7"])
def test_a_file_that_is_no_settings_file_is_one_line(tmp_path: Path, text: str):
    with pytest.raises(SettingsError) as caught:
        load_settings({"KAFKA_TOPIC": "x"}, settings_file(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_settings_file_that_is_not_there_is_one_line(tmp_path: Path):
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load_settings({}, tmp_path / "missing.yaml")


def test_a_relative_file_that_is_not_there_is_reported_with_the_folders_that_were_looked_in():
    looked = f"it was looked for in {Path.cwd()} and in {ROOT}: give its absolute path"
    with pytest.raises(SettingsError) as caught:
        load_settings({}, Path("nowhere.yaml"))
    assert str(caught.value) == f"settings file 'nowhere.yaml' cannot be read: No such file or directory; {looked}"
    with pytest.raises(SettingsError, match=re.escape(looked)):
        load_settings({"SIGHTLINE_CAMERAS": "nowhere.yaml"})
    with pytest.raises(SettingsError, match=re.escape(f"(it was looked for in {Path.cwd()})")):
        load_settings({"KAFKA_SSL_CAFILE": "nowhere.pem"})


def test_folders_are_absolute_once_the_settings_are_resolved():
    settings = load_settings({"SIGHTLINE_SPOOL_DIR": "kept/spool", "SIGHTLINE_STATE_DIR": "~/state"})
    assert settings.spool.dir == Path("kept/spool").absolute()
    assert settings.state_dir == Path.home() / "state"
    with pytest.raises(SettingsError, match="there is no home for ~nobody-at-all"):
        load_settings({"SIGHTLINE_STATE_DIR": "~nobody-at-all/state"})


def test_a_secret_may_come_from_a_file(tmp_path: Path):
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    token = load_settings({"SIGHTLINE_TOKEN_FILE": str(secret)}).token
    assert token is not None
    assert token.get_secret_value() == "s3cret"


def test_a_secret_given_twice_is_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match="both set"):
        load_settings({"SIGHTLINE_TOKEN": "a", "SIGHTLINE_TOKEN_FILE": str(tmp_path / "b")})


def test_a_secret_shows_in_no_text_of_the_settings():
    settings = load_settings({"SIGHTLINE_TOKEN": "canary-1", "KAFKA_SASL_PASSWORD": "canary-2"})
    assert "canary" not in repr(settings)
    assert "canary" not in str(settings)


def test_every_variable_of_the_table_has_its_setting():
    for path in ENVIRONMENT.values():
        here = Settings
        for key in path[:-1]:
            here = here.model_fields[key].annotation
        assert path[-1] in here.model_fields


@pytest.mark.parametrize("content", ["", "\n", "  "])
def test_a_secret_file_that_is_empty_is_refused(tmp_path: Path, content: str):
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(SettingsError, match="is empty"):
        load_settings({"SIGHTLINE_TOKEN_FILE": str(file)})


@pytest.mark.parametrize("token", ["''", "' '", "geheimnis-ü", "two words"])
def test_a_token_that_would_let_everyone_or_no_one_in_is_refused_and_not_shown(tmp_path: Path, token: str):
    with pytest.raises(SettingsError, match=r"token \(SIGHTLINE_TOKEN\): allowed are printable") as caught:
        load_settings({}, settings_file(tmp_path, f"token: {token}"))
    assert "geheim" not in str(caught.value)


def test_a_token_loses_the_line_break_that_many_secrets_end_with():
    token = load_settings({"SIGHTLINE_TOKEN": "abc\n"}).token
    assert token is not None
    assert token.get_secret_value() == "abc"


def test_any_number_of_cameras_fits_in_the_list():
    listed = ",".join(f"rtsp://viewer:hunter2@host-{number}/stream" for number in range(200))
    assert len(load_settings({"SIGHTLINE_CAMERAS": listed}).cameras) == 200


@pytest.mark.parametrize(
    "text",
    [
        "cameras: [{id: a, url: 'rtsp://viewer:hunter2@h/1'}]",
        "cameras: {a: 'rtsp://viewer:hunter2@h/1'}",
        "kafka: sasl_password=hunter2",
        "kafka: {sasl_password: [hunter2]}",
        "token: [hunter2]",
    ],
)
def test_a_secret_in_the_wrong_place_is_not_shown(tmp_path: Path, text: str):
    with pytest.raises(SettingsError) as caught:
        load_settings({}, settings_file(tmp_path, text))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "reported"),
    [
        ({"SIGHTLINE_TLS_CAFILE": "/nowhere/ca.pem"}, "SIGHTLINE_TLS_CAFILE: '/nowhere/ca.pem' does not exist"),
        ({"KAFKA_SSL_CAFILE": "/nowhere/ca.pem"}, "KAFKA_SSL_CAFILE: '/nowhere/ca.pem' does not exist"),
        ({"SIGHTLINE_TLS_CERTFILE": str(CONFIGS / "cameras.yaml")}, "come together"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "KAFKA_SASL_MECHANISM"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "PLAIN"}, "KAFKA_SASL_USERNAME"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "OAUTHBEARER"},
            "^KAFKA_SASL_MECHANISM: 'OAUTHBEARER' needs KAFKA_SASL_OAUTH_TOKEN_URL, .*_ID and .*_SECRET$",
        ),
    ],
)
def test_what_secures_a_connection_must_be_there_and_fit_together(environment: dict[str, str], reported: str):
    with pytest.raises(SettingsError, match=reported):
        load_settings(environment)


def test_an_address_with_an_account_is_refused_and_not_shown():
    with pytest.raises(
        SettingsError, match=r"KAFKA_SASL_OAUTH_TOKEN_URL\): allowed is https.* without an account"
    ) as reported:
        load_settings({"KAFKA_SASL_OAUTH_TOKEN_URL": "https://user:hunter2@login.example/token"})
    assert "hunter2" not in str(reported.value)


@pytest.mark.skipif(find_spec("gssapi") is not None, reason="the package gssapi is installed")
def test_gssapi_without_its_package_is_refused_as_a_setting():
    given = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "GSSAPI"}
    with pytest.raises(
        SettingsError, match=r"^KAFKA_SASL_MECHANISM: 'GSSAPI' needs the Python package gssapi"
    ) as reported:
        load_settings(given)
    assert "\n" not in str(reported.value)


def test_the_client_credentials_of_oauthbearer_are_read_and_the_secret_is_not_shown(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("canary\n")
    given = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
        "KAFKA_SASL_OAUTH_TOKEN_URL": "http://[::1]:8080/token",
        "KAFKA_SASL_OAUTH_CLIENT_ID": "sightline",
        "KAFKA_SASL_OAUTH_CLIENT_SECRET_FILE": str(secret),
        "KAFKA_SASL_OAUTH_SCOPE": "kafka write",
    }
    kafka = load_settings(given).kafka
    assert kafka.sasl_oauth_client_secret is not None
    assert kafka.sasl_oauth_client_secret.get_secret_value() == "canary"
    assert kafka.sasl_oauth_scope == "kafka write"
    assert "canary" not in repr(kafka)


def test_the_other_topics_can_be_named_and_turned_off_and_no_two_have_one_name():
    assert load_settings({}).kafka.channel_topics == {"anomalies": "events.anomalies", "objects": "events.objects"}
    named = load_settings({"KAFKA_ANOMALIES_TOPIC": "incidents", "KAFKA_OBJECTS_TOPIC": "null"}).kafka
    assert named.channel_topics == {"anomalies": "incidents"}
    assert named.of_topic("incidents").topic == "incidents"
    with pytest.raises(SettingsError, match=r"name 'events\.objects' twice") as caught:
        load_settings({"KAFKA_TOPIC": "events.objects"})
    assert "\n" not in str(caught.value)
