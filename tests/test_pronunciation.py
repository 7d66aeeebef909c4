"""Words of one's own in any language: how they are said, which are refused or warned of, and what is near them."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from pipeline import config
from pipeline.config import Settings
from pipeline.corpora import espeak, languages, phonetics, pronunciation, synthetic, voices
from pipeline.corpora.manifest import SPLITS, TESTING, TRAINING, VALIDATION
from pipeline.corpora.process import in_fresh_process
from pipeline.errors import CorpusError, MissingExtra


def settings(*words: str, language: str = "en", accents: tuple[str, ...] = (), **corpus: object) -> Settings:
    few = {"variants": 3, "kokoro_voices": 0, "sentences": 6}
    return config.load(corpus={"keywords": words, "language": language, "accents": accents, **few, **corpus})


def check(*words: str, **given: object) -> list[str]:
    made = settings(*words, **given)  # type: ignore[arg-type]
    return pronunciation.check(pronunciation.look_up(made), made)


US = {"accents": ("en-us",)}


# --- languages ---


def test_a_language_is_spoken_in_all_its_accents_the_plain_one_first() -> None:
    assert languages.of_language("fr") == ("fr", "fr-be", "fr-ch")
    assert languages.of_language("ja") == ("ja",)
    assert languages.of_language("FA") == ("fa",)  # not by the voice that reads Persian in Latin letters
    assert languages.of_language("fa-latn") == ("fa-latn",)
    assert languages.accents(config.load().corpus)[0] == "en-us"


@pytest.mark.parametrize(
    ("language", "message"),
    [
        ("xx", r"corpus\.language: eSpeak NG has no voice for 'xx'; it speaks af am .* fr .* yue$"),
        ("no", r"corpus\.language: eSpeak NG has no voice for 'no'; set it to nb$"),
        ("", r"corpus\.language: eSpeak NG has no voice for ''; it speaks"),
    ],
)
def test_a_language_without_a_voice_is_refused(language: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        pronunciation.look_up(settings("lamp", language=language))


@pytest.mark.parametrize(("language", "script"), [("fr", "a"), ("ja", "ア"), ("ru", "а"), ("cmn", "亚"), ("ar", "ا")])
def test_other_words_are_words_of_the_language(language: str, script: str) -> None:
    words = languages.vocabulary(language)
    assert len(words) > 300
    assert any(script in word for word in words)
    assert words == sorted(set(words))
    assert not set(words) & {"about", "kettle"}
    assert max(map(len, words)) <= 12


def test_a_language_without_names_of_its_own_reads_the_english_words() -> None:
    assert languages.vocabulary("jbo") == languages.vocabulary("en")


def test_without_babel_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "babel", None)
    languages._words_of_names.cache_clear()
    with pytest.raises(MissingExtra, match=r"Babel; run: pip install 'speech-command-pipeline\[synthesis\]'"):
        languages.vocabulary("fr")


def test_other_words_can_all_be_read_by_the_voice() -> None:
    others = voices.other_words(["はい"], settings("はい", language="ja").corpus)
    read = in_fresh_process(
        voices.clean_context(), "broken", _read, "ja", [w for split in SPLITS for w in others[split]]
    )
    assert len(read) > 300
    assert not [sound for sound in read if languages.is_read_as_another(sound)]


def _read(accent: str, words: list[str]) -> list[str]:
    speaker = espeak.ESpeak()
    speaker.set_voice(accent, "m1")
    return [speaker.phonemes(word) for word in words]


def test_a_language_of_few_accents_has_more_takes() -> None:
    takes = {language: synthetic._takes(settings("a", language=language).corpus) for language in ("en", "fr", "de")}
    assert takes == {"en": 1, "fr": 2, "de": 8}
    assert synthetic._takes(settings("a", language="de", takes=3).corpus) == 3


# --- how words are said ---


def test_words_are_shown_as_each_accent_says_them() -> None:
    said = pronunciation.look_up(settings("lamp", "play music", accents=("en-us", "en-gb-scotland")))
    assert said["lamp"].ipa["en-us"] == "lˈæmp"
    assert said["lamp"].ipa["en-gb-scotland"] == "lˈamp"
    assert said["play music"].ipa["en-us"] == "plˈeɪ mjˈuːzɪk"
    assert said["lamp"].phonemes == "l'amp"  # what one would write to change it
    assert 300 < said["lamp"].length_ms < said["play music"].length_ms < 1_200


def test_a_pronunciation_is_taken_as_it_is_given() -> None:
    said = pronunciation.look_up(settings("sésame [[s'ezam]]", "lampe", language="fr"))
    assert set(said["sésame"].ipa.values()) == {"sˈezam"}
    plain = pronunciation.look_up(settings("sésame", language="fr"))
    assert plain["sésame"].ipa["fr"] == "sezˈam"
    again = pronunciation.look_up(settings(f"sésame [[{plain['sésame'].phonemes}]]", language="fr"))
    assert again["sésame"].ipa["fr"] == "sezˈam"


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en-us", ("kettle", "don't", "play music")),
        ("fr", ("l'été", "allume la musique")),
        ("de", ("Musik an", "größer")),
        ("ja", ("おんがく", "らんぷ")),
        ("cmn", ("你好", "播放音乐")),
        ("ru", ("лампа",)),
    ],
)
def test_what_is_shown_as_phonemes_can_be_given_as_a_pronunciation(language: str, words: tuple[str, ...]) -> None:
    accents = languages.of_language(language)[:1]
    shown = pronunciation.look_up(settings(*words, language=language, accents=accents))
    entries = [f"{word} [[{shown[word].phonemes}]]" for word in words]
    given = pronunciation.look_up(settings(*entries, language=language, accents=accents))
    assert {word: said.ipa for word, said in given.items()} == {word: said.ipa for word, said in shown.items()}


def test_what_a_person_is_shown_before_the_voices_begin() -> None:
    made = settings("lamp", "play the music again", **US)  # type: ignore[arg-type]
    wide = pronunciation.with_window(made)
    assert list(pronunciation.lines(pronunciation.look_up(made), made))[1:] == [
        "  lamp                  lˈæmp                    [[l'amp]]",
        "  play the music again  plˈeɪ ðə mjˈuːzɪk ɐɡˈɛn  [[pl'eI D@2 mj'u:zIk a#g'En]]",
    ]
    *_, last = pronunciation.lines(pronunciation.look_up(wide), wide)
    assert last.startswith(f"audio.clip_ms: a window of {wide.audio.clip_ms} ms instead of 1000, for 'play the music")


def test_the_window_is_as_wide_as_the_longest_word_said_slowly_and_never_below_the_usual() -> None:
    assert pronunciation.with_window(settings("lamp", **US)).audio.clip_ms == 1_000  # type: ignore[arg-type]
    made = settings("lamp", "play the music again", **US)  # type: ignore[arg-type]
    longest_ms = pronunciation.look_up(made)["play the music again"].length_ms
    clip_ms = pronunciation.with_window(made).audio.clip_ms
    assert clip_ms % 100 == 0
    assert longest_ms * 1.2 < clip_ms < longest_ms * 1.2 + 200
    endless = settings("please play all of the music of last year again " * 2, **US)  # type: ignore[arg-type]
    assert pronunciation.with_window(endless).audio.clip_ms == 3_000


# --- what is refused, and what is warned of ---


@pytest.mark.parametrize(
    ("words", "language", "message"),
    [
        (("four", "for"), "en", r"'four' and 'for' are both said fˈɔːɹ; remove one, or write behind it another pron"),
        (("lamp [[l'amp]]", "light [[l'amp]]"), "en", r"'lamp' and 'light' are both said"),
        (("lamp [[l'a€mp]]",), "en", r"lamp \[\[l'a€mp\]\]: the voice en-us knows no phoneme after"),
        (("lamp [[日]]",), "en", r"lamp \[\[日\]\]: the voice en-us knows no phoneme after ''; write it with those"),
        (("電気",), "ja", r"the voice ja can't read '電気', but says \(en\).*; write it in letters of"),
        (("лампа",), "fr", r"voices of 'fr' can't read 'л' in 'лампа'; write it in"),
        (("日本",), "de", r"voices of 'de' can't read '日' in '日本'; write it in"),
        (("lamp",), "ru", r"the voice ru can't read 'lamp', but says \(en\)lˈamp\(ru\)"),
        (("…",), "fr", r"'…' has no letter to say; write the word as it is spoken"),
    ],
)  # fmt: skip
def test_words_that_can_not_be_said_or_told_apart(words: tuple[str, ...], language: str, message: str) -> None:
    accents = ("en-us",) if language == "en" else (language,)
    with pytest.raises(CorpusError, match=rf"^corpus\.keywords: .*{message}") as refused:
        check(*words, language=language, accents=accents)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("word", "language"), [("lampa", "sr"), ("лампа", "sr"), ("Ελλάδα", "el"), ("ランプ", "ja")])
def test_words_in_letters_of_the_language_are_taken(word: str, language: str) -> None:
    assert check(word, language=language) == []


def test_words_that_sound_alike_are_warned_of_and_others_are_not() -> None:
    assert check("lamp", "kettle", "play music", "sésame", **US) == []  # type: ignore[arg-type]
    (warning,) = check("light", "night", "kettle", **US)  # type: ignore[arg-type]
    assert warning.startswith("'light' and 'night' sound alike (88 % the same), and will be taken for each other")


def test_words_that_only_some_accents_tell_apart_are_warned_of() -> None:
    (warning,) = check("cot", "caught", accents=("en-us", "en-gb-x-rp"))
    assert warning.startswith("'cot' and 'caught' sound alike (")


def test_words_of_few_sounds_are_warned_of() -> None:
    remedy = "which are in much that people say; choose a word of two syllables or more"
    assert check("oh [[o:::]]", "up", "yes", min_clip_ms=50, **US) == [  # type: ignore[arg-type]
        f"'oh' has 1 sound only, {remedy}",
        f"'up' has 2 sounds only, {remedy}",
    ]
    assert check() == []  # the ten words of the protocol, in all accents


# --- near words ---


def near(*words: str, **given: object) -> dict[str, list[str]]:
    return pronunciation.near_words(settings(*words, **given).corpus)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def changed() -> list[str]:
    return near("lamp", "kettle", **US)["en-us"]


def test_near_words_are_a_sound_or_two_away_and_no_keyword(changed: list[str]) -> None:
    assert 20 <= len(changed) == len(set(changed)) <= 40
    sounds = in_fresh_process(voices.clean_context(), "broken", _read, "en-us", changed)
    for sound in sounds:
        nearest = min(phonetics.distance(sound, keyword) for keyword in ("læmp", "kɛɾəl"))
        assert pronunciation.LEAST_CHANGE <= nearest <= pronunciation.MOST_CHANGE, sound


def test_near_words_are_the_same_every_time_and_of_each_keyword_from_the_first(changed: list[str]) -> None:
    assert near("lamp", "kettle", **US)["en-us"] == changed
    assert near("lamp", "kettle", seed=2, **US)["en-us"] != changed
    first, second = in_fresh_process(voices.clean_context(), "broken", _read, "en-us", changed[:2])
    assert phonetics.distance(first, "læmp") < phonetics.distance(first, "kɛɾəl")
    assert phonetics.distance(second, "kɛɾəl") < phonetics.distance(second, "læmp")


def test_near_words_are_made_in_any_language() -> None:
    for language, word in (("fr", "bouilloire"), ("ja", "でんき"), ("cmn", "你好")):
        accent = languages.of_language(language)[0]
        assert len(near(word, language=language, accents=(accent,))[accent]) > 5


def test_the_ten_words_and_zero_percent_have_no_near_words() -> None:
    assert near() == {}
    assert near("lamp", near_percent=0) == {}


def test_a_quarter_of_the_other_words_that_training_hears_are_near_ones(tmp_path: Path) -> None:
    made = settings("lamp", "kettle", variants=6, takes=5, **US)  # type: ignore[arg-type]
    found = synthetic.find(made, tmp_path)
    others = {
        split: [c.word for c in found.candidates if c.split == split and c.word not in found.keywords]
        for split in SPLITS
    }
    changed = [word for word in others[TRAINING] if word.startswith("[[")]
    assert len(changed) == len(others[TRAINING]) // 4 == 2
    assert not [word for word in itertools.chain(others[VALIDATION], others[TESTING]) if word.startswith("[[")]


def test_the_words_of_a_corpus_carry_no_phonemes_and_their_pronunciations_are_kept(tmp_path: Path) -> None:
    made = settings("lampe [[l'A~p]]", "bouilloire", language="fr", near_percent=0, takes=1)
    found = synthetic.find(made, tmp_path)
    assert found.keywords == ("lampe", "bouilloire")
    assert {candidate.word for candidate in found.candidates if "[" in candidate.word} == set()
    assert sum(candidate.word == "lampe" for candidate in found.candidates) == 9  # three variants in three accents
    assert found.language == "fr"
    assert found.pronunciations["lampe"] == {"fr": "lˈɑ̃p", "fr-be": "lˈɑ̃p", "fr-ch": "lˈɑ̃p"}
    assert all(candidate.path.stat().st_size > 5_000 for candidate in found.candidates)
