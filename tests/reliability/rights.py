"""The rights of each step, which `manifests/gke/grant-rights.sh` gives and the guide tells."""

ROLES = {
    "objectViewer": ("get", "list"),
    "objectCreator": ("create",),
    "legacyObjectReader": ("get",),
    "storage.objects.delete": ("delete",),
}
"""What the roles of Google Cloud allow; who may create cannot replace. The last is a permission by itself."""

READER, VIEWER, CREATOR = ROLES["legacyObjectReader"], ROLES["objectViewer"], ROLES["objectCreator"]
RIGHTS = {
    "plan": {"source": VIEWER, "process": VIEWER + CREATOR, "refusal": ("delete",)},
    "align": {"source": VIEWER, "process": VIEWER + CREATOR},
    "compose": {"process": VIEWER + CREATOR, "tmp": VIEWER, "neuroglancer": VIEWER, "chunk": VIEWER},
    "tile": {"source": VIEWER, "process": VIEWER + CREATOR, "tmp": VIEWER + CREATOR},
    "pyramid": {
        "process": VIEWER + CREATOR,
        "tmp": VIEWER,
        "neuroglancer": VIEWER + CREATOR,
        "chunk": VIEWER + CREATOR,
    },
    "report": {
        "process": VIEWER + CREATOR,
        "page": ("delete",),
        "tmp": ("delete",),
        "neuroglancer": VIEWER + CREATOR,
        "chunk": VIEWER + CREATOR,
    },
    "viewer": {"neuroglancer": READER, "chunk": READER},
}
"""Of each identity, by what lies in a bucket. The viewer is whoever looks at the volume."""
PAGE = ("report/index.html", "run.json", "superseded.json")
"""Objects of `process` that every report writes anew or removes; the part `page` is these."""
REFUSAL = "refused.json"
"""Object of `process` that a plan removes or writes anew; the part `refusal` is this."""
