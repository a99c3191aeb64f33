// The common parts of the CUDA kernels of `direct`: the taps of a result along an axis, and the samples they read.
//
// Forward, tap t of result o reads position o * stride + t * dilation + origin of the padded source.
// Transposed, the results are the positions q that the forward direction reads, relative to the first of them. The
// taps of result q are those t for which o = (q - t * dilation) / stride is an integer: every `cycle`-th tap, and
// from one to the next o decreases by `fall`. No zeros are inserted, and no result is added by two threads.
// Results in the padding are stored in a separate array, the bands; `unpad` adds them to the samples that the
// padding copies.
//
// Compile-time constants, besides those of places.cuh: TAPS, STRIDE, DILATION, CYCLE, FALL, INVERSE, lists with
// an entry for each axis (with common = gcd(stride, dilation), cycle = stride / common, fall = dilation / common, and
// inverse * fall = 1 modulo cycle); TRANSPOSED; NUMBER, the type of these numbers; WEIGHT and FACTOR, the types of
// weights as they are stored and as they are multiplied; PLACE, the type of offsets in a channel; RESULTS, the
// results of a thread along the axis whose taps are unrolled.

#define LISTED(name, LIST)                       \
    __device__ constexpr NUMBER name(int axis) { \
        constexpr NUMBER list[] = LIST;          \
        return list[axis];                       \
    }
LISTED(taps_of, TAPS)
LISTED(stride_of, STRIDE)
LISTED(dilation_of, DILATION)
LISTED(listed_cycle, CYCLE)
LISTED(fall_of, FALL)
LISTED(inverse_of, INVERSE)

// Distance between consecutive taps of a result.
__device__ constexpr NUMBER cycle(int axis) { return TRANSPOSED ? listed_cycle(axis) : 1; }
// The most taps of a result.
__device__ constexpr int meets(int axis) { return (int)((taps_of(axis) + cycle(axis) - 1) / cycle(axis)); }
// The product of each(axis) over the axes from `from` on.
template <class T>
__device__ constexpr int product_of(T (*each)(int), int from) {
    int product = 1;
    for (int a = from; a < NDIM; ++a) product *= (int)each(a);
    return product;
}
// Number of weights over the axes from `axis` on.
__device__ constexpr int weights_from(int axis) { return product_of(taps_of, axis); }

// The sample of the source at a position of its infinite extension; -1 for a padded zero. The transposed direction
// has only zeros outside of its source.
__device__ __forceinline__ long long sample_at(const StencilAxis& axis, long long position) {
    const long long size = axis.source, period = axis.period;
    if (position >= 0 && position < size) return position;
    if (TRANSPOSED || (!axis.copies && !axis.edge)) return -1;
    if (axis.edge) return position < 0 ? 0 : size - 1;
    // no division for padding of up to one period
    long long offset = position < 0 ? position + period : position < period ? position : position - period;
    if (offset < 0 || offset >= period) {
        offset = position % period;
        if (offset < 0) offset += period;
    }
    return offset < size ? offset : period - axis.mirror - offset;
}

// The taps of a result along an axis: the first tap, their number, and where the first one reads, relative to the
// quotient of the position by the stride; each of the others reads `fall` before the previous one.
struct Meeting {
    int tap, count;
    NUMBER source;
};

// The taps of positions congruent to `rest` modulo the stride.
template <int AXIS>
__device__ __forceinline__ Meeting meeting(NUMBER rest) {
    constexpr NUMBER common = stride_of(AXIS) / listed_cycle(AXIS), by = listed_cycle(AXIS), taps = taps_of(AXIS);
    NUMBER tap = 0;
    if constexpr (by < (1LL << 31)) {
        tap = (NUMBER)((long long)(rest / common) * inverse_of(AXIS) % by);
    } else {
        // the product would overflow, so taps are tried one by one; there are fewer taps than a cycle
        NUMBER reached = 0;
        for (; tap < taps && reached != rest / common; ++tap) reached = (reached + fall_of(AXIS) % by) % by;
    }
    if (rest % common != 0 || tap >= taps) return {0, 0, 0};
    return {(int)tap, (int)((taps - tap + by - 1) / by), (NUMBER)((rest - (long long)tap * dilation_of(AXIS)) / stride_of(AXIS))};
}

// The tap, of `count`, by which the n-th of neighbouring results reads a place, or -1; results are `advance` places
// apart, taps `step`.
__device__ constexpr int tap_at(int place, int n, int advance, int step, int count) {
    const int further = place - n * advance;
    return further >= 0 && further % step == 0 && further / step < count ? further / step : -1;
}
// Whether any of the results reads a place.
__device__ constexpr bool is_read(int place, int results, int advance, int step, int count) {
    for (int n = 0; n < results; ++n)
        if (tap_at(place, n, advance, step, count) >= 0) return true;
    return false;
}

// Call add(n, t, value) for each of RESULTS neighbouring results and each of COUNT taps; result n reads place
// n * ADVANCE + t * STEP by tap t. load(place) loads its value, once for all results that read it, if any are shared.
template <int COUNT, PLACE ADVANCE, PLACE STEP, class Load, class Add>
__device__ __forceinline__ void each_read(Load load, Add add) {
    constexpr PLACE along = (RESULTS - 1) * ADVANCE + (COUNT - 1) * STEP + 1;
    if constexpr (along > RESULTS * COUNT) {
#pragma unroll
        for (int t = 0; t < COUNT; ++t)
#pragma unroll
            for (int n = 0; n < RESULTS; ++n) add(n, t, load(n * ADVANCE + t * STEP));
    } else {
#pragma unroll
        for (int place = 0; place < (int)along; ++place) {
            if (!is_read(place, RESULTS, (int)ADVANCE, (int)STEP, COUNT)) continue;
            const SUM value = load(place);
#pragma unroll
            for (int n = 0; n < RESULTS; ++n) {
                const int t = tap_at(place, n, (int)ADVANCE, (int)STEP, COUNT);
                if (t >= 0) add(n, t, value);
            }
        }
    }
}
