"""Networks in ONNX files that were exported for images of one size, opened to any size."""

from collections.abc import Iterator

# Numbers of the fields that are read here, from onnx.proto: they are part of the format and never change.
GRAPH = 7  # of a model
INITIALIZER, INPUT, OUTPUT = 5, 11, 12  # of a graph
NAME_OF_INITIALIZER = 8
NAME, TYPE = 1, 2  # of an input or output
TENSOR = 1  # of a type; a tensor's own field 1 is the type of its elements, of which 1 is float32
FLOAT32 = b"\x08\x01"


def free_sizes(model: bytes) -> bytes:
    """The same network without the sizes that its inputs and outputs are declared with; both have to be float32.

    Weights that are declared as inputs too, as old exporters did, are inputs no longer. The runtime cannot work ahead
    with weights that its caller could replace: a network may run twice as fast without.

    Args:
        model: content of an ONNX file.
    """
    return b"".join(
        _field(GRAPH, _freed(content)) if number == GRAPH else whole for number, content, whole in _fields(model)
    )


def _freed(graph: bytes) -> bytes:
    fields = list(_fields(graph))
    weights = {_content(content, NAME_OF_INITIALIZER) for number, content, _ in fields if number == INITIALIZER}
    kept = []
    for number, content, whole in fields:
        if number not in (INPUT, OUTPUT):
            kept.append(whole)
        elif (name := _content(content, NAME)) not in weights:
            kept.append(_field(number, _field(NAME, name) + _field(TYPE, _field(TENSOR, FLOAT32))))
    return b"".join(kept)


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, content and whole encoding of each field of a protobuf message; numbers have no content here."""
    place = 0
    while place < len(message):
        start = place
        key, place = _number(message, place)
        content = b""
        if key & 7 == 0:  # the lowest three bits say how the field is encoded: this is a number
            _, place = _number(message, place)
        elif key & 7 == 2:  # bytes after their number: text, or a message
            length, place = _number(message, place)
            content = message[place : place + length]
            place += length
        else:  # a number of 8 or of 4 bytes
            place += 8 if key & 7 == 1 else 4
        yield key >> 3, content, message[start:place]


def _content(message: bytes, number: int) -> bytes:
    return next((content for field, content, _ in _fields(message) if field == number), b"")


def _number(message: bytes, place: int) -> tuple[int, int]:
    """A number encoded with seven bits a byte, lowest first, and the place after it; a last byte is below 128."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def _field(number: int, content: bytes) -> bytes:
    return _encoded(number << 3 | 2) + _encoded(len(content)) + content


def _encoded(value: int) -> bytes:
    digits = []
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])
