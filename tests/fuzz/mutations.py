"""Seeded mutations of files: of their bytes, of the text in them, and of the members of archives."""

from __future__ import annotations

import io
import random
import re
import zipfile
from collections.abc import Callable

Mutation = Callable[[bytes, random.Random], bytes]
_HUGE = (2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
_HEADER = 512
_TOKENS = re.compile(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?|true|false|null|\"[^\"\n]{0,80}\"|[A-Za-z_][A-Za-z0-9_.]*")
_VALUES = (
    b"-1",
    b"0",
    b"1e999",
    b"-1e999",
    b".nan",
    b"NaN",
    b"null",
    b"[]",
    b"{}",
    b"true",
    b'""',
    b'"x"',
    b"9" * 30,
    b"9" * 9,
    b"[[[[[[[[1]]]]]]]]",
    b"0.5",
    b"2000000000",
)


def _at(data: bytes, rng: random.Random) -> int:
    """A place; half of the time in the header."""
    return rng.randrange(min(len(data), _HEADER) if rng.random() < 0.5 else len(data)) if data else 0


def flip(data: bytes, rng: random.Random) -> bytes:
    """One to eight bits turned over."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if changed:
            changed[_at(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(data: bytes, rng: random.Random) -> bytes:
    """Cut anywhere; often near the end."""
    keep = rng.randrange(len(data)) if rng.random() < 0.5 else len(data) - rng.randrange(1, 1 + min(64, len(data)))
    return data[:keep]


def insert(data: bytes, rng: random.Random) -> bytes:
    """Random bytes, or a piece of the file itself, put in."""
    at, length = _at(data, rng), rng.choice((1, 4, 16, 300))
    piece = rng.randbytes(length) if rng.random() < 0.5 else data[_at(data, rng) :][:length]
    return data[:at] + piece + data[at:]


def remove(data: bytes, rng: random.Random) -> bytes:
    """A piece taken out."""
    at = _at(data, rng)
    return data[:at] + data[at + rng.choice((1, 4, 16, 300)) :]


def huge(data: bytes, rng: random.Random) -> bytes:
    """A very large number of 1, 2, 4 or 8 bytes, in either order, over what is there."""
    size, value = rng.choice((1, 2, 4, 8)), rng.choice(_HUGE)
    at = _at(data, rng) // size * size if rng.random() < 0.5 else _at(data, rng)
    put = (value % 256**size).to_bytes(size, rng.choice(("little", "big")))
    return data[:at] + put + data[at + size :]


def blank(data: bytes, rng: random.Random) -> bytes:
    """A run of zeros over what is there."""
    at, length = _at(data, rng), rng.choice((2, 8, 64))
    return data[:at] + bytes(min(length, len(data) - at)) + data[at + length :]


def text(data: bytes, rng: random.Random) -> bytes:
    """A number, word or quoted text replaced by another, or by a value of another kind; or a line lost or doubled."""
    tokens = list(_TOKENS.finditer(data))
    lines = data.splitlines(keepends=True)
    if not tokens or (len(lines) > 3 and rng.random() < 0.25):
        if not lines:
            return data
        at = rng.randrange(len(lines))
        lines[at : at + 1] = [] if rng.random() < 0.5 else [lines[at]] * 2
        return b"".join(lines)
    token = rng.choice(tokens)
    put = rng.choice(_VALUES) if rng.random() < 0.75 else rng.choice(tokens)[0]
    return data[: token.start()] + put + data[token.end() :]


BYTES: tuple[Mutation, ...] = (flip, truncate, insert, remove, huge, huge, blank)
TEXT: tuple[Mutation, ...] = (text, text, text, text, flip, truncate, insert)


def several(kinds: tuple[Mutation, ...]) -> Mutation:
    """One of the kinds, now and then two."""

    def mutate(data: bytes, rng: random.Random) -> bytes:
        for _ in range(rng.choice((1, 1, 1, 2))):
            data = rng.choice(kinds)(data, rng)
        return data

    return mutate


def zip_member(inner: Mutation) -> Mutation:
    """A member of a zip archive mutated, and the archive written anew around it, so that its checksums hold."""

    def mutate(data: bytes, rng: random.Random) -> bytes:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info, archive.read(info)) for info in archive.infolist()]
        chosen = rng.randrange(len(members))
        pickles = [i for i, (info, _) in enumerate(members) if info.filename.endswith("data.pkl")]
        if pickles and rng.random() < 0.7:
            chosen = pickles[0]
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for number, (info, content) in enumerate(members):
                archive.writestr(info, inner(content, rng) if number == chosen else content)
        return buffer.getvalue()

    return mutate


def safetensors_header(data: bytes, rng: random.Random) -> bytes:
    """The JSON header of a safetensors file changed as text, its length put right."""
    length = int.from_bytes(data[:8], "little")
    header = text(data[8 : 8 + length], rng)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]
