"""Puts the images of a folder into another one, under consecutive numbers; the originals stay as they are.

In a folder the new names are hard links, which take no space; in a bucket the server copies. Either makes
a whole object at once where there was none, and never replaces one. So a renumbering that was stopped goes on
when it is started again.
"""

from __future__ import annotations

import csv
import errno
import io
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from google.api_core.exceptions import PreconditionFailed

from components.shared.documents.config import check_image_pattern
from components.shared.errors import ConfigError, FibstackError, TransientError, UserError
from components.shared.regular_file import open_regular
from components.shared.storage import gcs
from components.shared.storage.folder import temporary_beside
from components.shared.storage.parallel import in_parallel
from components.shared.storage.schemes import scheme_of
from components.shared.storage.store import Stat, Store, check_key, checksum, join_uri

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".dat")
"""Suffixes of images; a name that starts with a dot is none, as macOS leaves beside others."""
RECORD = "renumbered.csv"
"""Name of the table in the target that tells which slice was which image."""
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK)
"""Errors by which a file system says that it cannot link two files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """The new names of the images of a folder."""

    new_names: dict[str, str]
    """New names by the old ones, in the order of the numbers."""
    left_alone: tuple[str, ...]
    """Names of files that are no images."""
    jumps: tuple[tuple[str, str], ...]
    """Pairs of consecutive images between whose old names numbers are left out."""


def number_images(names: Iterable[str], pattern: str, first: int, uri: str) -> Numbering:
    """Give images consecutive numbers, in the natural order of their names.

    Args:
        names: All files of the folder.
        pattern: Name pattern of the new names, such as img.%05d; without a suffix it gets that of the images.
        first: Number of the first image.
        uri: The folder, for messages.

    Raises:
        UserError: there are no images, or images of several kinds.
        ConfigError: the pattern has another suffix than the images, or too few digits.

    Example:
        >>> numbering = number_images(["b10.png", "b9.png", "notes.txt"], "img.%03d", 0, "raw")
        >>> numbering.new_names, numbering.left_alone
        ({'b9.png': 'img.000.png', 'b10.png': 'img.001.png'}, ('notes.txt',))
    """
    ordered = sorted(names, key=natural_order)
    images = [name for name in ordered if _is_image(name)]
    suffixes = Counter(_suffix(name) for name in images)
    if not images:
        raise UserError(f"the folder must hold images ({', '.join(SUFFIXES)}); got none in {uri}. Change it.")
    if len(suffixes) > 1:
        got = " and ".join(f"{n:,} {suffix}" for suffix, n in suffixes.items())
        raise UserError(f"all images must be of one kind; got {got} in {uri}. Move those of the other away.")
    (suffix,) = suffixes
    if not pattern.endswith("d") and _suffix(pattern) != suffix:
        raise ConfigError(f"--image must end in {suffix} as the images do; got '{pattern}'. Change it.")
    full = pattern + suffix if pattern.endswith("d") else pattern
    new = [full % z for z in range(first, first + len(images))]
    if len(new[-1]) > len(new[0]) and "%0" in full:
        raise ConfigError(
            f"--image must have digits for {len(images):,} images from {first}; got '{pattern}'. Add some."
        )
    return Numbering(
        new_names=dict(zip(images, new, strict=True)),
        left_alone=tuple(name for name in ordered if not _is_image(name)),
        jumps=tuple(find_jumps(images)),
    )


def natural_order(name: str) -> tuple[list[str | int], str]:
    """A key that sorts names as people do: by the numbers in them.

    Example:
        >>> sorted(["z10", "z9", "a"], key=natural_order)
        ['a', 'z9', 'z10']
    """
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def find_jumps(names: Sequence[str]) -> list[tuple[str, str]]:
    """Names that follow each other, between which a number grows by more than it does elsewhere.

    A number counts where it mostly grows by the same step; a date or a time of day says nothing.

    Example:
        >>> find_jumps(["s1.png", "s2.png", "s5.png", "s6.png"])
        [('s2.png', 's5.png')]
        >>> find_jumps(["11 0.91um.tif", "12 0.92um.tif", "14 0.94um.tif", "15 0.95um.tif"])
        [('12 0.92um.tif', '14 0.94um.tif')]
    """
    steps = {pair: _steps(*pair) for pair in pairwise(names)}
    jumps = set()
    for place in range(max(map(len, steps.values()), default=0)):
        there = {pair: found[place] for pair, found in steps.items() if place < len(found)}
        usual, n_usual = Counter(there.values()).most_common(1)[0]
        if usual > 0 and 2 * n_usual > len(there):
            jumps |= {pair for pair, step in there.items() if step > usual}
    return [pair for pair in steps if pair in jumps]


def _steps(name: str, other: str) -> list[int]:
    """Differences of the numbers in `other` to those in `name`; empty where more than numbers differs."""
    parts, others = (re.split(r"([0-9]+)", text) for text in (name, other))
    if parts[::2] != others[::2]:
        return []
    return [int(b) - int(a) for a, b in zip(parts[1::2], others[1::2], strict=True)]


def _is_image(name: str) -> bool:
    return _suffix(name) in SUFFIXES and not PurePosixPath(name).name.startswith(".")


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def plan_renumbering(source: Store, target: Store, pattern: str, first: int) -> tuple[Numbering, list[str]]:
    """The new names, and those old ones whose new ones are not there yet. Changes nothing.

    Raises:
        ConfigError: the pattern is refused, or source and target lie in each other or are of two kinds.
        UserError: the source is not there or has no images, or the target holds other files.
    """
    _check_places(source.uri, target.uri)
    try:
        check_image_pattern(pattern)
    except ValueError as error:
        raise ConfigError(f"--image: {error}; got '{pattern}'. Change it.") from None
    if not source.exists():
        raise UserError(
            f"the source must be a folder or bucket that exists; got {source.uri}. Check the path."
        )
    old = {stat.key: stat for stat in source.list()}
    numbering = number_images(old, pattern, first, source.uri)
    there = {stat.key: stat for stat in target.list()}
    left = []
    foreign = there.keys() - set(numbering.new_names.values()) - {RECORD}
    for name, new in numbering.new_names.items():
        check_key(new)
        if new not in there:
            left.append(name)
        elif not _same(source, old[name], target, there[new]):
            foreign.add(new)
    if foreign:
        raise UserError(
            f"the target must hold no other files; got {len(foreign):,}, such as '{min(foreign)}', "
            f"in {target.uri}. Choose another target."
        )
    return numbering, left


def renumber(
    source: Store, target: Store, numbering: Numbering, left: Iterable[str], done: Callable[[], None]
) -> None:
    """Make the new names of the images `left`, then the record of all; calls `done` after each.

    Raises:
        UserError: a file of another content has appeared, or a right is missing.
        TransientError: the disk or storage failed in a way that may pass.
    """
    place = _link if scheme_of(target.uri).is_folder else _copy_in_bucket

    def one(name: str) -> None:
        place(source, name, target, numbering.new_names[name])
        done()

    in_parallel(one, left)
    target.write(RECORD, record_of(numbering))


def record_of(numbering: Numbering) -> bytes:
    """The record: a table of new and old names."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["slice", "original"])
    table.writerows((new, old) for old, new in numbering.new_names.items())
    return text.getvalue().encode()


def _check_places(source: str, target: str) -> None:
    if scheme_of(source) != scheme_of(target):
        raise ConfigError(
            f"source and target must both be folders or both in buckets; got {source} and {target}. "
            "Renumber first, then use 'fibstack data upload'."
        )
    if f"{target}/".startswith(f"{source}/") or f"{source}/".startswith(f"{target}/"):
        raise ConfigError(f"the target must lie outside the source; got {target} and {source}. Change it.")


def _same(source: Store, old: Stat, target: Store, new: Stat) -> bool:
    """True of two objects with the same content: by the checksums of buckets, else by reading both."""
    if old.size_bytes != new.size_bytes:
        return False
    if old.crc32c and new.crc32c:
        return old.crc32c == new.crc32c
    if scheme_of(source.uri).is_folder and Path(source.uri, old.key).samefile(Path(target.uri, new.key)):
        return True
    return checksum(source.read(old.key)) == checksum(target.read(new.key))


def _link(source: Store, old: str, target: Store, new: str) -> None:
    """Give a file a second name in another folder, or copy it where the file system cannot."""
    original, path = Path(source.uri, old).resolve(), Path(target.uri, new)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(original, path)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            _copy(original, path)
    except FileExistsError:
        raise _appeared(join_uri(target.uri, new)) from None
    except PermissionError:
        raise UserError(f"cannot write {path}: permission denied. Choose another target.") from None
    except OSError as error:
        raise TransientError(f"cannot write {path}: {error.strerror}. Free some space and repeat.") from None


def _copy(original: Path, path: Path) -> None:
    """Copy a file under a name that must not be there; nobody sees a part of it."""
    temporary = temporary_beside(path)
    try:
        with open_regular(original) as old, temporary.open("xb") as new:
            shutil.copyfileobj(old, new, 1 << 20)
            new.flush()
            os.fsync(new.fileno())
        try:
            os.link(temporary, path)
        except OSError as error:
            if error.errno not in _NO_LINK or path.exists():
                raise
            temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def _copy_in_bucket(source: Store, old: str, target: Store, new: str) -> None:
    """Let the server copy an object under a name that must not be there."""
    from_bucket, from_prefix = gcs.bucket_and_prefix(source.uri)
    to_bucket, to_prefix = gcs.bucket_and_prefix(target.uri)
    client = gcs.client_of()
    original = client.bucket(from_bucket).blob(from_prefix + old)
    copy = client.bucket(to_bucket).blob(to_prefix + new)
    grant = f"storage.objects.get on '{from_bucket}' and storage.objects.create on '{to_bucket}'"
    token = None
    with gcs.failures(f"cannot write {join_uri(target.uri, new)}", to_bucket, grant):
        try:
            while True:  # large objects take several calls
                token, _, _ = copy.rewrite(
                    original, token=token, if_generation_match=0, timeout=gcs.TIMEOUT_S, retry=gcs.RETRY
                )
                if token is None:
                    return
        except PreconditionFailed:
            stat, made = source.stat(old), target.stat(new)
            if not (stat and made and _same(source, stat, target, made)):  # an answer may have been lost
                raise _appeared(join_uri(target.uri, new)) from None


def _appeared(uri: str) -> FibstackError:
    return UserError(f"nothing may be replaced; got another file meanwhile in {uri}. Start again.")
