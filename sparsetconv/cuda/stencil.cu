// A convolution, or its transpose, as a gather: every result is a sum over taps of what they read.
//
// Forward, tap t of result o reads position p = o * stride + t * dilation - before of the input's extension.
// Transposed (TRANSPOSED 1), sample i of the large array stands at several positions p of the extension, itself
// and those of the padding that read it; through tap t output o = (p + before - t * dilation) / stride of the
// small array reaches p, where that is whole. The taps for which it is are every CYCLE-th; between one and the
// next o falls by FALL. No zero is inserted, nothing is added by two threads.
//
// A thread makes RESULTS results along axis BLOCKED in CHANNELS channels, whose sums stay in registers. Along
// that axis the taps are unrolled: a sample is loaded once for all results and channels that read it. All
// other taps are loops. Where a result along the blocked axis reads the border, it is made alone (`careful`).
// Neighbouring threads make results next to each other on the last axis.
//
// Constants of the compilation: NDIM; TAPS, STRIDE, DILATION (lists); TRANSPOSED; BLOCKED, RESULTS, CHANNELS;
// SPREAD, how many results of the same phase a thread leaves to its neighbours between two of its own (1 but
// where the blocked axis is the last); ID, the type that numbers threads; VALUE, WEIGHT, FACTOR, SUM, the types
// of arrays, of weights as they are stored and as they are multiplied, and of sums.

#define ZEROS 0
#define REFLECT 1
#define SYMMETRIC 2
#define REPLICATE 3
#define CIRCULAR 4

__device__ constexpr int taps_of(int axis) {
    constexpr int list[] = TAPS;
    return list[axis];
}
__device__ constexpr int stride_of(int axis) {
    constexpr int list[] = STRIDE;
    return list[axis];
}
__device__ constexpr int dilation_of(int axis) {
    constexpr int list[] = DILATION;
    return list[axis];
}
__device__ constexpr int common_divisor(int a, int b) { return b ? common_divisor(b, a % b) : a; }
__device__ constexpr int common(int axis) { return common_divisor(stride_of(axis), dilation_of(axis)); }
// Distance between the taps that reach one position, and what the source falls by from one to the next.
__device__ constexpr int cycle(int axis) { return TRANSPOSED ? stride_of(axis) / common(axis) : 1; }
__device__ constexpr int fall(int axis) { return dilation_of(axis) / common(axis); }
// Taps that a result meets at most; what the source moves by from one to the next, and from one result of a
// phase to the next.
__device__ constexpr int meets(int axis) { return (taps_of(axis) + cycle(axis) - 1) / cycle(axis); }
__device__ constexpr int step(int axis) { return TRANSPOSED ? fall(axis) : dilation_of(axis); }
__device__ constexpr int advance(int axis) { return TRANSPOSED ? 1 : stride_of(axis); }
// With inverse * fall = 1 modulo cycle: finds the first tap that reaches a position.
__device__ constexpr int inverse(int axis) {
    for (int x = 0; x < cycle(axis); ++x)
        if (x * (long long)fall(axis) % cycle(axis) == 1 % cycle(axis)) return x;
    return 0;
}
// Weights of one channel along an axis and all behind it.
__device__ constexpr long long weights_from(int axis) {
    long long product = 1;
    for (int a = axis; a < NDIM; ++a) product *= taps_of(a);
    return product;
}
// How far apart the results of a thread are along the blocked axis.
constexpr int apart = SPREAD * (TRANSPOSED ? stride_of(BLOCKED) : 1);
// Taps along the blocked axis that are unrolled together.
constexpr int unrolled = 8;

// One axis: sizes of source and result; padding before; mode; `first` to `last`: the results that meet all
// their taps inside the signal and nothing of the padding; `low` and `high`: the positions that the forward
// direction reads.
struct StencilAxis {
    long long source, result, before, mode, first, last, low, high;
};

struct Stencil {
    long long batch, groups, source_channels, result_channels;
    StencilAxis axes[NDIM];
};

// The sample at a position of the infinite extension of `size` samples; -1 for a padded zero.
__device__ __forceinline__ long long sample_at(long long mode, long long size, long long position) {
    if (position >= 0 && position < size) return position;
    if (mode == ZEROS) return -1;
    if (mode == REPLICATE) return position < 0 ? 0 : size - 1;
    const long long period = mode == CIRCULAR ? size : mode == SYMMETRIC ? 2 * size : size > 1 ? 2 * size - 2 : 1;
    long long folded = position % period;
    if (folded < 0) folded += period;
    return folded < size ? folded : period - folded - (mode == SYMMETRIC);
}

// The next position after `position` at which sample `index` stands; `high + 1` if there is none.
__device__ __forceinline__ long long next_copy(const StencilAxis& axis, long long index, long long position) {
    const long long size = axis.result, from = position + 1;
    long long next = axis.high + 1;
    if (axis.mode == ZEROS || axis.mode == REPLICATE) {
        if (axis.mode == REPLICATE && ((index == 0 && from < 0) || (index == size - 1 && from >= size)))
            next = from;
        else if (from <= index)
            next = index;
        else if (axis.mode == REPLICATE && index == size - 1)
            next = from;
        return next < axis.high + 1 ? next : axis.high + 1;
    }
    const long long mode = axis.mode;
    const long long period = mode == CIRCULAR ? size : mode == SYMMETRIC ? 2 * size : size > 1 ? 2 * size - 2 : 1;
    const long long anchors[2] = {index, mode == CIRCULAR ? index : -index - (mode == SYMMETRIC)};
    for (int k = 0; k < 2; ++k) {
        long long ahead = (anchors[k] - from) % period;
        if (ahead < 0) ahead += period;
        if (from + ahead < next) next = from + ahead;
    }
    return next;
}

// The taps that meet at one position of an axis: the first one, where it reads, and how many there may be.
struct Meeting {
    long long source;
    int tap, count;
};

// Forward for a result, transposed for a position that is counted from the first that is read.
template <int AXIS>
__device__ __forceinline__ Meeting meeting(const StencilAxis& axis, long long place) {
    Meeting found;
    if constexpr (!TRANSPOSED) {
        found.tap = 0;
        found.source = place * stride_of(AXIS) - axis.before;
        found.count = taps_of(AXIS);
    } else {
        const int rest = (int)(place % stride_of(AXIS));
        found.tap = (int)((long long)(rest / common(AXIS)) * inverse(AXIS) % cycle(AXIS));
        const bool none = rest % common(AXIS) != 0 || found.tap >= taps_of(AXIS);
        found.count = none ? 0 : (taps_of(AXIS) - found.tap + cycle(AXIS) - 1) / cycle(AXIS);
        found.source = (place - (long long)found.tap * dilation_of(AXIS)) / stride_of(AXIS);
    }
    return found;
}

// Call use(source, tap) for everything that a result of one axis meets.
template <int AXIS, class Use>
__device__ __forceinline__ void each_met(const StencilAxis& axis, long long result, Use use) {
    if constexpr (!TRANSPOSED) {
        const long long first = result * stride_of(AXIS) - axis.before;
        if (result >= axis.first && result < axis.last) {
#pragma unroll(taps_of(AXIS) <= 8 ? taps_of(AXIS) : 1)
            for (int tap = 0; tap < taps_of(AXIS); ++tap) use(first + (long long)tap * dilation_of(AXIS), tap);
            return;
        }
#pragma unroll 1
        for (int tap = 0; tap < taps_of(AXIS); ++tap) {
            const long long source = sample_at(axis.mode, axis.source, first + (long long)tap * dilation_of(AXIS));
            if (source >= 0) use(source, tap);
        }
    } else {
        // the sample's own position alone where nothing of the padding reads it
        const bool alone = result >= axis.first && result < axis.last;
        long long position = alone ? result : next_copy(axis, result, axis.low - 1);
        while (position <= axis.high) {
            const Meeting met = meeting<AXIS>(axis, position + axis.before);
            for (int n = 0; n < met.count; ++n) {
                const long long source = met.source - (long long)n * fall(AXIS);
                if (source >= 0 && source < axis.source) use(source, met.tap + n * cycle(AXIS));
            }
            position = alone ? axis.high + 1 : next_copy(axis, result, position);
        }
    }
}

// All axes but the blocked one, from AXIS on: call leaf(source, weight) for each combination of what is met.
template <int AXIS, bool ALL, class Leaf>
__device__ __forceinline__ void each_combination(
    const Stencil& stencil, const long long* at, long long source, long long weight, Leaf leaf) {
    if constexpr (AXIS == NDIM) {
        leaf(source, weight);
    } else if constexpr (AXIS == BLOCKED && !ALL) {
        each_combination<AXIS + 1, ALL>(
            stencil, at, source * stencil.axes[AXIS].source, weight * taps_of(AXIS), leaf);
    } else {
        const StencilAxis& axis = stencil.axes[AXIS];
        each_met<AXIS>(axis, at[AXIS], [&](long long own, int tap) {
            each_combination<AXIS + 1, ALL>(
                stencil, at, source * axis.source + own, weight * taps_of(AXIS) + tap, leaf);
        });
    }
}

// Add `COUNT` taps along the blocked axis to the sums: the n-th result reads, through the t-th of them,
// source[n * advance + t * step], in strides of `stride`.
template <int COUNT>
__device__ __forceinline__ void accumulate(
    SUM (&sums)[CHANNELS][RESULTS], const VALUE* __restrict__ source, long long stride,
    const WEIGHT* const (&weights)[CHANNELS], long long weight_step) {
    constexpr long long moves = advance(BLOCKED), tap_moves = step(BLOCKED);
    FACTOR own[CHANNELS][COUNT];
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c)
#pragma unroll
        for (int t = 0; t < COUNT; ++t) own[c][t] = (FACTOR)weights[c][t * weight_step];
    constexpr long long reach = (RESULTS - 1) * moves + (COUNT - 1) * tap_moves + 1;
    constexpr bool scattered = SPREAD > 1 || reach > RESULTS * COUNT;
    if constexpr (scattered) {
        // the results of a thread share few samples or none, but all weights
#pragma unroll
        for (int t = 0; t < COUNT; ++t)
#pragma unroll
            for (int n = 0; n < RESULTS; ++n) {
                const SUM value = (SUM)source[(n * SPREAD * moves + t * tap_moves) * stride];
#pragma unroll
                for (int c = 0; c < CHANNELS; ++c) sums[c][n] += own[c][t] * value;
            }
        return;
    }
    constexpr long long places = scattered ? 0 : reach;
#pragma unroll
    for (long long place = 0; place < places; ++place) {
        bool read = false;
#pragma unroll
        for (int n = 0; n < RESULTS; ++n) {
            const long long rest = place - n * moves;
            if (rest >= 0 && rest % tap_moves == 0 && rest / tap_moves < COUNT) read = true;
        }
        if (!read) continue;
        const SUM value = (SUM)source[place * stride];
#pragma unroll
        for (int n = 0; n < RESULTS; ++n) {
            const long long rest = place - n * moves;
            if (rest < 0 || rest % tap_moves != 0 || rest / tap_moves >= COUNT) continue;
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c) sums[c][n] += own[c][rest / tap_moves] * value;
        }
    }
}

// COUNT taps along the blocked axis, in parts that are unrolled.
template <int COUNT>
__device__ __forceinline__ void accumulate_all(
    SUM (&sums)[CHANNELS][RESULTS], const VALUE* __restrict__ source, long long stride,
    const WEIGHT* (&weights)[CHANNELS], long long weight_step) {
    if constexpr (COUNT <= unrolled) {
        accumulate<COUNT>(sums, source, stride, weights, weight_step);
    } else {
        for (int part = 0; part < COUNT / unrolled; ++part) {
            accumulate<unrolled>(sums, source, stride, weights, weight_step);
            source += unrolled * step(BLOCKED) * stride;
            for (int c = 0; c < CHANNELS; ++c) weights[c] += unrolled * weight_step;
        }
        if constexpr (COUNT % unrolled != 0)
            accumulate<COUNT % unrolled>(sums, source, stride, weights, weight_step);
    }
}

// x: (batch, groups, channels, source...); weights: (groups, result channels, source channels, taps...);
// y: (batch, groups, channels, results...).
extern "C" __global__ void stencil(
    Stencil problem, const VALUE* __restrict__ x, const WEIGHT* __restrict__ weights, VALUE* __restrict__ y) {
    // what the thread makes: from the last axis to the first
    ID rest = (ID)blockIdx.x * blockDim.x + threadIdx.x;
    long long at[NDIM], source_size = 1, result_size = 1;
#pragma unroll
    for (int a = NDIM - 1; a >= 0; --a) {
        const StencilAxis& axis = problem.axes[a];
        ID length = (ID)axis.result;
        if (a == BLOCKED) {
            // tiles of results, and with them phases: results of a thread are of one phase
            const ID span = (ID)(RESULTS * apart);
            length = (length + span - 1) / span * apart;
        }
        const ID number = rest % length;
        rest /= length;
        at[a] = a == BLOCKED ? (long long)(number / apart) * (RESULTS * apart) + number % apart : number;
        source_size *= axis.source;
        result_size *= axis.result;
    }
    const ID blocks = (ID)((problem.result_channels + CHANNELS - 1) / CHANNELS);
    const long long channel = (long long)(rest % blocks) * CHANNELS;
    rest /= blocks;
    const long long group = rest % (ID)problem.groups, item = rest / (ID)problem.groups;
    if (item >= problem.batch) return;

    const long long sources = (item * problem.groups + group) * problem.source_channels;
    const long long kernels = (group * problem.result_channels + channel) * problem.source_channels;
    const long long results = (item * problem.groups + group) * problem.result_channels + channel;
    const StencilAxis& axis = problem.axes[BLOCKED];
    long long stride = 1, result_stride = 1;
#pragma unroll
    for (int a = BLOCKED + 1; a < NDIM; ++a) {
        stride *= problem.axes[a].source;
        result_stride *= problem.axes[a].result;
    }
    constexpr long long weight_stride = BLOCKED + 1 < NDIM ? weights_from(BLOCKED + 1) : 1;
    long long place = 0;
#pragma unroll
    for (int a = 0; a < NDIM; ++a) place = place * problem.axes[a].result + at[a];
    // channels beyond the last are made as the last, and not stored
    long long kernel_of[CHANNELS];
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c) {
        const long long own = channel + c < problem.result_channels ? c : problem.result_channels - 1 - channel;
        kernel_of[c] = (kernels + own * problem.source_channels) * weights_from(0);
    }

    const long long last = at[BLOCKED] + (long long)(RESULTS - 1) * apart;
    if (at[BLOCKED] >= axis.first && last < axis.last) {
        SUM sums[CHANNELS][RESULTS];
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c)
#pragma unroll
            for (int n = 0; n < RESULTS; ++n) sums[c][n] = SUM(0);
        const Meeting met =
            meeting<BLOCKED>(axis, TRANSPOSED ? at[BLOCKED] + axis.before : at[BLOCKED]);
        // in the order of the source; transposed that is from the last tap to the first
        const long long begin = TRANSPOSED ? met.source - (long long)(met.count - 1) * fall(BLOCKED) : met.source;
        const long long tap = TRANSPOSED ? met.tap + (met.count - 1) * cycle(BLOCKED) : 0;
        constexpr long long weight_step = (TRANSPOSED ? -cycle(BLOCKED) : 1) * weight_stride;
        for (long long c_in = 0; c_in < problem.source_channels; ++c_in) {
            each_combination<0, false>(problem, at, sources + c_in, 0, [&](long long source, long long weight) {
                const VALUE* from = x + source + begin * stride;
                const WEIGHT* own[CHANNELS];
#pragma unroll
                for (int c = 0; c < CHANNELS; ++c)
                    own[c] = weights + kernel_of[c] + c_in * weights_from(0) + weight + tap * weight_stride;
                // phases differ by one tap
                if (met.count == meets(BLOCKED)) {
                    accumulate_all<meets(BLOCKED)>(sums, from, stride, own, weight_step);
                } else if constexpr (meets(BLOCKED) > 1) {
                    if (met.count) accumulate_all<meets(BLOCKED) - 1>(sums, from, stride, own, weight_step);
                }
            });
        }
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c)
            if (channel + c < problem.result_channels)
#pragma unroll
                for (int n = 0; n < RESULTS; ++n)
                    y[(results + c) * result_size + place + n * apart * result_stride] = (VALUE)sums[c][n];
        return;
    }
    // careful: one result after the other
    for (int n = 0; n < RESULTS && at[BLOCKED] < axis.result; ++n) {
        SUM sums[CHANNELS];
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) sums[c] = SUM(0);
        for (long long c_in = 0; c_in < problem.source_channels; ++c_in)
            each_combination<0, true>(problem, at, sources + c_in, 0, [&](long long source, long long weight) {
                const SUM value = (SUM)x[source];
#pragma unroll
                for (int c = 0; c < CHANNELS; ++c)
                    sums[c] += (FACTOR)weights[kernel_of[c] + c_in * weights_from(0) + weight] * value;
            });
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c)
            if (channel + c < problem.result_channels)
                y[(results + c) * result_size + place] = (VALUE)sums[c];
        at[BLOCKED] += apart;
        place += apart * result_stride;
    }
}
