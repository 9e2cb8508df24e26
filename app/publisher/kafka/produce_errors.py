"""What Kafka may answer to Produce, and what follows for the event: one table.

The codes, their names, and which of them are retriable are those of the protocol (Apache Kafka 4.1,
https://kafka.apache.org/41/protocol.html#protocol_error_codes). Which of them Produce answers follows from Kafka's
``ProduceResponse`` and by what its log raises: validation (10, 18, 32, 43, 76, 87), the state of producers (45 to 49,
59, 90), replicas and leaders (3, 5, 6, 7, 19, 20, 56, 74), rights (29, 31, 53), and transactions, which are not used
here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from app.errors import DeliveryRefused


class Verdict(Enum):
    """What an error means for the records of its batch."""

    WRITTEN = "written"
    """The topic has them already: an earlier try was written."""
    RETRIED = "retried"
    """They are sent again as they are, in the same order; nothing is wrong with them."""
    REFUSED = "refused"
    """Those that the broker names will never be taken, and were not written; the others are sent again."""
    FATAL = "fatal"
    """No record of this producer is taken for now: it is replaced by a new one, which sends them again."""


@dataclass(frozen=True)
class ProduceError:
    """One line of the table."""

    code: int
    name: str
    verdict: Verdict
    meaning: str
    """Why; of a refusal as the end of the sentence "Kafka refuses the event: it is ..."."""


_WRITTEN, _RETRIED, _REFUSED, _FATAL = Verdict.WRITTEN, Verdict.RETRIED, Verdict.REFUSED, Verdict.FATAL
PRODUCE_ERRORS = {
    error.code: error
    for error in (
        ProduceError(-1, "UNKNOWN_SERVER_ERROR", _FATAL, "the broker failed in a way that it does not know"),
        ProduceError(2, "CORRUPT_MESSAGE", _RETRIED, "the bytes were damaged on their way"),
        ProduceError(3, "UNKNOWN_TOPIC_OR_PARTITION", _RETRIED, "the broker does not know the topic"),
        ProduceError(5, "LEADER_NOT_AVAILABLE", _RETRIED, "the partition has no leader"),
        ProduceError(6, "NOT_LEADER_OR_FOLLOWER", _RETRIED, "the partition is led by another broker"),
        ProduceError(7, "REQUEST_TIMED_OUT", _RETRIED, "the replicas did not answer in time"),
        ProduceError(
            10, "MESSAGE_TOO_LARGE", _REFUSED, "larger than the topic's max.message.bytes, or than the client's 1 MiB"
        ),
        ProduceError(17, "INVALID_TOPIC_EXCEPTION", _FATAL, "the topic's name is not allowed"),
        ProduceError(18, "RECORD_LIST_TOO_LARGE", _REFUSED, "larger than the topic's segment.bytes"),
        ProduceError(19, "NOT_ENOUGH_REPLICAS", _RETRIED, "fewer replicas are in sync than min.insync.replicas"),
        ProduceError(
            20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", _RETRIED, "replicas fell behind min.insync.replicas meanwhile"
        ),
        ProduceError(21, "INVALID_REQUIRED_ACKS", _FATAL, "the broker does not know acks=all"),
        ProduceError(29, "TOPIC_AUTHORIZATION_FAILED", _FATAL, "the right to write to the topic is missing"),
        ProduceError(31, "CLUSTER_AUTHORIZATION_FAILED", _FATAL, "the right to write idempotently is missing"),
        ProduceError(
            32, "INVALID_TIMESTAMP", _REFUSED,
            "captured outside of the topic's message.timestamp.before.max.ms and message.timestamp.after.max.ms",
        ),
        ProduceError(35, "UNSUPPORTED_VERSION", _FATAL, "the broker does not know this version of the request"),
        ProduceError(42, "INVALID_REQUEST", _FATAL, "the broker does not understand the request"),
        ProduceError(43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", _FATAL, "the topic's message format is too old"),
        ProduceError(44, "POLICY_VIOLATION", _FATAL, "a policy of the cluster does not allow it"),
        ProduceError(45, "OUT_OF_ORDER_SEQUENCE_NUMBER", _FATAL, "the producer's numbering has a gap"),
        ProduceError(46, "DUPLICATE_SEQUENCE_NUMBER", _WRITTEN, "the topic has it already"),
        ProduceError(47, "INVALID_PRODUCER_EPOCH", _FATAL, "the producer's epoch is an old one"),
        ProduceError(48, "INVALID_TXN_STATE", _FATAL, "the transaction is in another state"),
        ProduceError(49, "INVALID_PRODUCER_ID_MAPPING", _FATAL, "the producer's id is another one's"),
        ProduceError(51, "CONCURRENT_TRANSACTIONS", _RETRIED, "another transaction is being ended"),
        ProduceError(52, "TRANSACTION_COORDINATOR_FENCED", _FATAL, "the transaction's coordinator is an old one"),
        ProduceError(53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", _FATAL, "the right to use transactions is missing"),
        ProduceError(56, "KAFKA_STORAGE_ERROR", _RETRIED, "the broker's disk failed"),
        ProduceError(59, "UNKNOWN_PRODUCER_ID", _FATAL, "the broker has forgotten the producer"),
        ProduceError(74, "FENCED_LEADER_EPOCH", _RETRIED, "the partition has a newer leader"),
        ProduceError(76, "UNSUPPORTED_COMPRESSION_TYPE", _FATAL, "the broker does not know the compression"),
        ProduceError(87, "INVALID_RECORD", _REFUSED, "not a record that the topic takes"),
        ProduceError(89, "THROTTLING_QUOTA_EXCEEDED", _RETRIED, "a quota is used up"),
        ProduceError(90, "PRODUCER_FENCED", _FATAL, "a newer producer has taken over"),
        ProduceError(100, "UNKNOWN_TOPIC_ID", _RETRIED, "the broker does not know the topic's id"),
        ProduceError(103, "INCONSISTENT_TOPIC_ID", _RETRIED, "the topic was made anew"),
        ProduceError(120, "TRANSACTION_ABORTABLE", _FATAL, "the transaction must be aborted"),
    )
}  # fmt: skip
"""By code. What it lacks is no answer to Produce; if it comes nevertheless, it costs no event: nothing is refused."""


def refusal(code: int, detail: str = "") -> DeliveryRefused:
    """Return the error of an event that the broker refuses, one line, with the broker's own message."""
    error = PRODUCE_ERRORS[code]
    message = f"; it says: {' '.join(detail.split())[:300]}" if detail else ""
    return DeliveryRefused(f"Kafka refuses the event: it is {error.meaning} ({error.name}{message})")
