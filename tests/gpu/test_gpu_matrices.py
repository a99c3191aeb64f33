"""Matrices on a GPU: the arrays of the CPU's matrices, entry for entry."""

from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from operator_cases import FLOATS, GEOMETRIES, MODES, integers
from reference import naive_matrix
from strategies import distinct_kernel, geometries

import sparsetconv as stc
from sparsetconv._assembly import cuda as cuda_module


def assert_equal(device, host):
    """Compare CSR matrices array by array: what is equal is canonical too."""
    for name in ("indptr", "indices", "data"):
        ours, theirs = getattr(device, name).get(), getattr(host, name)
        assert ours.dtype == theirs.dtype, name
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
    assert device.shape == host.shape
    assert device.has_canonical_format


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_same_arrays(cp, name, mode):
    kernel_shape, input_shape, options = GEOMETRIES[name]
    kernel = integers(kernel_shape, "float64")
    options = {**options, "padding_mode": mode}
    device, host = (stc.conv_matrix(k, input_shape, **options) for k in (cp.asarray(kernel), kernel))
    assert_equal(device, host)
    n = host.shape[0]
    for rows in (slice(0, 0), slice(1, n - 1), slice(n // 2, n // 2 + 1), slice(n, n)):
        device, host = (
            stc.conv_matrix(k, input_shape, rows=rows, **options) for k in (cp.asarray(kernel), kernel)
        )
        assert_equal(device, host)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("index", ["int32", "int64"])
def test_dtypes(cp, dtype, index):
    kernel = integers((3, 2, 4, 2), dtype)
    options = {"stride": 2, "padding": 3, "padding_mode": "reflect", "index_dtype": index}
    for make in (stc.conv_matrix, stc.conv_transpose_matrix):
        shape = (2, 5, 6) if make is stc.conv_matrix else (3, 5, 6)
        assert_equal(make(cp.asarray(kernel), shape, **options), make(kernel, shape, **options))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(geometries())
def test_drawn_geometries_match_naive_loops(cp, case):
    kernel_shape, input_shape, options = case
    kernel = distinct_kernel(kernel_shape, "float64")
    device = stc.conv_matrix(cp.asarray(kernel), input_shape, **options).get()
    expected = naive_matrix(kernel, input_shape, **options)
    np.testing.assert_array_equal(device.toarray(), expected)


# lines long enough for several chunks, and every kind of segment; name: kernel, input, options
LARGE = {
    # one line, thousands of repetitions
    "signal": ((5,), (30_000,), {"padding": "same", "padding_mode": "circular"}),
    # long lines, stride 2 in both directions
    "wide": ((3, 4), (6, 3000), {"stride": 2, "padding": 1, "padding_mode": "reflect"}),
    # short lines, several of which share a block
    "narrow": ((2, 3, 2), (20, 9, 3), {"padding": "same_lower", "padding_mode": "symmetric"}),
    # long borders: many rows that do not repeat
    "border": ((151,), (400,), {"padding": "full", "padding_mode": "reflect"}),
    # a row longer than a block of threads
    "channels": ((2, 30, 3, 3), (30, 7, 40), {"padding": 1}),
    # a position that no tap reaches
    "gaps": ((2, 3), (50, 3000), {"stride": 5, "dilation": 2}),
}


@pytest.mark.parametrize("rows_of_a_chunk", [1, 40, 1 << 12])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", LARGE)
def test_large(cp, name, transposed, rows_of_a_chunk, monkeypatch):
    from sparsetconv._assembly.matrices import geometry_matrix

    # chunks of a matrix of any size
    monkeypatch.setattr(cuda_module, "CHUNK_ENTRIES", (512, 512))
    monkeypatch.setattr(cuda_module, "POINTER_ROWS", rows_of_a_chunk)
    kernel_shape, input_shape, options = LARGE[name]
    geometry = stc.ConvGeometry(input_shape, kernel_shape, **options)
    kernel = integers(kernel_shape, "float32", 4)
    host = geometry_matrix(geometry, kernel, transposed)
    assert_equal(geometry_matrix(geometry, cp.asarray(kernel), transposed), host)
    rows = slice(host.shape[0] // 3, host.shape[0] // 3 * 2 + 1)
    part = geometry_matrix(geometry, cp.asarray(kernel), transposed, rows)
    assert_equal(part, geometry_matrix(geometry, kernel, transposed, rows))


@pytest.mark.parametrize("format", ["csc", "coo", "dia"])
def test_formats(cp, format):
    kernel = integers((3, 2), "float64")
    device = stc.conv_matrix(cp.asarray(kernel), (5, 6), padding="same", format=format)
    host = stc.conv_matrix(kernel, (5, 6), padding="same", format=format)
    assert device.format == format
    np.testing.assert_array_equal(device.get().toarray(), host.toarray())


def test_refusals(cp):
    with pytest.raises(TypeError, match=r"kernel must be float32, .* on a GPU, .*got int64"):
        stc.conv_matrix(cp.asarray([1, 2, 3]), 5)
    with pytest.raises(ValueError, match=r"format must be one of .* on a GPU, CuPy has no BSR; got 'bsr'"):
        stc.conv_matrix(cp.asarray([1.0, 2.0]), 4, stride=2, format="bsr")
    with pytest.raises(ValueError, match="device must be one of 'numpy', 'cupy'; got 'cuda'"):
        stc.resize_matrix(4, scale=2, device="cuda")
    with pytest.raises(TypeError, match="dtype must be a real or complex floating-point one, got int64"):
        stc.zero_insertion_matrix(4, 2, dtype=int, device="cupy")
    with pytest.raises(MemoryError, match=r"the matrix needs \d+ bytes .* are available; rows="):
        stc.conv_matrix(cp.ones((9, 9)), (1_000_000, 1_000_000))


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((7,), {"scale": 3, "mode": "linear"}),
        ((6, 10), {"scale": 2, "mode": "cubic"}),
        ((3, 8, 9), {"output_shape": (12, 12), "mode": "cubic", "convention": "pillow"}),
        ((40, 7), {"output_shape": (25, 31), "mode": "linear", "antialias": True}),
        ((5, 6), {"output_shape": (5, 6), "mode": "linear"}),
        ((2000,), {"output_shape": 3000, "mode": "area"}),
        ((9, 4), {"output_shape": (3, 8), "mode": "nearest", "dtype": "complex64"}),
    ],
)
def test_resize(cp, shape, options, monkeypatch):
    assert cp is not None
    assert_equal(stc.resize_matrix(shape, device="cupy", **options), stc.resize_matrix(shape, **options))
    # rows compared in several parts
    monkeypatch.setattr(cuda_module, "COMPARED_ROWS", 5)
    assert_equal(stc.resize_matrix(shape, device="cupy", **options), stc.resize_matrix(shape, **options))


def test_rows_that_come_again_are_found():
    """Of a resize's rows one period goes to the card; where one value differs, the rows around it too."""
    (factor,) = stc.ResizeOperator(3000, 9000, mode="cubic").factors
    whole = cuda_module.factor_table(factor)
    assert whole.columns.size < 40
    changed = factor.copy()
    changed.data[3000] = 7
    table = cuda_module.factor_table(changed)
    assert table.entries == factor.nnz
    # the longer stretch still repeats, the shorter one is written out
    assert 3000 < table.columns.size < 3100
    moved = factor.copy()
    moved.indices[3000] += 1
    assert cuda_module.factor_table(moved).columns.size == table.columns.size


@pytest.mark.parametrize(("shape", "stride"), [(3, 2), ((2, 4, 3), (3, 1)), ((5, 6), 4), ((1, 1), 3)])
def test_zero_insertion(cp, shape, stride):
    assert cp is not None
    for dtype in ("float32", "complex128"):
        device = stc.zero_insertion_matrix(shape, stride, dtype=dtype, device="cupy")
        assert_equal(device, stc.zero_insertion_matrix(shape, stride, dtype=dtype))


SAMPLINGS = {
    "resize": partial(stc.resize_matrix, (3, 4, 5), (3, 7, 4), mode="cubic"),
    "zeros": partial(stc.zero_insertion_matrix, (3, 4, 2), (3, 2, 4)),
}


@pytest.mark.parametrize("name", SAMPLINGS)
def test_rows_and_formats_of_other_samplings(cp, name):
    assert cp is not None
    make = SAMPLINGS[name]
    total = make().shape[0]
    for start, stop in ((0, total), (5, 6), (3, total - 2), (total // 2, total), (4, 4), (1, 3)):
        for index in ("int32", "int64"):
            options = {"rows": slice(start, stop), "index_dtype": index, "dtype": "float32"}
            assert_equal(make(device="cupy", **options), make(**options))
    for format in ("csc", "coo"):
        for rows in (None, slice(3, total - 2)):
            device, host = (make(rows=rows, format=format, device=d) for d in ("cupy", "numpy"))
            assert device.format == format
            np.testing.assert_array_equal(device.toarray().get(), host.toarray())
    with pytest.raises(ValueError, match="format must be one of csr, csc, coo; got 'dia'"):
        make(format="dia", device="cupy")


def test_one_launch_for_each_array(cp, monkeypatch):
    """Nothing of the matrix' size goes through the host: tables of the axes go there, three launches write."""
    from sparsetconv._arrays import cuda

    launches, moved = [], []
    launch, asarray = cuda.launch, cp.asarray
    monkeypatch.setattr(cuda, "launch", lambda *a: (launches.append(a), launch(*a)))
    kernel = cp.ones((3, 3), "float32")
    monkeypatch.setattr(cp, "asarray", lambda value, *a: (moved.append(value.nbytes), asarray(value, *a))[1])
    matrix = stc.conv_matrix(kernel, (300, 400), padding="same")
    assert len(launches) == 3
    assert sum(moved) < matrix.nnz / 100


def test_few_rows_of_a_long_line(cp):
    """Rows in the middle of millions cost what they are: no thread goes through those before them."""
    kernel, options = integers((5,), "float64"), {"padding": "same", "padding_mode": "reflect"}
    for rows in (slice(9_999_990, 10_000_000), slice(5_000_000, 5_000_003), slice(0, 4)):
        device, host = (
            stc.conv_matrix(k, 10_000_000, rows=rows, **options) for k in (cp.asarray(kernel), kernel)
        )
        assert_equal(device, host)


def by_kernel(cp, geometry, dtype, transposed):
    """Return the operator from kernels of a geometry on the device, and on the host."""
    shape = geometry.output_shape if transposed else geometry.input_shape
    fixed = integers(shape, dtype, 3)
    make = partial(stc.KernelOperator.from_geometry, geometry=geometry, transposed=transposed)
    return tuple(make(x) for x in (cp.asarray(fixed), fixed))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_matrices_by_the_kernel(cp, name, mode):
    kernel_shape, input_shape, options = GEOMETRIES[name]
    geometry = stc.ConvGeometry(input_shape, kernel_shape, **{**options, "padding_mode": mode})
    for transposed, dtype in ((False, "float64"), (True, "complex64")):
        device, host = by_kernel(cp, geometry, dtype, transposed)
        assert_equal(device.tosparse(), host.tosparse())


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(geometries())
def test_drawn_matrices_by_the_kernel(cp, case):
    kernel_shape, input_shape, options = case
    geometry = stc.ConvGeometry(input_shape, kernel_shape, **options)
    for transposed in (False, True):
        device, host = by_kernel(cp, geometry, "float64", transposed)
        assert_equal(device.tosparse(), host.tosparse())


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("kernel_shape", "input_shape", "options"),
    [
        ((9,), (20_000,), {"padding": 4, "padding_mode": "reflect"}),
        ((6,), (30_000,), {"stride": 3, "padding": 4, "flip": True}),
        ((3, 4), (90, 300), {"stride": 2, "padding": 1, "padding_mode": "symmetric"}),
        ((4, 2, 3, 3), (2, 60, 80), {"padding": "same"}),
    ],
)
def test_what_goes_to_the_card_of_a_matrix_by_the_kernel(
    cp, kernel_shape, input_shape, options, transposed, monkeypatch
):
    """Tables of the rows that differ, a few for each axis, and three launches."""
    from sparsetconv._arrays import cuda

    geometry = stc.ConvGeometry(input_shape, kernel_shape, **options)
    device, host = by_kernel(cp, geometry, "float32", transposed)
    launches, moved = [], []
    launch, asarray = cuda.launch, cp.asarray
    monkeypatch.setattr(cuda, "launch", lambda *a: (launches.append(a), launch(*a)))
    monkeypatch.setattr(cp, "asarray", lambda value, *a: (moved.append(value.nbytes), asarray(value, *a))[1])
    matrix = device.tosparse()
    assert len(launches) == 3
    assert sum(moved) < matrix.nnz * 8 / 50
    assert_equal(matrix, host.tosparse())


def test_narrower_dtypes(cp):
    """They round, as on the host, and do not overflow."""
    kernel = np.array([1 / 3, np.inf, np.nan])
    device = stc.conv_matrix(cp.asarray(kernel), 5, dtype=np.float32)
    assert_equal(device, stc.conv_matrix(kernel, 5, dtype=np.float32))
    with pytest.raises(
        ValueError, match=r"dtype must hold every value of kernel: 1e\+300 does not fit float32"
    ):
        stc.conv_matrix(cp.asarray([1.0, 1e300]), 5, dtype=np.float32)
