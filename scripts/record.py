"""Records a person's own words, take by take, into a folder that `make CORPUS=folder` reads."""

from __future__ import annotations

import contextlib
import itertools
import math
import shlex
import signal
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from pipeline import config
from pipeline.cli import PATH, OneLineErrors, device_option
from pipeline.config import BACKGROUND_NOISE, UNKNOWN, Audio
from pipeline.corpora import own_words
from pipeline.corpora.manifest import SPLITS
from pipeline.corpora.own_words import Takes
from pipeline.device import microphone, screen, take
from pipeline.device.audio import Samples
from pipeline.device.microphone import Device, Microphone, extra_needed, quiet_libraries
from pipeline.errors import AudioError, MicrophoneError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

_SECONDS_A_TAKE = 6  # with the time to look at what became of the last
_COUNTDOWN_STEPS = 3
_ENTER = "\r"
_SHOWN = {UNKNOWN: "other words", BACKGROUND_NOISE: "silence"}


@dataclass(frozen=True)
class Ask:
    """A take to be recorded: the folder it goes to, and what the speaker reads."""

    name: str
    text: str

    @property
    def is_silence(self) -> bool:
        return self.name == BACKGROUND_NOISE


@click.command(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--words", required=True, metavar='"WORD, WORD"', help="Words to record, with commas between them.")
@click.option("--out", type=PATH, required=True, metavar="FOLDER", help="Where takes are kept; it may hold some.")
@click.option("--speaker", required=True, metavar="NAME", help="Who speaks; another voice needs another name.")
@click.option(
    "--takes", type=click.IntRange(min=1), default=10, show_default=True, help="Of each word, those there included."
)
@device_option
@click.option("--params", type=PATH, help="Settings file of the build, see params/: how long a word may be.")
def main(words: str, out: Path, speaker: str, takes: int, device: str | None, params: Path | None) -> None:
    """Record your own words, for make CORPUS=folder SOURCE=FOLDER.

    In each round every word is asked for once, and another word that is none of them; every fifth round begins with
    silence. After a countdown say what is shown. A take that can't be used is asked for again; one that can is kept
    at once. Stop when you like, with q or Ctrl-C: the same command goes on with what is missing.
    """
    settings = config.load(params, corpus={"keywords": config.split_words(words)})
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("recording shows when to speak and asks for keys; run it in a terminal, without a pipe")
    shelf = Takes(out, settings.corpus.words, speaker)
    with extra_needed(), quiet_libraries(), quiet_keys():
        asks = list(missing(shelf, takes))
        if asks:
            Session(shelf, asks, microphone.find(device, microphone.devices()), settings.audio).run()
        else:
            click.echo(f"{shelf.speaker} has said every word {takes} times; for more takes give a larger --takes")


def missing(shelf: Takes, takes: int) -> Iterator[Ask]:
    """What is still to be recorded, in order."""
    there = shelf.count()
    others = own_words.examples(shelf.words, shelf.speaker)
    examples = itertools.islice(itertools.cycle(others), there[UNKNOWN], None)
    for name in own_words.plan(own_words.wanted(shelf.words, takes), there, takes):
        if name == UNKNOWN:
            yield Ask(name, f'any other word, such as "{next(examples)}"')
        else:
            yield Ask(name, "nobody speaks" if name == BACKGROUND_NOISE else name)


@contextlib.contextmanager
def quiet_keys() -> Iterator[None]:
    """Keep keys that nobody asked for off the screen; being told to end is as Ctrl-C, so that this is taken back."""
    try:
        import termios
    except ImportError:  # not on Windows, where no key is shown unasked
        yield
        return
    before, silent = termios.tcgetattr(sys.stdin), termios.tcgetattr(sys.stdin)
    silent[3] &= ~termios.ECHO
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


class Session:
    """One speaker before the microphone: asks for takes, keeps them, and does what the keys say."""

    def __init__(self, shelf: Takes, asks: list[Ask], device: Device, sound: Audio) -> None:
        from rich.console import Console

        self._shelf, self._device, self._sound = shelf, device, sound
        self._waiting, self._asks = deque(asks), len(asks)
        self._kept: list[tuple[Ask, Path]] = []
        self._heard: Samples | None = None  # what there is to listen to
        self._console: Console = Console(highlight=False)

    def run(self) -> None:
        """Until all is recorded, or the speaker stops; then say what there is, and what to do with it."""
        self._greet()
        try:
            while self._goes_on() and self._waiting:
                self._record(self._waiting[0])
        except (KeyboardInterrupt, EOFError):  # what is kept is whole
            pass
        self._sum_up()

    def _greet(self) -> None:
        minutes = math.ceil(self._asks * _SECONDS_A_TAKE / 60)
        self._say(f"{self._shelf.speaker}, by {self._device.name}: {self._asks} takes to go, about {minutes} min.")
        self._say("After the countdown say what is shown, as you would to the device and from where you would.\n")

    def _say(self, text: str, verdict: str = "", style: str = "") -> None:
        from rich.text import Text

        self._console.print(Text.assemble((verdict, style), text))

    # --- takes ---

    def _record(self, ask: Ask) -> None:
        """One take: kept, or refused with the reason."""
        self._heard = None
        try:
            heard = self._hear(ask)
            self._heard = take.after_countdown(heard, self._sound.sample_rate_hz)
            usable = take.room(heard, self._sound) if ask.is_silence else take.word(heard, self._sound)
        except AudioError as reason:
            self._say(f"{ask.text}: {reason}", "again  ", "bold yellow")
            return
        path = self._shelf.keep(ask.name, usable, self._sound.sample_rate_hz)
        self._kept.append((self._waiting.popleft(), path))
        self._heard = usable
        self._say(f"{ask.text}, {screen.level_dbfs(usable):.0f} dBFS at its peak", "kept   ", "bold green")

    def _hear(self, ask: Ask) -> Samples:
        """Countdown and take; the device is open for this long, so that sound is neither kept nor lost in between."""
        rate_hz = self._sound.sample_rate_hz
        length_s = take.COUNTDOWN_S + (take.ROOM_S if ask.is_silence else take.speaking_s(self._sound))
        source, pieces, lost = Microphone(self._device, rate_hz), [], 0
        with self._passing(self._picture(ask, 0.0, screen.QUIET_DBFS)) as live, source:
            for piece in source:
                pieces.append(piece)
                if source.time_s < take.SETTLING_S:
                    lost = source.overruns
                if source.time_s >= length_s:
                    break
                if len(piece):
                    live.update(self._picture(ask, source.time_s, screen.level_dbfs(piece)), refresh=True)
        if source.overruns > lost:
            raise AudioError("some of its sound was lost, this machine was too busy: say it again")
        return np.concatenate(pieces)[: round(length_s * rate_hz)]

    def _picture(self, ask: Ask, time_s: float, level_dbfs: float) -> RenderableType:
        """What is to be said, when, and how loud it is."""
        from rich.align import Align
        from rich.console import Group
        from rich.panel import Panel
        from rich.text import Text

        left_s = take.COUNTDOWN_S - time_s
        if left_s > 0:
            cue, style = f"in {math.ceil(left_s / take.COUNTDOWN_S * _COUNTDOWN_STEPS)}", "yellow"
        elif ask.is_silence:
            cue, style = f"hush: {math.ceil(take.ROOM_S + left_s)} s", "green"
        else:
            cue, style = "say it now", "bold green"
        number = self._asks - len(self._waiting) + 1
        text = Align.center(Text(f"\n{ask.text}\n", style="bold", justify="center"))
        return Group(
            Panel(text, title=f"{number} of {self._asks}", subtitle=cue, style=style), screen.level_bar(level_dbfs)
        )

    def _passing(self, picture: RenderableType) -> Live:
        """A picture that is drawn anew when told to, and leaves nothing behind."""
        from rich.live import Live

        return Live(picture, console=self._console, auto_refresh=False, transient=True)

    # --- keys ---

    def _goes_on(self) -> bool:
        """Do what the keys say, until one says to go on, or to stop."""
        while True:
            key = self._key()
            if key == "s":
                self._say(self._waiting.popleft().text, "skipped  ", "bold")
            elif key == "l" and self._heard is not None:
                self._play(self._heard)
            elif key == "u":
                self._undo()
            else:
                return key == _ENTER

    def _key(self) -> str:
        """One of the keys that mean something now; what is pressed at other times is lost."""
        from rich.text import Text

        known = {_ENTER: "Enter: go on" if self._waiting else "Enter: end"}
        known |= {"s": "s: skip"} if self._waiting else {}
        known |= {"l": "l: listen"} if self._heard is not None else {}
        known |= {"u": "u: undo"} if self._kept else {}
        known |= {"q": "q: stop"}
        following = f"Next: {self._waiting[0].text}" if self._waiting else "That was the last."
        with self._passing(Text.assemble(following, "\n", ("  ".join(known.values()), "dim"))):
            while True:
                key = click.getchar().lower().replace("\n", _ENTER)
                if key in known:
                    return key
                if not key:  # the terminal is gone
                    raise EOFError

    def _play(self, samples: Samples) -> None:
        from rich.text import Text

        try:
            with self._passing(Text("playing")):
                microphone.play(samples, self._sound.sample_rate_hz)
        except MicrophoneError as reason:
            self._say(str(reason))

    def _undo(self) -> None:
        ask, path = self._kept.pop()
        self._shelf.remove(path)
        self._waiting.appendleft(ask)
        self._heard = None
        self._say(ask.text, "undone ", "bold")

    # --- the end ---

    def _sum_up(self) -> None:
        counts = {_SHOWN.get(name, name): count for name, count in self._shelf.count().items() if count}
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        self._say(f"{self._shelf.speaker}: {listed or 'nothing yet'}")
        if len(self._kept) < self._asks:
            self._say("The same command asks for the rest.")
        if listed:
            click.echo(f"To build: make CORPUS=folder SOURCE={shlex.quote(str(self._shelf.root))}")
        if self._shelf.speakers() < len(SPLITS):
            self._say('Fewer than three speakers: it needs split_by = "take" under [corpus] (PARAMS).')


if __name__ == "__main__":
    main()
