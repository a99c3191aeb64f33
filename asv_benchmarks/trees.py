"""Commits and their source trees."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def git(*arguments: str) -> bytes:
    """Return what a git command prints in the repository; exit if it fails."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True)
    except FileNotFoundError:
        msg = "git was not found: give --commit and --date, or install it"
        raise SystemExit(msg) from None
    except subprocess.CalledProcessError as error:
        msg = (
            f"git {' '.join(arguments)}: {error.stderr.decode().strip()}\n"
            "without a repository, give --commit and --date; without its history, git fetch --unshallow"
        )
        raise SystemExit(msg) from None
    return done.stdout


def commit_of(revision: str) -> tuple[str, int]:
    """Return a revision's full hash and its date in seconds."""
    commit, date = git("log", "-1", "--format=%H %ct", revision).split()
    return commit.decode(), int(date)


def extract(revision: str, folder: Path) -> Path:
    """Write the package as of a revision into a folder, and return it."""
    with tarfile.open(fileobj=io.BytesIO(git("archive", "--format=tar", revision, "sparsetconv"))) as tar:
        tar.extractall(folder, filter="data")
    return folder


def changed() -> str:
    """Return the package's files that differ from HEAD."""
    return git("status", "--porcelain", "--", "sparsetconv").decode()
