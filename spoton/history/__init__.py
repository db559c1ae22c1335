"""History in PostgreSQL: every event with its exact bytes, every position as a row."""
