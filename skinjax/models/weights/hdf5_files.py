"""HDF5, as far as Keras's files use it: the tree of groups, with attributes and places of arrays.

No library of Python's reads files of strangers safely. Of 7,500 small Keras files with one to four bytes changed,
h5py 3.16 crashed the whole process on 14 and did not return from 27. pyfive 1.3, which is pure Python, came to an end
with all of another 7,500, one of which took over 1 GB, but not within 30 seconds with three files made on purpose: a
group's index whose nodes name the next one several times (11 KB), an object header of 60,000 continuations (1.4 MB),
and a group whose names share one long text (10 MB). The last two hang it even where what it reads is bounded. So the
few structures that h5py writes by default are read here, each at most once and none beyond the end of the file:
superblock 0 or 1, object headers 1, groups by symbol tables, arrays in one piece. Links are never followed.

The numbers are those of the HDF5 File Format Specification, version 3.0, whose sections the comments name.
"""

from __future__ import annotations

import dataclasses
import os
import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from skinjax.models.weights.hdf5_messages import (
    ATTRIBUTE,
    DATASPACE,
    DATATYPE,
    LAYOUT,
    Attribute,
    Dataset,
    attribute_of,
    dataset_of,
)

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NEWER = "it is HDF5 of a newer layout than Keras writes"
_LONGEST_NAME = 1024
_MOST_NESTED = 32
_MOST_WORK = 64 << 20  # bytes of structures; a network of a thousand layers has a tenth of that
_LINK_INFO, _LINK, _CONTINUATION, _SYMBOL_TABLE = 2, 6, 16, 17


@dataclasses.dataclass(frozen=True)
class Link:
    """A child that is elsewhere: under another path, or in another file."""


@dataclasses.dataclass(frozen=True)
class Group:
    """A group of groups and arrays.

    Attributes:
      children: What it holds, by name.
      attributes: Its attributes, by name.
    """

    children: Mapping[str, Group | Dataset | Link]
    attributes: Mapping[str, Attribute]


class Hdf5:
    """An open HDF5 file.

    Args:
      file: Its bytes, on disk or in memory.
    """

    def __init__(self, file: BinaryIO):
        self._file, self._size = file, file.seek(0, os.SEEK_END)
        self._seen: set[int] = set()
        self._work = 0
        self._heaps: dict[int, dict[int, tuple[int, int]]] = {}

    def root(self) -> Group:
        """Reads the whole tree of groups.

        Returns:
          The group "/".

        Raises:
          ValueError: A structure is not what it should be, lies beyond the end, or belongs to two others.
        """
        # II.A: signature, versions, sizes of offsets and lengths; addresses; the root's symbol table entry.
        version, offset_width, length_width = struct.unpack("<B4xBB", self._bytes(8, 7))
        if version > 1:
            raise ValueError(_NEWER)
        if (offset_width, length_width) != (8, 8):
            raise ValueError("its addresses are not of 8 bytes")
        base, _, end, _, _, header = struct.unpack("<6Q", self._bytes(24 + 4 * version, 48))
        if base:
            raise ValueError("it begins with a user block")
        if end > self._size:
            raise ValueError(f"it has {self._size} bytes of {end}")
        root = self._object(header, 0)
        if not isinstance(root, Group):
            raise ValueError("its root is no group")
        return root

    def texts(self, attribute: Attribute) -> list[str]:
        """Reads an attribute that is a text or a list of texts.

        Args:
          attribute: Of one of this file's groups.

        Returns:
          Its texts.

        Raises:
          ValueError: It is of another type, or a text is too long to be a name.
        """
        count = attribute.count
        if count == 0:  # of any type: of an empty list, numpy makes numbers
            return []
        kind, width = attribute.datatype[0] & 15, int.from_bytes(attribute.datatype[4:8], "little")
        if not 0 < width * count <= len(attribute.values):
            raise ValueError("it has an attribute that is cut")
        raw = [attribute.values[n * width : (n + 1) * width] for n in range(count)]
        if kind == 9 and attribute.datatype[1] & 15 == 1 and width == 16:  # texts of any length (IV.A.2.d)
            raw = [self._heap_object(*struct.unpack("<IQI", entry)) for entry in raw]
        elif kind != 3:
            raise ValueError("it has an attribute of numbers where names should be")
        if any(len(text) > _LONGEST_NAME for text in raw):
            raise ValueError("it has a name that is too long to be one")
        return [text.rstrip(b"\0").decode("utf-8") for text in raw]

    def _bytes(self, place: int, count: int) -> bytes:
        if place + count > self._size:
            raise ValueError(f"it needs {count} bytes at {place} and has {self._size}")
        self._work += count
        if self._work > _MOST_WORK:
            raise ValueError("its structures overlap")
        self._file.seek(place)
        content = self._file.read(count)
        if len(content) < count:
            raise ValueError("it became shorter while it was read")
        return content

    def _once(self, place: int) -> None:
        """Refuses a structure that belongs to two others, so that work is bounded by the file's size."""
        if place in self._seen:
            raise ValueError(f"its structure at byte {place} is in two places")
        self._seen.add(place)

    def _signed(self, place: int, signature: bytes, layout: str) -> tuple[Any, ...]:
        """Reads the fields of a structure that begins with a signature."""
        self._once(place)
        content = self._bytes(place, 4 + struct.calcsize(f"<{layout}"))
        if content[:4] != signature:
            raise ValueError(f"it has no {signature.decode()} at byte {place}")
        return struct.unpack(f"<{layout}", content[4:])

    def _object(self, place: int, depth: int) -> Group | Dataset:
        if depth > _MOST_NESTED:
            raise ValueError(f"its groups are nested more than {_MOST_NESTED} deep")
        messages = list(self._messages(place))
        kinds = {kind: (content, at) for kind, content, at in messages}
        if LAYOUT in kinds:
            return dataset_of(kinds, self._size)
        if _LINK in kinds or _LINK_INFO in kinds:
            raise ValueError(_NEWER)
        attributes = dict(attribute_of(content) for kind, content, _ in messages if kind == ATTRIBUTE)
        if _SYMBOL_TABLE not in kinds:
            return Group({}, attributes)
        tree, heap = struct.unpack("<QQ", kinds[_SYMBOL_TABLE][0][:16])
        children: dict[str, Group | Dataset | Link] = {}
        for name, child, cached in self._entries(tree, heap):
            if name in children:
                raise ValueError(f"it has two {name} in one group")
            children[name] = Link() if cached == 2 else self._object(child, depth + 1)
        return Group(children, attributes)

    def _messages(self, place: int) -> Iterator[tuple[int, bytes, int]]:
        """Yields type, content and place of each message of an object's header (IV.A.1.a)."""
        self._once(place)
        head = self._bytes(place, 16)
        if head[:4] == b"OHDR":
            raise ValueError(_NEWER)
        version, left, size = struct.unpack("<BxHxxxxI", head[:12])
        if version != 1:
            raise ValueError(f"it has an object header of version {version} at byte {place}")
        blocks = [(place + 16, size)]
        while blocks and left:
            at, size = blocks.pop(0)
            content = self._bytes(at, size)
            position = 0
            while left and position + 8 <= size:
                kind, length, flags = struct.unpack("<HHB", content[position : position + 5])
                message = content[position + 8 : position + 8 + length]
                if len(message) < length or (flags & 2 and kind in (DATASPACE, DATATYPE, LAYOUT)):
                    raise ValueError(f"it has a message at byte {at + position} that is cut or elsewhere")
                if kind == _CONTINUATION:
                    blocks.append(struct.unpack("<QQ", message[:16]))
                    self._once(blocks[-1][0])
                yield kind, message, at + position + 8
                position += 8 + length
                left -= 1

    def _entries(self, tree: int, heap: int) -> Iterator[tuple[str, int, int]]:
        """Yields name, address and kind of every child of a group (III.A.1, III.B to D)."""
        _, heap_size, _, names = self._signed(heap, b"HEAP", "4sQQQ")
        nodes = [tree]
        while nodes:
            node = nodes.pop()
            kind, level, count = self._signed(node, b"TREE", "BBH")
            if kind != 0:
                raise ValueError("it has a group whose index is of something else")
            # After the siblings' addresses: key, child, key, child, ..., key.
            content = self._bytes(node + 24, 16 * count + 8)
            below = [child for _, child in struct.iter_unpack("<QQ", content[: 16 * count])]
            if level:
                nodes += below
                continue
            for table in below:
                _, entries = self._signed(table, b"SNOD", "BxH")
                for name, child, cached in struct.iter_unpack(
                    "<QQI20x", self._bytes(table + 8, 40 * entries)
                ):
                    if name >= heap_size:
                        raise ValueError("it has a name outside of its group's names")
                    # A group's names are short; what is behind them does not matter.
                    length = min(_LONGEST_NAME, heap_size - name)
                    text, end, _ = self._bytes(names + name, length).partition(b"\0")
                    if not end or not text:
                        raise ValueError("it has a name without an end, or an empty one")
                    yield text.decode("utf-8"), child, cached

    def _heap_object(self, length: int, heap: int, number: int) -> bytes:
        """Reads a text of any length (III.E)."""
        if heap not in self._heaps:
            _, size = self._signed(heap, b"GCOL", "B3xQ")
            objects = {}
            position = 16
            while position + 16 <= size:
                index, object_size = struct.unpack("<HxxxxxxQ", self._bytes(heap + position, 16))
                if index == 0:  # the free space that is left
                    break
                objects[index] = (heap + position + 16, object_size)
                position += 16 + (object_size + 7) // 8 * 8
            self._heaps[heap] = objects
        place, size = self._heaps[heap].get(number, (0, -1))
        if not length <= size or length > _LONGEST_NAME:
            raise ValueError("it has a name that is not where it should be, or too long to be one")
        return self._bytes(place, length)
