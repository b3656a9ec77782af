"""Public-domain English text out of Debian packages, as cleaned documents."""

from __future__ import annotations

import gzip
import hashlib
import re
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

# Package, version and the text taken from it. All texts are in the public domain;
# the packages' own licences are listed in models/README.md.
PACKAGES: dict[str, str] = {
    "r-cran-janeaustenr": "1.0.0-1",
    "golang-github-pierrec-lz4-dev": "2.5.2-2",
    "bible-kjv-text": "4.38",
    "bible-kjv": "4.38",
    "jargon-text": "4.4.7-4.1",
}
DOCUMENT_BYTES = 3000
HELDOUT_ONE_IN = 200


def fetch(debs: Path) -> Path:
    """Download and unpack the packages (nothing is installed); return the root."""
    root = debs / "root"
    root.mkdir(parents=True, exist_ok=True)
    for name, version in PACKAGES.items():
        found = sorted(debs.glob(f"{name}_*.deb"))
        if not found:
            subprocess.run(["apt-get", "download", f"{name}={version}"], cwd=debs, check=True)
            found = sorted(debs.glob(f"{name}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(found[-1]), str(root)], check=True)
    return root


def paragraphs(lines: list[str]) -> list[str]:
    """Join wrapped lines into paragraphs; blank lines separate them."""
    blocks = re.split(r"\n\s*\n", "\n".join(lines))
    return [clean(block) for block in blocks if block.strip()]


def clean(text: str) -> str:
    text = text.replace("\ufeff", "").replace("_", "")
    text = text.translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x2014: "--"})
    return re.sub(r"\s+", " ", text).strip()


def r_strings(data: bytes) -> list[str]:
    """The elements of the one character vector in a serialised (XDR) R object."""
    start = data.index(b"\x00\x00\x00\x10")
    count = struct.unpack_from(">I", data, start + 4)[0]
    at, out = start + 8, []
    for _ in range(count):
        length = struct.unpack_from(">i", data, at + 4)[0]
        out.append(data[at + 8 : at + 8 + length].decode("utf-8", "replace"))
        at += 8 + length
    return out


def austen(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Jane Austen's six novels: chunks of an R lazy-load data base."""
    data = (root / "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb").read_bytes()
    at, number = 0, 0
    while at < len(data):
        stream = zlib.decompressobj()
        lines = r_strings(stream.decompress(data[at + 4 :]))
        at = len(data) - len(stream.unused_data)
        number += 1
        yield from chapters(f"austen-{number}", paragraphs(lines))


def chapters(name: str, blocks: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Cut a book at its chapter headings; headings and stray lines are dropped."""
    heading = re.compile(r"^(chapter|volume|adventure)\b.{0,20}$|^[IVXL]+\.( [A-Z' -]+)?$", re.I)
    number, current = 0, []
    for block in blocks:
        if heading.match(block):
            if current:
                yield f"{name}-{number}", current
            number, current = number + 1, []
        elif len(block) > 1 and not block.isupper() and re.search(r"[.!?\"',;:-]$", block):
            current.append(block)
    if current:
        yield f"{name}-{number}", current


def novels(root: Path) -> Iterator[tuple[str, list[str]]]:
    """The Adventures of Sherlock Holmes and of Tom Sawyer."""
    base = root / "usr/share/gocode/src/github.com/pierrec/lz4/testdata"
    holmes = (base / "pg1661.txt").read_text("utf-8", "replace")
    holmes = holmes.split("THE ADVENTURES OF SHERLOCK HOLMES\n")[-1]
    holmes = re.split(r"\n(?:\*\*\* ?)?END OF (?:THE |THIS )?PROJECT|\nEnd of (?:the )?Project", holmes, flags=re.I)[0]
    yield from chapters("holmes", paragraphs(holmes.splitlines()))
    sawyer = (base / "Mark.Twain-Tom.Sawyer.txt").read_text("latin-1")
    yield from chapters("sawyer", paragraphs(sawyer.splitlines()))


def bible(root: Path) -> Iterator[tuple[str, list[str]]]:
    """The King James Bible by chapter, four verses to a paragraph."""
    shown = subprocess.run(
        [str(root / "usr/bin/bible"), "-p", str(root / "usr/lib"), "-f", "gen1:1-rev22:21"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
    ).stdout
    found: dict[str, list[str]] = {}
    for chapter, verse in re.findall(r"^(\w+?\d+):\d+ (.*)$", shown, re.M):
        found.setdefault(chapter, []).append(clean(verse))
    for chapter, verses in found.items():
        yield f"kjv-{chapter}", [" ".join(verses[i : i + 4]) for i in range(0, len(verses), 4)]


def jargon(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Well-formed prose paragraphs of the Jargon File."""
    path = root / "usr/share/doc/jargon-text/jargon.txt.gz"
    blocks = paragraphs(gzip.decompress(path.read_bytes()).decode("utf-8", "replace").splitlines())
    prose = [b for b in blocks if is_prose(b)]
    for i in range(0, len(prose), 12):
        yield f"jargon-{i // 12}", prose[i : i + 12]


def is_prose(block: str) -> bool:
    block_ok = len(block) >= 120 and block[0].isupper() and block[-1] in '.!?")'
    letters = sum(c.isalpha() or c == " " for c in block)
    return block_ok and letters >= 0.93 * len(block) and "http" not in block and block.isascii()


def documents(root: Path) -> Iterator[tuple[str, str]]:
    """All texts, cut at paragraphs into documents of about DOCUMENT_BYTES."""
    for source in (austen, novels, bible, jargon):
        for name, blocks in source(root):
            part, size, current = 0, 0, []
            for block in blocks:
                current.append(block)
                size += len(block.encode()) + 2
                if size >= DOCUMENT_BYTES:
                    yield f"{name}.{part}", "\n\n".join(current)
                    part, size, current = part + 1, 0, []
            if size >= 200:
                yield f"{name}.{part}", "\n\n".join(current)


def is_heldout(text: str) -> bool:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % HELDOUT_ONE_IN == 0
