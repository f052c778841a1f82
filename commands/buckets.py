"""The buckets of a run: made before it starts, as the user who starts it, and cleared away after it."""

from __future__ import annotations

import click

from components.shared.documents.config import RunConfig
from components.shared.errors import FibstackError
from components.shared.storage.run_buckets import run_buckets_of


def make_buckets(config: RunConfig) -> None:
    """Make the buckets that an output names and that are not there; an output below one URI names none."""
    if run_buckets_of(config.output):
        from commands.bucket_admin import create_buckets

        for name in create_buckets(config):
            click.echo(f"Made the bucket gs://{name}", err=True)


def clear_away(config: RunConfig) -> None:
    """Remove the temporary bucket of a run that has ended well, unless its tiles are to be kept."""
    if run_buckets_of(config.output) and not config.keep_tiles:
        from commands.bucket_admin import remove_temporary_bucket

        try:
            remove_temporary_bucket(config)
        except FibstackError as error:  # the volume is complete all the same, and what is left expires
            click.echo(f"warning: {error}", err=True)
