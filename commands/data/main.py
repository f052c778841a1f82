"""`fibstack data`: bring slices to where a run finds them, and look after what it leaves."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.data.name_order import READINGS, NameReading
from commands.dry_run import Changes, dry_run_option, list_changes
from components.shared.command import StepCommand
from components.shared.documents.config import check_image_pattern
from components.shared.errors import ConfigError, UserError
from components.shared.storage.folder import FolderStore
from components.shared.storage.registry import open_store
from components.shared.storage.schemes import scheme_of
from components.shared.storage.store import join_uri

if TYPE_CHECKING:
    from commands.data.contents import Entry
    from components.shared.documents.cost import ColderClass

_SHOWN = 3
_STAYING_SHOWN = 20
"""Files of others in an output that are named."""
_NEW_LINE = "\n  "
_YES = click.option("--yes", is_flag=True, help="Do not ask.")
_JOBS = click.option(
    "--jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="Files at a time."
)


_FOLLOW_LINKS = click.option(
    "--follow-links", is_flag=True, help="Take links to files elsewhere on the same file system too."
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExample:\n  fibstack data renumber raw numbered",
)
def main() -> None:
    """Bring slices to where a run finds them, and look after what it leaves."""


@main.command(
    cls=StepCommand,
    short_help="Number images anew, in the order of their names.",
    epilog="\b\nExample:\n  fibstack data renumber raw numbered --yes",
)
@click.argument("source")
@click.argument("target")
@click.option("--image", default="img.%05d", show_default=True, help="Name pattern of the new names.")
@click.option(
    "--first", type=click.IntRange(0), default=0, show_default=True, help="Number of the first image."
)
@click.option(
    "--order",
    type=click.Choice(READINGS),
    help="How the numbers in the names are read: as integers, as decimals with signs and units, or as dates "
    "with the day or the month first.  [default: as all of them say; it asks where two give two orders]",
)
@click.option("--only", metavar="PATTERN", help="Names of the images that are taken, such as 'slice_*'.")
@_FOLLOW_LINKS
@click.option("--yes", is_flag=True, help="Do it; else only say what would be done.")
def renumber(
    source: str,
    target: str,
    image: str,
    first: int,
    order: NameReading | None,
    only: str | None,
    follow_links: bool,
    yes: bool,
) -> None:
    """Give the images in SOURCE consecutive numbers in TARGET, in the order of the numbers in their names.

    Where the names can be read in two orders, or a few are named otherwise than most, nothing is done: it
    says so, with the options that decide.

    Both are folders, or both gs:// URIs, or both s3:// URIs. SOURCE stays as it is: the new names are links
    to the same data (on another file system, and in buckets, copies). No file is ever replaced.
    TARGET/renumbered.csv tells which slice was which image. Give the same command again to go on after a
    stop.
    """
    from commands.data import renumber as renumbering
    from commands.data.progress import counted

    stores = renumbering.open_source(source, follow_links=follow_links), open_store(target)
    numbering, left = renumbering.plan_renumbering(*stores, image, first, order, only)
    new_names = numbering.new_names
    shown = list(new_names.items())
    for old, new in shown if len(shown) <= 2 * _SHOWN else [*shown[:_SHOWN], ("...", ""), *shown[-_SHOWN:]]:
        click.echo(f"{old} -> {new}" if new else old)
    there = len(new_names) - len(left)
    click.echo(f"{len(new_names):,} images{f', {there:,} of them there already' if there else ''}.")
    if numbering.left_alone:
        examples = ", ".join(numbering.left_alone[:_SHOWN])
        click.echo(f"Left alone: {len(numbering.left_alone):,} other files, such as {examples}.")
    for sentence in numbering.said:
        click.echo(f"Look at this: {sentence}.")
    for sentence in renumbering.unlike_most(stores[0], numbering):
        click.echo(f"WARNING: {sentence}.")
    for before, after in numbering.jumps[:_SHOWN]:
        click.echo(f"WARNING: the numbers jump between {before} and {after}. Is an image missing?")
    if len(numbering.jumps) > _SHOWN:
        click.echo(f"WARNING: they jump at {len(numbering.jumps) - _SHOWN:,} more places.")
    if not yes:
        click.echo("Nothing was changed. Add --yes to do it.")
        return
    with counted("images", len(left)) as done:
        renumbering.renumber(*stores, numbering, left, done)
    names = list(new_names.values())
    pattern = image + Path(names[0]).suffix if image.endswith("d") else image
    click.echo(
        f"Run it with: --source {shlex.quote(stores[1].uri)} --image {shlex.quote(pattern)} ", nl=False
    )
    click.echo(f"--minz {first} --maxz {first + len(names) - 1}")


@main.command(
    cls=StepCommand,
    short_help="Make a file of each slice of a stack.",
    epilog="\b\nExample:\n  fibstack data split stack.mrc slices",
)
@click.argument("file")
@click.argument("target")
@click.option("--image", default="slice.%05d.tif", show_default=True, help="Name pattern of the slices.")
@click.option(
    "--first", type=click.IntRange(0), default=0, show_default=True, help="Number of the first slice."
)
def split(file: str, target: str, image: str, first: int) -> None:
    """Write each slice of FILE, a TIFF of several pages or MRC, as a TIFF of its own to TARGET.

    Both are on this machine, or gs:// or s3:// URIs. The numbers stay as they are, of whatever type. The rows
    of MRC, which run from the bottom up, are turned over. Pages of a TIFF are read as slices are: its tags
    are applied, channels in pages of their own become channels of a slice, reduced pages are left out, and
    what a run refuses is refused before a file is written. No file is ever replaced; give the same command
    again to go on after a stop.
    """
    from commands.data.progress import counted
    from commands.data.split import check_slices, open_stack, write_slices

    try:
        check_image_pattern(image)
    except ValueError as error:
        raise ConfigError(f"--image: {error}; got '{image}'. Change it.") from None
    store = open_store(target)
    stack = open_stack(file)
    if stack.is_compressed:
        with counted("slices read", stack.n_slices) as done:
            check_slices(stack, done)
    with counted("slices", stack.n_slices) as done:
        write_slices(stack, store, image, first, done)
    click.echo(f"Run it with: --source {shlex.quote(store.uri)} --image {shlex.quote(image)} ", nl=False)
    click.echo(f"--minz {first} --maxz {first + stack.n_slices - 1}")


@main.command(
    cls=StepCommand,
    short_help="Copy a folder to a bucket.",
    epilog="\b\nExample:\n  fibstack data upload raw gs://em/raw",
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("target", metavar="BUCKET_URI")
@_JOBS
@_FOLLOW_LINKS
def upload(folder: Path, target: str, jobs: int, follow_links: bool) -> None:
    """Copy all files of FOLDER to a bucket, each with a checksum that the server verifies.

    BUCKET_URI is gs://BUCKET, s3://BUCKET or a folder in one.

    What is there already with the same size and checksum is left out, so that an upload that was stopped goes
    on where it was. An object with another content is never replaced: it stops the upload before it begins.
    """
    from commands.data import upload as uploading
    from commands.data.progress import measured
    from components.shared.text import size

    _check_in_bucket(target)
    if not FolderStore(folder).exists():
        raise UserError(f"FOLDER must be a folder; got {folder}. Check the path.")
    target = open_store(target).uri
    plan = uploading.plan_uploads(folder, target, jobs, follow_links=follow_links)
    if plan.left_out:
        examples = ", ".join(plan.left_out[:_SHOWN])
        click.echo(f"Left out: {len(plan.left_out):,} links to folders, such as {examples}.", err=True)
    if plan.n_there:
        click.echo(f"There already: {plan.n_there:,} files, {size(plan.bytes_there)}.", err=True)
    with measured(plan.n_bytes) as arrived:
        uploading.upload(plan.items, target, jobs, lambda item: arrived(item.size_bytes))
    click.echo(f"Uploaded {len(plan.items):,} files, {size(plan.n_bytes)}, to {target}.")


def _check_in_bucket(uri: str) -> None:
    if not scheme_of(uri).cloud:
        raise ConfigError(
            f"the target must be a gs:// or s3:// URI; got '{uri}'. Write gs://BUCKET or s3://BUCKET."
        )


@main.command(
    "new-id",
    cls=StepCommand,
    short_help="Print an id that nobody can guess.",
    epilog="\b\nExample:\n  fibstack data new-id hippocampus",
)
@click.argument("name")
def new_id(name: str) -> None:
    """Print an id for a run that starts with NAME and that nobody can guess.

    Give it as 'id': buckets named after it are found only by those who know it.
    """
    from commands.data.run_ids import new_run_id

    click.echo(new_run_id(name))


@main.command(
    cls=StepCommand,
    short_help="Let everybody look at a volume.",
    epilog="\b\nExample:\n  fibstack data public gs://em/aligned",
)
@click.argument("output")
@_YES
def public(output: str, yes: bool) -> None:
    """Let everybody look at the volume in OUTPUT; the same as 'fibstack share'."""
    _share(output, yes=yes, undo=False)


@main.command(
    cls=StepCommand,
    short_help="Take back what 'public' gave.",
    epilog="\b\nExample:\n  fibstack data private gs://em/aligned",
)
@click.argument("output")
@_YES
def private(output: str, yes: bool) -> None:
    """Take back what 'public' gave; the same as 'fibstack share --undo'."""
    _share(output, yes=yes, undo=True)


def _share(output: str, *, yes: bool, undo: bool) -> None:
    from commands.share.main import change_access

    change_access(output, undo=undo, yes=yes)


@main.command(
    cls=StepCommand,
    short_help="Let web pages read from a bucket.",
    epilog="\b\nExample:\n  fibstack data cors gs://em",
)
@click.argument("uri", metavar="BUCKET_URI")
@click.option(
    "--origin", "origins", multiple=True, metavar="URL", help="A page's origin; repeatable.  [default: any]"
)
@click.option("--off", is_flag=True, help="Let no pages of other origins read.")
def cors(uri: str, origins: tuple[str, ...], off: bool) -> None:
    """Let pages of other origins, such as a neuroglancer, read from a bucket over https, with ranges.

    BUCKET_URI is gs://BUCKET or s3://BUCKET. It gives nobody rights. Neuroglancer needs it for https://
    addresses, as those of all volumes on S3 are, and not for gs://...
    """
    from commands.data.bucket_rules import set_cors

    _check_in_bucket(uri)
    bucket = set_cors(uri, () if off else origins or ("*",))
    readers = "no pages" if off else f"pages of {', '.join(origins or ('any origin',))}"
    click.echo(f"{scheme_of(uri).name}://{bucket}: {readers}.")


@main.command(
    cls=StepCommand,
    short_help="Move what is seldom read to cheaper storage.",
    epilog="\b\nExample:\n  fibstack data archive gs://em/aligned/chunk --after 60",
)
@click.argument("uri", metavar="BUCKET_URI")
@click.option(
    "--class",
    "given_class",
    type=click.Choice(["nearline", "coldline", "archive", "standard_ia", "glacier_ir"]),
    help="Storage class, of Google the first three, of S3 the others: the colder, the cheaper to keep and "
    "the dearer to read.  [default: coldline, or glacier_ir for s3://]",
)
@click.option(
    "--after", "days", type=click.IntRange(0), default=30, show_default=True, help="Age in days of an object."
)
def archive(uri: str, given_class: ColderClass | None, days: int) -> None:
    """Move what is seldom read to a colder, cheaper storage class, by a rule of the bucket.

    BUCKET_URI is gs://BUCKET, s3://BUCKET or a folder in one. What has moved is read as before, at once. S3
    leaves objects of less than 128 KiB where they are.
    """
    from commands.data.bucket_rules import MINIMUM_DAYS
    from commands.data.bucket_rules import archive as add_rule
    from components.shared.documents.cost import listed_prices

    _check_in_bucket(uri)
    minimum_days = MINIMUM_DAYS[scheme_of(uri).cloud]
    storage_class = given_class or next(iter(minimum_days))
    if storage_class not in minimum_days:
        raise ConfigError(
            f"--class must be {' or '.join(minimum_days)} for {scheme_of(uri).name}://; got {storage_class}. "
            "Change it, or leave it out."
        )
    is_new = add_rule(uri, storage_class, days)
    click.echo(
        f"{'Set' if is_new else 'There already'}: objects below {uri} go to {storage_class} when they are "
        f"{days} days old. Storage does it within about a day, bills each for at least "
        f"{minimum_days[storage_class]} days, and bills each reading."
    )
    prices = listed_prices(uri)
    colder = prices.colder_gib_month.get(storage_class)
    if colder is not None:
        click.echo(
            f"A month of a GiB: ${colder:.4f} in place of ${prices.storage_gib_month:.4f}, at prices of "
            f"{prices.region}, {prices.date}."
        )


@main.command(
    cls=StepCommand,
    short_help="Remove what a run has left.",
    epilog="\b\nExample:\n  fibstack data delete aligned --dry-run",
)
@click.argument("output")
@dry_run_option
@_YES
def delete(output: str, dry_run: bool, yes: bool) -> None:
    """Remove the volumes, tiles and records of the run in OUTPUT, and the run's own buckets.

    It lists what goes and what stays, and asks. Only what the run's plan and records name is removed. A place
    without the record of a run, a bucket without its label, and slices are never removed. Start it again
    after a stop.
    """
    from commands.data.progress import counted
    from commands.data.removal import holdings_of, remove, remove_output_folder
    from components.shared.text import size

    holdings = holdings_of(output)
    staying = [entry for h in holdings for entry in h.others]
    if dry_run:
        removed = [join_uri(entry.uri, entry.key) for h in holdings for entry in h.files]
        removed += [h.uri for h in holdings if h.whole_bucket]
        _say_what_stays(staying)
        list_changes(Changes(removed=tuple(removed)))
        return
    for h in holdings:
        bucket = " and the bucket itself" if h.whole_bucket else ""
        click.echo(f"{len(h.files):>10,} objects {size(h.n_bytes):>9}  {h.uri}{bucket}")
    n_objects, n_bytes = sum(len(h.files) for h in holdings), sum(h.n_bytes for h in holdings)
    click.echo(f"{n_objects:>10,} objects {size(n_bytes):>9}  in all")
    _say_what_stays(staying)
    if not any(h.own or h.whole_bucket or not h.others for h in holdings):
        click.echo("There is nothing to remove.")
        return
    if not yes and not click.confirm("Remove all this for ever?"):
        click.echo("Nothing was removed.")
        return
    with counted("objects", n_objects) as done:
        for h in holdings:
            remove(h, done)
    remove_output_folder(output)
    click.echo(f"Removed {n_objects:,} objects, {size(n_bytes)}.")
    _say_what_stays(staying)
    if scheme_of(output).cloud == "google":
        click.echo("Where a bucket has soft delete, Google keeps and bills them for some days more.")


def _say_what_stays(entries: Sequence[Entry]) -> None:
    """Name what lies in an output and is not the run's."""
    if not entries:
        return
    from components.shared.text import listed, size

    n_bytes = size(sum(entry.size_bytes for entry in entries))
    click.echo(f"Stays, since no run has written it ({len(entries):,}, {n_bytes}):")
    click.echo(f"  {listed(entries, _STAYING_SHOWN, between=_NEW_LINE, rest=_NEW_LINE + 'and {more} more')}")


@main.command(
    cls=StepCommand,
    short_help="Say what stored data cost a month.",
    epilog="\b\nExample:\n  fibstack data costs gs://em/raw gs://em/aligned",
)
@click.argument("uris", nargs=-1, required=True, metavar="URI...")
@click.option(
    "--prices",
    "prices_path",
    type=click.Path(path_type=Path),
    help="YAML table of prices.  [default: list prices of Google, or of Amazon for s3://, with their date]",
)
def costs(uris: tuple[str, ...], prices_path: Path | None) -> None:
    """Say how much lies at each URI, and what a month of it costs.

    A URI is a bucket, a folder in one, or the output of a run; of a folder on this machine, it says what that
    would cost in a bucket.
    """
    from commands.data.contents import EMPTY_FOLDER
    from commands.data.costs import StoredObject, costs_of, stored_entries
    from components.shared.documents.cost import listed_prices, read_prices
    from components.shared.text import listed, size

    prices = read_prices(prices_path) if prices_path else listed_prices(uris[0])
    total = 0.0
    for uri in uris:
        entries = list(stored_entries(uri))
        found = costs_of(
            (
                StoredObject(place=place, storage_class=entry.storage_class, size_bytes=entry.size_bytes)
                for place, entry in entries
                if entry.is_object
            ),
            prices,
        )
        click.echo(uri if found else f"{uri}: no objects")
        for cost in found:
            total += cost.dollars_a_month or 0
            dollars = "no price" if cost.dollars_a_month is None else f"${cost.dollars_a_month:,.2f}"
            click.echo(
                f"{cost.n_objects:>10,} objects {size(cost.n_bytes):>9} {dollars:>12}  "
                f"{cost.storage_class.lower():9} {cost.place}"
            )
        others = [entry for _, entry in entries if not entry.is_object and entry.kind != EMPTY_FOLDER]
        if others:
            named = listed(others, _SHOWN)
            click.echo(f"Not counted, since a bucket holds no such thing: {named}.")
    click.echo(f"A month of all: ${total:,.2f}, at prices of {prices.region}, {prices.date}.")


if __name__ == "__main__":
    sys.exit(main())
