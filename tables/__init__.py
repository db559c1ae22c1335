"""Changelog-backed tables: what a worker must know to go on where another left off."""
