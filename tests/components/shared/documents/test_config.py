"""What a user may write, and the sentence for what they may not."""

from __future__ import annotations

import posixpath
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.shared.documents.config import RunConfig, check_image_pattern, parse_config
from components.shared.errors import ConfigError
from components.shared.given_file import STORED

GIVEN: dict[str, Any] = {"source": "stack", "image": "img.%05d.png", "minz": 3, "maxz": 59, "output": "out"}


def refusal(**values: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config({**GIVEN, **values})
    assert caught.value.exit_code == 78
    return str(caught.value)


def test_few_keys_are_enough() -> None:
    config = parse_config(GIVEN)
    assert (config.minz, config.maxz, config.resolution) == (3, 59, ())


def test_a_configuration_of_the_older_workflow_is_read() -> None:
    config = parse_config(
        {
            **GIVEN,
            "id": "2020-A",
            "project_id": "lab-em",
            "email": "a@b.org",
            "downsample_factor": 2,
            "resolution": 4,
            "clip-limit": 0.03,
            "rawPyramid": True,
            "skip_align": True,
        }
    )
    assert (config.id, config.project, config.email) == ("2020-A", "lab-em", "a@b.org")
    assert (config.downsample_factor, config.resolution) == (2.0, (4.0, 4.0, 4.0))
    assert (config.clip_limit, config.raw_pyramid, config.skip_align) == (0.03, True, True)


@pytest.mark.parametrize("name", ["raw_pyramid", "rawPyramid", "createRawPyramid"])
def test_every_name_of_the_raw_pyramid_is_read(name: str) -> None:
    assert parse_config({**GIVEN, name: True}).raw_pyramid is True


def test_a_key_under_two_names_is_refused() -> None:
    assert "'clip_limit' must be given once" in refusal(**{"clip-limit": 0.1, "clip_limit": 0.1})


@pytest.mark.parametrize(
    ("key", "close"),
    [("clip_limt", "clip_limit"), ("resolutions", "resolution"), ("min_z", "minz"), ("MAXZ", "")],
)
def test_an_unknown_key_is_refused_with_the_one_that_was_meant(key: str, close: str) -> None:
    sentence = refusal(**{key: 1})
    assert f"'{key}'" in sentence
    assert (f"Did you mean '{close}'?" if close else "Known keys: id, source") in sentence


@pytest.mark.parametrize("key", GIVEN)
def test_what_must_be_given_is_named(key: str) -> None:
    with pytest.raises(ConfigError, match=f"'{key}' must be given"):
        parse_config({name: value for name, value in GIVEN.items() if name != key})


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[(key, v) for key in ("clip_limit", "downsample_factor") for v in (NAN, INF, -INF, -1, "x", None)],
        *[("resolution", v) for v in (NAN, INF, 0, -1, 1e7, True, "x", None, [8, 8], [8, 0, 8], [8, NAN, 8])],
        *[("resolution", v) for v in (0.008, 8e-9, 8e-6, 8000, [8, 8, 0.008], "0.008")],
        *[("minz", v) for v in (-1, 1.5, NAN, "", "three", 10**9)],
        *[
            ("maxz", -5),
            ("maxz", 10**9),
            ("clip_limit", 1.01),
            ("downsample_factor", 65),
            ("output_level", 5),
        ],
        *[
            ("neighbours", 0),
            ("neighbours", 9),
            ("match_size", 63),
            ("jpeg_quality", 0),
            ("jpeg_quality", 101),
        ],
        *[
            ("solver", "fancy"),
            ("id", "a/b"),
            ("id", "x" * 101),
            ("id", "a\n"),
            ("source", ""),
            ("output", ""),
        ],
    ],
    ids=str,
)
def test_a_bad_value_is_refused_with_its_key(key: str, value: object) -> None:
    sentence = refusal(**{key: value})
    assert f"'{key}'" in sentence
    assert f"Change '{key}'" in sentence
    assert "\n" not in sentence


def test_an_empty_range_of_slices_is_refused() -> None:
    assert "minz must not exceed maxz; got minz 60 and maxz 59" in refusal(minz=60)


def test_one_slice_is_a_range() -> None:
    assert parse_config({**GIVEN, "minz": 59}).minz == 59


def test_resolution_is_one_number_or_three() -> None:
    assert parse_config({**GIVEN, "resolution": 5}).resolution == (5.0, 5.0, 5.0)
    assert parse_config({**GIVEN, "resolution": [4, 4, 30.5]}).resolution == (4.0, 4.0, 30.5)


def test_a_configuration_is_read_as_it_is_written() -> None:
    config = parse_config({**GIVEN, "resolution": [4, 5, 6], "clip_limit": 0})
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    assert parse_config(config.model_dump()) == config


@pytest.mark.parametrize(
    "pattern", ["img.%05d.png", "%d.tif", "a/b/%09d.png", "z=%d,x +@_-.png", "sub.dir/%d"]
)
def test_patterns_of_one_number_are_accepted(pattern: str) -> None:
    check_image_pattern(pattern)
    assert parse_config({**GIVEN, "image": pattern}).image == pattern


@pytest.mark.parametrize(
    "pattern",
    [
        *["", "img.png", "%d%d.png", "%d-%05d.png", "%s.png", "%x", "%5d.png", "%00d", "%10d", "%99999999d"],
        *["%-5d", "%+d", "% d", "%(z)d", "%%d", "%d%%", "%*d", "%d%s", "%ld", "{}%d", "%٣d", "%0²d", "é%d"],
        *["../%d.png", "a/../%d", "/%d.png", "a//%d", "./%d", "%d/", "a/.", "file://%d", "~%d", "$HOME/%d"],
        *["%d.png\n", "\n%d", "%d\0", "a\\%d", "%d;x", "%d?x", "%d#x", "*%d"],
    ],
)
def test_other_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="must"):
        check_image_pattern(pattern)
    assert "'image'" in refusal(image=pattern)


@given(
    st.text("%d05./ a\\\n~-", max_size=12)
    | st.lists(st.sampled_from(["..", ".", "/", "%d", "%05d", "a", "\n"])).map("".join),
    st.integers(0, 10**9 - 1),
)
@example("%d.png\n", 1)
def test_an_accepted_pattern_names_one_file_inside_the_source(pattern: str, z: int) -> None:
    try:
        check_image_pattern(pattern)
    except ValueError:
        return
    name = pattern % z
    assert posixpath.normpath(posixpath.join("/source", name)) == f"/source/{name}"
    assert name.isprintable()
    assert len(name) <= len(pattern) + 9
    assert name != pattern % (z + 1)


def test_further_channels_are_patterns_of_their_own() -> None:
    one = parse_config({**GIVEN, "more_channels": "esb.%05d.png"})
    assert one.more_channels == ("esb.%05d.png",)
    two = parse_config({**GIVEN, "more_channels": ["esb.%05d.png", "edx/%d.tif"]})
    assert two.model_dump(mode="json")["more_channels"] == ["esb.%05d.png", "edx/%d.tif"]
    assert "'more_channels': must be a list of name patterns" in refusal(more_channels={"esb": "%d"})
    assert "'more_channels'" in refusal(more_channels=["../%d.png"])
    assert "each channel must have its own name pattern" in refusal(more_channels=[GIVEN["image"]])
    assert "'more_channels'" in refusal(more_channels=[f"{i}/%d" for i in range(16)])


@pytest.mark.parametrize(
    "email", ["ada@lab.org", "ada@lab.org, bob@x", "Ada L <ada@lab.org>", ["a@b", "c@d"], ""]
)
def test_addresses_of_people_are_taken(email: object) -> None:
    assert parse_config({**GIVEN, "email": email}).email == (
        ", ".join(email) if email == ["a@b", "c@d"] else email
    )


@pytest.mark.parametrize(
    "email",
    ["ada", "a b@c", "ada@lab.org\nBcc: eve@evil.org", "a@b;c@d", "a@b@c", "<script>1</script>", "\x00@b"],
)
def test_what_is_no_address_of_a_person_is_refused(email: str) -> None:
    said = refusal(email=email)
    assert said.startswith("'email': must be addresses such as ada@lab.org, with commas between them; got ")
    assert said.endswith(" Change 'email' in the configuration.")
    assert said.isprintable()


@pytest.mark.parametrize("project", ["my-project", "em-2020", "lab.org:my-project", ""])
def test_ids_of_projects_are_taken(project: str) -> None:
    assert parse_config({**GIVEN, "project": project}).project == project


@pytest.mark.parametrize(
    "project", ["p", "My-Project", "my project", "1project", "project-", "p" * 31, "a/../b"]
)
def test_what_is_no_id_of_a_project_is_refused(project: str) -> None:
    assert "'project': must be the ID of a Google Cloud project" in refusal(project=project)


def test_a_document_of_an_earlier_release_is_still_read() -> None:
    stored = {**GIVEN, "email": "ada", "project": "p", "webhook": "https://ci.lab.org/hooks/em"}
    assert RunConfig.model_validate(stored, context=STORED).webhook == stored["webhook"]


@pytest.mark.parametrize(
    ("resolution", "meant"),
    [(0.008, "0.008 um are 8"), (8e-9, "8e-09 m are 8"), (8e-6, "8e-06 mm are 8"), (8000, "8000 pm are 8")],
)
def test_a_resolution_in_another_unit_is_told_in_nm(resolution: float, meant: str) -> None:
    said = refusal(resolution=resolution)
    assert said.startswith(f"'resolution': must be 0.1 to 1,000 nm along each axis ({meant}); got ")


def test_a_stored_resolution_is_read_as_an_earlier_release_took_it() -> None:
    stored = RunConfig.model_validate({**GIVEN, "resolution": [5000, 5000, 5000]}, context=STORED)
    assert stored.resolution == (5000, 5000, 5000)


def test_a_refused_value_is_shown_up_to_a_length() -> None:
    whole, long = "x" * 98, "x" * 99  # with two quotes
    given = {"source": "a", "image": "%d.png", "maxz": 3, "output": "b"}
    with pytest.raises(ConfigError, match=f"got '{whole}'. Change"):
        parse_config({**given, "minz": whole})
    with pytest.raises(ConfigError, match=f"got '{long}[.][.][.]. Change"):
        parse_config({**given, "minz": long})
