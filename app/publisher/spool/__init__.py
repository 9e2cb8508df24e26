"""The spool: events on disk until Kafka has them."""
