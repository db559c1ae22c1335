"""Finding, importing, judging and writing the calibration of a camera."""
