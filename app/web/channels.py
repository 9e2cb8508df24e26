"""ChannelModel: a topic beside that of the events, as the HTTP API shows it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.core.channel import Channel
from app.publisher import ChannelSnapshot, PublisherSnapshot
from app.web.facts import BrokerFacts
from app.web.figures import Model


class ChannelModel(Model):
    """A topic beside that of the events, with its own ledger.

    ``accepted = published + waiting + quarantined + discarded``.
    """

    channel: Annotated[Channel, Field(description="What goes there.")]
    topic: str
    accepted: int
    published: int
    waiting: Annotated[int, Field(description="Records that wait in the spool.")]
    quarantined: int
    discarded: Annotated[int, Field(description="Given up: too many waited, or they were dropped from quarantine.")]
    trouble: Annotated[str, Field(description="Why its records cannot be delivered now; empty while they can.")]

    @classmethod
    def of(cls, channel: Channel, topic: str, publisher: PublisherSnapshot) -> ChannelModel:
        """Convert what the publisher says of a channel."""
        found = publisher.channels.get(channel, ChannelSnapshot())
        counts = found.accounts
        return cls(
            channel=channel,
            topic=topic,
            accepted=counts.accepted,
            published=counts.published,
            waiting=counts.waiting,
            quarantined=counts.quarantined,
            discarded=counts.discarded,
            trouble=found.trouble,
        )


def channels_of(broker: BrokerFacts, publisher: PublisherSnapshot | None) -> tuple[ChannelModel, ...]:
    """Convert what the publisher says of all channels that are turned on; nothing while it does not answer."""
    if publisher is None or not broker.enabled:
        return ()
    return tuple(ChannelModel.of(channel, topic, publisher) for channel, topic in broker.channel_topics.items())
