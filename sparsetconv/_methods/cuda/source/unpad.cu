// The adjoint of padding along one axis: values at padded positions are added to the samples that they copy. A
// thread computes one sample along axis UNPADDED. Along the axes before it, threads cover the samples; along those
// behind it, all positions, since their padding is added afterwards. Copies are added in the order of their
// positions, so that results are reproducible bit by bit.
//
// UNPADDED and ID, the type of thread numbers, are compile-time constants, besides those of places.cuh.
//
// Samples: the samples with copies along the axis, `total` in all: `number` from `begin` on, the rest from `again` on.

// The next position after `position` with a copy of sample `index`; `end` if there is none before it.
__device__ __forceinline__ long long next_copy(
    const StencilAxis& axis, long long index, long long position, long long end) {
    const long long size = axis.own, from = position + 1;
    long long next = end;
    if (axis.edge) {
        if ((index == 0 && from < 0) || (index == size - 1 && from >= size)) next = from;
        else if (from <= index) next = index;
        return next < end ? next : end;
    }
    const long long anchors[2] = {index, -index - axis.mirror};
    for (int k = 0; k < axis.copies; ++k) {
        long long ahead = (anchors[k] - from) % axis.period;
        if (ahead < 0) ahead += axis.period;
        if (from + ahead < next) next = from + ahead;
    }
    return next;
}

extern "C" __global__ void unpad(
    Stencil problem, Samples samples, VALUE* __restrict__ y, VALUE* __restrict__ bands) {
    ID rest = (ID)blockIdx.x * blockDim.x + threadIdx.x;
    long long at[NDIM];
#pragma unroll
    for (int a = NDIM - 1; a >= 0; --a) {
        const StencilAxis& axis = problem.axes[a];
        const ID length = (ID)(a < UNPADDED ? axis.own : a == UNPADDED ? samples.total : axis.result);
        at[a] = (long long)(rest % length) + (a < UNPADDED ? axis.lead : 0);
        rest /= length;
    }
    const long long channel = rest;
    if (channel >= problem.batch * problem.groups * problem.result_channels) return;
    const StencilAxis& axis = problem.axes[UNPADDED];
    const long long index =
        at[UNPADDED] < samples.number ? samples.begin + at[UNPADDED] : samples.again + at[UNPADDED] - samples.number;
    const auto pointer = [&](long long position) {
        at[UNPADDED] = position + axis.lead;
        const Destination found = destination(problem, at);
        return found.inside ? y + channel * problem.result_size + found.place
                            : bands + channel * problem.band_size + found.place;
    };
    VALUE* const own = pointer(index);
    SUM sum = (SUM)*own;
    const long long end = axis.result - axis.lead;
    for (long long position = next_copy(axis, index, -axis.lead - 1, end); position < end;
         position = next_copy(axis, index, position, end))
        if (position != index) sum += (SUM)*pointer(position);
    *own = (VALUE)sum;
}
