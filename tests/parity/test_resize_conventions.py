"""Resize beside torch, ONNX, OpenCV, Pillow, TensorFlow and scikit-image: each convention gives its package's values.

Tolerances are 1e-6 in float32 terms: packages that compute positions in float32 are off by its rounding of a
position, which grows with the size. Where a package computes in float64, 1e-12 or less.
"""

import os
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import sparsetconv as stc

# before and after, along one axis: whole and fractional factors both ways, single samples, primes
SIZES = [
    (5, 10),
    (10, 5),
    (7, 3),
    (3, 7),
    (1, 4),
    (4, 1),
    (13, 29),
    (29, 13),
    (16, 56),
    (56, 16),
    (2, 7),
    (17, 17),
]
PICTURES = [
    ((9, 12), (18, 36)),
    ((9, 12), (4, 7)),
    ((9, 12), (14, 5)),
    ((16, 24), (40, 60)),
    ((16, 24), (8, 6)),
]

each_size = pytest.mark.parametrize(("size", "outputs"), SIZES, ids=str)
each_picture = pytest.mark.parametrize(("shape", "wanted"), PICTURES, ids=str)


def picture_of(shape, dtype="float32"):
    return np.random.default_rng(0).random(shape).astype(dtype)


def resized(x, wanted, mode, convention, **options):
    """Return what our operator gives, which must be what our matrix gives."""
    R = stc.ResizeOperator(x.shape, wanted, mode=mode, convention=convention, **options)
    result = R.apply(x.astype("float64"))
    matrix = stc.resize_matrix(x.shape, wanted, mode=mode, convention=convention, **options)
    np.testing.assert_allclose((matrix @ x.ravel()).reshape(R.output_shape), result, atol=1e-13)
    return result


def float32_tolerance(*sizes):
    """A position rounded to float32 is off by more in a longer signal."""
    return 1e-6 * max(1, max(sizes) / 10)


def close(ours, theirs, tolerance=1e-6):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def cv2():
    return pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def image():
    return pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def transform():
    return pytest.importorskip("skimage.transform")


@pytest.fixture(scope="module")
def tensorflow():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("tensorflow")


TORCH = [
    ("nearest", {}, {}),
    ("nearest-exact", {}, {}),
    ("area", {}, {}),
    ("bilinear", {"align_corners": False}, {}),
    ("bilinear", {"align_corners": True}, {"coordinate_mode": "align_corners"}),
    ("bilinear", {"antialias": True}, {"antialias": True}),
    ("bicubic", {"align_corners": False}, {}),
    ("bicubic", {"align_corners": True}, {"coordinate_mode": "align_corners"}),
    ("bicubic", {"antialias": True}, {"antialias": True}),
]


@pytest.mark.parametrize(("mode", "theirs", "ours"), TORCH, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
class TestTorch:
    @each_picture
    def test_pictures(self, torch, dtype, mode, theirs, ours, shape, wanted):
        x = picture_of(shape, dtype)
        tensor = torch.tensor(x)[None, None]
        expected = torch.nn.functional.interpolate(tensor, wanted, mode=mode, **theirs)[0, 0].numpy()
        tolerance = float32_tolerance(*shape) if dtype == "float32" else 1e-13
        close(resized(x, wanted, mode, "torch", **ours), expected, tolerance)

    @each_size
    def test_sizes(self, torch, dtype, mode, theirs, ours, size, outputs):
        x = picture_of((size, 3), dtype)
        tensor = torch.tensor(x)[None, None]
        expected = torch.nn.functional.interpolate(tensor, (outputs, 3), mode=mode, **theirs)[0, 0].numpy()
        close(
            resized(x, (outputs, 3), mode, "torch", **ours), expected, 2e-6 if dtype == "float32" else 1e-13
        )

    @pytest.mark.parametrize("scale", [2.0, 1.7, 0.6, 1 / 3, 2.5])
    def test_scale_factor(self, torch, dtype, mode, theirs, ours, scale):
        x = picture_of((11, 9), dtype)
        expected = torch.nn.functional.interpolate(
            torch.tensor(x)[None, None], scale_factor=scale, mode=mode, **theirs
        )[0, 0].numpy()
        matrix = stc.resize_matrix(x.shape, scale=scale, mode=mode, convention="torch", **ours)
        close((matrix @ x.ravel()).reshape(expected.shape), expected, 2e-6 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize(("mode", "theirs", "ours"), TORCH, ids=str)
def test_torch_scales_that_leave_a_size_or_double_it(torch, mode, theirs, ours):
    """There torch goes by the sizes, in some modes."""
    x = picture_of((6, 4), "float64")
    for scale in [(1.05, 1.1), (1.1, 1.0), (1.5, 1.1), (2.1, 1.2), (1.0, 2.2), (2.15, 2.2), (0.9, 1.2)]:
        expected = torch.nn.functional.interpolate(
            torch.tensor(x)[None, None], scale_factor=scale, mode=mode, **theirs
        )[0, 0].numpy()
        R = stc.ResizeOperator(x.shape, scale=scale, mode=mode, convention="torch", **ours)
        close(R.apply(x), expected, 1e-13)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear"])
def test_torch_scales_along_one_axis(torch, mode):
    x = picture_of((10,), "float64")
    for scale in (1.05, 1.09, 2.05, 2.1, 0.95):
        expected = torch.nn.functional.interpolate(
            torch.tensor(x)[None, None], scale_factor=scale, mode=mode
        )[0, 0].numpy()
        close(stc.resize_matrix(10, scale=scale, mode=mode, convention="torch") @ x, expected, 1e-13)


@pytest.mark.parametrize("mode", ["nearest", "trilinear", "area"])
def test_torch_in_other_dimensions(torch, mode):
    x = picture_of((4, 5, 6), "float64")
    expected = torch.nn.functional.interpolate(torch.tensor(x)[None, None], (7, 3, 9), mode=mode)[
        0, 0
    ].numpy()
    close(resized(x, (7, 3, 9), mode, "torch"), expected, 1e-13)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("antialias", [False, True])
def test_adjoint_is_torchs_gradient(torch, mode, antialias):
    R = stc.ResizeOperator((9, 12), (5, 31), mode=mode, antialias=antialias, convention="torch")
    x = torch.zeros(1, 1, 9, 12, dtype=torch.float64, requires_grad=True)
    y = picture_of((5, 31), "float64")
    up = torch.nn.functional.interpolate(x, (5, 31), mode=mode, antialias=antialias)
    up.backward(torch.tensor(y)[None, None])
    close(R.H.apply(y), x.grad[0, 0].numpy(), 1e-13)


class TestOnnx:
    """The node tests of ONNX's Resize: those that are a resize by the five coordinate modes."""

    @staticmethod
    def cases():
        onnx = pytest.importorskip("onnx")
        from onnx.backend.test.case.node import resize

        found = {}

        def keep(node, inputs, outputs, name, **_):
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            words = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
            found[name] = SimpleNamespace(
                words=words, names=list(node.input), inputs=inputs, output=outputs[0]
            )

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(resize, "expect", keep)
            for name in dir(resize.Resize):
                if name.startswith("export"):
                    getattr(resize.Resize, name)()
        return found

    def test_node_tests(self):
        passed, left_out = 0, []
        for name, case in self.cases().items():
            words = case.words
            by_name = {n: v for n, v in zip([n for n in case.names if n], case.inputs, strict=True)}
            if words.get("coordinate_transformation_mode") == "tf_crop_and_resize":
                left_out.append(name)  # reads a region of interest: another operator
                continue
            x = by_name["X"]
            axes = words.get("axes", list(range(x.ndim)))
            mode = words.get("mode", "nearest")
            options = {"nearest_mode": words.get("nearest_mode")} if mode == "nearest" else {}
            options |= {
                "coordinate_mode": words.get("coordinate_transformation_mode"),
                "cubic_coeff": words.get("cubic_coeff_a"),
                "exclude_outside": bool(words.get("exclude_outside", 0)),
                "antialias": bool(words.get("antialias", 0)),
            }
            if "keep_aspect_ratio_policy" in words:
                # the policy is applied before the resize: one scale for all axes, whose sizes are rounded
                choose = min if words["keep_aspect_ratio_policy"] == "not_larger" else max
                common = choose(m / x.shape[a] for a, m in zip(axes, by_name["sizes"], strict=True))
                scale = [common if a in axes else 1.0 for a in range(x.ndim)]
                R = stc.ResizeOperator(x.shape, scale=scale, mode=mode, convention="onnx", **options)
                if R.output_shape != case.output.shape:
                    left_out.append(name)  # ours are cut
                    continue
            elif "scales" in by_name:
                scale = [1.0] * x.ndim
                for a, s in zip(axes, by_name["scales"], strict=True):
                    scale[a] = float(s)
                R = stc.ResizeOperator(x.shape, scale=scale, mode=mode, convention="onnx", **options)
            else:
                shape = list(x.shape)
                for a, m in zip(axes, by_name["sizes"], strict=True):
                    shape[a] = int(m)
                R = stc.ResizeOperator(x.shape, shape, mode=mode, convention="onnx", **options)
            assert R.output_shape == case.output.shape, name
            np.testing.assert_allclose(R.apply(x), case.output, atol=2e-6, rtol=2e-6, err_msg=name)
            passed += 1
        print(passed, left_out)
        assert passed >= 30
        assert len(left_out) <= 6


OPENCV = {"nearest": "INTER_NEAREST", "linear": "INTER_LINEAR", "cubic": "INTER_CUBIC", "area": "INTER_AREA"}


@pytest.mark.parametrize("mode", OPENCV)
class TestOpenCV:
    @each_picture
    def test_pictures(self, cv2, mode, shape, wanted):
        if mode == "area" and len({m > n for n, m in zip(shape, wanted, strict=True)}) == 2:
            pytest.skip("one axis shrinks and one grows: OpenCV then interpolates both")
        x = picture_of(shape)
        expected = cv2.resize(x, wanted[::-1], interpolation=getattr(cv2, OPENCV[mode]))
        close(resized(x, wanted, mode, "opencv"), expected, float32_tolerance(*shape))

    @each_size
    def test_sizes(self, cv2, mode, size, outputs):
        x = picture_of((size, 3))
        expected = cv2.resize(x, (3, outputs), interpolation=getattr(cv2, OPENCV[mode]))
        close(resized(x, (outputs, 3), mode, "opencv"), expected.reshape(outputs, 3), float32_tolerance(size))

    def test_scale(self, cv2, mode):
        x = picture_of((10, 13))
        expected = cv2.resize(x, None, fx=1.5, fy=1.25, interpolation=getattr(cv2, OPENCV[mode]))
        R = stc.ResizeOperator(x.shape, scale=(1.25, 1.5), mode=mode, convention="opencv")
        close(R.apply(x.astype("float64")), expected)


def test_opencv_nearest_at_every_pair_of_sizes(cv2):
    """OpenCV's positions are rounded: what should be whole may fall below. The convention rounds with it."""
    for size in range(1, 60):
        x = np.arange(size, dtype=np.float32)[None]
        for outputs in range(1, 70):
            expected = cv2.resize(x, (outputs, 1), interpolation=cv2.INTER_NEAREST)[0]
            matrix = stc.resize_matrix(size, outputs, mode="nearest", convention="opencv")
            np.testing.assert_array_equal(matrix.indices, expected)


PILLOW = {"nearest": "NEAREST", "bilinear": "BILINEAR", "bicubic": "BICUBIC", "lanczos": "LANCZOS"}


@pytest.mark.parametrize("mode", PILLOW)
class TestPillow:
    @each_picture
    def test_pictures(self, image, mode, shape, wanted):
        x = picture_of(shape)
        expected = np.asarray(
            image.fromarray(x).resize(wanted[::-1], getattr(image.Resampling, PILLOW[mode]))
        )
        close(resized(x, wanted, mode, "pillow"), expected)

    @each_size
    def test_sizes(self, image, mode, size, outputs):
        x = picture_of((size, 3))
        expected = np.asarray(
            image.fromarray(x).resize((3, outputs), getattr(image.Resampling, PILLOW[mode]))
        )
        close(resized(x, (outputs, 3), mode, "pillow"), expected)


def test_pillow_nearest_at_every_pair_of_sizes(image):
    for size in range(1, 60):
        picture = image.fromarray(np.arange(size, dtype=np.float32)[None])
        for outputs in range(1, 70):
            expected = np.asarray(picture.resize((outputs, 1), image.Resampling.NEAREST))[0]
            matrix = stc.resize_matrix(size, outputs, mode="nearest", convention="pillow")
            np.testing.assert_array_equal(matrix.indices, expected)


TENSORFLOW = [
    ("nearest", "nearest", False),
    ("bilinear", "bilinear", False),
    ("bilinear", "bilinear", True),
    ("bicubic", "bicubic", False),
    ("bicubic", "bicubic", True),
    ("lanczos3", "lanczos3", False),
    ("lanczos3", "lanczos3", True),
    ("area", "area", False),
]


@pytest.mark.parametrize(("mode", "method", "antialias"), TENSORFLOW, ids=str)
class TestTensorFlow:
    @staticmethod
    def tolerance(method, antialias, pairs):
        """TensorFlow tabulates its plain bicubic kernel at steps of 1 / 1024: exact for powers of two."""
        dyadic = all(m % n == 0 and (m // n).bit_count() == 1 for n, m in pairs)
        if method == "bicubic" and not antialias and not dyadic:
            return 1e-3
        # it sums the parts of an area's cell in float32, from rounded ends
        return float32_tolerance(*(n for n, _ in pairs)) * (4 if method == "area" else 1)

    @each_picture
    def test_pictures(self, tensorflow, mode, method, antialias, shape, wanted):
        x = picture_of(shape)
        theirs = tensorflow.image.resize(x[..., None], wanted, method=method, antialias=antialias).numpy()
        pairs = list(zip(shape, wanted, strict=True))
        options = {"antialias": True} if antialias else {}
        ours = resized(x, wanted, mode, "tensorflow", **options)
        close(ours, theirs[..., 0], self.tolerance(method, antialias, pairs))

    @each_size
    def test_sizes(self, tensorflow, mode, method, antialias, size, outputs):
        x = picture_of((size, 3))
        theirs = tensorflow.image.resize(
            x[..., None], (outputs, 3), method=method, antialias=antialias
        ).numpy()
        options = {"antialias": True} if antialias else {}
        tolerance = self.tolerance(method, antialias, [(size, outputs)])
        close(resized(x, (outputs, 3), mode, "tensorflow", **options), theirs[..., 0], tolerance)


SKIMAGE = [
    ("nearest", 0, False),
    ("linear", 1, False),
    ("linear", 1, True),
    ("cubic", 3, False),
    ("cubic", 3, True),
]


@pytest.mark.parametrize(("mode", "order", "smooth"), SKIMAGE, ids=str)
class TestSkimage:
    @each_picture
    def test_pictures(self, transform, mode, order, smooth, shape, wanted):
        x = picture_of(shape, "float64")
        expected = transform.resize(x, wanted, order=order, anti_aliasing=smooth, clip=False)
        close(resized(x, wanted, mode, "skimage", antialias=smooth), expected, 1e-12)

    @each_size
    def test_sizes(self, transform, mode, order, smooth, size, outputs):
        x = picture_of((size,), "float64")
        expected = transform.resize(x, (outputs,), order=order, anti_aliasing=smooth, clip=False)
        close(resized(x, outputs, mode, "skimage", antialias=smooth), expected, 1e-12)


def test_skimage_defaults(transform):
    """It smooths before it shrinks, unless told not to."""
    x = picture_of((30, 20), "float64")
    close(resized(x, (13, 9), "linear", "skimage"), transform.resize(x, (13, 9), clip=False), 1e-12)
