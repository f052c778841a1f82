"""Runs each task in a container of a local Docker engine, with no more rights than its pod would have.

A `Sandbox` says what the containers of a run may see and do on this machine; `Containers` starts them.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from components.shared.documents.config import RunConfig
from components.shared.documents.notification import VARIABLES, WEBHOOK_VARIABLE
from components.shared.errors import ConfigError
from components.shared.storage.schemes import folder_of, scheme_of
from pipeline.compiled.ir import Container
from pipeline.here.processes import Ended, Processes
from pipeline.settings import quantity

IMAGE_USER = (10001, 10001)
"""User and group of the images."""
_PROCESSOR_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Variables that tell OpenBLAS which processor it runs on: with the kernels of another one, processes and
containers would differ in the last digits of what they solve."""
_GOOGLE_KEY = "GOOGLE_APPLICATION_CREDENTIALS"
_GOOGLE_KEY_FILE = Path(".config/gcloud/application_default_credentials.json")
_AWS_FILES = {
    "AWS_CONFIG_FILE": ".aws/config",
    "AWS_SHARED_CREDENTIALS_FILE": ".aws/credentials",
    "AWS_CA_BUNDLE": "",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "",
}
"""Variables that name the files of AWS, and where at home they lie without them; empty for nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """User, mounts, network and environment that the containers of a run have in common."""

    user: tuple[int, int]
    """User and group that the programs run as."""
    mounts: dict[Path, bool]
    """Folders and files that a task sees where they are on this machine; True where it may write."""
    network: str
    """`none`, or `host` where data lie in a bucket."""
    notifier: str = ""
    """Image that may reach the network and gets the secrets to tell people by; empty for none."""
    environment: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    """Variables of this process that every program gets."""
    n_cores: int = 1
    """Cores of the engine."""


def sandbox_for(config: RunConfig, images: Iterable[str], notifier: str = "") -> Sandbox:
    """The sandbox of a run, when the engine and the images are there; makes the output folder.

    The programs run as the caller, so that the volume belongs to the caller. For root they run as the owner
    of the output folder, and as the images' own user where they make it.

    Raises:
        ConfigError: there is no docker, no engine or no image, or the output folder cannot be made.
    """
    n_cores = engine_cores()
    require_images(images)
    output = folder_of(config.output)
    readable = [folder_of(uri) for uri in (config.source, config.overrides) if uri]
    environment = {name: os.environ[name] for name in _PROCESSOR_VARIABLES if name in os.environ}
    in_bucket = output is None or None in readable
    clouds = {scheme_of(uri).cloud for uri in (config.source, config.output, config.overrides)}
    secrets: tuple[str, ...] = ()
    if "google" in clouds:
        access, key_file = _access_to_google()
        environment |= access
        readable.append(key_file)
    if "aws" in clouds:
        access = _files_of_aws()
        environment |= access
        readable += map(Path, access.values())
        secrets = tuple(name for name in os.environ if name.startswith("AWS_") and name not in access)
    mounts = {path: False for path in readable if path is not None and path.exists()}
    if output is not None:
        _make(output)
        mounts[output] = True
    return Sandbox(
        user=_user(output),
        mounts=mounts,
        network="host" if in_bucket else "none",
        notifier=notifier if config.email or config.webhook or WEBHOOK_VARIABLE in os.environ else "",
        environment=environment,
        secrets=secrets,
        n_cores=n_cores,
    )


def engine_cores() -> int:
    """Cores of the Docker engine.

    Raises:
        ConfigError: there is none, or it does not answer.
    """
    if shutil.which("docker") is None:
        raise ConfigError(
            "--runner docker needs the program 'docker'; it is not on the PATH. "
            "Install Docker, or leave --runner out."
        )
    asked = _docker("info", "--format", "{{.NCPU}}")
    n_cores = int(asked.stdout) if asked.stdout.strip().isdigit() else 0
    if asked.returncode or not n_cores:  # some versions answer 0 and succeed
        said = [line for line in asked.stderr.splitlines() if line.strip()] or ["it said nothing"]
        raise ConfigError(f"no Docker engine answers: {said[-1].strip()}. Start it, or leave --runner out.")
    return n_cores


def require_images(images: Iterable[str]) -> None:
    """Refuse where an image is not on this machine.

    Raises:
        ConfigError: so it is.
    """
    for image in sorted(set(images)):
        if _docker("image", "inspect", "--format", "{{.Id}}", image).returncode:
            raise ConfigError(f"the image {image} must be on this machine. Run: make images, or docker pull.")


def _docker(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *args], capture_output=True, text=True, check=False)


def _make(folder: Path) -> None:
    """Make a folder; one that root makes goes to the images' user, since no container runs as root for it."""
    if folder.exists():
        return
    try:
        folder.mkdir(parents=True)
        if os.getuid() == 0:
            os.chown(folder, *IMAGE_USER)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {folder}: {error.strerror}. Change --output.") from None


def _user(output: Path | None) -> tuple[int, int]:
    if os.getuid() != 0:
        return os.getuid(), os.getgid()
    if output is None:
        return IMAGE_USER
    owner = output.stat()
    return owner.st_uid, owner.st_gid


def _files_of_aws() -> dict[str, str]:
    """Files with the caller's settings and credentials of AWS, by the variables that name them."""
    files = {name: Path(os.environ.get(name) or Path.home() / there) for name, there in _AWS_FILES.items()}
    return {name: str(file.absolute()) for name, file in files.items() if file.is_file()}


def _access_to_google() -> tuple[dict[str, str], Path | None]:
    """Variables, and the file of Google's credentials, that give programs the caller's access to buckets."""
    environment = {name: os.environ[name] for name in ("STORAGE_EMULATOR_HOST",) if name in os.environ}
    key_file = Path(os.environ.get(_GOOGLE_KEY) or Path.home() / _GOOGLE_KEY_FILE).absolute()
    if not key_file.exists():
        return environment, None
    return environment | {_GOOGLE_KEY: str(key_file)}, key_file


class Containers(Processes):
    """Processes that are containers, as `docker run` makes them. Safe to use from threads."""

    more_memory = "raise the step's memory in --settings, or lower --jobs"

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        self._sandbox = sandbox
        self._run_id = uuid.uuid4().hex[:8]

    def command(self, container: Container, argv: Sequence[str], folder: Path) -> list[str]:
        """The `docker run` of a task, which works by hand too."""
        sandbox = self._sandbox
        notifies = container.image == sandbox.notifier
        # By name alone: docker takes the values from its own environment, and no process list shows them.
        secrets = [*sandbox.secrets, *(name for name in VARIABLES if notifies and name in os.environ)]
        mounts = {**sandbox.mounts, folder / "outputs": True}
        return [
            *("docker", "run", "--rm", "--init", "--pull", "never", "--name", self._name(folder)),
            *(
                "--user",
                ":".join(map(str, sandbox.user)),
                "--network",
                "host" if notifies else sandbox.network,
            ),
            *("--read-only", "--tmpfs", "/tmp"),  # noqa: S108 - the container's
            *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
            *limits(container, sandbox.n_cores),
            *(word for path, writable in mounts.items() for word in ("--mount", mount(path, writable))),
            *(word for name, value in sandbox.environment.items() for word in ("--env", f"{name}={value}")),
            *(word for name in secrets for word in ("--env", name)),
            container.image,
            *argv,
        ]

    def run(self, argv: Sequence[str], folder: Path, log: Path) -> Ended:
        """Run a task's container until it ends; what it used is not known."""
        if os.getuid() == 0:
            os.chown(folder / "outputs", *self._sandbox.user)
        ended = super().run(argv, folder, log)
        if ended.exit_code < 0:  # docker's client was killed, which the container does not notice
            subprocess.run(["docker", "rm", "--force", self._name(folder)], capture_output=True, check=False)
        by_signal = ended.exit_code - 128
        exit_code = -by_signal if by_signal in (signal.SIGKILL, signal.SIGABRT) else ended.exit_code
        return replace(ended, exit_code=exit_code, cpu_s=0.0, peak_bytes=0)

    def _name(self, folder: Path) -> str:
        task = re.sub(r"[^A-Za-z0-9]+", "-", str(folder))[-40:]
        return f"fibstack-{self._run_id}-{task}"


def limits(container: Container, n_cores: int) -> list[str]:
    """Flags for the limits of a task; more cores than the engine has would be refused.

    Example:
        >>> limits(Container({}, {}, "", (), cpu_limit="500m", memory_limit="4G"), n_cores=2)
        ['--cpus', '0.5', '--memory', '4000000000', '--memory-swap', '4000000000']
    """
    flags = []
    if container.cpu_limit:
        flags += ["--cpus", str(min(float(quantity(container.cpu_limit)), n_cores))]
    if container.memory_limit:
        n_bytes = str(int(quantity(container.memory_limit)))
        flags += ["--memory", n_bytes, "--memory-swap", n_bytes]  # the same: no swap
    return flags


def mount(path: Path, writable: bool) -> str:
    """The value of `--mount` that shows a folder or file at the path it has on this machine: a CSV record.

    Example:
        >>> mount(Path("/data/a,b"), writable=False)
        'type=bind,"source=/data/a,b","target=/data/a,b",readonly'
    """
    record = io.StringIO()
    fields = ["type=bind", f"source={path}", f"target={path}"]
    csv.writer(record, lineterminator="").writerow(fields if writable else [*fields, "readonly"])
    return record.getvalue()
