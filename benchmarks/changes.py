"""Settings with one thing changed, which benchmarks compare with the settings as they are.

Each file in a folder is a change: a line that says what it tries, and the settings that differ.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import config
from pipeline.config import Settings
from pipeline.errors import SettingsError

AS_IT_IS = "as_it_is"  # no change: what all others are compared with


@dataclass(frozen=True)
class Run:
    """A training with a change, or as it is, from a seed; the name of its result file as a string."""

    change: str
    seed: int

    def __str__(self) -> str:
        return f"{self.change}-{self.seed}"


def names(folder: Path) -> tuple[str, ...]:
    return (AS_IT_IS, *sorted(path.stem for path in folder.glob("*.toml")))


def changed(folder: Path, name: str, sections: Sequence[str], settings: Settings) -> Settings:
    """The settings with a change of that folder on top.

    Parameters
    ----------
    sections
        Those that a change may touch.

    Raises
    ------
    SettingsError
        If the file of the change is none, or holds what a change may not touch.
    """
    if name == AS_IT_IS:
        return settings
    path = folder / f"{name}.toml"
    try:
        overlay = tomllib.loads(path.read_text(encoding="utf-8"))
        if unknown := sorted(overlay.keys() - set(sections)):
            raise SettingsError(f"section [{unknown[0]}] can't be changed here; known: {', '.join(sections)}")
        for section, values in overlay.items():
            config.require_section(section, values)
        built = {
            section: config.build_section(section, settings.section(section) | values)
            for section, values in overlay.items()
        }
        return dataclasses.replace(settings, **built)
    except (tomllib.TOMLDecodeError, SettingsError) as error:
        raise SettingsError(f"{path}: {error}") from None


def differences(before: Settings, after: Settings, sections: Sequence[str]) -> list[str]:
    """What a change comes to, such as `dropout 0.2 → 0.0`."""
    return [
        f"{key} {old} → {new}"
        for section in sections
        for (key, old), new in zip(before.section(section).items(), after.section(section).values(), strict=True)
        if new != old
    ]
