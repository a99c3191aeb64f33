// Values of a Kronecker product of one matrix for each axis; see matrix.cuh.
//
// Constants of the compilation: VALUE, the type of the entries (the factors' are double), and the struct Firsts.

// factors: the values of the template rows, in the order of their `columns`; those of axis a from firsts.of[a] on
extern "C" __global__ void product_values(
    Layout layout, const long long* __restrict__ tables, const double* __restrict__ factors, Firsts firsts,
    VALUE* __restrict__ values) {
    const long long block = blockIdx.x / layout.chunks, chunk = blockIdx.x % layout.chunks;
    Line line;
    if (!find_line(layout, tables, block, line)) return;
    each_entry(
        layout, tables, line, chunk,
        [&](const Line& own, long long upper, long long place) {
            const Combination at = combination(own, upper, place);
            // from the last axis to the first, as on the CPU
            double product = factors[firsts.of[NDIM - 1] + at.places[NDIM - 1]];
            for (int a = NDIM - 2; a >= 0; --a) product = factors[firsts.of[a] + at.places[a]] * product;
            return (VALUE)product;
        },
        [&](long long entry, VALUE value, long long, long long) { values[entry] = value; });
}
