"""Kafka: the transport, the topics and what they are held to."""
