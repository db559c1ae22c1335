"""Apache Kafka: what the scale-out engine needs beside Faust."""
