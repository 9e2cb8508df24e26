"""On a GPU: the same objects as on the CPU, whichever shapes and batches follow each other, and whatever the JPEG."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detection_scenes import png, scene
from PIL import Image

from app.detection import Detector, DetectorOptions, ImageOutcome
from app.detections import Detections
from app.errors import ImageError

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

STREET = Path(__file__).resolve().parents[3] / "configs" / "models" / "street.pt"
SIZES = [(320, 180), (200, 333), (160, 160), (640, 360), (641, 321)]


def pair(file: Path, **options: object) -> tuple[Detector, Detector]:
    """Give the same detector on the GPU and on the CPU, both in FP32."""
    return tuple(
        Detector(DetectorOptions(str(file), device=device, half=False, use_export=False, **options))
        for device in ("cuda", "cpu")
    )


def agree(ours: Detections, expected: Detections, pixels: float = 1.0) -> None:
    """Compare as sets: scores that differ in the last digit may change places."""
    assert len(ours) == len(expected)
    left = set(range(len(expected)))
    for box, score, label in zip(ours.boxes, ours.scores, ours.class_ids, strict=True):
        near = [
            index
            for index in left
            if expected.class_ids[index] == label
            and abs(expected.scores[index] - score) < 0.01
            and np.abs(expected.boxes[index] - box).max() < pixels
        ]
        assert near, f"no counterpart for {label} {score} {box}"
        left.remove(near[0])


def jpeg(image: np.ndarray, *parameters: int) -> bytes:
    return cv2.imencode(".jpg", image, parameters)[1].tobytes()


def by_pillow(image: np.ndarray, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image[..., ::-1]).convert(mode).save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


def clear(outcomes: list[ImageOutcome]) -> list[Detections]:
    assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
    return [outcome.detections for outcome in outcomes if outcome.detections is not None]


@pytest.mark.parametrize("name", ["yolo11.pt", "yolo26.pt"])
def test_batches_of_every_length_and_shape_in_any_order_see_what_the_cpu_sees(
    checkpoints: dict[str, Path], name: str
) -> None:
    on_gpu, on_cpu = pair(checkpoints[name])
    pictures = [png(scene(width, height, seed)) for seed in range(3) for width, height in SIZES]
    expected = on_cpu.detect(pictures)
    assert sum(map(len, expected)) > 60
    order = np.random.default_rng(0)
    for count in (1, 2, 3, 5, 8, 15, 1, 4, 15, 7):
        chosen = order.permutation(len(pictures))[:count]
        for ours, index in zip(on_gpu.detect([pictures[index] for index in chosen]), chosen, strict=True):
            agree(ours, expected[index])


def test_a_warmed_detector_records_nothing_more_for_common_sizes(checkpoints: dict[str, Path]) -> None:
    detector = Detector(DetectorOptions(str(checkpoints["yolo11.pt"]), device="cuda"))
    detector.warm_up()
    held = torch.cuda.memory_allocated()
    for count in (1, 3, 7, 16):
        clear(detector.run([png(scene(1280, 720, count))] * count))
    assert torch.cuda.memory_allocated() == held


def test_more_anchors_over_the_threshold_than_are_copied_are_all_looked_at(checkpoints: dict[str, Path]) -> None:
    on_gpu, on_cpu = pair(checkpoints["yolo11.pt"], confidence=0.0001, image_size=640, iou=0.95, max_detections=2000)
    picture = png(scene(640, 640, 4))
    expected = on_cpu.detect([picture])[0]
    assert len(expected) > 1024
    ours = on_gpu.detect([picture])[0]
    assert abs(len(ours) - len(expected)) <= 0.01 * len(expected)


def test_the_nms_free_head_sees_what_it_sees_on_the_cpu(checkpoints: dict[str, Path]) -> None:
    on_gpu, on_cpu = pair(checkpoints["yolo26.pt"], nms_free=True, confidence=0.3)
    pictures = [png(scene(320, 180, seed)) for seed in range(5)]
    for ours, expected in zip(on_gpu.detect(pictures), on_cpu.detect(pictures), strict=True):
        agree(ours, expected)


def test_threads_may_share_a_detector(checkpoints: dict[str, Path]) -> None:
    on_gpu, on_cpu = pair(checkpoints["yolo11.pt"])
    batches = [
        [png(scene(width, height, seed)) for seed in range(count)] for count, (width, height) in enumerate(SIZES, 1)
    ]
    expected = [on_cpu.detect(batch) for batch in batches]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            for found, wanted in zip(threads.map(on_gpu.detect, batches), expected, strict=True):
                for ours, theirs in zip(found, wanted, strict=True):
                    agree(ours, theirs)


@pytest.mark.parametrize("gpu_decode", [True, False])
def test_jpegs_of_every_kind_show_what_the_cpu_decodes(checkpoints: dict[str, Path], gpu_decode: bool) -> None:
    detector = Detector(
        DetectorOptions(str(checkpoints["yolo11.pt"]), device="cuda", half=False, gpu_decode=gpu_decode)
    )
    picture = cv2.GaussianBlur(scene(320, 180, 1), (0, 0), 2)
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = jpeg(picture, cv2.IMWRITE_JPEG_QUALITY, 95)
    kinds = {
        "plain": plain,
        "gray": by_pillow(picture, "L"),
        "full color": by_pillow(picture, subsampling=0),
        "half color": by_pillow(picture, subsampling=1),
        "progressive": by_pillow(picture, progressive=True),
        "with restarts": jpeg(picture, cv2.IMWRITE_JPEG_RST_INTERVAL, 4, cv2.IMWRITE_JPEG_QUALITY, 95),
        "CMYK": by_pillow(picture, "CMYK"),
        "turned": by_pillow(picture, exif=exif),
        "lossless": png(picture),
    }
    outcomes = detector.run([*kinds.values(), plain[:-400], plain[: len(plain) // 2]])
    assert [type(outcome.error) for outcome in outcomes[-2:]] == [ImageError, ImageError]
    on_cpu = Detector(DetectorOptions(str(checkpoints["yolo11.pt"]), device="cpu"))
    for kind, ours, expected in zip(kinds, outcomes, on_cpu.run(list(kinds.values())), strict=False):
        assert (ours.width, ours.height) == (expected.width, expected.height), kind
        # An untrained network magnifies what differs in a pixel's last digits: most boxes must be there again.
        near = [np.abs(ours.detections.boxes - box).max(1).min() < 4 for box in expected.detections.boxes]
        assert np.mean(near) > 0.8, (kind, near)


def test_damage_within_a_jpeg_is_the_same_on_the_gpu_as_on_the_cpu_and_harms_no_other(
    checkpoints: dict[str, Path],
) -> None:
    on_gpu, on_cpu = pair(checkpoints["yolo11.pt"])
    good = jpeg(scene(320, 180, 1))
    random = np.random.default_rng(3)
    expected = on_gpu.detect([good])[0]
    for _ in range(100):
        damaged = bytearray(jpeg(scene(320, 180, 2)))
        for at in random.integers(0, len(damaged), 20):
            damaged[at] = random.integers(0, 256)
        outcomes = on_gpu.run([good, bytes(damaged), good])
        for outcome in outcomes[::2]:
            assert outcome.detections is not None
            # Beside a damaged one it may come from the CPU's decoder, whose pixels are slightly others.
            assert abs(len(outcome.detections) - len(expected)) <= 0.2 * len(expected)
        refused = on_cpu.run([bytes(damaged)])[0].error
        assert (outcomes[1].error is None) or (refused is not None)


def test_the_demo_model_in_fp16_and_decoded_by_the_gpu_sees_the_street_as_on_the_cpu() -> None:
    from app.simulation.spec import StreetSpec
    from app.simulation.street import Street

    street = Street(StreetSpec(seed=7, width=1920, height=1080))
    jpegs = [jpeg(street.frame(number * 40).image) for number in range(8)]
    on_gpu = Detector(DetectorOptions(str(STREET), device="cuda", use_export=False))
    on_cpu = Detector(DetectorOptions(str(STREET), device="cpu", use_export=False))
    pairs = 0
    for ours, expected in zip(clear(on_gpu.run(jpegs)), clear(on_cpu.run(jpegs)), strict=True):
        for box, score, label in zip(expected.boxes, expected.scores, expected.class_ids, strict=True):
            if score > 0.5:
                alike = ours.boxes[ours.class_ids == label]
                # One pixel of the model's input is six of the source.
                assert np.abs(alike - box).max(1).min() < 18
                pairs += 1
    assert pairs > 15
