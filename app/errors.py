"""Every error Sightline raises.

SightlineError
├── SettingsError                 a setting is unknown, malformed or impossible
├── SourceError                   a camera's source
│   ├── SourceUnavailable         it cannot be opened, or stopped giving frames
│   │   └── SourceRefused         it refuses the account
│   └── SourceEnded               it has no more frames, and does not loop
├── ImageError                    bytes that are not an image we take
├── RequestError                  a request that breaks the contract
├── OrderError                    a frame whose turn has passed
│   ├── FrameRepeated             its sequence was already committed
│   └── EpochSuperseded           a newer epoch of its camera has committed
├── DeadlineExceeded              the frame's budget ran out
├── Overloaded                    more frames than the service can take
├── Unauthenticated               no token, or a wrong one
├── ModelError
│   ├── ModelUnavailable          the model cannot be loaded
│   └── InferenceFailed           the model failed on an image
├── DeliveryError
│   ├── DeliveryUnavailable       the event cannot be made durable now; asking again may succeed
│   │   ├── TopicMissing          the topic is not there, and we may not create it
│   │   └── SpoolUnavailable      the spool cannot be opened or written now
│   │       ├── SpoolFull         it, or its disk, has no room
│   │       └── SpoolDamaged      its file was damaged
│   ├── DeliveryRefused           the broker refuses this event for good
│   └── BrokerUnavailable         the embedded broker did not come up
├── EvidenceError                 a picture or clip of an incident
│   ├── EvidenceRefused           it cannot be made, or not be kept, for good
│   └── StoreUnavailable          the object store does not take it now; trying again may succeed
│       └── StoreRefused          the store refuses us: key, rights or bucket are wrong
├── ChangeError                   a change of the cameras, or of the rules, of the running system
│   ├── CameraUnknown             there is no such camera
│   ├── CameraExists              its id is taken
│   ├── RuleUnknown               there is no such rule
│   ├── RuleExists                its id is taken
│   └── ChangeNotKept             the change could not be kept, so it was not made
├── StateUnreadable               the kept state of a camera's analysis is damaged, or of another version
├── ActorDied                     a camera's actor died, or cannot be reached
├── ApiError                      a command asks the running system
│   ├── SystemAway                nothing answers
│   └── SystemRefused             it answers with an error
│       └── NothingThere          it has nothing of the kind, for now
└── BenchFailed                   the system under load did not start, or broke down
"""

from __future__ import annotations


class SightlineError(Exception):
    """Base of every error that Sightline raises on purpose; its text is one line for a person."""


class SettingsError(SightlineError):
    """A setting is unknown, malformed or impossible; the text names the key, the value and what is allowed."""


class SourceError(SightlineError):
    """A camera's source failed; the text never holds a password."""


class SourceUnavailable(SourceError):
    """The source cannot be opened, or stopped giving frames; opening it again may succeed."""


class SourceRefused(SourceUnavailable):
    """The source refuses the account: cameras lock accounts that are tried too often."""


class SourceEnded(SourceError):
    """The source has no more frames and does not loop."""


class ImageError(SightlineError):
    """The bytes are not one complete JPEG, PNG or WebP image within the limits."""


class RequestError(SightlineError):
    """A request breaks the contract; the text names the field and what is allowed."""


class OrderError(SightlineError):
    """The frame's turn has passed; nothing was published for it."""


class FrameRepeated(OrderError):
    """The frame's sequence is at or below one already committed for its camera and epoch."""


class EpochSuperseded(OrderError):
    """A newer epoch of the same camera has already committed."""

    def __init__(self, message: str, committed: int = 0) -> None:
        super().__init__(message)
        self.committed = committed
        """That epoch; 0: not known."""


class DeadlineExceeded(SightlineError):
    """The frame's latency budget ran out before the model took it."""


class Overloaded(SightlineError):
    """More frames arrive than the service can take."""


class Unauthenticated(SightlineError):
    """The request carries no token, or a wrong one."""


class ModelError(SightlineError):
    """The detection model cannot do what was asked."""


class ModelUnavailable(ModelError):
    """The model cannot be loaded; the text says what would help."""


class InferenceFailed(ModelError):
    """The model failed on an image that looked sound."""


class DeliveryError(SightlineError):
    """An event could not be delivered."""


class DeliveryUnavailable(DeliveryError):
    """The event cannot be made durable now; asking again with the same frame may succeed."""


class TopicMissing(DeliveryUnavailable):
    """The topic is not there, and we may not create it."""


class SpoolUnavailable(DeliveryUnavailable):
    """The spool cannot be opened or written now; the text says why."""


class SpoolFull(SpoolUnavailable):
    """The spool has reached its limit, or its disk has no room."""


class SpoolDamaged(SpoolUnavailable):
    """Bytes of the spool's file were destroyed; what could be read was carried over."""


class DeliveryRefused(DeliveryError):
    """The broker refuses this event for good, for instance for its size."""


class BrokerUnavailable(DeliveryError):
    """The embedded broker did not come up."""


class EvidenceError(SightlineError):
    """A picture or clip of an incident could not be made, kept or stored."""


class EvidenceRefused(EvidenceError):
    """The picture or clip cannot be made, or not be kept, for good; the text says why."""


class StoreUnavailable(EvidenceError):
    """The object store does not take evidence now; trying again may succeed."""


class StoreRefused(StoreUnavailable):
    """The object store refuses us, for a wrong key, missing rights or a missing bucket, until someone mends that."""


class ChangeError(SightlineError):
    """The cameras, or the rules, of the running system could not be changed as asked."""


class CameraUnknown(ChangeError):
    """There is no camera of that id."""


class CameraExists(ChangeError):
    """There is a camera of that id."""


class RuleUnknown(ChangeError):
    """There is no rule of that id."""


class RuleExists(ChangeError):
    """There is a rule of that id."""


class ChangeNotKept(ChangeError):
    """The change could not be kept for the next start, so it was not made; the text says why."""


class StateUnreadable(SightlineError):
    """The kept state of a camera's analysis is damaged, or of another version; a new state can be begun."""


class ActorDied(SightlineError):
    """A camera's actor died, or cannot be reached; the text is the reason in one line."""


class ApiError(SightlineError):
    """A command asked the running system, and got no good answer."""


class SystemAway(ApiError):
    """No running system answers."""


class SystemRefused(ApiError):
    """The running system answers with an error."""


class NothingThere(SystemRefused):
    """The running system has nothing of the kind that was asked for, for now."""


class BenchFailed(SightlineError):
    """The system that a bench puts under load did not start, or broke down."""
