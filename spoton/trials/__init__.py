"""Trials of the whole system on this machine: real processes on a real broker, under load and under faults."""
