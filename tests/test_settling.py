"""One settling of a convolution: a geometry is taken where its parts are, and is not settled again."""

import inspect
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from operator_cases import GEOMETRIES, integers
from reference import naive_matrix
from strategies import distinct_kernel, geometries

import sparsetconv as stc
from sparsetconv._geometry import validation
from sparsetconv._geometry.transposed import settled_geometry
from sparsetconv._learning.fit import fit_pairs

KERNEL = np.arange(1, 7).reshape(2, 3)
GEOMETRY = stc.ConvGeometry((5, 6), (2, 3), stride=(2, 1), padding=1, padding_mode="reflect")


@settings(max_examples=60, deadline=None)
@given(geometries(max_ndim=3))
def test_matrices_and_operators_of_a_geometry_are_the_naive_matrix(case):
    kernel_shape, input_shape, options = case
    geometry = stc.ConvGeometry(input_shape, kernel_shape, **options)
    kernel = distinct_kernel(kernel_shape)
    names = ("stride", "padding", "dilation", "groups", "padding_mode", "flip")
    expected = naive_matrix(kernel, geometry.input_shape, **{name: getattr(geometry, name) for name in names})
    np.testing.assert_array_equal(stc.conv_matrix(kernel, geometry).toarray(), expected)
    np.testing.assert_array_equal(stc.conv_transpose_matrix(kernel, geometry).toarray(), expected.T)
    A = stc.ConvOperator.from_geometry(kernel, geometry, method="sparse")
    T = stc.ConvTransposeOperator.from_geometry(kernel, geometry, method="sparse")
    assert (type(A), type(T)) == (stc.ConvOperator, stc.ConvTransposeOperator)
    assert (A.input_shape, A.output_shape) == (T.output_shape, T.input_shape)
    assert A.geometry == T.geometry == geometry
    x, y = (np.arange(1, n + 1) for n in A.shape[::-1])
    np.testing.assert_array_equal(A @ x, expected @ x)
    np.testing.assert_array_equal(T @ y, expected.T @ y)


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("transposed", [False, True])
def test_by_the_kernel(name, transposed):
    """Columns of `KernelOperator` are what the kernels with a single 1 make of the fixed input."""
    kernel_shape, input_shape, options = GEOMETRIES[name]
    geometry = stc.ConvGeometry(input_shape, kernel_shape, **options)
    x = integers(geometry.output_shape if transposed else geometry.input_shape, "int64")
    K = stc.KernelOperator.from_geometry(x, geometry, transposed=transposed)
    matrix = stc.conv_transpose_matrix if transposed else stc.conv_matrix
    units = np.eye(K.shape[1], dtype="int64").reshape(-1, *kernel_shape)
    columns = [matrix(unit, geometry) @ x.ravel() for unit in units]
    np.testing.assert_array_equal(K @ np.eye(K.shape[1], dtype="int64"), np.transpose(columns))


def test_rows_formats_and_dtypes_go_with_a_geometry():
    part = stc.conv_matrix(
        KERNEL, GEOMETRY, rows=slice(3, 7), dtype="float32", index_dtype="int64", format="coo"
    )
    whole = stc.conv_matrix(KERNEL, (5, 6), stride=(2, 1), padding=1, padding_mode="reflect")
    np.testing.assert_array_equal(part.toarray(), whole.toarray()[3:7])
    assert (part.dtype, part.row.dtype, part.format) == (np.float32, np.int64, "coo")


BESIDE = {
    "stride": 2, "padding": "same", "dilation": [1, 1], "groups": 2, "padding_mode": "symmetric", "flip": True,
    "output_padding": 1, "output_shape": (9, 9),
}  # fmt: skip


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (make, name)
        for make in (stc.conv_matrix, stc.conv_transpose_matrix)
        for name in BESIDE
        if name in inspect.signature(make).parameters
    ],
)
def test_what_is_given_beside_a_geometry_is_refused(make, name):
    with pytest.raises(ValueError, match=f"^{name} must be left out if a geometry is given, .* got"):
        make(KERNEL, GEOMETRY, **{name: BESIDE[name]})


OPERATORS = {
    "forward": stc.ConvOperator,
    "transposed": stc.ConvTransposeOperator,
}
BAD = {
    "kernel's shape": (np.ones((3, 2)), GEOMETRY, ValueError, r"kernel must have the geometry's kernel_shape \(2, 3\), got the shape \(3, 2\)"),
    "kernel's rank": (np.ones((1, 1, 2, 3)), GEOMETRY, ValueError, "kernel must have the geometry's kernel_shape"),
    "no geometry": (KERNEL, (5, 6), TypeError, r"geometry must be a ConvGeometry, got \(5, 6\) of type tuple"),
    "no kernel": ("ab", GEOMETRY, TypeError, "kernel must be float32"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_bad_geometries(operator, name):
    kernel, geometry, error, message = BAD[name]
    with pytest.raises(error, match=message):
        operator.from_geometry(kernel, geometry)
    if geometry is GEOMETRY:
        with pytest.raises(error, match=message):
            stc.conv_matrix(kernel, geometry)


def test_bad_geometries_of_kernel_operators():
    stc.KernelOperator.from_geometry(np.ones((5, 6)), GEOMETRY)
    with pytest.raises(
        ValueError, match=r"the geometry's output_shape \(3, 6\) with transposed=True, got the shape \(5, 6\)"
    ):
        stc.KernelOperator.from_geometry(np.ones((5, 6)), GEOMETRY, transposed=True)
    with pytest.raises(TypeError, match="transposed must be True or False"):
        stc.KernelOperator.from_geometry(np.ones((5, 6)), GEOMETRY, transposed="yes")


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda: stc.ConvOperator(KERNEL, GEOMETRY), "use the class method from_geometry instead"),
        (lambda: stc.ConvTransposeOperator(KERNEL, GEOMETRY), "use the class method from_geometry instead"),
        (lambda: stc.KernelOperator(np.ones((5, 6)), GEOMETRY), "use the class method from_geometry instead"),
        (lambda: stc.ConvGeometry(GEOMETRY, 3), "pass one of its shapes"),
        (lambda: stc.conv_transpose_geometry(GEOMETRY, 3), "pass one of its shapes"),
    ],
    ids=["conv", "transposed", "kernel", "geometry", "transposed-geometry"],
)
def test_a_geometry_in_place_of_a_shape(make, hint):
    with pytest.raises(TypeError, match=f"_shape must be a shape, got a ConvGeometry; {hint}"):
        make()


def test_an_operator_in_place_of_a_shape():
    """Its ``.shape`` is that of its matrix, so the message must not lead there."""
    resize = stc.ResizeOperator((5, 6), scale=2)
    for value in (stc.ConvOperator(KERNEL, (5, 6)), resize, resize.gram(), resize.geometry):
        name = type(value).__name__
        with pytest.raises(
            TypeError, match=f"input_shape must be a shape, got a {name}; pass one of its shapes"
        ):
            stc.conv_matrix(KERNEL, value)


@pytest.fixture
def settlings(monkeypatch):
    """Return the names of the parameters that are settled, as that happens."""
    names, inside = [], []

    def watched(function, real):
        def settle(*args, **kwargs):
            names.extend([] if inside else [args[0] if isinstance(args[0], str) else function])
            inside.append(function)
            try:
                return real(*args, **kwargs)
            finally:
                inside.pop()

        return settle

    for function in ("integer", "shape", "per_axis", "padding", "padding_mode", "flag"):
        monkeypatch.setattr(validation, function, watched(function, getattr(validation, function)))
    return names


def test_each_parameter_is_settled_once(settlings):
    stc.ConvTransposeOperator(
        np.ones((4, 2, 3, 3)), (4, 5, 6), stride=2, padding=1, groups=2, padding_mode=("reflect", "wrap")
    )
    assert sorted(settlings) == sorted(
        [
            "input_shape",
            "kernel_shape",
            "groups",
            "stride",
            "dilation",
            "padding",
            "output_padding",
            "padding_mode",
            "flip",
        ]
    )


def test_what_is_settled_is_not_settled_again(settlings):
    kernel = KERNEL + 1j
    A = stc.ConvOperator.from_geometry(kernel, GEOMETRY)
    T = stc.ConvTransposeOperator.from_geometry(kernel, GEOMETRY, method="direct")
    for operator in (A, T):
        for other in (operator.T, operator.H, operator.gram(), pickle.loads(pickle.dumps(operator))):
            other.tosparse()
    K = stc.KernelOperator.from_geometry(np.ones((5, 6)), GEOMETRY)
    pickle.loads(pickle.dumps(K)).tosparse()
    stc.conv_matrix(kernel, GEOMETRY)
    assert set(settlings) <= {"transposed"}


@pytest.mark.parametrize("method", ["auto", "direct", "gemm"])
@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_pickles(operator, method):
    A = operator.from_geometry(KERNEL, GEOMETRY, method=method)
    copy = pickle.loads(pickle.dumps(A))
    assert (type(copy), copy.geometry, copy.method) == (operator, GEOMETRY, A.method)
    assert copy.explain() == A.explain()
    np.testing.assert_array_equal(copy.kernel, KERNEL)


def test_the_same_words_in_either_direction():
    """`settled_geometry` is what the command line, `KernelOperator` and `fit_kernel` go by."""
    words = {"stride": 2, "padding": (1, 0), "padding_mode": "circular"}
    assert settled_geometry((5, 6), (2, 3), False, **words) == stc.ConvGeometry((5, 6), (2, 3), **words)
    back = {"output_padding": 1, **words}
    assert settled_geometry((5, 6), (2, 3), True, **back) == stc.conv_transpose_geometry(
        (5, 6), (2, 3), **back
    )
    for name, value in (("output_padding", (0, 1)), ("output_shape", (9, 9))):
        with pytest.raises(ValueError, match=f"{name} belongs to a transposed convolution, got"):
            settled_geometry((5, 6), (2, 3), False, **{name: value})


def test_fits_of_pairs_and_of_two_streams_are_the_same():
    rng = np.random.default_rng(0)
    inputs, targets = [rng.random((6, 7)) for _ in range(3)], [rng.random((12, 14)) for _ in range(3)]
    options = {"transposed": True, "stride": 2, "padding": 1, "ridge": 0.1}
    pairs = zip(inputs, targets, strict=True)
    np.testing.assert_array_equal(
        fit_pairs(pairs, (4, 4), **options), stc.fit_kernel(inputs, targets, (4, 4), **options)
    )


def test_transposed_is_false_wherever_it_is_a_parameter():
    for function in (stc.fit_kernel, stc.KernelOperator, stc.KernelOperator.from_geometry):
        assert inspect.signature(function).parameters["transposed"].default is False
