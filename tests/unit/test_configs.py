"""What is shipped for Docker and Kubernetes: sound by their own schemas, and the same as what it is made from."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.cli import up
from app.errors import SettingsError
from app.settings.connections import KafkaSettings
from app.settings.environment import ENVIRONMENT, SECRETS
from app.settings.loading import load_settings
from app.settings.settings import Settings
from tests.support.manifest import MANIFEST, renewed
from tests.support.paths import ROOT

BIN = Path(sys.executable).parent
DOCKER, KUBERNETES = ROOT / "configs" / "docker", ROOT / "configs" / "kubernetes"
COMPOSE_FILES = sorted(DOCKER.glob("compose*.yaml"))
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
MANIFESTS = [
    manifest for file in sorted(KUBERNETES.glob("*.yaml")) for manifest in yaml.safe_load_all(file.read_text())
]
KIND_OF = {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in MANIFESTS}
RAY_SERVICE = KIND_OF["RayService", "sightline"]["spec"]
CLUSTER = RAY_SERVICE["rayClusterConfig"]
GROUPS = {"head": CLUSTER["headGroupSpec"], **{group["groupName"]: group for group in CLUSTER["workerGroupSpecs"]}}
SECRET_FOLDER = "/run/secrets/sightline"
VERSION = "1.33"
"""Of Kubernetes, whose schemas are asked."""


def containers() -> list[tuple[str, dict[str, Any]]]:
    return [(name, one) for name, group in GROUPS.items() for one in group["template"]["spec"]["containers"]]


# Docker


def test_the_dockerfile_is_sound_to_its_linter():
    done = subprocess.run(
        [str(BIN / "hadolint"), str(DOCKER / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_dockerfile_copies_is_there_and_is_sent_to_the_builder():
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
        for source in line.split()[:-1]
    ]
    sent = {line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {"app", "deployments", "serve_config.yaml"} <= set(copied)
    assert all((ROOT / source).exists() for source in copied)
    assert set(copied) == sent


@pytest.mark.parametrize("file", COMPOSE_FILES, ids=lambda file: file.name)
def test_a_compose_file_holds_to_the_compose_specification(file: Path):
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_compose_file_mounts_is_there():
    for name, service in COMPOSE["services"].items():
        for source, target, *_ in (volume.split(":") for volume in service.get("volumes", ())):
            there = (DOCKER / source).resolve().is_dir() if source.startswith(".") else source in COMPOSE["volumes"]
            assert there, (name, source)
            assert target.startswith("/")


def test_the_compose_file_publishes_to_loopback_only():
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]
    assert len(published) == 7
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_compose_file_s_settings_are_settings_and_its_topic_is_the_default_one():
    environment = COMPOSE["services"]["sightline"]["environment"]
    ours = {name for name in environment if not name.startswith("RAY_")}
    assert ours <= set(ENVIRONMENT)
    given = {name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", str(value)) for name, value in environment.items()}
    settings = load_settings({name: given[name] for name in ours})
    assert settings.token is None
    assert settings.kafka.bootstrap_servers == ("redpanda:9092",)
    assert str(settings.evidence.url) == "s3://evidence"
    store = COMPOSE["services"]["minio"]
    assert settings.evidence.endpoint_url == f"http://minio{store['command'][store['command'].index('--address') + 1]}"
    assert (environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]) == (
        *(store["environment"][name] for name in ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD")),
    )
    topic = COMPOSE["services"]["topic"]["entrypoint"]
    assert settings.kafka.topic == KafkaSettings().topic == topic[3]
    assert topic[4:6] == list(KafkaSettings().channel_topics.values())
    assert topic[topic.index("-p") + 1] == str(KafkaSettings().partitions)


# Kubernetes


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda one: f"{one['kind']} {one['metadata']['name']}")
def test_a_manifest_holds_to_the_schema_of_its_kind(manifest: dict[str, Any]):
    if manifest["kind"] != "RayService":  # Kubernetes does not know it; its fields are looked at below
        kubernetes_validate.validate(manifest, VERSION, strict=True)


@pytest.mark.parametrize("name", GROUPS)
def test_each_pod_template_of_the_ray_cluster_holds_to_the_schema_of_pods(name: str):
    template = {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": {"name": name},
        "template": GROUPS[name]["template"],
    }
    kubernetes_validate.validate(template, VERSION, strict=True)


def test_the_schemas_would_notice_a_field_that_is_none():
    policy = KIND_OF["NetworkPolicy", "sightline"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**policy, "spec": {**policy["spec"], "ingres": []}}, VERSION, strict=True)


def test_the_ray_service_has_only_fields_that_kuberay_knows():
    # From KubeRay's reference of its custom resources (ray.io/v1); no package carries their schema.
    group = {"rayStartParams", "template"}
    assert KIND_OF["RayService", "sightline"]["apiVersion"] == "ray.io/v1"
    assert set(RAY_SERVICE) <= {"serveConfigV2", "rayClusterConfig", "upgradeStrategy", "serveService"}
    assert RAY_SERVICE["upgradeStrategy"]["type"] in {"NewCluster", "None"}
    assert set(CLUSTER) <= {
        *("rayVersion", "enableInTreeAutoscaling", "autoscalerOptions", "authOptions"),
        *("gcsFaultToleranceOptions", "headGroupSpec", "workerGroupSpecs"),
    }
    assert set(CLUSTER["autoscalerOptions"]) <= {"idleTimeoutSeconds", "upscalingMode", "resources", "version"}
    assert CLUSTER["authOptions"] == {"mode": "token"}
    assert set(CLUSTER["gcsFaultToleranceOptions"]) <= {"redisAddress", "redisPassword", "redisUsername"}
    assert set(CLUSTER["headGroupSpec"]) <= group | {"serviceType"}
    for worker in CLUSTER["workerGroupSpecs"]:
        assert set(worker) <= group | {"groupName", "replicas", "minReplicas", "maxReplicas"}
        assert worker["minReplicas"] <= worker["replicas"] <= worker["maxReplicas"]
    for one in GROUPS.values():
        assert all(isinstance(value, str) for value in one["rayStartParams"].values())


def test_the_embedded_serve_configuration_is_serve_config_yaml_but_for_where_it_listens():
    shipped = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    assert shipped["http_options"]["host"] == "127.0.0.1"
    assert yaml.safe_load(RAY_SERVICE["serveConfigV2"]) == up.listening_on(shipped, "0.0.0.0")


def test_the_embedded_serve_configuration_has_its_reasons_as_well():
    text, serve_config = MANIFEST.read_text(), (ROOT / "serve_config.yaml").read_text()
    assert renewed(text, serve_config) == text, "run python -m tests.support.manifest"


def test_the_ray_version_is_the_one_that_is_pinned():
    pins = (ROOT / "configs" / "constraints.txt").read_text().splitlines()
    assert f"ray=={CLUSTER['rayVersion']}" in pins


def test_one_node_alone_has_the_spool_s_disk_and_the_mark_that_the_publisher_asks_for():
    marked = {name for name, one in GROUPS.items() if "sightline_spool" in one["rayStartParams"].get("resources", "")}
    claims = {
        name: volume["persistentVolumeClaim"]["claimName"]
        for name, one in GROUPS.items()
        for volume in one["template"]["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert marked == set(claims) == {"spool"}
    spool = GROUPS["spool"]
    assert json.loads(spool["rayStartParams"]["resources"].strip("'").encode().decode("unicode_escape").strip('"')) == {
        "sightline_spool": 1
    }
    assert spool["minReplicas"] == spool["replicas"] == spool["maxReplicas"] == 1
    assert KIND_OF["PersistentVolumeClaim", claims["spool"]]["spec"]["accessModes"] == ["ReadWriteOncePod"]
    (mount,) = [one for one in spool["template"]["spec"]["containers"][0]["volumeMounts"] if one["name"] == "spool"]
    assert settings_of_the_manifest().spool.dir.is_relative_to(mount["mountPath"])


def settings_of_the_manifest(folder: Path | None = None) -> Settings:
    """The settings as a pod would resolve them; its secrets are files of a folder, or left out."""
    data = KIND_OF["ConfigMap", "sightline-settings"]["data"]
    values = yaml.safe_load(data["sightline.yaml"])
    environment = KIND_OF["ConfigMap", "sightline-environment"]["data"]
    del values["cameras"]
    if folder is None:
        del values["kafka"]
        return Settings.model_validate(values)
    values["kafka"]["ssl_cafile"] = values["kafka"]["ssl_cafile"].replace(SECRET_FOLDER, str(folder))
    (folder / "sightline.yaml").write_text(yaml.safe_dump(values))
    (folder / "cameras.yaml").write_text(data["cameras.yaml"])
    ours = {name: value.replace(SECRET_FOLDER, str(folder)) for name, value in environment.items()}
    return load_settings({**ours, "SIGHTLINE_CAMERAS": str(folder / "cameras.yaml")}, folder / "sightline.yaml")


def test_the_settings_of_the_manifest_are_sound_and_take_their_secrets_from_files(tmp_path: Path):
    from tests.support.certificates import Authority

    authority = Authority(tmp_path)
    (tmp_path / "kafka-ca.pem").write_bytes(authority.certificate.read_bytes())
    with pytest.raises(SettingsError, match="_FILE"):
        settings_of_the_manifest(tmp_path)
    for name in ("token", "kafka-username", "kafka-password", "evidence-key", "evidence-secret"):
        (tmp_path / name).write_text(f"the-{name}\n")
    settings = settings_of_the_manifest(tmp_path)
    assert settings.token is not None
    assert settings.token.get_secret_value() == "the-token"
    assert settings.kafka.sasl_username == "the-kafka-username"
    assert settings.evidence.access_key_id == "the-evidence-key"
    assert settings.spool.pinned
    assert len(settings.cameras) == 1
    service = KIND_OF["Service", settings.inference_service_url.host]
    assert service["spec"]["ports"][0]["port"] == settings.inference_service_url.port


def test_a_pinned_publisher_asks_for_the_mark_before_any_node_that_has_it_is_up():
    from deployments.graph import SPOOL_NODE, delivery_actors

    settings = Settings.model_validate({"kafka": {"bootstrap_servers": "kafka:9093"}, "spool": {"pinned": True}})
    (publisher,) = delivery_actors(settings)  # no cluster is asked: there is none
    assert publisher.actor_options["resources"] == {SPOOL_NODE: 0.001}
    assert SPOOL_NODE in GROUPS["spool"]["rayStartParams"]["resources"]


def test_every_pod_has_the_settings_and_the_secrets_and_no_secret_is_a_variable():
    environment = KIND_OF["ConfigMap", "sightline-environment"]["data"]
    assert up.TUNED.items() <= environment.items()
    ours = {name for name in environment if not name.startswith("RAY_")}
    # The manifest authenticates by SCRAM, and its store's key is for good: others would be files that are not there.
    assert ours == {f"{name}_FILE" for name in SECRETS - {"KAFKA_SASL_OAUTH_CLIENT_SECRET", "AWS_SESSION_TOKEN"}}
    for name, container in containers():
        assert "env" not in container, name
        assert container["envFrom"] == [{"configMapRef": {"name": "sightline-environment"}}]
        mounts = {one["mountPath"]: one for one in container["volumeMounts"]}
        assert mounts[SECRET_FOLDER]["readOnly"] is True
        assert "/opt/sightline/configs/sightline.yaml" in mounts
        assert {one["name"] for one in mounts.values()} == {
            one["name"] for one in GROUPS[name]["template"]["spec"]["volumes"]
        }


def test_no_pod_is_root_or_may_become_it():
    user = re.search(r"^USER (\d+):(\d+)$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    for name, container in containers():
        pod = GROUPS[name]["template"]["spec"]["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert (pod["runAsUser"], pod["fsGroup"]) == tuple(map(int, user.groups()))
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "/tmp" in {
            mount["mountPath"] for mount in container["volumeMounts"]
        }  # it alone is written beside /dev/shm


def test_the_container_of_the_compose_file_may_do_as_little_as_a_pod():
    service = COMPOSE["services"]["sightline"]
    assert service["read_only"] is True
    assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service  # the image's own, which is not root


def test_the_object_store_fits_into_the_shared_memory_of_the_compose_file():
    (megabytes,) = re.fullmatch(r"(\d+)mb", COMPOSE["services"]["sightline"]["shm_size"]).groups()
    assert int(up.TUNED["RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES"]) < 0.95 * int(megabytes) * 1024**2


def test_the_ports_that_policy_and_service_name_are_those_of_the_pods():
    ports = {port["name"]: port["containerPort"] for _, container in containers() for port in container["ports"]}
    shipped = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    assert ports["grpc"] == shipped["grpc_options"]["port"]
    assert ports["serve"] == shipped["http_options"]["port"]
    rules = KIND_OF["NetworkPolicy", "sightline"]["spec"]["ingress"]
    named = {port["port"] for rule in rules for port in rule.get("ports", ())}
    assert {name for name in named if isinstance(name, str)} <= set(ports)
    assert KIND_OF["Service", "sightline-grpc"]["spec"]["ports"][0]["targetPort"] in ports
    open_to_clients = [rule for rule in rules if "sightline.client" in str(rule)]
    assert [port["port"] for port in open_to_clients[0]["ports"]] == ["grpc", "serve"]


def test_an_address_to_listen_on_is_checked_before_anything_starts():
    with pytest.raises(SettingsError, match="--listen: 'everywhere'"):
        up.listening_on({"applications": []}, "everywhere")
    assert up.listening_on({"http_options": {"port": 8000}}, None) == {"http_options": {"port": 8000}}
    assert up.listening_on({"http_options": {"port": 8000}}, "::") == {"http_options": {"port": 8000, "host": "::"}}
