import tomllib
from pathlib import Path

import pytest

from components.shared.errors import ConfigError
from pipeline.settings import Settings, StepSettings, is_on_volume, read_settings

EXAMPLE = Path(__file__).parents[2] / "docs/settings.toml"


def read(tmp_path, text):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return read_settings(path)


def test_file_overrules_only_what_it_names(tmp_path: Path) -> None:
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
        ('[tile]\nmemory = "1.5Gi"', "'tile.memory'"),
        ("tile = 3", "'tile'"),
        ("fan =", "must be a readable TOML file"),
    ],
)
def test_refusals_name_the_key(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(ConfigError, match=r"settings\.toml") as caught:
        read(tmp_path, text)
    assert part in str(caught.value)


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_settings(tmp_path / "absent.toml")


def test_example_is_read_and_shows_every_setting() -> None:
    settings = read_settings(EXAMPLE)
    assert settings.image("plan").startswith("europe-docker.pkg.dev/my-project/fibstack/plan:0.1.0@sha256:")
    assert settings.tile.most_memory == "8G"
    shown = tomllib.loads(EXAMPLE.read_text())
    steps = {name for name, field in Settings.model_fields.items() if field.annotation is StepSettings}
    assert shown.keys() == (Settings.model_fields.keys() - steps) | {"tile"}
    assert shown["tile"].keys() == StepSettings.model_fields.keys()


def test_limits_are_what_is_asked_for_unless_named() -> None:
    assert StepSettings(cpu="2", memory="6G").most_cpu == "2"
    assert StepSettings(cpu="2", memory="6G").most_memory == "6G"
    assert StepSettings(cpu="2", cpu_limit="4").most_cpu == "4"


def test_text_of_the_environment_may_hold_braces(tmp_path: Path) -> None:
    text = """environment = { A = '{"a": {"b": 1}}', B = "{", C = "" }"""
    assert read(tmp_path, text).environment == {"A": '{"a": {"b": 1}}', "B": "{", "C": ""}


def test_a_volume_tells_what_pods_see(tmp_path: Path) -> None:
    settings = read(tmp_path, 'volume = { claim = "em", path = "/data/em" }')
    assert settings.mounts == ("/data/em",)
    assert is_on_volume("/data/em/raw", settings.mounts)
    assert not is_on_volume("/data/embase", settings.mounts)
    assert not is_on_volume("/data/em/raw", Settings().mounts)


def test_spot_is_a_label_of_the_node() -> None:
    assert StepSettings(spot=True, node_selector={"a": "b"}).nodes == {
        "a": "b",
        "cloud.google.com/gke-spot": "true",
    }


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[digests]\ntile = "latest"', "'digests.tile'"),
        ('[digests]\nwarp = "sha256:' + "0" * 64 + '"', "'digests.warp"),
        ('[tile.labels]\nteam = "e m"', "'tile.labels.team'"),
        ("[tile]\ntimeout_s = 0", "'tile.timeout_s'"),
        ('service_account = "Fib_Stack"', "'service_account'"),
        ('[tile]\ncpu_limit = "lots"', "'tile.cpu_limit'"),
        ('[tile]\ncpu = "2"\ncpu_limit = "1500m"', "'tile.cpu_limit'"),
        (
            '[tile]\nmemory_limit = "3G"',
            "'tile.memory_limit': value error, must be at least what a task asks",
        ),
        ('[tile]\nmemory = "4000000K"', "'tile.memory'"),
        ('volume = { claim = "a b", path = "/data" }', "'volume.claim'"),
        ('volume = { claim = "a", path = "data" }', "'volume.path'"),
        ('volume = { claim = "a", path = "/data/" }', "'volume.path'"),
        ('volume = { claim = "a", path = "/data/../etc" }', "'volume.path'"),
        ('volume = { claim = "a", path = "/tmp/data" }', "'volume.path'"),
        ('volume = { claim = "a", path = "/var" }', "'volume.path'"),
        ('volume = { claim = "a", path = "/s3/raw" }', "'volume.path'"),
        ('volume = { path = "/data" }', "'volume.claim'"),
        ('environment = { "a b" = "c" }', "'environment.a b"),
        ('environment = { A = "{{workflow.name}}" }', "'environment.A'"),
        ("environment = { A = 1 }", "'environment.A'"),
        ('secrets = { Sec_ret = { A = "a" } }', "'secrets.Sec_ret"),
        ('secrets = { a = { A = "a b" } }', "'secrets.a.A'"),
        ('queue = "a b"', "'queue'"),
        ('[tile]\ntolerations = [{ key = "a", effect = "Never" }]', "'tile.tolerations.0.effect'"),
        ("[tile]\npending_timeout_s = -1", "'tile.pending_timeout_s'"),
    ],
)
def test_refuses_what_a_cluster_would_refuse(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert key in str(caught.value)


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
def test_a_login_is_no_part_of_the_pipeline(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"'environment' must hold nothing secret, .*; got {name} in"
    ) as caught:
        read(tmp_path, f'environment = {{ {name} = "of-nobody-else" }}')
    assert "of-nobody-else" not in str(caught.value)
    assert read(tmp_path, f'secrets = {{ s3 = {{ {name} = "key" }} }}').secrets == {"s3": {name: "key"}}
