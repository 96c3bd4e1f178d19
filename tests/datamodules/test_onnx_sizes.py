"""Messages written by hand, by onnx.proto: field number << 3 | encoding, then the content."""

import numpy as np
import pytest

from datamodules.onnx_sizes import free_sizes


def field(number, content):
    """A field of text, bytes or parts of bytes, shorter than 16,384."""
    if not isinstance(content, bytes):
        content = content.encode() if isinstance(content, str) else b"".join(content)
    size = len(content)
    return bytes([number << 3 | 2]) + (bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])) + content


def declared(number, name, sizes):
    """An input (11) or output (12) of float32 and of these sizes; without any where ``sizes`` is None."""
    shape = b"" if sizes is None else field(2, [field(1, bytes([1 << 3, size])) for size in sizes])
    return field(number, [field(1, name), field(2, field(1, b"\x08\x01" + shape))])


# y = relu(w * x): x of one pixel, and w, as long as two bytes of length need, an input too.
WEIGHT = np.linspace(-1, 1, 64, dtype=np.float32)
INITIALIZER = field(5, [b"\x08\x01\x08\x40", b"\x10\x01", field(8, "w"), field(9, WEIGHT.tobytes())])
NODES = [
    field(1, [field(1, "x"), field(1, "w"), field(2, "z"), field(3, "times"), field(4, "Mul")]),
    field(1, [field(1, "z"), field(2, "y"), field(3, "cut"), field(4, "Relu")]),
]
VERSION = field(8, [field(1, ""), b"\x10\x0b"])
DOUBLE = b"\x31" + bytes(6) + b"\x12\x7f"  # who takes it for shorter then meets a text of 127 bytes
SINGLE = b"\x35" + bytes(4)


def model(*declarations):
    graph = field(7, [*NODES, field(2, "graph"), INITIALIZER, *declarations])
    return b"".join([b"\x08\x07", field(2, "by hand"), graph, VERSION])


def test_sizes_go_and_weights_are_no_inputs():
    fixed = model(declared(11, "x", [1, 1]), declared(11, "w", [1, 64]), declared(12, "y", [1, 64]))
    assert free_sizes(fixed) == model(declared(11, "x", None), declared(12, "y", None))


@pytest.mark.parametrize("length", [1, 60, 130, 200, 300])
@pytest.mark.parametrize("before", [b"", DOUBLE, SINGLE], ids=["", "double", "single"])
def test_names_of_any_length_stay(before, length):
    name = "x" * length
    assert free_sizes(before + field(7, declared(11, name, [3, 4]))) == before + field(7, declared(11, name, None))


def test_the_rest_stays_to_the_byte():
    """Fields of every encoding, known or not."""
    other = b"\x08\x07" + DOUBLE + field(2, "by hand") + SINGLE + VERSION + b"\xa0\x06\x96\x01"  # field 100 is 150
    assert free_sizes(other) == other
    assert free_sizes(b"") == b""


def test_the_freed_network_takes_other_sizes():
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime not installed: make install-detector")
    fixed = model(declared(11, "x", [1, 1]), declared(11, "w", [1, 64]), declared(12, "y", [1, 64]))
    x = np.array([[1.0], [-2.0], [3.0]], np.float32)
    with pytest.raises(Exception, match="Got: 3 Expected: 1"):
        onnxruntime.InferenceSession(fixed).run(None, {"x": x})
    session = onnxruntime.InferenceSession(free_sizes(fixed))
    assert [each.name for each in session.get_inputs()] == ["x"]
    np.testing.assert_allclose(session.run(None, {"x": x})[0], np.maximum(x * WEIGHT, 0))
