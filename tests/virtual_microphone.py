"""A microphone on a machine without any: what is played into a null sink of a private PulseAudio is what it hears."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.device import audio
from pipeline.device.audio import Samples

PROGRAMS = ("pulseaudio", "pactl", "paplay")
PLUGINS = ("lib*/alsa-lib", "lib*/*/alsa-lib")  # in /usr; by them PortAudio, which speaks ALSA, reaches PulseAudio
NAME = "virtual"
# A name of its own for PortAudio. So that none but this device is heard, `pulse` and `default` lead to it too.
ALSA = f"pcm.{NAME} {{ type pulse device {NAME}.monitor }}\n"
_START_S = 20


def _lacking() -> list[str]:
    found = any(path for folder in PLUGINS for path in Path("/usr").glob(f"{folder}/libasound_module_pcm_pulse.so"))
    return [
        *(program for program in PROGRAMS if shutil.which(program) is None),
        *([] if ctypes.util.find_library("portaudio") else ["libportaudio2"]),
        *([] if found else ["libasound2-plugins"]),
    ]


class VirtualMicrophone:
    """Runs while entered; processes that are given `environment` have the microphone, named `virtual`, and no other.

    Sound of its own rate, in 16 bits and mono, is heard as it was played, bit for bit; in between, zeros.
    """

    def __init__(self, rate_hz: int = 16_000) -> None:
        self._rate_hz = rate_hz
        # Sockets want a short path, shorter than those that pytest makes.
        self._home = tempfile.TemporaryDirectory(prefix="microphone")
        home = Path(self._home.name)
        self.environment = {
            **os.environ,
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home),
            "PULSE_RUNTIME_PATH": str(home),
            "PULSE_STATE_PATH": str(home),
            "PULSE_SERVER": f"unix:{home}/native",
            "PULSE_SOURCE": f"{NAME}.monitor",
        }
        (home / ".asoundrc").write_text(ALSA)

    def __enter__(self) -> VirtualMicrophone:
        log = Path(self._home.name) / "log"
        self._daemon = subprocess.Popen(
            [
                *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"),
                f"--log-target=file:{log}",
                f"--load=module-native-protocol-unix socket={self._home.name}/native auth-anonymous=1",
                f"--load=module-null-sink sink_name={NAME} rate={self._rate_hz} channels=1 format=s16le",
            ],
            env=self.environment,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _START_S
        while self._control("info", check=False).returncode:
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"PulseAudio does not start: {log.read_text() if log.exists() else ''}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._home.cleanup()

    def _control(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["pactl", *command], env=self.environment, capture_output=True, check=check, timeout=20)

    def play(self, samples: Samples) -> None:
        """Play `(samples,)` of the microphone's rate; returns when they have been heard."""
        path = Path(self._home.name) / "played.wav"
        # Of a sound's first tenth of a second the sink has given silence already; its last is heard a little later.
        audio.write(path, np.pad(samples, self._rate_hz // 2), self._rate_hz)
        command = ["paplay", f"--device={NAME}", str(path)]
        subprocess.run(command, env=self.environment, capture_output=True, check=True, timeout=120)

    def unplug(self) -> None:
        """Take the device away."""
        self._control("unload-module", "module-null-sink")

    def suspend(self) -> None:
        """The device stays, and gives nothing any more."""
        self._control("suspend-sink", NAME, "1")

    def freeze(self) -> None:
        """The sound system doesn't answer any more, whatever it is asked."""
        self._daemon.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End the sound system."""
        self._daemon.kill()
        self._daemon.wait()


def require_audio() -> None:
    """Skip a test where this machine can't have such a microphone."""
    if lacking := _lacking():
        packages = "pulseaudio pulseaudio-utils libportaudio2 libasound2-plugins"
        pytest.skip(f"a virtual microphone needs {', '.join(lacking)}; on Debian: apt install {packages}")
