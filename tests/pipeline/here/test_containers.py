"""What a container may see and do, and what is said where none can run; `docker` is a script here."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.shared.documents.config import RunConfig
from components.shared.errors import ConfigError
from pipeline.compiled.ir import Container
from pipeline.here.containers import IMAGE_USER, Containers, Sandbox, sandbox_for
from pipeline.settings import read_settings

ROOT = Path(__file__).parents[3]
ANSWERS = 'case "$1" in info) echo 4;; *) exit 0;; esac'


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Call it with the shell script that `docker` shall be; returns the file that gets its calls."""

    def install(script: str) -> Path:
        folder, calls = tmp_path / "bin", tmp_path / "calls"
        folder.mkdir()
        (folder / "docker").write_text(f'#!/bin/sh\necho "$*" >> {calls}\n{script}\n')
        (folder / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        return calls

    return install


def config(tmp_path: Path, **changes: object) -> RunConfig:
    (tmp_path / "slices").mkdir(exist_ok=True)
    values = {"source": str(tmp_path / "slices"), "output": str(tmp_path / "out"), "image": "img.%05d.png"}
    return RunConfig.model_validate({**values, "minz": 0, "maxz": 1, **changes})


@pytest.fixture(autouse=True)
def _any_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        monkeypatch.delenv(name, raising=False)


def test_containers_use_the_kernels_that_processes_use(
    docker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker(ANSWERS)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    sandbox = sandbox_for(config(tmp_path), [])
    assert sandbox.environment == {"OPENBLAS_CORETYPE": "Haswell"}
    command = Containers(sandbox).command(Container({}, {}, "fibstack/align:1", ()), [], tmp_path)
    assert command[command.index("--env") + 1] == "OPENBLAS_CORETYPE=Haswell"


def test_folders_are_mounted_and_there_is_no_network(docker: Any, tmp_path: Path) -> None:
    docker(ANSWERS)
    sandbox = sandbox_for(config(tmp_path), ["fibstack/plan:1"])
    assert sandbox.mounts == {tmp_path / "slices": False, tmp_path / "out": True}
    assert sandbox.network == "none"
    assert sandbox.environment == {}
    assert sandbox.n_cores == 4
    assert sandbox.user == (IMAGE_USER if os.getuid() == 0 else (os.getuid(), os.getgid()))


def test_root_works_as_the_owner_of_an_output_folder(docker: Any, tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    docker(ANSWERS)
    (tmp_path / "out").mkdir()
    os.chown(tmp_path / "out", 1234, 1235)
    assert sandbox_for(config(tmp_path), []).user == (1234, 1235)


def test_slices_and_output_in_the_same_folder_are_one_writable_mount(docker: Any, tmp_path: Path) -> None:
    docker(ANSWERS)
    same = config(tmp_path, output=str(tmp_path / "slices"))
    assert sandbox_for(same, []).mounts == {tmp_path / "slices": True}


def test_buckets_need_the_network_and_the_callers_credentials(
    docker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker(ANSWERS)
    key = tmp_path / "key.json"
    key.touch()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:4443")
    sandbox = sandbox_for(config(tmp_path, output="gs://em/out"), [])
    assert sandbox.network == "host"
    assert sandbox.mounts == {tmp_path / "slices": False, key: False}
    assert sandbox.environment == {
        "GOOGLE_APPLICATION_CREDENTIALS": str(key),
        "STORAGE_EMULATOR_HOST": "http://127.0.0.1:4443",
    }


def test_a_bucket_of_s3_needs_the_files_and_variables_of_aws(
    docker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values of variables stand in no command line, since every user of a machine sees those."""
    docker(ANSWERS)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-nobody-else")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    authority = tmp_path / "lab.pem"
    authority.touch()
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))
    file = tmp_path / ".aws/credentials"
    file.parent.mkdir()
    file.touch()
    sandbox = sandbox_for(config(tmp_path, source="s3://em/raw"), [])
    assert sandbox.network == "host"
    assert sandbox.mounts == {tmp_path / "out": True, file: False, authority: False}
    assert sandbox.environment == {
        "AWS_SHARED_CREDENTIALS_FILE": str(file),
        "AWS_CA_BUNDLE": str(authority),
    }
    assert "AWS_SECRET_ACCESS_KEY" in sandbox.secrets
    task = Container({}, {}, "fibstack/plan:1", ())
    command = Containers(sandbox).command(task, ["plan"], tmp_path)
    assert "of-nobody-else" not in " ".join(command)
    assert command[command.index("AWS_SECRET_ACCESS_KEY") - 1] == "--env"


def test_source_that_does_not_exist_is_left_to_the_plan_step(docker: Any, tmp_path: Path) -> None:
    docker(ANSWERS)
    assert sandbox_for(config(tmp_path, source=str(tmp_path / "none")), []).mounts == {tmp_path / "out": True}


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo Cannot connect to the daemon >&2; exit 1", "no Docker engine answers: Cannot connect to the"),
        ("echo 0", "no Docker engine answers: it said nothing."),
        ("[ $1 = info ] && echo 2", "the image fibstack/plan:1 must be on this machine. Run: make images"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(
    docker: Any, tmp_path: Path, script: str, message: str
) -> None:
    docker(script)
    with pytest.raises(ConfigError, match=message):
        sandbox_for(config(tmp_path), ["fibstack/plan:1"])
    assert not (tmp_path / "out").exists()


def test_no_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="needs the program 'docker'"):
        sandbox_for(config(tmp_path), [])


def test_output_that_cannot_be_made(docker: Any, tmp_path: Path) -> None:
    docker(ANSWERS)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot make the folder"):
        sandbox_for(config(tmp_path, output=str(tmp_path / "file/out")), [])


def containers(tmp_path: Path) -> Containers:
    (tmp_path / "outputs").mkdir()
    user = (os.getuid(), os.getgid())
    return Containers(Sandbox(user=user, mounts={Path("/data/em"): False}, network="none", n_cores=2))


def test_container_gets_its_own_argv_and_limits(tmp_path: Path) -> None:
    image = Container({}, {}, "fibstack/tile:1", (), cpu_limit="8", memory_limit="1.5Gi")
    command = containers(tmp_path).command(image, ["python", "-m", "x", "--slabs", "0-1"], tmp_path)
    assert command[-6:] == ["fibstack/tile:1", "python", "-m", "x", "--slabs", "0-1"]
    assert command[command.index("--cpus") + 1] == "2"
    assert command[command.index("--memory") + 1] == str(3 * 2**29)
    mounts = [command[i + 1] for i, word in enumerate(command) if word == "--mount"]
    assert mounts[0] == "type=bind,source=/data/em,target=/data/em,readonly"
    assert mounts[1] == f"type=bind,source={tmp_path}/outputs,target={tmp_path}/outputs"


def test_container_out_of_memory_counts_as_killed(docker: Any, tmp_path: Path) -> None:
    docker("exit 137")
    ended = containers(tmp_path).run(["docker", "run"], tmp_path, tmp_path / "log.txt")
    assert (ended.exit_code, ended.peak_bytes) == (-signal.SIGKILL, 0)


def test_container_whose_client_was_killed_is_removed(docker: Any, tmp_path: Path) -> None:
    calls = docker('if [ "$1" = run ]; then kill -9 $$; fi')
    image = Container({}, {}, "fibstack/tile:1", ())
    task = containers(tmp_path)
    command = task.command(image, ["python"], tmp_path)
    assert task.run(command, tmp_path, tmp_path / "log.txt").exit_code == -signal.SIGKILL
    assert calls.read_text().splitlines()[-1] == f"rm --force {command[command.index('--name') + 1]}"


def test_run_answers_a_missing_engine(docker: Any, tmp_path: Path) -> None:
    docker("echo is the docker daemon running >&2; exit 1")
    (tmp_path / "slices").mkdir()
    command = [Path(sys.executable).with_name("fibstack"), "run", "--runner", "docker", "--image", "%d.png"]
    command += ["--source", tmp_path / "slices", "--output", tmp_path / "out", "--minz", "0", "--maxz", "1"]
    # A shell that does not find `fibstack` is told besides how it is called there.
    finds_it = {"PATH": os.pathsep.join([os.environ["PATH"], str(Path(sys.executable).parent)])}
    done = subprocess.run(command, env=os.environ | finds_it, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert done.stderr.splitlines() == [
        "error: no Docker engine answers: is the docker daemon running. Start it, or leave --runner out."
    ]


def test_push_writes_settings_that_pin_the_digests(docker: Any, tmp_path: Path) -> None:
    """`make push` in a copy of the project; other registries that hold the image are left out."""
    digest = "sha256:" + "0123456789abcdef" * 4
    calls = docker(
        'if [ "$1" = image ]; then name=${5%:*}; echo "elsewhere/x@sha256:1"; echo "$name@' + digest + '"; fi'
    )
    project = tmp_path / "project"
    (project / "images").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml"):
        (project / name).write_text((ROOT / name).read_text())
    make = ["make", "push", "REGISTRY=eu.pkg.dev/em/fibstack", "TAG=7"]
    own = {name: value for name, value in os.environ.items() if name != "BASE_IMAGE"}
    environment = {**own, "PYTHONPATH": str(ROOT)}  # where the list of the steps is
    done = subprocess.run(make, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    settings = read_settings(project / "images/pushed.toml")
    assert settings.image("tile") == f"eu.pkg.dev/em/fibstack/tile:7@{digest}"
    assert len(settings.digests) == 6
    called = calls.read_text().splitlines()
    assert [line.split()[0] for line in called] == ["build"] * 7 + ["push"] * 6 + ["image"] * 7
    built_on = (project / "images/pushed.toml").read_text().splitlines()[0]
    assert built_on == "# Built on python:3.11-slim-bookworm elsewhere/x@sha256:1"
    assert "--build-arg BASE=eu.pkg.dev/em/fibstack/base:7" in called[1]


def test_only_the_report_gets_the_secrets_and_by_name_alone(
    docker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker(ANSWERS)
    monkeypatch.setenv("FIBSTACK_SMTP_PASSWORD", "hush")
    assert sandbox_for(config(tmp_path), [], notifier="fibstack/report:1").notifier == ""
    sandbox = sandbox_for(config(tmp_path, email="ada@lab.org"), [], notifier="fibstack/report:1")
    tile, report = (
        Containers(sandbox).command(Container({}, {}, f"fibstack/{step}:1", ()), [], tmp_path)
        for step in ("tile", "report")
    )
    assert "hush" not in str(tile) + str(report)
    assert "FIBSTACK_SMTP_PASSWORD" not in tile
    assert report[report.index("FIBSTACK_SMTP_PASSWORD") - 1] == "--env"
    assert [words[words.index("--network") + 1] for words in (tile, report)] == ["none", "host"]
