"""Every tag that says how a picture is to be shown is applied, or the file is refused with its name.

Pictures are compared with what was written, with tifffile and with Pillow; the size and type that
the header tells with those of the decoded picture.
"""

from __future__ import annotations

import io
import itertools
import random
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from components.shared.errors import UserError
from components.shared.pictures.formats.header import RefusedImageError
from components.shared.pictures.formats.tiff import decode_tiff, tiff_header
from components.shared.pictures.slice_files import read_header
from components.shared.storage.folder import FolderStore
from tests.tiff_file import Values, rational, short, text, tiff_file

ENCODERS = {
    1: lambda part: part,
    5: imagecodecs.lzw_encode,
    8: zlib.compress,
    32773: imagecodecs.packbits_encode,
    32946: zlib.compress,
    50000: imagecodecs.zstd_encode,
}
TYPES = ("uint8", "uint16", "int8", "int16", "uint32", "int32", "float32", "float64")
GREY = np.arange(48 * 30, dtype=np.uint32).reshape(48, 30).astype(np.uint8)
RAMP = [level for _ in range(3) for level in range(256)]


def picture(dtype: str = "uint8", n_channels: int = 1, height: int = 37, width: int = 21) -> NDArray[Any]:
    numbers = np.random.default_rng(5).integers(0, 120, (height, width, n_channels))
    return np.sort(numbers, axis=1).astype(dtype)


def tiff_of(
    image: NDArray[Any],
    tags: dict[int, Values],
    *,
    compression: int = 1,
    predictor: int = 1,
    planar: int = 1,
    fill_order: int = 1,
    tile: int = 0,
    byteorder: str = "<",
    bigtiff: bool = False,
) -> bytes:
    """A TIFF of [y, x, channel]; `tags` are added to those that the numbers need, and overrule them."""
    height, width, n_channels = image.shape
    rows, columns = (tile, tile) if tile else (16, width)
    planes = [image] if planar == 1 else [image[:, :, [channel]] for channel in range(n_channels)]
    parts = []
    for plane, row, column in itertools.product(planes, range(0, height, rows), range(0, width, columns)):
        part = plane[row : row + rows, column : column + columns]
        if tile:
            part = np.pad(part, ((0, tile - part.shape[0]), (0, tile - part.shape[1]), (0, 0)))
        part = np.ascontiguousarray(part)
        if predictor == 3:
            data = bytes(imagecodecs.floatpred_encode(part, axis=1))
        else:
            stored = imagecodecs.delta_encode(part, axis=1) if predictor == 2 else part
            data = stored.astype(part.dtype.newbyteorder(byteorder)).tobytes()  # type: ignore[arg-type]
        data = bytes(ENCODERS[compression](data))  # type: ignore[no-untyped-call]
        parts.append(bytes(imagecodecs.bitorder_decode(data)) if fill_order == 2 else data)
    needed = {
        256: short(width),
        257: short(height),
        258: short(*[8 * image.dtype.itemsize] * n_channels),
        259: short(compression),
        262: short(1),
        266: short(fill_order),
        277: short(n_channels),
        284: short(planar),
        317: short(predictor),
        339: short({"u": 1, "i": 2, "f": 3}[image.dtype.kind]),
        **({322: short(tile), 323: short(tile)} if tile else {278: short(rows)}),
    }
    return tiff_file(({**needed, **tags}, parts), byteorder=byteorder, bigtiff=bigtiff)


def without(data: bytes, code: int) -> bytes:
    """A little-endian TIFF whose tag gets a number that no reader knows."""
    at = data.index(code.to_bytes(2, "little") + b"\3\0", int.from_bytes(data[4:8], "little"))
    return data[:at] + (64999).to_bytes(2, "little") + data[at + 2 :]


def decoded(data: bytes) -> NDArray[Any]:
    """The picture of a TIFF, whose header has told its size and type."""
    header, image = tiff_header(io.BytesIO(data)), decode_tiff(data)
    n_channels = 1 if image.ndim == 2 else image.shape[2]
    told = (header.height_px, header.width_px, header.n_channels, header.sample_type)
    assert told == (*image.shape[:2], n_channels, image.dtype.name)
    return image


def shown(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """A picture with an orientation, as Pillow shows it."""
    pillow, ops = pytest.importorskip("PIL.Image"), pytest.importorskip("PIL.ImageOps")
    places = np.arange(image.shape[0] * image.shape[1], dtype=np.int32).reshape(image.shape[:2])
    opened = pillow.fromarray(places)
    opened.getexif()[274] = orientation
    turned = np.asarray(ops.exif_transpose(opened))
    return image.reshape(-1, *image.shape[2:])[turned]


def test_headers_and_pictures_agree_with_what_was_written_and_with_tifffile() -> None:
    chosen = random.Random(4)
    n_compared = 0
    while n_compared < 300:
        image = picture(
            chosen.choice(TYPES), chosen.choice([1, 1, 2, 3, 4]), *chosen.choices(range(1, 50), k=2)
        )
        n_channels, is_float = image.shape[2], image.dtype.kind == "f"
        compression, predictor = chosen.choice(list(ENCODERS)), chosen.choice([1, 2, 3])
        photometric = chosen.choice([0, 1, 2, None])
        if (
            (predictor == 3 and not is_float)
            or (predictor != 1 and compression in (1, 32773))
            or (photometric == 0 and is_float)
            or (photometric == 2 and n_channels < 3)
        ):
            continue
        n_compared += 1
        orientation = chosen.randint(1, 8)
        tags = {274: short(orientation), 262: short(1 if photometric is None else photometric)}
        if photometric == 2 and n_channels == 4:
            tags[338] = short(2)
        options: dict[str, Any] = {
            "compression": compression,
            "predictor": predictor,
            "planar": chosen.choice([1, 2]),
            "fill_order": chosen.choice([1, 2]),
            "tile": chosen.choice([0, 0, 16, 32]),
            "bigtiff": chosen.random() < 0.3,
            "byteorder": "<" if photometric is None else chosen.choice("<>"),
        }
        data = tiff_of(image, tags, **options)
        by_tifffile = tifffile.imread(io.BytesIO(data))
        if options["planar"] == 2 and n_channels > 1:
            by_tifffile = np.moveaxis(by_tifffile, 0, 2)
        np.testing.assert_array_equal(by_tifffile.reshape(image.shape), image, str((tags, options)))
        if photometric is None and not options["bigtiff"]:
            data = without(data, 262)
        expected = shown(~image if photometric == 0 else image, orientation)
        np.testing.assert_array_equal(
            decoded(data), expected[:, :, 0] if n_channels == 1 else expected, str((tags, options))
        )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_shown_as_pillow_shows_it(orientation: int) -> None:
    image = picture("uint16", 3)
    data = tiff_of(image, {262: short(2), 274: short(orientation)})
    np.testing.assert_array_equal(decoded(data), shown(image, orientation))


def test_black_is_0_where_no_tag_says_it() -> None:
    data = without(tiff_of(GREY[:, :, None], {262: short(0)}), 262)
    np.testing.assert_array_equal(decoded(data), GREY)


def test_undefined_numbers_are_unsigned() -> None:
    for dtype in ("uint8", "uint16"):
        image = picture(dtype)
        np.testing.assert_array_equal(decoded(tiff_of(image, {339: short(4)})), image[:, :, 0])


@pytest.mark.parametrize("greatest", [255, 65535, 65280])
def test_a_palette_that_is_a_ramp_of_greys_is_grey(greatest: int) -> None:
    ramp = [level * greatest // 255 for level in RAMP]
    data = tiff_of(GREY[:, :, None], {262: short(3), 320: short(*ramp)})
    np.testing.assert_array_equal(decoded(data), GREY)


def test_a_palette_of_rational_numbers_is_refused_in_a_sentence() -> None:
    data = tiff_of(GREY[:, :, None], {262: short(3), 320: rational(*[1] * (2 * 768))})
    with pytest.raises(RefusedImageError, match="must be RGB or grey"):
        decoded(data)


def test_colours_that_are_multiplied_with_alpha_are_divided_by_it() -> None:
    pillow = pytest.importorskip("PIL.Image")
    alpha = np.random.default_rng(3).integers(0, 256, (20, 30, 1), dtype=np.uint8)
    colours = np.random.default_rng(4).integers(0, 256, (20, 30, 3)).astype(np.uint32) * alpha // 255
    image = np.dstack([colours.astype(np.uint8), alpha])
    data = tiff_of(image, {262: short(2), 338: short(1)})
    expected = np.asarray(pillow.open(io.BytesIO(data)).convert("RGBA"))
    seen = decoded(data)
    is_seen = alpha[:, :, 0] > 0
    np.testing.assert_array_equal(seen[is_seen], expected[is_seen])


JPEG_PICTURES = {
    "grey": (GREY, {"photometric": "minisblack"}),
    "white as 0": (GREY, {"photometric": "miniswhite"}),
    "YCbCr": (picture("uint8", 3, 64, 48), {"photometric": "ycbcr", "subsampling": (1, 1)}),
    "YCbCr of fewer colours": (picture("uint8", 3, 64, 48), {"photometric": "ycbcr", "subsampling": (2, 2)}),
    "RGB": (picture("uint8", 3, 64, 48), {"photometric": "rgb", "compressionargs": {"outcolorspace": "RGB"}}),
    "planes": (
        np.moveaxis(picture("uint8", 3, 64, 48), 2, 0),
        {"photometric": "rgb", "planarconfig": "separate"},
    ),
    "YCbCr that says what it is": (
        picture("uint8", 3, 64, 48),
        {
            "photometric": "ycbcr",
            "subsampling": (1, 1),
            "extratags": [
                (529, 5, 3, (299, 1000, 587, 1000, 114, 1000)),
                (532, 5, 6, (0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1)),
            ],
        },
    ),
    "tiles": (picture("uint8", 3, 70, 50), {"photometric": "ycbcr", "tile": (32, 32)}),
    "strips": (picture("uint8", 3, 70, 50), {"photometric": "ycbcr", "rowsperstrip": 16}),
}


@pytest.mark.parametrize("name", JPEG_PICTURES)
def test_jpeg_in_tiff_is_read_as_tifffile_reads_it(name: str) -> None:
    image, options = JPEG_PICTURES[name]
    file = io.BytesIO()
    tifffile.imwrite(file, image, compression="jpeg", **options)
    expected = tifffile.imread(io.BytesIO(file.getvalue())).astype(int)
    if name == "planes":
        expected = np.moveaxis(expected, 0, 2)
    if name == "white as 0":
        expected = 255 - expected
    assert np.abs(decoded(file.getvalue()).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("compression", ["jpeg", "packbits", "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_what_pillow_and_libtiff_write_is_read(compression: str, mode: str) -> None:
    pillow = pytest.importorskip("PIL.Image")
    image = picture("uint8", 3, 300, 200)
    file = io.BytesIO()
    pillow.fromarray(image if mode == "RGB" else image[:, :, 0]).save(file, "TIFF", compression=compression)
    expected = np.asarray(pillow.open(file)).astype(int)
    seen = decoded(file.getvalue()).astype(int)
    assert np.abs(seen - expected).max() <= (2 if compression == "jpeg" else 0)


def test_the_picture_in_full_size_is_taken_from_among_its_reduced_ones() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(GREY[::4, ::4], subfiletype=1, photometric="minisblack")
        writer.write(GREY, photometric="minisblack", subifds=1)
        writer.write(GREY[::2, ::2], subfiletype=1, photometric="minisblack")
        writer.write(GREY[::8, ::8], subfiletype=1, photometric="minisblack")
    np.testing.assert_array_equal(decoded(file.getvalue()), GREY)


def test_strips_without_their_numbers_of_bytes_are_read_where_nothing_is_compressed() -> None:
    image = picture("uint16", 2)
    tags = {
        256: short(21),
        257: short(37),
        258: short(16, 16),
        277: short(2),
        278: short(16),
        279: text(""),
    }
    rows = [image[row : row + 16].tobytes() for row in range(0, 37, 16)]
    data = tiff_file((tags, rows)).replace((279).to_bytes(2, "little") + b"\2\0", b"\xe7\xfd\2\0")
    np.testing.assert_array_equal(decoded(data), image)


ONE = GREY[:, :, None]
TWO, THREE, FOUR = (picture("uint8", n_channels) for n_channels in (2, 3, 4))
REFUSED: dict[str, tuple[bytes, str]] = {
    "a palette without a colour map": (tiff_of(ONE, {262: short(3)}), "PALETTE without a ColorMap"),
    "a short palette": (tiff_of(ONE, {262: short(3), 320: short(*range(48))}), "1 channels, PALETTE"),
    "an inverted palette": (tiff_of(ONE, {262: short(3), 320: short(*RAMP[::-1])}), "channels, PALETTE"),
    "a mask": (tiff_of(ONE, {262: short(4)}), "MASK"),
    "CMYK": (tiff_of(FOUR, {262: short(5)}), "4 channels, SEPARATED"),
    "YCbCr without JPEG": (tiff_of(THREE, {262: short(6)}), "YCbCr without JPEG"),
    "CIELab": (tiff_of(THREE, {262: short(8)}), "CIELAB"),
    "an unknown photometric": (tiff_of(ONE, {262: short(777)}), "1 channels, PhotometricInterpretation 777"),
    "RGB of one channel": (tiff_of(ONE, {262: short(2)}), "1 channels, RGB"),
    "RGB with a channel that is no alpha": (
        tiff_of(FOUR, {262: short(2), 338: short(0)}),
        "no channel beside RGB but alpha; got RGB with 1 more, ExtraSamples 0",
    ),
    "RGB with two more": (
        tiff_of(picture("uint8", 5), {262: short(2), 338: short(2, 0)}),
        "got RGB with 2 more, ExtraSamples 2, 0",
    ),
    "grey with alpha": (tiff_of(TWO, {338: short(2)}), "must be grey or RGB; got grey with alpha"),
    "grey multiplied with alpha": (tiff_of(TWO, {338: short(1)}), "got grey with alpha"),
    "floating point multiplied with alpha": (
        tiff_of(picture("float32", 4), {262: short(2), 338: short(1)}),
        "got colours of float32 that are multiplied with it",
    ),
    "fill order 3": (tiff_of(ONE, {266: short(3)}), "must have a FillOrder of 1 or 2; got 3"),
    "orientation 0": (tiff_of(ONE, {274: short(0)}), "must have an orientation of 1 to 8; got 0"),
    "orientation 9": (tiff_of(ONE, {274: short(9)}), "must have an orientation of 1 to 8; got 9"),
    "planes of a third kind": (tiff_of(TWO, {284: short(3)}), "got PlanarConfiguration 3"),
    "a predictor without compression": (tiff_of(ONE, {317: short(2)}), "got 2 of uint8, no compression"),
    "a predictor of floating point": (tiff_of(ONE, {317: short(3)}, compression=8), "got 3 of uint8"),
    "a predictor that nobody knows": (tiff_of(ONE, {317: short(34892)}, compression=8), "got 34892 of"),
    "channels of two depths": (
        tiff_of(TWO, {258: short(8, 16)}),
        "must have channels of one type; got BitsPerSample 8, 16",
    ),
    "channels of two formats": (tiff_of(TWO, {339: short(1, 2)}), "got SampleFormat 1, 2"),
    "too few depths": (tiff_of(THREE, {258: short(8, 8)}), "BitsPerSample has 2 values for 3 channels"),
    "1 bit": (
        tiff_of(ONE, {258: short(1)}),
        "integers of 8, 16 or 32 bit, or floating point of 32 or 64; got",
    ),
    "no depth, which means 1 bit": (without(tiff_of(ONE, {}), 258), "got uint of 1 bit"),
    "4 bit": (tiff_of(ONE, {258: short(4)}), "got uint of 4 bit"),
    "12 bit": (tiff_of(ONE, {258: short(12)}), "got uint of 12 bit"),
    "complex integers": (tiff_of(ONE, {339: short(5)}), "got COMPLEXINT of 8 bit"),
    "fax": (tiff_of(ONE, {259: short(4)}), "got CCITT_T6"),
    "JPEG of old": (tiff_of(ONE, {259: short(6)}), "got OJPEG"),
    "JPEG 2000": (tiff_of(ONE, {259: short(34712)}), "got JPEG2000"),
    "a compression that nobody knows": (tiff_of(ONE, {259: short(4242)}), "got compression 4242"),
    "JPEG of 16 bit": (
        tiff_of(picture("uint16"), {259: short(7)}),
        "got JPEG of 1 channels together, uint16",
    ),
    "JPEG of two channels": (tiff_of(TWO, {259: short(7)}), "got JPEG of 2 channels together"),
    "other YCbCr": (
        tiff_of(THREE, {259: short(7), 262: short(6), 529: rational(2126, 10000, 7152, 10000, 722, 10000)}),
        "got YCbCrCoefficients 0.2126, 0.7152, 0.0722",
    ),
    "YCbCr of video": (
        tiff_of(
            THREE,
            {259: short(7), 262: short(6), 532: rational(16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1)},
        ),
        "got ReferenceBlackWhite 16, 235, 128, 240, 128, 240",
    ),
    "a volume in a page": (tiff_of(ONE, {32997: short(5)}), "got a volume of depth 5 in a page"),
    "strips of no rows": (tiff_of(ONE, {278: short(0)}), "strips of 0 rows"),
    "tiles of a pixel": (tiff_of(ONE, {322: short(1), 323: short(1)}), "tiles of 1 x 1 px"),
    "no size": (without(tiff_of(ONE, {}), 256), "ImageWidth is missing"),
    "a large stack of ImageJ": (
        tiff_of(np.concatenate([ONE] * 3), {257: short(48), 270: text("ImageJ=1.54\nimages=3\nslices=3\n")}),
        "must hold one picture; got a TIFF of several pages",
    ),
    "a stack of MetaMorph": (
        tiff_of(np.concatenate([ONE] * 3), {257: short(48), 33629: rational(*[0] * 6)}),
        "must hold one picture; got a TIFF of several pages",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_applied_is_refused_by_name(tmp_path: Path, name: str) -> None:
    data, sentence = REFUSED[name]
    (tmp_path / "slice").write_bytes(data)
    with pytest.raises(UserError) as caught:
        read_header(FolderStore(tmp_path), "slice", len(data))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_slice_that_kept_the_description_of_its_stack_is_one_picture() -> None:
    data = tiff_of(ONE, {270: text("ImageJ=1.54\nimages=30\nslices=30\n")})
    np.testing.assert_array_equal(decoded(data), GREY)


def test_a_slice_with_two_descriptions_is_read() -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, GREY, description="taken on a Monday")
    np.testing.assert_array_equal(decoded(file.getvalue()), GREY)


def test_damaged_files_end_in_a_refusal() -> None:
    """Bits and bytes of tags are changed; whatever is read has the size that the header tells."""
    chosen = random.Random(6)
    sound = [
        tiff_of(ONE, {274: short(6)}),
        tiff_of(picture("uint16", 3), {262: short(2)}, compression=8, predictor=2, tile=16),
        tiff_of(picture("float32"), {}, compression=5, predictor=3, bigtiff=True, byteorder=">"),
    ]
    n_refused = 0
    for _ in range(1500):
        data = bytearray(chosen.choice(sound))
        for _ in range(chosen.randint(1, 3)):
            data[chosen.choice([chosen.randrange(8), -chosen.randint(1, 300)])] = chosen.choice(
                [0, 1, 2, 255, 127]
            )
        try:
            header = tiff_header(io.BytesIO(bytes(data)))
            if 0 < header.picture_bytes < 10**7:
                decoded(bytes(data))
        except RefusedImageError:
            n_refused += 1
    assert n_refused > 500


MANY = 2**19
LONG_TEXTS: dict[str, dict[int, Values]] = {
    "lines of FEI": {34682: text("\n" * MANY + "x")},
    "lines of Zeiss": {34118: text("\n" * MANY + "x")},
    "blanks of ImageJ": {
        270: text("ImageJ=1\nunit=" + " " * MANY + "x"),
        282: rational(1, 1),
        283: rational(1, 1),
    },
    "elements of OME that do not end": {270: text("<OME><Pixels >" + "<Channel <TiffData " * (MANY // 20))},
    "brackets of tifffile": {270: text('{"shape": ' + "[" * MANY)},
    "numbers of tifffile": {270: text('{"shape": [' + "1," * 10 * MANY + "1]}")},
    "lines of ImageJ": {270: text("ImageJ=1\n" + "images=\n" * MANY)},
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", LONG_TEXTS)
def test_a_long_text_is_looked_through_once(name: str) -> None:
    np.testing.assert_array_equal(decoded(tiff_of(ONE, LONG_TEXTS[name])), GREY)


def test_a_picture_of_more_strips_than_any_has_is_refused() -> None:
    tags = {256: short(1), 257: short(65535), 258: short(*[8] * 5), 277: short(5), 278: short(1)}
    data = tiff_file(({**tags, 284: short(2)}, [b"\0"]))
    with pytest.raises(RefusedImageError, match="at most 262,144 strips or tiles"):
        decode_tiff(data)
