/* Interpolation of a picture under an affine transform by a cubic B-spline (Unser 1999, IEEE SPM 16:22-38).

   The same bytes on every machine: each value is one chain of IEEE operations on 32-bit floats, and setup.py
   allows no fused ones. So neither the compiler nor the width of the machine's vectors can be seen.

   The loops over `lane` and `i` are what the compiler makes vectors of. */

#include <stdint.h>

enum {
    LANES = 16, /* rows that are filtered side by side */
    START = 16, /* samples that start a recursion: what is left out weighs POLE^16 < 1e-9 */
    RUN = 64,   /* most pixels that are interpolated together */
    SHORT = 8,  /* fewer are interpolated one by one */
};
#define POLE (-0.267949192431122706f) /* sqrt(3) - 2: of the filter from samples to coefficients */
#define GAIN 6.0f
#define INLINE static inline __attribute__((always_inline))

typedef struct {
    const float *coefficients;
    int64_t height, width;
} Spline;

/* The sample that a picture has at `i`, mirrored about the centres of its outermost pixels. */
INLINE int64_t mirrored(int64_t i, int64_t n) {
    if (i >= 0 && i < n) return i;
    if (n == 1) return 0;
    int64_t period = 2 * (n - 1);
    int64_t place = (i < 0 ? -i : i) % period;
    return place < n ? place : period - place;
}

/* Samples to coefficients along the first axis of c[n][width], one recursion forth and one back. */
INLINE void filter(float *restrict c, int64_t n, int64_t width) {
    if (n < 2) return;
    for (int64_t lane = 0; lane < width; lane++) {
        float sum = 0.0f, power = 1.0f;
        for (int64_t k = 0; k < START; k++, power *= POLE) sum += power * c[mirrored(k, n) * width + lane];
        c[lane] = GAIN * sum;
    }
    for (int64_t k = 1; k < n; k++) {
        const float *restrict before = c + (k - 1) * width;
        float *restrict here = c + k * width;
        for (int64_t lane = 0; lane < width; lane++) here[lane] = GAIN * here[lane] + POLE * before[lane];
    }
    float *last = c + (n - 1) * width;
    for (int64_t lane = 0; lane < width; lane++)
        last[lane] = POLE / (POLE * POLE - 1.0f) * (last[lane] + POLE * last[lane - width]);
    for (int64_t k = n - 2; k >= 0; k--) {
        const float *restrict after = c + (k + 1) * width;
        float *restrict here = c + k * width;
        for (int64_t lane = 0; lane < width; lane++) here[lane] = POLE * (after[lane] - here[lane]);
    }
}

/* Coefficients of a picture; `columns` is [width][LANES], to lay rows side by side in. */
static void find_coefficients(const char *picture, int64_t pixel_bytes, int64_t row_bytes, int64_t height,
                              int64_t width, float *restrict columns, float *restrict coefficients) {
    for (int64_t top = 0; top < height; top += LANES) {
        for (int lane = 0; lane < LANES; lane++) {
            const char *row = picture + (top + lane < height ? top + lane : top) * row_bytes;
            if (pixel_bytes == 1)
                for (int64_t x = 0; x < width; x++) columns[x * LANES + lane] = ((const uint8_t *)row)[x];
            else
                for (int64_t x = 0; x < width; x++) columns[x * LANES + lane] = ((const uint16_t *)row)[x];
        }
        filter(columns, width, LANES);
        for (int lane = 0; lane < LANES && top + lane < height; lane++)
            for (int64_t x = 0; x < width; x++)
                coefficients[(top + lane) * width + x] = columns[x * LANES + lane];
    }
    filter(coefficients, height, width);
}

/* Weights of the coefficients around a place, `f` behind the second of them. */
INLINE void find_weights(float f, float weights[4]) {
    float g = 1.0f - f;
    weights[0] = g * g * g * (1.0f / 6.0f);
    weights[1] = 2.0f / 3.0f - f * f * (1.0f - 0.5f * f);
    weights[3] = f * f * f * (1.0f / 6.0f);
    weights[2] = 1.0f - weights[0] - weights[1] - weights[3];
}

/* The grey level at a place, 0 outside. */
static float grey_at(Spline s, double x, double y) {
    if (!(x >= 0 && y >= 0 && x <= (double)(s.width - 1) && y <= (double)(s.height - 1))) return 0.0f;
    int64_t left = (int64_t)x, top = (int64_t)y;
    float of_x[4], of_y[4], grey = 0.0f;
    find_weights((float)(x - (double)left), of_x);
    find_weights((float)(y - (double)top), of_y);
    for (int j = 0; j < 4; j++) {
        const float *row = s.coefficients + mirrored(top - 1 + j, s.height) * s.width;
        float sum = 0.0f;
        for (int k = 0; k < 4; k++) sum += of_x[k] * row[mirrored(left - 1 + k, s.width)];
        grey += of_y[j] * sum;
    }
    return grey;
}

/* The grey levels of `n` pixels whose coefficients lie side by side from `c` on: the first place is x, y behind
   the second of them, each further one `step_x`, `step_y` behind the one before, from its own. */
static void grey_along(const float *restrict c, int64_t width, float x, float y, float step_x, float step_y,
                       int n, float *restrict grey) {
    for (int i = 0; i < n; i++) {
        float of_x[4], of_y[4], sum = 0.0f;
        find_weights(x + step_x * (float)i, of_x);
        find_weights(y + step_y * (float)i, of_y);
        for (int j = 0; j < 4; j++) {
            const float *restrict row = c + j * width + i;
            sum += of_y[j] * (of_x[0] * row[0] + of_x[1] * row[1] + of_x[2] * row[2] + of_x[3] * row[3]);
        }
        grey[i] = sum;
    }
}

INLINE int32_t rounded(float grey, float most) {
    grey = grey > 0.0f ? grey : 0.0f;
    return (int32_t)((grey < most ? grey : most) + 0.5f);
}

static void store(const float *restrict grey, int n, int64_t pixel_bytes, char *restrict out) {
    if (pixel_bytes == 1)
        for (int i = 0; i < n; i++) ((uint8_t *)out)[i] = (uint8_t)rounded(grey[i], 255.0f);
    else
        for (int i = 0; i < n; i++) ((uint16_t *)out)[i] = (uint16_t)rounded(grey[i], 65535.0f);
}

/* The largest of n, n / 2, ... pixels whose coefficients lie side by side, all inside; 0 if not even a few. */
INLINE int run_length(Spline s, const double m[6], double x, double y, int n) {
    double right = (double)(s.width - 2), bottom = (double)(s.height - 2);
    if (!(x >= 1 && y >= 1 && x < right && y < bottom)) return 0;
    for (; n >= SHORT; n /= 2) {
        double last_x = x + m[0] * (n - 1), last_y = y + m[3] * (n - 1);
        if (last_x >= 1 && last_y >= 1 && last_x < right && last_y < bottom &&
            (int64_t)last_x == (int64_t)x + n - 1 && (int64_t)last_y == (int64_t)y)
            return n;
    }
    return 0;
}

/* Floats of memory that `warp` needs for a picture. */
int64_t floats_needed(int64_t height, int64_t width) { return (height + LANES) * width; }

/* Show a picture of 8 or 16 bit in another frame: the pixel x, y of `out` shows the place
   m[0] x + m[1] y + m[2], m[3] x + m[4] y + m[5], or 0 where that lies outside.

   `coefficients` is room for `floats_needed`. */
void warp(const char *picture, int64_t row_bytes, int64_t height, int64_t width, int64_t pixel_bytes,
          const double m[6], float *coefficients, char *out, int64_t out_row_bytes, int64_t out_height,
          int64_t out_width) {
    find_coefficients(picture, pixel_bytes, row_bytes, height, width, coefficients + height * width,
                      coefficients);
    Spline s = {coefficients, height, width};
    float grey[RUN];
    for (int64_t row = 0; row < out_height; row++) {
        double start_x = m[1] * (double)row + m[2], start_y = m[4] * (double)row + m[5];
        for (int64_t column = 0, n; column < out_width; column += n) {
            double x = m[0] * (double)column + start_x, y = m[3] * (double)column + start_y;
            int64_t left = out_width - column;
            n = run_length(s, m, x, y, left < RUN ? (int)left : RUN);
            if (n > 0) {
                const float *c = coefficients + ((int64_t)y - 1) * width + (int64_t)x - 1;
                grey_along(c, width, (float)(x - (double)(int64_t)x), (float)(y - (double)(int64_t)y),
                           (float)(m[0] - 1.0), (float)m[3], (int)n, grey);
            } else {
                n = left < SHORT ? left : SHORT;
                for (int i = 0; i < n; i++)
                    grey[i] = grey_at(s, m[0] * (double)(column + i) + start_x,
                                      m[3] * (double)(column + i) + start_y);
            }
            store(grey, (int)n, pixel_bytes, out + row * out_row_bytes + column * pixel_bytes);
        }
    }
}

/* Checksum of this file as it was compiled: an installation may hold an older library. */
uint32_t source_crc32(void) { return SOURCE_CRC32; }
