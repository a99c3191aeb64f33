// Row pointers and columns of a matrix that is a product of axes; see matrix.cuh.
//
// INDEX is a constant of the compilation: the type of row pointers and columns.

// pointers[r] is the number of entries before row start + r; there is one more for the end.
extern "C" __global__ void row_pointers(
    Layout layout, const long long* __restrict__ tables, INDEX* __restrict__ pointers, long long pieces) {
    const long long block = blockIdx.x / pieces, piece = blockIdx.x % pieces;
    if (blockIdx.x == 0 && threadIdx.x == 0 && threadIdx.y == 0)
        pointers[layout.stop - layout.start] = (INDEX)layout.entries;
    Line line;
    if (!find_line(layout, tables, block, line)) return;
    const AxisLayout& axis = layout.axes[NDIM - 1];
    const long long low = line.low, rows = line.high - low;
    const long long first = low + rows * piece / pieces, last = low + rows * (piece + 1) / pieces;
    for (long long row = first + threadIdx.x; row < last; row += blockDim.x) {
        const long long before = line.begin + line.upper * axis_row(axis, tables, row).before;
        pointers[line.number * axis.rows + row - layout.start] = (INDEX)before;
    }
}

// indices[e] is the column of entry e: the sum over axes of the axis' column times the size of what is behind.
extern "C" __global__ void columns(
    Layout layout, const long long* __restrict__ tables, INDEX* __restrict__ indices) {
    const long long block = blockIdx.x / layout.chunks, chunk = blockIdx.x % layout.chunks;
    Line line;
    if (!find_line(layout, tables, block, line)) return;
    const long long group = line.channel / layout.row_channels;
    each_entry(
        layout, tables, line, chunk,
        [&](const Line& own, long long upper, long long place) {
            const Combination at = combination(own, upper, place);
            long long column = group * layout.column_channels + at.channel;
            for (int a = 0; a < NDIM; ++a) {
                column = column * layout.axes[a].columns + tables[layout.axes[a].column_table + at.places[a]];
                if (a < NDIM - 1) column += own.rows[a].shift;
            }
            return column;
        },
        [&](long long entry, long long column, long long shift) { indices[entry] = (INDEX)(column + shift); });
}
