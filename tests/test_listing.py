"""What was heard, in the forms that programs, players and editors read."""

from __future__ import annotations

import csv
import io
import json

from pipeline.device.listing import FORMATS, as_line, as_table
from pipeline.device.spot import Detection

ONE = {"a, b.wav": [Detection("play music", 1.25, 1.9996, 0.876543), Detection('sésame "x"', 3_725.5, 3_726.0, 1.0)]}
TWO = ONE | {"c.wav": [], "d.wav": [Detection("lamp", 0.0, 0.5, 0.5)]}


def test_a_line_is_for_people() -> None:
    (first, second) = ONE["a, b.wav"]
    assert as_line(first) == "00:00:01.250  00:00:02.000  0.88  play music"
    assert as_line(second, "b.wav") == '01:02:05.500  01:02:06.000  1.00  sésame "x"  b.wav'


def test_a_name_can_t_break_a_line_or_move_the_cursor() -> None:
    assert as_line(ONE["a, b.wav"][0], "é\n\x1b[2J.wav").endswith("play music  é\\n\\x1b[2J.wav")


def test_json_and_csv_say_which_recording() -> None:
    rows = json.loads(FORMATS["json"](TWO))
    assert [row["file"] for row in rows] == ["a, b.wav", "a, b.wav", "d.wav"]
    assert rows[0] == {"file": "a, b.wav", "word": "play music", "start_s": 1.25, "end_s": 1.9996, "score": 0.876543}
    table = list(csv.DictReader(io.StringIO(FORMATS["csv"](TWO))))
    assert [row["word"] for row in table] == ["play music", 'sésame "x"', "lamp"]
    assert [float(row["start_s"]) for row in table] == [1.25, 3725.5, 0.0]
    assert table[0]["file"] == "a, b.wav"


def test_subtitles_are_numbered_blocks() -> None:
    assert FORMATS["srt"](ONE).split("\n\n") == [
        "1\n00:00:01,250 --> 00:00:02,000\nplay music",
        '2\n01:02:05,500 --> 01:02:06,000\nsésame "x"\n',
    ]


def test_audacity_reads_tabs() -> None:
    assert FORMATS["audacity"](ONE) == ('1.250000\t1.999600\tplay music\n3725.500000\t3726.000000\tsésame "x"\n')


def test_a_table_has_its_columns_below_each_other_in_cells_of_a_terminal() -> None:
    rows = [("word", "ipa"), ("でんき", "x"), ("lɑ\u0303p", "y"), ("a", "")]
    assert as_table(rows) == "word    ipa\nでんき  x\nlɑ\u0303p     y\na\n"
