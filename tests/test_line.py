"""The whole line by `make`, as a person runs it: a build, its repetition, its interruption, its bundle."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import CLEAN, FILES, ROOT, TINY, run_make

from pipeline.receipt import STAGES

PYTHON = str(ROOT / ".venv" / "bin" / "python")
LABELS = ["_silence_", "_unknown_", "yes", "no"]
INPUTS = {
    "corpus": [],
    "features": ["corpus"],
    "train": ["features"],
    "export": ["corpus", "features", "quantize"],
    "report": ["corpus", "evaluate", "bundle"],
}


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run_pipeline(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [PYTHON, "-m", "pipeline", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env={**CLEAN, **environment}, capture_output=True, text=True, timeout=300)


def one_line_error(result: subprocess.CompletedProcess[str]) -> str:
    """The message of a failed command, which must be one line on standard error and nothing else."""
    assert result.returncode in (1, 2), result.stdout + result.stderr
    # LiteRT says this once in a process, and has no way to be told not to.
    lines = [line for line in result.stderr.strip().splitlines() if "XNNPACK delegate" not in line]
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.fixture
def copy(tiny_build: Path, tmp_path: Path) -> Path:
    """A copy of the build that a test may spoil; times are kept, so that `make` finds nothing to do in it."""
    return Path(shutil.copytree(tiny_build, tmp_path / "build"))


def test_every_stage_leaves_its_receipt_and_no_leftovers(tiny_build: Path) -> None:
    assert {path.name for path in tiny_build.iterdir()} == {*STAGES, "settings"}
    for stage in STAGES:
        files = digests(tiny_build / stage)
        del files["receipt.json"]
        assert json.loads((tiny_build / stage / "receipt.json").read_text())["files"] == files


def test_a_second_make_does_nothing(tiny_build: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiny_build.rglob("*")}
    result = run_make(tiny_build)
    assert result.returncode == 0
    assert "-m pipeline corpus" not in result.stdout
    assert {path: path.stat().st_mtime_ns for path in tiny_build.rglob("*")} == before


def test_make_says_what_it_made(tiny_build: Path) -> None:
    output = run_make(tiny_build).stdout
    assert f"{tiny_build}/report/index.html" in output
    assert f"{tiny_build}/bundle" in output


def test_a_changed_setting_remakes_what_depends_on_it_and_no_more(copy: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.toml"
    changed.write_text(TINY.read_text() + "\n[listen]\nrest_ms = 900\n")
    before = digests(copy)
    result = run_make(copy, PARAMS=str(changed))
    assert result.returncode == 0, result.stderr
    remade = {name.split("/")[0] for name, digest in digests(copy).items() if before[name] != digest}
    assert remade == {"settings", "tune", "evaluate", "bundle", "report"}


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_killed_in_the_middle_of_a_stage_it_completes(stage: str, copy: Path, tiny_build: Path) -> None:
    shutil.rmtree(copy / stage)
    command = ["make", stage, f"BUILD={copy}", f"PARAMS={TINY}"]
    process = subprocess.Popen(command, cwd=ROOT, env=CLEAN, start_new_session=True, stdout=-3, stderr=-3)
    while not (copy / f"{stage}.part" / "plan.json").exists():
        assert process.poll() is None
        time.sleep(0.001)
    time.sleep(0.2 if stage in ("corpus", "features", "train") else 0)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (copy / stage).exists()
    assert (copy / f"{stage}.part").exists()

    result = run_make(copy, stage)
    assert result.returncode == 0, result.stderr
    assert not list(copy.glob("*.part"))
    assert set(digests(copy / stage)) == set(digests(tiny_build / stage)) or stage == "train"
    if stage in ("corpus", "features"):
        assert digests(copy / stage) == digests(tiny_build / stage)


def test_the_same_line_gives_the_same_bytes_with_another_number_of_workers(tiny_build: Path, tmp_path: Path) -> None:
    result = run_make(
        tmp_path / "again", "features", LOKY_MAX_CPU_COUNT="1"
    )  # the first build had a worker for each core
    assert result.returncode == 0, result.stderr
    for stage in ("corpus", "features"):
        assert digests(tmp_path / "again" / stage) == digests(tiny_build / stage)


def test_settings_changed_since_are_refused_with_the_command_that_mends_it(tiny_build: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.toml"
    changed.write_text(TINY.read_text().replace("[features]", "[features]\nn_mfcc = 13"))
    result = run_pipeline("train", tiny_build / "features", tmp_path / "train", "--params", changed)
    assert one_line_error(result) == "Error: stale: features.n_mfcc was 40, now 13; run: make features"
    assert not list(tmp_path.glob("train*"))


def test_an_edited_input_is_refused(copy: Path) -> None:
    path = copy / "features" / "normaliser.json"
    path.write_text(path.read_text().replace("mean", "mode"))
    error = one_line_error(run_pipeline("train", copy / "features", copy / "train", "--params", TINY))
    assert error == f"Error: edited: {path} was edited since it was made; run: rm -r {copy}/features && make features"


def test_an_edited_clip_is_refused(copy: Path) -> None:
    with (copy / "corpus" / "corpus.csv").open(newline="") as file:
        clip = copy / "corpus" / next(csv.DictReader(file))["path"]
    clip.write_bytes(clip.read_bytes()[:-2])
    error = one_line_error(run_pipeline("features", copy / "corpus", copy / "features", "--params", TINY))
    assert str(clip) in error
    assert "make corpus" in error


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PARAMS": "no/such.toml"}, "Error: no/such.toml: no such settings file; see params/ for examples"),
        (
            {"SOURCE": "no/such/folder", "CORPUS": "folder"},
            "Error: no/such/folder: no such folder; SOURCE must be a folder of recordings",
        ),
        (
            {"NEGATIVE": "no/such/folder"},
            f"Error: {ROOT}/no/such/folder: no such folder; NEGATIVE must be a folder of recordings",
        ),
        (
            {"NEGATIVE": "docs"},
            f"Error: {ROOT}/docs: NEGATIVE must hold two recordings or more, to tune on some and to test on others; "
            "it has 0 (.wav, .flac, .mp3 and what else libsndfile reads)",
        ),
        (
            {"SOURCE": "tests"},
            "Error: settings: corpus.source is given, but speech is made: set CORPUS to folder or speech_commands",
        ),
        ({"WORDS": "yes,,no"}, "Error: settings: corpus.keywords: a word is empty; remove it from the list"),
        (
            {"CORPUS": "tape"},
            "Error: settings: corpus.kind 'tape': choose one of synthetic, speech_commands, mswc, folder",
        ),
    ],
)
def test_bad_variables_are_one_line(variables: dict[str, str], expected: str, tmp_path: Path) -> None:
    result = run_make(tmp_path / "build", **{"PARAMS": "", **variables})
    assert result.returncode == 2
    assert result.stderr.splitlines()[0] == expected
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "build").exists()


def test_words_reach_the_settings_as_they_are(tmp_path: Path) -> None:
    words = ["it's", 'say "hi"', "$HOME", "a;touch b", "`id`", "sésame"]
    result = run_make(tmp_path / "build", "check-settings", WORDS=", ".join(words))
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "build" / "settings" / "corpus.json").read_text())["keywords"] == words


@pytest.mark.parametrize("stage", INPUTS)
def test_a_file_that_cannot_be_written_is_one_line_and_leaves_the_old_artefact_whole(stage: str, copy: Path) -> None:
    """A limit on the size of files stands in for a full disk."""
    before = digests(copy / stage)
    folders = " ".join(str(copy / name) for name in [*INPUTS[stage], stage])
    limited = f"ulimit -f 4; exec {PYTHON} -m pipeline {stage} {folders} --params {TINY}"
    result = subprocess.run(["bash", "-c", limited], cwd=ROOT, env=CLEAN, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("Error: ")
    assert digests(copy / stage) == before


def test_the_metrics_follow_from_the_predictions(tiny_build: Path) -> None:
    metrics = json.loads((tiny_build / "evaluate" / "metrics.json").read_text())
    with (tiny_build / "evaluate" / "predictions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "testing"]
    assert metrics["labels"] == LABELS
    models = metrics["splits"]["testing"]["models"]
    assert set(models) == {"keras", *FILES}
    reference = [max(LABELS, key=lambda label: float(row[f"keras:{label}"])) for row in rows]
    for name, figures in models.items():
        found = [max(LABELS, key=lambda label: float(row[f"{name}:{label}"])) for row in rows]
        right = [label == row["label"] for label, row in zip(found, rows, strict=True)]
        assert figures["clips"] == len(rows)
        assert figures["accuracy"] == pytest.approx(np.mean(right))
        low, high = figures["accuracy_interval"]
        assert 0 <= low <= figures["accuracy"] <= high <= 1
        changed = [a != b for a, b in zip(found, reference, strict=True)]
        assert figures["labels_changed"] == pytest.approx(np.mean(changed), abs=2.5 / len(rows))  # six digits may tie
    for name in ("commands_float.tflite", "commands_features_float.tflite"):
        assert models[name]["labels_changed"] == 0
    assert "synthetic" in metrics["data"]["origin"]


def test_figures_without_keywords_follow_from_the_predictions(tiny_build: Path) -> None:
    """Over all clips of the testing split and of the others that no keyword is in."""
    metrics = json.loads((tiny_build / "evaluate" / "metrics.json").read_text())
    with (tiny_build / "evaluate" / "predictions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["label"].startswith("_")]
    with (tiny_build / "corpus" / "corpus.csv").open(newline="") as file:
        learnt = {row["word"] for row in csv.DictReader(file) if row["split"] == "training"}
    assert metrics["without_keywords"].keys() == {"keras", "commands.tflite"}
    groups = {
        "words never in training": [r for r in rows if r["label"] == "_unknown_" and r["word"] not in learnt],
        "noise as in training, a later part": [r for r in rows if (r["label"], r["split"]) == ("_silence_", "testing")],
        "kinds of noise never in training": [r for r in rows if (r["label"], r["split"]) == ("_silence_", "others")],
    }
    assert sum(map(len, groups.values())) == len(rows)  # a synthetic voice of the test says no word of training
    for name, figures in metrics["without_keywords"].items():
        assert figures.keys() == groups.keys()
        for group, of_group in groups.items():
            found = [max(LABELS, key=lambda label: float(row[f"{name}:{label}"])) for row in of_group]
            right = [label == row["label"] for label, row in zip(found, of_group, strict=True)]
            assert figures[group]["clips"] == len(of_group) > 0
            assert figures[group]["recall"] == pytest.approx(np.mean(right))
            assert figures[group]["taken_for_keyword"] == pytest.approx(np.mean([x in ("yes", "no") for x in found]))


def test_the_streams_are_of_the_test_split_and_heard_at_the_thresholds_of_the_bundle(tiny_build: Path) -> None:
    streams = json.loads((tiny_build / "evaluate" / "metrics.json").read_text())["streams"]
    thresholds = json.loads((tiny_build / "bundle" / "commands.json").read_text())["thresholds"]
    assert streams["thresholds"] == thresholds
    assert max(thresholds.values()) < max(streams["sweep"]["thresholds"])  # the tiny recogniser does hear words
    with (tiny_build / "corpus" / "corpus.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "testing"]
    words, talk = sum(row["label"] in ("yes", "no") for row in rows), sum(row["label"] == "_talk_" for row in rows)
    names = ["words in noise, 20 dB", "words in noise, 10 dB", "words in talk, 10 dB", "talk"]
    for part in ("at_thresholds", "best_of_each_window"):
        assert {name: figures["words"] for name, figures in streams[part].items()} == dict(
            zip(names, (words, words, words, 0), strict=True)
        )
    heard = streams["at_thresholds"]
    assert heard[names[0]]["matched"] > words / 3
    assert words * 2 < heard[names[0]]["hours"] * 3600 < words * 6
    assert talk < heard["talk"]["hours"] * 3600 < talk * 6
    for name, swept in streams["sweep"]["streams"].items():
        assert len(swept) == len(streams["sweep"]["thresholds"])
        assert {(figures["hours"], figures["words"]) for figures in swept} == {
            (heard[name]["hours"], heard[name]["words"])
        }


def test_calibration_clips_are_of_the_training_split(tiny_build: Path) -> None:
    with (tiny_build / "corpus" / "corpus.csv").open(newline="") as file:
        split = {row["path"]: row["split"] for row in csv.DictReader(file)}
    with (tiny_build / "quantize" / "calibration.csv").open(newline="") as file:
        chosen = [(row["path"], row["copy"]) for row in csv.DictReader(file)]
    assert len(chosen) == len(np.load(tiny_build / "quantize" / "calibration.npy")) >= 200
    assert {split[path] for path, _ in chosen} == {"training"}
    assert len(set(chosen)) == len(chosen)


def test_classify_says_the_same_as_the_golden_scores_without_tensorflow_and_librosa(tiny_build: Path) -> None:
    bundle = tiny_build / "bundle"
    golden = json.loads((bundle / "golden" / "golden.json").read_text())["clips"]
    files = [bundle / "golden" / clip["file"] for clip in golden]
    result = run_pipeline("classify", bundle, *files, "--format", "json")
    assert result.returncode == 0, result.stderr
    for row, clip in zip(json.loads(result.stdout), golden, strict=True):
        expected = clip["scores"]["commands.tflite"]
        np.testing.assert_allclose(list(row["scores"].values()), expected, atol=1e-5)
        assert list(row["scores"]) == LABELS
        assert row["label"] == LABELS[int(np.argmax(expected))]
    code = f"import sys; from pipeline.cli import main; main(['classify', {str(bundle)!r}, {str(files[0])!r}], standalone_mode=False); assert not {{'tensorflow', 'librosa'}} & sys.modules.keys()"  # noqa: E501
    assert subprocess.run([PYTHON, "-c", code], cwd=ROOT, env=CLEAN, check=False, stdout=-3).returncode == 0


def test_classify_prints_a_line_for_each_file(tiny_build: Path, tmp_path: Path) -> None:
    path = tmp_path / "stereo, 44.1 kHz, three seconds.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, (3 * 44_100, 2)), 44_100)
    result = run_pipeline("classify", tiny_build / "bundle", path)
    assert result.returncode == 0, result.stderr
    label, score, name = result.stdout.split(maxsplit=2)
    assert label in LABELS
    assert 0 < float(score) <= 1
    assert name.strip() == str(path)


def test_classify_refuses_what_it_cannot_read(tiny_build: Path, tmp_path: Path) -> None:
    text = tmp_path / "notes.wav"
    text.write_text("not sound")
    assert str(text) in one_line_error(run_pipeline("classify", tiny_build / "bundle", text))
    assert "no such file" in one_line_error(run_pipeline("classify", tmp_path, text))
    assert "no such file" in one_line_error(run_pipeline("classify", text, text))
    assert "No such file" in one_line_error(run_pipeline("classify", tiny_build / "bundle", tmp_path / "gone.wav"))


def test_classify_names_what_it_cannot_read_and_classifies_the_rest(tiny_build: Path, tmp_path: Path) -> None:
    empty, good = tmp_path / "empty.wav", tiny_build / "bundle" / "golden" / "00.wav"
    empty.touch()
    result = run_pipeline("classify", tiny_build / "bundle", empty, good, "--format", "json")
    assert result.returncode == 1
    assert f"Error: {empty}: empty file" in result.stderr
    assert [row["file"] for row in json.loads(result.stdout)] == [str(good)]


@pytest.fixture(scope="module")
def spoken(tiny_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden clips one after the other, stereo and at another rate."""
    clips = [soundfile.read(path)[0] for path in sorted((tiny_build / "bundle" / "golden").glob("*.wav"))]
    samples = np.repeat(np.concatenate(clips), 3)  # 48 kHz
    path = tmp_path_factory.mktemp("spoken") / "a day.flac"
    soundfile.write(path, np.stack([samples, samples], axis=1), 48_000)
    return path


@pytest.fixture(scope="module")
def raw(tiny_build: Path) -> np.ndarray:
    """The golden clips one after the other and two seconds of nothing, as `arecord` gives them."""
    sounds = [soundfile.read(path, dtype="int16")[0] for path in sorted((tiny_build / "bundle/golden").glob("*.wav"))]
    return np.pad(np.concatenate(sounds), (0, 32_000)).astype("<i2")


@pytest.fixture
def eager(tiny_build: Path, tmp_path: Path) -> Path:
    """The tiny bundle with thresholds so low that it hears words."""
    bundle = Path(shutil.copytree(tiny_build / "bundle", tmp_path / "eager"))
    description = json.loads((bundle / "commands.json").read_text())
    description["thresholds"] = dict.fromkeys(description["thresholds"], 0.01)
    (bundle / "commands.json").write_text(json.dumps(description))
    return bundle


def test_spot_lists_words_and_loads_no_tensorflow(eager: Path, spoken: Path) -> None:
    rows = {}
    for form in ("json", "csv", "srt", "audacity", "table"):
        result = run_pipeline("spot", eager, spoken, "--format", form)
        assert result.returncode == 0, result.stderr
        rows[form] = result.stdout
    heard = json.loads(rows["json"])
    assert heard
    assert {row["word"] for row in heard} <= {"yes", "no"}
    assert all(0 <= row["start_s"] < row["end_s"] <= 4 and row["file"] == str(spoken) for row in heard)
    assert rows["csv"].count("\n") == 1 + len(heard)
    assert rows["srt"].count(" --> ") == rows["audacity"].count("\n") == rows["table"].count("\n") == len(heard)
    code = f"import sys; from pipeline.cli import main; main(['spot', {str(eager)!r}, {str(spoken)!r}], standalone_mode=False); assert not {{'tensorflow', 'librosa'}} & sys.modules.keys()"  # noqa: E501
    assert subprocess.run([PYTHON, "-c", code], cwd=ROOT, env=CLEAN, check=False, stdout=-3).returncode == 0


def test_spot_hears_the_same_from_a_pipe(eager: Path, raw: np.ndarray, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "words.wav", raw, 16_000)
    from_file = run_pipeline("spot", eager, tmp_path / "words.wav", "--format", "csv")
    command = [PYTHON, "-m", "pipeline", "spot", str(eager), "-", "--format", "csv"]
    piped = subprocess.run(command, cwd=ROOT, env=CLEAN, input=raw.tobytes(), capture_output=True, check=True)
    assert piped.stdout.decode().replace("-,", f"{tmp_path}/words.wav,") == from_file.stdout
    assert from_file.stdout.count("\n") > 1


def test_spot_says_so_where_no_word_is_heard(eager: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "quiet.wav", np.zeros(32_000), 16_000)
    result = run_pipeline("spot", eager, tmp_path / "quiet.wav")
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr.endswith("no word was heard\n")


def test_spot_without_a_standard_input_says_so(eager: Path) -> None:
    command = f"exec {PYTHON} -m pipeline spot {eager} - <&-"
    result = subprocess.run(["sh", "-c", command], cwd=ROOT, env=CLEAN, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.endswith("Error: standard input is closed; pipe sound into this command\n")
    assert "Traceback" not in result.stderr


def test_spot_tells_from_a_pipe_as_it_hears_and_ends_with_a_word_at_ctrl_c(eager: Path, raw: np.ndarray) -> None:
    command = [PYTHON, "-m", "pipeline", "spot", str(eager), "-"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=CLEAN, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write(raw.tobytes())
    process.stdin.flush()
    first = process.stdout.readline().decode()  # while the pipe is open
    assert first.split()[-1] in ("yes", "no")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"Abort" not in errors
    assert b"Traceback" not in errors


def test_spot_shows_how_far_it_is_in_a_terminal_and_words_on_lines_of_their_own(eager: Path, spoken: Path) -> None:
    piped = run_pipeline("spot", eager, spoken)
    assert "a day.flac" not in piped.stderr
    ours, theirs = os.openpty()
    command = [PYTHON, "-m", "pipeline", "spot", str(eager), str(spoken)]
    with subprocess.Popen(command, cwd=ROOT, env=CLEAN, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        shown = bytearray()
        with contextlib.suppress(OSError):  # the other side was closed: it has ended
            while piece := os.read(ours, 65_536):
                shown += piece
    os.close(ours)
    lines = []
    for line in re.sub(r"\x1b\[\?25[lh]", "", shown.decode()).split("\n"):
        *_, left = re.split(r"\x1b\[K", line)
        lines.append(left.strip("\r").rpartition("\r")[2])  # what stands there once all of it was written
    assert [line for line in lines if line.startswith("00:")] == piped.stdout.splitlines()
    assert sum("#" in line for line in lines) == 1
    assert re.search(r"a day\.flac +\[#+-+\]  \d+/\d+", shown.decode())  # before it had ended


def test_spot_names_what_it_cannot_read_and_listens_to_the_rest(eager: Path, spoken: Path, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not sound")
    result = run_pipeline("spot", eager, tmp_path / "text.wav", tmp_path / "gone.wav", spoken, "--format", "json")
    assert result.returncode == 1
    assert f"Error: {tmp_path}/text.wav: not readable as audio" in result.stderr
    assert f"Error: {tmp_path}/gone.wav: No such file" in result.stderr
    assert {row["file"] for row in json.loads(result.stdout)} == {str(spoken)}
    refused = run_pipeline("spot", eager, spoken, tmp_path / "gone.wav", "--format", "srt")
    assert refused.returncode == 2
    assert "srt is for one recording, and 2 were given" in refused.stderr


def test_the_python_of_the_readme_runs(tiny_build: Path) -> None:
    code = (ROOT / "README.md").read_text().split("```python\n")[1].split("```")[0]
    code = code.replace("build/synthetic", str(tiny_build)).replace("some.wav", f"{tiny_build}/bundle/golden/00.wav")
    result = subprocess.run([PYTHON, "-c", code], cwd=ROOT, env=CLEAN, capture_output=True, text=True, check=True)
    assert result.stdout.split()[0] in LABELS


def test_clean_removes_what_the_stages_made_and_nothing_else(copy: Path) -> None:
    (copy / "thesis.txt").write_text("mine")
    assert run_make(copy, "clean").returncode == 0
    assert [path.name for path in copy.iterdir()] == ["thesis.txt"]


def test_clean_leaves_recordings_whatever_their_folders_are_called(tmp_path: Path) -> None:
    for name in ("train", "report", "corpus", "settings", "export.part", "tune.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.wav").write_text("mine")
    before = digests(tmp_path)
    run_make(tmp_path, "clean")
    assert digests(tmp_path) == before


@pytest.mark.parametrize("variables", [{"CORPUS": "folder", "SOURCE": "mine"}, {"NEGATIVE": "mine"}])
def test_building_inside_the_recordings_is_refused(variables: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mine" / "lamp").mkdir(parents=True)
    for name in ("1.wav", "2.wav"):
        (tmp_path / "mine" / "lamp" / name).write_text("mine")
    given = {name: str(tmp_path / value) if value == "mine" else value for name, value in variables.items()}
    result = run_make(tmp_path / "mine" / "build", "corpus", **given)
    assert result.returncode != 0
    assert f"lies inside {list(given)[-1]}, {tmp_path}/mine; choose another BUILD" in result.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["lamp"]


def test_the_report_needs_no_other_host(tiny_build: Path) -> None:
    page = (tiny_build / "report" / "index.html").read_text()
    assert "default-src 'none'" in page
    assert set(re.findall(r'src="(.{5})', page)) <= {"data:"}
    for outside in ("@import", "<link", "<script"):
        assert outside not in page


def test_the_report_shows_what_is_heard_in_streams(tiny_build: Path) -> None:
    page = (tiny_build / "report" / "index.html").read_text(encoding="utf-8")
    streams = json.loads((tiny_build / "evaluate" / "metrics.json").read_text())["streams"]
    for name in streams["at_thresholds"]:
        rows = [row for row in page.split("<tr>") if row.startswith(f"<td>{name}</td>")]
        for row, way in zip(rows, ("at_thresholds", "best_of_each_window"), strict=True):
            figures = streams[way][name]
            assert f"<td>{figures['false_alarms_per_hour']:.1f}</td>" in row
            assert not figures["words"] or f"<td>{100 * figures['missed']:.1f} %</td>" in row
    for threshold in streams["thresholds"].values():
        assert f"<td>{threshold:.3f}</td>" in page
    assert "false alarms an hour: talk" in page  # of the curve
    assert "words in noise, 20 dB</text>" in page.replace(" </text>", "</text>")


def test_the_report_shows_what_is_taken_for_a_keyword(tiny_build: Path) -> None:
    page = (tiny_build / "report" / "index.html").read_text(encoding="utf-8")
    metrics = json.loads((tiny_build / "evaluate" / "metrics.json").read_text())
    for group, figures in metrics["without_keywords"]["commands.tflite"].items():
        row = [row for row in page.split("<tr>") if row.startswith(f"<td>{group}</td>")][-1]
        assert f"<td>{figures['clips']}</td>" in row
        assert f"<td>{100 * figures['taken_for_keyword']:.1f} %</td>" in row


@pytest.mark.slow
def test_pruned_and_clustered_it_is_evaluated_beside_what_it_was(copy: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.toml"
    changed.write_text(TINY.read_text() + "\n[quantize]\nsparsity_percent = 50.0\nclusters = 8\nepochs = 2\n")
    before = json.loads((copy / "evaluate" / "metrics.json").read_text())["files"]
    result = run_make(copy, PARAMS=str(changed))
    assert result.returncode == 0, result.stderr
    metrics = json.loads((copy / "evaluate" / "metrics.json").read_text())
    assert "keras before compression" in metrics["splits"]["testing"]["models"]
    name = "commands_features_float.tflite"
    assert metrics["files"][name]["gzip_bytes"] < 0.8 * before[name]["gzip_bytes"]
    assert "keras before compression" in (copy / "report" / "index.html").read_text()


@pytest.mark.recordings
@pytest.mark.skipif("RECORDINGS" not in os.environ, reason="set RECORDINGS to a folder with speech_commands/ in it")
def test_the_split_of_real_speech_is_the_official_one(tmp_path: Path) -> None:
    source = Path(os.environ["RECORDINGS"]) / "speech_commands"
    params = ROOT / "params" / "eight_words.toml"
    result = run_make(tmp_path / "build", "corpus", CORPUS="speech_commands", SOURCE=str(source), PARAMS=str(params))
    assert result.returncode == 0, result.stderr
    with (tmp_path / "build" / "corpus" / "corpus.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row["label"].startswith("_")]
    count = {split: sum(row["split"] == split for row in rows) for split in ("training", "testing")}
    assert count == {"training": 8 * 760, "testing": 797}  # as the data set's own hash divides these recordings
    voices = {split: {row["speaker"] for row in rows if row["split"] == split} for split in count}
    assert not voices["training"] & voices["testing"]


def hum(path: Path, pitch_hz: float, seconds: float = 0.5) -> None:
    """A stereo recording at a rate of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = 0.3 * np.sin(2 * np.pi * pitch_hz * np.arange(round(seconds * 44_100)) / 44_100)
    noise = np.random.default_rng(0).normal(0, 0.01, len(tone))
    soundfile.write(path, np.stack([tone, noise], axis=1), 44_100)


@pytest.mark.slow
def test_recordings_of_a_person_become_a_recogniser_whatever_the_words_are_called(tmp_path: Path) -> None:
    """First without a stream that holds no word, then with recordings of that kind."""
    words = ["<b>it's", "naïve $HOME"]
    build, params = tmp_path / "build", tmp_path / "params.toml"
    settings = TINY.read_text().replace('keywords = ["yes", "no"]', "").replace("sentences = 60", "sentences = 0")
    params.write_text(settings)
    for pitch_hz, word in zip((300, 900, 2000), (*words, "_unknown_"), strict=True):
        for speaker, take in itertools.product(range(5), range(8)):
            hum(tmp_path / "source" / word / f"s{speaker}" / f"{take}.flac", pitch_hz * (1 + 0.02 * speaker))
    (tmp_path / "source" / words[0] / "s0" / "empty.wav").touch()
    (tmp_path / "source" / os.fsdecode(b"caf\xe9 <i>.txt")).touch()  # no UTF-8, and what it is warned of is shown
    given = {"CORPUS": "folder", "SOURCE": str(tmp_path / "source"), "PARAMS": str(params)}
    result = run_make(build, **given)
    assert result.returncode == 0, result.stderr
    assert "1 rejected" in result.stdout
    labels = (build / "bundle" / "labels.txt").read_text(encoding="utf-8").splitlines()
    assert labels == ["_silence_", "_unknown_", *words]
    page = (build / "report" / "index.html").read_text(encoding="utf-8")
    assert "<b>it" not in page
    assert "&lt;b&gt;it&#39;s" in page
    assert "caf? &lt;i&gt;.txt: not used, it lies outside the word folders" in page
    assert "No stream without words" in page
    assert "no figure: there was no stream without words" in (build / "bundle" / "MODEL_CARD.md").read_text()

    given["NEGATIVE"] = str(tmp_path / "radio")
    for pitch_hz in (500, 700):
        hum(tmp_path / "radio" / f"{pitch_hz}.wav", pitch_hz, seconds=20)
    before = digests(build)
    result = run_make(build, **given)
    assert result.returncode == 0, result.stderr
    remade = {name.split("/")[0] for name, digest in digests(build).items() if before.get(name) != digest}
    assert remade == {"settings", "tune", "evaluate", "bundle", "report"}
    assert " h of recordings." in (build / "bundle" / "MODEL_CARD.md").read_text()
    assert "<td>recordings</td>" in (build / "report" / "index.html").read_text()
    for path in (path for path in (build / "bundle").rglob("*") if path.is_file()):
        assert str(tmp_path).encode() not in path.read_bytes(), f"{path} says where the recordings lie"

    hum(tmp_path / "radio" / "900.wav", 900, seconds=20)
    assert "-m pipeline tune" in run_make(build, "tune", **given).stdout
    assert "-m pipeline tune" not in run_make(build, "tune", **given).stdout
