"""Checks that a built site loads nothing from elsewhere: `python docs/offline.py docs/_build/html`.

Links that a reader may follow are free to lead anywhere; scripts, styles, fonts, pictures and frames are not.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data", "link": "href"}
NAVIGATION = {"canonical", "next", "prev", "search", "index", "author", "license", "help"}


class _Assets(HTMLParser):
    """Collects the addresses that a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Collects the address of one tag."""
        values = dict(attributes)
        address = values.get(LOADED.get(tag, ""), "") or ""
        if tag == "link" and (values.get("rel") or "") in NAVIGATION:
            return
        self.found += [address, *re.findall(r"url\(([^)]+)\)", values.get("style") or "")]


def outgoing(site: Path) -> list[str]:
    """Returns what a site loads from elsewhere, as `file: address`."""
    found = []
    for path in sorted(site.rglob("*")):
        if path.suffix == ".html":
            reader = _Assets()
            reader.feed(path.read_text(encoding="utf-8"))
            loaded = reader.found
        elif path.suffix == ".css":
            loaded = re.findall(r"(?:url\(|@import\s+)[\"']?([^\"')]+)", path.read_text(encoding="utf-8"))
        else:
            continue
        found += [
            f"{path.relative_to(site)}: {one}" for one in loaded if re.match(r"\s*[\"']?(https?:)?//", one)
        ]
    return found


def main() -> None:
    """Prints what a site loads from elsewhere, and ends with 1 if there is any."""
    found = outgoing(Path(sys.argv[1]))
    print("\n".join(found) or "the site loads nothing from elsewhere")
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
