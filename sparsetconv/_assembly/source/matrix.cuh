// Where the entries of a matrix that is a product of axes lie.
//
// Rows are numbered by (channel, o1, ..., od), entries of a row by (channel of the column, j1, ..., jd), where
// ja runs over the columns of row oa of axis a. The matrix of an axis is a list of segments. A segment is
// `period` rows that repeat: in each repetition all columns grow by `shift`, or the columns are the same and all
// taps grow by `slide`. The tables hold only the rows of one period, as templates; the number of entries before
// any row follows from the segments in closed form.
//
// A line is all rows that differ in the last axis only. A thread looks up its line once, takes entries of a
// segment's period, computes each once, and writes it for every repetition. Neighbouring threads write
// neighbouring places.
//
// Constants of the compilation: NDIM, and these structs, which are made of the records in cuda.py. Channels are those
// of one group; `end` is one past the last.
//
// Segment: the first row `start`; `period` rows of a group; what columns move by from one group to the next (`shift`),
// and what taps do (`slide`); the first template `row`; the entries of the axis `before` it; the `entries` of a group;
// the number of groups, `repeat`.
// Chunk: a range of segments, and the range of repetitions if it is one segment.
// AxisLayout: the rows, columns and entries of an axis' matrix, the number of segments, and where its tables begin. The
// columns of template row t are at places begins[t] to begins[t + 1] of `columns`; the taps that land on the column at
// place c are at places folds[c] to folds[c + 1] of `taps`.
// ChannelSteps: by how much the channel of a column, or of a weight, grows from one group to the next, from one channel
// of the rows to the next, and from one channel of the columns to the next.
// Layout: rows `start` to `stop` are written: they have `entries` entries, and there are `before` entries before them.
// The last axis is divided into `chunks` chunks, listed in `chunk_table`.

// A record of a table.
template <class T>
__device__ __forceinline__ const T& record(const long long* table, long long number) {
    return *(const T*)(table + number * (long long)(sizeof(T) / sizeof(long long)));
}

// A row of an axis: where the columns of its template begin in the tables, the number of columns, what is added
// to the columns and to their taps, and the number of entries of the axis before the row.
struct AxisRow {
    long long place, count, shift, slide, before;
};

// A line: its number; the entries before it, counted from the first written; its channel; the number of
// combinations of columns of all axes but the last, channels included; the written rows along the last axis, from
// `low` to `high`; its rows of all axes but the last.
struct Line {
    long long number, begin, channel, upper, low, high;
    AxisRow rows[NDIM];
};

__device__ __forceinline__ AxisRow axis_row(const AxisLayout& axis, const long long* tables, long long row) {
    const long long* segments = tables + axis.segment_table;
    const long long* begins = tables + axis.begin_table;
    // the last segment that does not begin after the row
    long long low = 0, high = axis.segments - 1;
    while (low < high) {
        const long long middle = (low + high + 1) / 2;
        if (record<Segment>(segments, middle).start <= row) low = middle;
        else high = middle - 1;
    }
    const Segment& segment = record<Segment>(segments, low);
    const long long offset = row - segment.start, period = segment.period;
    const long long time = period == 1 ? offset : offset / period;
    const long long first = segment.row, own = first + offset - time * period;
    AxisRow found;
    found.place = begins[own];
    found.count = begins[own + 1] - begins[own];
    found.shift = time * segment.shift;
    found.slide = time * segment.slide;
    found.before = segment.before + time * segment.entries + begins[own] - begins[first];
    return found;
}

// Find the line that a thread works on; false if the thread has no line.
__device__ __forceinline__ bool find_line(
    const Layout& layout, const long long* tables, long long block, Line& line) {
    const long long length = layout.axes[NDIM - 1].rows;
    line.number = layout.start / length + block * blockDim.y + threadIdx.y;
    const long long first = line.number * length;
    if (first >= layout.stop) return false;
    line.low = layout.start > first ? layout.start - first : 0;
    line.high = layout.stop - first < length ? layout.stop - first : length;
    long long after[NDIM];  // entries of the axes behind each
    after[NDIM - 1] = 1;
    for (int a = NDIM - 1; a > 0; --a) after[a - 1] = after[a] * layout.axes[a].entries;
    long long rest = line.number, at[NDIM];
    for (int a = NDIM - 2; a >= 0; --a) {
        at[a] = rest % layout.axes[a].rows;
        rest /= layout.axes[a].rows;
    }
    line.channel = rest;
    line.upper = 1;
    line.begin = line.channel * after[0] * layout.axes[0].entries;
    for (int a = 0; a < NDIM - 1; ++a) {
        line.rows[a] = axis_row(layout.axes[a], tables, at[a]);
        line.begin += line.upper * line.rows[a].before * after[a];
        line.upper *= line.rows[a].count;
    }
    line.begin = line.begin * layout.column_channels - layout.before;
    line.upper *= layout.column_channels;
    return true;
}

// The part of a channel's number that all entries of a line have in common.
__device__ __forceinline__ long long first_channel(
    const Layout& layout, const Line& line, const ChannelSteps& steps) {
    const long long group = line.channel / layout.row_channels, row = line.channel - group * layout.row_channels;
    return group * steps.group + row * steps.row;
}

// Narrow the repetitions `time` to `end` of a line's row to the written rows; a thread takes every `abreast`-th.
__device__ __forceinline__ void take_wanted(
    const Line& line, long long rows, long long row, long long period, long long abreast, long long& time,
    long long& end) {
    if (line.low == 0 && line.high == rows) return;
    const long long missing = line.low - row - time * period, step = abreast * period;
    if (missing > 0) time += (missing + step - 1) / step * abreast;
    const long long stop = line.high > row ? (line.high - row + period - 1) / period : 0;
    if (stop < end) end = stop;
}

// Call make(line, upper, place) for each entry of a period: `upper` numbers the combinations of columns of
// all axes but the last, `place` is that of the last axis' column in its tables. Then call
// store(entry, made, shift, slide) for every repetition.
template <class Make, class Store>
__device__ __forceinline__ void each_entry(
    const Layout& layout, const long long* tables, const Line& line, long long chunk, Make make, Store store) {
    const AxisLayout& axis = layout.axes[NDIM - 1];
    const Chunk& bounds = record<Chunk>(tables + layout.chunk_table, chunk);
    const long long* begins = tables + axis.begin_table;
    for (long long number = bounds.first_segment; number < bounds.end_segment; ++number) {
        const Segment& segment = record<Segment>(tables + axis.segment_table, number);
        const long long first = segment.row, period = segment.period;
        const long long length = line.upper * segment.entries;
        if (!length) continue;
        // the threads of a block write `abreast` repetitions at once
        const long long width = length < blockDim.x ? length : blockDim.x, abreast = blockDim.x / width;
        if (threadIdx.x >= width * abreast) continue;
        const long long start = line.begin + line.upper * segment.before;
        for (long long entry = threadIdx.x % width; entry < length; entry += width) {
            // find the row of the period that has the entry
            long long low = first, high = first + period - 1;
            while (low < high) {
                const long long middle = (low + high + 1) / 2;
                if (line.upper * (begins[middle] - begins[first]) <= entry) low = middle;
                else high = middle - 1;
            }
            const long long inside = entry - line.upper * (begins[low] - begins[first]);
            const long long count = begins[low + 1] - begins[low];
            const auto made = make(line, inside / count, begins[low] + inside % count);
            const long long row = segment.start + low - first, shift = segment.shift;
            long long time = bounds.first_time + threadIdx.x / width, end = bounds.end_time;
            take_wanted(line, axis.rows, row, period, abreast, time, end);
            const long long step = abreast * length, move = abreast * shift;
            const long long slide = segment.slide;
            long long target = start + time * length + entry, moved = time * shift, slid = time * slide;
#pragma unroll 4
            for (int count = time < end ? (int)((end - time + abreast - 1) / abreast) : 0; count > 0; --count) {
                store(target, made, moved, slid);
                target += step;
                moved += move;
                slid += abreast * slide;
            }
        }
    }
}

// One combination of columns of all axes, as places in their tables, and the channel of the column.
struct Combination {
    long long places[NDIM], channel;
};

__device__ __forceinline__ Combination combination(const Line& line, long long upper, long long place) {
    Combination found;
    found.places[NDIM - 1] = place;
    for (int a = NDIM - 2; a >= 0; --a) {
        found.places[a] = line.rows[a].place + upper % line.rows[a].count;
        upper /= line.rows[a].count;
    }
    found.channel = upper;
    return found;
}
