"""One binary encoding for everything that is kept: MessagePack, with numpy arrays as an extension type.

Integers stay exact and floats keep all their bits, so `unpack(pack(x)) == x`: a restart continues with the very same
numbers.
"""

from typing import Any, TypeVar

import msgspec
import numpy as np

T = TypeVar("T")

_ARRAY = 1


def _encode_hook(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        header = msgspec.msgpack.encode((value.dtype.str, value.shape))
        return msgspec.msgpack.Ext(_ARRAY, bytes([len(header)]) + header + np.ascontiguousarray(value).tobytes())
    if isinstance(value, np.generic):
        return value.item()
    message = f"cannot pack a {type(value).__name__}"
    raise NotImplementedError(message)


def _ext_hook(code: int, data: memoryview) -> Any:
    if code != _ARRAY:
        message = f"unknown extension type {code}: written by a newer version"
        raise ValueError(message)
    size = data[0]
    dtype, shape = msgspec.msgpack.decode(data[1 : 1 + size])
    return np.frombuffer(data[1 + size :], dtype=np.dtype(dtype)).reshape(shape).copy()


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_hook)


def pack(value: Any) -> bytes:
    """Bytes of a value: structs, builtins and numpy arrays.

    Examples
    --------
    >>> unpack(pack({"a": np.arange(3)}), dict)
    {'a': array([0, 1, 2])}
    """
    return _encoder.encode(value)


def unpack(data: bytes, kind: type[T]) -> T:
    """Return the value of type `kind` that `pack` wrote.

    Raises
    ------
    msgspec.DecodeError
        Where the bytes are damaged or were written by another format version.
    """
    return msgspec.msgpack.decode(data, type=kind, ext_hook=_ext_hook, dec_hook=_decode_hook)


def _decode_hook(kind: type, value: Any) -> Any:
    if kind is np.ndarray or getattr(kind, "__origin__", None) is np.ndarray:
        return value
    message = f"cannot unpack a {kind}"
    raise NotImplementedError(message)
