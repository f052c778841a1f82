"""Numbers that decide stand with their reasons: no bare one is left in the steps that compute."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

from components.shared.limits import has_reasons, reasons_of

ROOT = Path(__file__).parents[2]
STEPS = ("align", "compose", "plan", "pyramid", "tile")
OF_A_FORMAT = {
    "components/align/features.py: DESCRIPTOR_NORM": "descriptors at 8 bit",
    "components/align/models.py: LADDER": "the formulas of the models",
    "components/align/models.py: _UNITS": "unit matrices",
    "components/align/normalise.py: GREY": "prepared pictures at 8 bit",
    "components/align/normalise.py: GREY_PER_STD": "prepared pictures at 8 bit",
    "components/align/refine.py: _NO_BLUR": "OpenCV's word for no filter",
    "components/align/displacements/halves.py: HALVES": "the one and the other",
    "components/compose/rows/chain.py: _SECOND_DIFFERENCE": "the formula of a bend",
    "components/compose/rows/held_out.py: _NEXT_OF_WHITE": "-2 - 2",
    "components/compose/rows/held_out.py: _OF_WHITE": "1 + 4 + 1",
    "components/compose/rows/measured.py: N_HALVES": "the even and the odd",
    "components/align/statistics.py: _IMMERKAER": "the filter of Immerkaer 1996",
    "components/compose/judge/classify.py: _MEDIAN_OF_RAYLEIGH": "sqrt(2 ln 2)",
    "components/compose/judge/replacement.py: _NO_SLOT": "no position",
    "components/compose/thickness/correlations.py: _NEUTRAL": "the middle of 8 bit",
    "components/compose/solve/pairs.py: CORNERS": "the unit square",
    "components/compose/solve/robust.py: CENTER": "indices of a pose's numbers",
    "components/compose/solve/robust.py: LINEAR": "indices of a pose's numbers",
    "components/compose/solve/robust.py: _SECOND_DIFFERENCE": "the formula of a bend",
    "components/compose/solve/robust.py: _SHAPE": "the formula of scale and shear",
    "components/compose/solve/robust.py: _TURN": "the formula of a rotation",
    "components/compose/solve/system.py: POSE_SIZE": "two rows of three",
    "components/compose/solve/ties.py: CENTER_POINT": "index of a point",
    "components/compose/solve/ties.py: POINT_WEIGHTS": "second moments of an even density",
    "components/compose/solve/uncertainty.py: FORMS": "the formulas of centre, rotation and scale",
    "components/plan/fitness.py: _PNG_CHANNELS": "channels of a PNG",
    "components/pyramid/encode.py: DCT_BLOCK": "blocks of a JPEG",
    "components/pyramid/encode.py: PNG_COLOR_TYPES": "colour types of a PNG",
    "components/pyramid/encode.py: _FILTER_AVERAGE": "filters of a PNG",
    "components/pyramid/encode.py: _GZIP_WINDOW_BITS": "zlib's word for gzip",
    "components/pyramid/writing.py: MALLOC": "malloc.h",
    "components/tile/contrast.py: (_RGB, _RGBA)": "channels of a colour picture",
    "components/tile/contrast.py: _HISTOGRAM_BINS": "grey levels at 8 bit",
}
"""Numbers that a specification or a formula fixes, as their docstring says: no stack needs another one."""
WORDING = re.compile(r"_?([A-Z]+_)?SHOWN")
"""How many examples or characters a sentence shows decides nothing."""


def modules(step: str) -> Iterator[str]:
    package = importlib.import_module(f"components.{step}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith(".component"):  # for kfp alone
            yield module.name


def bare_constants(code: str) -> list[str]:
    """Names of a module's constants that are made of numbers, but for members of `Literal` and the like."""
    found = []
    for node in ast.parse(code).body:
        if isinstance(node, ast.Assign):
            targets: list[ast.expr] = node.targets
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        else:
            continue
        assert node.value is not None
        if not isinstance(node.value, ast.Subscript) and any(map(is_number, ast.walk(node.value))):
            found += [ast.unparse(target) for target in targets]
    return found


def is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float, complex)


def bare_defaults(module: str) -> list[str]:
    """Fields of a module's dataclasses whose default is a number without a reason."""
    found = []
    for kind in vars(importlib.import_module(module)).values():
        if not (isinstance(kind, type) and kind.__module__ == module and is_dataclass(kind)):
            continue
        if has_reasons(kind):
            for _, _, reason in reasons_of(kind()):  # fails where one of them has none
                assert all((reason.unit, reason.why, reason.measured_on, reason.too_small, reason.too_large))
            continue
        found += [f"{kind.__name__}.{field.name}" for field in fields(kind) if holds_number(field.default)]
    return found


def holds_number(value: object) -> bool:
    """Whether a default decides: 0 is only what a count begins with."""
    if isinstance(value, tuple):
        return any(map(holds_number, value))
    return type(value) in (int, float, complex) and value != 0


def test_no_number_is_bare() -> None:
    found = []
    for step in STEPS:
        for module in modules(step):
            path = Path(f"{module.replace('.', '/')}.py")
            path = path if (ROOT / path).exists() else path.with_suffix("") / "__init__.py"
            names = [
                name for name in bare_constants((ROOT / path).read_text()) if not WORDING.fullmatch(name)
            ]
            found += [f"{path}: {name}" for name in names + bare_defaults(module)]
    assert sorted(set(found) - OF_A_FORMAT.keys()) == []
    assert {name for name in OF_A_FORMAT if name not in found} == set(), "no longer there"


def test_the_check_sees_bare_numbers() -> None:
    numbers = "A = 1\nB: float = -0.5\nC = range(-5, 6)\nD = {'x': (1, 2)}\n"
    others = "E = Literal[1, 2]\nF = 'x'\nG = Limits()\nH = True\n"
    assert bare_constants(numbers + others) == ["A", "B", "C", "D"]
