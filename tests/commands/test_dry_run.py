"""The list of `--dry-run`: a line for each object, with what would become of it."""

from commands.dry_run import Changes


def test_each_object_has_a_line_with_what_would_become_of_it() -> None:
    changes = Changes.of(["/out/b", "/out/a"], ["/out/tile"], there=["/out/b", "/out/c"])
    assert changes.lines() == [
        "write   /out/a",
        "replace /out/b",
        "remove  /out/tile",
        "2 objects would be written, 1 of them over what is there, and 1 removed. Nothing was changed.",
    ]


def test_what_is_written_for_a_time_is_written_and_removed() -> None:
    assert Changes.of(["/tile"], ["/tile"], there=[]).lines()[:2] == ["write   /tile", "remove  /tile"]


def test_a_folder_whose_objects_nobody_can_name_yet_is_told() -> None:
    first, last = Changes(folders=("/out/chunk",)).lines()
    assert first == "write   /out/chunk/..."
    assert "more in each folder that ends in '...'" in last
