"""Distances between pronunciations: what sounds alike to people is near, whatever the spelling."""

from __future__ import annotations

import pytest

from pipeline.corpora.phonetics import alike, distance, relative_distance, sounds


def test_a_transcription_is_taken_apart_into_sounds_and_their_marks() -> None:
    assert [sound.sign for sound in sounds("plˈeɪ mjˈuːzɪk")] == list("pleɪmjuzɪk")
    assert [(sound.sign, *sound.marks) for sound in sounds("lˈɑ̃p")] == [("l",), ("ɑ", "\u0303"), ("p",)]
    assert [sound.sign for sound in sounds("ɪç")] == ["ɪ", "ç"]
    assert [(sound.sign, *sorted(sound.marks)) for sound in sounds("ni2χˈɑu2")] == [
        ("n",), ("i", "2"), ("χ",), ("ɑ",), ("u", "2"),
    ]  # fmt: skip
    assert sounds("ˈ ˌ") == []


@pytest.mark.parametrize("ipa", ["lˈæmp", "plˈeɪ mjˈuːzɪk", "ɽäˈũpɯᵝ", "tˈə5ŋ", "ʘǃ"])
def test_a_word_is_at_no_distance_from_itself_however_it_is_stressed(ipa: str) -> None:
    assert distance(ipa, ipa) == 0
    assert distance(ipa, ipa.replace("ˈ", "").replace(" ", "")) == 0


def test_a_sound_left_out_costs_one_and_a_weak_one_half() -> None:
    assert distance("læmp", "læm") == distance("læm", "læmp") == 1
    assert distance("hænd", "ænd") == 0.5
    assert distance("", "læmp") == 4
    assert relative_distance("læmp", "") == 1
    assert relative_distance("", "") == 0


@pytest.mark.parametrize(
    ("near", "far"),
    [
        ("pb", "pz"), ("td", "tm"), ("sʃ", "sk"), ("mn", "ms"), ("lɹ", "lk"), ("fθ", "fɡ"), ("iɪ", "iɑ"), ("æɛ", "æu"),
        ("oɔ", "oi"), ("ij", "ik"), ("wu", "wt"), ("yi", "yɑ"), ("ʁɣ", "ʁt"),
    ],
)  # fmt: skip
def test_sounds_made_alike_are_nearer_than_others(near: str, far: str) -> None:
    assert 0 < distance(*near) < distance(*far) <= 1


def test_length_and_tone_are_heard_less_than_another_sound() -> None:
    assert 0 < distance("ma1", "ma2") < distance("ma", "mi")
    assert 0 < distance("biːt", "bit") < distance("bit", "bat")


def test_pairs_that_sound_alike_come_closest_first_and_by_their_closest_accent() -> None:
    pairs = alike(
        {"light": ["laɪt", "lɑt"], "night": ["naɪt", "nɑt"], "right": ["ɹaɪt", "lɑt"], "kettle": ["kɛtəl", "kɛtɫ"]}
    )
    assert [pair[:2] for pair in pairs[:2]] == [("light", "right"), ("light", "night")]
    assert pairs[0][2] == 0
    assert not any("kettle" in pair for pair in pairs)


def test_the_ten_words_of_the_protocol_are_not_alike() -> None:
    ten = {"yes": "jˈɛs", "no": "nˈoʊ", "up": "ˈʌp", "down": "dˈaʊn", "left": "lˈɛft", "right": "ɹˈaɪt", "on": "ˈɔn",
           "off": "ˈɔf", "stop": "stˈɑːp", "go": "ɡˈoʊ"}  # fmt: skip
    assert alike({word: [ipa] for word, ipa in ten.items()}) == []
