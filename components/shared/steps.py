"""The steps of a run, once, as data: what each loops over, leaves behind and depends on, and its machine.

Whatever lists steps reads this: the graph of the pipeline and its settings, the hashes of units, the
estimate, `fibstack status`, the report, `make images`. The names of the images are here too. A new step is
an entry here, a folder `components/<name>` with `component.py` and `main.py`, a line in
`pipeline/align_stack.py`, and an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Literal

REGISTRY = "fibstack"
"""Repository prefix of the images where no settings name another; it has no host."""
PROCESSES = "FIBSTACK_PROCESSES"
"""Variable that is set where the steps run as processes of one machine, so in none of the images."""
STUB = "stub"
"""Parameter of the pipeline that names a stub, whose programs do no work; empty in a run."""
STUB_DESCRIPTION = "Name of a stub, which does none of the work: 'fibstack submit --stub' fills it in."
STUB_ITEMS = 2
"""Items of each loop of a stub: two pods of a step run side by side, as in a run."""

Root = Literal["source", "process", "tmp", "neuroglancer", "chunk", "ome-zarr"]
"""A place of a run: where the slices lie, or a part of the output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLoop:
    """Pods of a step side by side, one for each item of a list."""

    items: str
    """Output of an earlier step that lists the items, such as `chunks`."""
    item: str
    """Input of the step's component that receives an item."""
    constants: Mapping[str, int] = field(default_factory=dict)
    """Further inputs of the component, the same for all items."""
    title: str = ""
    """Name of the loop in consoles, where a step has several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of a run: a program, `components.<name>.main`, in an image of its own."""

    name: str
    loops: tuple[StepLoop, ...] = ()
    """Loops that the step's pods run in, each when the one before has ended; none for a step of one pod."""
    is_last: bool = False
    """The step runs when the others have ended, also after a failure."""
    cpu: str = "1"
    """Cores that a pod asks for where no settings say otherwise."""
    memory: str = "2G"
    """Memory that a pod asks for where no settings say otherwise; suits slices of up to 10k x 10k px."""
    retries: int = 3
    """Number of times that a failed pod is tried again where no settings say otherwise."""
    result: tuple[Literal["process", "tmp", "neuroglancer"], str]
    """Place of the result: a part of the output (`process`, `tmp`, `neuroglancer`), and a key below it."""
    records: tuple[str, ...] = ()
    """Folders below `records/` that hold a record for each unit that is done: one for each loop."""
    result_version: int = 0
    """Part of the hash of each unit. Raise it when a change of the code changes the bytes that the step
    writes: a release that changes nothing in a step leaves the work of earlier releases valid."""
    hashed_keys: frozenset[str] = frozenset()
    """Keys of the configuration that the step's result depends on: part of the hash of each unit."""
    reads: frozenset[Root] = frozenset({"process"})
    """Places that the step reads and lists, as its contract says key by key."""
    writes: frozenset[Root] = frozenset({"process"})
    """Places that the step writes to."""

    @property
    def n_stub_tasks(self) -> int:
        """Tasks of the step in a stub."""
        return STUB_ITEMS * len(self.loops) if self.loops else 1


STEPS: Mapping[str, Step] = {
    step.name: step
    for step in (
        Step(
            name="plan",
            memory="1G",
            result=("process", "plan.json"),
            reads=frozenset({"source", "process"}),
        ),
        Step(
            name="align",
            loops=(StepLoop(items="chunks", item="chunk"),),
            memory="4G",
            result=("process", "align"),
            records=("align",),
            result_version=5,
            hashed_keys=frozenset({"downsample_factor", "match_size", "neighbours", "skip_align"}),
            reads=frozenset({"source", "process"}),
        ),
        Step(
            name="compose",
            memory="4G",
            result=("process", "transforms.json"),
            records=("compose",),
            result_version=5,
            hashed_keys=frozenset(
                {
                    *("minz", "maxz", "neighbours", "solver", "skip_align", "allow_gaps", "trend"),
                    *("replace_with", "max_replaced", "z", "intensity", "streaks", "refine"),
                }
            ),
            reads=frozenset({"process", "tmp", "neuroglancer", "chunk", "ome-zarr"}),
        ),
        Step(
            name="tile",
            loops=(StepLoop(items="slabs", item="slabs"),),
            memory="4G",
            result=("tmp", ""),
            records=("tile",),
            result_version=3,
            hashed_keys=frozenset({"clip_limit"}),
            reads=frozenset({"source", "process", "tmp"}),
            writes=frozenset({"process", "tmp"}),
        ),
        # Each pass reads what the one before it left behind; the later loops of a small volume are empty.
        Step(
            name="pyramid",
            loops=(
                StepLoop(items="blocks", item="blocks", constants={"level": 0}, title="levels 0 to 4"),
                StepLoop(items="coarse_blocks", item="blocks", constants={"level": 5}, title="levels 5 to 9"),
                StepLoop(
                    items="top_blocks", item="blocks", constants={"level": 10}, title="levels 10 and above"
                ),
            ),
            result=("neuroglancer", "jpeg"),
            records=("pyramid/0", "pyramid/5", "pyramid/10"),
            result_version=1,
            hashed_keys=frozenset(
                {
                    *("jpeg_quality", "raw_pyramid", "lossless_encoding", "ome_zarr", "output_level"),
                    "resolution",
                    "ome_zarr_version",
                }
            ),
            reads=frozenset({"process", "tmp"}),
            writes=frozenset({"process", "neuroglancer", "chunk", "ome-zarr"}),
        ),
        Step(
            name="report",
            is_last=True,
            memory="4G",
            result=("process", "report/index.html"),
            reads=frozenset({"process", "neuroglancer", "chunk", "ome-zarr"}),
            writes=frozenset({"process", "neuroglancer", "chunk", "ome-zarr"}),
        ),
    )
}
"""The steps by name, in the order in which they run."""
MEMORY_OUTPUTS: Mapping[str, str] = {
    step.name: f"{step.name}_memory" for step in tuple(STEPS.values())[1:] if not step.is_last
}
"""Output of `plan` that says how much memory the pods of a step ask for, by step. The last step has none: it
runs also where `plan` has failed."""
RESULT_VERSIONS: Mapping[str, int] = {
    step.name: step.result_version for step in STEPS.values() if step.result_version
}
"""The result version of each step whose units have a hash."""

MATCHING_KEYS = STEPS["align"].hashed_keys | {
    *("image", "minz", "maxz", "crop", "match_region", "invert", "output", "placed_as")
}
"""Keys that say which slices are matched, and how. With other values, stored matching is of no use."""


def steps_until(name: str) -> tuple[str, ...]:
    """Names of the steps up to and including one.

    Example:
        >>> steps_until("compose")
        ('plan', 'align', 'compose')
    """
    names = tuple(STEPS)
    return names[: names.index(name) + 1]


def steps_from(name: str) -> tuple[str, ...]:
    """Names of a step and of those that follow it.

    Example:
        >>> steps_from("tile")
        ('tile', 'pyramid', 'report')
    """
    names = tuple(STEPS)
    return names[names.index(name) :]


def release() -> str:
    """The version of fibstack that is installed: the tag of its images where no settings name another."""
    return version("fibstack")


def image_name(step: str, registry: str = REGISTRY, tag: str = "") -> str:
    """The image of a step; of this release where no tag is given.

    Example:
        >>> image_name("align", "europe-docker.pkg.dev/em/images", "1.2.0")
        'europe-docker.pkg.dev/em/images/align:1.2.0'
    """
    return f"{registry}/{step}:{tag or release()}"
