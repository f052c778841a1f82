"""Mistakes in the input. docs/bad-input.md has what a user is told; bad_input_guide.py writes it.

Each case starts from five sound slices in the folder `stack`, 1 to 5, and a run that writes to `volume`
beside it. `spoil` makes one mistake there and may return keys of the configuration.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from tests.dat_file import dat
from tests.e2e import bad_files as bad
from tests.e2e.bad_files import png, tiff
from tests.tiff_file import short, tiff_file

WIDTH, HEIGHT, FIRST, LAST, BAD = 120, 96, 1, 5, 3
NAME = "img.%05d.png"
Config = Mapping[str, object]
Spoil = Callable[[Path], Config | None]
Content = bytes | Callable[[], bytes]

_NOISE = np.random.default_rng(8).integers(0, 256, (2 * HEIGHT, 2 * WIDTH)).astype(np.float32)
_TISSUE = cv2.normalize(cv2.GaussianBlur(_NOISE, (0, 0), 2), None, 20, 235, cv2.NORM_MINMAX)


def slice_of(z: int) -> NDArray[np.uint8]:
    """A sound slice: tissue that moves by two pixels from slice to slice, and grain of its own."""
    grain = np.random.default_rng(z).normal(0, 3, (HEIGHT, WIDTH))
    tissue = _TISSUE[20 + 2 * z : 20 + 2 * z + HEIGHT, 30 : 30 + WIDTH]
    return np.clip(tissue + grain, 0, 255).astype(np.uint8)


IMAGE = slice_of(BAD)
ROWS = bad.rows_of(IMAGE)
COLOURS = np.dstack([IMAGE] * 3)
GREYS = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))


def write_stack(folder: Path) -> None:
    (folder / "stack").mkdir(parents=True)
    for z in range(FIRST, LAST + 1):
        file(folder, z).write_bytes(png(slice_of(z)))


def file(folder: Path, z: int = BAD) -> Path:
    return folder / "stack" / (NAME % z)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One mistake."""

    group: str
    what: str
    spoil: Spoil
    after_plan: Spoil = lambda _: None
    """Goes wrong when the plan has been made."""
    verdicts: tuple[str, ...] | None = None
    """Of the slices, where the input is accepted."""
    policy: str = ""
    """What is done with it then."""

    @property
    def name(self) -> str:
        return f"{self.group}: {self.what}"


def content(data: Content, z: int = BAD) -> Spoil:
    """A slice is this file."""
    return lambda folder: file(folder, z).write_bytes(data if isinstance(data, bytes) else data()) and None


def every(make: Callable[[NDArray[np.uint8]], bytes]) -> Spoil:
    """Each slice is such a file."""

    def spoil(folder: Path) -> None:
        for z in range(FIRST, LAST + 1):
            file(folder, z).write_bytes(make(slice_of(z)))

    return spoil


def config(**changes: object) -> Spoil:
    return lambda _: changes


def without(z: int, **changes: object) -> Spoil:
    return lambda folder: file(folder, z).unlink() or changes


def only(image: NDArray[Any], n: int) -> Spoil:
    """A stack of n slices, all this picture."""

    def spoil(folder: Path) -> Config:
        every(lambda _: png(image))(folder)
        return {"maxz": n}

    return spoil


def source_is(make: Callable[[Path], object]) -> Spoil:
    """The source is another place, which this makes."""
    return lambda folder: make(folder / "other") or {"source": folder / "other"}


def instead(make: Callable[[Path], object]) -> Spoil:
    """Slice 3 is something else than a file of its own; that file lies outside of the source."""

    def spoil(folder: Path) -> None:
        path = file(folder)
        path.rename(folder / "away.png")
        make(path)

    return spoil


def _flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :]


def _inside_output(folder: Path) -> Config:
    (folder / "volume").mkdir()
    (folder / "stack").rename(folder / "volume/tmp")
    return {"source": folder / "volume/tmp"}


def _written_again(folder: Path) -> None:
    """With the same bytes."""
    path = file(folder)
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(1, 1))


def _other_digit(folder: Path) -> None:
    path = folder / "volume/process/plan.json"
    path.write_text(path.read_text().replace(f'"width_px": {WIDTH}', f'"width_px": {WIDTH + 1}', 1))


def _noise(image: NDArray[np.uint8]) -> bytes:
    seed = int(image.sum())  # another one for each slice
    return png(np.random.default_rng(seed).integers(0, 256, image.shape).astype(np.uint8))


def _by_hand(width: int = WIDTH, height: int = HEIGHT, **facts: Any) -> bytes:
    return bad.png_by_hand(width, height, **facts)


DEFLATED = tiff(IMAGE, compression="zlib")
TAGS = {256: short(WIDTH), 257: short(HEIGHT), 258: short(8)}
FILES: dict[str, Content] = {
    "empty": b"",
    "a web page instead of a picture": b"<!DOCTYPE html><html>Sign in</html>",
    "PNG cut in the middle": png(IMAGE)[:5000],
    "PNG without its last chunk": png(IMAGE)[:-12],
    "PNG cut in its header": png(IMAGE)[:20],
    "PNG with a flipped bit": _flipped(png(IMAGE), 4000),
    "PNG with a flipped bit in its header": _flipped(png(IMAGE), 18),
    "PNG with too few rows": _by_hand(rows=ROWS[:5000]),
    "PNG without pixels": _by_hand(),
    "PNG without data": png(IMAGE)[:33] + bad.png_chunk(b"IEND", b""),
    "PNG with a second header": _by_hand(rows=ROWS, before=png(IMAGE)[8:33]),
    "PNG with a critical chunk that nobody knows": _by_hand(rows=ROWS, before=bad.png_chunk(b"ABCD", b"")),
    "PNG of an unknown interlace method": _by_hand(rows=ROWS, interlace=7),
    "PNG of no width": _by_hand(width=0),
    "PNG of 1 bit": _by_hand(depth=1),
    "PNG of 4 bit": _by_hand(depth=4),
    "PNG with a palette": _by_hand(colour=bad.PALETTE),
    "PNG of grey with alpha": _by_hand(colour=bad.GREY_ALPHA),
    "PNG of RGB among grey ones": png(COLOURS),
    "PNG of 16 bit among 8 bit": png(IMAGE.astype(np.uint16)),
    "TIFF cut in the middle": tiff(IMAGE)[:5000],
    "compressed TIFF cut in the middle": DEFLATED[:5000],
    "TIFF with damaged tags": tiff(IMAGE)[:6] + b"\xff\xff\xff\x7f" + tiff(IMAGE)[10:],
    "compressed TIFF with a flipped bit": _flipped(DEFLATED, 4000),
    "TIFF whose strip has no bytes": bad.with_tag(DEFLATED, bad.STRIP_BYTES, 0),
    "TIFF whose strip lies outside of the file": bad.with_tag(tiff(IMAGE), bad.STRIP_OFFSETS, 10**9),
    "TIFF with strips of no rows": bad.with_tag(tiff(IMAGE), bad.ROWS_PER_STRIP, 0),
    "TIFF that follows itself": bad.tiff_in_a_circle(IMAGE),
    "TIFF in LZW, cut in the middle": bad.tiff_by_pillow(IMAGE, "tiff_lzw")[:5000],
    "TIFF in the JPEG of old": tiff_file(({**TAGS, 259: short(6)}, [IMAGE.tobytes()])),
    "TIFF of 1 bit": tiff(IMAGE > 99),
    "TIFF of orientation 9": tiff_file(({**TAGS, 274: short(9)}, [IMAGE.tobytes()])),
    "TIFF of grey with alpha": tiff(
        np.dstack([IMAGE] * 2), photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]
    ),
    "TIFF of several pages": tiff(np.stack([IMAGE] * 3), photometric="minisblack"),
    "TIFF of complex numbers": tiff(IMAGE.astype(np.complex64)),
    "TIFF of floating point among 8 bit": tiff(IMAGE.astype(np.float32)),
    "TIFF of signed numbers among 8 bit": tiff(IMAGE.astype(np.int16)),
    "TIFF of 32 bit among 8 bit": tiff(IMAGE.astype(np.uint32)),
    "TIFF of 64 bit": tiff(IMAGE.astype(np.uint64)),
    "TIFF with a palette": tiff(IMAGE, photometric="palette", colormap=np.zeros((3, 256), np.uint16)),
    "TIFF with a palette and no colour map": tiff_file(({**TAGS, 262: short(3)}, [IMAGE.tobytes()])),
    "TIFF of CMYK": tiff(np.dstack([IMAGE] * 4), photometric="separated"),
    "TIFF of 17 channels": tiff(
        np.zeros((4, 4, 17), np.uint8), photometric="minisblack", planarconfig="contig"
    ),
    "a BMP file": cv2.imencode(".bmp", IMAGE)[1].tobytes(),
    "an MRC file": bytes(208) + b"MAP " + bytes(812) + IMAGE.tobytes(),
    "Janelia .dat cut in the middle": dat(IMAGE[:, :, None])[:5000],
    "Janelia .dat of an unknown version": dat(IMAGE[:, :, None], version=10),
    "JPEG cut in the middle": bad.jpeg(IMAGE)[:3000],
    "JPEG without a picture": b"\xff\xd8\xff\xe0\x00\x10",
    "JPEG of 12 bit": bad.jpeg_with_frame(bad.jpeg(IMAGE), depth=12),
    "JPEG of arithmetic coding": bad.jpeg(IMAGE).replace(b"\xff\xc0", b"\xff\xc9", 1),
    "JPEG of lossless coding": bad.jpeg(IMAGE).replace(b"\xff\xc0", b"\xff\xc3", 1),
    "JPEG of CMYK": bad.cmyk_jpeg(IMAGE),
}
BOMBS: dict[str, Content] = {
    "PNG whose header says 100,000 x 100,000 px": _by_hand(100_000, 100_000),
    "PNG whose header says two billion px a side": _by_hand(2**31 - 1, 2**31 - 1),
    "PNG whose header says 60,000 x 60,000 px": _by_hand(60_000, 60_000),
    "PNG whose header says 30,000 x 30,000 px": _by_hand(30_000, 30_000),
    "PNG of 140 kB that becomes 144 MB": lambda: bad.black_png(12_000, 12_000),
    "TIFF of 100 kB whose strip becomes 100 MB": lambda: bad.tiff_bomb(IMAGE, 100_000_000),
    "TIFF whose header says 30,000 x 30,000 px": bad.with_size(DEFLATED, 30_000, 30_000),
    "TIFF whose tiles are of 60,000 x 60,000 px": bad.with_tiles(
        tiff(IMAGE, compression="zlib", tile=(16, 16)), 60_000
    ),
    "JPEG whose header says 30,000 x 30,000 px": bad.jpeg_with_frame(
        bad.jpeg(IMAGE), width=30_000, height=30_000
    ),
    "file of 100 MB with a picture of 8 kB": lambda: png(IMAGE) + bytes(100_000_000),
}
READ_AS_THEY_ARE: dict[str, Content] = {
    "PNG that is interlaced": bad.interlaced(IMAGE),
    "PNG with a transparent grey": _by_hand(rows=ROWS, before=bad.png_chunk(b"tRNS", b"\0\x50")),
    "PNG with more rows than its header says": _by_hand(rows=2 * ROWS),
    "PNG with 20 MB of text in 20 kB": lambda: _by_hand(
        rows=ROWS, before=bad.png_chunk(b"zTXt", b"Comment\0\0" + bad.zeros_deflated(20_000_000))
    ),
    "PNG with something behind its end": png(IMAGE) + b"something",
    "BigTIFF": tiff(IMAGE, bigtiff=True),
    "TIFF of big-endian order": tiff(IMAGE, byteorder=">"),
    "TIFF in compressed tiles": tiff(IMAGE, tile=(32, 32), compression="zlib"),
    "TIFF with white as 0": tiff(255 - IMAGE, photometric="miniswhite"),
    "TIFF with a predictor": tiff(IMAGE, compression="zlib", predictor=2),
    "TIFF in PackBits": bad.tiff_by_pillow(IMAGE, "packbits"),
    "TIFF in JPEG": bad.tiff_by_pillow(IMAGE, "jpeg", quality=100),
    "TIFF without a tag that says which end is black": tiff_file((TAGS, [IMAGE.tobytes()])),
    "TIFF that is stored upside down": tiff_file(({**TAGS, 274: short(3)}, [IMAGE[::-1, ::-1].tobytes()])),
    "TIFF whose bits are reversed": tiff_file(
        ({**TAGS, 266: short(2)}, [bytes(imagecodecs.bitorder_decode(IMAGE.tobytes()))])
    ),
    "TIFF with a reduced picture behind it": bad.with_reduced_picture(IMAGE),
    "TIFF with a palette of greys": tiff(IMAGE, photometric="palette", colormap=GREYS),
    "Janelia .dat of 8 bit": dat(IMAGE[:, :, None]),
    "JPEG with fill bytes": bad.jpeg(IMAGE, QUALITY=100).replace(b"\xff\xc0", b"\xff\xff\xff\xc0", 1),
    "JPEG, progressive": bad.jpeg(IMAGE, PROGRESSIVE=1, QUALITY=100),
}
SOURCES: dict[str, Spoil] = {
    "source that does not exist": config(source="/no/such/folder"),
    "source that is empty": source_is(Path.mkdir),
    "source that is a file": lambda folder: {"source": file(folder)},
    "source of an unknown kind": config(source="az://bucket/stack"),
    "source with a name of 5,000 characters": config(source="/" + "a" * 5000),
    "bucket without a name": config(source="gs://"),
    "bucket with a name that cannot be": config(source="gs://My_Bucket/stack"),
    "pattern of other digits": config(image="img.%04d.png"),
    "pattern of other names": config(image="slice%04d.tif"),
    "range without slices": config(minz=100, maxz=200),
    "a slice missing": without(3),
    "slices missing at the end": config(maxz=9),
    "the first slice missing with allow_gaps": without(1, allow_gaps=True),
    "a number twice": lambda folder: shutil.copy(file(folder), folder / "stack/img.3.png") and None,
    "a slice with the suffix .PNG": lambda folder: (
        file(folder).rename(file(folder).with_suffix(".PNG")) and None
    ),
    "a folder in place of a slice": instead(Path.mkdir),
    "a pipe in place of a slice": instead(os.mkfifo),
    "a link to a file outside": instead(lambda path: path.symlink_to("../away.png")),
    "a link to nothing": instead(lambda path: path.symlink_to("nothing.png")),
    "a link to itself": instead(lambda path: path.symlink_to(path)),
    "a slice 25 times as large": content(png(np.zeros((5 * HEIGHT, 5 * WIDTH), np.uint8))),
    "slices of 65,535 x 1 px": only(np.arange(65_535).astype(np.uint8)[None], LAST),
    "slices of 1 x 65,535 px": only(np.arange(65_535).astype(np.uint8)[:, None], LAST),
    "slices where the run writes": _inside_output,
    "output that is a file": lambda folder: (folder / "volume").write_text("") and None,
    "output of an unknown kind": config(output="az://bucket/volume"),
}
CONTENTS: dict[str, Spoil] = {
    "all black": every(lambda image: png(0 * image)),
    "all white": every(lambda image: png(0 * image + 255)),
    "constant grey": every(lambda image: png(0 * image + 77)),
    "noise alone": lambda folder: every(_noise)(folder) or {"maxz": 3},
    "slices of 1 x 1 px": only(np.full((1, 1), 7, np.uint8), 3),
}
CHANGES: dict[str, Spoil] = {
    "a slice deleted during the run": lambda folder: file(folder).unlink(),
    "the source deleted during the run": lambda folder: shutil.rmtree(folder / "stack"),
    "a slice written again during the run": _written_again,
    "another picture during the run": content(png(slice_of(4))),
    "a digit of the plan that has changed": _other_digit,
    "a damaged plan": lambda folder: (folder / "volume/process/plan.json").write_text("{}") and None,
}
GOOD = ("good",) * 5
ACCEPTED = [
    ("one slice", config(maxz=1), ("good",), "a volume of one slice"),
    ("one black slice", only(0 * IMAGE, 1), ("blank",), "shown as it is: there is nothing else"),
    (
        "a black slice among sound ones",
        content(png(0 * IMAGE)),
        ("good", "good", "blank", "good", "good"),
        "`replace_with` says what is shown",
    ),
    (
        "the same file twice",
        content(png(slice_of(3)), 4),
        ("good", "good", "good", "duplicate", "good"),
        "kept and reported",
    ),
    (
        "an inverted slice",
        content(png(255 - IMAGE)),
        ("good", "good", "inverted", "good", "good"),
        "turned round",
    ),
    (
        "a gap with allow_gaps",
        without(3, allow_gaps=True),
        ("good", "good", "missing", "good", "good"),
        "`replace_with` says what is shown",
    ),
    ("a slice of another size", content(png(IMAGE[:80, :100])), GOOD, "aligned as the others"),
    (
        "RGB slices",
        every(lambda image: png(np.dstack([image] * 3))),
        GOOD,
        "aligned by luminance, shown in colour",
    ),
    (
        "slices of floating point",
        every(lambda image: tiff(image / np.float32(255))),
        GOOD,
        "mapped to 16 bit, one range for all slices",
    ),
    (
        "slices of signed numbers",
        every(lambda image: tiff((image.astype(np.int16) - 128).astype(np.int8))),
        GOOD,
        "moved up by half their range",
    ),
    (
        "output inside the source",
        lambda folder: {"output": folder / "stack/volume", "skip_align": True},
        GOOD,
        "slices stay as they are",
    ),
    (
        "output that is the source",
        lambda folder: {"output": folder / "stack", "skip_align": True},
        GOOD,
        "slices stay as they are",
    ),
]
KEYS: dict[str, Config] = {
    "source with a null character": {"source": "stack\0"},
    "clip_limit that is no number": {"clip_limit": "nan"},
    "clip_limit without end": {"clip_limit": "inf"},
    "clip_limit below 0": {"clip_limit": -0.1},
    "clip_limit of 1e308": {"clip_limit": 1e308},
    "resolution of 0": {"resolution": 0},
    "resolution in um": {"resolution": 0.008},
    "resolution in m": {"resolution": [8e-9, 8e-9, 8e-9]},
    "resolution in pm": {"resolution": 8000},
    "resolution that is no number": {"resolution": "[8, 8, NaN]"},
    "resolution of two numbers": {"resolution": [8, 8]},
    "resolution with a unit": {"resolution": "8 nm"},
    "resolution of a metre": {"resolution": 1e9},
    "downsample_factor that enlarges": {"downsample_factor": 0.5},
    "downsample_factor of 1e9": {"downsample_factor": 1e9},
    "minz below 0": {"minz": -1},
    "minz that is no whole number": {"minz": 1.5},
    "minz above maxz": {"minz": 9},
    "maxz of 999,999,999": {"maxz": 999_999_999},
    "maxz of 30 digits": {"maxz": 10**30},
    "maxz of 10,000 digits": {"maxz": "9" * 10_000},
    "jpeg_quality of 101": {"jpeg_quality": 101},
    "id with slashes": {"id": "../../etc"},
    "solver that is unknown": {"solver": "magic"},
    "skip_align neither true nor false": {"skip_align": "perhaps"},
    "crop of three numbers": {"crop": [0, 0, 100]},
    "crop beyond the picture": {"crop": [30, 0, 100, 90]},
    "image outside of the source": {"image": "../img.%05d.png"},
    "image with two numbers": {"image": "img.%05d.%05d.png"},
    "image with another conversion": {"image": "img.%s.png"},
    "image with 99,999,999 digits": {"image": "%99999999d"},
    "image without a number": {"image": "img.png"},
    "overrides that do not exist": {"overrides": "/no/such/file.yaml"},
}

REFUSED = [
    *(Case(group="files", what=what, spoil=content(data)) for what, data in FILES.items()),
    *(Case(group="bombs", what=what, spoil=content(data)) for what, data in BOMBS.items()),
    *(Case(group="source and output", what=what, spoil=spoil) for what, spoil in SOURCES.items()),
    *(Case(group="pictures", what=what, spoil=spoil) for what, spoil in CONTENTS.items()),
    *(Case(group="changes", what=what, spoil=config(), after_plan=spoil) for what, spoil in CHANGES.items()),
    *(Case(group="keys", what=what, spoil=config(**changes)) for what, changes in KEYS.items()),
]
READ = [
    Case(group="files", what=what, spoil=content(data), policy="read as it is")
    for what, data in READ_AS_THEY_ARE.items()
]
HANDLED = [
    Case(group="stacks", what=what, spoil=spoil, verdicts=verdicts, policy=policy)
    for what, spoil, verdicts, policy in ACCEPTED
]
