"""Speed and memory, measured beside what they are compared with; one command each."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from helpers.base import Profile, load_profile, write_jsonl


@contextmanager
def passing_profile(pairs: Iterable[dict], **settings: object) -> Iterator[tuple[Profile, dict[str, str]]]:
    """Yield the profile of pairs of its own under some settings, and its environment; remove all that is made of it."""
    with TemporaryDirectory() as folder:
        write_jsonl(path := Path(folder) / "part.jsonl", pairs)  # as a data set it has folders of its own
        environ = os.environ | {key: str(value) for key, value in settings.items()} | {"DATASET": str(path)}
        profile = load_profile(environ=environ)
        try:
            yield profile, environ
        finally:
            for made in (profile.data_dir, profile.output_dir):
                shutil.rmtree(made, ignore_errors=True)
