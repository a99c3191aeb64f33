// The arguments of the CUDA kernels of `direct`, and where they store results.
//
// Compile-time constants: NDIM; VALUE and SUM, the types of arrays and of sums; and the structs StencilAxis,
// Stencil and Samples, which are generated from the records in stencil.py.
//
// StencilAxis: one axis, with `source` samples and `result` results, of which `own`, from `lead` on, are in the
// result's array and the others in the bands. Forward, result e begins to read at e * stride + origin; transposed,
// its position is q = origin * stride + e + phase, with 0 <= phase < stride. All taps of results `first` to `last`
// read inside the source. `copies`, `edge` and `mirror` are the padding mode of the forward direction, as in
// _geometry/padding.py, and `period` is its period. `band` is the offset of the axis' band. A tiled launch has `tiles`
// tiles along the axis.
//
// Stencil: `source_size`, `result_size` and `band_size` are the elements per channel of each array.

// Where a result is stored, given its index along each axis: in the result's array, or in the bands. The band of an
// axis holds the results whose first index outside the result's array is along this axis: indices along the axes
// before it are inside, those along the axes behind it are arbitrary.
struct Destination {
    long long place;
    bool inside;
};

__device__ __forceinline__ Destination destination(const Stencil& problem, const long long* at) {
    Destination found;
    found.place = 0;
    found.inside = true;
    long long band = 0;
#pragma unroll
    for (int a = 0; a < NDIM; ++a) {
        const StencilAxis& axis = problem.axes[a];
        long long place = at[a] - axis.lead, length = axis.own;
        if (!found.inside) {
            place = at[a];
            length = axis.result;
        } else if (place < 0 || place >= axis.own) {
            found.inside = false;
            band = axis.band;
            length = axis.result - axis.own;
            place = at[a] < axis.lead ? at[a] : at[a] - axis.own;
        }
        found.place = found.place * length + place;
    }
    found.place += band;
    return found;
}
