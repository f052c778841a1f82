"""The buckets of a run, as the commands that start one ask for them."""

from __future__ import annotations

import pytest

from commands import buckets
from commands.buckets import clear_away, make_buckets
from components.shared.documents.config import RunConfig, parse_config
from components.shared.errors import UserError

GIVEN = {"source": "gs://em", "image": "%d.png", "minz": 0, "maxz": 1, "id": "a", "project": "my-project"}


def test_new_buckets_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(buckets, "create_buckets", lambda _: ["em_ng_a", "em_tmp_a"])
    make_buckets(parse_config(GIVEN))
    assert capsys.readouterr().err == "Made the bucket gs://em_ng_a\nMade the bucket gs://em_tmp_a\n"


@pytest.mark.parametrize(
    "changes", [{"output": "gs://em/out"}, {"output": "out"}, {"keep_tiles": True}], ids=str
)
def test_other_buckets_are_nobodys_business(
    changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[RunConfig] = []
    monkeypatch.setattr(buckets, "remove_temporary_bucket", removed.append)
    clear_away(parse_config({**GIVEN, **changes}))
    assert removed == []
    if "output" in changes:
        monkeypatch.setattr(buckets, "create_buckets", lambda _: pytest.fail("asked for"))
        make_buckets(parse_config({**GIVEN, **changes}))


def test_a_bucket_that_cannot_be_removed_spoils_no_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: RunConfig) -> None:
        raise UserError("cannot remove gs://em_tmp_a: permission denied. Grant it.")

    monkeypatch.setattr(buckets, "remove_temporary_bucket", refuse)
    clear_away(parse_config(GIVEN))
    assert capsys.readouterr().err == "warning: cannot remove gs://em_tmp_a: permission denied. Grant it.\n"
