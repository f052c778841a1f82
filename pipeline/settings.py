"""Settings: images, machines, retries and fan-out, which are fixed when the pipeline is compiled.

KFP takes none of these at run time (it refuses or miscompiles parameters there), so they are settings, read
from a TOML file; `docs/settings.toml` shows them all. What decides the *result* of a run is
`components.shared.documents.config.RunConfig` instead.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationError, ValidationInfo, create_model, field_validator

from components.shared.errors import ConfigError
from components.shared.given_file import GivenModel, read_given_file
from components.shared.steps import REGISTRY, STEPS, image_name, release

if TYPE_CHECKING:
    StepName = str
else:
    StepName = Literal[tuple(STEPS)]

Target = Literal["kfp", "vertex", "argo"]
"""A service that runs the pipeline: Kubeflow, Vertex AI, or Argo Workflows alone."""
_MOST_ITEMS: Mapping[Target, int] = {"kfp": 64, "vertex": 100, "argo": 200}
"""Upper limit on the items in a loop. An item takes three pods and 20 to 30 s of its own on KFP, so it
pays to have no more than run at a time; on Vertex AI each is a machine that has to start."""

SPOT_LABEL = "cloud.google.com/gke-spot"
"""Label of GKE's spot nodes, and key of the taint that a cluster may put on them."""
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Label by which Kueue knows the queue of a pod."""

_CPU = r"(\d+(\.\d+)?|\d+m)"
_MEMORY = r"\d+([MGT]i?|Ki)"
"""Whole numbers, which KFP takes alone; Kubernetes knows no 'K', and KFP no 'k'."""
_NAME = r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?"
_UNITS = {"m": Decimal("0.001"), **{unit: Decimal(10 ** (3 * i)) for i, unit in enumerate(["", *"KMGT"])}}
_UNITS |= {f"{unit}i": Decimal(2 ** (10 * power)) for power, unit in enumerate("KMGT", 1)}
_LabelKey = Annotated[str, Field(pattern=rf"^({_NAME}/)?[A-Za-z0-9]([A-Za-z0-9._-]{{0,61}}[A-Za-z0-9])?$")]
_LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$")]
Labels = dict[_LabelKey, _LabelValue]
"""Kubernetes' labels; their syntax is checked, since a cluster would refuse the pod and not the manifest."""


_SECRETS = frozenset({"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"})
"""Variables that hold a login."""
_Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_Text = Annotated[str, Field(pattern=r"^([^{]|\{[^{])*\{?$")]
"""Text without '{{', where Argo and KFP would fill something in."""
_SecretKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
_SecretName = Annotated[str, Field(pattern=rf"^{_NAME}$")]
_OWN_FOLDERS = (
    *("/app", "/bin", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/tmp"),  # noqa: S108
    *("/usr", "/var/run"),
    *("/gcs", "/kfp-launcher", "/minio", "/s3"),  # KFP's own volumes
)
"""Folders that a pod has already: a volume there would hide them."""


class Volume(GivenModel):
    """A volume of the cluster that every pod sees, with slices and results in place of buckets."""

    claim: str = Field(pattern=rf"^{_NAME}$", description="Name of the PersistentVolumeClaim.")
    path: str = Field(
        pattern=r"^(/[A-Za-z0-9][A-Za-z0-9._-]*)+$",
        description="Folder where the pods see it, such as /data.",
    )

    @field_validator("path")
    @classmethod
    def _hides_nothing(cls, path: str) -> str:
        if any(f"{path}/".startswith(f"{own}/") or own.startswith(f"{path}/") for own in _OWN_FOLDERS):
            raise ValueError("must be a folder that pods do not have already, such as /data")
        return path


class Toleration(GivenModel):
    """A taint of nodes that pods accept."""

    key: _LabelKey = Field(description="Key of the taint.")
    value: _LabelValue = Field("", description="Value of the taint; empty: any.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        "NoSchedule", description="What the taint does to pods that do not accept it."
    )

    @property
    def operator(self) -> Literal["Equal", "Exists"]:
        """How the value is compared."""
        return "Equal" if self.value else "Exists"


class StepSettings(GivenModel):
    """The machine of a step, where it runs, and how often it is tried again."""

    cpu: str = Field("1", pattern=rf"^{_CPU}$", description="Cores that a task asks for, such as 2 or 500m.")
    memory: str = Field(
        "2G",
        pattern=rf"^{_MEMORY}$",
        description="Most memory that a task asks for, such as 4G; less where plan estimates less "
        "(targets kfp and argo).",
    )
    cpu_limit: str = Field("", pattern=rf"^({_CPU})?$", description="Most cores; empty: as many as cpu.")
    memory_limit: str = Field(
        "",
        pattern=rf"^({_MEMORY})?$",
        description="Most memory, above which a task is killed; empty: memory.",
    )
    retries: int = Field(
        3, ge=0, le=20, description="How often a failed task is tried again; plan on KFP once at most."
    )
    backoff_s: int = Field(
        10, ge=0, le=3600, description="Pause before the first retry; it doubles each time."
    )
    backoff_max_s: int = Field(
        300,
        ge=0,
        le=3600,
        description="Longest pause before a retry. On KFP and Vertex AI, those that would pass it are alike.",
    )
    timeout_s: int = Field(6 * 3600, ge=60, le=7 * 86400, description="Longest time of one try.")
    parallelism: int = Field(64, ge=1, le=1000, description="Most pods of the step at a time.")
    spot: bool = Field(False, description="Run on GKE's spot machines: cheaper, but they may be taken away.")
    node_selector: Labels = Field({}, description="Labels that a node must have.")
    tolerations: tuple[Toleration, ...] = Field((), description="Taints of nodes that the pods accept.")
    labels: Labels = Field({}, description="Further labels of the step's pods.")
    priority_class: str = Field(
        "", pattern=rf"^({_NAME})?$", description="Priority class of the pods (target argo)."
    )
    pending_timeout_s: int = Field(
        0,
        ge=0,
        le=30 * 86400,
        description="Longest that a try waits for a node and for its turn before it has failed; 0: for ever "
        "(target argo, Argo 4.1 or newer).",
    )
    service_account: str = Field(
        "", pattern=rf"^({_NAME})?$", description="Kubernetes service account of the pods (target argo)."
    )

    @field_validator("cpu_limit", "memory_limit")
    @classmethod
    def _is_not_below_what_is_asked_for(cls, limit: str, info: ValidationInfo) -> str:
        asked_for = info.data.get(str(info.field_name).removesuffix("_limit"))
        if limit and asked_for and quantity(limit) < quantity(asked_for):
            raise ValueError(f"must be at least what a task asks for, {asked_for}")
        return limit

    @property
    def nodes(self) -> Labels:
        """The labels that a node must have, with those of spot machines."""
        return self.node_selector | ({SPOT_LABEL: "true"} if self.spot else {})

    @property
    def taints(self) -> tuple[Toleration, ...]:
        """The taints that the pods accept, with that of spot machines."""
        return self.tolerations + ((Toleration(key=SPOT_LABEL, value="true"),) if self.spot else ())

    @property
    def uncapped_pauses(self) -> tuple[int, int]:
        """The first pause and its whole factor where no pause can be limited.

        Pauses that would double past the longest are all alike there, and as long together as if limited.

        Example:
            >>> StepSettings(retries=3).uncapped_pauses, StepSettings(retries=8).uncapped_pauses
            ((10, 2), (152, 1))
        """
        pauses = [min(self.backoff_s * 2**retry, self.backoff_max_s) for retry in range(self.retries)]
        if self.backoff_s * 2 ** max(0, self.retries - 1) <= self.backoff_max_s:
            return self.backoff_s, 2
        return ceil(sum(pauses) / max(1, self.retries)), 1

    @property
    def most_cpu(self) -> str:
        """The limit on cores."""
        return self.cpu_limit or self.cpu

    @property
    def most_memory(self) -> str:
        """The limit on memory."""
        return self.memory_limit or self.memory


class SettingsOfAllSteps(GivenModel):
    """The settings that hold for every step, and how to ask for those of one."""

    registry: str = Field(REGISTRY, min_length=1, description="Repository prefix of the images.")
    tag: str = Field(release(), pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", description="Tag of the images.")
    digests: dict[StepName, Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]] = Field(
        {}, description="Digest of each step's image, as `make push` records them; pins what runs."
    )
    fan: int = Field(
        200, ge=1, le=200, description="Most items in a loop; on KFP at most 64, on Vertex AI at most 100."
    )
    service_account: str = Field(
        "",
        pattern=rf"^({_NAME})?$",
        description="Kubernetes service account of steps that name none (target argo).",
    )

    volume: Volume | None = Field(
        None, description="Volume of the cluster that every pod sees (targets kfp and argo)."
    )
    environment: dict[_Variable, _Text] = Field({}, description="Environment variables of every pod.")
    secrets: dict[_SecretName, dict[_Variable, _SecretKey]] = Field(
        {},
        description="Environment variables of every pod from Secrets: for each Secret, its key for each "
        "variable (targets kfp and argo).",
    )
    queue: str = Field(
        "", pattern=rf"^({_NAME})?$", description="Queue of Kueue in which pods wait (targets kfp and argo)."
    )
    user_namespaces: bool = Field(
        False, description="Give each pod users of its own, 'hostUsers: false' (target argo)."
    )

    @property
    def mounts(self) -> tuple[str, ...]:
        """Folders that every pod sees, on a volume of the cluster."""
        return (self.volume.path,) if self.volume else ()

    def step(self, step: str) -> StepSettings:
        """The settings of one step."""
        found: StepSettings = getattr(self, step)
        return found

    def fan_on(self, target: Target) -> int:
        """Most items in a loop on a target.

        Example:
            >>> Settings().fan_on("argo"), Settings().fan_on("kfp"), Settings(fan=10).fan_on("kfp")
            (200, 64, 10)
        """
        return min(self.fan, _MOST_ITEMS[target])

    def image(self, step: str) -> str:
        """The image of one step: by digest where one is known, else by tag.

        Example:
            >>> Settings(registry="gcr.io/em", tag="1.0").image("tile")
            'gcr.io/em/tile:1.0'
        """
        name = image_name(step, self.registry, self.tag)
        return f"{name}@{self.digests[step]}" if step in self.digests else name

    @property
    def pods(self) -> str:
        """The pod of each step as JSON, from which `plan` estimates what the run costs."""
        pods = {
            name: {
                "image": self.image(name),
                "cores": float(quantity(self.step(name).cpu)),
                "memory_bytes": float(quantity(self.step(name).memory)),
                "spot": self.step(name).spot,
            }
            for name in STEPS
        }
        return json.dumps(pods, separators=(",", ":"))


if TYPE_CHECKING:
    Settings = SettingsOfAllSteps
else:
    _tables = {
        step.name: StepSettings(cpu=step.cpu, memory=step.memory, retries=step.retries)
        for step in STEPS.values()
    }
    Settings = create_model(
        "Settings",
        __base__=SettingsOfAllSteps,
        __doc__="All compile-time settings: those that hold for every step, and a table for each step.",
        **{name: (StepSettings, default) for name, default in _tables.items()},
    )


def quantity(text: str) -> Decimal:
    """A number with one of Kubernetes' suffixes.

    Example:
        >>> [float(quantity(text)) for text in ("2", "500m", "4G", "4Gi")]
        [2.0, 0.5, 4000000000.0, 4294967296.0]
    """
    number = text.rstrip("mKMGTi")
    return Decimal(number) * _UNITS[text.removeprefix(number)]


def pod_labels(step: str, settings: StepSettings, queue: str = "") -> Labels:
    """The labels by which `kubectl get pods -l` finds the pods of a step, and Kueue their queue."""
    standard = {"app.kubernetes.io/name": "fibstack", "app.kubernetes.io/component": step}
    return settings.labels | standard | ({QUEUE_LABEL: queue} if queue else {})


def is_on_volume(location: str, mounts: Iterable[str]) -> bool:
    """Whether a location is a folder that pods see on a volume of theirs.

    Args:
        location: Folder, or URI.
        mounts: Folders where pods see volumes, as `Settings.mounts` lists them.

    Example:
        >>> [is_on_volume(where, ["/data"]) for where in ("/data/raw", "file:///data", "/database", "gs://data/a")]
        [True, True, False, False]
    """
    path = location.removeprefix("file://")
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in mounts)


def read_settings(path: Path) -> Settings:
    """Read settings from a TOML file; what it leaves out keeps its default.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or has an unknown key or a refused value.
    """
    text = read_given_file(path, "the settings")
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, deep brackets
        raise ConfigError(
            f"settings must be a readable TOML file; got {path}: {error}. Correct it."
        ) from None
    for step in set(STEPS) & values.keys():
        if isinstance(values[step], dict):  # a table that sets the cpu alone keeps the step's own memory
            values[step] = Settings.model_fields[step].default.model_dump() | values[step]
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        rule = first["msg"][0].lower() + first["msg"][1:]
        raise ConfigError(f"'{key}': {rule}; got {first['input']!r} in {path}. Change '{key}'.") from None
    for name in _SECRETS & settings.environment.keys():
        raise ConfigError(
            f"'environment' must hold nothing secret, since many may read a pipeline; got {name} in {path}. "
            "Put it into a Secret, and name that in 'secrets'."
        )
    return settings
