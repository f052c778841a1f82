"""Compiles the one part of fibstack that is not Python; all else of the package stands in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

FLAGS = (
    *("-O3", "-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-s"),
    # The same bytes on every machine, and on machines of another age than the one that compiles.
    *("-ffp-contract=off", "-mcpu=baseline"),
)


class BuildWithZig(build_ext):
    """Compiles with the C compiler of the package ziglang: a machine that installs fibstack may have none."""

    def get_ext_filename(self, fullname: str) -> str:
        """A library that ctypes loads; with the suffix .so, Python would take it for a module."""
        return fullname.replace(".", "/") + ".bin"

    def build_extension(self, ext: Extension) -> None:
        """Compile the source."""
        (source,) = ext.sources
        library = Path(self.get_ext_fullpath(ext.name))
        library.parent.mkdir(parents=True, exist_ok=True)
        checksum = f"-DSOURCE_CRC32={zlib.crc32(Path(source).read_bytes())}U"
        command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, checksum, source, "-o", str(library)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    setup(
        ext_modules=[Extension("components.tile.bspline", ["components/tile/bspline.c"])],
        cmdclass={"build_ext": BuildWithZig},
    )
