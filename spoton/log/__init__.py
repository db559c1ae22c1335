"""The embedded durable log: one SQLite file, and the Faust transport ``log:///folder`` over it."""
