"""Write a colour for each chunk."""

import click

from components.shared.command import StepCommand
from components.shared.documents.plan import plan_in
from components.shared.storage.registry import open_store
from components.shared.work.records import Record, commit, input_hash, write_output


@click.command(cls=StepCommand)
@click.option("--process-uri", required=True, help="Where the records of the run lie.")
@click.option("--chunk", required=True, help="Range of slices, such as 0-15.")
def main(process_uri: str, chunk: str) -> None:
    """Write a colour for each chunk."""
    process = open_store(process_uri)
    colour = plan_in(process).config.colour.encode()
    output = write_output(process, f"polish/{chunk}.txt", colour)
    commit(process, Record(step="polish", unit=chunk, input_hash=input_hash(colour), outputs=(output,)))


if __name__ == "__main__":
    main()
