"""Files that are either whole or not there, whoever writes them at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from studio.core.files import read_json, write_json


def test_threads_of_one_process_do_not_write_into_each_others_files(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    texts = [str(number) * 20_000 for number in range(8)]

    def write(text: str) -> None:
        for _ in range(10):
            write_json(path, text)
            assert read_json(path) in texts

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, texts))
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
