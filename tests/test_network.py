"""The model, its batches, and what conversion and compression make of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import librosa
import numpy as np
import pytest
import scipy.fft
import tensorflow as tf
import tf_keras
from ai_edge_litert.interpreter import Interpreter

from pipeline.config import Audio, Features, Model, Quantize, Train
from pipeline.device import metadata
from pipeline.device.bundle import verify
from pipeline.device.interpreter import MFCC, WAVEFORM, Network, quantise
from pipeline.device.mfcc import mfcc
from pipeline.errors import BundleError
from pipeline.network import batches, compress, convert, model, normalise, waveform
from pipeline.network.frontend import Frontend

FRAMES, N_MFCC, LABELS = 12, 8, 4
MEAN, STD = np.linspace(-3, 3, N_MFCC), np.linspace(1, 2, N_MFCC)
SMALL = Model(conv_filters=(4, 8), projection_units=8, lstm_units=(6, 5), attention_units=16)


def build() -> tf_keras.Model:
    tf_keras.utils.set_random_seed(7)
    return model.build(SMALL, frames=FRAMES, n_mfcc=N_MFCC, labels=LABELS, mean=MEAN, std=STD)


def clips(count: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((count, FRAMES, N_MFCC))
    return (noise * STD + MEAN).astype(np.float32)


@pytest.fixture(scope="module")
def network() -> tf_keras.Model:
    """Trained a little, so that its scores are not all alike."""
    trained = build()
    x = clips(256)
    y = np.eye(LABELS)[(x.mean(axis=1)[:, :LABELS] - MEAN[:LABELS]).argmax(axis=1)]
    trained.compile(tf_keras.optimizers.Adam(0.02), "categorical_crossentropy", jit_compile=False)
    trained.fit(x, y, epochs=8, verbose=0)
    return trained


def test_scores_are_a_distribution_and_depend_on_the_input(network: tf_keras.Model) -> None:
    scores = network.predict(clips(64), verbose=0)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert len(set(scores.argmax(axis=1))) == LABELS


def test_the_default_model_is_as_large_as_documented() -> None:
    default = model.build(Model(), frames=49, n_mfcc=40, labels=12, mean=np.zeros(40), std=np.ones(40))
    assert default.count_params() <= 200_000


@pytest.mark.parametrize("n_mfcc", [40, 16])
def test_convolutions_see_the_spectrogram_that_the_mfcc_are_of(n_mfcc: int) -> None:
    """All of it where no coefficient is left out."""
    power = np.random.default_rng(0).exponential(size=(40, FRAMES))
    spectrogram = librosa.power_to_db(power)
    coefficients = librosa.feature.mfcc(S=spectrogram, n_mfcc=n_mfcc).T
    mean, std = coefficients.mean(axis=0), np.linspace(1, 5, n_mfcc)
    seen = model.log_mel(((coefficients - mean) / std)[None].astype(np.float32), std)[0]
    smooth = scipy.fft.idct(coefficients, n=n_mfcc, norm="ortho")
    expected = smooth if n_mfcc < 40 else spectrogram.T
    scale = np.sqrt(np.mean(np.square(std)))
    np.testing.assert_allclose(seen * scale, expected - expected.mean(axis=0), atol=1e-4)


def test_the_dynamic_range_file_leaves_the_spectrogram_in_float() -> None:
    wide = model.build(Model(), frames=FRAMES, n_mfcc=40, labels=LABELS, mean=np.zeros(40), std=np.ones(40))
    interpreter = Interpreter(model_content=convert.to_dynamic_range(wide))
    quantised = [detail["name"] for detail in interpreter.get_tensor_details() if detail["dtype"] == np.int8]
    assert any("/conv_2/" in name for name in quantised)
    assert not any(f"/{model.LOG_MEL}/" in name for name in quantised)
    interpreter.allocate_tensors()
    clip = np.random.default_rng(0).standard_normal((1, FRAMES, 40)).astype(np.float32)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], clip)
    interpreter.invoke()
    scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(scores, wide.predict(clip, verbose=0), atol=0.02)


def uses_cudnn(network: tf_keras.Model) -> bool:
    """Whether every LSTM would run on cuDNN's kernel, were there a GPU."""
    recurrent = [layer for layer in network.layers if isinstance(layer, tf_keras.layers.Bidirectional)]
    return all(
        part._could_use_gpu_kernel for layer in recurrent for part in (layer.forward_layer, layer.backward_layer)
    )


def test_every_lstm_may_use_cudnn_and_recurrent_dropout_would_lose_it() -> None:
    assert uses_cudnn(build())
    inputs = tf_keras.layers.Input((FRAMES, N_MFCC))
    slow = tf_keras.layers.Bidirectional(tf_keras.layers.LSTM(4, recurrent_dropout=0.1))(inputs)
    assert not uses_cudnn(tf_keras.Model(inputs, slow))


def test_the_traced_training_graph_holds_cudnn_kernels() -> None:
    network = build()
    traced = tf.function(lambda x: network(x, training=True)).get_concrete_function(
        tf.TensorSpec((None, FRAMES, N_MFCC), tf.float32)
    )
    ops = {node.op for function in traced.graph.as_graph_def().library.function for node in function.node_def}
    assert any(op.startswith("Cudnn") for op in ops)


def test_the_saved_model_is_the_model(network: tf_keras.Model, tmp_path: Path) -> None:
    network.save(tmp_path / "model.keras")
    again = model.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(clips(8), verbose=0), network.predict(clips(8), verbose=0))


def test_after_the_normaliser_it_is_the_same_model(network: tf_keras.Model) -> None:
    normalised = (clips(16) - MEAN) / STD
    np.testing.assert_allclose(
        model.after_normaliser(network).predict(normalised.astype(np.float32), verbose=0),
        network.predict(clips(16), verbose=0),
        atol=1e-5,
    )


@pytest.fixture(scope="module")
def files(network: tf_keras.Model) -> dict[str, Network]:
    normaliser = (MEAN.astype(np.float32), STD.astype(np.float32))
    calibration = ((clips(200, seed=5) - MEAN) / STD).astype(np.float32)
    return {
        "float": Network(convert.to_float(network), "float"),
        "dynamic": Network(convert.to_dynamic_range(network), "dynamic"),
        "int8": Network(convert.to_int8(model.after_normaliser(network), calibration), "int8", MFCC, normaliser),
    }


@pytest.mark.parametrize(("kind", "tolerance"), [("float", 1e-5), ("dynamic", 0.05), ("int8", 0.1)])
def test_each_file_scores_as_keras_does(
    files: dict[str, Network], network: tf_keras.Model, kind: str, tolerance: float
) -> None:
    x = clips(100, seed=1)
    scores = np.stack([files[kind].scores(clip) for clip in x])
    np.testing.assert_allclose(scores, network.predict(x, verbose=0), atol=tolerance)


@pytest.mark.parametrize("kind", ["float", "dynamic", "int8"])
def test_the_order_of_calls_changes_nothing(files: dict[str, Network], kind: str) -> None:
    x = clips(20, seed=2)
    forwards = np.stack([files[kind].scores(clip) for clip in x])
    backwards = np.stack([files[kind].scores(clip) for clip in x[::-1]])[::-1]
    np.testing.assert_array_equal(forwards, backwards)


def test_without_the_reset_the_fused_file_would_leak(network: tf_keras.Model) -> None:
    """The reason for the reset: should this ever fail, it can go."""
    interpreter = Interpreter(model_content=convert.to_float(network))
    interpreter.allocate_tensors()
    read, write = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def score(clip: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(read, clip[None])
        interpreter.invoke()
        return interpreter.get_tensor(write)

    first, second = clips(2, seed=3) * 2
    fresh = score(first).copy()
    score(second)
    assert np.abs(score(first) - fresh).max() > 1e-4


def test_files_hold_the_fused_lstm_with_no_cell_clip_and_only_built_in_operators(network: tf_keras.Model) -> None:
    from tensorflow.lite.python import schema_py_generated as schema

    for content in (convert.to_float(network), convert.to_dynamic_range(network)):
        file = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
        options = [operator.builtinOptions for graph in file.subgraphs for operator in graph.operators]
        clips_of_cells = [option.cellClip for option in options if hasattr(option, "cellClip")]
        assert clips_of_cells == [0.0] * 4
        assert not any(code.customCode for code in file.operatorCodes)


# --- the phone's files ---

AUDIO, FEATURES = Audio(clip_ms=252), Features(n_mfcc=N_MFCC)  # as many frames as the model takes


def sounds(count: int) -> np.ndarray:
    """Noise of all levels: scores that differ from one to the next."""
    generator = np.random.default_rng(4)
    return (generator.normal(0, 1, (count, AUDIO.clip_samples)) * np.geomspace(1e-4, 0.3, count)[:, None]).astype("f4")


@pytest.fixture(scope="module")
def phone_files() -> tuple[tf_keras.Model, dict[str, bytes]]:
    """A model trained to tell levels apart, and its files."""
    tf_keras.utils.set_random_seed(7)
    x = mfcc(sounds(256), audio=AUDIO, features=FEATURES)
    mean, std = x.mean(axis=(0, 1)), x.std(axis=(0, 1))
    network = model.build(SMALL, frames=FRAMES, n_mfcc=N_MFCC, labels=LABELS, mean=mean, std=std)
    network.compile(tf_keras.optimizers.Adam(0.02), "categorical_crossentropy", jit_compile=False)
    network.fit(x, np.eye(LABELS)[np.arange(256) * LABELS // 256], epochs=8, verbose=0)
    content = waveform.to_waveform(network, AUDIO, FEATURES)
    return network, {"float": content, "int8": waveform.with_int8_weights(content)}


@pytest.mark.parametrize(("kind", "tolerance"), [("float", 1e-4), ("int8", 0.05)])
def test_a_phone_file_scores_sound_as_keras_scores_its_mfcc(
    phone_files: tuple[tf_keras.Model, dict[str, bytes]], kind: str, tolerance: float
) -> None:
    network, contents = phone_files
    file, x = Network(contents[kind], kind, WAVEFORM), sounds(60)
    scores = np.stack([file.scores(window) for window in x])
    expected = network.predict(mfcc(x, audio=AUDIO, features=FEATURES), verbose=0)
    np.testing.assert_allclose(scores, expected, atol=tolerance)
    assert len(set(scores.argmax(axis=1))) == LABELS


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_a_phone_file_keeps_nothing_between_calls_and_needs_no_reset(
    phone_files: tuple[tf_keras.Model, dict[str, bytes]], kind: str
) -> None:
    file, x = Network(phone_files[1][kind], kind, WAVEFORM), sounds(20)
    forwards = np.stack([file.scores(window) for window in x])
    backwards = np.stack([file.scores(window) for window in x[::-1]])[::-1]
    np.testing.assert_array_equal(forwards, backwards)


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_no_sound_gives_no_number(phone_files: tuple[tf_keras.Model, dict[str, bytes]], kind: str) -> None:
    file = Network(phone_files[1][kind], kind, WAVEFORM)
    for value in (0.0, 1e-30, 1.0, 16.0):
        scores = file.scores(np.full(AUDIO.clip_samples, value, np.float32))
        assert scores.sum() == pytest.approx(1, abs=1e-4)


def obstacles(content: bytes) -> set[str]:
    """What in a file keeps it from some runtime: names of operators, and of what it holds."""
    from ai_edge_litert.tools.flatbuffer_utils import opcode_to_name, read_model_from_bytearray

    file = read_model_from_bytearray(content)
    found = {code.customCode.decode() for code in file.operatorCodes if code.customCode}
    found |= {"further subgraphs"} if len(file.subgraphs) != 1 else set()
    found |= {"variable tensors" for graph in file.subgraphs for tensor in graph.tensors if tensor.isVariable}
    named = {opcode_to_name(file, n) for n in range(len(file.operatorCodes))}
    return found | named & {"UNIDIRECTIONAL_SEQUENCE_LSTM", "WHILE", "VAR_HANDLE", "CALL_ONCE"}


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_a_phone_file_holds_nothing_that_a_runtime_refuses(
    phone_files: tuple[tf_keras.Model, dict[str, bytes]], kind: str
) -> None:
    assert obstacles(phone_files[1][kind]) == set()


@pytest.mark.parametrize("file", ["commands.tflite", "commands_float.tflite"])
def test_nor_does_the_file_in_a_bundle(file: str, tiny_build: Path) -> None:
    assert obstacles((tiny_build / "bundle" / file).read_bytes()) == set()


def test_a_fused_file_in_its_place_is_found_out(tiny_build: Path, tmp_path: Path) -> None:
    """The usual export: the converter's own LSTM, behind the same front-end."""
    bundle = Path(shutil.copytree(tiny_build / "bundle", tmp_path / "bundle"))
    frontend, trained = Frontend(Audio(), Features()), model.load(tiny_build / "train" / "model.keras")
    samples = tf_keras.Input((Audio().clip_samples,), batch_size=1)
    mfcc_inside = tf_keras.layers.Lambda(lambda window: frontend(window)[None])(samples)
    about = metadata.read((bundle / "commands.tflite").read_bytes(), "commands.tflite")
    fused = metadata.pack(convert.to_float(tf_keras.Model(samples, trained(mfcc_inside))), about)
    (bundle / "commands.tflite").write_bytes(fused)
    described = json.loads((bundle / "commands.json").read_text())
    described["sha256"]["commands.tflite"] = hashlib.sha256(fused).hexdigest()
    (bundle / "commands.json").write_text(json.dumps(described))
    with pytest.raises(BundleError, match=r"commands\.tflite: the order of clips changes its scores"):
        verify(bundle)


def test_another_encoding_of_the_lstm_would_be_found(network: tf_keras.Model) -> None:
    def convert_function(function: tf.types.experimental.GenericFunction) -> bytes:
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], tf.Module())
        converter.allow_custom_ops = True
        return converter.convert()

    signature = [tf.TensorSpec((1, 4), tf.float32)]

    @tf.function(input_signature=signature)
    def loop(x: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(lambda y: tf.reduce_sum(y) < 100, lambda y: [y * 2 + 1], [x])[0]

    @tf.function(input_signature=signature)
    def outside(x: tf.Tensor) -> tf.Tensor:
        return tf.math.betainc(x, x, x)

    assert obstacles(convert.to_float(network)) == {"UNIDIRECTIONAL_SEQUENCE_LSTM", "variable tensors"}
    assert obstacles(convert_function(loop)) == {"WHILE", "further subgraphs"}
    assert obstacles(convert_function(outside)) == {"Betainc"}


def test_only_kernels_of_the_classifier_are_quantised(
    phone_files: tuple[tf_keras.Model, dict[str, bytes]],
) -> None:
    interpreter = Interpreter(model_content=phone_files[1]["int8"])
    interpreter.allocate_tensors()
    quantised = [tensor for tensor in interpreter.get_tensor_details() if tensor["dtype"] == np.int8]
    # Two convolutions, the projection; of two LSTMs, each in two directions, the input's kernel and the hidden one; two
    # of the attention; that of the scores.
    assert len(quantised) == 2 + 1 + 2 * 2 * 2 + 2 + 1
    largest = max(int(np.prod(tensor["shape"])) for tensor in quantised)
    assert largest < 257 * FEATURES.n_mels  # the mel filters stay in float, as do the cosines


def test_the_default_phone_file_is_no_larger_than_promised() -> None:
    default = model.build(Model(), frames=49, n_mfcc=40, labels=12, mean=np.zeros(40), std=np.ones(40))
    content = waveform.with_int8_weights(waveform.to_waveform(default, Audio(), Features()))
    assert len(content) <= 490_000  # 500 kB with labels and metadata
    assert obstacles(content) == set()


# --- fused files ---


def test_the_int8_file_is_integers_at_both_ends(network: tf_keras.Model) -> None:
    content = convert.to_int8(model.after_normaliser(network), ((clips(200) - MEAN) / STD).astype(np.float32))
    interpreter = Interpreter(model_content=content)
    ends = [interpreter.get_input_details()[0], interpreter.get_output_details()[0]]
    assert [end["dtype"] for end in ends] == [np.int8, np.int8]


def test_quantise_rounds_to_nearest_and_clips() -> None:
    tensor = {"dtype": np.int8, "quantization": (0.1, 3)}
    given = np.array([0.0, 0.04, 0.06, -0.06, 100.0, -100.0], np.float32)
    assert quantise(given, tensor).tolist() == [3, 3, 4, 2, 127, -128]


def shards_of(x: np.ndarray) -> list[np.ndarray]:
    return [x[:5], x[5:7], x[7:]]


UNCHANGED = {"warp_percent": 0.0, "stretch_percent": 0.0}


def epoch(settings: Train, first_epoch: int, epochs: int = 1) -> list[tuple[np.ndarray, np.ndarray]]:
    x = clips(20)
    labels = np.arange(20, dtype=np.int32) % LABELS
    data = batches.training(
        shards_of(x), labels, MEAN, classes=LABELS, settings=settings, features=FEATURES, first_epoch=first_epoch
    )
    passes = [list(data.as_numpy_iterator()) for _ in range(epochs)]
    return passes[-1]


def test_an_epoch_holds_every_example_once_with_its_label() -> None:
    seen = epoch(Train(batch_clips=6, **UNCHANGED, mask_frames=0, mask_coefficients=0), 0)
    x, y = (np.concatenate(parts) for parts in zip(*seen, strict=True))
    originals = clips(20)
    order = [int(np.flatnonzero((originals == row).all(axis=(1, 2)))[0]) for row in x]
    assert sorted(order) == list(range(20))
    assert order != list(range(20))
    assert y.argmax(axis=1).tolist() == [n % LABELS for n in order]


def test_more_rows_than_memory_holds_come_from_a_few_shards_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row once, those of a shard in one half of the epoch, and other shards together in the next."""
    monkeypatch.setattr(batches, "POOL_ROWS", 30)
    x, labels = clips(60), np.zeros(60, np.int32)
    settings = Train(batch_clips=10, **UNCHANGED, mask_frames=0, mask_coefficients=0)
    data = batches.training(np.split(x, 12), labels, MEAN, classes=LABELS, settings=settings, features=FEATURES)
    halves = []
    for _ in range(2):
        seen = np.concatenate([batch for batch, _ in data.as_numpy_iterator()])
        rows = [int(np.flatnonzero((x == row).all(axis=(1, 2)))[0]) for row in seen]
        assert sorted(rows) == list(range(60))
        first, second = ({row // 5 for row in half} for half in (rows[:30], rows[30:]))
        assert len(first) == len(second) == 6
        assert first.isdisjoint(second)
        assert [row // 5 for row in rows[:30]] != sorted(row // 5 for row in rows[:30])  # nor shard after shard
        halves.append(frozenset(first))
    assert len({frozenset((half, frozenset(range(12)) - half)) for half in halves}) == 2


@pytest.mark.parametrize(("batch_s", "step_s"), [(0.1, 0.0), (0.0, 0.1)])
def test_the_time_waited_for_data_is_what_a_step_had_to_wait(batch_s: float, step_s: float) -> None:
    """Nearly all of it where only data takes time, nearly none where only steps do."""

    def slowly() -> Iterator[np.ndarray]:
        for _ in range(10):
            time.sleep(batch_s)
            yield np.zeros(3, np.float32)

    signature = tf.TensorSpec(3, tf.float32)
    data = tf.data.Dataset.from_generator(slowly, output_signature=signature).prefetch(4)
    waited_s = tf.Variable(0.0, dtype=tf.float64)
    began = time.perf_counter()
    for _ in batches.timed(data, waited_s):
        time.sleep(step_s)
    assert (float(waited_s) > (time.perf_counter() - began) / 2) == (batch_s > step_s)


def test_no_epoch_waits_for_a_tuner_at_its_end() -> None:
    """TensorFlow's may sleep half as long as the epoch took, and the iterator waits for it."""
    x, labels = clips(4), np.arange(4, dtype=np.int32) % LABELS
    examples = batches.training([x], labels, MEAN, classes=LABELS, settings=Train(), features=FEATURES)
    timed = batches.timed(examples, tf.Variable(0.0, dtype=tf.float64))
    for data in (examples, timed, batches.validation(x, labels, classes=LABELS, batch_clips=2)):
        assert data.options().autotune.enabled is False


def test_rows_that_every_epoch_has_come_with_others_that_are_drawn_anew() -> None:
    x, labels = clips(20), np.arange(20, dtype=np.int32) % LABELS
    settings = Train(batch_clips=6, **UNCHANGED, mask_frames=0, mask_coefficients=0)
    data = batches.training(
        shards_of(x), labels, MEAN, classes=LABELS, settings=settings, features=FEATURES,
        every=np.arange(17, 20), others=7,
    )  # fmt: skip
    epochs = []
    for _ in range(2):
        seen, y = (np.concatenate(parts) for parts in zip(*data.as_numpy_iterator(), strict=True))
        rows = [int(np.flatnonzero((x == row).all(axis=(1, 2)))[0]) for row in seen]
        assert y.argmax(axis=1).tolist() == [n % LABELS for n in rows]
        assert len(set(rows)) == len(rows) == 10
        assert set(rows) >= {17, 18, 19}
        assert rows != sorted(rows)  # the takes are not all in one batch
        epochs.append(set(rows))
    assert epochs[0] != epochs[1]
    assert int(data.cardinality()) == 2


def test_more_others_than_there_are_come_more_than_once() -> None:
    x, labels = clips(4), np.arange(4, dtype=np.int32) % LABELS
    data = batches.training(
        [x], labels, MEAN, classes=LABELS, settings=Train(), features=FEATURES, every=np.arange(2, 4), others=6
    )
    assert [len(y) for _, y in data.as_numpy_iterator()] == [8]


def test_a_resumed_run_sees_the_same_epoch() -> None:
    settings = Train(batch_clips=6)
    for (x, _), (again, _) in zip(epoch(settings, 0, epochs=2), epoch(settings, 1), strict=True):
        np.testing.assert_array_equal(x, again)
    assert not np.array_equal(epoch(settings, 0)[0][0], epoch(settings, 1)[0][0])


def test_what_is_hidden_is_the_mean_and_no_longer_than_set() -> None:
    settings = Train(batch_clips=20, **UNCHANGED, mask_frames=3, mask_coefficients=2)
    (x, _) = epoch(settings, 0)[0]
    originals = clips(20)
    for row in x:
        distances = np.abs(originals - row).sum(axis=(1, 2))
        changed = row != originals[int(distances.argmin())]
        assert (row[changed] == np.broadcast_to(MEAN.astype(np.float32), row.shape)[changed]).all()
        assert changed.all(axis=1).sum() <= 3
        assert changed.all(axis=0).sum() <= 2
    assert (x != originals).any()


def test_settled_statistics_are_those_of_the_windows_and_nothing_is_learnt(network: tf_keras.Model) -> None:
    settled, x = tf_keras.models.clone_model(network), clips(2 * normalise.BATCH_WINDOWS) * 2
    settled.set_weights(network.get_weights())
    others = clips(200) * 50  # that are none of the rows
    normalise.settle(settled, [others, *shards_of(x)], len(others) + np.arange(len(x)), seed=1)
    seen = tf_keras.Model(settled.input, settled.get_layer("conv_1").output).predict(x, verbose=0)
    norm = settled.get_layer("conv_1_norm")
    np.testing.assert_allclose(norm.moving_mean, seen.mean(axis=(0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, seen.var(axis=(0, 1, 2)), rtol=0.02)
    for before, after in zip(network.weights, settled.weights, strict=True):
        assert np.array_equal(before, after) == ("moving_" not in before.name)
    assert norm.momentum == network.get_layer("conv_1_norm").momentum


def fit(network: tf_keras.Model, callbacks: list) -> None:
    x = clips(128)
    network.compile("adam", "categorical_crossentropy", jit_compile=False)
    network.fit(x, np.eye(LABELS)[np.arange(128) % LABELS], batch_size=16, epochs=2, callbacks=callbacks, verbose=0)


def test_pruning_then_clustering_leaves_zeros_and_few_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compress, "_MIN_WEIGHTS", 60)  # the fixed layer would do, but for being fixed
    start = model.build(
        dataclasses.replace(SMALL, lstm_units=(12, 12)), frames=FRAMES, n_mfcc=N_MFCC, labels=LABELS, mean=MEAN, std=STD
    )
    pruned = compress.prune(start, fit, sparsity=0.5, steps=16)
    smaller = compress.share_weights(pruned, fit, clusters=8)
    assert [layer.name for layer in smaller.layers] == [layer.name for layer in start.layers]
    kernels = [w.numpy() for w in smaller.get_layer("bilstm_1").weights if "kernel" in w.name]
    assert len(kernels) == 4
    for kernel in [*kernels, smaller.get_layer("conv_2").kernel.numpy()]:
        assert 0.4 < (kernel == 0).mean() < 0.6
        assert len(np.unique(kernel)) <= 8
    assert len(np.unique(smaller.get_layer("attention_energy").kernel.numpy())) > 8
    cosines = (network.get_layer(model.LOG_MEL).get_weights() for network in (smaller, start))
    np.testing.assert_array_equal(*cosines)
    assert uses_cudnn(smaller)


def test_too_few_calibration_clips_are_refused() -> None:
    with pytest.raises(Exception, match="give 200 to"):
        Quantize(calibration_clips=199)
