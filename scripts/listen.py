"""The microphone demo: says which words of a bundle it hears, and shows how it comes to them."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import soundfile

from pipeline.cli import PATH, OneLineErrors, device_option
from pipeline.device import Recognizer, Spotter, listing, microphone, screen
from pipeline.device.audio import Samples
from pipeline.device.interpreter import Array
from pipeline.device.microphone import Microphone, extra_needed, quiet_libraries
from pipeline.device.spot import Detection
from pipeline.errors import AudioError

if TYPE_CHECKING:
    from rich.console import RenderableType

Show = Callable[[Samples, list[Detection]], None]  # takes a piece of sound, and what has become certain with it

MOST_SAVED = (2**32 - 1024) // 2  # samples: the length of a WAV file is stated in 32 bits
_WORDS_SHOWN = 5
_REFRESHES_PER_S = 10


@click.command(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("bundle", type=PATH, required=False, metavar="BUNDLE")
@device_option
@click.option("--list", "is_list", is_flag=True, help="List the input devices (* is the system's), and end.")
@click.option("--json", "is_json", is_flag=True, help="One line of JSON for each word, and nothing else, for programs.")
@click.option(
    "--save",
    type=PATH,
    metavar="FILE.wav",
    help="Keep what was heard, as 16-bit WAV (of up to 4 GB: 37 hours at 16 kHz).",
)
def main(bundle: Path | None, device: str | None, is_list: bool, is_json: bool, save: Path | None) -> None:
    """Say which words of BUNDLE a microphone hears, until Ctrl-C.

    In a terminal it shows level, scores and words; into a pipe goes a line for each word.
    """
    with extra_needed():
        if is_list:
            list_devices()
        elif bundle:
            listen(bundle, device, is_json, save)
        else:
            raise click.UsageError("give the folder of a bundle, such as build/synthetic/bundle")


def list_devices() -> None:
    for device in microphone.devices():
        mark = "*" if device.is_default else " "
        click.echo(f"{mark} {device.number:2}  {device.name}  ({device.system}, {device.sample_rate_hz} Hz)")


def listen(bundle: Path, device: str | None, is_json: bool, save: Path | None) -> None:
    """Hear words and show them, until Ctrl-C or an error; what was said till then is heard to its end."""
    ear = Ear(Recognizer.load(bundle))
    rate_hz = ear.spotter.audio.sample_rate_hz
    source = Microphone(microphone.find(device, microphone.devices()), rate_hz)
    is_screen = sys.stdout.isatty() and not is_json
    view = drawn(ear, source) if is_screen else contextlib.nullcontext(Lines(source, is_json).update)
    with quiet_libraries(), source, saved(save, rate_hz) as keep, until_interrupted(source.stop), view as show:
        try:
            for piece in source:
                keep(piece)
                show(piece, ear.spotter.feed(piece))
        finally:
            show(np.zeros(0, np.float32), ear.spotter.finish())


class Ear:
    """A spotter, and the scores that it last saw."""

    def __init__(self, recognizer: Recognizer) -> None:
        self.spotter = Spotter(
            self._score, recognizer.labels, recognizer.thresholds, recognizer.audio, recognizer.listen
        )
        self._recognizer = recognizer
        self._scores = self._none = np.zeros(len(recognizer.labels), np.float32)
        self._scored_s = 0.0

    def _score(self, window: Samples) -> Array:
        self._scores, self._scored_s = self._recognizer.score(window), self.spotter.time_s
        return self._scores

    @property
    def scores(self) -> Array:
        """Scores `(labels,)` of the last window; none where that was silent, and so wasn't scored."""
        is_scored = self.spotter.time_s - self._scored_s < 1.5 * self.spotter.listen.hop_ms / 1000
        return self._scores if is_scored else self._none


@contextlib.contextmanager
def until_interrupted(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C, or a request to end, calls `stop` instead of tearing what is being done; a second one is as usual."""

    def interrupted(number: int, frame: Any) -> None:
        stop()
        signal.signal(number, before[number])

    before: dict[int, Any] = {n: signal.signal(n, interrupted) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def saved(path: Path | None, sample_rate_hz: int) -> Iterator[Callable[[Samples], None]]:
    """Give what writes a piece of sound to the end of a new file; without a path, what does nothing."""
    if path is None:
        yield lambda piece: None
        return
    try:
        path.open("xb").close()
        try:
            file = soundfile.SoundFile(path, "w", sample_rate_hz, 1, "PCM_16", format="WAV")
        except soundfile.LibsndfileError:
            path.unlink()  # or it would be in the way of the next try
            raise

        def keep(piece: Samples) -> None:
            if file.tell() + len(piece) > MOST_SAVED:
                raise AudioError(f"{path}: a WAV file can't hold more than this; save what follows under another name")
            file.write(piece)

        with file:
            yield keep
    except FileExistsError:
        raise AudioError(f"{path} exists, and is not overwritten; give another name, or remove it") from None
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: can't be written to: {error.error_string} Is the disk full?") from None


class Lines:
    """Words as lines on standard output, and what else there is to say on standard error."""

    def __init__(self, source: Microphone, is_json: bool) -> None:
        self.source, self.is_json = source, is_json
        self.overruns: int | None = None  # that were told of; None while no sound has come

    def update(self, piece: Samples, detections: list[Detection]) -> None:
        for word in detections:
            click.echo(json.dumps(asdict(word), ensure_ascii=False) if self.is_json else listing.as_line(word))
        if self.overruns is None:
            click.echo(about(self.source), err=True)
            self.overruns = 0
        elif self.source.overruns > self.overruns:
            self.overruns = self.source.overruns
            click.echo(f"at {self.source.time_s:.1f} s sound was lost: {count(self.overruns, 'overrun')}", err=True)


@contextlib.contextmanager
def drawn(ear: Ear, source: Microphone) -> Iterator[Show]:
    """Show a picture of what is heard, drawn anew a few times a second."""
    from rich.live import Live

    picture = Picture(ear, source)
    with Live(picture, refresh_per_second=_REFRESHES_PER_S):
        yield picture.update


class Picture:
    """Level, last words and scores, for `rich` to draw; of what is too long for the terminal, the end is left out."""

    def __init__(self, ear: Ear, source: Microphone) -> None:
        self.ear, self.source = ear, source
        self.words: tuple[Detection, ...] = ()
        self.level_dbfs = screen.QUIET_DBFS

    def update(self, piece: Samples, detections: list[Detection]) -> None:
        self.words = (*self.words, *detections)[-_WORDS_SHOWN:]
        if len(piece):
            self.level_dbfs = screen.level_dbfs(piece)

    def __rich__(self) -> RenderableType:
        from rich.columns import Columns
        from rich.console import Group
        from rich.text import Text

        status = f"{self.source.time_s:.0f} s heard, {count(self.source.overruns, 'overrun')}"
        words = [listing.as_line(word) for word in self.words]
        labels = self.ear.spotter.labels
        width = max(map(len, labels))
        scores = [
            screen.bar(f"{label:{width}}", float(score), f"{score:.2f}", 10)
            for label, score in zip(labels, self.ear.scores, strict=True)
        ]
        return Group(
            Text(about(self.source)),
            Text(status, style="red" if self.source.overruns else ""),
            screen.level_bar(self.level_dbfs),
            *(Text(line, style="bold") for line in words + [""] * (_WORDS_SHOWN - len(words))),
            Columns(scores, padding=(0, 2)),
        )


def about(source: Microphone) -> str:
    resampled = "" if source.opened_hz == source.sample_rate_hz else f", resampled from {source.opened_hz} Hz"
    return f"Listening to {source.device.name}{resampled}; Ctrl-C ends."


def count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


if __name__ == "__main__":
    main()
