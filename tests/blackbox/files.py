"""The files of a data directory as tests see them: which there are, and where the log's records are.

The layout is that at the top of core/wal_format.c; checksums are not looked at, so that damaged and
torn logs can be read and made.
"""
import collections
import os
import re
import struct

BLOCK = 4096
RECORD_HEADER = 32
FORMAT_VERSION_AT = 8  # in segments and snapshots alike

Header = collections.namedtuple("Header", "version relaxed first_lsn before_lsn")
Record = collections.namedtuple("Record", "offset bytes lsn durable_lsn")


def _named(data, pattern):
    found = [(int(match.group(1)), os.path.join(data, match.group()))
             for match in map(re.compile(pattern).fullmatch, os.listdir(data)) if match]
    return [path for _, path in sorted(found)]


def segments(data):
    """Paths, oldest first."""
    return _named(data, r"wal-(\d{20})\.log")


def snapshots(data):
    """Paths, oldest first."""
    return _named(data, r"snapshot-(\d{20})\.snap")


def header(path):
    with open(path, "rb") as file:
        version, flags, _, first_lsn, before_lsn = struct.unpack_from("<IIQQQ", file.read(48), 8)
    return Header(version, bool(flags & 1), first_lsn, before_lsn)


def records(path):
    """The records of a segment in order, without marks of clean ends."""
    with open(path, "rb") as file:
        content = file.read()
    at, found, expected = BLOCK, [], header(path).first_lsn
    while at + RECORD_HEADER <= len(content):
        length, lsn, durable_lsn = struct.unpack_from("<IQQ", content, at + 12)
        if length < RECORD_HEADER or lsn not in (expected, expected - 1):
            if at % BLOCK == 0:
                break
            at += BLOCK - at % BLOCK
            continue
        if lsn == expected:
            found.append(Record(at, length, lsn, durable_lsn))
            expected += 1
        at += length
    return found


def flip(path, offset):
    """Changes one bit."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def overwrite(path, offset, content):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(content)


def cut_after(path, lsn):
    """Zeros from behind the record of this LSN to the segment's end: as if none of it had reached the disk."""
    end = max((record.offset + record.bytes for record in records(path) if record.lsn <= lsn), default=BLOCK)
    overwrite(path, end, bytes(os.path.getsize(path) - end))


def content(data):
    """{name: bytes} of all files."""
    found = {}
    for name in os.listdir(data):
        with open(os.path.join(data, name), "rb") as file:
            found[name] = file.read()
    return found
