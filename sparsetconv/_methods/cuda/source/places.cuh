// A problem of `direct` in numbers, and where its results lie.
//
// Constants of the compilation: NDIM; VALUE and SUM, the types of arrays and of sums; and the structs StencilAxis,
// Stencil and Samples, which are made of the records in stencil.py.
//
// StencilAxis: one axis. `source` samples; `result` results, of which `own`, from `lead` on, are in the result's array
// and the others in the bands. Forward, result e begins to read at e * stride + origin; transposed, it stands at
// q = origin * stride + e + phase, with 0 <= phase < stride. All taps of results `first` to `last` read inside
// the source. What stands outside the forward direction's source say `copies`, `edge` and `mirror`, which are those
// of _geometry/padding.py, and `period`. `band` is where the axis' band begins. A tiled launch has `tiles` tiles
// along the axis.
//
// Stencil: `source_size`, `result_size` and `band_size` are numbers of one channel in each of the arrays.

// Where a result lies, by its place along each axis: in the result's array, or in the bands. A band holds the
// places of which its axis is the first that is outside: inside along the axes before, any along those behind.
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
