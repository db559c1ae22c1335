"""The actors: each reads a stream, decides with the pure functions of ``spoton``, and writes a stream."""
