"""The sentences that report a trouble with Kafka: one each, and the documents show them as they are."""

from __future__ import annotations

import string

import pytest

from app.publisher.kafka.produce_errors import PRODUCE_ERRORS, Verdict, refusal
from app.publisher.kafka.troubles import Trouble
from tests.support.paths import ROOT

TRIED_BY: dict[tuple[str, str], tuple[Trouble, ...]] = {
    (
        "io/kafka/test_diagnosis.py",
        "test_an_unknown_host_and_a_port_where_nobody_listens_are_distinguished",
    ): (
        Trouble.UNKNOWN_HOST,
        Trouble.NOTHING_LISTENS,
    ),
    (
        "unit/publisher/kafka/test_diagnosis.py",
        "test_a_port_that_answers_nothing_is_named_with_the_time_that_was_waited",
    ): (Trouble.NO_ANSWER,),
    (
        "unit/publisher/kafka/test_diagnosis.py",
        "test_a_network_that_cannot_be_reached_is_named_as_that",
    ): (Trouble.UNREACHABLE,),
    (
        "unit/publisher/kafka/test_diagnosis.py",
        "test_another_program_is_named_as_that",
    ): (Trouble.NOT_KAFKA,),
    (
        "unit/publisher/kafka/test_diagnosis.py",
        "test_an_answer_of_no_known_form_is_named_as_that",
    ): (Trouble.NOT_UNDERSTOOD,),
    (
        "unit/publisher/kafka/test_diagnosis.py",
        "test_a_connection_that_is_closed_after_the_greeting_is_named_as_that",
    ): (Trouble.CLOSED,),
    (
        "io/kafka/test_diagnosis.py",
        "test_each_trouble_has_its_sentence",
    ): (
        Trouble.ADVERTISED,
        Trouble.SPEAKS_TLS,
        Trouble.SPEAKS_PLAIN,
        Trouble.NO_CREDENTIALS,
        Trouble.CREDENTIALS_UNASKED,
        Trouble.MECHANISM,
        Trouble.CREDENTIALS,
    ),
    (
        "io/kafka/test_diagnosis.py",
        "test_a_certificate_for_another_host_name_is_named_as_that",
    ): (Trouble.WRONG_HOST_NAME,),
    (
        "io/kafka/test_diagnosis.py",
        "test_a_certificate_of_an_authority_that_is_not_trusted_is_named_as_that",
    ): (Trouble.UNTRUSTED,),
    (
        "unit/publisher/kafka/test_diagnosis.py",
        "test_tls_with_nothing_in_common_is_named_as_that",
    ): (Trouble.HANDSHAKE,),
    (
        "io/kafka/test_diagnosis.py",
        "test_a_listener_that_asks_for_a_client_certificate_is_distinguished_from_one_that_refuses_it",
    ): (
        Trouble.NO_CLIENT_CERTIFICATE,
        Trouble.CLIENT_CERTIFICATE,
    ),
    (
        "io/kafka/test_mechanisms.py",
        "test_a_token_that_kafka_does_not_take_is_reported_as_that",
    ): (Trouble.TOKEN,),
    (
        "unit/publisher/kafka/test_sasl.py",
        "test_an_endpoint_that_is_not_there_is_reported",
    ): (Trouble.NO_TOKEN_SERVER,),
    (
        "unit/publisher/kafka/test_sasl.py",
        "test_a_wrong_secret_is_reported_with_the_endpoint_s_reason_and_shown_nowhere",
    ): (Trouble.TOKEN_REFUSED,),
    (
        "unit/publisher/kafka/test_sasl.py",
        "test_whatever_the_endpoint_answers_the_error_is_one_line",
    ): (Trouble.NO_TOKEN,),
    (
        "io/kafka/test_kerberos.py",
        "test_a_user_without_a_key_is_told_that_there_is_no_ticket",
    ): (Trouble.NO_TICKET,),
    (
        "unit/cli/test_checks.py",
        "test_each_topic_is_checked_and_one_that_is_missing_is_named_with_the_setting_that_turns_it_off",
    ): (Trouble.TOPIC_MISSING,),
    (
        "io/kafka/test_diagnosis.py",
        "test_a_missing_right_is_named_with_the_topic_and_the_user",
    ): (Trouble.RIGHT,),
    (
        "unit/publisher/kafka/test_topic.py",
        "test_an_event_older_than_the_topic_keeps_is_refused_and_no_other",
    ): (Trouble.EXPIRED,),
    (
        "io/kafka/test_diagnosis.py",
        "test_settings_of_a_topic_that_would_cost_events_are_reported",
    ): (
        Trouble.COMPACTED,
        Trouble.SMALL_RECORDS,
        Trouble.SHORT_RETENTION,
        Trouble.SHORT_TIMESTAMPS,
    ),
    (
        "unit/publisher/kafka/test_topic.py",
        "test_more_detections_than_the_client_s_record_holds_are_reported",
    ): (Trouble.LARGE_RECORDS,),
    (
        "io/kafka/test_diagnosis.py",
        "test_who_may_write_is_reported_and_no_record_is_left_behind",
    ): (Trouble.ONE_REPLICA,),
    (
        "io/kafka/test_doctor.py",
        "test_a_topic_is_warned_of_that_keeps_an_event_on_one_broker",
    ): (Trouble.ONE_IN_SYNC,),
    (
        "io/kafka/test_diagnosis.py",
        "test_settings_that_may_not_be_read_are_reported_as_that",
    ): (Trouble.UNREADABLE_TOPIC,),
    (
        "unit/publisher/kafka/test_topic.py",
        "test_one_replica_unknown_rights_and_settings_that_cannot_be_read_are_reported",
    ): (Trouble.UNKNOWN_RIGHTS,),
    (
        "unit/publisher/kafka/test_diagnosis.py",
        "test_a_producer_id_that_is_not_given_out_is_reported_before_a_start",
    ): (Trouble.NO_PRODUCER_ID,),
    (
        "unit/publisher/kafka/test_diagnosis.py",
        "test_where_a_broker_answers_and_the_client_finds_none_its_own_words_are_shown",
    ): (Trouble.NO_BROKER,),
    (
        "unit/publisher/kafka/test_diagnosis.py",
        "test_whatever_else_may_pass_says_that_the_event_waits",
    ): (Trouble.NOT_NOW,),
}
"""Which test, by its file below ``tests`` and its name, brings each trouble about."""


def shown(heading: str) -> dict[str, str]:
    """Return a table of the documents: trouble and sentence."""
    lines = (ROOT / "configs/README.md").read_text().splitlines()
    rows = lines[lines.index(heading) + 2 :]
    cells = (row.strip("|").split("|") for row in rows[: rows.index("")])
    return {name.strip(): sentence.strip().strip("`") for name, sentence, _ in cells}


def test_the_documents_show_every_trouble_with_the_sentence_that_the_code_has():
    table = shown("| trouble | sentence | what to do |")
    assert table == {trouble.title: trouble.sentence for trouble in Trouble}


def test_the_documents_show_every_refusal_of_an_event_with_its_sentence():
    refusals = [error for error in PRODUCE_ERRORS.values() if error.verdict is Verdict.REFUSED]
    table = shown("| answer of the broker | sentence | what to do |")
    assert table == {f"`{error.name}`": str(refusal(error.code)) for error in refusals}


def test_each_trouble_is_brought_about_by_a_test():
    assert sorted(trouble.name for troubles in TRIED_BY.values() for trouble in troubles) == sorted(Trouble.__members__)
    absent = [(file, name) for file, name in TRIED_BY if f"def {name}(" not in (ROOT / "tests" / file).read_text()]
    assert absent == []


@pytest.mark.parametrize("trouble", Trouble, ids=lambda trouble: trouble.name)
def test_a_sentence_is_one_line_in_which_no_brace_is_left(trouble: Trouble):
    names = [name for _, name, _, _ in string.Formatter().parse(trouble.sentence) if name]
    said = trouble.say(**{name: 7 if name == "seconds" else f"the-{name}" for name in names})
    assert "\n" not in said
    assert not set("{}") & set(said)
    assert all(f"the-{name}" in said for name in names if name != "seconds")
