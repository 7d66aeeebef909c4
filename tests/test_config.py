"""Settings: what differs is read, what can't be used is refused in one line that says where."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline import config
from pipeline.config import SECTIONS, Audio, Features, Settings, exact_div, load, split_words
from pipeline.errors import SettingsError

PARAMS = sorted((Path(__file__).parents[1] / "params").glob("*.toml"))


def settings_file(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(folder: Path, text: str) -> str:
    """What is said of a settings file: always one line that begins with the file's name."""
    path = settings_file(folder, text)
    with pytest.raises(SettingsError) as caught:
        load(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


# --- what a file changes ---


def test_a_file_changes_what_it_lists_and_nothing_else(tmp_path: Path) -> None:
    settings = load(settings_file(tmp_path, '[features]\nn_mfcc = 13\n[corpus]\nkeywords = ["yes", "no"]\n'))
    expected = Settings(
        features=dataclasses.replace(Features(), n_mfcc=13),
        corpus=dataclasses.replace(config.Corpus(), keywords=("yes", "no")),
    )
    assert settings == expected


def test_no_file_and_an_empty_file_are_the_defaults(tmp_path: Path) -> None:
    assert load() == load(settings_file(tmp_path, "")) == Settings()


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    path = settings_file(tmp_path, '[corpus]\nkind = "folder"\nseed = 7\n[streams]\nseed = 8\n')
    settings = load(path, corpus={"kind": "synthetic", "keywords": ["lamp"]}, streams={"negative": "radio"})
    corpus, streams = settings.corpus, settings.streams
    assert (corpus.kind, corpus.keywords, corpus.seed) == ("synthetic", ("lamp",), 7)
    assert (streams.negative, streams.seed) == ("radio", 8)


@pytest.mark.parametrize("path", PARAMS, ids=lambda path: path.stem)
def test_every_shipped_settings_file_loads_and_changes_something(path: Path) -> None:
    assert load(path, corpus={"kind": "folder"}) != load(corpus={"kind": "folder"})


def test_there_are_shipped_settings_files() -> None:
    assert {"tiny.toml", "eight_words.toml"} <= {path.name for path in PARAMS}


def test_words_held_out_and_synthetic_voices_are_all_that_differs_from_the_eight_words() -> None:
    names = ("eight_words", "eight_words_held_out", "eight_words_held_out_synthetic")
    files = {path.stem: path for path in PARAMS}
    eight_words, held_out, synthetic = (load(files[name], corpus={"kind": "speech_commands"}) for name in names)
    assert len(held_out.corpus.held_out_words) == 17
    assert dataclasses.replace(held_out, corpus=dataclasses.replace(held_out.corpus, held_out_words=())) == eight_words
    assert held_out == dataclasses.replace(
        synthetic,
        corpus=dataclasses.replace(synthetic.corpus, synthetic_clips=0),
        augment=dataclasses.replace(synthetic.augment, talk_percent=held_out.augment.talk_percent),
    )


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_survives_json(name: str) -> None:
    values = json.loads(json.dumps(Settings().section(name)))
    assert config.build_section(name, values) == getattr(Settings(), name)


def test_whole_numbers_do_for_fractions(tmp_path: Path) -> None:
    value = load(settings_file(tmp_path, "[augment]\ngain_db = 6\n")).augment.gain_db
    assert (value, type(value)) == (6.0, float)


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().audio.clip_ms = 1  # type: ignore[misc]


# --- unknown names ---


def test_an_unknown_section_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    known = "audio, corpus, features, augment, model, train, quantize, listen, streams, personalise, memory, report"
    assert refused(tmp_path, "[feature]\nn_mfcc = 13\n") == f"unknown section [feature]; known: {known}"


def test_an_unknown_key_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    message = refused(tmp_path, "[features]\nn_mfc = 13\n")
    known = [field.name for field in dataclasses.fields(Features)]
    assert message == f"unknown key features.n_mfc; known: {', '.join(known)}"


def test_a_key_outside_a_section_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "n_mfcc = 13\n").startswith("unknown section [n_mfcc]; known: audio, ")


@pytest.mark.parametrize("text", ["corpus = 3\n", 'corpus = "folder"\n', "[[corpus]]\nseed = 1\n"])
def test_a_section_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, text) == "corpus must be a section, [corpus]"
    # The same where the command line gives values of that section.
    with pytest.raises(SettingsError, match=r"mine\.toml: corpus must be a section"):
        load(tmp_path / "mine.toml", corpus={"kind": "folder"})


# --- types ---


@pytest.mark.parametrize(
    ("section", "line", "message"),
    [
        ("features", "n_mfcc = true", "features.n_mfcc is True; give a value of type int"),
        ("features", "n_mfcc = 13.0", "features.n_mfcc is 13.0; give a value of type int"),
        ("features", 'n_mfcc = "13"', "features.n_mfcc is '13'; give a value of type int"),
        ("augment", 'gain_db = "6"', "augment.gain_db is '6'; give a value of type float"),
        ("augment", "gain_db = true", "augment.gain_db is True; give a value of type float"),
        ("train", "mixed_precision = 1", "train.mixed_precision is 1; give a value of type bool"),
        ("corpus", "source = 1", "corpus.source is 1; give a value of type str"),
        ("corpus", 'keywords = "yes"', "corpus.keywords is 'yes'; give a list of str"),
        ("corpus", 'keywords = ["yes", 1]', "corpus.keywords is ['yes', 1]; give a list of str"),
        ("model", "lstm_units = 64", "model.lstm_units is 64; give a list of int"),
        ("model", "lstm_units = [64, 48.0]", "model.lstm_units is [64, 48.0]; give a list of int"),
        ("model", "lstm_units = [true]", "model.lstm_units is [True]; give a list of int"),
        ("corpus", 'source = "a\\nb"\nseed = "c\\nd"', "corpus.seed is 'c\\nd'; give a value of type int"),
    ],
)
def test_a_value_of_another_type_is_refused(tmp_path: Path, section: str, line: str, message: str) -> None:
    assert refused(tmp_path, f"[{section}]\n{line}\n") == message


# --- values ---

OUT_OF_RANGE = {
    "audio": ["sample_rate_hz = 0", "clip_ms = 0", "clip_ms = -1000"],
    "corpus": [
        'kind = "sythetic"', 'release = "v0.03"', 'split_by = "voice"', "validation_percent = -1",
        "testing_percent = 101.0", "unknown_percent = -0.5", "silence_percent = 1000", "training_unknown_percent = -1",
        "training_silence_percent = 101", "validation_percent = 50\ntesting_percent = 50", "variants = 2", "takes = -1",
        "max_rejected_percent = -1", "seed = -1", "sentences = -1", "kokoro_voices = 2",
    ],
    "features": [
        "n_fft = 500", "n_fft = 0", "n_mfcc = 0", "n_mfcc = 41", "f_min_hz = -1", "f_min_hz = 7600",
        "hop_ms = 0", "window_ms = 0", "shard_clips = 0", "f_max_hz = 8001", "window_ms = 33",
    ],
    "augment": [
        "copies = -1", "speed_percent = -1", "speed_percent = 50", "min_snr_db = 41", "room_probability = 1.1",
        "equaliser_probability = -0.1", "noise_probability = 2", "shift_ms = -1", "shift_ms = 5000", "gain_db = -1",
        "equaliser_db = -1", "gain_db = inf", "min_snr_db = -inf", "max_snr_db = nan", "seed = -1", "fragments = -1",
        "talk_percent = -1",
    ],
    "model": [
        "conv_filters = []", "conv_filters = [8, 0]", "conv_stride = 0", "projection_units = 0", "lstm_units = []",
        "lstm_units = [64, 0]", "dropout = 1",
    ],
    "train": [
        "epochs = 0", "batch_clips = 0", "patience_epochs = 0", "learning_rate = 0", "label_smoothing = 1",
        "mask_frames = -1", "mask_coefficients = -1", "learning_rate = nan", "learning_rate = inf", "seed = -1",
    ],
    "quantize": ["calibration_clips = 199", "sparsity_percent = 100", "clusters = 1", "epochs = 0",
                 "learning_rate = 0", "seed = -1"],
    "listen": [
        "hop_ms = 0", "smoothing_ms = 0", "smoothing_ms = 550", "smoothing_ms = 50", "rest_ms = -100", "rest_ms = 750",
        "gate_dbfs = 1",
    ],
    "streams": ["false_alarms_per_hour = -1", "snr_db = []", "snr_db = [121]", "snr_db = 20", "seed = -1"],
    "personalise": [
        "copies = -1", "takes_percent = 0", "takes_percent = 100", "epochs = 0", "learning_rate = 0", "seed = -1",
        'bundle = "build/x/bundle"',
    ],
    "memory": ["parameters = 0", "gap_steps = []", "gap_steps = [0]", "gap_steps = [10, 10]", "gap_updates = 0",
               "corpus_updates = 0", "clip_norm = 0", "large_gain = 0", "seeds = 0", "seed = -1"],
    "report": ["voices = 1"],
}  # fmt: skip


@pytest.mark.parametrize(("section", "line"), [(name, line) for name, lines in OUT_OF_RANGE.items() for line in lines])
def test_a_value_out_of_range_is_refused_with_its_place(tmp_path: Path, section: str, line: str) -> None:
    assert section in refused(tmp_path, f"[{section}]\n{line}\n")


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("augment", "copies = 0\nshift_ms = 0\nspeed_percent = 0\ngain_db = 0\nequaliser_db = 0\nseed = 0"),
        ("augment", "fragments = 0\ntalk_percent = 0"),
        ("augment", "room_probability = 0\nequaliser_probability = 1\nmin_snr_db = 40\nmax_snr_db = 40"),
        ("corpus", "validation_percent = 1\ntesting_percent = 1\nmax_rejected_percent = 100\nvariants = 3"),
        ("features", "n_mfcc = 1\nf_min_hz = 0\nf_max_hz = 8000\nwindow_ms = 32"),
        ("train", "mask_frames = 0\nmask_coefficients = 0\nlabel_smoothing = 0\nweight_decay = 0"),
        ("quantize", "calibration_clips = 200\nsparsity_percent = 0\nclusters = 2"),
        ("listen", "rest_ms = 0\nsmoothing_ms = 100"),
        ("streams", "false_alarms_per_hour = 0"),
    ],
)
def test_a_value_at_the_end_of_its_range_is_kept(tmp_path: Path, section: str, line: str) -> None:
    values = load(settings_file(tmp_path, f"[{section}]\n{line}\n")).section(section)
    for setting in line.splitlines():
        key, _, value = setting.partition(" = ")
        assert values[key] == float(value)


def test_every_section_is_tried_out_of_range() -> None:
    assert OUT_OF_RANGE.keys() == SECTIONS.keys()


def test_the_choices_are_named(tmp_path: Path) -> None:
    message = refused(tmp_path, '[corpus]\nkind = "sythetic"\n')
    assert message == "corpus.kind 'sythetic': choose one of synthetic, speech_commands, mswc, folder"


@pytest.mark.parametrize("setting", ["keywords", "held_out_words"])
@pytest.mark.parametrize("word", ["", " ", "\t"])
def test_an_empty_word_is_refused(tmp_path: Path, setting: str, word: str) -> None:
    message = refused(tmp_path, f'[corpus]\n{setting} = ["yes", "{word}"]\n')
    assert message == f"corpus.{setting}: a word is empty; remove it from the list"


@pytest.mark.parametrize("setting", ["keywords", "held_out_words"])
@pytest.mark.parametrize(("first", "second"), [("yes", "yes"), ("yes", "Yes"), ("yes", " yes"), ("straße", "STRASSE")])
def test_a_word_listed_twice_is_refused_by_name(tmp_path: Path, setting: str, first: str, second: str) -> None:
    message = refused(tmp_path, f'[corpus]\n{setting} = ["{first}", "no", "{second}", "go"]\n')
    assert message.startswith(f"corpus.{setting}: ")
    assert second in message
    assert not re.search(r"\b(no|go)\b", message)


@pytest.mark.parametrize("setting", ["keywords", "held_out_words"])
@pytest.mark.parametrize("word", ["_silence_", "_unknown_", "_background_noise_", "_talk_"])
def test_a_name_of_the_protocol_is_no_word(tmp_path: Path, setting: str, word: str) -> None:
    message = refused(tmp_path, f'[corpus]\n{setting} = ["yes", "{word}"]\n')
    assert message == f"corpus.{setting}: {word} has a meaning of its own here; name the word otherwise"


@pytest.mark.parametrize("word", ["yes", "Yes", " yes"])
def test_a_keyword_is_not_held_out(tmp_path: Path, word: str) -> None:
    message = refused(tmp_path, f'[corpus]\nkeywords = ["no", "yes"]\nheld_out_words = ["dog", "{word}"]\n')
    assert message == (
        f"corpus.held_out_words: {word}: what is a keyword must be learnt; remove it there, "
        "or name the keywords without it in corpus.keywords or WORDS"
    )


@pytest.mark.parametrize("line_break", ["\\n", "\\r", "\\u2028", "\\u0085"])
def test_a_keyword_with_a_line_break_is_refused(tmp_path: Path, line_break: str) -> None:
    # labels.txt has one label on each line.
    assert "corpus.keywords" in refused(tmp_path, f'[corpus]\nkeywords = ["switch{line_break}on", "no"]\n')


def test_keywords_of_two_words_and_other_scripts_are_kept(tmp_path: Path) -> None:
    path = settings_file(tmp_path, '[corpus]\nkeywords = ["switch on", "früh", "да", "don\'t"]\n')
    assert load(path).corpus.keywords == ("switch on", "früh", "да", "don't")


def test_a_word_may_come_with_its_pronunciation(tmp_path: Path) -> None:
    path = settings_file(tmp_path, """[corpus]\nkeywords = ["lamp [[l'amp]]", "play music", " on[[0n]] "]\n""")
    corpus = load(path).corpus
    assert corpus.words == ("lamp", "play music", "on")
    assert corpus.pronunciations == {"lamp": "[[l'amp]]", "on": "[[0n]]"}


@pytest.mark.parametrize(
    "entry", ["lamp [[l'amp", "lamp l'amp]]", "lamp [[]]", "lamp [[ ]]", "[[l'a]] lamp", "a [[b]] c"]
)
def test_a_pronunciation_that_is_not_whole_is_refused(entry: str, tmp_path: Path) -> None:
    message = refused(tmp_path, f'[corpus]\nkeywords = ["{entry}"]\n')
    assert message == f"corpus.keywords: {entry!r}: write a word and how it is said as lamp [[l'amp]]"


def test_a_word_is_the_same_with_its_pronunciation_and_without(tmp_path: Path) -> None:
    message = refused(tmp_path, """[corpus]\nkeywords = ["lamp [[l'amp]]", "Lamp"]\n""")
    assert message == "corpus.keywords: lamp, Lamp: one word twice; remove one"


def test_commas_part_words_but_not_the_stress_marks_of_a_pronunciation() -> None:
    given = "lamp, sésame [[s,eIs'A:m,E]] ,don't, a [[0,[n]],"
    assert split_words(given) == ["lamp", "sésame [[s,eIs'A:m,E]]", "don't", "a [[0,[n]]", ""]


def test_an_accent_must_be_of_the_language(tmp_path: Path) -> None:
    message = refused(tmp_path, '[corpus]\nlanguage = "fr"\naccents = ["fr-be", "en-us"]\n')
    remedy = "remove it, or set corpus.language to its language"
    assert message == f"corpus.accents: en-us: not of corpus.language 'fr'; {remedy}"
    assert load(settings_file(tmp_path, '[corpus]\nlanguage = "en-us"\naccents = ["en"]\n')).corpus.accents == ("en",)


# --- sizes that must divide ---


def test_exact_div() -> None:
    assert exact_div(16_000, 1000, "here") == 16
    with pytest.raises(SettingsError, match=r"^here: 7 / 2 is not a whole number; choose values that divide$"):
        exact_div(7, 2, "here")


def test_sizes_come_from_times() -> None:
    audio, features = Audio(sample_rate_hz=16_000, clip_ms=1_000), Features(window_ms=25, hop_ms=20, n_fft=512)
    assert (audio.clip_samples, features.hop_samples(audio), features.window_samples(audio)) == (16_000, 320, 400)
    assert features.frames(audio) == 49


def test_the_last_frame_ends_inside_the_clip() -> None:
    features = Features(hop_ms=1, n_fft=512)  # 16 samples
    frames = {clip_ms: features.frames(Audio(clip_ms=clip_ms)) for clip_ms in (32, 33, 34)}
    assert frames == {32: 1, 33: 2, 34: 3}  # 512, 528 and 544 samples


@pytest.mark.parametrize(
    ("text", "what", "dividend"),
    [
        ("[audio]\nsample_rate_hz = 22050\nclip_ms = 999\n", "audio.clip_ms", 22027950),
        ("[audio]\nsample_rate_hz = 22050\n[features]\nhop_ms = 11\n", "features.hop_ms", 242550),
        ("[audio]\nsample_rate_hz = 22050\n[features]\nwindow_ms = 21\n", "features.window_ms", 463050),
    ],
)
def test_sizes_that_do_not_divide_are_refused(tmp_path: Path, text: str, what: str, dividend: int) -> None:
    division = f"audio.sample_rate_hz * {what} / 1000: {dividend} / 1000"
    assert refused(tmp_path, text) == f"{division} is not a whole number; choose values that divide"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[audio]\nclip_ms = 31\n", "audio.clip_ms is 31; a clip must hold one frame of 512 samples"),
        ("[features]\nn_fft = 32768\n", "audio.clip_ms is 1000; a clip must hold one frame of 32768 samples"),
        ("[features]\nwindow_ms = 40\n",
         "features.window_ms is 640 samples; features.n_fft, 512, must hold them"),
        ("[audio]\nsample_rate_hz = 8000\n", "features.f_max_hz is above half the sample rate, 4000"),
    ],
)  # fmt: skip
def test_sections_that_do_not_go_together_are_refused(tmp_path: Path, text: str, message: str) -> None:
    assert refused(tmp_path, text) == message


# --- files ---


@pytest.mark.parametrize("text", ["[corpus\n", "[corpus]\nkind = folder\n", "[corpus]\nseed = 1\nseed = 2\n"])
def test_broken_toml_is_refused_with_the_line(tmp_path: Path, text: str) -> None:
    assert re.fullmatch(r"not readable as TOML: .+ \(at line \d+, column \d+\)", refused(tmp_path, text))


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clip.wav").write_bytes(b"RIFF\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"clip\.wav: not readable as TOML: .*can't decode"):
        load(tmp_path / "clip.wav")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^.*/none\.toml: no such settings file; see params/ for examples$"):
        load(tmp_path / "none.toml")


def test_a_folder_is_no_settings_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"not readable as TOML: .*Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize("values", [{"kind": "nothing"}, {"keywords": ["a", ""]}, {"seed": "1"}, {"sed": 1}])
def test_without_a_file_the_settings_are_named(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"^settings: (unknown key )?corpus\."):
        load(corpus=values)


def test_a_mistake_in_settings_ends_the_program_with_2() -> None:
    assert SettingsError.exit_code == 2
