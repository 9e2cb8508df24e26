"""The simulated street: the same frames for the same seed, and a truth that is exact."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from app.errors import SettingsError
from app.settings.paths import CONFIGS, DEMO_MODEL
from app.simulation.spec import StreetSpec
from app.simulation.sprites import LABELS, PHASES, Look, draw_sprite
from app.simulation.street import Street

SMALL = {"width": 640, "height": 360}


@pytest.fixture(scope="module")
def street() -> Street:
    return Street(StreetSpec(seed=7, **SMALL))


def same(one, other) -> bool:
    truths = [
        (frame.truth.boxes, frame.truth.class_ids, frame.truth.identities, frame.truth.visible)
        for frame in (one, other)
    ]
    return np.array_equal(one.image, other.image) and all(
        np.array_equal(first, second) for first, second in zip(*truths, strict=True)
    )


def test_the_same_seed_draws_the_same_frame_whatever_was_drawn_before(street: Street):
    for index in (0, 999, 3, 250):
        assert same(street.frame(index), Street(StreetSpec(seed=7, **SMALL)).frame(index))


def test_another_seed_draws_another_street(street: Street):
    assert not np.array_equal(street.frame(10).image, Street(StreetSpec(seed=8, **SMALL)).frame(10).image)


def test_a_frame_has_the_size_that_was_asked_for(street: Street):
    image = street.frame(0).image
    assert (image.shape, image.dtype) == ((360, 640, 3), np.uint8)


def test_boxes_lie_within_the_frame_and_shares_between_0_and_1(street: Street):
    for index in range(0, 2000, 100):
        truth = street.frame(index).truth
        assert (truth.boxes >= 0).all()
        assert (truth.boxes[:, [0, 2]] <= 640).all()
        assert (truth.boxes[:, [1, 3]] <= 360).all()
        assert (truth.boxes[:, 2:] > truth.boxes[:, :2]).all()
        assert ((truth.visible >= 0) & (truth.visible <= 1)).all()


@pytest.mark.parametrize("class_id", range(len(LABELS)))
def test_a_silhouette_fills_its_box_exactly(class_id: int):
    look = Look(class_id, 80, (200, 60, 40), (60, 180, 60), (110, 150, 200), 1.0)
    for phase in range(PHASES):
        mask = draw_sprite(look, phase).mask
        assert cv2.boundingRect(mask) == (0, 0, mask.shape[1], mask.shape[0])
        assert all(side.any() for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))


def test_what_is_drawn_lies_within_the_boxes():
    spec = {"seed": 5, "width": 640, "height": 360}
    full, empty = Street(StreetSpec(objects=4, **spec)).frame(30), Street(StreetSpec(objects=0, **spec)).frame(30)
    changed = np.abs(full.image.astype(int) - empty.image).max(axis=2) > 60
    outside = changed.copy()
    for x1, y1, x2, y2 in full.truth.boxes.astype(int):
        outside[max(0, y1 - 4) : y2 + 4, max(0, x1 - 4) : x2 + 4] = False
    assert changed.any()
    assert not outside.any()


def test_who_is_hidden_by_others_is_less_visible():
    crowded = Street(StreetSpec(seed=3, objects=30, **SMALL)).frame(100).truth
    alone = Street(StreetSpec(seed=3, objects=1, **SMALL))
    lone = np.concatenate([alone.frame(index).truth.visible for index in range(0, 1500, 25)])
    assert crowded.visible.min() < 0.7
    assert lone.max() > 0.99


def test_a_road_user_keeps_its_identity_and_class_while_it_crosses(street: Street):
    seen: dict[int, int] = {}
    places: dict[int, float] = {}
    for index in range(0, 200, 2):
        truth = street.frame(index).truth
        for identity, class_id, box in zip(truth.identities, truth.class_ids, truth.boxes, strict=True):
            assert seen.setdefault(int(identity), int(class_id)) == class_id
            if box[0] > 0 and box[2] < 640:
                centre = float(box[0] + box[2]) / 2
                assert abs(centre - places.get(int(identity), centre)) < 64
                places[int(identity)] = centre
    assert len(seen) > 3


def test_every_class_appears():
    found: set[int] = set()
    for seed in range(12):
        found |= set(Street(StreetSpec(seed=seed, objects=10, **SMALL)).frame(0).truth.class_ids.tolist())
    assert found == set(range(len(LABELS)))


def test_light_differs_from_street_to_street():
    levels = [Street(StreetSpec(seed=seed, **SMALL)).frame(0).image.mean() for seed in range(16)]
    assert max(levels) > 1.8 * min(levels)


def test_an_address_says_everything_about_a_street():
    spec = StreetSpec.parse("synthetic://street?seed=9&fps=12.5&width=640&height=360&objects=3&loop=true")
    assert spec == StreetSpec(9, 12.5, 640, 360, 3)
    assert StreetSpec.parse("synthetic://street") == StreetSpec()


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("synthetic://beach", "synthetic://street"),
        ("synthetic://street?colour=red", "'colour'"),
        ("synthetic://street?seed=x", "seed='x'"),
        ("synthetic://street?width=7", "width=7"),
        ("synthetic://street?fps=0", "fps=0"),
        ("synthetic://street?fps=nan", "fps=nan"),
    ],
)
def test_a_mistake_in_the_address_is_one_line(url: str, part: str):
    with pytest.raises(SettingsError) as caught:
        StreetSpec.parse(url)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


class TestTheDemoModel:
    def test_it_is_small_and_names_no_machine(self):
        content = DEMO_MODEL.read_bytes()
        assert len(content) < 6_000_000
        assert not re.search(rb"/(tmp|home|root|opt|work|usr)/", content)

    def test_its_card_has_what_was_measured(self):
        card = (CONFIGS / "models" / "street.md").read_text()
        measured = re.search(r"\| all \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", card)
        assert measured is not None
        assert float(measured.group(3)) >= 0.9
