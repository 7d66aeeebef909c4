"""The one family of errors a person may meet: each message says what, where and what to do."""

from __future__ import annotations


class PipelineError(Exception):
    """Base of every error that the command line prints as one line."""

    exit_code = 1


class SettingsError(PipelineError):
    """A settings file or variable holds a key or value that can't be used."""

    exit_code = 2


class StaleInput(PipelineError):
    """An input is missing, was made by other settings or inputs, or was edited since."""


class AudioError(PipelineError):
    """A sound file or array can't be used."""


class MicrophoneError(PipelineError):
    """A device for sound isn't there, can't be opened, or stopped."""


class CorpusError(PipelineError):
    """A corpus can't be built from what was given."""


class DownloadError(CorpusError):
    """An archive can't be fetched, or what arrived must not be used."""


COPY_AGAIN = "make or copy the bundle again"


class BundleError(PipelineError):
    """A bundle or one of its files is missing, edited, or of another version."""


class MissingExtra(PipelineError):
    """A command needs packages of an extra that isn't installed."""
