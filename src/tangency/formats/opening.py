"""Checks of users' files: absent ones, folders, and web pages saved under the name of a data file."""

from __future__ import annotations

from pathlib import Path

from tangency.errors import DataError

_MAGIC = {
    b"\x1f\x8b": "a gzip file",
    b"PK\x03\x04": "a zip archive",
    b"PAR1": "a Parquet file",
    b"\x89PNG": "a PNG image",
    b"\x93NUMPY": "an .npy file",
    b"\x89HDF": "an HDF5 file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
}


def recognised(head: bytes) -> str:
    """The kind of a file that starts with `head`, in words; empty where it is not recognised."""
    text = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<body", b"<!--")):
        return "a web page (HTML or XML), probably the error page of a failed download"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself; `git lfs pull` fetches it"
    return next((what for magic, what in _MAGIC.items() if head.startswith(magic)), "")


def refuse_foreign(head: bytes, what: str, expected: str) -> None:
    """Raise where the first bytes of the file `what` are those of another well-known format."""
    if not head:
        raise DataError(f"{what}: the file is empty, expected {expected}. Download it again.")
    if kind := recognised(head):
        raise DataError(f"{what}: this is {kind}; expected {expected}. Download it again.")


def existing_file(path: Path, expected: str) -> Path:
    """`path` if it is a file; else a DataError that says what it is."""
    try:
        if path.is_dir():
            raise DataError(f"{path}: this is a folder, expected {expected}.")
        if not path.exists():
            raise DataError(f"{path}: there is no such file, expected {expected}. Check the path.")
    except OSError as error:  # a name that is too long
        raise DataError(f"{str(path)[:200]}…: {error.strerror}, expected {expected}.") from None
    return path


def read_bytes(path: Path, expected: str) -> bytes:
    """The whole file; an unreadable one is a DataError."""
    existing_file(path, expected)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}), expected {expected}.") from error
