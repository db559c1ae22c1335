"""Every failure that SpotOn reports on purpose, in one tree.

::

    SpotOnError
    ├── SiteError          a mistake in a site file (file, key, value)
    ├── InputError         a bad argument, text file or request
    ├── SourceError        a camera, video or picture folder that cannot be read
    ├── ModelError         weights that are missing, broken or of an unknown kind
    ├── LogError           the embedded log
    │   ├── LogLocked      another process holds the file
    │   ├── LogCorrupt     the file is damaged
    │   └── LogFull        the disk is full
    ├── BrokerError        a Kafka broker that does not start or does not answer
    │   └── KafkaMissing   there is no Java, or no jars, to start one here
    └── HistoryError       the database

Each message says what is wrong and with which value; ``remedy`` says what to do about it.
"""

from __future__ import annotations


class SpotOnError(Exception):
    """Root of all errors; ``str(error)`` is one line fit for a person, remedy included."""

    def __init__(self, problem: str, *, remedy: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}; {remedy}" if remedy else problem)


class SiteError(SpotOnError):
    """A site file says something that cannot be used."""

    def __init__(self, file: str, key: str, value: object, problem: str, *, remedy: str) -> None:
        self.file = file
        self.key = key
        self.value = value
        shown = repr(value)
        shown = shown if len(shown) <= 160 else f"{shown[:157]}..."
        super().__init__(f"{file}: {key} = {shown}: {problem}", remedy=remedy)


class InputError(SpotOnError):
    """An argument, a text file or a request cannot be used."""


class SourceError(SpotOnError):
    """A camera, a video file or a folder of pictures cannot be read."""


class ModelError(SpotOnError):
    """Model weights are missing, damaged, or of a kind that no decoder knows."""


class LogError(SpotOnError):
    """The embedded log cannot go on."""


class LogLocked(LogError):
    """Another process has the log file open."""


class LogCorrupt(LogError):
    """The log file is damaged."""


class LogFull(LogError):
    """The disk that holds the log is full."""


class BrokerError(SpotOnError):
    """A Kafka broker cannot be started or reached, or refuses."""


class KafkaMissing(BrokerError):
    """This machine lacks what a Kafka broker is started from."""


class HistoryError(SpotOnError):
    """The history database cannot be reached or refuses."""
