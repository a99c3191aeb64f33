"""Up-sampling pictures: depths, colours, opacity, the learned kernels, and what beats what."""

import numpy as np
import pytest

import sparsetconv as stc
from sparsetconv import pictures
from sparsetconv.pictures._enlarge import SHIPPED, larger_shape

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


# rows of the kernel, and how far a ramp may lie beside where it belongs, in units of its rise from pixel to pixel
SIZES = {2: (12, 0.0195), 3: (19, 0.019), 4: (24, 0.033)}


@pytest.mark.parametrize("scale", SIZES)
def test_shipped_kernels(scale):
    """Of the symmetry of the square, exactly; and what is flat stays flat."""
    kernel = pictures.learned_kernel(scale)
    assert kernel.shape == (SIZES[scale][0],) * 2
    assert (len(kernel) - scale) % 2 == 0
    assert not kernel.flags.writeable
    for other in (kernel.T, kernel[::-1], kernel[:, ::-1]):
        np.testing.assert_array_equal(kernel, other)
    for row, column in np.ndindex(scale, scale):
        np.testing.assert_allclose(kernel[row::scale, column::scale].sum(), 1, atol=1e-6)
    assert SHIPPED.stat().st_size < 8192


@pytest.mark.parametrize("scale", SIZES)
@pytest.mark.parametrize("axis", [0, 1])
def test_ramps_keep_their_place(scale, axis):
    """No half pixel is lost: errors cancel about a pixel, and are none on its middle."""
    n, inside = 40, slice(12 * scale, -12 * scale)
    ramp = np.moveaxis(np.tile(np.arange(float(n)), (n, 1)), 1, axis)
    larger = np.moveaxis(pictures.upsample(ramp, scale), axis, 1)
    errors = (larger - ((np.arange(n * scale) + 0.5) / scale - 0.5))[inside, inside]
    assert abs(errors).max() <= SIZES[scale][1]
    by_phase = errors[0].reshape(-1, scale)
    np.testing.assert_allclose(by_phase, -by_phase[:, ::-1], atol=1e-5)
    if scale % 2:
        np.testing.assert_allclose(by_phase[:, scale // 2], 0, atol=1e-5)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5])
def test_learned_kernels_have_the_symmetry_of_the_square(scale):
    kernel = pictures.learn([picture_of((61, 70))], scale, scale + 2)
    for other in (kernel.T, kernel[::-1], kernel[:, ::-1]):
        np.testing.assert_array_equal(kernel, other)


@pytest.mark.parametrize("mode", pictures.MODES)
@pytest.mark.parametrize("dtype", [">u2", ">f4", ">f8"])
def test_either_byte_order(mode, dtype):
    x = picture_of((9, 12, 3), dtype)
    larger = pictures.upsample(x, 2, mode)
    assert larger.dtype == x.dtype.newbyteorder("=")
    np.testing.assert_array_equal(larger, pictures.upsample(x.astype(larger.dtype), 2, mode))
    for found, expected in zip(
        pictures.shrink(x, 2), pictures.shrink(x.astype(larger.dtype), 2), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("mode", pictures.MODES)
@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)], ids=str)
def test_the_size_is_known_before(mode, scale, shape):
    for factor in (scale,) if mode == "learned" else (scale, scale + 0.3):
        known = larger_shape(shape, factor, mode)
        assert known == pictures.upsample(picture_of(shape), factor, mode).shape


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("call", ["upsample", "shrink", "learn", "learn of a batch"])
def test_channels_first_are_refused(channels, call):
    x = picture_of((channels, 40, 50))
    calls = {
        "upsample": lambda: pictures.upsample(x, 2),
        "shrink": lambda: pictures.shrink(x, 2),
        "learn": lambda: pictures.learn([x], 2, 4),
        "learn of a batch": lambda: pictures.learn(x[None], 2, 4),
    }
    with pytest.raises(ValueError, match=r"channels last, .*np.moveaxis\(picture, 0, -1\) moves them"):
        calls[call]()
    last = np.moveaxis(x, 0, -1)
    np.testing.assert_array_equal(pictures.upsample(last, 2)[..., 0], pictures.upsample(x[0], 2))


@pytest.mark.parametrize(("scale", "gain"), [(2, 1.0), (3, 0.65), (4, 0.45)])
def test_shipped_kernels_are_what_the_script_makes(scale, gain):
    """Fitted anew; and what the table claims, on pictures not fitted to."""
    pytest.importorskip("skimage")
    from skimage.metrics import peak_signal_noise_ratio

    script = load_script("learned_kernels")
    kernel = pictures.learn(map(script.picture, script.FITTED), scale, script.TAPS[scale])
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
    "no kernel": (lambda x: pictures.upsample(x, 5), "scale must be one of 2, 3, 4, for which a kernel is included, got 5; learn fits others"),
    "kernel": (lambda x: pictures.upsample(x, 3, kernel=np.ones((2, 4))), "kernel must be real, of two axes with at least scale = 3 taps each"),
    "kernel, fixed": (lambda x: pictures.upsample(x, 3, "bicubic", kernel=np.ones((4, 4))), "kernel belongs to mode='learned'"),
    "shrink": (lambda x: pictures.shrink(x, 21), "picture must have 21 x 21 pixels at least"),
    "learn": (lambda x: pictures.learn([x], 4, 3), "taps must be at least 4, got 3"),
    "learn depth": (lambda x: pictures.learn([x, x > 1], 2, 4), r"pictures\[1\] must be"),
    "learn, one picture": (lambda x: pictures.learn(x, 2, 4), r"pictures must be several, got an array of shape \(20, 23\); one alone is \[picture\]"),
    "learn, parity": (lambda x: pictures.learn([x], 2, 5), "taps must be even like scale"),
    "learn, odd": (lambda x: pictures.learn([x], 3, 18), "taps must be odd like scale.*got 18 for scale 3"),
    "learn, flat": (lambda x: pictures.learn([0 * x + 7] * 2, 2, 4), "pictures must vary enough to determine a kernel of 4 x 4, .*are they flat"),
    "learn, too few": (lambda x: pictures.learn([x[:4, :4]], 2, 16), "pictures must have, in 8 orientations, .*256, got 128: fewer equations"),
    "learn, second of another type": (lambda x: pictures.learn([x[:4, :4], x > 1], 2, 16), r"pictures\[1\] must be of uint8"),
    "learn, small": (lambda x: pictures.learn([x, x[:1]], 2, 4), r"pictures\[1\] must have 2 x 2 pixels at least"),
    "learn, nan": (lambda x: pictures.learn([x, x * np.nan], 2, 4), r"pictures\[1\] must be finite"),
    "learn, black": (lambda x: pictures.learn([0 * x], 2, 4, ridge=1.0), "pictures must determine a kernel that preserves constant areas"),
    "kernel of another scale": (lambda x: pictures.upsample(x, 3, kernel=pictures.learned_kernel(2)), "at scale=3 the weights.*Was it learned for another scale"),
    "kernel of nan": (lambda x: pictures.upsample(x, 2, kernel=np.full((4, 4), np.nan)), "kernel must preserve constant areas"),
    "huge scale": (lambda x: pictures.upsample(x, 1e308), "scale must be a whole number"),
    "learn nothing": (lambda _: pictures.learn([], 2, 4), "pictures must hold at least one picture, got none"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, message = BAD[name]
    with pytest.raises((ValueError, TypeError), match=message):
        call(picture_of())
