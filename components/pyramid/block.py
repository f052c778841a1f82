"""The shard files of one block, made from the slabs of all its levels as they come.

A block owns its shards: no other block has a chunk in them, so that blocks are written independently.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import chain, product

import numpy as np

from components.pyramid.downsample import Slab, Voxels
from components.pyramid.encode import encode_jpeg, encode_png, encode_raw
from components.pyramid.shard import assemble_shard
from components.shared.grid import SizeXyz, ceil_div
from components.shared.volume import ome_zarr
from components.shared.volume.layout import Scale, scale_at
from components.shared.volume.volume import Encoding, TileArray, Volume, VolumeOutput
from components.shared.volume.zarr_shard import assemble_zarr_shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """Encoding of the chunks of a volume: from voxels to bytes."""

    encoding: Encoding
    jpeg_quality: int
    n_channels: int
    """Number of channels that are encoded; they are the first ones of the voxels."""
    fills_up: bool
    """A chunk that the volume's border clips is padded with black to its whole size."""

    @classmethod
    def of(cls, output: VolumeOutput) -> Codec:
        """The codec of an output."""
        return cls(
            encoding=output.encoding,
            jpeg_quality=output.jpeg_quality,
            n_channels=output.n_channels,
            fills_up=output.format == "ome-zarr",
        )

    def encode(self, voxels: Voxels, chunk: int) -> bytes:
        """The bytes of a chunk; its sides are `chunk` voxels where no border clips it."""
        if voxels.ndim > 3:
            voxels = voxels[: self.n_channels]
        if self.fills_up:
            missing = [(0, chunk - n) for n in voxels.shape[-3:]]
            voxels = np.pad(voxels, [(0, 0)] * (voxels.ndim - 3) + missing)
        if self.encoding == "jpeg":
            return encode_jpeg(voxels, self.jpeg_quality)
        return encode_png(voxels) if self.encoding == "png" else encode_raw(voxels)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFile:
    """A finished shard, to be written to one volume."""

    uri: str
    """Root of the volume that it belongs to."""
    key: str
    parts: Sequence[bytes]
    """Content of the file in parts, in their order; none where every voxel is black: there is no file."""


class BlockEncoder:
    """Encodes the slabs of one block and hands out each shard as soon as its last slab is there.

    Only encoded chunks are kept. Chunks and shards that several outputs have in common are made once.
    """

    def __init__(self, volume: Volume, tiles: TileArray, base_level: int, block: int, pool: Executor) -> None:
        """Encode for the outputs of `volume` that are made from `tiles`, one of its arrays of tiles."""
        self._pass = volume.pass_at_level(base_level)
        self._block = block
        self._pool = pool
        levels = range(base_level, base_level + self._pass.n_levels)
        self._layers = {level: _shard_layers(volume, tiles, level) for level in levels}

    def add(self, slab: Slab) -> Iterator[ShardFile]:
        """Encode a slab; yields the shards that it completes.

        Each level's slabs come in the order of their layers. Read the iterator to its end.
        """
        layers = self._layers[slab.level]
        if not layers:
            return
        chunk = self._pass.chunk
        start, stop = self._pass.block_bounds(self._block, slab.level)
        first_x, first_y, first_z = (n // chunk for n in start)
        z = first_z + slab.layer
        height, width = slab.voxels.shape[-2:]
        rows, columns = range(0, height, chunk), range(0, width, chunk)
        positions = [(first_x + x // chunk, first_y + y // chunk, z) for y, x in product(rows, columns)]
        codecs = {layer.codec for layer in layers}

        def encode_row(y: int) -> list[dict[Codec, bytes]]:
            row = (slab.voxels[..., y : y + chunk, x : x + chunk] for x in columns)
            return [_encode_chunk(np.ascontiguousarray(voxels), chunk, codecs) for voxels in row]

        encoded = list(chain.from_iterable(self._pool.map(encode_row, rows)))
        for layer in layers:
            layer.add(dict(zip(positions, [chunk.get(layer.codec) for chunk in encoded], strict=True)))
        del encoded
        for layer in layers:
            if z + 1 == ceil_div(stop[2], chunk) or layer.ends_at(z):
                yield from layer.finish()


def _shard_layers(volume: Volume, tiles: TileArray, level: int) -> list[_ShardLayer]:
    """The shards to gather at a level; outputs whose shards are the same share them."""
    uris: dict[tuple[Codec, Scale], list[str]] = {}
    for output in volume.outputs:
        if output.array == tiles and level in output.levels:
            uris.setdefault((Codec.of(output), scale_at(volume, output, level)), []).append(output.uri)
    layers = [_ShardLayer(codec, scale, shared) for (codec, scale), shared in uris.items()]
    # Small shards first: least memory where all end at once.
    return sorted(layers, key=lambda layer: layer.chunks_per_shard_xyz)


def _encode_chunk(voxels: Voxels, chunk: int, codecs: set[Codec]) -> dict[Codec, bytes]:
    """The bytes of a chunk by codec; nothing where it is all black."""
    if voxels.max() == 0:
        return {}
    is_whole = voxels.shape[-3:] == (chunk, chunk, chunk)
    encoded: dict[Codec, bytes] = {}
    by_codec: dict[Codec, bytes] = {}
    for codec in codecs:
        # There is nothing to fill up in a whole chunk, so that both formats have the same bytes.
        needed = replace(codec, fills_up=False) if is_whole else codec
        if needed not in encoded:
            encoded[needed] = needed.encode(voxels, chunk)
        by_codec[codec] = encoded[needed]
    return by_codec


class _ShardLayer:
    """The shards of one encoding at one level and one depth, while their chunks are gathered."""

    def __init__(self, codec: Codec, scale: Scale, uris: list[str]) -> None:
        self.codec = codec
        self.chunks_per_shard_xyz = tuple(side // scale.chunk for side in scale.shard_sides)
        self._scale = scale
        self._uris = uris
        self._shards: dict[SizeXyz, dict[int, bytes]] = {}

    def add(self, encoded: Mapping[SizeXyz, bytes | None]) -> None:
        """Gather a layer of chunks, given by their position in the grid; None for one that is all black."""
        for chunk_xyz, data in encoded.items():
            x, y, z = (n // side for n, side in zip(chunk_xyz, self.chunks_per_shard_xyz, strict=True))
            chunks = self._shards.setdefault((x, y, z), {})
            if data is not None:
                chunks[self._scale.chunk_number(chunk_xyz)] = data

    def ends_at(self, chunk_z: int) -> bool:
        """True of a layer of chunks that is the last of its shards."""
        return (chunk_z + 1) % self.chunks_per_shard_xyz[2] == 0

    def finish(self) -> Iterator[ShardFile]:
        """Assemble and hand out the shards that were gathered, and forget them."""
        for shard_xyz in list(self._shards):
            chunks = self._shards.pop(shard_xyz)
            parts = self._assembled_parts(chunks) if chunks else []
            for uri in self._uris:
                yield ShardFile(uri=uri, key=self._scale.shard_key(shard_xyz), parts=parts)

    def _assembled_parts(self, chunks: Mapping[int, bytes]) -> list[bytes]:
        if isinstance(self._scale, ome_zarr.OmeZarrScale):
            return assemble_zarr_shard(chunks, math.prod(self.chunks_per_shard_xyz))
        return assemble_shard(chunks, self._scale.sharding)
