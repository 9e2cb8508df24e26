"""A Ray cluster that runs already, started by ``ray start``; the system is deployed onto it by Ray's own means."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray.serve._private.constants import SERVE_NAMESPACE

from app.core.ports import free_port
from app.errors import BrokerUnavailable, DeliveryUnavailable
from app.publisher.kafka.embedded_broker import EmbeddedBroker
from deployments.publisher import find_broker
from tests.support.existing_cluster import ExistingCluster, existing_cluster
from tests.support.topic import Record, TopicReader
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(420)
TOPIC = "events.detections"
WITHOUT_MODEL = "deployments.graph:build_inference_without_model"
"""It loads no torch; what these tests are about does not depend on the detector."""


def light(config: dict[str, Any]) -> dict[str, Any]:
    config["applications"][0]["import_path"] = WITHOUT_MODEL
    return config


def with_variables(config: dict[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    for application in config["applications"]:
        application["runtime_env"] = {"env_vars": dict(variables)}
    return config


def some_events(broker: str, topic: str = TOPIC, count: int = 3) -> list[Record]:
    reader = TopicReader(broker, topic)
    try:
        return reader.read(lambda records: len(records) >= count, 180)
    finally:
        reader.close()


def wait_until_ended(processes: list[int]) -> None:
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes), 60, f"the end of {processes}")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Where Ray is started."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Where the user's shell is."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


@pytest.mark.slow
def test_serve_deploy_from_another_folder_brings_events_to_the_embedded_broker_and_serve_shutdown_leaves_nothing(
    here: Path, elsewhere: Path
):
    with existing_cluster(here) as cluster:
        cluster.deploy(light(cluster.config()), elsewhere)
        assert {record.key for record in some_events(cluster.broker())} == {"solo"}
        brokers = cluster.brokers()
        assert len(brokers) == 1
        cluster.shut_down(elsewhere)
        cluster.gone()
        wait_until_ended(brokers)


@pytest.mark.slow
def test_the_rest_api_deploys_it_as_shipped_and_another_revision_leaves_nothing_of_the_first(here: Path):
    with existing_cluster(here) as cluster:
        cluster.put(cluster.config())
        assert some_events(cluster.broker())[0].value["detections"] is not None
        first = cluster.brokers()
        wait_for(lambda: cluster.trouble() == "", 60, "a status without trouble")

        cluster.put(cluster.config(revision=2))
        wait_for(lambda: set(cluster.brokers()) - set(first), 180, "another broker")
        wait_until_ended(first)
        counted = wait_for(lambda: single(cluster), 120, "one actor of each kind")
        assert counted == {"BrokerActor": 1, "KafkaPublisher": 1, "DetectionIngress": 1, "CameraActor": 1}
        assert some_events(cluster.broker())

        cluster.put({**cluster.config(), "applications": []})
        wait_for(
            lambda: not cluster.nodes_of("Broker") | cluster.nodes_of("Camera"), 90, "the end of both applications"
        )
        assert cluster.brokers() == []


def single(cluster: ExistingCluster) -> dict[str, int]:
    """Count the actors of some kinds; nothing while there are two of one."""
    kinds = ("BrokerActor", "KafkaPublisher", "DetectionIngress", "CameraActor")
    names = [actor["class_name"] for actor in cluster.actors()]
    counted = {kind: sum(kind in name for name in names) for kind in kinds}
    return counted if set(counted.values()) == {1} else {}


@pytest.mark.slow
def test_a_named_kafka_gets_the_events_and_what_is_deployed_next_decides_whether_there_is_an_embedded_broker(
    here: Path, elsewhere: Path
):
    settings = here / "mine.yaml"
    settings.write_text(yaml.safe_dump({"kafka": {"topic": "named", "create_topic": True, "partitions": 1}}))
    with existing_cluster(here) as cluster, EmbeddedBroker(port=free_port()) as kafka:
        named = {"KAFKA_BOOTSTRAP_SERVERS": kafka.address}
        cluster.deploy(with_variables(light(cluster.config(settings=str(settings))), named), elsewhere)
        assert some_events(kafka.address, "named")
        assert cluster.nodes_of("BrokerActor") == set()

        # A relative path is looked for where Ray was started.
        cluster.deploy(light(cluster.config(settings="mine.yaml")), elsewhere)
        assert some_events(cluster.broker(), "named")
        brokers = cluster.brokers()

        cluster.deploy(with_variables(light(cluster.config(settings="mine.yaml")), named), elsewhere)
        wait_until_ended(brokers)
        wait_for(lambda: not cluster.nodes_of("BrokerActor"), 60, "the end of the broker's actor")
        before = len(some_events(kafka.address, "named"))
        assert len(some_events(kafka.address, "named", before + 3)) > before

        cluster.deploy(light(cluster.config(settings="nowhere.yaml")), elsewhere)
        reported = wait_for(
            lambda: cluster.messages() if "nowhere.yaml" in cluster.messages() else None, 60, "what is wrong"
        )
        assert f"it was looked for in {here} and in " in reported
        assert "Traceback" not in reported
        cluster.shut_down(elsewhere)
        cluster.gone()


@pytest.mark.slow
def test_serve_run_joins_it_from_another_folder_and_ctrl_c_leaves_the_cluster_as_it_was(here: Path, elsewhere: Path):
    with existing_cluster(here) as cluster:
        with cluster.serving(light(cluster.config()), elsewhere) as driver:
            assert some_events(cluster.broker())
            brokers = cluster.brokers()
            driver.interrupt()
        cluster.gone()
        wait_until_ended(brokers)


@pytest.mark.slow
def test_up_joins_it_from_another_folder_with_the_settings_file_and_the_spool_that_are_there(
    here: Path, elsewhere: Path
):
    (elsewhere / "mine.yaml").write_text(yaml.safe_dump({"kafka": {"topic": "of.elsewhere"}}))
    up = (sys.executable, "-m", "app.cli", "up", "--config", "system.yaml")
    with existing_cluster(here) as cluster:
        config = light(cluster.config(settings="mine.yaml"))
        with cluster.serving(config, elsewhere, *up, SIGHTLINE_SPOOL_DIR="kept") as driver:
            assert some_events(cluster.broker(), "of.elsewhere")
            assert (elsewhere / "kept" / "spool.db").is_file()
            driver.interrupt()
        cluster.gone()


@pytest.mark.slow
def test_in_a_cluster_of_several_nodes_the_embedded_broker_is_on_the_head_with_those_who_send_to_it(
    here: Path, elsewhere: Path
):
    with existing_cluster(here, cpus=0) as cluster, cluster.another_node(cpus=4) as node:
        cluster.deploy(light(cluster.config()), elsewhere)
        assert some_events(cluster.broker())
        # It listens on that node's loopback only.
        head = cluster.head_node()
        assert cluster.nodes_of("BrokerActor") == cluster.nodes_of("KafkaPublisher") == {head}
        assert cluster.nodes_of("ObjectDetector") not in (set(), {head})
        cluster.shut_down(elsewhere)
        cluster.gone()
        assert not [line for line in node.survivors() if "Serve" in line or "Camera" in line]


async def test_a_broker_that_serve_has_not_started_is_reported_as_what_is_waited_for(cluster: None):
    with pytest.raises(DeliveryUnavailable, match="waiting for the embedded broker: Serve has not started its actor"):
        await find_broker("nobody", patience_s=0)


async def test_of_a_broker_for_which_no_node_has_room_the_command_that_tells_why_is_reported(cluster: None):
    @ray.remote(num_cpus=0, resources={"nowhere": 1})
    class Broker:
        def address(self) -> str:
            return "127.0.0.1:9092"

    waiting = Broker.options(name="without-a-node", namespace=SERVE_NAMESPACE).remote()
    with pytest.raises(DeliveryUnavailable, match=r"its actor does not answer; .* \(ray status\)"):
        await find_broker("without-a-node", patience_s=0.5)
    ray.kill(waiting)


@pytest.mark.idle
async def test_of_a_broker_whose_actor_failed_its_own_words_are_reported(cluster: None):
    @ray.remote(num_cpus=0)
    class Broker:
        def __init__(self) -> None:
            raise BrokerUnavailable("port 9092 is taken")

        def address(self) -> str:
            return "127.0.0.1:9092"

    failing = Broker.options(name="that-fails", namespace=SERVE_NAMESPACE).remote()
    with pytest.raises(DeliveryUnavailable, match=r"its actor failed: .*port 9092 is taken"):
        await find_broker("that-fails", patience_s=5)
    del failing
