"""Damage to every file of an output: `verify` notices it, or no later command does anything else for it."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result

from tests.builders import cli
from tests.components.shared.work.rot import change_places, change_with_time_put_back
from tests.reliability import tiny_stack
from tests.reliability.conftest import Place
from tests.reliability.extent import FULL
from tests.reliability.programs import cut_smaller

EVERY_OUTPUT = {"keep_tiles": True, "ome_zarr": True}
FLIPS_OF_A_FILE = 8 if FULL else 2
SEED = 5


@dataclass(frozen=True)
class Written:
    """A finished run with every kind of file, and a copy of it to put back."""

    place: Place
    copy: Path

    @property
    def output(self) -> Path:
        return Path(self.place.output)

    @property
    def files(self) -> list[Path]:
        """Every file of the output, below its root."""
        return sorted(path.relative_to(self.copy) for path in self.copy.rglob("*") if path.is_file())

    def put_back(self) -> None:
        shutil.rmtree(self.output, ignore_errors=True)
        shutil.copytree(self.copy, self.output)

    def verify(self) -> Result:
        return cli("verify", self.output, "--sample", "0")

    def changed_by_a_later_run(self, folder: Path, damaged: Path) -> list[str]:
        """Files other than the damaged one that a later run leaves otherwise than the clean run did."""
        state = self.place.run(self.place.driver(folder), **EVERY_OUTPUT)
        clean = Place(self.place.source, str(self.copy), {}).state()
        here = {uri.removeprefix(self.place.output): crc32c for uri, crc32c in state.items()}
        there = {uri.removeprefix(str(self.copy)): crc32c for uri, crc32c in clean.items()}
        differing = {key for key in here | there if here.get(key) != there.get(key)}
        return sorted(differing - {f"/{damaged}"})


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("damaged")
    place = Place(str(folder / "source"), str(folder / "output"), {})
    place.write_slices()
    driver = place.driver(folder / "driver")
    place.run(driver, **EVERY_OUTPUT)
    assert not driver.failed
    shutil.copytree(place.output, folder / "copy")
    return Written(place, folder / "copy")


@pytest.fixture
def written(clean: Written, monkeypatch: pytest.MonkeyPatch) -> Written:
    cut_smaller(monkeypatch.setattr)
    clean.put_back()
    return clean


def flips(data: bytes, seed: str) -> Iterator[bytes]:
    """The bytes with a bit flipped at some places, by chance but always the same."""
    chance = random.Random(seed)
    for _ in range(FLIPS_OF_A_FILE):
        changed = bytearray(data)
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        yield bytes(changed)


def noticed(written: Written, file: Path) -> bool:
    """Whether `verify` names a damaged file; it never ends in another way than whole or with a sentence."""
    result = written.verify()
    assert result.exit_code in (0, 65), result.output
    assert "Traceback" not in result.output
    assert result.exit_code == 0 or str(file) in result.stderr, f"{file} is not named in: {result.stderr}"
    return result.exit_code == 65


def test_whole_files_are_found_whole_and_counted(written: Written) -> None:
    result = written.verify()
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    table = result.stdout[: result.stdout.index("\n\n")].splitlines()[1:]
    rows = {
        line.split("  ")[0]: [int(n.replace(",", "")) for n in re.findall(r"  +([\d,]+)\b", line)]
        for line in table
    }
    assert list(rows) == [
        "documents",
        "evidence",
        "shards",
        "exact levels",
        "tiles",
        "metadata",
        "report",
        "records",
    ]
    assert sum(n_files for n_files, _ in rows.values()) == len(written.files)
    assert sum(n for _, n in rows.values()) == sum(
        (written.copy / file).stat().st_size for file in written.files
    )


def test_a_flip_in_any_file_is_noticed_or_harmless(
    written: Written, tmp_path: Path, figure: Callable[..., None]
) -> None:
    n, other = Counter[str](), []
    for file in written.files:
        path, data = written.output / file, (written.copy / file).read_bytes()
        for number, flipped in enumerate(flips(data, f"{SEED} {file}")):
            change_with_time_put_back(path, flipped)
            if noticed(written, file):
                n["noticed"] += 1
            elif written.changed_by_a_later_run(tmp_path / f"{file.name}-{number}", file):
                other.append(f"{file}, {number}")
            else:
                n["harmless"] += 1
            path.write_bytes(data)
    n_files = len(written.files)
    figure(f"flips: {n_files} files, {n['noticed']} noticed, {n['harmless']} harmless, {len(other)} other")
    assert other == []


def emptied(path: Path) -> None:
    change_with_time_put_back(path, b"")


def truncated(path: Path) -> None:
    change_with_time_put_back(path, path.read_bytes()[:-1])


def lengthened(path: Path) -> None:
    change_with_time_put_back(path, path.read_bytes() + b"\n")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "emptied": emptied,
    "truncated": truncated,
    "lengthened": lengthened,
    "missing": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_any_other_damage_to_any_file_is_noticed_or_harmless(
    written: Written, tmp_path: Path, figure: Callable[..., None], damage: str
) -> None:
    n, other = Counter[str](), []
    files = written.files if FULL else written.files[len(damage) % 3 :: 3]
    for file in files:
        path = written.output / file
        DAMAGES[damage](path)
        if noticed(written, file):
            n["noticed"] += 1
        elif written.changed_by_a_later_run(tmp_path / file.name, file):
            other.append(str(file))
        else:
            n["harmless"] += 1
        written.put_back()
    figure(
        f"{damage}: {len(files)} files, {n['noticed']} noticed, {n['harmless']} harmless, {len(other)} other"
    )
    assert other == []


def test_files_that_have_changed_places_are_noticed(written: Written) -> None:
    folders = sorted({file.parent for file in written.files})
    unnoticed = []
    for folder in folders:
        first, *others = [file for file in written.files if file.parent == folder]
        for other in others[: None if FULL else 1]:
            if (written.copy / first).read_bytes() == (written.copy / other).read_bytes():
                continue
            change_places(written.output / first, written.output / other)
            if written.verify().exit_code != 65:
                unnoticed.append(f"{first}, {other}")
            change_places(written.output / first, written.output / other)
    assert unnoticed == []


def test_a_file_too_many_is_named_wherever_it_lies(written: Written) -> None:
    for folder in sorted({file.parent for file in written.files}):
        extra = written.output / folder / "7f"
        extra.write_bytes(b"?")
        result = written.verify()
        assert str(extra) in result.stderr, folder
        is_of_shards = folder.parts[0] not in ("process", "tmp") and folder.name not in (
            "jpeg",
            "raw",
            "chunk",
        )
        assert (result.exit_code == 65) >= (is_of_shards and "8x8x8" in folder.parts), folder
        extra.unlink()


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The output of `fibstack run`, and an export of it."""
    folder = tmp_path_factory.mktemp("mended")
    tiny_stack.write_slices(str(folder / "source"))
    output, exported = folder / "a run", folder / "exported"
    changes = {
        key: value for key, value in tiny_stack.CONFIG.items() if key not in ("image", "minz", "maxz", "fan")
    }
    settings = [
        word for key, value in {**changes, **EVERY_OUTPUT}.items() for word in ("--set", f"{key}={value}")
    ]
    in_a_shell(
        f"fibstack run --source {folder}/source --image img.%05d.png --minz 0 --maxz 7 --output '{output}' "
        + " ".join(settings)
    )
    in_a_shell(f"fibstack export '{output}' {exported} --crop 8:80,:,2: --lossless --jpeg-quality 70")
    return output, exported


def in_a_shell(command: str) -> None:
    """Give a command as it would be pasted."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    ended = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def mend(output: Path) -> None:
    result = cli("verify", output)
    assert result.exit_code == 65, result.output
    in_a_shell(result.stderr.rstrip().partition("To mend it: ")[2])


OF_A_KIND = {
    "all but plan and transforms": (
        "process/align/0-7.json",
        "process/align/0-7.npz",
        "process/cost.json",
        "process/preview.json",
        "process/trends.json",
        "process/slices.jsonl",
        "process/run.json",
        "process/report/index.html",
        "process/records/align/0-7.json",
        "process/records/compose/preview.json",
        "process/records/compose/transforms.json",
        "process/records/tile/0.json",
        "neuroglancer/jpeg/info",
        "neuroglancer/jpeg/16x16x16/0.shard",
        "chunk/8x8x8/0.shard",
        "ome-zarr/0/zarr.json",
        "tmp/aligned/c/0/0/0",
        "tmp/aligned/zarr.json",
    ),
    "the record of a block": ("process/records/pyramid/0/0.json",),
    "the plan": ("process/plan.json",),
    "the transforms": ("process/transforms.json",),
}


@pytest.mark.parametrize("kind", OF_A_KIND if FULL else list(OF_A_KIND)[:3:2])
def test_the_command_that_verify_names_mends_a_run(small_run: tuple[Path, Path], kind: str) -> None:
    output, _ = small_run
    before = {key: (output / key).read_bytes() for key in OF_A_KIND[kind]}
    for key, data in before.items():
        change_with_time_put_back(output / key, next(flips(data, key)))
    if len(before) > 1:
        (output / "chunk/8x8x8/ff.shard").write_bytes(b"?")
    mend(output)
    result = cli("verify", output, "--full")
    assert result.exit_code == 0, result.output
    made = {key for key in before if (output / key).exists()} - {"process/report/index.html"}
    assert {key: (output / key).read_bytes() for key in made} == {key: before[key] for key in made}


@pytest.mark.parametrize(
    "key", ["neuroglancer/jpeg/8x8x8/0.shard", "process/plan.json", "process/transforms.json"]
)
def test_the_command_that_verify_names_mends_an_export(small_run: tuple[Path, Path], key: str) -> None:
    _, exported = small_run
    data = (exported / key).read_bytes()
    change_with_time_put_back(exported / key, next(flips(data, key)))
    mend(exported)
    result = cli("verify", exported, "--full")
    assert result.exit_code == 0, result.output
    assert (exported / key).read_bytes() == data
