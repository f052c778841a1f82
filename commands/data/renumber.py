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
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from google.api_core.exceptions import PreconditionFailed

from commands.data.numbering import Numbering, number_images
from components.shared.documents.config import check_image_pattern
from components.shared.errors import ConfigError, FibstackError, TransientError, UserError
from components.shared.storage import gcs
from components.shared.storage.folder import temporary_beside
from components.shared.storage.parallel import in_parallel
from components.shared.storage.schemes import scheme_of
from components.shared.storage.store import Stat, Store, check_key, checksum, join_uri

RECORD = "renumbered.csv"
"""Which slice was which image."""
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK)
"""What a file system answers that cannot link these two."""


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
    """Whether two objects hold the same: in a bucket by what it knows, in folders by what they hold."""
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
        with original.open("rb") as old, temporary.open("xb") as new:
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
