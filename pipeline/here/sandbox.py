"""What the containers of a run may see and do on this machine, and whether they can run at all."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from components.shared.documents.config import RunConfig
from components.shared.documents.notification import WEBHOOK_VARIABLE
from components.shared.errors import ConfigError
from components.shared.storage.schemes import folder_of

IMAGE_USER = (10001, 10001)
"""User and group of the images."""
_GOOGLE_KEY = "GOOGLE_APPLICATION_CREDENTIALS"
_GOOGLE_KEY_FILE = Path(".config/gcloud/application_default_credentials.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What the containers of a run have in common."""

    user: tuple[int, int]
    """User and group that the programs run as."""
    mounts: dict[Path, bool]
    """Folders and files that a task sees where they are on this machine; True where it may write."""
    network: str
    """`none`, or `host` where data lie in a bucket."""
    notifier: str = ""
    """Image that may reach the network and gets the secrets to tell people by; empty for none."""
    environment: dict[str, str] = field(default_factory=dict)
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
    environment: dict[str, str] = {}
    in_bucket = output is None or None in readable
    if in_bucket:
        environment, key_file = _access_to_buckets()
        readable.append(key_file)
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


def _access_to_buckets() -> tuple[dict[str, str], Path | None]:
    """What gives the programs the caller's access: variables, and the file of Google's credentials."""
    environment = {name: os.environ[name] for name in ("STORAGE_EMULATOR_HOST",) if name in os.environ}
    key_file = Path(os.environ.get(_GOOGLE_KEY) or Path.home() / _GOOGLE_KEY_FILE).absolute()
    if not key_file.exists():
        return environment, None
    return environment | {_GOOGLE_KEY: str(key_file)}, key_file
