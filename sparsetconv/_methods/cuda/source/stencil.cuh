// What the kernels of `direct` share: which taps an axis' result meets, and which samples.
//
// Forward, tap t of result o reads position o * stride + t * dilation + origin of the padded source.
// Transposed, results stand at the positions that the forward direction reads: at q = o * stride + t * dilation,
// counted from the first of them, arrive the taps t for which o = (q - t * dilation) / stride is whole. These
// are every `cycle`-th; from one to the next o falls by `fall`. No zero is inserted, nothing is added by two
// threads. Positions of the padding go to an array of their own, the bands; `unpad` adds them to the samples of
// which they are copies.
//
// Constants of the compilation, beside those of places.cuh: TAPS, STRIDE, DILATION, CYCLE, FALL, INVERSE, lists with
// an entry for each axis (with common = gcd(stride, dilation), cycle = stride / common, fall = dilation / common, and
// inverse * fall = 1 modulo cycle); TRANSPOSED; NUMBER, the type of these numbers; WEIGHT and FACTOR, the types of
// weights as they are stored and as they are multiplied; PLACE, the type of places in a channel; RESULTS, the
// results of a thread along the axis on which taps are unrolled.

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

// Taps from one that reaches a position to the next that does.
__device__ constexpr NUMBER cycle(int axis) { return TRANSPOSED ? listed_cycle(axis) : 1; }
// Taps that a result meets at most.
__device__ constexpr int meets(int axis) { return (int)((taps_of(axis) + cycle(axis) - 1) / cycle(axis)); }
// The product of what the axes from one on have.
template <class T>
__device__ constexpr int product_of(T (*each)(int), int from) {
    int product = 1;
    for (int a = from; a < NDIM; ++a) product *= (int)each(a);
    return product;
}
// Weights of the axes from one on.
__device__ constexpr int weights_from(int axis) { return product_of(taps_of, axis); }

// The sample of the source at a position of its infinite extension; -1 for a padded zero, which is all that
// stands outside of the transposed direction's source.
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

// The taps of an axis that a result meets: the first, how many, and where the first one reads, counted from
// the quotient of the position by the stride; the next reads `fall` before.
struct Meeting {
    int tap, count;
    NUMBER source;
};

// The taps that reach positions congruent to `rest` modulo the stride.
template <int AXIS>
__device__ __forceinline__ Meeting meeting(NUMBER rest) {
    constexpr NUMBER common = stride_of(AXIS) / listed_cycle(AXIS), by = listed_cycle(AXIS), taps = taps_of(AXIS);
    NUMBER tap = 0;
    if constexpr (by < (1LL << 31)) {
        tap = (NUMBER)((long long)(rest / common) * inverse_of(AXIS) % by);
    } else {
        // the product would be too large; there are fewer taps than positions from one that they reach to the next
        NUMBER reached = 0;
        for (; tap < taps && reached != rest / common; ++tap) reached = (reached + fall_of(AXIS) % by) % by;
    }
    if (rest % common != 0 || tap >= taps) return {0, 0, 0};
    return {(int)tap, (int)((taps - tap + by - 1) / by), (NUMBER)((rest - (long long)tap * dilation_of(AXIS)) / stride_of(AXIS))};
}

// The tap of `count` through which the n-th of neighbouring results reads a place, or -1: results are `advance`
// places apart, taps `step`.
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

// Call add(n, t, value) for each of RESULTS neighbouring results and of COUNT taps: through the t-th the n-th result
// reads place n * ADVANCE + t * STEP. load(place) brings its value, once for all that read it, as long as any share.
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
