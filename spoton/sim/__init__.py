"""A simulated plaza: walkers, calibrated cameras, rendered pictures and the exact truth about all of it."""
