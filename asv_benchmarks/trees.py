"""Commits, and source trees of them."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def git(*arguments: str) -> str:
    """Return what a git command prints, run in the repository."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit_of(revision: str) -> tuple[str, int]:
    """Return a revision's full hash and its date in seconds."""
    commit, date = git("log", "-1", "--format=%H %ct", revision).split()
    return commit, int(date)


def extract(revision: str, folder: Path) -> Path:
    """Write the package as of a revision into a folder, and return it."""
    command = ["git", "archive", "--format=tar", revision, "sparsetconv"]
    archive = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def changed() -> str:
    """Return the package's files that differ from HEAD."""
    return git("status", "--porcelain", "--", "sparsetconv")
