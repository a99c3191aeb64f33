"""Files of pictures: every layout in every format that holds it, upright, whole, and refused with the cause."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest

from sparsetconv import pictures
from sparsetconv._cli.main import main
from sparsetconv.pictures import _files

vips = pytest.importorskip("pyvips")
tifffile = pytest.importorskip("tifffile")
image = pytest.importorskip("PIL.Image")
pytest.importorskip("tqdm")

# EXIF orientation: what brings the stored samples upright
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}
CHANNELS = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,)}
COLOUR_TYPES = {"L": 0, "RGB": 2, "P": 3, "LA": 4, "RGBA": 6}


def samples_of(mode, dtype="uint8", flat=False, shape=(8, 13)):
    """Return a picture; a flat one has one colour, and its opacity varies."""
    rng = np.random.default_rng(len(mode))
    samples = rng.integers(0, np.iinfo(dtype).max, (*shape, *CHANNELS[mode]), dtype, endpoint=True)
    colours = slice(0, {"LA": 1, "RGBA": 3}.get(mode))
    if flat:
        samples[..., colours] = samples[0, 0, colours] if samples.ndim == 3 else samples[0, 0]
    return samples


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(samples, mode, orientation=None, **chunks):
    """Return a PNG of 8 or 16 bits, written by the specification alone."""
    rows, columns = samples.shape[:2]
    header = struct.pack(">IIBBBBB", columns, rows, 8 * samples.itemsize, COLOUR_TYPES[mode], 0, 0, 0)
    lines = samples.astype(samples.dtype.newbyteorder(">")).reshape(rows, -1)
    if orientation:
        entry = struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
        chunks["eXIf"] = b"MM\x00*" + struct.pack(">I", 8) + entry
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(chunk(name.encode(), data) for name, data in chunks.items())
        + chunk(b"IDAT", zlib.compress(b"".join(b"\x00" + line.tobytes() for line in lines)))
        + chunk(b"IEND", b"")
    )


def tiff(samples, mode, orientation=1, opacity="unassalpha", **options):
    file = io.BytesIO()
    options["photometric"] = options.get("photometric", "rgb" if mode.startswith("RGB") else "minisblack")
    if mode.endswith("A"):
        options |= {"extrasamples": [opacity], "planarconfig": "contig"}
    tifffile.imwrite(file, samples, extratags=[(274, "H", 1, orientation, True)], **options)
    return file.getvalue()


def pillow(samples, mode, orientation, format, **options):
    exif = image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.fromarray(samples, mode).save(file, format, exif=exif, **options)
    return file.getvalue()


def held(tmp_path, content, name="in"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.filterwarnings("ignore:.*mode.* parameter is deprecated:DeprecationWarning")
@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("flat", [False, True], ids=["textured", "flat"])
class TestPicturesLieAsTheCameraWasHeld:
    def check(self, tmp_path, content, samples, orientation, tolerance=0):
        found = _files.read(held(tmp_path, content))
        expected = UPRIGHT[orientation](samples)
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        assert abs(found.astype(int) - expected).max() <= tolerance

    @pytest.mark.parametrize("dtype", ["uint8", "uint16"])
    @pytest.mark.parametrize("mode", CHANNELS)
    def test_png(self, tmp_path, mode, dtype, flat, orientation):
        samples = samples_of(mode, dtype, flat)
        self.check(tmp_path, png(samples, mode, orientation), samples, orientation)

    @pytest.mark.parametrize("dtype", ["uint8", "uint16"])
    @pytest.mark.parametrize("mode", CHANNELS)
    def test_tiff(self, tmp_path, mode, dtype, flat, orientation):
        samples = samples_of(mode, dtype, flat)
        self.check(tmp_path, tiff(samples, mode, orientation), samples, orientation)

    @pytest.mark.parametrize("opacity", [False, True], ids=["opaque", "opacity"])
    def test_palettes(self, tmp_path, flat, orientation, opacity):
        rng = np.random.default_rng(0)
        colours = rng.integers(0, 256, (5, 4), np.uint8)
        colours[:, :3] = colours[0, :3] if flat else colours[:, :3]
        numbers = rng.integers(0, 5, (8, 13), np.uint8)
        chunks = {"PLTE": colours[:, :3].tobytes()}
        if opacity:
            chunks["tRNS"] = colours[:, 3].tobytes()
        # eXIf may stand anywhere before the samples
        content = png(numbers, "P", orientation, **chunks)
        self.check(tmp_path, content, colours[numbers][..., : 3 + opacity], orientation)

    def test_tiff_palettes(self, tmp_path, flat, orientation):
        rng = np.random.default_rng(0)
        colours = rng.integers(0, 256, (256, 3))
        colours = np.repeat(colours[:1], 256, 0) if flat else colours
        numbers = rng.integers(0, 256, (8, 13), np.uint8)
        options = {"photometric": "palette", "colormap": (257 * colours.T).astype(np.uint16)}
        content = tiff(numbers, "P", orientation, **options)
        self.check(tmp_path, content, colours[numbers].astype(np.uint8), orientation)

    @pytest.mark.parametrize("mode", ["L", "RGB"])
    def test_jpeg(self, tmp_path, mode, flat, orientation):
        smooth = np.add.outer(12 * np.arange(8), 9 * np.arange(13)).astype(np.uint8)
        samples = smooth if mode == "L" else np.dstack([smooth, 255 - smooth, smooth // 2])
        samples = np.full_like(samples, samples[3, 4]) if flat else samples
        content = pillow(samples, mode, orientation, "JPEG", quality=100, subsampling=0)
        self.check(tmp_path, content, samples, orientation, 3)

    @pytest.mark.parametrize("mode", ["RGB", "RGBA"])
    def test_webp(self, tmp_path, mode, flat, orientation):
        samples = samples_of(mode, "uint8", flat)
        content = pillow(samples, mode, orientation, "WEBP", lossless=True, exact=True)
        self.check(tmp_path, content, samples, orientation)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_colour_that_is_transparent(tmp_path, mode, dtype):
    """PNG's tRNS names one grey value or colour that is not seen."""
    samples = samples_of(mode, dtype)
    samples[2:4, 5:9] = samples[0, 0]
    found = _files.read(held(tmp_path, png(samples, mode, tRNS=np.array(samples[0, 0], ">u2").tobytes())))
    seen = (samples != samples[0, 0]).reshape(8, 13, -1).any(2)
    np.testing.assert_array_equal(found, np.dstack([samples, seen * np.iinfo(dtype).max]))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_colours_of_a_tiff_are_not_multiplied_by_its_opacity(tmp_path, mode, dtype):
    """Neither where they are stored plain, nor where the file has them multiplied (ExtraSamples 1)."""
    samples = samples_of(mode, dtype)
    for opacity in ("unassalpha", "unspecified"):
        found = _files.read(held(tmp_path, tiff(samples, mode, opacity=opacity)))
        np.testing.assert_array_equal(found, samples)
    limit = np.iinfo(dtype).max
    samples[..., -1] = limit // 2
    multiplied = samples.copy()
    multiplied[..., :-1] //= 2
    found = _files.read(held(tmp_path, tiff(multiplied, mode, opacity="assocalpha")))
    assert abs(found.astype(int) - samples).max() <= 3


TIFFS = {
    "big-endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
    "tiles": {"tile": (16, 16)},
    "deflated": {"compression": "zlib", "predictor": True},
    "planes": {"planarconfig": "separate"},
}


@pytest.mark.parametrize("name", TIFFS)
def test_kinds_of_tiff(tmp_path, name):
    samples = samples_of("RGB", "uint16", shape=(40, 50))
    stored = np.moveaxis(samples, -1, 0) if name == "planes" else samples
    found = _files.read(held(tmp_path, tiff(np.ascontiguousarray(stored), "RGB", **TIFFS[name])))
    np.testing.assert_array_equal(found, samples)


def test_other_kinds_of_samples(tmp_path):
    """White is zero, one bit, cyan and its like: grey values or colours come of all."""
    grey = samples_of("L")
    white = tiff(255 - grey, "L", photometric="miniswhite")
    np.testing.assert_array_equal(_files.read(held(tmp_path, white)), grey)
    bits = image.fromarray(grey > 99)
    for format in ("PNG", "TIFF"):
        bits.save(tmp_path / "bits", format)
        np.testing.assert_array_equal(_files.read(tmp_path / "bits"), 255 * (grey > 99))
    half = tiff(grey.astype(np.float16), "L")
    np.testing.assert_array_equal(_files.read(held(tmp_path, half)), grey.astype(np.float32))
    image.new("CMYK", (9, 7), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg")
    found = _files.read(tmp_path / "cmyk.jpg")
    assert found.shape == (7, 9, 3)
    assert (found[..., 0] > 150).all()
    assert (found[..., 1:] < 100).all()


def picture_for(format, depth, channels):
    shape = (9, 12, channels) if channels > 1 else (9, 12)
    values = np.random.default_rng(0).random(shape)
    if format == "JPEG":
        # smooth: what JPEG keeps
        values = np.broadcast_to(np.linspace(0.2, 0.8, 12)[:, None], (9, 12, channels)).reshape(shape)
    return (values * 255 if depth == "uint8" else values * 65535).astype(depth)


HELD = [
    (ending, depth, channels)
    for format in _files.FORMATS.values()
    for ending in format.endings
    for depth in format.depths
    for channels in format.channels
]


@pytest.mark.parametrize(("ending", "depth", "channels"), HELD)
def test_what_is_written_is_what_others_read(tmp_path, ending, depth, channels):
    cv2 = pytest.importorskip("cv2")
    picture = picture_for("JPEG" if ending in (".jpg", ".jpeg") else "", depth, channels)
    path = tmp_path / f"out{ending}"
    _files.write(path, picture)
    np.testing.assert_allclose(_files.read(path), picture, atol=2 if ending[1] == "j" else 0)
    if ending in (".tif", ".tiff"):
        with tifffile.TiffFile(path) as file:
            found = file.pages[0].asarray()
            tag = file.pages[0].tags.get("ExtraSamples")
        assert (tag.value if tag else ()) == ((2,) if channels in (2, 4) else ())
    elif channels == 2:
        # OpenCV makes colours of grey with opacity
        found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., [0, 3]]
    else:
        found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(channels)
        found = found[..., order] if order else found
    assert found.dtype == depth
    np.testing.assert_allclose(found, picture, atol=2 if ending[1] == "j" else 0)


@pytest.mark.parametrize("format", ["JPEG", "WebP"])
def test_limits_are_those_of_the_writer(format):
    limit = _files.FORMATS[format].side
    ending = _files.FORMATS[format].endings[0]
    for shape in ((1, limit, 3), (limit, 1, 3)):
        assert vips.Image.black(*shape[1::-1], bands=3).write_to_buffer(ending)
    for shape in ((1, limit + 1, 3), (limit + 1, 1, 3)):
        with pytest.raises(vips.Error):
            vips.Image.black(*shape[1::-1], bands=3).write_to_buffer(ending)


def failing(capsys, *words):
    """Run a command that must fail, and return its one line."""
    assert main([str(word) for word in words]) == 1
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith("error: ")
    return line


@pytest.fixture
def source(tmp_path):
    return held(tmp_path, png(samples_of("RGB"), "RGB"), "in.png")


@pytest.fixture
def no_work(monkeypatch):
    """Whoever begins to work fails."""
    monkeypatch.setattr(pictures, "upsample", None)
    monkeypatch.setattr(pictures, "learn", None)


class TestUpsample:
    @pytest.mark.parametrize("ending", ["png", "tif"])
    @pytest.mark.parametrize("dtype", ["uint8", "uint16"])
    @pytest.mark.parametrize("mode", CHANNELS)
    @pytest.mark.parametrize("word", pictures.MODES)
    def test_layouts(self, tmp_path, capsys, ending, dtype, mode, word):
        samples = samples_of(mode, dtype, shape=(9, 12))
        content = png(samples, mode) if ending == "png" else tiff(samples, mode)
        source, target = held(tmp_path, content), tmp_path / f"out.{ending}"
        assert main(["upsample", str(source), str(target), "--scale", "2", "--mode", word]) == 0
        expected = pictures.upsample(samples, 2, word, alpha=mode.endswith("A"))
        np.testing.assert_array_equal(_files.read(target), expected)
        assert "12 x 9 to 24 x 18 pixels" in capsys.readouterr().out

    def test_floating_point(self, tmp_path):
        samples = 100 * np.random.default_rng(0).random((9, 12), np.float32) - 50
        source, target = held(tmp_path, tiff(samples, "L")), tmp_path / "out.tif"
        assert main(["upsample", str(source), str(target), "--scale", "2.5", "--mode", "bicubic"]) == 0
        np.testing.assert_array_equal(tifffile.imread(target), pictures.upsample(samples, 2.5, "bicubic"))

    def test_a_file_is_decoded_once(self, tmp_path, monkeypatch):
        source = held(tmp_path, png(samples_of("RGBA"), "RGBA", 6))
        calls, decode = [], vips.Image.new_from_buffer
        monkeypatch.setattr(
            vips.Image,
            "new_from_buffer",
            lambda *args, **options: calls.append(1) or decode(*args, **options),
        )
        _files.read(source)
        assert len(calls) == 1

    @pytest.mark.usefixtures("no_work")
    @pytest.mark.parametrize(
        ("mode", "dtype", "name", "message"),
        [
            ("RGB", "uint16", "out.jpg", "JPEG cannot hold 3 channel(s) of uint16: PNG holds"),
            ("RGB", "uint16", "out.webp", "WebP cannot hold 3 channel(s) of uint16: PNG holds"),
            ("RGBA", "uint8", "out.JPG", "JPEG cannot hold 4 channel(s) of uint8"),
            ("L", "uint8", "out.webp", "WebP cannot hold 1 channel(s) of uint8"),
            ("L", "uint8", "out.pbm", "must name a format that is written: .png, .tif, .tiff, .jpg"),
            ("L", "uint8", "out.xyz", "must name a format that is written"),
            ("L", "uint8", "out", "must name a format that is written"),
            ("L", "uint8", "out.gif", "must name a format that is written"),
        ],
    )
    def test_formats_that_would_lose_something(self, tmp_path, capsys, mode, dtype, name, message):
        source = held(tmp_path, png(samples_of(mode, dtype), mode))
        assert message in failing(capsys, "upsample", source, tmp_path / name, "--scale", 2)
        assert not (tmp_path / name).exists()

    @pytest.mark.usefixtures("no_work")
    @pytest.mark.parametrize("shape", [(1, 40_000), (40_000, 1)], ids=str)
    def test_formats_that_end_at_a_size(self, tmp_path, capsys, shape):
        source = held(tmp_path, png(np.zeros((*shape, 3), np.uint8), "RGB"))
        words = ("--scale", "2", "--mode", "nearest")
        columns, rows = (2 * n for n in shape[::-1])
        for name, limit in (("out.jpg", 65_500), ("out.webp", 16_383)):
            line = failing(capsys, "upsample", source, tmp_path / name, *words)
            assert f"cannot hold {columns} x {rows} pixels, {limit} in each direction at most" in line
        line = failing(
            capsys, "upsample", source, tmp_path / "out.png", "--scale", "1e5", "--mode", "nearest"
        )
        assert "99999999 in each direction at most" in line

    def test_bad_numbers(self, source, tmp_path, capsys):
        for scale in ("0", "-2", "inf", "nan"):
            words = ("upsample", source, tmp_path / "o.png", f"--scale={scale}")
            assert "scale must" in failing(capsys, *words, "--mode", "bicubic")
            assert "scale must" in failing(capsys, *words)
        with pytest.raises(SystemExit):
            main(["upsample", str(source), "o.png", "--scale", "two"])
        assert "expected a number such as 2 or 1.5" in capsys.readouterr().err

    def test_kernels_that_are_none(self, source, tmp_path, capsys):
        np.savez(tmp_path / "several.npz", a=1, b=2)
        for name, content in (("empty.npy", b""), ("zip.npy", b"PK\x03\x04garbage"), ("png.npy", b"PNG")):
            held(tmp_path, content, name)
        words = ("upsample", source, tmp_path / "out.png", "--scale", 2, "--kernel")
        for name in ("empty.npy", "zip.npy", "png.npy", "several.npz", "in.png"):
            line = failing(capsys, *words, tmp_path / name)
            assert f"{name} must hold one array, as numpy.save writes it" in line
        assert f"{str(tmp_path)!r}: Is a directory" in failing(capsys, *words, tmp_path)


class TestLearn:
    def test_then_upsample(self, tmp_path, capsys):
        samples = [samples_of(mode, "uint16", shape=(50, 60)) for mode in ("RGBA", "LA", "L")]
        files = [
            held(tmp_path, png(picture, mode), f"{mode}.png")
            for picture, mode in zip(samples, ("RGBA", "LA", "L"), strict=True)
        ]
        kernel, out = tmp_path / "kernel.npy", tmp_path / "larger.png"
        assert main(["learn", "--scale", "2", "--taps", "8", *map(str, files), "-o", str(kernel)]) == 0
        assert "8 x 8 for scale 2" in capsys.readouterr().out
        opaque = [samples[0][..., :3], samples[1][..., 0], samples[2]]
        np.testing.assert_array_equal(np.load(kernel), pictures.learn(opaque, 2, 8))
        small = samples_of("L")
        source = held(tmp_path, png(small, "L"))
        assert main(["upsample", str(source), str(out), "--scale", "2", "--kernel", str(kernel)]) == 0
        expected = pictures.upsample(small, 2, kernel=np.load(kernel))
        np.testing.assert_array_equal(_files.read(out), expected)

    def test_pictures_that_teach_nothing(self, source, tmp_path, capsys):
        """The message speaks of the option and of the files, and not of pairs, of which none were given."""
        flat = held(tmp_path, png(np.full((40, 50), 7, np.uint8), "L"), "flat.png")
        tiny = held(tmp_path, png(np.zeros((1, 50), np.uint8), "L"), "tiny.png")
        output = ("-o", tmp_path / "k.npy")
        lines = [
            failing(capsys, "learn", "--scale", 2, "--taps", 4, flat, flat, *output),
            failing(capsys, "learn", "--scale", 2, "--taps", 4, source, tiny, *output),
            failing(capsys, "learn", "--scale", 2, "--taps", 60, source, *output),
            failing(capsys, "learn", "--scale", 3, "--taps", 18, source, *output),
        ]
        words = (
            "pictures must vary",
            "tiny.png' must have 2 x 2 pixels",
            "fewer equations",
            "taps must be odd",
        )
        for line, word in zip(lines, words, strict=True):
            assert word in line
            assert "pairs" not in line
        assert not (tmp_path / "k.npy").exists()

    def test_the_kind_of_output(self, source, tmp_path, capsys):
        words = ("learn", "--scale", 2, "--taps", 4, source, "-o", tmp_path / "kernel.txt")
        assert "output must end in .npy" in failing(capsys, *words)


def truncated(format):
    samples = samples_of("RGB", shape=(200, 280))
    if format == "PNG":
        content = png(samples, "RGB")
    elif format == "TIFF":
        content = tiff(samples, "RGB")
    elif format == "deflated TIFF":
        content = tiff(samples, "RGB", compression="zlib", rowsperstrip=10)
    else:
        file = io.BytesIO()
        image.fromarray(samples).save(file, format)
        content = file.getvalue()
    return content[: len(content) // 2]


def bomb():
    """Return a PNG that claims to be of 10 GB, and is of 57 bytes."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def several(format):
    if format == "TIFF":
        file = io.BytesIO()
        tifffile.imwrite(file, np.zeros((2, 8, 9), np.uint8), photometric="minisblack")
        return file.getvalue()
    file = io.BytesIO()
    frames = [image.fromarray(samples_of("L", shape=(8, 9 + n))[:, :9]) for n in range(2)]
    frames[0].save(file, format, save_all=True, append_images=frames[1:])
    return file.getvalue()


# name: (content, message)
UNREADABLE = {
    "empty": (b"", "' is empty"),
    "text": (b"no picture", "is not a picture that libvips can read, or is damaged: "),
    "two pages": (several("TIFF"), "holds 2 pictures"),
    "two frames": (several("GIF"), "holds 2 pictures"),
    "bomb": (
        bomb(),
        "has 100000 x 100000 pixels, more than max_pixels = 268435456; --max-pixels 10000000000",
    ),
    "64-bit integers": (tiff(np.zeros((8, 9), np.int32), "L"), "must hold uint8, uint16, float32, got int32"),
    **{
        f"half a {format}": (truncated(format), "is not a picture that libvips can read, or is damaged: ")
        for format in ("PNG", "JPEG", "TIFF", "deflated TIFF", "WEBP", "GIF")
    },
}


@pytest.mark.parametrize("command", ["upsample", "learn"])
class TestInputs:
    def words(self, command, tmp_path, source):
        if command == "upsample":
            return ("upsample", source, tmp_path / "out.tif", "--scale", 2)
        return ("learn", source, "-o", tmp_path / "out.npy", "--scale", 2, "--taps", 4)

    @pytest.mark.parametrize("name", UNREADABLE)
    def test_unreadable(self, tmp_path, capsys, command, name):
        content, message = UNREADABLE[name]
        line = failing(capsys, *self.words(command, tmp_path, held(tmp_path, content, "the file")))
        assert "the file" in line
        assert message in line
        assert len(line) < 500
        assert {path.name for path in tmp_path.iterdir()} == {"the file"}

    @pytest.mark.usefixtures("no_work")
    def test_no_files(self, tmp_path, capsys, command):
        line = failing(capsys, *self.words(command, tmp_path, tmp_path / "absent.png"))
        assert line.endswith("absent.png': No such file or directory")
        line = failing(capsys, *self.words(command, tmp_path, tmp_path))
        assert "is a folder; name the pictures in it, such as" in line

    def test_a_limit_of_pixels(self, tmp_path, capsys, command):
        source = held(tmp_path, png(samples_of("L", shape=(40, 50)), "L"))
        words = self.words(command, tmp_path, source)
        line = failing(capsys, *words, "--max-pixels", "1999")
        assert "has 50 x 40 pixels, more than max_pixels = 1999; --max-pixels 2000 would take it" in line
        assert main([*map(str, words), "--max-pixels", "2000"]) == 0


def test_missing_packages_are_named(monkeypatch, source, tmp_path, capsys):
    learn = ("learn", "--scale", 2, "--taps", 4, source, "-o", tmp_path / "k.npy")
    for package in ("tqdm", "pyvips"):
        monkeypatch.setitem(sys.modules, package, None)
        assert 'python -m pip install "sparsetconv[pictures]"' in failing(capsys, *learn)
    line = failing(capsys, "upsample", source, tmp_path / "b.png", "--scale", 2)
    assert 'python -m pip install "sparsetconv[pictures]"' in line
