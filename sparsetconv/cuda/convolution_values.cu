// Values of a convolution's matrix: for each entry the sum of the weights whose taps land on its column; see
// matrix.cuh. The same for all repetitions of a row.
//
// VALUE and SUM are constants of the compilation: the type of the weights, and that of sums of them.

// weights: (channels of rows, channels of columns of a group, k1, ..., kd)
extern "C" __global__ void convolution_values(
    Layout layout, const long long* __restrict__ tables, const VALUE* __restrict__ weights,
    VALUE* __restrict__ values) {
    const long long block = blockIdx.x / layout.chunks, chunk = blockIdx.x % layout.chunks;
    Line line;
    if (!find_line(layout, tables, block, line)) return;
    each_entry(
        layout, tables, line, chunk,
        [&](const Line& own, long long upper, long long place) {
            const Combination at = combination(own, upper, place);
            long long taps[NDIM], ends[NDIM], starts[NDIM];
            for (int a = 0; a < NDIM; ++a) {
                const long long* folds = tables + layout.axes[a].fold_table + at.places[a];
                starts[a] = taps[a] = folds[0];
                ends[a] = folds[1];
            }
            SUM sum = SUM(0);
            // all combinations of taps, the last axis' fastest
            while (true) {
                long long weight = own.channel * layout.column_channels + at.channel;
                for (int a = 0; a < NDIM; ++a)
                    weight = weight * layout.axes[a].taps + tables[layout.axes[a].tap_table + taps[a]];
                sum += (SUM)weights[weight];
                int a = NDIM - 1;
                while (a >= 0 && ++taps[a] == ends[a]) {
                    taps[a] = starts[a];
                    --a;
                }
                if (a < 0) break;
            }
            return (VALUE)sum;
        },
        [&](long long entry, VALUE value, long long) { values[entry] = value; });
}
