"""Metadata that others can read, in a model that stays the same; and no damage to a file brings down its reader."""

from __future__ import annotations

import io
import json
import random
import re
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from pipeline.device import metadata
from pipeline.device.metadata import Metadata, pack, read
from pipeline.errors import BundleError

RUNTIMES = Path(__file__).parents[1] / ".venv-runtimes"

METADATA = Metadata(
    name="Befehle für draußen",
    description='Says which of "ça va", ... was spoken',
    version="0.1.0",
    license="Apache-2.0",
    sample_rate_hz=16_000,
    channels=1,
    labels=("ça va", ' it\'s "on", 50 % ', "🙂"),
)
OTHER = Metadata("other", "", "2", "MIT", 8_000, 2, ("a", "a much longer label", "c"))


def converted(units: int) -> bytes:
    """Two dense layers, `[1, 16]` → `[1, units]` → `[1, 3]`, as the converter leaves them."""
    from pipeline.network.engine import tf

    chance = np.random.default_rng(0)
    first, second = (chance.normal(size=shape).astype(np.float32) for shape in ((16, units), (units, 3)))
    function = tf.function(
        lambda x: tf.nn.softmax(tf.matmul(tf.tanh(tf.matmul(x, first)), second / units)),
        input_signature=[tf.TensorSpec((1, 16), tf.float32)],
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], tf.Module())
    return converter.convert()


def with_weights_behind(content: bytes) -> bytes:
    """As the quantiser leaves a model with at least 256 KB of weights: they follow it instead of lying in it."""
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer.qtyping import TFLOperationName

    recipe = quantizer.Quantizer(content)
    recipe.add_weight_only_config(regex=".*", operation_name=TFLOperationName.FULLY_CONNECTED, num_bits=8)
    quantised = bytes(recipe.quantize().quantized_model)
    root = schema.Model.GetRootAs(quantised)
    assert any(root.Buffers(n).Offset() for n in range(root.BuffersLength()))
    return quantised


@pytest.fixture(scope="module")
def models() -> dict[str, bytes]:
    return {"float": converted(8), "int8": with_weights_behind(converted(16_384))}


@pytest.fixture(params=["float", "int8"])
def model(request: pytest.FixtureRequest, models: dict[str, bytes]) -> bytes:
    return models[request.param]


@pytest.fixture(scope="module")
def packed(models: dict[str, bytes]) -> bytes:
    return pack(models["float"], METADATA)


def scores(content: bytes) -> np.ndarray:
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.linspace(-1, 1, 16, dtype=np.float32)[None])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def test_what_is_packed_is_read_back(model: bytes) -> None:
    assert read(pack(model, METADATA), "x.tflite") == METADATA


def test_the_same_bytes_every_time(model: bytes) -> None:
    assert pack(model, METADATA) == pack(model, METADATA)


def test_metadata_that_a_file_had_is_replaced_without_a_trace(model: bytes) -> None:
    assert pack(pack(model, OTHER), METADATA) == pack(model, METADATA)


def test_the_packed_model_gives_the_same_scores(model: bytes) -> None:
    np.testing.assert_array_equal(scores(pack(model, METADATA)), scores(model))


def test_weights_lie_in_the_model_aligned_as_its_schema_demands(model: bytes) -> None:
    content = np.frombuffer(pack(model, METADATA), np.uint8)
    root = schema.Model.GetRootAs(content)
    buffers = [root.Buffers(n) for n in range(root.BuffersLength())]
    places = [buffer.DataAsNumpy().ctypes.data - content.ctypes.data for buffer in buffers if buffer.DataLength()]
    assert len(places) >= 3
    assert [place % 16 for place in places] == [0] * len(places)
    assert [buffer.Offset() for buffer in buffers] == [0] * len(buffers)


# Prints what MediaPipe's own classes for the schema, and zipfile, find in the file that it is given.
OTHER_READER = """
import json, sys, zipfile
from mediapipe.tasks.metadata import metadata_schema_py_generated as schema, schema_py_generated as tflite
content = open(sys.argv[1], "rb").read()
model = tflite.Model.GetRootAs(content)
entries = [model.Metadata(n) for n in range(model.MetadataLength())]
(buffer,) = [entry.Buffer() for entry in entries if entry.Name() == b"TFLITE_METADATA"]
packed = model.Buffers(buffer).DataAsNumpy().tobytes()
root = schema.ModelMetadataT.InitFromPackedBuf(packed)
(subgraph,) = root.subgraphMetadata
(sound,), (scores,) = subgraph.inputTensorMetadata, subgraph.outputTensorMetadata
(file,) = scores.associatedFiles
archive = zipfile.ZipFile(sys.argv[1])
print(json.dumps({
    "identifier": schema.ModelMetadata.ModelMetadataBufferHasIdentifier(packed, 0),
    "min_parser_version": root.minParserVersion.decode(),
    "name": root.name.decode(),
    "description": root.description.decode(),
    "version": root.version.decode(),
    "license": root.license.decode(),
    "input": sound.content.contentPropertiesType == schema.ContentProperties.AudioProperties,
    "sample_rate_hz": sound.content.contentProperties.sampleRate,
    "channels": sound.content.contentProperties.channels,
    "output": scores.content.contentPropertiesType == schema.ContentProperties.FeatureProperties,
    "file_kind": file.type == schema.AssociatedFileType.TENSOR_AXIS_LABELS,
    "files": [file.name.decode(), *archive.namelist()],
    "labels": archive.read(file.name.decode()).decode().split("\\n"),
}))
"""


@pytest.mark.skipif(not (RUNTIMES / "ready").exists(), reason="mediapipe is not installed; run: make runtimes")
def test_another_reader_finds_the_same(packed: bytes, tmp_path: Path) -> None:
    path = tmp_path / "packed.tflite"
    path.write_bytes(packed)
    result = subprocess.run(
        [RUNTIMES / "bin" / "python", "-c", OTHER_READER, path], capture_output=True, text=True, check=True
    )
    assert json.loads(result.stdout) == {
        "identifier": True,
        "min_parser_version": "1.3.0",
        "name": METADATA.name,
        "description": METADATA.description,
        "version": METADATA.version,
        "license": METADATA.license,
        "input": True,
        "sample_rate_hz": METADATA.sample_rate_hz,
        "channels": METADATA.channels,
        "output": True,
        "file_kind": True,
        "files": ["labels.txt", "labels.txt"],
        "labels": [*METADATA.labels, ""],
    }


# --- files that must be refused ---

NOT_WHOLE = r"^x\.tflite: not a whole TFLite file with the metadata and labels of an audio classifier; make or copy"


def test_a_file_without_metadata_is_refused(model: bytes) -> None:
    with pytest.raises(BundleError, match=r"^x\.tflite: holds no metadata; make or copy the bundle again$"):
        read(model, "x.tflite")


@pytest.mark.parametrize("content", [b"", b"TFL3", bytes(100), b"\xff" * 100, b"\x04\0\0\0TFL3", b"RIFF\0\0\0\0WAVE"])
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match=NOT_WHOLE):
        read(content, "x.tflite")


def test_a_file_cut_off_anywhere_is_refused(packed: bytes) -> None:
    for length in range(len(packed)):
        with pytest.raises(BundleError, match=r"^x\.tflite: "):
            read(packed[:length], "x.tflite")


def test_damaged_bytes_are_read_or_refused_in_one_line(packed: bytes) -> None:
    chance, messages = random.Random(0), []
    for _ in range(1_000):
        damaged = bytearray(packed)
        for _ in range(chance.choice([1, 2, 8])):
            damaged[chance.randrange(len(packed))] = chance.choice([0, 255, chance.randrange(256)])
        try:
            read(bytes(damaged), "x.tflite")
        except BundleError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert [text for text in messages if not re.fullmatch(r"x\.tflite: .*; make or copy the bundle again", text)] == []


@pytest.mark.parametrize(("entries", "letters"), [(100_001, 1), (1, 10_000)])
def test_lists_and_texts_without_an_end_are_refused(entries: int, letters: int) -> None:
    """Many entries may share one long name: a small file, but a long way to its end."""
    builder = flatbuffers.Builder()
    name = builder.CreateString("a" * letters)
    schema.MetadataStart(builder)
    schema.MetadataAddName(builder, name)
    entry = schema.MetadataEnd(builder)
    schema.ModelStartMetadataVector(builder, entries)
    for _ in range(entries):
        builder.PrependUOffsetTRelative(entry)
    listed = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddMetadata(builder, listed)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    with pytest.raises(BundleError, match=NOT_WHOLE):
        read(bytes(builder.Output()), "x.tflite")


def with_archive(packed: bytes, files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """The same file with another archive behind the model."""
    content = io.BytesIO()
    content.write(packed[: packed.rindex(b"PK\3\4")])
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


@pytest.mark.parametrize(
    "files",
    [{}, {"other.txt": b"a\nb\nc\n"}, {"labels.txt": b""}, {"labels.txt": b"a\n\nc\n"}, {"labels.txt": b"\xff\xfe\n"}],
    ids=["no file", "another name", "no label", "a label without a name", "not UTF-8"],
)
def test_labels_that_are_none_are_refused(files: dict[str, bytes], packed: bytes) -> None:
    assert read(with_archive(packed, {"labels.txt": b"a\nb\nc\n"}), "x.tflite").labels == ("a", "b", "c")
    with pytest.raises(BundleError, match=NOT_WHOLE):
        read(with_archive(packed, files), "x.tflite")


def test_labels_that_would_unpack_to_far_more_are_refused(packed: bytes) -> None:
    bomb = with_archive(packed, {"labels.txt": b"a\n" * 10_000_000}, zipfile.ZIP_DEFLATED)
    with pytest.raises(BundleError, match=NOT_WHOLE):
        read(bomb, "x.tflite")


def test_encrypted_labels_are_refused(packed: bytes) -> None:
    damaged = bytearray(packed)
    damaged[packed.rindex(b"PK\1\2") + 8] |= 1  # the flag in the archive's table of contents
    with pytest.raises(BundleError, match=NOT_WHOLE):
        read(bytes(damaged), "x.tflite")


def test_an_input_that_is_no_sound_is_refused(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(metadata, "_SOUND", metadata._FEATURES)
        packed = pack(model, METADATA)
    with pytest.raises(BundleError, match="not a whole TFLite file with the metadata"):
        read(packed, "x.tflite")


def test_a_sample_rate_of_zero_is_refused(model: bytes) -> None:
    with pytest.raises(BundleError, match=NOT_WHOLE):
        read(pack(model, replace(METADATA, sample_rate_hz=0)), "x.tflite")
