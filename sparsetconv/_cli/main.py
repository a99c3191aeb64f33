"""The command line: ``sparsetconv demo | plan | build | upsample | learn | tune``.

Options are passed to the public functions, which check them and raise the error messages.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv import __version__, pictures
from sparsetconv._arrays.display import shown
from sparsetconv._arrays.output import check_place, whole_file
from sparsetconv._assembly.formats import FORMATS
from sparsetconv._assembly.matrices import conv_matrix, conv_transpose_matrix
from sparsetconv._cli.plan import describe
from sparsetconv._geometry.padding import ALIASES, PADDING_MODES
from sparsetconv._geometry.transposed import settled_geometry
from sparsetconv._geometry.validation import PADDING_WORDS
from sparsetconv._methods.cpu.rates import SWITCH
from sparsetconv._methods.tune import tune as measure_machine
from sparsetconv.pictures import _files, _learning
from sparsetconv.pictures._enlarge import larger_shape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sparsetconv._geometry.convolution import ConvGeometry

OUTPUTS = (".npz", ".mtx")
# the options of a geometry, except its shapes
PARAMETERS = (
    "stride", "padding", "output_padding", "output_shape", "dilation", "groups", "padding_mode", "flip",
)  # fmt: skip
# the exit status that shells report for a program that SIGINT has terminated
INTERRUPTED = 130


def sizes(text: str) -> tuple[int, ...]:
    """Parse ``7``, ``7x7`` or ``7,7``.

    Examples
    --------
    >>> sizes("3x512x512")
    (3, 512, 512)
    """
    try:
        return tuple(int(part) for part in re.split("[x,]", text))
    except ValueError:
        msg = f"expected integers joined by 'x' or ',', such as 7x7, got {shown(text)}"
        raise argparse.ArgumentTypeError(msg) from None


def per_axis(text: str) -> Any:
    """Parse one integer for all axes, or one for each."""
    numbers = sizes(text)
    return numbers[0] if len(numbers) == 1 else numbers


def pads(text: str) -> Any:
    """Parse a padding: a word, ``1``, ``1x2`` or pairs such as ``1:2x0:3``.

    Examples
    --------
    >>> pads("same"), pads("1"), pads("1:2x0:3")
    ('same', 1, ((1, 2), (0, 3)))
    """
    if text in PADDING_WORDS:
        return text
    try:
        parts = [tuple(int(side) for side in part.split(":")) for part in re.split("[x,]", text)]
    except ValueError:
        msg = (
            f"expected one of {', '.join(PADDING_WORDS)}, or integers such as 1, 1x2 or 1:2x0:3, "
            f"got {shown(text)}"
        )
        raise argparse.ArgumentTypeError(msg) from None
    if len(parts) == 1 and len(parts[0]) == 1:
        return parts[0][0]
    return tuple(part[0] if len(part) == 1 else part for part in parts)


def modes(text: str) -> Any:
    """Parse one padding mode for all axes, or one for each."""
    words = tuple(text.split(","))
    return words[0] if len(words) == 1 else words


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Convolutions as sparse matrices and linear operators.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sparsetconv {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = _command(commands, "demo", help="deblur and super-resolve a photograph, and draw a figure")
    demo.add_argument("-o", "--output", type=Path, default=Path("sparsetconv-demo.png"), help="the figure")
    _add_force(demo)
    plan = _command(commands, "plan", help="sizes, bytes and times of a matrix, without allocating it")
    plan.add_argument("--kernel-shape", type=sizes, required=True, help="such as 7x7 or 16x3x7x7")
    _add_geometry(plan)
    build = _command(commands, "build", help="a kernel in a .npy file to a matrix in .npz or Matrix Market")
    build.add_argument("kernel", type=Path, help="the kernel, a .npy file")
    build.add_argument("output", type=Path, help="the matrix, .npz (scipy.sparse.load_npz) or .mtx")
    build.add_argument("--format", choices=FORMATS, default="csr", help="sparse format in a .npz file")
    _add_force(build)
    _add_geometry(build)
    _add_pictures(commands)
    tune = _command(commands, "tune", help='measure this machine, for method="auto"; ten seconds or so')
    tune.add_argument("--no-store", action="store_true", help="print the rates, and do not use them")
    return parser


def _command(commands: Any, name: str, help: str) -> argparse.ArgumentParser:
    # no abbreviations, which could become ambiguous when options are added
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help, allow_abbrev=False)
    return parser


def _add_pictures(commands: Any) -> None:
    upsample = _command(commands, "upsample", help="make a picture larger")
    upsample.add_argument("input", type=Path, help="a picture: PNG, TIFF, JPEG and more, of 8 or 16 bits")
    upsample.add_argument("output", type=Path, help="the larger picture; its ending names the format")
    upsample.add_argument("--scale", type=number, required=True, help="factor of both sizes, such as 2")
    upsample.add_argument(
        "--mode",
        choices=pictures.MODES,
        default="learned",
        help="learned (the default) needs an integer scale, the others any scale",
    )
    upsample.add_argument(
        "--kernel",
        type=Path,
        help="with learned: a .npy file from learn; scales 2, 3 and 4 have a default",
    )
    _add_reading(upsample)
    _add_force(upsample)
    learn = _command(commands, "learn", help="fit the kernel that restores pictures after shrinking")
    learn.add_argument("pictures", type=Path, nargs="+", help="files; each channel counts as a picture")
    learn.add_argument("--scale", type=int, required=True, help="such as 2")
    learn.add_argument(
        "--taps",
        type=int,
        required=True,
        help="rows and columns of the kernel, such as 12; odd where the scale is odd, even where it is even",
    )
    learn.add_argument("--ridge", type=float, default=0.0, help="weight of the kernel's squared norm")
    learn.add_argument("-o", "--output", type=Path, required=True, help="the kernel, a .npy file")
    _add_reading(learn)
    _add_force(learn)


def _add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="overwrite without asking")


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=_files.MAX_PIXELS,
        help="refuse larger pictures before they are decoded (default: %(default)s)",
    )


def number(text: str) -> float:
    """Parse an integer or a decimal number.

    Examples
    --------
    >>> number("2"), number("1.5")
    (2, 1.5)
    """
    try:
        return int(text) if text.strip().lstrip("+-").isdigit() else float(text)
    except ValueError:
        msg = f"expected a number such as 2 or 1.5, got {shown(text)}"
        raise argparse.ArgumentTypeError(msg) from None


def _add_geometry(parser: argparse.ArgumentParser) -> None:
    known_modes = ", ".join((*PADDING_MODES, *ALIASES))
    parser.add_argument(
        "--shape", type=sizes, required=True, help="input shape, such as 4096x4096 or 3x64x64"
    )
    parser.add_argument("--stride", type=per_axis, default=1, help="one integer, or one for each axis: 2x1")
    parser.add_argument(
        "--padding", type=pads, default=0, help=f"{', '.join(PADDING_WORDS)}, or integers: 1, 1x2, 1:2x0:3"
    )
    parser.add_argument("--dilation", type=per_axis, default=1)
    parser.add_argument("--groups", type=int, default=1)
    parser.add_argument(
        "--padding-mode", type=modes, default="zeros", help=f"one or one for each axis: {known_modes}"
    )
    parser.add_argument("--flip", action="store_true", help="reverse the kernel: the textbook's convolution")
    parser.add_argument("--transposed", action="store_true", help="the transposed convolution")
    parser.add_argument("--output-padding", type=per_axis, default=0, help="with --transposed")
    parser.add_argument("--output-shape", type=sizes, default=None, help="with --transposed")


def _geometry(args: argparse.Namespace, kernel_shape: tuple[int, ...]) -> ConvGeometry:
    parameters = {name: getattr(args, name) for name in PARAMETERS}
    return settled_geometry(args.shape, kernel_shape, args.transposed, **parameters)


def _plan(args: argparse.Namespace) -> None:
    print(describe(_geometry(args, args.kernel_shape), transposed=args.transposed))


def _build(args: argparse.Namespace) -> None:
    import scipy.io
    import scipy.sparse as sp

    from sparsetconv._arrays.validation import as_array

    output: Path = args.output
    if output.suffix not in OUTPUTS:
        msg = f"output must end in one of {', '.join(OUTPUTS)}, got {shown(str(output))}"
        raise ValueError(msg)
    kernel = as_array("kernel", _load(args.kernel))
    geometry = _geometry(args, kernel.shape)
    _check_output(args)
    make = conv_transpose_matrix if args.transposed else conv_matrix
    matrix = make(kernel, geometry, format=args.format)
    with whole_file(output) as file:
        if output.suffix == ".npz":
            sp.save_npz(file, matrix)
        else:
            scipy.io.mmwrite(file, matrix)
    print(f"{output}: {matrix.shape[0]} x {matrix.shape[1]}, {matrix.nnz} entries, {matrix.dtype}")


def _ask_to_overwrite(path: Path) -> None:
    if not sys.stdin.isatty():
        msg = f"{path} exists; --force overwrites it"
        raise FileExistsError(msg)
    print(f"{path} exists. Overwrite it? [y/N] ", end="", flush=True)
    # end of input means no
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        msg = f"{path} was left as it is"
        raise FileExistsError(msg)


def _progress(items: Any, what: str, unit: str) -> Any:
    """Return the items with a progress bar, which is shown only on a terminal."""
    try:
        from tqdm import tqdm
    except ImportError as error:
        msg = 'pictures need tqdm, from an extra: python -m pip install "sparsetconv[pictures]"'
        raise ImportError(msg) from error
    return tqdm(items, desc=what, unit=unit, disable=None)


def _upsample(args: argparse.Namespace) -> None:
    picture = _files.read(args.input, args.max_pixels)
    shape = larger_shape(picture.shape, args.scale, args.mode)
    _files.check_format(args.output, shape, picture.dtype)
    _check_output(args)
    kernel = None if args.kernel is None else _load(args.kernel)
    larger = pictures.upsample(
        picture,
        args.scale,
        args.mode,
        kernel=kernel,
        alpha=_files.has_opacity(picture),
        progress=lambda channels: _progress(channels, "upsample", "channel"),
    )
    _files.write(args.output, larger)
    sizes = " to ".join(f"{a.shape[1]} x {a.shape[0]}" for a in (picture, larger))
    channels = 1 if larger.ndim == 2 else larger.shape[2]
    print(f"{args.output}: {sizes} pixels, {channels} channel(s) of {larger.dtype}, {args.mode}")


def _learn(args: argparse.Namespace) -> None:
    if args.output.suffix != ".npy":
        msg = f"output must end in .npy, got {shown(str(args.output))}"
        raise ValueError(msg)
    _check_output(args)
    for path in args.pictures:
        _files.check_file(path)
    kernel = pictures.learn(_opaque_pictures(args), args.scale, args.taps, ridge=args.ridge)
    with whole_file(args.output) as file:
        np.save(file, kernel)
    print(f"{args.output}: a kernel of {kernel.shape[0]} x {kernel.shape[1]} for scale {args.scale}")


def _opaque_pictures(args: argparse.Namespace) -> Iterator[Any]:
    """Yield the pictures in the files, without opacity."""
    for path in _progress(args.pictures, "learn", "picture"):
        picture = _files.read(path, args.max_pixels)
        _learning.learnable(shown(str(path)), picture, args.scale)
        yield picture[..., :-1] if _files.has_opacity(picture) else picture


def _load(path: Path) -> Any:
    """Return the array in a .npy file."""
    with path.open("rb") as file:
        try:
            return np.lib.format.read_array(file, allow_pickle=False)
        except ValueError as error:
            msg = f"{path} must hold one array, as numpy.save writes it, of numbers"
            raise ValueError(msg) from error


def _check_output(args: argparse.Namespace) -> None:
    """Raise early if the file cannot be written; ask whether to overwrite it if it exists."""
    output: Path = args.output
    check_place(output)
    # lexists is also true for a link whose target does not exist
    if os.path.lexists(output) and not args.force:
        _ask_to_overwrite(output)


def _demo(args: argparse.Namespace) -> None:
    from sparsetconv._cli.demo import run

    _check_output(args)
    run(args.output)


def _tune(args: argparse.Namespace) -> None:
    def rounds(numbers: range) -> Iterator[int]:
        print("preparing: matrices, spectra, and what has to be compiled", file=sys.stderr)
        for number in numbers:
            print(f"round {number + 1} of at most {len(numbers)}", file=sys.stderr)
            yield number

    tuned = measure_machine(store=not args.no_store, progress=rounds)
    print(f"{tuned.processor}, {tuned.threads} thread(s), {tuned.date}")
    for name, seconds in tuned.rates.items():
        print(f"  {name:<15} {seconds:.3g} s")
    print(f"estimates are within a factor of {tuned.ratio:.2f} for half of the problems that were measured")
    print("not stored" if tuned.path is None else f"stored in {tuned.path}; {SWITCH}=off turns them off")


def _cause(error: BaseException) -> str:
    """Return the message of an error in one line, after the name of the file if the error has one."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{shown(os.fsdecode(error.filename))}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def main(argv: Sequence[str] | None = None, program: str = "sparsetconv") -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments without the program's name; ``sys.argv[1:]`` if not given.
    program : str, optional
        The program's name in usage messages.

    Returns
    -------
    int
        0; 1 after an error, which is printed in one line; or 130 if the user interrupted. argparse itself
        exits with 2.
    """
    args = _parser(program).parse_args(argv)
    commands = {"demo": _demo, "plan": _plan, "build": _build}
    commands |= {"upsample": _upsample, "learn": _learn, "tune": _tune}
    try:
        commands[args.command](args)
    except (ValueError, TypeError, OSError, MemoryError, ImportError, OverflowError) as error:
        print(f"error: {_cause(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0
