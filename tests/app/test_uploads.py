"""Forms to memory, beside Starlette's own parser, in pieces of every size, and beyond every limit."""

from __future__ import annotations

import asyncio
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser

from skinjax.app.uploads import Limits, UploadError, discard, read_form

TYPE = 'multipart/form-data; boundary="edge"'
NAMES = st.text(
    st.characters(exclude_characters='"\r\n\\', exclude_categories=["C"]), min_size=1, max_size=12
)


def body(
    files: list[tuple[str, bytes]], fields: dict[str, str] | None = None, end: bytes = b"--edge--\r\n"
) -> bytes:
    parts = [
        f'--edge\r\nContent-Disposition: form-data; name="photos"; filename="{name}"\r\n'.encode()
        + b"Content-Type: image/jpeg\r\n\r\n"
        + data
        + b"\r\n"
        for name, data in files
    ]
    parts += [
        f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in (fields or {}).items()
    ]
    return b"".join(parts) + end


async def pieces(data: bytes, size: int):
    for start in range(0, len(data), size):
        yield data[start : start + size]


def read(data: bytes, limits: Limits = Limits(), size: int = 1000, kind: str = TYPE):  # noqa: B008
    return asyncio.run(read_form(kind, pieces(data, size), limits))


async def starlettes(data: bytes):
    form = await MultiPartParser(Headers({"Content-Type": TYPE}), pieces(data, 1000)).parse()
    found = [(one.filename, await one.read()) for one in form.getlist("photos")]
    await form.close()
    return found


@settings(deadline=None)
@given(
    st.lists(st.tuples(NAMES, st.binary(min_size=1, max_size=300)), max_size=4),
    st.sampled_from([1, 2, 3, 7, 64, 10_000]),
)
def test_files_are_those_that_starlette_reads_however_they_are_cut(files, size):
    data = body(files, {"case": "arm", "by": "name"})
    form = read(data, size=size)
    assert [(one.name, one.data) for one in form.uploads] == files == asyncio.run(starlettes(data))
    assert form.fields == {"case": "arm", "by": "name"}


def test_an_input_without_a_file_is_no_upload():
    assert read(body([("", b""), ("a.jpg", b"x")])).uploads[0].name == "a.jpg"


def refused(data: bytes, limits: Limits = Limits(), **more) -> UploadError:  # noqa: B008
    with pytest.raises(UploadError) as caught:
        read(data, limits, **more)
    return caught.value


def test_too_many_photos_are_refused_and_one_less_is_not():
    files = [(f"{n}.jpg", b"x") for n in range(40)]
    assert len(read(body(files), Limits(photos=40)).uploads) == 40
    error = refused(body(files), Limits(photos=39))
    assert (error.phrase, error.values, error.status) == ("error_many", {"photos": 39}, 413)


def test_a_photo_beyond_its_limit_is_refused_by_its_name():
    at_limit = Limits(photo_bytes=2_000_000)
    assert read(body([("a.jpg", bytes(2_000_000))]), at_limit, size=65536).uploads[0].data == bytes(2_000_000)
    error = refused(body([("ok.jpg", b"x"), ("large.jpg", bytes(2_000_001))]), at_limit, size=65536)
    assert (error.phrase, error.values) == ("error_large", {"name": "large.jpg", "megabytes": 2})


def test_photos_beyond_their_limit_together_are_refused():
    files = [(f"{n}.jpg", bytes(1_500_000)) for n in range(3)]
    error = refused(body(files), Limits(photo_bytes=2_000_000, bytes=4_000_000), size=65536)
    assert error.phrase == "error_large_all"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", TYPE),
        (b"no form at all", TYPE),
        (body([("a.jpg", b"x")]), "application/json"),
        (body([("a.jpg", b"x")]), "multipart/form-data"),
        (body([("a.jpg", b"x" * 500)], end=b""), TYPE),
        (body([("a.jpg", b"x" * 500)])[:300], TYPE),
    ],
    ids=["empty", "text", "another type", "no boundary", "no end", "cut"],
)
def test_what_is_no_whole_form_is_refused(data, kind):
    assert refused(data, kind=kind).phrase in ("error_form", "error_cut")


def test_beyond_a_limit_the_rest_is_read_and_nothing_of_it_kept():
    seen = 0

    async def counted():
        nonlocal seen
        async for piece in pieces(body([("a.jpg", bytes(5_000_000))]), 65536):
            seen += len(piece)
            yield piece

    with pytest.raises(UploadError):
        asyncio.run(read_form(TYPE, counted(), Limits(photo_bytes=1_000_000)))
    assert seen > 5_000_000


@pytest.mark.parametrize("size", [7, 100_000])
def test_what_stands_before_the_files_is_checked_before_they_are_kept(size):
    head = b'--edge\r\nContent-Disposition: form-data; name="age"\r\n\r\nold\r\n'
    seen, asked = 0, []

    async def counted():
        nonlocal seen
        async for piece in pieces(
            head + body([("a.jpg", bytes(5000)), ("b.jpg", b"x")], {"by": "name"}), size
        ):
            seen += len(piece)
            yield piece

    def check(fields):
        asked.append(dict(fields))
        raise UploadError("error_number", 422)

    with pytest.raises(UploadError) as caught:
        asyncio.run(read_form(TYPE, counted(), Limits(photo_bytes=1000), check))
    assert (caught.value.phrase, caught.value.status) == ("error_number", 422)
    assert asked == [{"age": "old"}]
    assert seen > 5000


def test_reading_stops_at_what_may_be_thrown_away():
    seen = 0

    async def endless():
        nonlocal seen
        yield body([("a.jpg", b"")])[:-12]
        while True:
            seen += 100_000
            yield bytes(100_000)

    limits = Limits(photo_bytes=1_000_000, discard_bytes=3_000_000)
    with pytest.raises(UploadError):
        asyncio.run(read_form(TYPE, endless(), limits))
    assert 3_000_000 <= seen <= 3_200_000
    asyncio.run(discard(endless(), limits))
    assert seen <= 6_400_000


def test_a_sender_who_is_too_slow_is_told():
    async def slow():
        yield body([("a.jpg", b"x")])[:30]
        await asyncio.sleep(30)

    for limits in (Limits(seconds=0.05), Limits(stall=0.05)):
        with pytest.raises(UploadError) as caught:
            asyncio.run(read_form(TYPE, slow(), limits))
        assert (caught.value.phrase, caught.value.status) == ("error_slow", 408)


def test_a_sender_of_a_byte_now_and_then_is_given_up():
    async def drops():
        yield body([("a.jpg", b"x")])[:30]
        for _ in range(200):
            await asyncio.sleep(0.01)
            yield b"x"

    with pytest.raises(UploadError) as caught:
        asyncio.run(read_form(TYPE, drops(), Limits(stall=0.1, rate=1000)))
    assert (caught.value.phrase, caught.value.status) == ("error_slow", 408)


def test_no_temporary_file_is_made(monkeypatch):
    def refuse(*args, **more):
        raise AssertionError("a temporary file")

    for name in ("SpooledTemporaryFile", "TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    assert len(read(body([("a.jpg", bytes(20_000_000))]), size=1 << 16).uploads[0].data) == 20_000_000
