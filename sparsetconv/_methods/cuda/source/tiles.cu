// The stencil on tiles in shared memory; see stencil.cuh for what it computes.
//
// A block of threads computes a tile of results in CHANNELS channels. For SOURCES channels of the source at a time, it
// loads the padded input of the tile and the weights of these channels to shared memory. So the border takes no more
// time than the interior, and each block loads a sample only once. Then each thread accumulates its results.
//
// A thread computes RESULTS neighbouring results of one phase along axis BLOCKED. Taps along that axis are unrolled,
// and a sample is loaded once for all results that read it. It computes COLUMNS results along the last axis, as many
// results apart as there are lanes, so that neighbouring threads read neighbouring samples. With a stride, samples
// that are congruent modulo the stride are contiguous in the tile, so that the threads of a warp read different banks.
// Transposed, neighbouring threads along the last axis have the same phase, and so the same taps. If neighbouring
// threads then do not compute neighbouring results, results are stored to memory by way of the tile.
//
// Compile-time constants, besides those of stencil.cuh: BLOCKED, COLUMNS, CHANNELS, SOURCES; BUFFERS, 2 for double
// buffering (the next channels are loaded during the computation), else 1; THREADS, a list of the threads along
// each axis; UNROLLED, the taps that are unrolled together; SHARED, the bytes of shared memory; LOADS, the loads in
// flight per thread if they go through registers; BLOCKS, the minimum number of resident blocks per multiprocessor.

static_assert(sizeof(NUMBER) == sizeof(int), "tiles need strides and dilations of 32 bits");
LISTED(threads_of, THREADS)

constexpr int LAST = NDIM - 1;
constexpr bool in_line = BLOCKED == LAST;  // only with one axis
__device__ constexpr int phases(int axis) { return TRANSPOSED ? stride_of(axis) : 1; }
constexpr int all_threads = product_of(threads_of, 0);
// Neighbouring threads of one phase along the last axis.
constexpr int lanes = threads_of(LAST) / phases(LAST);
static_assert(threads_of(LAST) % phases(LAST) == 0, "threads along the last axis make all phases");
static_assert(RESULTS == 1 || threads_of(BLOCKED) % phases(BLOCKED) == 0, "threads along the blocked axis make all phases");
static_assert(!in_line || COLUMNS == 1, "COLUMNS is 1 in one dimension");

// Results of the tile along an axis.
__device__ constexpr int rows(int axis) {
    return threads_of(axis) * (axis == BLOCKED ? RESULTS : 1) * (axis == LAST ? COLUMNS : 1);
}
// Distance between the reads of the first and the last tap: the halo of a tile.
__device__ constexpr int halo(int axis) {
    return (int)((long long)(taps_of(axis) - 1) * dilation_of(axis) / (TRANSPOSED ? stride_of(axis) : 1));
}
// Samples of the tile along an axis.
__device__ constexpr int extent(int axis) {
    return TRANSPOSED ? (rows(axis) + stride_of(axis) - 2) / stride_of(axis) + 1 + halo(axis)
                      : (rows(axis) - 1) * stride_of(axis) + halo(axis) + 1;
}
// Along a last axis with a stride, samples that are congruent modulo the stride are contiguous, in segments.
constexpr bool split = !TRANSPOSED && stride_of(LAST) > 1;
constexpr int segment = (extent(LAST) + stride_of(LAST) - 1) / stride_of(LAST);
// Elements of the tile along an axis, and from one place along it to the next.
__device__ constexpr int stored(int axis) { return axis == LAST && split ? segment * stride_of(LAST) : extent(axis); }
__device__ constexpr int pitch(int axis) { return product_of(stored, axis + 1); }
constexpr int tile_size = product_of(stored, 0), lines_of_tile = product_of(extent, 0) / extent(LAST);
constexpr int results_of_tile = product_of(rows, 0);
// Offset of an axis in the list of places.
__device__ constexpr int list_of(int axis) {
    int sum = 0;
    for (int a = 0; a < axis; ++a) sum += extent(a);
    return sum;
}
// Whether results are stored by way of the tile.
constexpr bool staged = phases(LAST) > 1 || (in_line && RESULTS > 1);

constexpr int kernel_size = weights_from(0), blocked_taps = taps_of(BLOCKED);
constexpr int behind = weights_from(BLOCKED + 1);
__device__ constexpr int rounded(long long bytes) { return (int)((bytes + 15) / 16 * 16); }
__device__ constexpr int larger(int a, int b) { return a > b ? a : b; }
constexpr int tile_bytes =
    rounded((long long)larger(BUFFERS * SOURCES * tile_size, results_of_tile) * sizeof(VALUE));
constexpr int weight_bytes = rounded((long long)BUFFERS * SOURCES * kernel_size * CHANNELS * sizeof(FACTOR));
constexpr int list_bytes = rounded((long long)list_of(NDIM) * sizeof(PLACE));
static_assert(tile_bytes + weight_bytes + list_bytes == SHARED, "SHARED differs from Tile.shared in tiles.py");

// The weights of one tap for all channels, aligned for loads of up to 16 bytes.
struct alignas(CHANNELS * sizeof(FACTOR) < 16 ? CHANNELS * sizeof(FACTOR) : 16) Weights {
    FACTOR of[CHANNELS];
};

// A thread's first result along an axis, relative to the tile's first result.
template <int AXIS>
__device__ __forceinline__ int first_result(int thread) {
    if constexpr (AXIS == LAST) {
        return phases(LAST) * (thread % lanes * (in_line ? RESULTS : 1)) + thread / lanes;
    } else if constexpr (AXIS == BLOCKED) {
        return thread / phases(AXIS) * (RESULTS * phases(AXIS)) + thread % phases(AXIS);
    } else {
        return thread;
    }
}

// The taps of a thread's first result along an axis, and where in the tile the first tap reads.
template <int AXIS>
__device__ __forceinline__ Meeting met_in_tile(const StencilAxis& axis, long long begin, int own) {
    // along a split last axis, places are counted in results
    if constexpr (!TRANSPOSED) return {0, taps_of(AXIS), AXIS == LAST ? own : own * stride_of(AXIS)};
    const long long from = begin + axis.phase, place = from + own, quotient = place / stride_of(AXIS);
    Meeting met = meeting<AXIS>((NUMBER)(place - quotient * stride_of(AXIS)));
    met.source += (int)(quotient - from / stride_of(AXIS)) + halo(AXIS);
    return met;
}

// Distance in the tile between the reads of a result's n-th tap and its first.
template <int AXIS>
__device__ __forceinline__ int moved(int n) {
    if constexpr (TRANSPOSED) return -n * fall_of(AXIS);
    const int by = n * dilation_of(AXIS);
    if constexpr (AXIS == LAST && split) return by % stride_of(LAST) * segment + by / stride_of(LAST);
    return by;
}

// For all axes but the blocked one: call leaf(place in the tile, index of the combination of taps).
template <int AXIS, class Leaf>
__device__ __forceinline__ void each_combination(const Meeting (&met)[NDIM], int place, int taps, Leaf leaf) {
    if constexpr (AXIS == NDIM) {
        leaf(place, taps);
    } else if constexpr (AXIS == BLOCKED) {
        each_combination<AXIS + 1>(met, place, taps, leaf);
    } else {
        const int count = TRANSPOSED ? met[AXIS].count : taps_of(AXIS);
#pragma unroll(meets(AXIS) <= 4 ? meets(AXIS) : 1)
        for (int n = 0; n < count; ++n)
            each_combination<AXIS + 1>(
                met, place + (met[AXIS].source + moved<AXIS>(n)) * pitch(AXIS),
                taps * taps_of(AXIS) + met[AXIS].tap + n * cycle(AXIS), leaf);
    }
}

using Sums = SUM[CHANNELS][COLUMNS][RESULTS];

// Add COUNT taps along the blocked axis to the sums: by tap t, result n reads n * ADVANCE + t * STEP places along the
// axis from `source`.
template <int COUNT, int ADVANCE, int STEP>
__device__ __forceinline__ void accumulate(
    Sums& sums, const VALUE* source, const Weights* weights, int weight_step) {
    constexpr int between = pitch(BLOCKED);
    Weights own[COUNT];
#pragma unroll
    for (int t = 0; t < COUNT; ++t) own[t] = weights[t * weight_step];
#pragma unroll
    for (int v = 0; v < COLUMNS; ++v) {
        const VALUE* from = source + v * lanes;
        each_read<COUNT, ADVANCE, STEP>(
            [&](int place) { return (SUM)from[place * between]; },
            [&](int n, int t, SUM value) {
#pragma unroll
                for (int c = 0; c < CHANNELS; ++c) sums[c][v][n] += own[t].of[c] * value;
            });
    }
}

// The same for any number of taps, in unrolled parts.
template <int COUNT, int ADVANCE, int STEP>
__device__ __forceinline__ void accumulate_all(
    Sums& sums, const VALUE* source, const Weights* weights, int weight_step) {
    if constexpr (COUNT <= UNROLLED) {
        if constexpr (COUNT > 0) accumulate<COUNT, ADVANCE, STEP>(sums, source, weights, weight_step);
    } else {
#pragma unroll 1
        for (int part = 0; part < COUNT / UNROLLED; ++part) {
            accumulate<UNROLLED, ADVANCE, STEP>(sums, source, weights, weight_step);
            source += UNROLLED * STEP * pitch(BLOCKED);
            weights += UNROLLED * weight_step;
        }
        accumulate_all<COUNT % UNROLLED, ADVANCE, STEP>(sums, source, weights, weight_step);
    }
}

// Add all taps along the blocked axis; `weights` are those of one combination of the other axes' taps.
__device__ __forceinline__ void add_line(
    Sums& sums, const VALUE* source, const Weights* weights, const Meeting& met) {
    constexpr int between = pitch(BLOCKED), most = meets(BLOCKED), fall = fall_of(BLOCKED);
    if constexpr (TRANSPOSED) {
        // in the order of the source, which is from the last tap to the first; numbers of taps differ by one
        if (!met.count) return;
        const int further = met.count - 1, by = cycle(BLOCKED);
        source += (met.source - further * fall) * between;
        weights += met.tap + further * by;
        if (met.count == most) accumulate_all<most, 1, fall>(sums, source, weights, -by);
        else accumulate_all<most - 1, 1, fall>(sums, source, weights, -by);
    } else if constexpr (in_line && split) {
        // every `by`-th tap reads the same segment
        constexpr int by = listed_cycle(BLOCKED), full = (blocked_taps + by - 1) / by;
        source += met.source;
#pragma unroll 1
        for (int tap = 0; tap < (by < blocked_taps ? by : blocked_taps); ++tap) {
            const VALUE* from = source + moved<BLOCKED>(tap);
            if (tap + (full - 1) * by < blocked_taps) accumulate_all<full, 1, fall>(sums, from, weights + tap, by);
            else accumulate_all<full - 1, 1, fall>(sums, from, weights + tap, by);
        }
    } else {
        constexpr int advance = in_line ? 1 : stride_of(BLOCKED);
        accumulate_all<blocked_taps, advance, dilation_of(BLOCKED)>(
            sums, source + met.source * between, weights, 1);
    }
}

// The same as `add_line`, but for all axes and without padded zeros, as zero times infinity must not reach a sum.
template <int AXIS, class Leaf>
__device__ __forceinline__ void each_sample(
    const Meeting (&met)[NDIM], const PLACE* places, int result, int column, int place, int taps, Leaf leaf) {
    if constexpr (AXIS == NDIM) {
        leaf(place, taps);
    } else {
        constexpr int advance = TRANSPOSED || AXIS == LAST ? 1 : stride_of(AXIS);
        const int from = met[AXIS].source + (AXIS == BLOCKED ? result * advance : 0) + (AXIS == LAST ? column * lanes : 0);
#pragma unroll 1
        for (int n = 0; n < met[AXIS].count; ++n) {
            const int at = from + moved<AXIS>(n);
            // undo the split of the last axis into segments
            int sample = at;
            if constexpr (AXIS == LAST && split) sample = at % segment * stride_of(LAST) + at / segment;
            if (places[list_of(AXIS) + sample] < 0) continue;
            each_sample<AXIS + 1>(
                met, places, result, column, place + at * pitch(AXIS),
                taps * taps_of(AXIS) + met[AXIS].tap + n * cycle(AXIS), leaf);
        }
    }
}

__device__ __forceinline__ bool is_finite(float number) { return number - number == 0; }
__device__ __forceinline__ bool is_finite(double number) { return number - number == 0; }
template <class T>
__device__ __forceinline__ auto is_finite(const T& number) -> decltype(number.real() == 0) {
    return is_finite(number.real()) && is_finite(number.imag());
}
__device__ __forceinline__ bool is_finite(unsigned long long) { return true; }

// The number of channels that are loaded from `source` on.
__device__ __forceinline__ int stage_of(const Stencil& problem, long long source) {
    return problem.source_channels - source < SOURCES ? (int)(problem.source_channels - source) : SOURCES;
}

// The place in shared memory of a combination of taps: taps along the blocked axis are contiguous.
__device__ __forceinline__ int packed(int tap) {
    const int line = tap / behind, own = line % blocked_taps;
    return (line / blocked_taps * behind + tap % behind) * blocked_taps + own;
}

// Call use(axis) for each axis, as a compile-time constant.
template <int N>
struct Number {
    static constexpr int value = N;
};
template <int COUNT, class Use>
__device__ __forceinline__ void each_axis(Use use) {
    if constexpr (COUNT > 0) {
        each_axis<COUNT - 1>(use);
        use(Number<COUNT - 1>());
    }
}

// Threads that together load a line of the tile along the last axis, and their loads per line.
constexpr int wanted = NDIM == 1 ? all_threads : extent(LAST) <= 8 ? 8 : extent(LAST) <= 16 ? 16 : 32;
constexpr int width = wanted < all_threads ? wanted : all_threads;
constexpr int loaders = all_threads / width, loads = (extent(LAST) + width - 1) / width;
// Loads in flight per thread: of one line, and the lines at once.
constexpr int of_a_line = loads < LOADS ? loads : LOADS, lines_at_once = LOADS / of_a_line;

// Copies from global to shared memory: asynchronous (cp.async), all in flight at once, if the card supports it and
// elements have at least four bytes; else through registers.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
constexpr bool through_registers = sizeof(VALUE) < 4;
__device__ __forceinline__ void copy_later(VALUE* to, const VALUE* from, bool there) {
    if constexpr (!through_registers)
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"((unsigned int)__cvta_generic_to_shared(to)),
                     "l"(from), "n"(sizeof(VALUE)), "r"(there ? (int)sizeof(VALUE) : 0));
}
__device__ __forceinline__ void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }
#elif defined(__CUDA_ARCH__)
constexpr bool through_registers = true;
__device__ __forceinline__ void copy_later(VALUE*, const VALUE*, bool) {}
__device__ __forceinline__ void wait_for_copies() {}
#else
constexpr bool through_registers = sizeof(VALUE) < 4;  // on the CPU the emulation supplies the two functions
#endif

// A line of the tile: its addresses in the source and in the tile, and whether all of it is padding.
struct TileLine {
    const VALUE* from;
    VALUE* to;
    bool padded;
};

__device__ __forceinline__ TileLine tile_line(
    const VALUE* x, long long channel_size, int line, const PLACE* places, VALUE* tile) {
    int rest = line % lines_of_tile, to = line / lines_of_tile * tile_size;
    PLACE from = 0;
    bool padded = false;
#pragma unroll
    for (int a = LAST - 1; a >= 0; --a) {
        const int at = rest % extent(a);
        rest /= extent(a);
        const PLACE place = places[list_of(a) + at];
        padded = padded || place < 0;
        from += place;
        to += at * pitch(a);
    }
    return {x + line / lines_of_tile * channel_size + (padded ? 0 : from), tile + to, padded};
}

// Load the tile's padded input in some channels. PLAIN: it has no padding along the last axis.
template <bool PLAIN>
__device__ __forceinline__ void load_tile(
    const VALUE* __restrict__ x, long long channel_size, int channels, const PLACE* places, VALUE* tile) {
    const int lines = channels * lines_of_tile;
    const int lane = threadIdx.x % width, loader = threadIdx.x / width;
    if (loader >= loaders) return;
    const PLACE first = places[list_of(LAST)];
    const auto place_of = [&](int at) { return PLAIN ? first + at : places[list_of(LAST) + at]; };
    const auto in_tile = [](int at) { return split ? at % stride_of(LAST) * segment + at / stride_of(LAST) : at; };
    if constexpr (!through_registers) {
        for (int number = loader; number < lines; number += loaders) {
            const TileLine line = tile_line(x, channel_size, number, places, tile);
#pragma unroll(loads <= 16 ? loads : 4)
            for (int n = 0; n < loads; ++n) {
                const int at = n * width + lane;
                if (at >= extent(LAST)) continue;
                const PLACE place = place_of(at);
                const bool there = !line.padded && (PLAIN || place >= 0);
                copy_later(line.to + in_tile(at), line.from + (there ? place : 0), there);
            }
        }
    } else {
        for (int start = loader; start < lines; start += loaders * lines_at_once)
            for (int done = 0; done < loads; done += of_a_line) {
                VALUE held[lines_at_once][of_a_line];
                VALUE* to[lines_at_once];
#pragma unroll
                for (int l = 0; l < lines_at_once; ++l) {
                    const int number = start + l * loaders;
                    to[l] = nullptr;
                    if (number >= lines) continue;
                    const TileLine line = tile_line(x, channel_size, number, places, tile);
                    to[l] = line.to;
#pragma unroll
                    for (int n = 0; n < of_a_line; ++n) {
                        const int at = (done + n) * width + lane;
                        held[l][n] = VALUE(0);
                        if (at >= extent(LAST) || line.padded) continue;
                        const PLACE place = place_of(at);
                        if (PLAIN || place >= 0) held[l][n] = line.from[place];
                    }
                }
#pragma unroll
                for (int l = 0; l < lines_at_once; ++l)
#pragma unroll
                    for (int n = 0; n < of_a_line; ++n) {
                        const int at = (done + n) * width + lane;
                        if (to[l] && at < extent(LAST)) to[l][in_tile(at)] = held[l][n];
                    }
            }
    }
}

// x: (batch, groups, channels, source...); weights: (groups, result channels, source channels, taps...);
// y: (batch, groups, channels, results...); bands: (batch, groups, channels, places outside).
extern "C" __global__ void __launch_bounds__(all_threads, BLOCKS) tiles(
    Stencil problem, const VALUE* __restrict__ x, const WEIGHT* __restrict__ weights, VALUE* __restrict__ y,
    VALUE* __restrict__ bands) {
    alignas(16) __shared__ unsigned char shared[SHARED];
    VALUE* const tile = (VALUE*)shared;
    Weights* const own_weights = (Weights*)(shared + tile_bytes);
    PLACE* const places = (PLACE*)(shared + tile_bytes + weight_bytes);

    // the index of the tile: from the last axis to the first, then channels, groups, items
    unsigned int block = blockIdx.x;
    long long begin[NDIM];
    bool inside = true;
#pragma unroll
    for (int a = NDIM - 1; a >= 0; --a) {
        const StencilAxis& axis = problem.axes[a];
        const unsigned int number = (unsigned int)axis.tiles;
        begin[a] = (long long)(block % number) * rows(a);
        block /= number;
        inside = inside && begin[a] >= axis.lead && begin[a] + rows(a) <= axis.lead + axis.own;
    }
    const long long channel = (long long)(block % (unsigned int)problem.channel_blocks) * CHANNELS;
    block /= (unsigned int)problem.channel_blocks;
    const long long group = block % (unsigned int)problem.groups, item = block / (unsigned int)problem.groups;
    const long long results = (item * problem.groups + group) * problem.result_channels + channel;
    x += (item * problem.groups + group) * problem.source_channels * problem.source_size;
    weights += (group * problem.result_channels + channel) * problem.source_channels * kernel_size;
    const int channels = problem.result_channels - channel < CHANNELS ? (int)(problem.result_channels - channel) : CHANNELS;

    // the offsets of the tile's samples along each axis; -1 for padded zeros
    bool zeros = false, plain = true;
#pragma unroll
    for (int a = 0; a < NDIM; ++a) {
        const StencilAxis& axis = problem.axes[a];
        const long long first = TRANSPOSED ? axis.origin + (begin[a] + axis.phase) / stride_of(a) - halo(a)
                                           : begin[a] * stride_of(a) + axis.origin;
        if (a == LAST) plain = first >= 0 && first + extent(a) <= axis.source;
        for (int n = threadIdx.x; n < extent(a); n += all_threads) {
            const long long sample = sample_at(axis, first + n);
            zeros = zeros || sample < 0;
            places[list_of(a) + n] = sample < 0 ? PLACE(-1) : (PLACE)(sample * axis.source_stride);
        }
    }

    // the results of the thread
    int thread = threadIdx.x, threads[NDIM];
#pragma unroll
    for (int a = NDIM - 1; a >= 0; --a) {
        threads[a] = thread % threads_of(a);
        thread /= threads_of(a);
    }
    int own[NDIM];
    Meeting met[NDIM];
    bool idle = false;  // whether all of them are beyond the last result
    each_axis<NDIM>([&](auto number) {
        constexpr int a = decltype(number)::value;
        own[a] = first_result<a>(threads[a]);
        met[a] = met_in_tile<a>(problem.axes[a], begin[a], own[a]);
        idle = idle || begin[a] + own[a] >= problem.axes[a].result;
    });
    Sums sums;
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c)
#pragma unroll
        for (int v = 0; v < COLUMNS; ++v)
#pragma unroll
            for (int n = 0; n < RESULTS; ++n) sums[c][v][n] = SUM(0);
    zeros = __syncthreads_or(zeros);

    // load some channels and their weights; return whether any of the weights is NaN or infinite
    const auto load = [&](long long source, int buffer) {
        const int sources = stage_of(problem, source);
        const VALUE* const here = x + source * problem.source_size;
        VALUE* const to = tile + buffer * SOURCES * tile_size;
        if (plain) load_tile<true>(here, problem.source_size, sources, places, to);
        else load_tile<false>(here, problem.source_size, sources, places, to);
        bool nonfinite = false;
        for (int n = threadIdx.x; n < sources * kernel_size * CHANNELS; n += all_threads) {
            // channels beyond the last are computed like the last, and not stored
            const int c = n / (sources * kernel_size), rest = n % (sources * kernel_size);
            const long long from = (c < channels ? c : channels - 1) * problem.source_channels + source;
            const FACTOR weight = (FACTOR)weights[from * kernel_size + rest];
            nonfinite = nonfinite || !is_finite(weight);
            own_weights[(buffer * SOURCES + rest / kernel_size) * kernel_size + packed(rest % kernel_size)].of[c] = weight;
        }
        return nonfinite;
    };
    bool nonfinite = load(0, 0);
    int buffer = 0;
    for (long long source = 0; source < problem.source_channels; source += SOURCES) {
        const int sources = stage_of(problem, source);
        wait_for_copies();
        const bool skip_padding = __syncthreads_or(nonfinite) && zeros;
        const int now = buffer;
        buffer = (buffer + 1) % BUFFERS;
        const bool further = source + SOURCES < problem.source_channels;
        if (BUFFERS > 1 && further) nonfinite = load(source + SOURCES, buffer);
        for (int s = 0; s < sources && !idle; ++s) {
            const VALUE* const from = tile + (now * SOURCES + s) * tile_size;
            const Weights* const factors = own_weights + (now * SOURCES + s) * kernel_size;
            if (!skip_padding) {
                each_combination<0>(met, 0, 0, [&](int place, int taps) {
                    add_line(sums, from + place, factors + taps * blocked_taps, met[BLOCKED]);
                });
            } else {
                // rare: one result after the other, so that the code stays small
#pragma unroll 1
                for (int number = 0; number < COLUMNS * RESULTS; ++number) {
                    SUM found[CHANNELS];
#pragma unroll
                    for (int c = 0; c < CHANNELS; ++c) found[c] = SUM(0);
                    each_sample<0>(met, places, number % RESULTS, number / RESULTS, 0, 0, [&](int place, int taps) {
                        const Weights& weight = factors[packed(taps)];
#pragma unroll
                        for (int c = 0; c < CHANNELS; ++c) found[c] += weight.of[c] * (SUM)from[place];
                    });
#pragma unroll
                    for (int c = 0; c < CHANNELS; ++c)
#pragma unroll
                        for (int v = 0; v < COLUMNS; ++v)
#pragma unroll
                            for (int n = 0; n < RESULTS; ++n)
                                if (number == v * RESULTS + n) sums[c][v][n] += found[c];
                }
            }
        }
        if (BUFFERS == 1 && further) {
            __syncthreads();
            nonfinite = load(source + SOURCES, 0);
        }
    }
    __syncthreads();

    constexpr int between = phases(BLOCKED), across = phases(LAST) * lanes;
    if (inside && !staged) {
        long long first = results * problem.result_size;
#pragma unroll
        for (int a = 0; a < NDIM; ++a)
            first += (begin[a] + own[a] - problem.axes[a].lead) * problem.axes[a].result_stride;
        const PLACE step = (PLACE)problem.axes[BLOCKED].result_stride * between;
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) {
            if (c >= channels) break;
            VALUE* const to = y + first + c * problem.result_size;
#pragma unroll
            for (int v = 0; v < COLUMNS; ++v)
#pragma unroll
                for (int n = 0; n < RESULTS; ++n) to[n * step + v * across] = (VALUE)sums[c][v][n];
        }
        return;
    }
    // by way of the tile: neighbouring threads store neighbouring results; those in the padding go to the bands
#pragma unroll 1
    for (int c = 0; c < channels; ++c) {
#pragma unroll
        for (int v = 0; v < COLUMNS; ++v)
#pragma unroll
            for (int n = 0; n < RESULTS; ++n) {
                int place = 0;
#pragma unroll
                for (int a = 0; a < NDIM; ++a)
                    place = place * rows(a) + own[a] + (a == BLOCKED ? n * between : 0) + (a == LAST ? v * across : 0);
                SUM sum = sums[0][v][n];
#pragma unroll
                for (int k = 1; k < CHANNELS; ++k) sum = k == c ? sums[k][v][n] : sum;
                tile[place] = (VALUE)sum;
            }
        __syncthreads();
        for (int number = threadIdx.x; number < results_of_tile; number += all_threads) {
            int rest = number;
            long long at[NDIM];
            bool beyond = false;
#pragma unroll
            for (int a = NDIM - 1; a >= 0; --a) {
                at[a] = begin[a] + rest % rows(a);
                rest /= rows(a);
                beyond = beyond || at[a] >= problem.axes[a].result;
            }
            if (beyond) continue;
            const Destination found = destination(problem, at);
            if (found.inside) y[(results + c) * problem.result_size + found.place] = tile[number];
            else bands[(results + c) * problem.band_size + found.place] = tile[number];
        }
        __syncthreads();
    }
}
