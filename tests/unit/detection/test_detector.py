"""The detector's conduct: one image's fault stays its own, and a wrong setting is one clear line."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from app.core.wanted import AS_CONFIGURED, Wanted
from app.detection import Detector, DetectorOptions, Thresholds
from app.detection.models.network import Network
from app.errors import ImageError, InferenceFailed, ModelUnavailable, RequestError, SettingsError
from tests.support.scenes import SIZE, png, scene

GRAY = np.full((160, 160, 3), 90, np.uint8)
GOOD = png(scene(320, 180, 1))


def detector_of(file: Path, **options: object) -> Detector:
    return Detector(DetectorOptions(model=str(file), **options))


def test_a_detector_tells_what_it_runs(models: dict[str, Path]) -> None:
    detector = detector_of(models["yolo11.pt"])
    assert detector.labels == {0: "car", 1: "bus", 2: "person"}
    assert detector.model_name == "yolo11.pt"
    assert detector.device == "cpu" or detector.device.startswith("cuda")


def test_no_images_give_no_outcomes(models: dict[str, Path]) -> None:
    assert detector_of(models["yolo11.pt"]).run([]) == []


def test_images_that_cannot_be_decoded_leave_the_others_unharmed(models: dict[str, Path]) -> None:
    detector = detector_of(models["yolo11.pt"])
    alone = detector.detect([GOOD])[0]
    outcomes = detector.run([b"", GOOD, GOOD[:-20], b"GIF89a"])
    assert [type(outcome.error) for outcome in outcomes] == [ImageError, type(None), ImageError, ImageError]
    assert [outcome.detections is None for outcome in outcomes] == [True, False, True, True]
    np.testing.assert_array_equal(outcomes[1].detections.boxes, alone.boxes)
    assert (outcomes[1].width, outcomes[1].height, outcomes[0].width) == (320, 180, 0)
    assert outcomes[1].decode_ms > 0
    assert outcomes[1].inference_ms > 0


@pytest.mark.parametrize("name", ["yolo11.pt", "yolo11-dynamic.onnx"])
def test_pictures_decoded_already_give_what_their_encoded_ones_give(models: dict[str, Path], name: str) -> None:
    detector = detector_of(models[name])
    for pictures in ([scene(320, 180, 1)], [scene(320, 180, 1), scene(320, 180, 2)], [scene(320, 180, 1), GRAY]):
        expected = detector.detect([png(picture) for picture in pictures])
        assert sum(map(len, expected)) > 0
        for found, other in zip(detector.detect_decoded(pictures), expected, strict=True):
            np.testing.assert_allclose(found.boxes, other.boxes, atol=0.05)


def test_the_plain_form_raises_the_first_error(models: dict[str, Path]) -> None:
    with pytest.raises(ImageError, match="no image"):
        detector_of(models["yolo11.pt"]).detect([GOOD, b"junk", b""])


class Picky:
    """A network that fails on any batch with a dark picture in it."""

    def __init__(self, network: object) -> None:
        self._network = network

    def __getattr__(self, name: str) -> object:
        return getattr(self._network, name)

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        if (batch.mean((1, 2, 3)) < 0.2).any():
            raise RuntimeError("kernel failed\nat line 3")
        return self._network(batch)


def test_only_the_picture_on_which_the_model_fails_is_blamed(models: dict[str, Path]) -> None:
    options = DetectorOptions(model=str(models["yolo11.pt"]))
    detector = Detector(options, make_network=lambda options: Picky(Network(options)))
    dark = png(np.zeros((180, 320, 3), np.uint8))
    outcomes = detector.run([GOOD, dark, GOOD])
    assert [type(outcome.error) for outcome in outcomes] == [type(None), InferenceFailed, type(None)]
    assert "kernel failed at line 3" in str(outcomes[1].error)
    assert len(outcomes[2].detections) == len(outcomes[0].detections)


def test_numbers_that_are_not_finite_are_a_failure_of_the_model(models: dict[str, Path]) -> None:
    class Broken(Picky):
        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            output = self._network(batch).clone()
            output[:, 0] = float("nan")
            return output

    options = DetectorOptions(model=str(models["yolo11.pt"]))
    detector = Detector(options, make_network=lambda options: Broken(Network(options)))
    assert isinstance(detector.run([GOOD])[0].error, InferenceFailed)


def test_threads_may_share_a_detector(models: dict[str, Path]) -> None:
    detector = detector_of(models["yolo11.pt"])
    pictures = [png(scene(320, 180, seed)) for seed in range(4)]
    expected = [each.boxes for each in detector.detect(pictures)]
    found: dict[int, np.ndarray] = {}

    def work(index: int) -> None:
        for _ in range(5):
            found[index] = detector.detect([pictures[index]])[0].boxes

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(4):
        np.testing.assert_allclose(found[index], expected[index], atol=0.05)


@pytest.mark.parametrize("name", ["yolo11.pt", "yolo11-static.onnx", "yolo11-batch4.onnx"])
def test_a_detector_warms_up_with_the_threads_it_is_given(models: dict[str, Path], name: str) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        detector = detector_of(models[name], threads=1)
        detector.warm_up()
        assert torch.get_num_threads() == 1
        if name.endswith(".onnx"):
            graph = detector._network.session
            session = graph._on_all_cores if graph else detector._network._backend.backend.session
            assert session.get_session_options().intra_op_num_threads == 1
        assert len(detector.detect([GOOD, GOOD])) == 2
        detector.close()
    finally:
        torch.set_num_threads(before)


def refusal(model: object, **options: object) -> str:
    with pytest.raises((ModelUnavailable, SettingsError)) as raised:
        Detector(DetectorOptions(model=str(model), **options))
    text = str(raised.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


def test_a_missing_file_is_named_with_its_mend(tmp_path: Path) -> None:
    text = refusal(tmp_path / "absent.pt")
    assert "absent.pt" in text
    assert "DETECTOR_MODEL" in text


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    for name in ("notes.pt", "notes.onnx", "notes.txt"):
        file = tmp_path / name
        file.write_text("hello")
        assert name in refusal(file)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "some_openvino_model").mkdir()
    assert "some_openvino_model" in refusal(tmp_path / "some_openvino_model")


def test_a_checkpoint_that_would_run_code_is_refused_and_does_not_run_it(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            import os

            return os.system, (f"touch {tmp_path}/sprung",)

    torch.save({"model": Trap()}, tmp_path / "trap.pt")
    assert "not trusted" in refusal(tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


def test_a_model_for_another_task_is_refused(models: dict[str, Path]) -> None:
    assert "'segment'" in refusal(models["segment.pt"])


def test_an_address_is_no_model() -> None:
    assert "user" not in refusal("https://user:secret@host.example/yolo.pt")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_so(models: dict[str, Path]) -> None:
    for device in ("cuda", "cuda:1"):
        text = refusal(models["yolo11.pt"], device=device)
        assert device in text
        assert "no GPU" in text


def test_an_unknown_label_is_refused_with_those_there_are(models: dict[str, Path]) -> None:
    with pytest.raises(SettingsError, match=r"'dog' is no label of yolo11\.pt; allowed are car, bus, person"):
        detector_of(models["yolo11.pt"], classes=("car", "dog"))


def test_a_static_export_has_one_image_size(models: dict[str, Path]) -> None:
    with pytest.raises(SettingsError, match=f"{SIZE}×{SIZE}"):
        detector_of(models["yolo11-static.onnx"], image_size=320)


def test_a_foreign_onnx_without_metadata_runs_at_the_size_of_its_graph(models: dict[str, Path], tmp_path: Path) -> None:
    import onnx

    graph = onnx.load(str(models["yolo11-batch4.onnx"]))
    del graph.metadata_props[:]
    onnx.save(graph, str(tmp_path / "foreign.onnx"))
    found = detector_of(tmp_path / "foreign.onnx").detect([GOOD])[0]
    expected = detector_of(models["yolo11-batch4.onnx"]).detect([GOOD])[0]
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.01)


def test_a_network_that_is_no_detector_is_found_out_when_it_warms_up(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])
    classes = helper.make_tensor_value_info("classes", TensorProto.FLOAT, [1, 3])
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["classes"]),
    ]
    graph = helper.make_graph(nodes, "classifier", [image], [classes])
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        tmp_path / "c.onnx",
    )
    with pytest.raises(ModelUnavailable, match="no detection model"):
        detector_of(tmp_path / "c.onnx").warm_up()


@pytest.mark.parametrize("name", ["yolo11.pt", "yolo26.pt"])
def test_other_thresholds_hold_from_the_next_image_on_without_loading_anything(
    models: dict[str, Path], name: str
) -> None:
    detector = detector_of(models[name], confidence=0.25)
    before = detector.detect([GOOD])[0]
    detector.retune(Thresholds(confidence=0.6, iou=0.7, classes=("car",)))
    after = detector.detect([GOOD])[0]
    kept = (before.scores > 0.6) & (before.class_ids == 0)
    assert 0 < kept.sum() < len(before)
    np.testing.assert_allclose(after.scores, before.scores[kept], rtol=1e-5)
    assert len(detector_of(models[name], confidence=0.6, classes=("car",)).detect([GOOD])[0]) == len(after)


def test_a_label_that_the_model_has_not_changes_nothing(models: dict[str, Path]) -> None:
    detector = detector_of(models["yolo11.pt"])
    before = detector.detect([GOOD])[0]
    with pytest.raises(SettingsError, match="'dog' is no label"):
        detector.retune(Thresholds(confidence=0.9, iou=0.7, classes=("dog",)))
    assert len(detector.detect([GOOD])[0]) == len(before)


@pytest.mark.parametrize("name", ["yolo11.pt", "yolo26.pt", "yolo11-dynamic.onnx", "yolo26-static.onnx"])
def test_images_of_one_batch_are_reported_each_as_it_is_wanted(models: dict[str, Path], name: str) -> None:
    detector = detector_of(models[name], confidence=0.5, classes=("car", "bus"))
    wanted = [
        AS_CONFIGURED,
        Wanted(confidence=0.7),
        Wanted(confidence=0.3),
        Wanted(classes=("person",)),
        Wanted(0.4, ("bus", "person")),
    ]
    outcomes = detector.run([GOOD] * len(wanted), wanted=wanted)
    found = [outcome.detections for outcome in outcomes]
    for options, each in zip(
        (
            {"confidence": 0.5, "classes": ("car", "bus")},
            {"confidence": 0.7, "classes": ("car", "bus")},
            {"confidence": 0.3, "classes": ("car", "bus")},
            {"confidence": 0.5, "classes": ("person",)},
            {"confidence": 0.4, "classes": ("bus", "person")},
        ),
        found,
        strict=True,
    ):
        expected = detector_of(models[name], **options).detect([GOOD])[0]
        np.testing.assert_array_equal(each.class_ids, expected.class_ids)
        np.testing.assert_allclose(each.scores, expected.scores, rtol=1e-4)
    assert len({len(each) for each in found}) >= 3


@pytest.mark.parametrize("name", ["yolo11.pt", "yolo26.pt", "yolo11-dynamic.onnx"])
def test_a_camera_that_is_not_tracked_is_reported_without_weak_boxes_and_all_the_same_detections(
    models: dict[str, Path], name: str
) -> None:
    (plain,) = detector_of(models[name], confidence=0.5).detect([GOOD])
    tracked, untracked = detector_of(models[name], confidence=0.5, weak_confidence=0.1).detect(
        [GOOD, GOOD], [AS_CONFIGURED, Wanted(tracked=False)]
    )
    for each in (tracked, untracked):
        np.testing.assert_array_equal(each.class_ids, plain.class_ids)
        np.testing.assert_allclose(each.scores, plain.scores, rtol=1e-4)
    assert tracked.weak is not None
    assert untracked.weak is None
    assert plain.weak is None


def test_a_label_that_the_model_has_not_is_refused_for_its_image_alone(models: dict[str, Path]) -> None:
    detector = detector_of(models["yolo11.pt"])
    alone = detector.detect([GOOD])[0]
    outcomes = detector.run([GOOD, GOOD, b"none"], wanted=[Wanted(classes=("dog",)), AS_CONFIGURED, AS_CONFIGURED])
    assert [type(outcome.error) for outcome in outcomes] == [RequestError, type(None), ImageError]
    assert str(outcomes[0].error) == "classes: 'dog' is no label of yolo11.pt; allowed are car, bus, person"
    assert len(outcomes[1].detections) == len(alone)
    assert [type(one.error) for one in detector.run([GOOD], wanted=[Wanted(classes=("dog",))])] == [RequestError]
    with pytest.raises(RequestError, match="'dog' is no label"):
        detector.check_wanted(Wanted(classes=("car", "dog")))


def test_a_threshold_of_nothing_reports_the_best_up_to_the_limit(models: dict[str, Path]) -> None:
    detector = detector_of(models["yolo11.pt"], max_detections=20)
    (outcome,) = detector.run([GOOD], wanted=[Wanted(confidence=0.0)])
    assert len(outcome.detections) == 20
    assert outcome.detections.truncated
    assert len(detector.run([GOOD], wanted=[Wanted(confidence=1.0)])[0].detections) == 0
