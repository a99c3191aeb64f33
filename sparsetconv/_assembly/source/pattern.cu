// Row pointers and columns of a matrix that is a product of axes; see matrix.cuh.
//
// INDEX is a constant of the compilation: the type of row pointers and columns.

// pointers[r] is the number of entries before row start + r; the last one is the end. Chunks are listed in
// `chunk_table`, but have about equally many rows instead of entries; a chunk of several segments has all their
// repetitions. A thread computes the pointer of a row of the first period, and adds the entries of a period for
// each repetition.
extern "C" __global__ void row_pointers(
    Layout layout, const long long* __restrict__ tables, INDEX* __restrict__ pointers, long long chunks,
    long long chunk_table) {
    const long long block = blockIdx.x / chunks, chunk = blockIdx.x % chunks;
    if (blockIdx.x == 0 && threadIdx.x == 0 && threadIdx.y == 0)
        pointers[layout.stop - layout.start] = (INDEX)layout.entries;
    Line line;
    if (!find_line(layout, tables, block, line)) return;
    const AxisLayout& axis = layout.axes[NDIM - 1];
    const Chunk& bounds = record<Chunk>(tables + chunk_table, chunk);
    const long long* begins = tables + axis.begin_table;
    const bool several = bounds.end_segment - bounds.first_segment > 1;
    for (long long number = bounds.first_segment; number < bounds.end_segment; ++number) {
        const Segment& segment = record<Segment>(tables + axis.segment_table, number);
        const long long first = segment.row, period = segment.period;
        const unsigned width = period < blockDim.x ? (unsigned)period : blockDim.x;
        const unsigned abreast = blockDim.x / width;
        if (threadIdx.x >= width * abreast) continue;
        const long long before = line.begin + line.upper * segment.before;
        const long long entries = line.upper * segment.entries;
        const long long step = abreast * period, move = abreast * entries;
        for (long long own = threadIdx.x % width; own < period; own += width) {
            const long long row = segment.start + own;
            long long time = threadIdx.x / width + (several ? 0 : bounds.first_time);
            long long end = several ? segment.repeat : bounds.end_time;
            take_wanted(line, axis.rows, row, period, abreast, time, end);
            long long target = line.number * axis.rows + row + time * period - layout.start;
            long long pointer = before + line.upper * (begins[first + own] - begins[first]) + time * entries;
#pragma unroll 4
            for (int count = time < end ? (int)((end - time + abreast - 1) / abreast) : 0; count > 0; --count) {
                pointers[target] = (INDEX)pointer;
                target += step;
                pointer += move;
            }
        }
    }
}

// indices[e] is the column of entry e: the sum over axes of the axis' column times its stride.
extern "C" __global__ void columns(
    Layout layout, const long long* __restrict__ tables, INDEX* __restrict__ indices) {
    const long long block = blockIdx.x / layout.chunks, chunk = blockIdx.x % layout.chunks;
    Line line;
    if (!find_line(layout, tables, block, line)) return;
    const long long first = first_channel(layout, line, layout.columns);
    each_entry(
        layout, tables, line, chunk,
        [&](const Line& own, long long upper, long long place) {
            const Combination at = combination(own, upper, place);
            long long column = first + at.channel * layout.columns.column;
            for (int a = 0; a < NDIM; ++a) {
                column = column * layout.axes[a].columns + tables[layout.axes[a].column_table + at.places[a]];
                if (a < NDIM - 1) column += own.rows[a].shift;
            }
            return column;
        },
        [&](long long entry, long long column, long long shift, long long) {
            indices[entry] = (INDEX)(column + shift);
        });
}
