"""Make asv's pages work without a network: their scripts, copied from npm packages.

asv's ``index.html`` loads ten files from content-delivery networks. Six npm packages have them, which
``npm pack`` fetches from the registry that npm is set up for; their checksums are in this file.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

PACKAGES = {
    # package@version: (sha512 of its archive, {asv's name of a file: its place in the package})
    "jquery@3.3.1": (
        "Ubldcmxp5np52/ENotGxlLe6aGMvmF4R8S6tZjsP6Knsaxd/xp3Zrh50cG93lR6nPXyUFwzN3ZSOQI0wRJNdGg==",
        {"jquery-3.3.1.min.js": "dist/jquery.min.js"},
    ),
    "flot@0.8.3": (
        "xg2otcTJDvS+ERK+my4wxG/ASq90QURXtoM4LhacCq0jQW2jbyjdttbRNqU2cPykrpMvJ6b2uSp6SAgYAzj9tQ==",
        {
            "jquery.flot.min.js": "jquery.flot.js",
            "jquery.flot.time.min.js": "jquery.flot.time.js",
            "jquery.flot.selection.min.js": "jquery.flot.selection.js",
            "jquery.flot.categories.min.js": "jquery.flot.categories.js",
        },
    ),
    "flot-orderbars@1.0.0": (
        "Jv51fvzevUjNXEeozpwEKfPjhiZhfiJddv0WHjduUTCmSF+7T5K7C9c9Y1wIVmUhDBv5fLMjgbwKecT0GIKPZA==",
        {"jquery.flot.orderBars.js": "js/jquery.flot.orderBars.js"},
    ),
    "stupid-table-plugin@1.1.3": (
        "2Vk7XouQPxUQPRe9w0Fu7ZZ8kHLK7rDoLMsCgtKxRNJ7f4dSOGvW9CkHsq5wD6QsaEnWoyLBYH3xOEsrK3yWBg==",
        {"stupidtable.min.js": "stupidtable.min.js"},
    ),
    "blueimp-md5@2.19.0": (
        "DRQrD6gJyy8FbiE4s+bDoXS9hiW3Vbx5uCdwvcCf3zLHL+Iv7LtGHLpr+GZV8rHG8tK766FGYBwRbu8pELTt+w==",
        {"md5.min.js": "js/md5.min.js"},
    ),
    "bootstrap@3.1.1": (
        "TAzqS8E/ISpVHP29gYhy+1NSV+FJwApDVQhDfgLYsIuUDJiqJzH2DfORN5tiu+Ie2iBLrzEG34t4Rf465cigqg==",
        {"bootstrap.min.js": "dist/js/bootstrap.min.js", "bootstrap.min.css": "dist/css/bootstrap.min.css"},
    ),
}


def make_local(html: Path) -> None:
    """Copy the files into ``html/vendor`` and make ``html/index.html`` load them from there."""
    index = html / "index.html"
    page = local_page(index.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        fetch(Path(folder))
        unpack(Path(folder), html / "vendor")
    index.write_text(page, encoding="utf-8")


def fetch(folder: Path) -> None:
    """Have npm write the archives into a folder, and compare their checksums."""
    npm = shutil.which("npm")
    if npm is None:
        msg = "--offline needs npm, which was not found"
        raise SystemExit(msg)
    command = [npm, "pack", "--silent", "--pack-destination", str(folder), *PACKAGES]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    for package, (wanted, _) in PACKAGES.items():
        digest = hashlib.sha512(archive(folder, package).read_bytes()).digest()
        if base64.b64encode(digest).decode() != wanted:
            msg = f"{package}: the archive's checksum must be sha512-{wanted}, got another"
            raise SystemExit(msg)


def archive(folder: Path, package: str) -> Path:
    """Return where ``npm pack`` writes a package."""
    return folder / f"{package.replace('@', '-')}.tgz"


def unpack(folder: Path, vendor: Path) -> None:
    """Copy the files out of the archives."""
    vendor.mkdir(exist_ok=True)
    for package, (_, members) in PACKAGES.items():
        with tarfile.open(archive(folder, package)) as tar:
            for name, member in members.items():
                source = tar.extractfile(f"package/{member}")
                assert source is not None, member
                (vendor / name).write_bytes(source.read())


def local_page(page: str) -> str:
    """Return a page that loads from ``vendor`` what it loaded from content-delivery networks."""
    known = {name for _, members in PACKAGES.values() for name in members}

    def local(match: re.Match[str]) -> str:
        attribute, url = match.groups()
        name = url.rsplit("/", 1)[1]
        if name not in known:
            msg = f"asv's page loads a file that no package here has: {url}"
            raise SystemExit(msg)
        return f'{attribute}="vendor/{name}"'

    # <a href> stay links
    page = re.sub(r'(?<=<script )(src)="(https?://[^"]+)"', local, page)
    page = re.sub(r'(?<=<link rel="stylesheet" )(href)="(https?://[^"]+)"', local, page)
    # npm's flot is not minified, so that asv's checksums do not fit
    page = re.sub(r'\s+(?:integrity|crossorigin|referrerpolicy)="[^"]*"', "", page)
    left = re.findall(r"<(?:script|link)\b[^>]*?https?:[^>]*>", page)
    if left:
        msg = f"asv's page loads files in a way that is not known here: {', '.join(left)}"
        raise SystemExit(msg)
    return page
