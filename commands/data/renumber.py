"""Puts the images of a folder into another one, under consecutive numbers; the originals stay as they are.

In a folder the new names are hard links, which take no space; in a bucket the server copies. Either makes
a whole object at once where there was none, and never replaces one. So a renumbering that was stopped goes on
when it is started again.
"""

from __future__ import annotations

import csv
import errno
import glob
import io
import os
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from fractions import Fraction
from itertools import pairwise
from pathlib import Path, PurePosixPath

from google.api_core.exceptions import PreconditionFailed

from commands.data.name_order import (
    KINDS,
    SUFFIXES,
    NameReading,
    Parts,
    integer_parts,
    is_image,
    natural_order,
    ordered,
    template,
)
from components.shared.documents.config import check_image_pattern
from components.shared.errors import ConfigError, FibstackError, TransientError, UserError
from components.shared.pictures.slice_files import read_header
from components.shared.regular_file import open_regular
from components.shared.storage import gcs
from components.shared.storage.folder import FolderStore, temporary_beside
from components.shared.storage.gcs_failures import failures
from components.shared.storage.parallel import in_parallel
from components.shared.storage.registry import open_store
from components.shared.storage.schemes import folder_of, scheme_of
from components.shared.storage.store import Stat, Store, check_key, checksum, join_uri
from components.shared.text import count, listed, product

RECORD = "renumbered.csv"
"""Name of the table in the target that tells which slice was which image."""
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK)
"""Errors by which a file system says that it cannot link two files."""


SHOWN = 3
"""Names that a sentence shows."""
_FEW_OF = 10
"""Images of other names in folders of their own are few where they are less than one in so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """The new names of the images of a folder."""

    new_names: dict[str, str]
    """New names by the old ones, in the order of the numbers."""
    left_alone: tuple[str, ...]
    """Names of files that are no images."""
    jumps: tuple[tuple[str, str], ...]
    """Pairs of consecutive images between whose old names numbers are left out."""
    parts_of: Callable[[str], Parts] = integer_parts
    """Takes an old name apart into texts and numbers."""
    said: tuple[str, ...] = ()
    """Sentences on what was decided about order and kinds, for a person to check."""


def number_images(
    names: Iterable[str], pattern: str, first: int, uri: str, reading: NameReading | None = None
) -> Numbering:
    """Give images consecutive numbers, in the order of the numbers in their names.

    Args:
        names: All files of the folder.
        pattern: Name pattern of the new names, such as img.%05d; without a suffix it gets that of the images.
        first: Number of the first image.
        uri: The folder, for messages.
        reading: How the numbers in the names are read; None to find it out.

    Raises:
        UserError: there are no images, images of several kinds, two that differ in their suffix alone, or
            names that can be read in several orders.
        ConfigError: the pattern has another suffix than the images, or too few digits.

    Example:
        >>> numbering = number_images(["b10.png", "b9.png", "notes.txt"], "img.%03d", 0, "raw")
        >>> numbering.new_names, numbering.left_alone
        ({'b9.png': 'img.000.png', 'b10.png': 'img.001.png'}, ('notes.txt',))
    """
    everything = list(names)
    images = [name for name in everything if is_image(name)]
    if not images:
        raise UserError(f"the folder must hold images ({', '.join(SUFFIXES)}); got none in {uri}. Change it.")
    suffixes = Counter(PurePosixPath(name).suffix for name in sorted(images))
    got = " and ".join(f"{n:,} {suffix}" for suffix, n in suffixes.items())
    kinds = {KINDS[suffix.lower()] for suffix in suffixes}
    if len(kinds) > 1:
        raise UserError(f"all images must be of one kind; got {got} in {uri}. Move those of the other away.")
    _check_no_twins(images, uri)
    (kind,) = kinds
    if not pattern.endswith("d") and KINDS.get(_suffix(pattern)) != kind:
        raise ConfigError(f"--image must end in {kind} as the images do; got '{pattern}'. Change it.")
    only = {suffix.lower() for suffix in suffixes}
    full = pattern + (only.pop() if len(only) == 1 else kind) if pattern.endswith("d") else pattern
    in_order = ordered(images, uri, reading)
    new = [full % z for z in range(first, first + len(images))]
    if len(new[-1]) > len(new[0]) and "%0" in full:
        raise ConfigError(
            f"--image must have digits for {len(images):,} images from {first}; got '{pattern}'. Add some."
        )
    together = f"images of several suffixes are taken together: {got}" if len(suffixes) > 1 else ""
    return Numbering(
        new_names=dict(zip(in_order.names, new, strict=True)),
        left_alone=tuple(sorted((name for name in everything if not is_image(name)), key=natural_order)),
        parts_of=in_order.parts,
        jumps=tuple(find_jumps(in_order.names, in_order.parts)),
        said=tuple(filter(None, (in_order.said, together))),
    )


def _check_no_twins(images: Iterable[str], uri: str) -> None:
    """Refuse images that differ in their suffix alone: a picture was saved twice, or there are two series."""
    first_of: dict[str, str] = {}
    for name in sorted(images):
        other = first_of.setdefault(_stem(name).casefold(), name)
        if other != name and other.casefold() != name.casefold():
            raise UserError(
                f"every image must be there once; got {other} and {name} in {uri}. Add "
                f"--only '*{PurePosixPath(other).suffix}' or --only '*{PurePosixPath(name).suffix}'."
            )


def find_jumps(
    names: Sequence[str], parts_of: Callable[[str], Parts] = integer_parts
) -> list[tuple[str, str]]:
    """Names that follow each other, between which a number grows by more than it does elsewhere.

    A number counts where it mostly grows by the same step; a date or a time of day says nothing.

    Args:
        names: Names in their order.
        parts_of: Takes a name apart into texts and numbers.

    Example:
        >>> find_jumps(["s1.png", "s2.png", "s5.png", "s6.png"])
        [('s2.png', 's5.png')]
        >>> find_jumps(["11 0.91um.tif", "12 0.92um.tif", "14 0.94um.tif", "15 0.95um.tif"])
        [('12 0.92um.tif', '14 0.94um.tif')]
    """
    steps = {(name, other): _steps(parts_of(name), parts_of(other)) for name, other in pairwise(names)}
    jumps = set()
    for place in range(max(map(len, steps.values()), default=0)):
        there = {pair: found[place] for pair, found in steps.items() if place < len(found)}
        usual, n_usual = Counter(there.values()).most_common(1)[0]
        if usual > 0 and 2 * n_usual > len(there):
            jumps |= {pair for pair, step in there.items() if step > usual}
    return [pair for pair in steps if pair in jumps]


def _steps(parts: Parts, others: Parts) -> list[Fraction]:
    """Differences of the numbers in `others` to those in `parts`; empty where more than numbers differs."""
    if parts[::2] != others[::2]:
        return []
    numbers = zip(parts[1::2], others[1::2], strict=True)
    return [b - a for a, b in numbers if isinstance(a, Fraction) and isinstance(b, Fraction)]


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _stem(name: str) -> str:
    return name.removesuffix(PurePosixPath(name).suffix)


def open_source(uri: str, *, follow_links: bool) -> Store:
    """The store of images, with links to files elsewhere on its file system where they are to be followed.

    Raises:
        UserError: a link leads nowhere: the numbers behind its image would all be wrong.
    """
    folder = folder_of(uri)
    if folder is None:
        return open_store(uri)
    for path in sorted(linked(folder)):
        if not path.exists():
            raise UserError(
                f"a link must lead to a file; got {path}, which leads to {path.readlink()} where nothing is. "
                "Mend or remove it."
            )
    return FolderStore(folder, follows_links=follow_links)


def linked(folder: Path) -> Iterator[Path]:
    """The symbolic links below a folder."""
    for parent, folders, names in os.walk(folder):
        yield from (path for path in map(Path(parent).joinpath, [*folders, *names]) if path.is_symlink())


def plan_renumbering(
    source: Store,
    target: Store,
    pattern: str,
    first: int,
    reading: NameReading | None = None,
    only: str | None = None,
) -> tuple[Numbering, list[str]]:
    """The new names, and those old ones whose new ones are not there yet. Changes nothing.

    Args:
        source: Where the images lie.
        target: Where the new names are made.
        pattern: Name pattern of the new names.
        first: Number of the first image.
        reading: How the numbers in the old names are read; None to find it out.
        only: Pattern, as of a shell, of the names without their folder that are taken; None for all, where
            they are alike.

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
    taken = [name for name in old if only is None or fnmatchcase(PurePosixPath(name).name, only)]
    if only is not None and not taken:
        raise UserError(f"--only must name images of the source; got '{only}' in {source.uri}. Change it.")
    numbering = number_images(taken, pattern, first, source.uri, reading)
    if only is None:
        check_named_alike(list(numbering.new_names), numbering.parts_of, source.uri)
    folder = folder_of(source.uri)
    folders = [path for path in linked(folder) if path.is_dir()] if folder else []
    links = [f"{path.relative_to(folder)} (a link to a folder)" for path in sorted(folders)] if folder else []
    others = [name for name in old if name not in numbering.new_names]
    numbering = replace(numbering, left_alone=(*links, *sorted(others, key=natural_order)))
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


def check_named_alike(images: Sequence[str], parts_of: Callable[[str], Parts], uri: str) -> None:
    """Refuse a few images of other names among many, such as an overview: they would become slices.

    Series in several folders may have names of their own.

    Args:
        images: Names of images.
        parts_of: Takes a name apart into texts and numbers.
        uri: Their folder, for messages.

    Raises:
        UserError: a few are named otherwise than most.
    """
    series: dict[str, list[str]] = {}
    for image in images:
        name = PurePosixPath(image).name
        series.setdefault(template(parts_of(f"{_stem(name)}.")), []).append(image)
    most = max(series.values(), key=len)
    folders = {PurePosixPath(image).parent for image in most}
    for others in series.values():
        are_beside = any(PurePosixPath(image).parent in folders for image in others)
        if len(others) * (1 if are_beside else _FEW_OF) < len(most):
            words = re.split(r"[0-9]+(?:[.,][0-9]+)*", _stem(PurePosixPath(most[0]).name))
            only = shlex.quote("*".join(map(glob.escape, words)).rstrip("*") + "*")
            raise UserError(
                f"images must be named alike; got {listed(others, SHOWN, rest=', ...')} beside {len(most):,} "
                f"such as {most[0]} in {uri}. Add --only {only} for these alone, or --only '*' for all."
            )


def unlike_most(source: Store, numbering: Numbering) -> list[str]:
    """Sentences on images of another size in px than most, such as an overview, with the names that they get.

    An image that cannot be read is left to the run, which says why.
    """

    def size_px(name: str) -> tuple[int, int] | None:
        stat = source.stat(name)
        try:
            header = read_header(source, name, stat.size_bytes) if stat else None
        except UserError:
            return None
        return (header.width_px, header.height_px) if header else None

    names = list(numbering.new_names)
    sizes = dict(zip(names, in_parallel(size_px, names), strict=True))
    counts = Counter(size for size in sizes.values() if size)
    if len(counts) < 2:
        return []
    usual, n_usual = counts.most_common(1)[0]
    odd = [name for name, size in sizes.items() if size and size != usual]
    shown = [
        f"{name} of {product(sizes[name] or ())} px, taken as {numbering.new_names[name]}" for name in odd
    ]
    return [
        f"{count(len(odd), 'image')} of another size than the {n_usual:,} of {product(usual)} px: "
        f"{listed(shown, SHOWN, between='; ')}. Move away what is no slice"
    ]


def renumber(
    source: Store, target: Store, numbering: Numbering, left: Iterable[str], done: Callable[[], None]
) -> None:
    """Make the new names of the images `left`, then the record of all; calls `done` after each.

    Raises:
        UserError: a file of another content has appeared, or a right is missing.
        TransientError: the disk or storage failed in a way that may pass.
    """
    in_bucket = _copy_in_s3 if scheme_of(target.uri).cloud == "aws" else _copy_in_bucket
    place = _link if scheme_of(target.uri).is_folder else in_bucket

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
    with failures(f"cannot write {join_uri(target.uri, new)}", to_bucket, grant):
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


def _copy_in_s3(source: Store, old: str, target: Store, new: str) -> None:
    """Let the server copy an object under a name that was not there just now."""
    from components.shared.storage import s3
    from components.shared.storage.s3_failures import failures

    from_bucket, from_prefix = s3.bucket_and_prefix(source.uri)
    to_bucket, to_prefix = s3.bucket_and_prefix(target.uri)
    made = target.stat(new)
    if made is not None:
        stat = source.stat(old)
        if stat is None or not _same(source, stat, target, made):
            raise _appeared(join_uri(target.uri, new))
        return
    grant = f"s3:GetObject on '{from_bucket}' and s3:PutObject on '{to_bucket}'"
    with failures(f"cannot write {join_uri(target.uri, new)}", to_bucket, grant):
        s3.client().ask(
            "copy_object",
            Bucket=to_bucket,
            Key=to_prefix + new,
            CopySource={"Bucket": from_bucket, "Key": from_prefix + old},
            ChecksumAlgorithm="CRC32C",
        )


def _appeared(uri: str) -> FibstackError:
    return UserError(f"nothing may be replaced; got another file meanwhile in {uri}. Start again.")
