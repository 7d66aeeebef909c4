"""What was heard, as text: for people, programs, players and editors."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from pipeline.device.spot import Detection

Heard = Mapping[str, Sequence[Detection]]  # recording → its detections, in order


def as_line(detection: Detection, name: str = "") -> str:
    """Start, end, score, word, and the recording if it is named: a line of a table."""
    start, end = _clock(detection.start_s), _clock(detection.end_s)
    return f"{start}  {end}  {detection.score:.2f}  {detection.word}" + (f"  {printable(name)}" if name else "")


def printable(name: str) -> str:
    """A file's name on one line, whatever stands in it."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in name)


def as_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows with their columns below each other, in a terminal's cells: some signs take two, accents put on none."""
    widths = [max(map(_cells, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(text + " " * (w - _cells(text)) for text, w in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _cells(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def as_json(heard: Heard) -> str:
    rows = [{"file": name, **asdict(detection)} for name, detections in heard.items() for detection in detections]
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def as_csv(heard: Heard) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "word", "start_s", "end_s", "score"])
    for name, detections in heard.items():
        writer.writerows((name, d.word, f"{d.start_s:.3f}", f"{d.end_s:.3f}", f"{d.score:.4f}") for d in detections)
    return text.getvalue()


def as_srt(heard: Heard) -> str:
    """SubRip subtitles, for a player."""
    (detections,) = heard.values()
    numbered = enumerate(detections, 1)
    return "\n".join(f"{n}\n{_clock(d.start_s, ',')} --> {_clock(d.end_s, ',')}\n{d.word}\n" for n, d in numbered)


def as_audacity(heard: Heard) -> str:
    """A label track for Audacity: start and end in seconds, and the word, with tabs between."""
    (detections,) = heard.values()
    return "".join(f"{d.start_s:.6f}\t{d.end_s:.6f}\t{d.word}\n" for d in detections)


FORMATS: dict[str, Callable[[Heard], str]] = {
    "json": as_json,
    "csv": as_csv,
    "srt": as_srt,
    "audacity": as_audacity,
}
OF_ONE_RECORDING = ("srt", "audacity")


def _clock(time_s: float, point: str = ".") -> str:
    """Hours, minutes, seconds and milliseconds."""
    total_ms = round(time_s * 1000)
    minutes, ms = divmod(total_ms, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{ms // 1000:02}{point}{ms % 1000:03}"
