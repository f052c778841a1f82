"""The whole pipeline in the step images, as locked down as on a cluster, against the run in processes."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.steps import STEPS
from components.shared.storage.registry import open_store
from pipeline.settings import Settings
from tests.e2e.stack import FIBSTACK, Stack, fibstack
from tests.real_slices import real_stack

ROOT = Path(__file__).parents[2]
SETTINGS = Settings(tag="test")
OPTIONS = ("--set", "raw_pyramid=true", "--set", "ome_zarr=true", "--set", "keep_tiles=true", "--jobs", 2)


def docker(*args: str) -> str:
    done = subprocess.run(["docker", *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def engine_missing() -> str:
    if shutil.which("docker") is None:
        return "there is no docker"
    asked = subprocess.run(["docker", "info"], capture_output=True, check=False)
    return "" if asked.returncode == 0 else "no Docker engine answers 'docker info'"


@pytest.fixture(scope="module")
def images() -> list[str]:
    """The images of all steps; what `make images` needs here, such as BASE_IMAGE, is in the environment."""
    if reason := engine_missing():
        pytest.skip(reason)
    done = subprocess.run(
        ["make", "images", "TAG=test", "SOURCE_URL=https://git.lab.org/em/fibstack"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [SETTINGS.image(step) for step in STEPS]


@pytest.fixture
def settings(images, tmp_path: Path) -> tuple[str, Path]:
    file = tmp_path / "settings.toml"
    file.write_text('tag = "test"\n')
    return ("--settings", file)


def contents(output: Path) -> dict[str, str]:
    """The digest of every file of a run but the two that say how the run went."""
    files = [path for path in sorted(output.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in ("run.json", "index.html")
    }


def compare_runners(stack: Stack, settings: tuple[str, Path], logs: Path, *options: object) -> int:
    """Run in processes and in containers, with the same output folder since records name it."""
    kept = stack.output.with_name(f"{stack.output.name}-in-processes")
    stack.run(*OPTIONS, *options, "--log-dir", logs, *settings)
    stack.output.rename(kept)
    stack.run(*OPTIONS, *options, "--log-dir", logs, "--runner", "docker", *settings)
    assert contents(stack.output) == contents(kept)
    return len(contents(kept))


@pytest.fixture(scope="module")
def few_slices(run_folder: Path) -> Path:
    source = run_folder / "few"
    fibstack("sample", source, "--size", "203x170", "--slices", 10, "--first", 8, "--seed", 5)
    return source


def test_sample_has_the_same_bytes_in_containers(
    few_slices, settings, run_folder: Path, tmp_path: Path, figure: Callable[..., None]
) -> None:
    stack = Stack(few_slices, run_folder / "containers", 8, 17)
    n_files = compare_runners(stack, settings, tmp_path / "logs")
    figure(f"sample in containers: {n_files} files equal")
    owners = {path.stat().st_uid for path in stack.output.rglob("*")}
    assert owners == {os.getuid() or 10001}
    for argv_file in (tmp_path / "logs").rglob("argv.json"):
        argv = json.loads(argv_file.read_text())
        if argv[0] == "docker":
            locked = " ".join(argv)
            step = argv_file.relative_to(tmp_path / "logs").parts[1]
            assert "--read-only" in locked
            assert "--cap-drop ALL --security-opt no-new-privileges" in locked
            assert "--network none" in locked
            assert (
                f"--memory {SETTINGS.step(step.partition('-')[0]).memory.removesuffix('G')}000000000"
                in locked
            )


def test_real_slices_have_the_same_bytes_in_containers(
    settings, run_folder: Path, tmp_path: Path, figure: Callable[..., None]
) -> None:
    stack = Stack(real_stack("fibsem_medulla"), run_folder / "containers-medulla", 20, 23)
    n_files = compare_runners(stack, settings, tmp_path / "logs", "--set", "resolution=10")
    figure(f"real slices in containers: {n_files} files equal")


def test_bucket_as_output(few_slices, settings, bucket: str, tmp_path: Path) -> None:
    output = f"gs://{bucket}/run"
    done = fibstack(
        *("run", "--source", few_slices, "--image", "img.%05d.png", "--minz", 8, "--maxz", 11),
        *("--output", output, "--runner", "docker", "--log-dir", tmp_path / "logs", *settings),
    )
    assert "The volume is complete" in done.stdout
    assert open_store(output).read("neuroglancer/jpeg/info")


def test_images_hold_only_their_step(images) -> None:
    for image, step in zip(images, STEPS, strict=True):
        config = json.loads(docker("image", "inspect", image))[0]["Config"]
        assert config["User"].split(":")[0].isdigit()
        assert config["User"].split(":")[0] != "0"
        assert not config["Entrypoint"]
        labels = config["Labels"]
        assert labels["org.opencontainers.image.title"] == f"fibstack {step}"
        assert labels["org.opencontainers.image.source"] == "https://git.lab.org/em/fibstack"
        for name in ("description", "version", "licenses", "revision"):
            assert labels[f"org.opencontainers.image.{name}"]
        program = (
            "import json, importlib.util as u, pathlib; "
            "print(json.dumps([sorted(p.name for p in pathlib.Path('/app/components').glob('[!_]*')), "
            "[n for n in ('kfp', 'pipeline', 'cv2', 'scipy', 'matplotlib') if u.find_spec(n)]]))"
        )
        folders, libraries = json.loads(
            docker("run", "--rm", "--network", "none", "--read-only", image, "python", "-c", program)
        )
        assert folders == sorted(["shared", step])
        assert not {"kfp", "pipeline"} & {*libraries}
        assert ("cv2" in libraries) == (step != "pyramid")
        assert ("scipy" in libraries) == (step in ("compose", "report"))
        assert ("matplotlib" in libraries) == (step == "report")


def test_task_that_needs_more_memory_than_its_limit_says_so(
    few_slices, images, run_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "small.toml"
    file.write_text('tag = "test"\n[plan]\nmemory = "20M"\nretries = 0\n')
    stack = Stack(few_slices, run_folder / "no-memory", 8, 17)
    done = stack.run("--runner", "docker", "--settings", file, "--log-dir", tmp_path / "logs", check=False)
    assert done.returncode == 1
    assert "This is often for want of memory; raise the step's memory in --settings" in done.stderr


def test_interrupt_ends_the_containers(few_slices, settings, run_folder: Path, tmp_path: Path) -> None:
    output = run_folder / "stopped"
    running = subprocess.Popen(
        [
            *(
                FIBSTACK,
                "run",
                "--source",
                few_slices,
                "--image",
                "img.%05d.png",
                "--minz",
                "8",
                "--maxz",
                "17",
            ),
            *("--output", output, "--runner", "docker", "--log-dir", tmp_path / "logs"),
            *settings,
        ],
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not containers_of(output) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert containers_of(output)
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=30) == 128 + signal.SIGINT
        assert containers_of(output) == []
    finally:
        running.kill()
        running.wait()


def containers_of(output: Path) -> list[str]:
    """The running containers that see an output folder."""
    return docker("ps", "--quiet", "--filter", f"volume={output}").split()
