"""What was changed at run time, laid over what is configured: the last word on a camera wins."""

from __future__ import annotations

from app.fleet import Origin, Overrides
from app.settings.camera_lists import ConfiguredCameras
from app.settings.cameras import CameraSettings
from tests.support.fleet import camera, configured

BOTH = configured(camera("a"), camera("b"))


def reported(changes: Overrides[CameraSettings], said: ConfiguredCameras) -> dict[str, Origin]:
    return {one.settings.id: one.origin for one in changes.applied_to(said)}


def test_without_changes_the_configured_cameras_are_wanted():
    assert reported(Overrides(), BOTH) == {"a": Origin.CONFIGURED, "b": Origin.CONFIGURED}


def test_a_camera_can_be_added_changed_and_removed():
    changes = Overrides().with_entry(camera("c"), BOTH).with_entry(camera("a", fps=2), BOTH).without_entry("b", BOTH)
    assert reported(changes, BOTH) == {"a": Origin.CHANGED, "c": Origin.ADDED}
    assert changes.applied_to(BOTH)[0].settings.fps == 2


def test_a_change_holds_while_the_configuration_says_the_same_of_its_camera():
    changes = Overrides().with_entry(camera("a", fps=2), BOTH).without_entry("b", BOTH).with_entry(camera("c"), BOTH)
    other_elsewhere = configured(camera("d"), camera("b"), camera("a"))
    assert changes.in_force(other_elsewhere) == changes


def test_a_camera_of_which_the_configuration_says_something_new_is_as_that_says():
    changes = Overrides().with_entry(camera("a", fps=2), BOTH).without_entry("b", BOTH).with_entry(camera("c"), BOTH)
    now = configured(camera("a", fps=3), camera("b", fps=4), camera("c", fps=5))
    assert changes.in_force(now) == Overrides()
    assert {one.settings.fps for one in changes.in_force(now).applied_to(now)} == {3, 4, 5}


def test_a_camera_changed_at_run_time_and_then_taken_out_of_the_configuration_is_gone():
    changes = Overrides().with_entry(camera("a", fps=2), BOTH)
    now = configured(camera("b"))
    assert reported(changes.in_force(now), now) == {"b": Origin.CONFIGURED}


def test_a_camera_removed_and_put_into_the_configuration_again_is_back():
    changes = Overrides().without_entry("a", BOTH)
    without = configured(camera("b"))
    forgotten = changes.in_force(without)
    assert set(reported(forgotten.in_force(BOTH), BOTH)) == {"a", "b"}


def test_adding_and_removing_leaves_nothing_behind():
    changes = Overrides().with_entry(camera("c"), BOTH).without_entry("c", BOTH)
    assert changes == Overrides()


def test_a_change_back_to_what_is_configured_is_no_change():
    changes = Overrides().with_entry(camera("a", fps=2), BOTH).with_entry(camera("a"), BOTH)
    assert changes == Overrides()
