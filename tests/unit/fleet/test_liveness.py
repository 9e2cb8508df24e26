"""An actor that has fallen silent, distinguished from all that only looks like it."""

from __future__ import annotations

from app.fleet.liveness import LivenessProbe


def unanswered(silence: LivenessProbe, actor: str, waited_s: float = 3.0) -> bool:
    return silence.record(actor, answered=False, waited_s=waited_s)


def test_an_actor_that_was_heard_is_silent_after_two_questions_in_a_row():
    silence = LivenessProbe(3.0)
    assert not silence.record("one", answered=True, waited_s=0.0)
    assert [unanswered(silence, "one") for _ in range(2)] == [False, True]


def test_an_answer_between_begins_anew():
    silence = LivenessProbe(3.0)
    silence.record("one", answered=True, waited_s=0.0)
    assert not unanswered(silence, "one")
    assert not silence.record("one", answered=True, waited_s=2.0)
    assert not unanswered(silence, "one")


def test_an_actor_that_starts_may_take_as_long_as_it_takes():
    silence = LivenessProbe(3.0)
    silence.record("one", answered=True, waited_s=0.0)
    assert not unanswered(silence, "one")
    assert not any(unanswered(silence, "two") for _ in range(50))


def test_a_refusal_is_no_silence():
    silence = LivenessProbe(3.0)
    silence.record("one", answered=True, waited_s=0.0)
    assert not any(unanswered(silence, "one", waited_s=0.1) for _ in range(50))
