"""On a GPU: the same objects as on the CPU, whichever shapes and batches follow each other, and whatever the JPEG."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from app.core.image_header import probe
from app.detection import Detector, DetectorOptions, ImageOutcome
from app.detection.batch_loader import CpuLoader
from app.detection.detections import Detections
from app.detection.gpu_batch_loader import GpuLoader
from app.detection.letterbox import Letterbox, fit
from app.errors import ImageError
from tests.support.agreement import agree
from tests.support.paths import ROOT
from tests.support.scenes import png, scene

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Compute FP32 as such: by default cuDNN takes TF32, and a threshold then parts what is the same."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


STREET = ROOT / "configs" / "models" / "street.pt"
SIZES = [(320, 180), (200, 333), (160, 160), (640, 360), (641, 321)]


def pair(file: Path, **options: object) -> tuple[Detector, Detector]:
    """Return the same detector on the GPU and on the CPU, both in FP32."""
    return tuple(
        Detector(DetectorOptions(str(file), device=device, half=False, use_export=False, **options))
        for device in ("cuda", "cpu")
    )


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
            for found, usual in zip(threads.map(on_gpu.detect, batches), expected, strict=True):
                for ours, theirs in zip(found, usual, strict=True):
                    agree(ours, theirs)


def kinds_of(picture: np.ndarray) -> dict[str, bytes]:
    """Encode a picture in every way that is taken."""
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "plain": jpeg(picture, cv2.IMWRITE_JPEG_QUALITY, 95),
        "gray": by_pillow(picture, "L"),
        "full color": by_pillow(picture, subsampling=0),
        "half color": by_pillow(picture, subsampling=1),
        "progressive": by_pillow(picture, progressive=True),
        "with restarts": jpeg(picture, cv2.IMWRITE_JPEG_RST_INTERVAL, 4, cv2.IMWRITE_JPEG_QUALITY, 95),
        "CMYK": by_pillow(picture, "CMYK"),
        "RGB as such": by_pillow(picture, keep_rgb=True),
        "turned": by_pillow(picture, exif=turned),
        "without tables": without_tables(jpeg(picture, cv2.IMWRITE_JPEG_QUALITY, 95)),
        "PNG": png(picture),
    }


def without_tables(image: bytes) -> bytes:
    """Leave out the Huffman tables, as Motion JPEG may."""
    at = image.index(b"\xff\xc4")
    while image[at : at + 2] == b"\xff\xc4":
        image = image[:at] + image[at + 2 + int.from_bytes(image[at + 2 : at + 4], "big") :]
    return image


@pytest.mark.parametrize("size", [(640, 360), (320, 180), (1280, 720), (1920, 1080), (1001, 777)])
@pytest.mark.parametrize("decode", [True, False])
def test_pictures_of_every_kind_are_loaded_as_by_the_cpu(size: tuple[int, int], decode: bool) -> None:
    picture = cv2.GaussianBlur(scene(*size, 1), (0, 0), 3)

    def fitted(width: int, height: int) -> Letterbox:
        return fit(width, height, (320, 320), 32, rectangular=True)

    loaders = GpuLoader(fitted, torch.device("cuda"), decode), CpuLoader(fitted)
    kinds = kinds_of(picture)
    by_shape: dict[tuple[int, int], list[str]] = {}
    for name, image in kinds.items():
        header = probe(image)
        by_shape.setdefault(fitted(header.width, header.height).shape, []).append(name)
    for names in by_shape.values():
        images = [kinds[name] for name in names]
        (ours, went), (expected, _) = [loader.load(images, [probe(image) for image in images]) for loader in loaders]
        torch.cuda.synchronize()
        assert [each.error for each in went] == [None] * len(names)
        assert ours.sizes == expected.sizes
        apart = (ours.pixels.cpu().float() - expected.pixels.float()).abs()
        for name, each in zip(names, apart, strict=True):
            assert each.mean() < 1.5, (name, each.mean())
            assert each.max() < 64, (name, each.max())


def test_an_image_that_is_cut_off_leaves_the_others_to_the_gpu(checkpoints: dict[str, Path]) -> None:
    detector = Detector(DetectorOptions(str(checkpoints["yolo11.pt"]), device="cuda"))
    good = jpeg(scene(320, 180, 1))
    outcomes = detector.run([good[:-400], good, good[: len(good) // 2]])
    assert [type(outcome.error) for outcome in outcomes] == [ImageError, type(None), ImageError]


def test_damage_within_a_jpeg_harms_no_other(checkpoints: dict[str, Path]) -> None:
    on_gpu, on_cpu = pair(checkpoints["yolo11.pt"])
    good = png(scene(320, 180, 1))
    random = np.random.default_rng(3)
    expected = on_gpu.detect([good])[0]
    answered = 0
    for number in range(300):
        damaged = bytearray(jpeg(scene(320, 180, 2), *((cv2.IMWRITE_JPEG_RST_INTERVAL, 4) if number % 2 else ())))
        for at in random.integers(2 if number % 3 else 600, len(damaged), 1 + number % 20):
            damaged[at] = random.integers(0, 256)
        outcomes = on_gpu.run([good, bytes(damaged), jpeg(scene(320, 180, 3)), good])
        for outcome in (outcomes[0], outcomes[3]):
            assert outcome.detections is not None
            agree(outcome.detections, expected)
        assert outcomes[2].detections is not None
        answered += outcomes[1].error is None
        if outcomes[1].error is not None:
            assert on_cpu.run([bytes(damaged)])[0].error is not None
    assert 30 < answered < 300
    on_gpu.check()


def test_a_second_model_is_recorded_while_the_first_one_serves(checkpoints: dict[str, Path]) -> None:
    first, on_cpu = pair(checkpoints["yolo11.pt"])
    pictures = [png(scene(width, height, 1)) for width, height in SIZES]
    expected = on_cpu.detect(pictures)
    with ThreadPoolExecutor(1) as threads:
        second = Detector(DetectorOptions(str(checkpoints["yolo26.pt"]), device="cuda"))
        warming = threads.submit(second.warm_up)
        while not warming.done():
            for ours, theirs in zip(first.detect(pictures), expected, strict=True):
                agree(ours, theirs)
        warming.result()
    for detector in (first, second):
        graphs = detector._pipeline._runner._graphs
        assert graphs._graphs
        assert not graphs._broken


def test_the_demo_model_in_fp16_and_decoded_by_the_gpu_sees_the_street_as_on_the_cpu() -> None:
    from app.simulation.spec import StreetSpec
    from app.simulation.street import Street

    street = Street(StreetSpec(seed=7, width=1920, height=1080))
    jpegs = [jpeg(street.frame(number * 40).image) for number in range(8)]
    on_gpu = Detector(DetectorOptions(str(STREET), device="cuda", use_export=False))
    on_cpu = Detector(DetectorOptions(str(STREET), device="cpu", use_export=False))
    pairs = near = 0
    for ours, expected in zip(clear(on_gpu.run(jpegs)), clear(on_cpu.run(jpegs)), strict=True):
        for box, score, label in zip(expected.boxes, expected.scores, expected.class_ids, strict=True):
            if score > 0.5:
                alike = ours.boxes[ours.class_ids == label]
                near += np.abs(alike - box).max(1).min() < 24  # of which six are one pixel of the model's input
                pairs += 1
    assert pairs > 15
    assert near > 0.9 * pairs
