"""A real server: connections that break, uploads without end, and many people at once."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from skinjax.app import server

SCRIPT = {"Accept": "application/json"}


def form(paths) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("photos", (path.name, path.read_bytes(), "image/jpeg")) for path in paths]


def ask(address: str, paths, **more) -> httpx2.Response:
    return httpx2.post(f"{address}/answer", files=form(paths), headers=SCRIPT, timeout=60, **more)


def begun(address: str, length: int) -> socket.socket:
    """A connection with the beginning of a photo of so many bytes."""
    place = urlsplit(address)
    connection = socket.create_connection((place.hostname, place.port), timeout=60)
    head = (
        f"POST /answer HTTP/1.1\r\nHost: {place.netloc}\r\nAccept: application/json\r\nContent-Length: {length}\r\n"
        "Content-Type: multipart/form-data; boundary=edge\r\n\r\n"
        '--edge\r\nContent-Disposition: form-data; name="photos"; filename="a.jpg"\r\n\r\n'
    )
    connection.sendall(head.encode())
    return connection


def test_a_connection_that_breaks_leaves_the_next_one_alone(address, photos):
    for _ in range(5):  # more than are read at a time
        connection = begun(address, 1_000_000)
        connection.sendall(bytes(10_000))
        connection.close()
    assert ask(address, photos[:2]).status_code == 200


def test_who_sends_slowly_does_not_keep_others_waiting_beyond_the_forms_read_at_a_time(address, photos):
    slow = [begun(address, 1_000_000) for _ in range(2)]
    try:
        assert ask(address, photos[:2]).status_code == 200
    finally:
        for connection in slow:
            connection.close()


def test_300_megabytes_get_one_sentence_and_no_broken_connection(address):
    length, block = 300_000_000, bytes(1_000_000)
    with begun(address, length + 85) as connection:
        for _ in range(length // len(block)):
            connection.sendall(block)
        connection.sendall(b"\r\n--edge--\r\n" + bytes(85))
        answer = HTTPResponse(connection)  # which may come in several pieces
        answer.begin()
        assert answer.status == 413
        assert "The file a.jpg is too large: a photo may have at most 40 MB." in answer.read().decode()


def test_the_server_does_not_say_what_it_runs_on(address):
    headers = httpx2.get(address).headers
    assert "server" not in headers


def test_a_port_in_use_is_told():
    with (
        server.listen("127.0.0.1", 0) as taken,
        pytest.raises(ValueError, match=r"port=\d+ cannot be listened on .*give another port=NUMBER"),
    ):
        server.listen("127.0.0.1", taken.getsockname()[1])


def memory() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="memory is read from /proc, which is not there"
)
def test_twenty_people_with_five_photos_each_are_answered_and_memory_comes_back(address, photos):
    def crowd() -> list[int]:
        with ThreadPoolExecutor(20) as pool:
            return list(pool.map(lambda n: ask(address, photos[n : n + 5]).status_code, range(20)))

    assert crowd() == [200] * 20
    before = memory()
    for _ in range(3):
        assert crowd() == [200] * 20
    assert memory() < 1.1 * before
