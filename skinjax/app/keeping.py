"""Photos, as pixels, and answers that are kept where the user named a folder, in one folder per case.

Photos are encoded anew, so that the place, the time and the camera in their files are left out, and so are their names,
which may be people's. Without that folder nothing is written at all.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from skinjax.app.pictures import pixels_alone
from skinjax.data.images.photos import PhotoError
from skinjax.files.folders import filling


def keep_case(folder: Path, photos: Sequence[bytes], answer: Mapping[str, Any]) -> Path:
    """Writes a case, whole or not at all.

    Args:
      folder: Folder of all cases.
      photos: Files of the photos; those that cannot be read are left out.
      answer: As JSON takes it.

    Returns:
      Folder of this case, with `photo_1.jpg`, `photo_2.jpg`, ... and `answer.json`.
    """
    case = folder / f"{datetime.now():%Y-%m-%dT%H-%M-%S}_{secrets.token_hex(4)}"
    with filling(case, last="answer.json") as hidden:
        for number, data in enumerate(photos, 1):
            try:
                pixels = pixels_alone(data)
            except PhotoError:
                continue
            (hidden / f"photo_{number}.jpg").write_bytes(pixels)
        text = json.dumps(answer, ensure_ascii=False, indent=1, allow_nan=False)
        (hidden / "answer.json").write_text(text + "\n", encoding="utf-8")
    return case
