"""What a TFLite file says of itself: its sound, its labels, its licence; packed into it and read back.

The tables are those of TensorFlow Lite's metadata schema (`metadata_schema.fbs`, tensorflow/tflite-support), of which
an audio classifier needs few. The labels lie in a zip archive behind the model, as that schema says.
"""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from flatbuffers import encode, number_types, packer, util
from flatbuffers.table import Table

from pipeline.errors import COPY_AGAIN, BundleError

_ENTRY = "TFLITE_METADATA"  # in the model's list: the name by which readers find the buffer
_LABELS = "labels.txt"
_MODEL_IDENTIFIER, _IDENTIFIER = b"TFL3", b"M001"
_MIN_PARSER_VERSION = "1.3.0"  # the first with audio properties

# Slots of the model, and of the entries and buffers that it lists.
_MODEL_BUFFERS, _MODEL_ENTRIES = 4, 6
_ENTRY_NAME, _ENTRY_BUFFER, _BUFFER_DATA = 0, 1, 0
# Slots of the metadata; a tensor and a file begin with a name and a description too.
_NAME, _DESCRIPTION, _VERSION, _SUBGRAPHS, _LICENSE, _MIN_PARSER = 0, 1, 2, 3, 5, 7
_INPUTS, _OUTPUTS = 2, 3  # of a subgraph
_CONTENT, _FILES = 3, 6  # of a tensor
_CONTENT_KIND, _PROPERTIES = 0, 1  # of its content
_SAMPLE_RATE, _CHANNELS = 0, 1  # of the properties of sound
_FILE_KIND = 2
# Values of the two kinds.
_FEATURES, _SOUND = 1, 4
_AXIS_LABELS = 2

_Slots = dict[int, Any]  # a table to write: slot → text, number of a type below, table, or list of tables
_NUMBERS: dict[type, Any] = {np.uint8: number_types.Uint8Flags, np.uint32: number_types.Uint32Flags}

# A false length must not keep a reader busy for long.
_MAX_TEXT_BYTES, _MAX_TABLES = 8_192, 100_000
# Neither flatbuffers nor zipfile verifies before it reads: a false offset, length or flag ends in one of these.
_DAMAGE = (
    *(struct.error, IndexError, TypeError, ValueError),
    *(zipfile.BadZipFile, EOFError, KeyError, OverflowError, RuntimeError),
)


@dataclass(frozen=True)
class Metadata:
    """What a file says of itself, each text in at most 8 KB."""

    name: str
    description: str
    version: str
    license: str
    sample_rate_hz: int
    channels: int
    labels: tuple[str, ...]


def pack(content: bytes, metadata: Metadata) -> bytes:
    """The same model with its metadata and labels; those that it had are replaced."""
    # A device only reads: it starts without these twenty thousand lines.
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    # This reader takes in the weights that the quantiser leaves behind the model, where the archive is to be.
    model = flatbuffer_utils.read_model_from_bytearray(content)
    entry = next((entry for entry in model.metadata or [] if entry.name == _ENTRY.encode()), None)
    if entry is None:
        entry = schema.MetadataT(name=_ENTRY, buffer=len(model.buffers))
        model.metadata = [*(model.metadata or []), entry]
        model.buffers.append(schema.BufferT())
    model.buffers[entry.buffer].data = _build(metadata)
    builder = _AligningBuilder(len(content))
    builder.Finish(model.Pack(builder), _MODEL_IDENTIFIER)
    packed = io.BytesIO()
    packed.write(builder.Output())
    with zipfile.ZipFile(packed, "w") as archive:
        # A ZipInfo has a fixed date: the time of day would make every export another file.
        archive.writestr(zipfile.ZipInfo(_LABELS), "".join(f"{label}\n" for label in metadata.labels))
    return packed.getvalue()


def read(content: bytes, name: str) -> Metadata:
    """Metadata of a file.

    Raises
    ------
    BundleError
        If the bytes are no whole TFLite file, or hold no metadata, or not what an audio classifier needs; `name` says
        which file.
    """
    try:
        packed = _find(content)
        if packed is None:
            raise BundleError(f"{name}: holds no metadata; {COPY_AGAIN}")
        root = _Table.root(packed, _IDENTIFIER)
        (subgraph,) = root.tables(_SUBGRAPHS)
        sample_rate_hz, channels = _sound(subgraph)
        return Metadata(
            name=root.text(_NAME),
            description=root.text(_DESCRIPTION),
            version=root.text(_VERSION),
            license=root.text(_LICENSE),
            sample_rate_hz=sample_rate_hz,
            channels=channels,
            labels=_labels(content, _label_file(subgraph)),
        )
    except _DAMAGE:
        what = "not a whole TFLite file with the metadata and labels of an audio classifier"
        raise BundleError(f"{name}: {what}; {COPY_AGAIN}") from None


def _build(metadata: Metadata) -> bytes:
    properties = {_SAMPLE_RATE: np.uint32(metadata.sample_rate_hz), _CHANNELS: np.uint32(metadata.channels)}
    sound: _Slots = {
        _NAME: "audio",
        _DESCRIPTION: f"sound in [-1, 1] at {metadata.sample_rate_hz} Hz",
        _CONTENT: {_CONTENT_KIND: np.uint8(_SOUND), _PROPERTIES: properties},
    }
    labels = {_NAME: _LABELS, _DESCRIPTION: "a label on each line", _FILE_KIND: np.uint8(_AXIS_LABELS)}
    scores: _Slots = {
        _NAME: "scores",
        _DESCRIPTION: "a score for each label, from 0 to 1",
        _CONTENT: {_CONTENT_KIND: np.uint8(_FEATURES), _PROPERTIES: {}},
        _FILES: [labels],
    }
    root: _Slots = {
        _NAME: metadata.name,
        _DESCRIPTION: metadata.description,
        _VERSION: metadata.version,
        _SUBGRAPHS: [{_INPUTS: [sound], _OUTPUTS: [scores]}],
        _LICENSE: metadata.license,
        _MIN_PARSER: _MIN_PARSER_VERSION,
    }
    builder = flatbuffers.Builder()
    builder.Finish(_write(builder, root), _IDENTIFIER)
    return bytes(builder.Output())


def _write(builder: flatbuffers.Builder, value: str | _Slots | list[_Slots]) -> int:
    """Write a text, a table or a list of tables, and whatever a table refers to before it; give the place."""
    if isinstance(value, str):
        place = builder.CreateString(value)
    elif isinstance(value, list):
        places = [_write(builder, table) for table in value]
        builder.StartVector(4, len(places), 4)
        for part in reversed(places):
            builder.PrependUOffsetTRelative(part)
        place = builder.EndVector()
    else:
        referred = {slot: _write(builder, part) for slot, part in value.items() if type(part) not in _NUMBERS}
        builder.StartObject(max(value, default=-1) + 1)
        for slot, part in value.items():
            if slot in referred:
                builder.PrependUOffsetTRelativeSlot(slot, referred[slot], 0)
            else:
                builder.PrependSlot(_NUMBERS[type(part)], slot, part, None)
        place = builder.EndObject()
    return int(place)


class _AligningBuilder(flatbuffers.Builder):  # type: ignore[misc]  # flatbuffers carries no types
    """Bytes begin at a multiple of 16, as TFLite's schema demands of buffers; the generated Python code forgets it."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:
        return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)


def _find(content: bytes) -> bytes | None:
    """The buffer with the metadata, None if the model has no such."""
    model = _Table.root(content, _MODEL_IDENTIFIER)
    for entry in model.tables(_MODEL_ENTRIES):
        if entry.text(_ENTRY_NAME) == _ENTRY:
            buffer = model.tables(_MODEL_BUFFERS)[entry.number(_ENTRY_BUFFER, np.uint32)]
            return buffer.data(_BUFFER_DATA)
    return None


def _sound(subgraph: _Table) -> tuple[int, int]:
    """Sample rate and channels of the one input."""
    (tensor,) = subgraph.tables(_INPUTS)
    content = tensor.table(_CONTENT)
    if content.number(_CONTENT_KIND, np.uint8) != _SOUND:
        raise ValueError("the input is no sound")
    properties = content.table(_PROPERTIES)
    found = properties.number(_SAMPLE_RATE, np.uint32), properties.number(_CHANNELS, np.uint32)
    if 0 in found:
        raise ValueError("no sample rate or no channels")
    return found


def _label_file(subgraph: _Table) -> str:
    """Name of the file with the labels of the one output."""
    (tensor,) = subgraph.tables(_OUTPUTS)
    (file,) = (file for file in tensor.tables(_FILES) if file.number(_FILE_KIND, np.uint8) == _AXIS_LABELS)
    return file.text(_NAME)


def _labels(content: bytes, file: str) -> tuple[str, ...]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entry = archive.getinfo(file)
        # As readers on phones demand; and nothing can unpack to more than was given.
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError("compressed")
        labels = tuple(archive.read(entry).decode().splitlines())
    if not all(labels) or not labels:
        raise ValueError("no label, or one without a name")
    return labels


class _Table:
    """A table of a flatbuffer: an absent text is empty, an absent number 0, an absent list empty, as in all readers."""

    def __init__(self, content: bytes, place: int) -> None:
        self._table = Table(content, place)

    @classmethod
    def root(cls, content: bytes, identifier: bytes) -> _Table:
        if not util.BufferHasIdentifier(content, 0, identifier):
            raise ValueError(f"does not begin with {identifier!r}")
        return cls(content, encode.Get(packer.uoffset, content, 0))

    def text(self, slot: int) -> str:
        offset = self._offset(slot)
        if not offset:
            return ""
        if self._table.VectorLen(offset) > _MAX_TEXT_BYTES:
            raise ValueError("a text without an end")
        return bytes(self._table.String(self._table.Pos + offset)).decode()

    def number(self, slot: int, kind: type) -> int:
        offset = self._offset(slot)
        return int(self._table.Get(_NUMBERS[kind], self._table.Pos + offset)) if offset else 0

    def table(self, slot: int) -> _Table:
        offset = self._offset(slot)
        if not offset:
            raise ValueError("a table is missing")
        return _Table(self._table.Bytes, self._table.Indirect(self._table.Pos + offset))

    def tables(self, slot: int) -> list[_Table]:
        offset = self._offset(slot)
        if not offset:
            return []
        start, length = self._table.Vector(offset), self._table.VectorLen(offset)
        if length > _MAX_TABLES:
            raise ValueError("a list without an end")
        return [_Table(self._table.Bytes, self._table.Indirect(start + 4 * n)) for n in range(length)]

    def data(self, slot: int) -> bytes:
        offset = self._offset(slot)
        return bytes(self._table.GetVectorAsNumpy(number_types.Uint8Flags, offset)) if offset else b""

    def _offset(self, slot: int) -> int:
        """Where a slot's value lies, counted from the table; 0 if it's absent."""
        # A table's list of offsets begins with two sizes; all are of two bytes.
        return int(self._table.Offset(2 * (2 + slot)))
