"""Up-sampling pictures: depths, colours, opacity, files, the learned kernels, and what beats what."""

import importlib
import sys
import zlib

import numpy as np
import pytest

import sparsetconv as stc
from sparsetconv import _picture_files, pictures
from sparsetconv.cli import main

FIXED = ("nearest", "bilinear", "bicubic", "lanczos")


def picture_of(shape=(20, 23), dtype="float64", seed=0):
    values = np.random.default_rng(seed).random(shape)
    return (values if np.dtype(dtype).kind == "f" else values * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("mode", FIXED)
def test_fixed_modes_are_resize(mode):
    x = picture_of()
    expected = stc.ResizeOperator(x.shape, scale=2, mode=mode).apply(x)
    np.testing.assert_array_equal(pictures.upsample(x, 2, mode), expected)
    assert pictures.upsample(x, 1.5, mode).shape == (30, 34)


@pytest.mark.parametrize("mode", pictures.MODES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)], ids=str)
def test_depth_and_channels_stay(mode, dtype, channels):
    x = picture_of((11, 13, *channels), dtype)
    larger = pictures.upsample(x, 3, mode)
    assert larger.shape == (33, 39, *channels)
    assert larger.dtype == dtype
    planes = x.reshape(11, 13, -1)
    for channel in range(planes.shape[2]):
        alone = pictures.upsample(np.ascontiguousarray(planes[..., channel]), 3, mode)
        np.testing.assert_array_equal(larger.reshape(33, 39, -1)[..., channel], alone)
    if np.dtype(dtype).kind == "u":
        exact = pictures.upsample(x.astype("float64"), 3, mode)
        limit = np.iinfo(dtype).max
        # rounding halves may fall either way
        assert abs(larger - exact.clip(0, limit)).max() <= 0.51


@pytest.mark.parametrize("mode", pictures.MODES)
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_flat_pictures_stay_flat_up_to_the_border(mode, scale, dtype):
    x = np.full((5, 1), 200, dtype)
    np.testing.assert_allclose(pictures.upsample(x, scale, mode), 200, rtol=1e-6)


@pytest.mark.parametrize(
    ("scale", "taps"), [(2, 2), (2, 5), (2, 8), (2, 13), (3, 3), (3, 8), (3, 12), (4, 24)]
)
def test_learned_mode_is_a_transposed_convolution(scale, taps):
    """In the interior of the plain operator with padding 'same'; at the border the edge is repeated."""
    kernel = np.random.default_rng(1).random((taps, taps + 1))
    for phase in np.ndindex(scale, scale):
        part = (slice(phase[0], None, scale), slice(phase[1], None, scale))
        kernel[part] /= kernel[part].sum()
    x = picture_of((31, 33))
    larger = pictures.upsample(x, scale, "learned", kernel=kernel)
    T = stc.ConvTransposeOperator(kernel, x.shape, stride=scale, padding="same")
    inside = (slice(taps + 1, -taps - 1),) * 2
    np.testing.assert_allclose(larger[inside], T.apply(x)[inside], atol=1e-12)
    wide = pictures.upsample(np.pad(x, 30, mode="edge"), scale, "learned", kernel=kernel)
    np.testing.assert_allclose(larger, wide[30 * scale : -30 * scale, 30 * scale : -30 * scale], atol=1e-12)


def test_opacity_weights_the_colours():
    """A transparent pixel's colour does not leak: the rim of a white disc on invisible black stays white."""
    x = np.zeros((6, 6, 4), np.uint8)
    x[2:4, 2:4] = 255
    larger = pictures.upsample(x, 4, "bilinear", alpha=True)
    seen = larger[..., 3] > 0
    assert (larger[seen][:, :3] == 255).all()
    assert 0 < larger[..., 3][seen].min() < 255
    assert (pictures.upsample(x, 4, "bilinear")[seen][:, :3] < 255).any()


@pytest.mark.parametrize("mode", pictures.MODES)
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_colours_of_what_is_hardly_seen_stay_in_range(mode, dtype):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    disc = np.clip(1.2 - np.hypot(y - 32, x - 32) / 22, 0, 1)
    scale = 255 if dtype == "uint8" else 1
    picture = (scale * np.dstack([0.4 + 0.2 * rng.random((64, 64, 3)), disc])).astype(dtype)
    larger = pictures.upsample(picture, 2, mode, alpha=True)
    seen = larger[larger[..., 3] > 0]
    for channel in range(4):
        own = picture[..., channel]
        assert own.min() <= seen[:, channel].min()
        assert seen[:, channel].max() <= own.max()


@pytest.mark.parametrize("scale", [2.0, np.float32(2), np.int8(2)], ids=repr)
def test_whole_scales_of_any_type(scale):
    x = picture_of()
    np.testing.assert_array_equal(pictures.upsample(x, scale), pictures.upsample(x, 2))


def test_shrink_is_the_adjoint_story_of_the_table():
    x = picture_of((21, 17, 3), "uint8")
    small, large = pictures.shrink(x, 4)
    assert small.shape == (5, 4, 3)
    np.testing.assert_array_equal(large, x[:20, :16])
    R = stc.ResizeOperator((20, 16), (5, 4), mode="cubic", convention="pillow")
    np.testing.assert_allclose(small[..., 1], R.apply(large[..., 1]), atol=1e-4)


def test_learned_kernel_recovers_an_interpolation():
    """Pictures that were enlarged by a kernel before are restored by a kernel like it, and better than by others."""
    rng = np.random.default_rng(0)
    whole = [pictures.upsample(np.pad(rng.random((30, 30)), 4, mode="edge"), 2, "bicubic") for _ in range(4)]
    kernel = pictures.learn(whole[:3], 2, 8)
    small, large = pictures.shrink(whole[3], 2)
    errors = {
        mode: ((pictures.upsample(small, 2, mode, kernel=kernel if mode == "learned" else None) - large) ** 2).mean()
        for mode in pictures.MODES
    }  # fmt: skip
    assert errors["learned"] < 0.9 * min(value for mode, value in errors.items() if mode != "learned")
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-12)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)


def test_learning_counts_every_channel():
    x = picture_of((40, 40, 3))
    together = pictures.learn([x], 2, 6)
    apart = pictures.learn([x[..., channel] for channel in range(3)], 2, 6)
    np.testing.assert_allclose(together, apart, atol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shipped_kernels(scale):
    kernel = pictures.learned_kernel(scale)
    assert kernel.shape == (6 * scale, 6 * scale)
    assert not kernel.flags.writeable
    np.testing.assert_array_equal(kernel, kernel.T)
    for phase in range(scale):
        np.testing.assert_allclose(kernel[phase::scale, ::scale].sum(), 1, atol=1e-6)
    assert pictures.SHIPPED.stat().st_size < 8192


def test_shipped_kernels_are_what_the_script_makes():
    """The kernels of scale 2 and 4, fitted anew; and what the table claims, on pictures not fitted to."""
    pytest.importorskip("skimage")
    from skimage.metrics import peak_signal_noise_ratio

    script = load_script("learned_kernels")
    for scale, gain in ((2, 1.0), (4, 0.45)):
        kernel = pictures.learn(map(script.picture, script.FITTED), scale, 6 * scale)
        np.testing.assert_allclose(kernel, pictures.learned_kernel(scale), atol=1e-6)
        gains = []
        for name in script.HELD_OUT:
            small, large = pictures.shrink(script.picture(name), scale)
            scores = {
                mode: peak_signal_noise_ratio(
                    large[16:-16, 16:-16],
                    pictures.upsample(small, scale, mode)[16:-16, 16:-16].clip(0, 1),
                    data_range=1,
                )
                for mode in pictures.MODES
            }
            assert scores["learned"] == max(scores.values()), name
            gains.append(scores["learned"] - scores["bicubic"])
        assert np.mean(gains) >= gain


def load_script(name):
    import importlib.util
    from pathlib import Path

    path = Path(__file__).parents[1] / "docs" / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# name: (call, message)
BAD = {
    "mode": (lambda x: pictures.upsample(x, 2, "sharp"), "mode must be one of nearest, bilinear"),
    "shape": (lambda x: pictures.upsample(x[0], 2), r"picture must have the shape \(rows, columns\)"),
    "empty": (lambda x: pictures.upsample(x[:0], 2), r"picture must have the shape .*got \(0, 23\)"),
    "depth": (lambda x: pictures.upsample(x.astype(int), 2), "picture must be of uint8, uint16, float32 or float64, got int64"),
    "smaller": (lambda x: pictures.upsample(x, 0.5, "bicubic"), "scale must be at least 1 for a larger picture, got 0.5"),
    "fraction": (lambda x: pictures.upsample(x, 1.5), "scale must be a whole number with mode='learned', got 1.5; other modes take any"),
    "no kernel": (lambda x: pictures.upsample(x, 5), "scale must be one of 2, 3, 4, for which a kernel is at hand, got 5; learn makes others"),
    "kernel": (lambda x: pictures.upsample(x, 3, kernel=np.ones((2, 4))), "kernel must be real, of two axes with at least scale = 3 taps each"),
    "kernel, fixed": (lambda x: pictures.upsample(x, 3, "bicubic", kernel=np.ones((4, 4))), "kernel belongs to mode='learned'"),
    "shrink": (lambda x: pictures.shrink(x, 21), "picture must have 21 x 21 pixels at least"),
    "learn": (lambda x: pictures.learn([x], 4, 3), "taps must be at least 4, got 3"),
    "learn depth": (lambda x: pictures.learn([x, x > 1], 2, 4), r"pictures\[1\] must be"),
    "learn, one picture": (lambda x: pictures.learn(x, 2, 4), r"pictures must be several, got an array of shape \(20, 23\); one alone is \[picture\]"),
    "learn, parity": (lambda x: pictures.learn([x], 2, 5), "taps must be even as scale is"),
    "learn, black": (lambda x: pictures.learn([0 * x], 2, 4, ridge=1.0), "pictures must determine a kernel that keeps flat areas"),
    "kernel of another scale": (lambda x: pictures.upsample(x, 3, kernel=pictures.learned_kernel(2)), "at scale=3 it does not.*Was it learned for another scale"),
    "kernel of nan": (lambda x: pictures.upsample(x, 2, kernel=np.full((4, 4), np.nan)), "kernel must keep flat areas"),
    "huge scale": (lambda x: pictures.upsample(x, 1e308), "scale must be a whole number"),
    "learn nothing": (lambda _: pictures.learn([], 2, 4), "at least one pair"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, message = BAD[name]
    with pytest.raises((ValueError, TypeError), match=message):
        call(picture_of())


@pytest.fixture
def cv2():
    pytest.importorskip("tqdm")
    return pytest.importorskip("cv2")


class TestCommands:
    @pytest.mark.parametrize("ending", ["png", "tif"])
    @pytest.mark.parametrize("dtype", ["uint8", "uint16"])
    @pytest.mark.parametrize("channels", [(), (3,), (4,)], ids=str)
    @pytest.mark.parametrize("mode", pictures.MODES)
    def test_upsample(self, cv2, tmp_path, capsys, ending, dtype, channels, mode):
        x = picture_of((9, 12, *channels), dtype)
        source, target = tmp_path / f"in.{ending}", tmp_path / f"out.{ending}"
        assert cv2.imwrite(str(source), x)
        assert main(["upsample", str(source), str(target), "--scale", "2", "--mode", mode]) == 0
        found = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
        expected = pictures.upsample(x, 2, mode, alpha=channels == (4,))
        np.testing.assert_array_equal(found, expected)
        assert "12 x 9 to 24 x 18 pixels" in capsys.readouterr().out

    def test_learn_then_upsample(self, cv2, tmp_path, capsys):
        files = []
        for seed in range(2):
            files.append(tmp_path / f"{seed}.png")
            assert cv2.imwrite(str(files[-1]), picture_of((50 + seed, 60, 4), "uint16", seed))
        kernel, small = tmp_path / "kernel.npy", tmp_path / "small.png"
        words = ["learn", "--scale", "2", "--kernel", "8", *map(str, files), "-o", str(kernel)]
        assert main(words) == 0
        assert "8 x 8 for scale 2" in capsys.readouterr().out
        opaque = [picture_of((50 + seed, 60, 4), "uint16", seed)[..., :3] for seed in range(2)]
        np.testing.assert_allclose(np.load(kernel), pictures.learn(opaque, 2, 8), atol=1e-12)
        assert main(words) == 1
        assert "--force overwrites it" in capsys.readouterr().err
        assert main([*words, "--force"]) == 0
        x = picture_of((9, 12), "uint8")
        assert cv2.imwrite(str(small), x)
        out = tmp_path / "larger.png"
        words = ["upsample", str(small), str(out), "--scale", "2", "--kernel", str(kernel)]
        assert main(words) == 0
        expected = pictures.upsample(x, 2, kernel=np.load(kernel))
        np.testing.assert_array_equal(cv2.imread(str(out), cv2.IMREAD_UNCHANGED), expected)
        assert main(words) == 1
        capsys.readouterr()

    def test_formats_that_would_lose_something(self, cv2, tmp_path, capsys):
        source = tmp_path / "in.png"
        assert cv2.imwrite(str(source), picture_of((9, 12, 3), "uint16"))
        for name in ("out.jpg", "out.bmp", "out.pgm"):
            assert main(["upsample", str(source), str(tmp_path / name), "--scale", "2"]) == 1
            assert "cannot hold 3 channel(s) of uint16: PNG holds" in capsys.readouterr().err
            assert not (tmp_path / name).exists()
        for name in ("out.xyz", "out", "out.pdf"):
            assert main(["upsample", str(source), str(tmp_path / name), "--scale", "2"]) == 1
            assert "must name a format that OpenCV writes" in capsys.readouterr().err
        transparent = tmp_path / "transparent.png"
        assert cv2.imwrite(str(transparent), picture_of((9, 12, 4), "uint8"))
        assert main(["upsample", str(transparent), str(tmp_path / "out.jpg"), "--scale", "2"]) == 1
        assert "cannot hold 4 channel(s) of uint8" in capsys.readouterr().err

    def test_floating_point_pictures(self, cv2, tmp_path):
        source, target = tmp_path / "in.tif", tmp_path / "out.tif"
        x = 100 * picture_of((9, 12), "float32") - 50
        assert cv2.imwrite(str(source), x)
        assert main(["upsample", str(source), str(target), "--scale", "2.5", "--mode", "bicubic"]) == 0
        found = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(found, pictures.upsample(x, 2.5, "bicubic"))

    @pytest.mark.usefixtures("cv2")
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("ending", ["jpg", "png"])
    def test_pictures_lie_as_the_camera_was_held(self, tmp_path, orientation, ending):
        image = pytest.importorskip("PIL.Image")
        exif = image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"turned.{ending}"
        channels = (3,) if ending == "jpg" else (4,)
        image.fromarray(picture_of((8, 16, *channels), "uint8")).save(path, exif=exif)
        expected = np.asarray(importlib.import_module("PIL.ImageOps").exif_transpose(image.open(path)))
        found = _picture_files.read(path)
        assert found.shape == expected.shape == ((8, 16) if orientation < 5 else (16, 8)) + channels
        order = [2, 1, 0, 3][: channels[0]]
        assert abs(found[..., order].astype(int) - expected).max() <= (0 if ending == "png" else 3)

    def test_unreadable(self, cv2, tmp_path, capsys):
        words = [str(tmp_path / "out.png"), "--scale", "2"]
        assert main(["upsample", str(tmp_path / "absent.png"), *words]) == 1
        assert "absent.png" in capsys.readouterr().err
        for name, content in (("empty.png", b""), ("text.png", b"no picture")):
            (tmp_path / name).write_bytes(content)
            assert main(["upsample", str(tmp_path / name), *words]) == 1
            assert f"{name} is no picture that OpenCV can read" in capsys.readouterr().err
        several = tmp_path / "several.tif"
        assert cv2.imwritemulti(str(several), [picture_of((8, 8), "uint8")] * 2)
        assert main(["upsample", str(several), *words]) == 1
        assert "holds 2 pictures" in capsys.readouterr().err
        bomb = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x01\x86\xa0\x00\x01\x86\xa0\x08\x00\x00\x00\x00"
        (tmp_path / "bomb.png").write_bytes(bomb + zlib.crc32(bomb[12:]).to_bytes(4, "big"))
        assert main(["upsample", str(tmp_path / "bomb.png"), *words]) == 1
        assert "is no picture that OpenCV can read" in capsys.readouterr().err
        source = tmp_path / "in.png"
        assert cv2.imwrite(str(source), picture_of((8, 8), "uint8"))
        np.savez(tmp_path / "several.npz", a=1, b=2)
        for name, content in (("empty.npy", b""), ("zip.npy", b"PK\x03\x04garbage"), ("png.npy", b"PNG")):
            (tmp_path / name).write_bytes(content)
        for name in ("empty.npy", "zip.npy", "png.npy", "several.npz", "in.png"):
            assert main(["upsample", str(source), *words, "--kernel", str(tmp_path / name)]) == 1
            assert f"{name} must hold one array, as numpy.save writes it" in capsys.readouterr().err

    def test_outputs_are_checked_before_the_work(self, cv2, tmp_path, capsys, monkeypatch):
        source = tmp_path / "in.png"
        assert cv2.imwrite(str(source), picture_of((30, 40), "uint8"))
        for name in ("upsample", "learn"):
            monkeypatch.setattr(pictures, name, None)
        nowhere = tmp_path / "absent"
        assert main(["upsample", str(source), str(nowhere / "out.png"), "--scale", "2"]) == 1
        assert "output must lie in a folder that exists" in capsys.readouterr().err
        learn = ["learn", "--scale", "2", "--kernel", "4", str(source), "-o"]
        assert main([*learn, str(nowhere / "k.npy")]) == 1
        assert "output must lie in a folder that exists" in capsys.readouterr().err
        assert main([*learn[:-1], str(nowhere / "typo.png"), "-o", str(tmp_path / "k.npy")]) == 1
        assert "typo.png" in capsys.readouterr().err

    def test_bad_numbers(self, cv2, tmp_path, capsys):
        source = tmp_path / "in.png"
        assert cv2.imwrite(str(source), picture_of((9, 12), "uint8"))
        for scale in ("0", "-2", "inf"):
            words = ["upsample", str(source), str(tmp_path / "o.png"), f"--scale={scale}"]
            assert main([*words, "--mode", "bicubic"]) == 1
            assert "scale must" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            main(["upsample", str(source), "o.png", "--scale", "two"])
        assert "expected a number such as 2 or 1.5" in capsys.readouterr().err
        words = ["learn", "--scale", "2", "--kernel", "30", str(source)]
        assert main([*words, "-o", str(tmp_path / "kernel.txt")]) == 1
        assert "output must end in .npy" in capsys.readouterr().err
        assert main([*words, "-o", str(tmp_path / "kernel.npy")]) == 1
        assert "fewer equations" in capsys.readouterr().err


def test_missing_packages_are_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert main(["upsample", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--scale", "2"]) == 1
    assert 'python -m pip install "sparsetconv[pictures]"' in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm", None)
    (tmp_path / "a.png").touch()
    words = ["learn", "--scale=2", "--kernel=4", str(tmp_path / "a.png"), "-o", str(tmp_path / "k.npy")]
    assert main(words) == 1
    assert 'python -m pip install "sparsetconv[pictures]"' in capsys.readouterr().err
