// The stencil without shared memory, for convolutions whose tile does not fit there; see stencil.cuh.
//
// A thread computes RESULTS results along axis BLOCKED in CHANNELS channels, with the sums in registers. Taps along
// that axis are unrolled: a sample is loaded once for all results and channels that read it. Other axes have loops
// over taps. Results that read the border along the blocked axis are computed one by one. Neighbouring threads
// compute neighbouring results along the last axis.
//
// Compile-time constants, besides those of stencil.cuh: BLOCKED, CHANNELS; UNROLLED, the taps that are unrolled
// together; SPREAD, the distance between a thread's results along the blocked axis, in results of the same phase (1
// unless the blocked axis is the last); ID, the type of thread numbers.

// The distances of the places read by consecutive taps, and by consecutive results of a phase.
__device__ constexpr PLACE step(int axis) { return TRANSPOSED ? fall_of(axis) : dilation_of(axis); }
__device__ constexpr PLACE advance(int axis) { return TRANSPOSED ? 1 : stride_of(axis); }
// Distance between the results of a thread along the blocked axis.
constexpr PLACE apart = RESULTS == 1 ? 1 : SPREAD * (TRANSPOSED ? (PLACE)stride_of(BLOCKED) : 1);

// The taps of a result along an axis: the first tap, their number, and where the first one reads.
struct Reading {
    int tap, count;
    PLACE source;
};

template <int AXIS>
__device__ __forceinline__ Reading reading(const StencilAxis& axis, long long result) {
    if constexpr (!TRANSPOSED) return {0, (int)taps_of(AXIS), (PLACE)(result * stride_of(AXIS) + axis.origin)};
    const long long place = result + axis.phase, quotient = place / stride_of(AXIS);
    const Meeting met = meeting<AXIS>((NUMBER)(place - quotient * stride_of(AXIS)));
    return {met.tap, met.count, (PLACE)(axis.origin + quotient + met.source)};
}

// Call use(source, tap) for each tap of a result along one axis that reads a sample.
template <int AXIS, class Use>
__device__ __forceinline__ void each_met(const StencilAxis& axis, long long result, Use use) {
    const Reading met = reading<AXIS>(axis, result);
    const bool whole = result >= axis.first && result < axis.last;
#pragma unroll 1
    for (int n = 0; n < met.count; ++n) {
        PLACE source = TRANSPOSED ? met.source - (PLACE)n * fall_of(AXIS)
                                  : met.source + (PLACE)n * dilation_of(AXIS);
        if (!whole) {
            if (TRANSPOSED) source = source < (PLACE)axis.source ? source : -1;
            else source = (PLACE)sample_at(axis, source);
            if (source < 0) continue;
        }
        use(source, met.tap + (int)(n * cycle(AXIS)));
    }
}

// Call leaf(source, weight) for each combination of taps of the axes from AXIS on; unless ALL, without the blocked one.
template <int AXIS, bool ALL, class Leaf>
__device__ __forceinline__ void each_combination(
    const Stencil& problem, const long long* at, PLACE source, PLACE weight, Leaf leaf) {
    if constexpr (AXIS == NDIM) {
        leaf(source, weight);
    } else if constexpr (AXIS == BLOCKED && !ALL) {
        each_combination<AXIS + 1, ALL>(problem, at, source, weight, leaf);
    } else {
        const PLACE stride = (PLACE)problem.axes[AXIS].source_stride;
        each_met<AXIS>(problem.axes[AXIS], at[AXIS], [&](PLACE own, int tap) {
            each_combination<AXIS + 1, ALL>(
                problem, at, source + own * stride, weight + (PLACE)tap * weights_from(AXIS + 1), leaf);
        });
    }
}

// Add COUNT taps along the blocked axis to the sums: by tap t, result n reads
// source[(n * SPREAD * advance + t * step) * stride].
template <int COUNT>
__device__ __forceinline__ void accumulate(
    SUM (&sums)[CHANNELS][RESULTS], const VALUE* __restrict__ source, PLACE stride,
    const WEIGHT* const (&weights)[CHANNELS], int weight_step) {
    FACTOR own[CHANNELS][COUNT];
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c)
#pragma unroll
        for (int t = 0; t < COUNT; ++t) own[c][t] = (FACTOR)weights[c][t * weight_step];
    each_read<COUNT, SPREAD * advance(BLOCKED), step(BLOCKED)>(
        [&](PLACE place) { return (SUM)source[place * stride]; },
        [&](int n, int t, SUM value) {
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c) sums[c][n] += own[c][t] * value;
        });
}

// The same in unrolled parts.
template <int COUNT>
__device__ __forceinline__ void accumulate_all(
    SUM (&sums)[CHANNELS][RESULTS], const VALUE* __restrict__ source, PLACE stride,
    const WEIGHT* (&weights)[CHANNELS], int weight_step) {
    if constexpr (COUNT <= UNROLLED) {
        accumulate<COUNT>(sums, source, stride, weights, weight_step);
    } else {
#pragma unroll 1
        for (int part = 0; part < COUNT / UNROLLED; ++part) {
            accumulate<UNROLLED>(sums, source, stride, weights, weight_step);
            source += (PLACE)UNROLLED * step(BLOCKED) * stride;
            for (int c = 0; c < CHANNELS; ++c) weights[c] += UNROLLED * weight_step;
        }
        if constexpr (COUNT % UNROLLED != 0)
            accumulate<COUNT % UNROLLED>(sums, source, stride, weights, weight_step);
    }
}

// x: (batch, groups, channels, source...); weights: (groups, result channels, source channels, taps...);
// y: (batch, groups, channels, results...); bands: (batch, groups, channels, places outside).
extern "C" __global__ void gather(
    Stencil problem, const VALUE* __restrict__ x, const WEIGHT* __restrict__ weights, VALUE* __restrict__ y,
    VALUE* __restrict__ bands) {
    // the results of the thread: from the last axis to the first
    ID rest = (ID)blockIdx.x * blockDim.x + threadIdx.x;
    long long at[NDIM];
#pragma unroll
    for (int a = NDIM - 1; a >= 0; --a) {
        ID length = (ID)problem.axes[a].result;
        if (a == BLOCKED) {
            // the results of a thread belong to one phase
            const ID span = (ID)(RESULTS * apart);
            length = (length + span - 1) / span * apart;
        }
        const ID number = rest % length;
        rest /= length;
        at[a] = a == BLOCKED ? (long long)(number / apart) * (RESULTS * apart) + number % apart : number;
    }
    const long long channel = (long long)(rest % (ID)problem.channel_blocks) * CHANNELS;
    rest /= (ID)problem.channel_blocks;
    const long long group = rest % (ID)problem.groups, item = rest / (ID)problem.groups;
    if (item >= problem.batch) return;

    x += (item * problem.groups + group) * problem.source_channels * problem.source_size;
    const long long results = (item * problem.groups + group) * problem.result_channels + channel;
    // channels beyond the last are computed like the last, and not stored
    const WEIGHT* kernels[CHANNELS];
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c) {
        const long long own = channel + c < problem.result_channels ? channel + c : problem.result_channels - 1;
        kernels[c] = weights + (group * problem.result_channels + own) * problem.source_channels * weights_from(0);
    }
    const auto store = [&](int c, SUM sum) {
        if (channel + c >= problem.result_channels) return;
        const Destination found = destination(problem, at);
        if (found.inside) y[(results + c) * problem.result_size + found.place] = (VALUE)sum;
        else bands[(results + c) * problem.band_size + found.place] = (VALUE)sum;
    };

    const StencilAxis& axis = problem.axes[BLOCKED];
    const long long last = at[BLOCKED] + (long long)(RESULTS - 1) * apart;
    if (at[BLOCKED] >= axis.first && last < axis.last) {
        SUM sums[CHANNELS][RESULTS];
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c)
#pragma unroll
            for (int n = 0; n < RESULTS; ++n) sums[c][n] = SUM(0);
        const Reading met = reading<BLOCKED>(axis, at[BLOCKED]);
        const PLACE stride = (PLACE)axis.source_stride;
        // in the order of the source, which is from the last tap to the first if transposed
        const PLACE begin = TRANSPOSED ? met.source - (PLACE)(met.count - 1) * fall_of(BLOCKED) : met.source;
        const int tap = TRANSPOSED && met.count ? met.tap + (int)((met.count - 1) * cycle(BLOCKED)) : 0;
        constexpr int behind = weights_from(BLOCKED + 1), weight_step = TRANSPOSED ? -(int)(cycle(BLOCKED) < taps_of(BLOCKED) ? cycle(BLOCKED) : 0) * behind : behind;
        for (long long c_in = 0; c_in < problem.source_channels; ++c_in) {
            each_combination<0, false>(problem, at, 0, 0, [&](PLACE source, PLACE weight) {
                const VALUE* from = x + c_in * problem.source_size + source + begin * stride;
                const WEIGHT* own[CHANNELS];
#pragma unroll
                for (int c = 0; c < CHANNELS; ++c)
                    own[c] = kernels[c] + c_in * weights_from(0) + weight + tap * behind;
                // numbers of taps differ by one between phases
                if (met.count == meets(BLOCKED)) {
                    accumulate_all<meets(BLOCKED)>(sums, from, stride, own, weight_step);
                } else if constexpr (meets(BLOCKED) > 1) {
                    if (met.count) accumulate_all<meets(BLOCKED) - 1>(sums, from, stride, own, weight_step);
                }
            });
        }
#pragma unroll
        for (int n = 0; n < RESULTS; ++n) {
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c) store(c, sums[c][n]);
            at[BLOCKED] += apart;
        }
        return;
    }
    // at the border: one result at a time
    for (int n = 0; n < RESULTS && at[BLOCKED] < axis.result; ++n) {
        SUM sums[CHANNELS];
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) sums[c] = SUM(0);
        for (long long c_in = 0; c_in < problem.source_channels; ++c_in)
            each_combination<0, true>(problem, at, 0, 0, [&](PLACE source, PLACE weight) {
                const SUM value = (SUM)x[c_in * problem.source_size + source];
#pragma unroll
                for (int c = 0; c < CHANNELS; ++c)
                    sums[c] += (FACTOR)kernels[c][c_in * weights_from(0) + weight] * value;
            });
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) store(c, sums[c]);
        at[BLOCKED] += apart;
    }
}
