"""The pages' examples run in a folder of their own, and draw into files."""

import pytest

# built pages, and what Sphinx itself runs
collect_ignore_glob = ["_build/*", "_ext/*", "auto_gallery/*", "gallery/*", "conf.py"]


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
