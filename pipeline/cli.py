"""The command line: the only place for arguments, printing and exit codes."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline import config
from pipeline.config import Settings
from pipeline.errors import AudioError, MissingExtra, PipelineError, SettingsError

if TYPE_CHECKING:
    from pipeline.device import Spotter
    from pipeline.device.recognizer import Result
    from pipeline.device.spot import Detection

CLEAR_LINE = "\r\033[K"
PATH = click.Path(path_type=Path)  # what is wrong with one is said by whatever reads it, in one line


class OneLineErrors(click.Command):
    """Prints an error that a person can mend as one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PipelineError as error:
            raise Failure(str(error), error.exit_code) from error
        except BrokenPipeError:  # whoever read the output has enough: click ends quietly
            raise
        except OSError as error:
            # numpy says how many bytes it could not write, and neither where nor why.
            what = error.strerror or f"{error}; is the disk full?"
            raise Failure(f"{error.filename}: {what}" if error.filename else what, 1) from error


class Failure(click.ClickException):
    """One line on standard error, and this exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance


class Commands(OneLineErrors, click.Group):
    """All commands."""


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="speech-command-pipeline")
def main() -> None:
    """From a few words to a quantised TFLite recogniser that runs offline on a device.

    `make` runs the stages in order; each can be run by itself. Start with `make` and then `classify`.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("pipeline").setLevel(logging.INFO)


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `settings`, from the file and the corpus variables that `make` exports."""

    @click.option("--params", type=PATH, envvar="PARAMS", show_envvar=True, help="Settings file, see params/.")
    @click.option(
        "--corpus-kind", envvar="CORPUS", show_envvar=True, help="synthetic, speech_commands, mswc or folder."
    )
    @click.option("--source", type=PATH, envvar="SOURCE", show_envvar=True, help="Folder of recordings.")
    @click.option("--words", envvar="WORDS", show_envvar=True, help="Keywords, commas between; how: lamp [[l'amp]].")
    @click.option("--negative", type=PATH, envvar="NEGATIVE", show_envvar=True, help="Recordings without keywords.")
    @click.option("--bundle", "base", type=PATH, envvar="BUNDLE", show_envvar=True, help="Bundle to personalise.")
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        params: Path | None,
        corpus_kind: str | None,
        source: Path | None,
        words: str | None,
        negative: Path | None,
        base: Path | None,
        **kwargs: Any,
    ) -> None:
        if source and not source.is_dir():
            raise SettingsError(f"{source}: no such folder; SOURCE must be a folder of recordings")
        if base and (corpus_kind or words or negative):
            raise SettingsError("CORPUS, WORDS and NEGATIVE are those that BUNDLE was made with; leave them out")
        if base:
            settings = _personal_settings(params, base, source)
        else:
            settings = _settings(params, corpus_kind, source, words, negative)
        command(*args, settings=settings, **kwargs)

    return wrapped


def _settings(
    params: Path | None, corpus_kind: str | None, source: Path | None, words: str | None, negative: Path | None
) -> Settings:
    given: dict[str, Any] = {"kind": corpus_kind, "source": source and str(source.absolute())}
    given["keywords"] = config.split_words(words) if words else None
    corpus = {key: value for key, value in given.items() if value}
    settings = config.load(params, corpus=corpus, streams={"negative": str(negative.absolute())} if negative else {})
    if settings.corpus.kind == "synthetic" and settings.corpus.words and not config.sets(params, "audio", "clip_ms"):
        from pipeline.corpora import pronunciation

        return pronunciation.with_window(settings)
    return settings


def _personal_settings(params: Path | None, bundle: Path, source: Path | None) -> Settings:
    """Those that a bundle was made by, and what is to become of it."""
    from pipeline.corpora import personal

    paths = {"bundle": str(bundle.absolute()), "source": str(source.absolute()) if source else ""}
    return config.load_personal(params, personal.sections(bundle), **paths)


def stage(*inputs: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command of a stage: an argument for each input folder, one for the output, and the settings."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def command(settings: Settings, out: Path, **folders: Path) -> None:
            with _missing_extra_named():
                result = function(settings, **folders, out=out)
            _show(result, out)

        wrapped = with_settings(command)
        for name in reversed((*inputs, "out")):
            wrapped = click.argument(name, type=PATH)(wrapped)
        return main.command()(wrapped)

    return decorate


@contextlib.contextmanager
def _missing_extra_named() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"{error.name} is not installed, and building needs it; run: pip install '.[train,synthesis]'"
        ) from error


def format_option(*forms: str, help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--format`, given to the command as `form`; the first is the default."""
    return click.option("--format", "form", type=click.Choice(forms), default=forms[0], show_default=True, help=help)


def device_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--device`, for `microphone.find`."""
    help = "Input device, by its number or a part of its name; else the system's."
    return click.option("--device", metavar="NAME|NUMBER", help=help)(command)


def _show(result: Any, out: Path) -> None:
    from rich.console import Console

    # A pipe has no width of its own; a table must not be folded in it.
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False, soft_wrap=isinstance(result, str))
    console.print(result if not isinstance(result, str) else f"{out.name}: {result}", markup=False)


@main.command()
@click.argument("folder", type=PATH)
@with_settings
def settings(settings: Settings, folder: Path) -> None:
    """Write each section of the settings to FOLDER, touching only what changed; `make` compares them."""
    from pipeline import receipt

    negative = Path(settings.streams.negative)
    if settings.streams.negative and negative.is_dir():  # too few are said here, not after the training
        from pipeline.corpora import manifest, streams

        streams.negative_files(negative, manifest.TESTING)
    receipt.write_settings(folder, settings)


@stage()
def corpus(settings: Settings, out: Path) -> Any:
    """Find or make the clips: a checked list with labels, speakers and splits."""
    if settings.personalise.bundle:
        from pipeline.stages import personalise

        return personalise.corpus(settings, out)
    from pipeline.stages import corpus

    return corpus.run(settings, Path("data"), out)


@stage("corpus")
@click.option("--cluster", envvar="CLUSTER", show_envvar=True, default="", help="Address of a Dask scheduler.")
def features(settings: Settings, cluster: str, **folders: Path) -> Any:
    """Turn clips into MFCC, with changed copies for training."""
    if settings.personalise.bundle:
        from pipeline.stages import personalise

        return personalise.features(settings, **folders)
    from pipeline.stages import features

    return features.run(settings, **folders, address=cluster)


@stage("features")
def train(settings: Settings, **folders: Path) -> Any:
    """Train the bidirectional LSTM, or a bundle's on; an interrupted run goes on where it stopped."""
    if settings.personalise.bundle:
        from pipeline.stages import personalise

        return personalise.train(settings, **folders)
    from pipeline.stages import train

    return train.run(settings, **folders)


@stage("corpus", "features", "train")
def quantize(settings: Settings, **folders: Path) -> Any:
    """Choose calibration clips; prune and cluster the weights where the settings say so."""
    from pipeline.stages import quantize

    return quantize.run(settings, **folders)


@stage("corpus", "features", "quantize")
def export(settings: Settings, **folders: Path) -> Any:
    """Convert to TFLite: two files that take sound, three that take MFCC."""
    from pipeline.stages import export

    return export.run(settings, **folders)


@stage("corpus", "export")
def tune(settings: Settings, **folders: Path) -> Any:
    """Choose a threshold for each word, on streams made of validation clips."""
    from pipeline.stages import tune

    return tune.run(settings, **folders)


@stage("corpus", "features", "train", "quantize", "export", "tune")
def evaluate(settings: Settings, **folders: Path) -> Any:
    """Score the Keras model and every file on the test clips."""
    from pipeline.stages import evaluate

    return evaluate.run(settings, **folders)


@stage("export", "tune", "evaluate")
def bundle(settings: Settings, **folders: Path) -> Any:
    """Put together what a device gets, and check it."""
    from pipeline.stages import bundle

    return bundle.run(settings, **folders)


@stage("corpus", "evaluate", "bundle")
def report(settings: Settings, **folders: Path) -> Any:
    """Draw the page that shows what was made."""
    from pipeline.stages import report

    return report.run(settings, **folders)


@stage("features")
def memory(settings: Settings, **folders: Path) -> Any:
    """Measure how long an RNN, a GRU, an LSTM and a BiLSTM of equal size remember; it goes on where it stopped."""
    from pipeline.stages import memory

    return memory.run(settings, **folders)


@main.command()
@click.argument("model", type=PATH)
@click.argument("clips", nargs=-1, required=True, type=PATH, metavar="CLIP...")
@click.option("--picture", type=PATH, default="inspect.png", show_default=True, help="Where to draw: png, svg or pdf.")
def inspect(model: Path, clips: tuple[Path, ...], picture: Path) -> None:
    """Look into MODEL, a train folder, as it hears one CLIP or two: attention, gates and states over time.

    They are drawn side by side, and the numbers are written beside the picture, as .json.
    """
    if len(clips) > 2:
        raise click.UsageError(f"one clip or two can be looked at, and {len(clips)} were given")
    if picture.suffix not in (".png", ".svg", ".pdf"):
        raise click.UsageError(f"{picture}: no such kind of picture; give a name that ends in .png, .svg or .pdf")
    clips = tuple(dict.fromkeys(clips))
    for path in clips:
        _require(path.is_file(), f"{path}: no such file; give one clip or two")
    _require_folder_of(picture)
    with _missing_extra_named():
        from pipeline.network import inspect

        for path, (label, score) in zip(clips, inspect.run(model, clips, picture), strict=True):
            click.echo(f"{label}  {score:.3f}  {path}")
    click.echo(f"{picture}, {picture.with_suffix('.json')}")


@main.command()
@click.argument("first", type=PATH, metavar="BUILD")
@click.argument("second", type=PATH, metavar="BUILD")
@click.option("--page", type=PATH, help="Where to write the same as a page, .html.")
def compare(first: Path, second: Path, page: Path | None) -> None:
    """Set two BUILDs side by side: settings, figures, and whether they differ by more than chance.

    A BUILD is the folder that `make` fills, such as build/synthetic.
    """
    if page:
        _require_folder_of(page)
    with _missing_extra_named():
        from pipeline.pages import compare

        comparison = compare.compare(first, second)
        if page:
            page.write_text(compare.page(comparison), encoding="utf-8")
        _show(compare.tables(comparison), first)
    if page:
        click.echo(f"The page: {page}")


def _require_folder_of(out: Path) -> None:
    """Refuse, before anything is worked out, a file that can't be written."""
    _require(out.parent.is_dir(), f"{out}: no such folder; make it, or choose another place")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise PipelineError(message)


@main.command()
@click.argument("bundle", type=PATH)
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILE...")
@format_option("table", "json", help="For people or for programs.")
def classify(bundle: Path, files: tuple[Path, ...], form: str) -> None:
    """Say which word each sound FILE holds, by the recogniser in BUNDLE: the label with the best score."""
    from pipeline.device import Recognizer, audio

    recognizer = Recognizer.load(bundle)
    results, unusable = [], False
    for path in files:
        try:
            results.append((path, recognizer.classify(audio.read(path, recognizer.audio.sample_rate_hz))))
        except AudioError as error:
            unusable = True
            click.echo(f"Error: {error}", err=True)
    _show_results(results, recognizer.labels, form)
    if unusable:
        raise SystemExit(1)


@main.command()
@click.argument("bundle", type=PATH)
@click.argument("recordings", nargs=-1, required=True, type=PATH, metavar="AUDIO...")
@format_option(
    "table", "json", "csv", "srt", "audacity", help="For people, programs, players or the label track of Audacity."
)
def spot(bundle: Path, recordings: tuple[Path, ...], form: str) -> None:
    """List the words of BUNDLE in AUDIO of any length, with their times; - is raw sound on stdin.

    Raw sound is 16-bit, little-endian, mono, at the sample rate of BUNDLE (`arecord -t raw -f S16_LE -r 16000`).
    """
    from pipeline.device import Spotter, listing

    if form in listing.OF_ONE_RECORDING and len(recordings) > 1:
        raise click.UsageError(f"{form} is for one recording, and {len(recordings)} were given")
    heard: dict[str, list[Detection]] = {}
    unusable = False
    for path in dict.fromkeys(recordings):
        here = heard[str(path)] = []
        try:
            for detection in _listen_to(path, Spotter.load(bundle)):
                here.append(detection)
                if form == "table":  # as it is heard: standard input may never end
                    if sys.stderr.isatty():
                        click.echo(CLEAR_LINE, nl=False, err=True)  # of the progress bar, which is then drawn anew
                    click.echo(listing.as_line(detection, str(path) if len(recordings) > 1 else ""))
        except AudioError as error:
            unusable = True
            click.echo(f"Error: {error}", err=True)
    if form != "table":
        click.echo(listing.FORMATS[form](heard), nl=False)
    elif not any(heard.values()) and not unusable:
        click.echo("no word was heard", err=True)
    if unusable:
        raise SystemExit(1)


def _listen_to(path: Path, spotter: Spotter) -> Iterator[Detection]:
    from pipeline.device import audio

    if str(path) == "-":
        if sys.stdin is None:
            raise AudioError("standard input is closed; pipe sound into this command")
        with contextlib.suppress(KeyboardInterrupt):  # that is how one ends to speak
            for piece in audio.raw_stream(sys.stdin.buffer):
                yield from spotter.feed(piece)
    else:
        length_s = max(1, round(audio.duration_s(path)))
        with click.progressbar(
            length=length_s,
            label=f"{path.name:.20}",  # with the width, so that all of it fits a line
            width=20,
            show_pos=True,  # click draws only what has changed, and this does with each step
            file=sys.stderr,
            hidden=not sys.stderr.isatty(),
        ) as bar:
            for piece in audio.stream(path, spotter.audio.sample_rate_hz):
                yield from spotter.feed(piece)
                bar.update(round(spotter.time_s) - bar.pos)
    yield from spotter.finish()


@main.command()
@click.argument("bundle", type=PATH)
def verify(bundle: Path) -> None:
    """Check BUNDLE on this machine: every file's hash, labels and metadata, and the scores of its golden clips."""
    from pipeline.device.bundle import verify

    differences = verify(bundle)
    width = max(map(len, differences))
    for file, difference in differences.items():
        click.echo(f"{file:{width}}  as made; scores differ by at most {difference:.1g}")


@main.command()
@click.argument("bundle", type=PATH)
def words(bundle: Path) -> None:
    """List the words of BUNDLE: how synthetic voices said each, its threshold, and which words are close to it."""
    from pipeline.corpora import phonetics
    from pipeline.device import listing
    from pipeline.device.bundle import read_description

    description = read_description(bundle)
    said = {word: list(accents.values()) for word, accents in description.get("pronunciations", {}).items()}
    close: dict[str, list[str]] = {}
    for one, other, far in phonetics.alike(said):
        for word, near in ((one, other), (other, one)):
            close.setdefault(word, []).append(f"{near} ({100 * (1 - far):.0f} % the same)")
    rows = [("word", "pronunciation", "threshold", "close to")]
    for word, threshold in description["thresholds"].items():
        rows.append((word, said.get(word, ["not known"])[0], f"{threshold:.2f}", ", ".join(close.get(word, []))))
    click.echo(listing.as_table(rows), nl=False)


def _show_results(results: Sequence[tuple[Path, Result]], labels: Sequence[str], form: str) -> None:
    if form == "json":
        rows = [{"file": str(path), "label": r.label, "score": r.score, "scores": r.scores} for path, r in results]
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    from pipeline.device.listing import printable

    width = max(map(len, labels))
    for path, result in results:
        click.echo(f"{result.label:{width}}  {result.score:.3f}  {printable(str(path))}")
