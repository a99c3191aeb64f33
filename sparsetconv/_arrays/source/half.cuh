// Half-precision types: arrays are stored in them, sums are computed in float. Conversion from float rounds to
// nearest, ties to even.

struct float16 {
    unsigned short bits;
    float16() = default;
    __device__ explicit float16(float number) {
#ifdef __CUDA_ARCH__
        asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(number));
#else
        const _Float16 rounded = (_Float16)number;
        memcpy(&bits, &rounded, 2);
#endif
    }
    __device__ operator float() const {
#ifdef __CUDA_ARCH__
        float number;
        asm("cvt.f32.f16 %0, %1;" : "=f"(number) : "h"(bits));
        return number;
#else
        _Float16 own;
        memcpy(&own, &bits, 2);
        return (float)own;
#endif
    }
};

// The upper half of a float32.
struct bfloat16 {
    unsigned short bits;
    bfloat16() = default;
    __device__ explicit bfloat16(float number) {
        unsigned int whole;
        memcpy(&whole, &number, 4);
        // a NaN is truncated and its quiet bit set: rounding could make it infinite
        if (number != number) bits = (unsigned short)(whole >> 16 | 64);
        else bits = (unsigned short)((whole + 0x7fff + (whole >> 16 & 1)) >> 16);
    }
    __device__ operator float() const {
        const unsigned int whole = (unsigned int)bits << 16;
        float number;
        memcpy(&number, &whole, 4);
        return number;
    }
};
