"""The `plan` step as KFP sees it."""

from kfp import dsl

from components.shared.container_images import image_name


@dsl.container_component
def plan(
    source: str,
    image: str,
    minz: int,
    maxz: int,
    output: str,
    process_uri: dsl.OutputPath(str),  # type: ignore[valid-type]
    chunks: dsl.OutputPath(list),  # type: ignore[valid-type]
    id: str,  # noqa: A002 - the key of the configuration
    project: str,
    email: str,
    webhook: str,
    more_channels: list,  # type: ignore[type-arg]
    crop: list,  # type: ignore[type-arg]
    invert: bool,
    resolution: list,  # type: ignore[type-arg]
    downsample_factor: float,
    match_size: int,
    neighbours: int,
    solver: str,
    skip_align: bool,
    allow_gaps: bool,
    overrides: str,
    trend: str,
    replace_with: str,
    max_replaced: int,
    force: bool,
    clip_limit: float,
    jpeg_quality: int,
    raw_pyramid: bool,
    keep_bits: bool,
    lossless_encoding: str,
    ome_zarr: bool,
    output_level: int,
    keep_tiles: bool,
    fan: int,
    pods: str,
) -> dsl.ContainerSpec:
    """Look at the input, refuse what cannot work, and cut the work into units.

    Args:
        source: Bucket, gs:// URI or folder that holds the slices.
        image: Name pattern of a slice, such as img.%05d.png.
        minz: Number of the first slice.
        maxz: Number of the last slice, included.
        output: gs:// URI or folder that receives the results.
        process_uri: Where the records of the run lie.
        chunks: Ranges of slices that are still to be matched, such as 0-15.
        id: Name of the run.
        project: Google Cloud project that pays for requests.
        email: Address that is told when the run ends.
        webhook: http(s) address that gets a JSON message when the run ends.
        more_channels: Name patterns of further channels; each is warped as the slices of image are.
        crop: Part of each picture that is used: [x, y, width, height] in px; empty: all of it.
        invert: Turn the grey levels of image round: tissue dark on bright.
        resolution: Size of a voxel in nm, [x, y, z].
        downsample_factor: Slices are matched at 1 / this scale; 0 chooses it from match_size.
        match_size: Longest side in px at which slices are matched.
        neighbours: Each slice is matched with this many that follow it.
        solver: robust: one global solve. compose: product of neighbouring transforms.
        skip_align: Take the slices as they lie, without alignment.
        allow_gaps: Accept missing slices and stacks that fall into unconnected parts.
        overrides: YAML file of decisions about single slices.
        trend: What becomes of slow trends along z in position, rotation, scale and shear.
        replace_with: What is shown in place of a bad or missing slice.
        max_replaced: Longest run of slices that is replaced; a longer one stops the run.
        force: Write the volume even where the check on thumbnails fails.
        clip_limit: CLAHE clip limit in scikit-image's meaning; 0 switches CLAHE off.
        jpeg_quality: JPEG quality of the volume to browse.
        raw_pyramid: Write every level lossless too, under neuroglancer/raw.
        keep_bits: Write the raw grey levels of 16-bit slices to the lossless volumes, as uint16.
        lossless_encoding: Lossless volumes as gzip, or as PNG: a fifth smaller, slower to write and read.
        ome_zarr: Write every level lossless as OME-Zarr too, under ome-zarr.
        output_level: Finest level that is written; 0 is full resolution.
        keep_tiles: Keep the aligned tiles in tmp/ when the run has ended.
        fan: Most items in a loop.
        pods: JSON of each step's image and machine, to estimate the cost from.
    """
    return dsl.ContainerSpec(
        image=image_name("plan"),
        command=["python", "-m", "components.plan.main"],
        args=[
            *("--id", id),
            *("--source", source),
            *("--image", image),
            *("--minz", minz),
            *("--maxz", maxz),
            *("--output", output),
            *("--project", project),
            *("--email", email),
            *("--webhook", webhook),
            *("--more-channels", more_channels),
            *("--crop", crop),
            *("--invert", invert),
            *("--resolution", resolution),
            *("--downsample-factor", downsample_factor),
            *("--match-size", match_size),
            *("--neighbours", neighbours),
            *("--solver", solver),
            *("--skip-align", skip_align),
            *("--allow-gaps", allow_gaps),
            *("--overrides", overrides),
            *("--trend", trend),
            *("--replace-with", replace_with),
            *("--max-replaced", max_replaced),
            *("--force", force),
            *("--clip-limit", clip_limit),
            *("--jpeg-quality", jpeg_quality),
            *("--raw-pyramid", raw_pyramid),
            *("--keep-bits", keep_bits),
            *("--lossless-encoding", lossless_encoding),
            *("--ome-zarr", ome_zarr),
            *("--output-level", output_level),
            *("--keep-tiles", keep_tiles),
            *("--fan", fan),
            *("--pods", pods),
            *("--process-uri-out", process_uri),
            *("--chunks-out", chunks),
        ],
    )
