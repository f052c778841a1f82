"""Where the parts of an output lie, and which run names its own buckets."""

from __future__ import annotations

import pytest

from components.shared.documents.config import RunConfig, parse_config
from components.shared.documents.locations import locations_of
from components.shared.errors import ConfigError
from components.shared.storage.run_buckets import part_uri, run_buckets_of, run_buckets_output

GIVEN = {"image": "%d.png", "minz": 0, "maxz": 1}


def test_a_run_names_its_buckets_after_the_source_and_itself() -> None:
    config = parse_config({**GIVEN, "source": "gs://em-raw/2024/a", "id": "cell_7", "project": "my-project"})
    assert config.output == "gs://em-raw_*_cell_7"
    locations = locations_of(config)
    assert locations.model_dump() == {
        "source_uri": "gs://em-raw/2024/a",
        "neuroglancer_uri": "gs://em-raw_ng_cell_7",
        "chunk_uri": "gs://em-raw_chunk_cell_7",
        "ome_zarr_uri": "gs://em-raw_ng_cell_7/ome-zarr",
        "process_uri": "gs://em-raw_process/cell_7",
        "tmp_uri": "gs://em-raw_tmp_cell_7",
    }


def test_two_runs_on_a_source_share_nothing_but_the_bucket_of_records() -> None:
    parts = ("neuroglancer", "chunk", "ome-zarr", "process", "tmp")
    first, second = ({part_uri(f"gs://em_*_{run}", part) for part in parts} for run in ("a", "b"))
    assert not first & second


def test_the_bare_name_of_a_bucket_is_one_where_no_output_is_given() -> None:
    config = parse_config({**GIVEN, "source": "em-raw", "id": "a", "project_id": "my-project", "output": ""})
    assert (config.source, config.output) == ("gs://em-raw", "gs://em-raw_*_a")


def test_an_output_that_is_given_stays() -> None:
    config = parse_config(
        {**GIVEN, "source": "gs://em", "id": "a", "project": "my-project", "output": "gs://b/o"}
    )
    assert config.output == "gs://b/o"
    assert locations_of(config).process_uri == "gs://b/o/process"


@pytest.mark.parametrize(
    "values",
    [
        {"source": "gs://em", "id": "a"},
        {"source": "gs://em", "project": "my-project"},
        {"source": "/data/em", "id": "a", "project": "my-project"},
        {"source": "./em", "id": "a", "project": "my-project"},
    ],
    ids=str,
)
def test_an_output_must_be_given_where_none_can_be_named(values: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="'output' must be given"):
        parse_config({**GIVEN, **values})


@pytest.mark.parametrize(
    ("run_id", "rule"),
    [("Cell", "lower-case"), ("a.b", "lower-case"), ("-a", "lower-case"), ("a" * 60, "63 characters")],
)
def test_an_id_that_names_no_bucket_is_refused(run_id: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=rf"'id' must.*{rule}.*output"):
        parse_config({**GIVEN, "source": "gs://em", "id": run_id, "project": "my-project"})


def test_a_run_on_s3_names_its_buckets_with_dashes_and_needs_no_project() -> None:
    config = parse_config({**GIVEN, "source": "s3://em-raw/2024/a", "id": "cell-7"})
    assert config.output == "s3://em-raw-*-cell-7"
    locations = locations_of(config)
    assert locations.model_dump() == {
        "source_uri": "s3://em-raw/2024/a",
        "neuroglancer_uri": "s3://em-raw-ng-cell-7",
        "chunk_uri": "s3://em-raw-chunk-cell-7",
        "ome_zarr_uri": "s3://em-raw-ng-cell-7/ome-zarr",
        "process_uri": "s3://em-raw-process/cell-7",
        "tmp_uri": "s3://em-raw-tmp-cell-7",
    }
    assert run_buckets_of(config.output) == ("em-raw", "cell-7")
    assert run_buckets_of("s3://em_*_a") is None
    with pytest.raises(ConfigError, match=r"'id' must be lower-case letters, digits and '-' where"):
        parse_config({**GIVEN, "source": "s3://em-raw", "id": "cell_7"})


@pytest.mark.parametrize("bucket", ["em", "a_b", "a_b_c", "em.example.org"])
@pytest.mark.parametrize("run_id", ["a", "a_b", "2024-01"])
def test_an_output_tells_what_it_was_named_after(bucket: str, run_id: str) -> None:
    output = run_buckets_output(f"gs://{bucket}/folder", run_id)
    assert output is not None
    assert run_buckets_of(output) == (bucket, run_id)
    RunConfig(source=f"gs://{bucket}", output=output, **GIVEN)  # type: ignore[arg-type]


def test_other_outputs_name_no_buckets() -> None:
    for output in ("gs://em/out", "gs://em_ng_a", "/data/a_*_b", "gs://em_*_a/process", "out"):
        assert run_buckets_of(output) is None
    assert part_uri("/data/out/", "ome-zarr") == "/data/out/ome-zarr"
