"""The demonstration: a photograph is blurred, shrunk and recovered, each step a sparse linear operator.

``python -m sparsetconv demo`` calls `run`. It needs matplotlib, scikit-image and tqdm, the extra ``demo``,
which are imported inside the functions.
"""

from __future__ import annotations

import importlib
import pathlib
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.sparse.linalg import LinearOperator, lsmr

from sparsetconv import testing
from sparsetconv._arrays.output import check_place
from sparsetconv._assembly.matrices import conv_matrix, conv_transpose_matrix
from sparsetconv._cli.demo_figure import Panel, check_format, draw
from sparsetconv.operators._convolution import ConvOperator

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]

__all__ = ["run"]

# the camera: a defocused lens, whose kernel is a disk (size and radius in pixels of the photograph), and
# noise (standard deviation; white is 1)
BLUR_SIZE, BLUR_RADIUS = 8, 3.0
NOISE = 0.005
# the prior: its weight, and the slope per pixel above which it treats a pixel as an edge
PRIOR_WEIGHT, EDGE = 3e-4, 0.01
# damping keeps each pass close to its start where neither the camera nor the prior determines the picture
PASSES, ITERATIONS, DAMPING = 4, 20, 0.01
# rows and columns of the zooms: the face and the camera
CROP = slice(96, 224), slice(200, 328)


@dataclass(frozen=True)
class Scene:
    """A photograph, the camera as an operator, and the picture that the camera took of the photograph."""

    photo: Array
    camera: ConvOperator
    seen: Array


def run(output: pathlib.Path = pathlib.Path("sparsetconv-demo.png")) -> dict[str, float]:
    """Blur and shrink a photograph, recover it, and compare with interpolation.

    It prints what it does, and takes a few seconds.

    Parameters
    ----------
    output : pathlib.Path
        The figure's file, overwritten if it exists; its suffix is that of a format that matplotlib writes.

    Returns
    -------
    dict of str to float
        Peak signal-to-noise ratios in dB: ``"nearest"``, ``"bilinear"``, ``"bicubic"`` and ``"sparsetconv"``.

    Raises
    ------
    ImportError
        If matplotlib, scikit-image or tqdm is missing.
    OSError, ValueError
        If `output` cannot be written, for example because the folder does not exist or the format is unknown.
    """
    _check_ready(output)
    kernel = np.arange(1.0, 10.0).reshape(3, 3)
    matrix = _show_matrices(kernel)
    scene = _photograph()
    _test_adjoint(scene.camera)
    pictures = _interpolations(scene)
    pictures["sparsetconv"] = _recover(scene, pictures["bicubic"])
    scores = {name: _psnr(picture, scene.photo) for name, picture in pictures.items()}
    _print_scores(scene, pictures, scores)
    draw(_panels(scene, pictures, scores), CROP, kernel, matrix, output)
    print(f"\nThe figure is in {output}")
    return scores


def _check_ready(output: pathlib.Path) -> None:
    """Raise early if a package is missing or the file cannot be written."""
    for module, package in (("matplotlib", "matplotlib"), ("skimage", "scikit-image"), ("tqdm", "tqdm")):
        try:
            importlib.import_module(module)
        except ImportError as error:
            msg = f'the demo needs {package}, from its extra: python -m pip install "sparsetconv[demo]"'
            raise ImportError(msg) from error
    check_place(output)
    check_format(output)


def _show_matrices(kernel: Array) -> Array:
    """Print the 4x16 matrix of a 3x3 kernel and its transpose; return the first."""
    matrix = conv_matrix(kernel, (4, 4)).toarray()
    transposed = conv_transpose_matrix(kernel, (2, 2)).toarray()
    assert np.array_equal(transposed, matrix.T)
    _say(
        "1. A convolution is a matrix",
        "A 3x3 kernel fits on a 4x4 picture in 4 places, so its matrix is 4x16.",
        "Many-to-one: each row holds the kernel where it looks, and gathers 9 pixels into 1.",
    )
    print(_as_text(matrix))
    _say(
        "   Its transpose, 16x4, goes the other way: this is transposed convolution.",
        "One-to-many: each column spreads 1 value over 9 pixels.",
    )
    print(_as_text(transposed))
    print("\n   conv_transpose_matrix(kernel, (2, 2)) is conv_matrix(kernel, (4, 4)).T, exactly.")
    return np.asarray(matrix, np.float64)


def _as_text(matrix: Array) -> str:
    """Return the entries in columns, zeros as dots."""
    rows = (" ".join(f"{value:.0f}" if value else "." for value in row) for row in matrix)
    return "\n" + "\n".join(f"      {row}" for row in rows)


def _say(title: str, *lines: str) -> None:
    """Print a paragraph."""
    print(f"\n{title}", *lines, sep="\n   ", flush=True)


def _photograph() -> Scene:
    """Take a picture of a photograph with a defocused camera of half the resolution."""
    from skimage.data import camera as load_photo

    photo = load_photo() / 255.0
    camera = ConvOperator(_disk(), photo.shape, stride=2, padding="same", padding_mode="reflect")
    noise = NOISE * np.random.default_rng(0).standard_normal(camera.output_shape)
    _describe(camera)
    return Scene(photo, camera, camera.apply(photo) + noise)


def _describe(camera: ConvOperator) -> None:
    rows, columns = camera.shape
    large, small = _by(camera.input_shape), _by(camera.output_shape)
    _say(
        "2. A camera is a matrix too",
        f"Defocus ({BLUR_SIZE}x{BLUR_SIZE} kernel) and half the resolution are one convolution of stride 2,",
        f"from {large} pixels to {small}: a {rows:,} x {columns:,} matrix.",
        f"As a sparse matrix it has {camera.geometry.nnz:,} entries; ConvOperator multiplies with it",
        f"(here by the method {camera.method!r}). The camera also adds noise, {NOISE:.1%} of white.",
    )


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _disk(oversampling: int = 16) -> Array:
    """Return a defocused point: a disk with a smooth edge and sum 1.

    Its size is even, so that with stride 2 and padding "same" output pixel ``o`` is centred on
    ``2 * o + 0.5``, as interpolation assumes.
    """
    places = (np.arange(BLUR_SIZE * oversampling) + 0.5) / oversampling - BLUR_SIZE / 2
    inside = np.add.outer(places**2, places**2) <= BLUR_RADIUS**2
    kernel: Array = inside.reshape(BLUR_SIZE, oversampling, BLUR_SIZE, oversampling).mean((1, 3))
    kernel /= kernel.sum()
    return kernel


def _test_adjoint(camera: ConvOperator) -> None:
    result = testing.dot_test(camera)
    testing.assert_adjoint(camera)
    _say(
        "3. Its adjoint is a transposed convolution",
        f"A.H is a {type(camera.H).__name__}. For random x and y, <A x, y> and <x, A.H y>",
        f"differ by {result.error:.1e}, relative to the vectors; {result.tolerance:.1e} would pass.",
    )


def _interpolations(scene: Scene) -> dict[str, Array]:
    """Return the camera's picture enlarged by interpolation, which does not use a model of the camera."""
    from skimage.transform import resize

    orders = {"nearest": 0, "bilinear": 1, "bicubic": 3}
    size = scene.photo.shape
    return {
        name: resize(scene.seen, size, order=order, mode="reflect", anti_aliasing=False).clip(0, 1)
        for name, order in orders.items()
    }


def _recover(scene: Scene, start: Array) -> Array:
    """Solve for the photograph.

    This minimises ``|A x - b|**2 + 2 * PRIOR_WEIGHT * sum(sqrt(|slope of x|**2 + EDGE**2))``, which favours
    constant areas but allows edges, by iteratively reweighted, damped least squares.
    """
    from tqdm import tqdm

    size = scene.photo.shape
    # two output channels: the differences to the right and downwards
    right, down = [[-1.0, 1.0], [0.0, 0.0]], [[-1.0, 0.0], [1.0, 0.0]]
    slopes = ConvOperator([[right], [down]], (1, *size), padding="same", padding_mode="replicate")
    wanted = np.concatenate([scene.seen.ravel(), np.zeros(slopes.shape[0])])
    _say(
        "4. Super-resolution is a least-squares problem",
        "Find the x with A x near what was seen, and few edges: a second ConvOperator measures",
        f"slopes. {PASSES} x {ITERATIONS} iterations of damped lsmr, from the bicubic picture:",
    )
    began = time.perf_counter()
    x = start.ravel()
    # lsmr multiplies once at the start and once per iteration; the bar is shown only on a terminal
    total = PASSES * (ITERATIONS + 1)
    shape = "   {percentage:3.0f}% |{bar:40}| {n_fmt}/{total_fmt} products"
    with tqdm(total=total, bar_format=shape, file=sys.stdout, disable=None) as bar:
        for _ in range(PASSES):
            stacked = _stacked(scene.camera, slopes, _edge_weights(slopes, x), bar.update)
            x = lsmr(stacked, wanted, DAMPING, 0, 0, 0, ITERATIONS, x0=x)[0]
    print(f"   solved for {x.size:,} unknowns in {time.perf_counter() - began:.1f} s")
    return x.reshape(size).clip(0, 1)


def _edge_weights(slopes: ConvOperator, x: Array) -> Array:
    """Return a weight for each slope, small at edges and equal for the two directions of a pixel."""
    squares = ((slopes @ x).reshape(2, -1) ** 2).sum(0)
    weights: Array = np.sqrt(PRIOR_WEIGHT) * np.tile((squares + EDGE**2) ** -0.25, 2)
    return weights


def _stacked(
    camera: ConvOperator, slopes: ConvOperator, weights: Array, tick: Callable[[], object]
) -> LinearOperator:
    """Return the camera above the weighted slopes, as one operator that calls ``tick`` in each product."""
    camera_adjoint, slopes_adjoint = camera.H, slopes.H

    def matvec(x: Array) -> Array:
        tick()
        return np.concatenate([camera @ x, weights * (slopes @ x)])

    def rmatvec(y: Array) -> Array:
        seen, steep = np.split(y, [camera.shape[0]])
        result: Array = camera_adjoint @ seen + slopes_adjoint @ (weights * steep)
        return result

    shape = camera.shape[0] + slopes.shape[0], camera.shape[1]
    return LinearOperator(shape, matvec=matvec, rmatvec=rmatvec, dtype=np.float64)


def _psnr(picture: Array, truth: Array) -> float:
    """Return the peak signal-to-noise ratio in dB, for grey values in ``[0, 1]``."""
    return float(-10 * np.log10(np.mean((picture - truth) ** 2)))


def _print_scores(scene: Scene, pictures: dict[str, Array], scores: dict[str, float]) -> None:
    from skimage.metrics import structural_similarity

    _say("5. How close to the photograph?", f"{'':12}{'PSNR, dB':>10}{'SSIM':>9}{'misfit':>10}")
    for name, picture in pictures.items():
        similarity = structural_similarity(picture, scene.photo, data_range=1.0)
        misfit = np.sqrt(np.mean((scene.camera.apply(picture) - scene.seen) ** 2))
        print(f"   {name:<12}{scores[name]:10.2f}{similarity:9.3f}{misfit:10.4f}")
    _say(
        "   PSNR and SSIM: more is better. Misfit: photograph the result with the same camera;",
        f"its distance from what was seen should be about the noise, {NOISE}, or less.",
    )


def _panels(scene: Scene, pictures: dict[str, Array], scores: dict[str, float]) -> list[Panel]:
    small, gain = _by(scene.seen.shape), scores["sparsetconv"] - scores["bicubic"]
    return [
        Panel("The photograph", f"{_by(scene.photo.shape)} pixels", scene.photo),
        Panel("What the camera saw", f"{small} pixels, out of focus", scene.seen),
        Panel("Bicubic", f"PSNR {scores['bicubic']:.2f} dB", pictures["bicubic"]),
        Panel(
            "sparsetconv",
            f"PSNR {scores['sparsetconv']:.2f} dB (+{gain:.1f} dB)",
            pictures["sparsetconv"],
            True,
        ),
    ]
