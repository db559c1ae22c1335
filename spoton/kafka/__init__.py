"""The scale-out engine: Apache Kafka behind the same agents and tables."""
