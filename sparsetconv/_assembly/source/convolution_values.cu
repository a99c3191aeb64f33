// Values of a convolution's matrix: each entry is the sum of the weights whose taps land on its column; see
// matrix.cuh. All repetitions of a row have the same values, unless its taps slide: then each is summed anew.
//
// VALUE, SUM and SLIDING are constants of the compilation: the type of the weights, the type in which these are
// summed, and whether any segment slides (1) or none does (0).

// weights: (channels, k1, ..., kd), where `layout.weights` says how channels are numbered
extern "C" __global__ void convolution_values(
    Layout layout, const long long* __restrict__ tables, const VALUE* __restrict__ weights,
    VALUE* __restrict__ values) {
    const long long block = blockIdx.x / layout.chunks, chunk = blockIdx.x % layout.chunks;
    Line line;
    if (!find_line(layout, tables, block, line)) return;
    const long long first = first_channel(layout, line, layout.weights);
    // `slid` is added to the taps of the last axis
    const auto value = [&](const Combination& at, long long slid) {
        long long taps[NDIM], ends[NDIM], starts[NDIM];
        for (int a = 0; a < NDIM; ++a) {
            const long long* folds = tables + layout.axes[a].fold_table + at.places[a];
            starts[a] = taps[a] = folds[0];
            ends[a] = folds[1];
        }
        SUM sum = SUM(0);
        // all combinations of taps, the last axis' fastest
        while (true) {
            long long weight = first + at.channel * layout.weights.column;
            for (int a = 0; a < NDIM; ++a) {
                weight = weight * layout.axes[a].taps + tables[layout.axes[a].tap_table + taps[a]];
                if (SLIDING) weight += a < NDIM - 1 ? line.rows[a].slide : slid;
            }
            sum += (SUM)weights[weight];
            int a = NDIM - 1;
            while (a >= 0 && ++taps[a] == ends[a]) {
                taps[a] = starts[a];
                --a;
            }
            if (a < 0) break;
        }
        return (VALUE)sum;
    };
    const auto at = [&](const Line& own, long long upper, long long place) {
        return combination(own, upper, place);
    };
    if (SLIDING)
        each_entry(
            layout, tables, line, chunk, at,
            [&](long long entry, const Combination& made, long long, long long slid) {
                values[entry] = value(made, slid);
            });
    else
        each_entry(
            layout, tables, line, chunk,
            [&](const Line& own, long long upper, long long place) { return value(at(own, upper, place), 0); },
            [&](long long entry, VALUE made, long long, long long) { values[entry] = made; });
}
