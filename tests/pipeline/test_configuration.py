"""Configuration files and flags, as users write them."""

import json
from pathlib import Path

import pytest

from components.shared.errors import ConfigError
from pipeline.configuration import read_config

FLAGS = {"source": "/in", "image": "img.%05d.png", "minz": 0, "maxz": 5, "output": "/out"}


def config_of(tmp_path, text, flags=None, settings=()):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return read_config(path, flags or {}, settings)


OLDER = """
id: fib1
image: 'img.%05d.png'
minz: 3
maxz: 9
source: /raw
output: /out
project_id: em-lab
clip-limit: 0.01
createRawPyramid: true
resolution: 4
"""


def test_keys_of_the_older_workflow(tmp_path: Path) -> None:
    config = config_of(tmp_path, OLDER)
    assert (config.clip_limit, config.raw_pyramid, config.project) == (0.01, True, "em-lab")
    assert config.resolution == (4.0, 4.0, 4.0)


OLDER_JSON = """\ufeff{
\t"id": "slice2",
\t"image": "iso.%05d.png",
\t"minz": "3493",
\t"maxz": 3494,
\t"source": "em",
\t"project": "lab-em",
\t"mail": ["a@b.org", "c@d.org"],
\t"downsample_factor": "4",
\t"clip-limit": "0.01",
\t"skip_align": "true",
\t"resolution": "4",
\t"rawPyramid": false
}
"""


def test_json_with_tabs_and_texts_for_numbers(tmp_path: Path) -> None:
    config = config_of(tmp_path, OLDER_JSON)
    assert (config.source, config.output) == ("gs://em", "gs://em_*_slice2")
    assert (config.minz, config.maxz, config.resolution) == (3493, 3494, (4.0, 4.0, 4.0))
    assert (config.downsample_factor, config.clip_limit) == (4.0, 0.01)
    assert (config.skip_align, config.raw_pyramid) == (True, False)
    assert config.email == "a@b.org, c@d.org"


def test_flags_win_over_set_and_set_over_the_file(tmp_path: Path) -> None:
    config = config_of(tmp_path, OLDER, {"minz": 5}, ["minz=4", "clip_limit=0.5", "rawPyramid=false"])
    assert (config.minz, config.clip_limit, config.raw_pyramid) == (5, 0.5, False)


def test_json_is_read_too(tmp_path: Path) -> None:
    assert config_of(tmp_path, json.dumps(FLAGS)).maxz == 5


def test_set_values_are_yaml_but_text_stays_text() -> None:
    config = read_config(None, FLAGS, ["resolution=[4, 4, 40]", "id=001", "skip_align=true"])
    assert config.resolution == (4.0, 4.0, 40.0)
    assert config.id == "001"
    assert config.skip_align is True


def test_relative_folders_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = read_config(None, FLAGS | {"source": "in", "output": "gs://b/o"}, [])
    assert config.source == str(tmp_path / "in")
    assert config.output == "gs://b/o"


@pytest.mark.parametrize("key", ["source", "output"])
def test_a_relative_folder_is_judged_by_the_path_that_it_becomes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    (tmp_path / "a\\b").mkdir()
    monkeypatch.chdir(tmp_path / "a\\b")
    with pytest.raises(ConfigError, match=f"'{key}': must be a path with no backslash"):
        read_config(None, {**FLAGS, "source": "/in", "output": "/out", key: "here"}, [])


def test_one_folder_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slices").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for source in ("../slices", "./../slices/", f"{tmp_path}/here/../slices", str(tmp_path / "slices")):
        assert read_config(None, FLAGS | {"source": source}, []).source == str(tmp_path / "slices"), source


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("image: %05d.png\n", "must be YAML: found character '%' that cannot start any token in line 1"),
        ("- a\n- b\n", "must be 'key: value' lines"),
        ("", "must be 'key: value' lines"),
        ("minz: 1\nminz: 2\n", "'minz' is given twice"),
        (OLDER + "clip_limit: 0.1\n", "'clip_limit' must be given once"),
        (OLDER + "clip_limt: 0.1\n", "Did you mean 'clip_limit'?"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(tmp_path, text)
    assert part in str(caught.value)


@pytest.mark.parametrize("setting", ["clip_limit", "=3", "clip_limit=[", "jpeg_quality=200"])
def test_bad_settings(setting: str) -> None:
    with pytest.raises(ConfigError):
        read_config(None, FLAGS, [setting])


def test_the_same_key_set_twice() -> None:
    with pytest.raises(ConfigError, match="must be set once"):
        read_config(None, FLAGS, ["clip_limit=0.1", "clip-limit=0.2"])


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_config(tmp_path / "absent.yaml", {}, [])


PLACES = {"source": "/in", "image": "img.%05d.png", "output": "/out"}


def test_numbers_as_the_file_names_have_them(tmp_path: Path) -> None:
    config = config_of(tmp_path, "minz: 00000\nmaxz: 00015\nid: 007\n", PLACES)
    assert (config.minz, config.maxz, config.id) == (0, 15, "007")
    config = read_config(None, PLACES | {"minz": "00012"}, ["maxz=00015", "resolution=08", "id=2024-02-31"])
    assert (config.minz, config.maxz, config.resolution) == (12, 15, (8.0, 8.0, 8.0))
    assert config.id == "2024-02-31"


def test_a_date_is_a_name_where_a_name_is_asked(tmp_path: Path) -> None:
    assert config_of(tmp_path, "id: 2024-02-21\nminz: 0\nmaxz: 1\n", PLACES).id == "2024-02-21"


@pytest.mark.parametrize("word", ["yes", "on", "Yes", "true", "TRUE", "1"])
def test_words_for_yes_are_booleans_where_a_boolean_is_asked(tmp_path: Path, word: str) -> None:
    assert config_of(tmp_path, f"skip_align: {word}\n", FLAGS).skip_align is True


@pytest.mark.parametrize("word", ["no", "off", "No", "false", "0"])
def test_words_for_no_are_booleans_where_a_boolean_is_asked(tmp_path: Path, word: str) -> None:
    assert config_of(tmp_path, f"skip_align: {word}\n", FLAGS).skip_align is False


@pytest.mark.parametrize(
    "setting",
    [
        "neighbours=true",
        "neighbours=yes",
        "neighbours=1.5",
        "neighbours=1:02",
        "neighbours=0b11",
        "clip_limit=true",
        "clip_limit=.nan",
        "resolution=true",
        "resolution=[8, 8, true]",
        "neighbours=0_3",
        "resolution=1_0",
        "resolution=[8, 8, 1_0]",
        "clip_limit=0.0_1",
        "crop=[true, 0, 10, 10]",
        "crop=[0.5, 0, 10, 10]",
        "downsample_factor=false",
        "neighbours=!!int abc",
        "neighbours=" + "1" * 5000,
        "crop=" + "[" * 3000,
        "crop=[1, 2",
        "clip_limit={a: 1, a: 1}",
    ],
)
def test_what_is_no_number_is_refused_in_one_sentence(setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(None, FLAGS, [setting])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("flag", ["1.5", "true", "yes", "1:30", "0o17", "9" * 5000, "", "[1]"])
def test_flags_of_numbers_are_whole_numbers(flag: str) -> None:
    with pytest.raises(ConfigError):
        read_config(None, FLAGS | {"minz": flag}, [])


@pytest.mark.parametrize("place", ["~no-such-user/in", "../a\0b", "a\0b"])
def test_a_path_that_no_folder_has_is_refused(place: str) -> None:
    for key in ("source", "output", "overrides"):
        with pytest.raises(ConfigError):
            read_config(None, FLAGS | {key: place}, [])


@pytest.mark.parametrize(
    ("key", "value"), [("email", "(" * 3000), ("k" * 100_000, 1), ("a\nb", 1), ("crop", {"a": 1})]
)
def test_what_nobody_means_is_refused_in_one_sentence(key: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(None, FLAGS | {key: value}, [])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
