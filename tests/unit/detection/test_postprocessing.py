"""The best anchors, selected on a GPU, give the same detections as the whole output of the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from app.detection.detections import Detections
from app.detection.options import DetectorOptions
from app.detection.postprocessing import MAX_WEAK, Postprocessor, best_of_overlapping, boxes_in_source
from app.detection.runners import top_anchors

ANCHORS, CLASSES = 500, 3


def output(images: int = 4, seed: int = 0, likely: float = 0.1) -> torch.Tensor:
    """Return an output as of a network without NMS: boxes that overlap, a few of them scored over the threshold."""
    random = torch.Generator().manual_seed(seed)
    boxes = torch.rand((images, 4, ANCHORS), generator=random) * 100 + 20
    scores = torch.rand((images, CLASSES, ANCHORS), generator=random)
    unlikely = torch.rand((images, 1, ANCHORS), generator=random) > likely
    return torch.cat([boxes, torch.where(unlikely, scores * 0.2, scores)], 1)


@pytest.mark.parametrize("class_ids", [None, [0, 2]])
@pytest.mark.parametrize("limit", [ANCHORS, 200])
def test_the_best_anchors_give_what_all_of_them_give(class_ids: list[int] | None, limit: int) -> None:
    postprocess = Postprocessor(DetectorOptions("any.pt", max_detections=20), class_ids, False)
    given = output()
    left = top_anchors(given, limit)
    assert left.shape == (4, limit, 6)
    assert left.dtype == torch.float32
    for rows, whole in zip(left.numpy(), given.numpy(), strict=True):
        assert postprocess.is_below_threshold(rows[-1])
        found, expected = postprocess.select_top(rows), postprocess.select(whole)
        assert len(expected) == 20 or class_ids
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_too_few_anchors_are_recognised_by_the_last_row() -> None:
    postprocess = Postprocessor(DetectorOptions("any.pt"), None, False)
    rows = top_anchors(output(likely=1.0), 20).numpy()
    assert not any(postprocess.is_below_threshold(each[-1]) for each in rows)


def test_a_picture_without_objects_gives_no_rows() -> None:
    postprocess = Postprocessor(DetectorOptions("any.pt"), None, False)
    for rows in top_anchors(output(likely=0.0), 50).numpy():
        assert postprocess.select_top(rows).shape == (0, 6)


def test_what_is_not_finite_comes_first_and_is_left_to_be_refused() -> None:
    postprocess = Postprocessor(DetectorOptions("any.pt"), None, False)
    given = output(images=1, likely=0.0)
    given[0, 4:, 123] = float("nan")
    rows = postprocess.select_top(top_anchors(given, 50)[0].numpy())
    with pytest.raises(ValueError, match="not finite"):
        postprocess.to_source([rows], (160, 160), [(160, 160)])


def test_of_a_final_output_only_the_threshold_the_classes_and_the_limit_take_away() -> None:
    postprocess = Postprocessor(DetectorOptions("any.pt", max_detections=2), [1], True)
    rows = np.array([[0, 0, 9, 9, score, label] for score, label in [(0.9, 1), (0.9, 0), (0.8, 1), (0.7, 1), (0.1, 1)]])
    found = postprocess.select(rows.astype(np.float32))
    np.testing.assert_allclose(found[:, 4], [0.9, 0.8])


def reported(output: np.ndarray, end_to_end: bool, class_ids: list[int] | None, **options: float) -> Detections:
    """Return what is reported of one picture; of all anchors, which must be what the best of them give."""
    postprocess = Postprocessor(DetectorOptions("any.pt", **options), class_ids, end_to_end, ANCHORS)
    ways = [postprocess.select(output)]
    if not end_to_end:
        ways.append(postprocess.select_top(top_anchors(torch.from_numpy(output)[None], ANCHORS)[0].numpy()))
    found, *others = (postprocess.to_source([rows], (160, 160), [(320, 320)])[0] for rows in ways)
    for other in others:
        assert_same(found, other)
    return found


def assert_same(one: Detections, other: Detections) -> None:
    np.testing.assert_array_equal(one.class_ids, other.class_ids)
    np.testing.assert_allclose(one.boxes, other.boxes, rtol=1e-5)
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-6)
    assert one.truncated == other.truncated


def final(rows: np.ndarray) -> np.ndarray:
    """Return anchors as a final output has them."""
    return Postprocessor(
        DetectorOptions("any.pt", confidence=0.0, iou=1.0, max_detections=ANCHORS), None, False
    ).select(rows)


@pytest.mark.parametrize("end_to_end", [False, True])
@pytest.mark.parametrize("class_ids", [None, [1]])
@pytest.mark.parametrize(("confidence", "limit"), [(0.25, 300), (0.25, 7), (0.6, 300), (0.05, 300), (1.0, 300)])
@pytest.mark.parametrize("seed", range(3))
def test_weak_boxes_change_nothing_about_the_detections(
    end_to_end: bool, class_ids: list[int] | None, confidence: float, limit: int, seed: int
) -> None:
    whole = output(images=1, seed=seed)[0].numpy()
    given = final(whole) if end_to_end else whole
    how = {"confidence": confidence, "max_detections": limit}
    without = reported(given, end_to_end, class_ids, **how)
    with_weak = reported(given, end_to_end, class_ids, weak_confidence=0.1, **how)
    assert_same(with_weak, without)
    assert without.weak is None
    if confidence > 0.1:
        assert with_weak.weak is not None
        assert 0 < len(with_weak.weak) <= MAX_WEAK
        assert (with_weak.weak.scores > 0.1).all()
        assert (with_weak.weak.scores <= confidence).all()
        assert class_ids is None or set(with_weak.weak.class_ids.tolist()) <= set(class_ids)
    else:
        assert with_weak.weak is None


def test_a_weak_box_that_is_not_finite_is_left_out_and_spoils_no_frame() -> None:
    rows = np.array([[0, 0, 9, 9, 0.9, 1], [0, 0, np.nan, 9, 0.2, 1], [0, 0, 9, 9, 0.15, 1]], np.float32)
    found = reported(rows, True, None, weak_confidence=0.1)
    assert len(found) == 1
    assert found.weak is not None
    np.testing.assert_allclose(found.weak.scores, [0.15])


@pytest.mark.parametrize("iou", [0.0, 0.45, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_overlapping_boxes_are_left_out_as_by_torchvision(iou: float, seed: int) -> None:
    from torchvision.ops import nms

    random = np.random.default_rng(seed)
    corners = random.integers(0, 40, (300, 2)) * np.float32(0.37)  # many boxes overlap by exactly the same share
    boxes = np.hstack([corners, corners + random.integers(0, 30, (300, 2))]).astype(np.float32)
    scores = np.sort(random.random(300, np.float32))[::-1].copy()
    expected = nms(torch.from_numpy(boxes), torch.from_numpy(scores), iou).tolist()
    assert best_of_overlapping(boxes, iou, 300) == expected
    assert best_of_overlapping(boxes, iou, 7) == expected[:7]


@pytest.mark.parametrize("size", [(360, 640), (720, 1280), (1080, 1919), (641, 33), (7, 900), (320, 320)])
def test_boxes_are_scaled_to_the_source_as_by_ultralytics(size: tuple[int, int]) -> None:
    from ultralytics.utils.ops import scale_boxes

    boxes = (np.random.default_rng(3).random((200, 4), np.float32) * 360 - 20).astype(np.float32)
    for shape in ((320, 320), (192, 320), (320, 32)):
        np.testing.assert_array_equal(boxes_in_source(boxes, shape, size), scale_boxes(shape, boxes.copy(), size))
