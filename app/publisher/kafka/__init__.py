"""Kafka: the sink, the connection, the embedded broker, the follower."""
