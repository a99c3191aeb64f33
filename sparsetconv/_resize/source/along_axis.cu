// A sparse matrix times every line of an array along one axis: result (lead, rows, trail) from
// x (lead, columns, trail). A thread computes one number; neighbouring threads are neighbours in the result.
//
// Compile-time constants: VALUE, the type of the arrays; FACTOR, the type of the matrix' entries; ID, an unsigned
// type that can number all threads; and the struct Sizes.

extern "C" __global__ void along_axis(
    Sizes sizes, const int* __restrict__ pointers, const int* __restrict__ indices,
    const FACTOR* __restrict__ values, const VALUE* __restrict__ x, VALUE* __restrict__ result) {
    const ID number = (ID)blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= (ID)(sizes.lead * sizes.rows * sizes.trail)) return;
    const ID trail = number % (ID)sizes.trail, line = number / (ID)sizes.trail;
    const ID row = line % (ID)sizes.rows, lead = line / (ID)sizes.rows;
    const VALUE* source = x + (long long)lead * sizes.columns * sizes.trail + trail;
    VALUE sum = VALUE(0);
    for (int entry = pointers[row]; entry < pointers[row + 1]; ++entry)
        sum += values[entry] * source[indices[entry] * sizes.trail];
    result[number] = sum;
}
