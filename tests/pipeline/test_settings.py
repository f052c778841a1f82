import pytest

from components.shared.errors import ConfigError
from pipeline.settings import Settings, read_settings


def read(tmp_path, text):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return read_settings(path)


def test_file_overrules_only_what_it_names(tmp_path):
    settings = read(tmp_path, 'tag = "2"\n[tile]\ncpu = "4"\n')
    assert settings.tag == "2"
    assert settings.tile.cpu == "4"
    assert settings.tile.memory == Settings().tile.memory == "4G"
    assert settings.align == Settings().align


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("fan = 201", "'fan': input should be less than or equal to 200; got 201"),
        ("colour = 1", "'colour': extra inputs are not permitted"),
        ('[tile]\nmemory = "lots"', "'tile.memory'"),
        ("tile = 3", "'tile'"),
        ("fan =", "must be a readable TOML file"),
    ],
)
def test_refusals_name_the_key(tmp_path, text, part):
    with pytest.raises(ConfigError, match=r"settings\.toml") as caught:
        read(tmp_path, text)
    assert part in str(caught.value)


def test_absent_file(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_settings(tmp_path / "absent.toml")
