"""The names of the step images: the one place that spells them."""

from __future__ import annotations

from importlib.metadata import version

REGISTRY = "fibstack"
"""Repository prefix of the images where no settings name another; it has no host."""
TAG = version("fibstack")
PROCESSES = "FIBSTACK_PROCESSES"
"""Variable that is set where the steps run as processes of one machine, so in none of the images."""


def image_name(step: str, registry: str = REGISTRY, tag: str = TAG) -> str:
    """The image of a step.

    Example:
        >>> image_name("align", "europe-docker.pkg.dev/em/images", "1.2.0")
        'europe-docker.pkg.dev/em/images/align:1.2.0'
    """
    return f"{registry}/{step}:{tag}"
