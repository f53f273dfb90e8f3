"""Photos from a form to memory: read as they come, cut at limits, written to no disk.

Starlette's own form parser spools what is larger than a megabyte into temporary files; nothing of a photo is to be
stored here, so the parser of python-multipart is fed directly and what is within the limits is kept as bytes. What is
beyond them is read to its end and thrown away, since browsers show no answer that comes while they are still sending.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

FIELD_BYTES, FIELDS = 1 << 12, 400
"""Bytes of a field that is no file, at most, a longer one is cut; and how many are kept."""

MEGABYTE = 1_000_000


class UploadError(ValueError):
    """A form that cannot be taken.

    Attributes:
      phrase: Key of the sentence that tells the user why, see `skinjax.app.language`.
      values: What the sentence names.
      status: Of the HTTP response.
      entered: Entries of the form that are shown again, by column.
      faults: Sentence for each entry that is refused, by the place of its question.
    """

    def __init__(
        self,
        phrase: str,
        status: int = 400,
        *,
        entered: Mapping[str, str] | None = None,
        faults: Mapping[int, str] | None = None,
        **values: object,
    ) -> None:
        self.phrase = phrase
        self.entered = dict(entered or {})
        self.faults = dict(faults or {})
        self.values = values
        self.status = status
        super().__init__(f"{phrase} {values}" if values else phrase)


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits of one form.

    Attributes:
      photos: Files at most.
      photo_bytes: Bytes of a file at most.
      bytes: Bytes of all files at most.
      discard_bytes: Bytes that are read and thrown away beyond a limit, before the connection is closed.
      seconds: Time for the whole form.
      stall: Seconds without a byte after which a sender is given up, as one whose network is gone.
      rate: Bytes per second, on average once `stall` seconds have passed, below which a sender is given up, as it keeps
        others waiting.
    """

    photos: int = 12
    photo_bytes: int = 40 * MEGABYTE
    bytes: int = 120 * MEGABYTE
    discard_bytes: int = 2000 * MEGABYTE
    seconds: float = 180
    stall: float = 20
    rate: float = 10_000


@dataclasses.dataclass(frozen=True)
class Upload:
    """A file of a form.

    Attributes:
      name: As the sender calls it, with folders where a folder was sent; for people and grouping, never a path here.
      data: Its bytes.
    """

    name: str
    data: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Form:
    """A form that was read.

    Attributes:
      uploads: Files that are not empty, in order.
      fields: Other fields, the last of a name, the first `FIELDS` of them.
    """

    uploads: tuple[Upload, ...]
    fields: dict[str, str]


async def read_form(
    content_type: str,
    chunks: AsyncIterator[bytes],
    limits: Limits,
    check: Callable[[Mapping[str, str]], object] | None = None,
) -> Form:
    """Reads a form of `multipart/form-data`.

    Args:
      content_type: Header of the request.
      chunks: Its body.
      limits: What is taken at most.
      check: Refuses a form by the fields that stand before its first file, as the page's script sends it, so that no
        file is kept. Without scripts files come first, and it sees no field.

    Returns:
      The form.

    Raises:
      UploadError: It is no such form, damaged, too slow, beyond a limit, or refused by `check`. Of the body of one of
        the last two the rest has been read.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise UploadError("error_form")
    reader = _Reader(limits, check)
    parser = MultipartParser(options[b"boundary"], reader.callbacks())
    read = 0
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in _flowing(chunks, limits):
                read += len(chunk)
                if reader.error is None:
                    parser.write(chunk)
                elif read > limits.discard_bytes:
                    break
        if reader.error is None:
            parser.finalize()
    except FormParserError:
        raise UploadError("error_form") from None
    except TimeoutError:
        raise UploadError("error_slow", 408) from None
    if reader.error is not None:
        raise reader.error
    if not reader.ended:
        raise UploadError("error_cut")
    return Form(tuple(reader.uploads), reader.fields)


async def _flowing(chunks: AsyncIterator[bytes], limits: Limits) -> AsyncIterator[bytes]:
    """Yields chunks for as long as they come.

    Raises:
      TimeoutError: None came for `stall` seconds, or they come below `rate`.
    """
    started, read = time.monotonic(), 0
    while True:
        async with asyncio.timeout(limits.stall):
            chunk = await anext(chunks, None)
        if chunk is None:
            return
        read += len(chunk)
        taken = time.monotonic() - started
        if taken > limits.stall and read < limits.rate * taken:
            raise TimeoutError
        yield chunk


class _Reader:
    """Callbacks of the parser: collect files and fields, and stop collecting at the first limit or refusal."""

    def __init__(self, limits: Limits, check: Callable[[Mapping[str, str]], object] | None) -> None:
        self.uploads: list[Upload] = []
        self.fields: dict[str, str] = {}
        self.error: UploadError | None = None
        self.ended = False
        self._limits = limits
        self._check = check
        self._total = 0
        self._files = 0
        self._header, self._value = b"", b""
        self._field, self._file = "", None
        self._data = bytearray()

    def callbacks(self) -> dict[str, Callable[..., None]]:
        names = "part_begin header_field header_value header_end headers_finished part_data part_end end"
        return {f"on_{name}": getattr(self, f"_{name}") for name in names.split()}

    def _part_begin(self) -> None:
        self._field, self._file = "", None
        self._data = bytearray()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._field = options.get(b"name", b"").decode("utf-8", "replace")
            if b"filename" in options:
                self._file = options[b"filename"].decode("utf-8", "replace")
        self._header, self._value = b"", b""

    def _headers_finished(self) -> None:
        if self._file:
            if self._check is not None and self._files == 0:
                try:
                    self._check(self.fields)
                except UploadError as error:
                    self._stop(error)
            self._files += 1
            if self._files > self._limits.photos:
                self._stop(UploadError("error_many", 413, photos=self._limits.photos))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self.error is not None:
            return
        if self._file is None:
            self._data += data[start : min(end, start + FIELD_BYTES - len(self._data))]
            return
        self._total += end - start
        if len(self._data) + end - start > self._limits.photo_bytes:
            size = self._limits.photo_bytes // MEGABYTE
            self._stop(UploadError("error_large", 413, name=shown(self._file), megabytes=size))
        elif self._total > self._limits.bytes:
            self._stop(UploadError("error_large_all", 413, megabytes=self._limits.bytes // MEGABYTE))
        else:
            self._data += data[start:end]

    def _part_end(self) -> None:
        if self.error is not None:
            return
        if self._file is None:
            if self._field in self.fields or len(self.fields) < FIELDS:
                self.fields[self._field] = self._data.decode("utf-8", "replace")
        elif self._data:  # a browser sends an empty file for an input without any
            self.uploads.append(Upload(self._file, bytes(self._data)))
        elif self._file:
            self.uploads.append(Upload(self._file, b""))
        self._data = bytearray()

    def _end(self) -> None:
        self.ended = True

    def _stop(self, error: UploadError) -> None:
        if self.error is None:
            self.error = error
        self.uploads.clear()
        self._data = bytearray()


def shown(name: str, most: int = 60) -> str:
    r"""Returns a file's name as it is shown to people: printable, without folders, and not too long.

    Args:
      name: As the sender called it.
      most: Characters at most.

    >>> shown("C:\\visits\\a\x00b.jpg"), shown("x" * 100, 8)
    ('ab.jpg', 'xxxxxxx…')
    """
    return printable(name.replace("\\", "/").rsplit("/", 1)[-1], most)


def printable(text: str, most: int) -> str:
    """Returns text of others as it is shown to people: on one line, and not too long.

    Args:
      text: Any.
      most: Characters at most.
    """
    kept = "".join(letter for letter in text if letter.isprintable()).strip() or "?"
    return kept if len(kept) <= most else kept[: most - 1] + "…"


async def read_text(chunks: AsyncIterator[bytes], most: int) -> dict[str, Any]:
    """Reads a JSON object.

    Args:
      chunks: The request's body.
      most: Bytes at most.

    Raises:
      UploadError: It is no JSON object, or longer.
    """
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > most:
            raise UploadError("error_groups", 413)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise UploadError("error_groups")
    return document


async def discard(chunks: AsyncIterator[bytes], limits: Limits) -> None:
    """Reads a body to its end and throws it away, so that the sender sees what is answered.

    Args:
      chunks: The request's body.
      limits: How much and how long at most.
    """
    read = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limits.seconds):
            async for chunk in _flowing(chunks, limits):
                read += len(chunk)
                if read > limits.discard_bytes:
                    return
