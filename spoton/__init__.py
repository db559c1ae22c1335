"""SpotOn: who was where, from many cameras, live and afterwards."""

__version__ = "0.1.0"
