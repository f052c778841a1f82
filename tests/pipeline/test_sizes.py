"""What the services limit, for the largest stack in sight: 13,696 slices of 5k x 5k px."""

import base64
import gzip
import json
import random

import pytest
import yaml

from components.plan.partition import chunk_length
from components.shared.config import RunConfig
from components.shared.grid import ceil_div, group, slab_depth, spans
from pipeline.compile import compile_argo
from pipeline.settings import Settings

N_SLICES, SIDE_PX = 13_696, 5_000
LARGEST_PARAMETER_BYTES = 256 * 1024
LARGEST_OBJECT_BYTES = 2**20
LARGEST_RUN_PARAMETERS_BYTES = 10_000
MARGIN = 4


@pytest.fixture(scope="module")
def loops() -> list[list[str]]:
    """The items of each loop when nothing is done yet."""
    fan = Settings().fan
    n_slabs = ceil_div(N_SLICES, slab_depth(SIDE_PX, SIDE_PX))
    n_blocks = ceil_div(N_SLICES, 1024) * ceil_div(SIDE_PX, 1024) ** 2
    chunks = spans(0, N_SLICES - 1, chunk_length(N_SLICES, fan))
    counts = [chunks, *(group(range(n), fan) for n in (n_slabs, n_blocks, 1, 0))]
    return [[str(span) for span in items] for items in counts]


def test_parameters_are_small(loops):
    assert max(len(items) for items in loops) <= Settings().fan
    largest = max(len(json.dumps(items)) for items in loops)
    assert largest * MARGIN < LARGEST_PARAMETER_BYTES


def test_parameters_of_a_run_are_small():
    uri = "gs://" + "b" * 63 + "/" + "x" * 200
    config = RunConfig(
        source=uri, image="%05d.png", minz=0, maxz=N_SLICES - 1, output=uri, overrides=uri, id="i" * 100
    )
    assert len(config.model_dump_json()) * MARGIN < LARGEST_RUN_PARAMETERS_BYTES


def nodes(loops) -> dict[str, dict]:
    """The status of a run as the controller keeps it: a node of each pod and one of its retries."""
    random.seed(0)
    found = {}
    for step, items in zip(("align", "tile", "pyramid", "pyramid-2", "pyramid-3"), loops, strict=True):
        for index, item in enumerate(items):
            retries, pod = (f"align-stack-x7k2p-{random.randrange(2**32)}" for _ in range(2))
            name = f"align-stack-x7k2p.{step}({index}:{item})"
            both = {
                "boundaryID": "align-stack-x7k2p-3012345678",
                "phase": "Succeeded",
                "progress": "1/1",
                "startedAt": "2026-11-22T17:00:00Z",
                "finishedAt": f"2026-11-22T17:{random.randrange(60):02}:{random.randrange(60):02}Z",
                "resourcesDuration": {"cpu": random.randrange(3000), "memory": random.randrange(9000)},
                "templateName": step,
                "templateScope": "local/align-stack",
                "inputs": {
                    "parameters": [
                        {"name": "process_uri", "value": "gs://bucket/volume/process"},
                        {"name": "unit", "value": item},
                    ]
                },
                "outputs": {"exitCode": "0"},
            }
            found[retries] = {"id": retries, "name": name, "type": "Retry", "children": [pod], **both}
            host = f"gke-fibstack-spot-{random.randrange(2**48):012x}"
            found[pod] = {"id": pod, "name": f"{name}(0)", "type": "Pod", "hostNodeName": host, **both}
    return found


def test_workflow_object_with_its_status_is_small(loops):
    _, template = yaml.safe_load_all(compile_argo(Settings()))
    spec = len(
        json.dumps(template)
    )  # a run holds the whole template once more, as storedWorkflowTemplateSpec
    status = len(base64.b64encode(gzip.compress(json.dumps(nodes(loops)).encode())))
    assert (2 * spec + status) * MARGIN < LARGEST_OBJECT_BYTES


@pytest.mark.parametrize("fan", [100, 200])
def test_what_is_left_of_an_interrupted_run_fits_a_loop_too(fan):
    """Every other unit is left to do, so no two of them follow each other."""
    assert len(group(range(0, 2_000, 2), fan)) <= fan
