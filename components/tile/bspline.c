/* Interpolation of a picture under an affine transform by a cubic B-spline (Unser 1999, IEEE SPM 16:22-38).

   The same bytes on every machine: each value is one chain of IEEE operations on 32-bit floats, and setup.py
   allows no fused ones. So neither the compiler nor the width of the machine's vectors can be seen.

   The loops over `lane` and `i` are what the compiler makes vectors of. */

#include <stdint.h>

enum {
    LANES = 16, /* rows that are filtered side by side */
    START = 16, /* samples that start a recursion, at most LANES: what is left out weighs POLE^16 < 1e-9 */
    BAND = 32,  /* rows that are filtered back together, at least: at 5000 px a row they have 1 MB, with START */
    RUN = 64,   /* most pixels that are interpolated together */
    SHORT = 4,  /* fewer are interpolated one by one */
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

/* The filter from samples to coefficients, along the first axis of c[n][width]: a recursion forth, row by row,
   from `start_forth`, and one back from `start_back`. */
INLINE void start_forth(float *restrict c, int64_t n, int64_t width) {
    for (int64_t lane = 0; lane < width; lane++) {
        float sum = 0.0f, power = 1.0f;
        for (int64_t k = 0; k < START; k++, power *= POLE) sum += power * c[mirrored(k, n) * width + lane];
        c[lane] = GAIN * sum;
    }
}

INLINE void step_forth(float *restrict here, const float *restrict before, int64_t width) {
    for (int64_t lane = 0; lane < width; lane++) here[lane] = GAIN * here[lane] + POLE * before[lane];
}

INLINE void start_back(float *restrict last, const float *restrict before, int64_t width) {
    for (int64_t lane = 0; lane < width; lane++)
        last[lane] = POLE / (POLE * POLE - 1.0f) * (last[lane] + POLE * before[lane]);
}

INLINE void step_back(float *restrict here, const float *restrict after, int64_t width) {
    for (int64_t lane = 0; lane < width; lane++) here[lane] = POLE * (after[lane] - here[lane]);
}

/* Along x: c[n][LANES] holds rows side by side. */
static void filter_rows(float *restrict c, int64_t n) {
    if (n < 2) return;
    start_forth(c, n, LANES);
    for (int64_t x = 1; x < n; x++) step_forth(c + x * LANES, c + (x - 1) * LANES, LANES);
    start_back(c + (n - 1) * LANES, c + (n - 2) * LANES, LANES);
    for (int64_t x = n - 2; x >= 0; x--) step_back(c + x * LANES, c + (x + 1) * LANES, LANES);
}

/* Back along y over the rows from `first` to `end` of c[n][width], which the recursion forth has passed, and START
   more. Where the picture goes on, it starts that much later from 0, in `after`. */
static void filter_back(float *restrict c, int64_t first, int64_t end, int64_t n, int64_t width,
                        float *restrict after) {
    if (n < 2) return;
    int64_t y = end - 1;
    if (end == n) {
        start_back(c + y * width, c + (y - 1) * width, width);
    } else {
        for (int64_t lane = 0; lane < width; lane++) after[lane] = 0.0f;
        for (int64_t later = end + START - 1; later >= end; later--)
            for (int64_t lane = 0; lane < width; lane++)
                after[lane] = POLE * (after[lane] - c[later * width + lane]);
        step_back(c + y * width, after, width);
    }
    for (y--; y >= first; y--) step_back(c + y * width, c + (y + 1) * width, width);
}

/* Coefficients of a picture, band by band, so that each row is filtered in both directions while it is in the
   processor's cache. `columns` is [width][LANES], `after` is [width]. */
static void find_coefficients(const char *picture, int64_t pixel_bytes, int64_t row_bytes, int64_t height,
                              int64_t width, float *restrict columns, float *restrict after,
                              float *restrict c) {
    int64_t filtered = 0; /* rows that are done */
    for (int64_t top = 0; top < height; top += LANES) {
        int64_t end = top + LANES < height ? top + LANES : height;
        for (int lane = 0; lane < LANES; lane++) {
            const char *row = picture + (top + lane < end ? top + lane : top) * row_bytes;
            if (pixel_bytes == 1)
                for (int64_t x = 0; x < width; x++) columns[x * LANES + lane] = ((const uint8_t *)row)[x];
            else
                for (int64_t x = 0; x < width; x++) columns[x * LANES + lane] = ((const uint16_t *)row)[x];
        }
        filter_rows(columns, width);
        for (int64_t y = top; y < end; y++)
            for (int64_t x = 0; x < width; x++) c[y * width + x] = columns[x * LANES + y - top];
        if (top == 0 && height > 1) start_forth(c, height, width); /* START rows are there */
        for (int64_t y = top > 0 ? top : 1; y < end; y++) step_forth(c + y * width, c + (y - 1) * width, width);
        if (end == height || end - START - filtered >= BAND) {
            int64_t stop = end == height ? height : end - START;
            filter_back(c, filtered, stop, height, width, after);
            filtered = stop;
        }
    }
}

/* Weights of four coefficients in a row for a place that is `f` behind the second of them. */
INLINE void find_weights(float f, float weights[4]) {
    float g = 1.0f - f;
    weights[0] = g * g * g * (1.0f / 6.0f);
    weights[1] = 2.0f / 3.0f - f * f * (1.0f - 0.5f * f);
    weights[3] = f * f * f * (1.0f / 6.0f);
    weights[2] = 1.0f - weights[0] - weights[1] - weights[3];
}

/* The grey level between the 4 x 4 coefficients from c[0] on, x, y behind the second of the second row. */
INLINE float grey_between(const float *restrict c, int64_t width, float x, float y) {
    float of_x[4], of_y[4], grey = 0.0f;
    find_weights(x, of_x);
    find_weights(y, of_y);
    for (int j = 0; j < 4; j++) {
        const float *restrict row = c + j * width;
        grey += of_y[j] * (of_x[0] * row[0] + of_x[1] * row[1] + of_x[2] * row[2] + of_x[3] * row[3]);
    }
    return grey;
}

/* The grey levels of `n` pixels whose coefficients lie side by side from c[0] on, the place of each `step_x`,
   `step_y` further from its own coefficients than the place before. */
static void grey_along(const float *restrict c, int64_t width, float x, float y, float step_x, float step_y,
                       int n, float *restrict grey) {
    for (int i = 0; i < n; i++)
        grey[i] = grey_between(c + i, width, x + step_x * (float)i, y + step_y * (float)i);
}

INLINE int is_inner(Spline s, double x, double y) {
    return x >= 1 && y >= 1 && x < (double)(s.width - 2) && y < (double)(s.height - 2);
}

/* The grey level at a place, 0 outside. */
INLINE float grey_at(Spline s, double x, double y) {
    if (!(x >= 0 && y >= 0 && x <= (double)(s.width - 1) && y <= (double)(s.height - 1))) return 0.0f;
    int64_t left = (int64_t)x, top = (int64_t)y;
    float behind_x = (float)(x - (double)left), behind_y = (float)(y - (double)top), around[16];
    if (is_inner(s, x, y))
        return grey_between(s.coefficients + (top - 1) * s.width + left - 1, s.width, behind_x, behind_y);
    for (int j = 0; j < 4; j++)
        for (int k = 0; k < 4; k++)
            around[4 * j + k] = s.coefficients[mirrored(top - 1 + j, s.height) * s.width +
                                               mirrored(left - 1 + k, s.width)];
    return grey_between(around, 4, behind_x, behind_y);
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
    if (!is_inner(s, x, y)) return 0;
    for (; n >= SHORT; n /= 2) {
        double last_x = x + m[0] * (n - 1), last_y = y + m[3] * (n - 1);
        if (is_inner(s, last_x, last_y) && (int64_t)last_x == (int64_t)x + n - 1 &&
            (int64_t)last_y == (int64_t)y)
            return n;
    }
    return 0;
}

/* How much further than the matrix says places lie in the picture. */
typedef struct {
    const double *rows;  /* [height][2]: shift x, y of each row, interpolated linearly; NULL for none */
    const double *nodes; /* [nodes_height][nodes_width][2]: displacement x, y, interpolated linearly; NULL for none */
    int64_t nodes_height, nodes_width;
    double nodes_a_px; /* the first node lies at pixel 0, 0 */
} Displacement;

INLINE double clamped(double place, int64_t n) {
    double most = (double)(n - 1);
    return place > 0.0 ? (place < most ? place : most) : 0.0;
}

/* Move a place by what lies there between nodes; beyond them the nearest count. */
INLINE void displace(Displacement d, double *x, double *y) {
    double column = clamped(*x * d.nodes_a_px, d.nodes_width), row = clamped(*y * d.nodes_a_px, d.nodes_height);
    int64_t left = (int64_t)column, right = left + 1 < d.nodes_width ? left + 1 : left;
    int64_t above = (int64_t)row, below = above + 1 < d.nodes_height ? above + 1 : above;
    double f = column - (double)left, g = 1.0 - f, p = row - (double)above, q = 1.0 - p;
    const double *upper = d.nodes + 2 * above * d.nodes_width, *lower = d.nodes + 2 * below * d.nodes_width;
    *x += q * (g * upper[2 * left] + f * upper[2 * right]) + p * (g * lower[2 * left] + f * lower[2 * right]);
    *y += q * (g * upper[2 * left + 1] + f * upper[2 * right + 1]) +
          p * (g * lower[2 * left + 1] + f * lower[2 * right + 1]);
}

/* Where a pixel of `out` lies in the picture: as the matrix says, then displaced, then moved by the shift of the
   row there. */
INLINE void place(const double m[6], Displacement d, int64_t height, int64_t column, double start_x, double start_y,
                  double *x, double *y) {
    *x = m[0] * (double)column + start_x;
    *y = m[3] * (double)column + start_y;
    if (d.nodes) displace(d, x, y);
    if (d.rows) {
        double within = clamped(*y, height);
        int64_t above = (int64_t)within, below = above + 1 < height ? above + 1 : above;
        double f = within - (double)above, g = 1.0 - f;
        *x += g * d.rows[2 * above] + f * d.rows[2 * below];
        *y += g * d.rows[2 * above + 1] + f * d.rows[2 * below + 1];
    }
}

/* As `run_length`, for places that are displaced: along so few pixels that the displacement changes evenly.
   `step_x`, `step_y` become how much further than a pixel each place is from the one before. */
INLINE int displaced_run_length(Spline s, const double m[6], Displacement d, int64_t column, double start_x,
                                double start_y, double x, double y, int n, double *step_x, double *step_y) {
    if (!is_inner(s, x, y)) return 0;
    for (; n >= SHORT; n /= 2) {
        double last_x, last_y;
        place(m, d, s.height, column + n - 1, start_x, start_y, &last_x, &last_y);
        if (is_inner(s, last_x, last_y) && (int64_t)last_x == (int64_t)x + n - 1 && (int64_t)last_y == (int64_t)y) {
            *step_x = (last_x - x) / (double)(n - 1) - 1.0;
            *step_y = (last_y - y) / (double)(n - 1);
            return n;
        }
    }
    return 0;
}

/* Floats of memory that `warp` needs for a picture. */
int64_t floats_needed(int64_t height, int64_t width) { return (height + LANES + 1) * width; }

/* Show a picture of 8 or 16 bit in another frame: the pixel x, y of `out` shows the place
   m[0] x + m[1] y + m[2], m[3] x + m[4] y + m[5], or 0 where that lies outside.

   `coefficients` is room for `floats_needed`. */
void warp(const char *picture, int64_t row_bytes, int64_t height, int64_t width, int64_t pixel_bytes,
          const double m[6], float *coefficients, char *out, int64_t out_row_bytes, int64_t out_height,
          int64_t out_width) {
    float *columns = coefficients + height * width, *after = columns + LANES * width;
    find_coefficients(picture, pixel_bytes, row_bytes, height, width, columns, after, coefficients);
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
                n = left < SHORT / 2 ? left : SHORT / 2; /* the next ones may lie side by side again */
                for (int i = 0; i < n; i++)
                    grey[i] = grey_at(s, m[0] * (double)(column + i) + start_x,
                                      m[3] * (double)(column + i) + start_y);
            }
            store(grey, (int)n, pixel_bytes, out + row * out_row_bytes + column * pixel_bytes);
        }
    }
}

/* As `warp`, where places are displaced besides, see `Displacement`. */
void warp_displaced(const char *picture, int64_t row_bytes, int64_t height, int64_t width, int64_t pixel_bytes,
                    const double m[6], const double *rows, const double *nodes, int64_t nodes_height,
                    int64_t nodes_width, double nodes_a_px, float *coefficients, char *out, int64_t out_row_bytes,
                    int64_t out_height, int64_t out_width) {
    float *columns = coefficients + height * width, *after = columns + LANES * width;
    find_coefficients(picture, pixel_bytes, row_bytes, height, width, columns, after, coefficients);
    Spline s = {coefficients, height, width};
    Displacement d = {rows, nodes, nodes_height, nodes_width, nodes_a_px};
    /* Over two nodes a displacement changes evenly. */
    int64_t most = nodes && 2.0 / nodes_a_px < RUN ? (int64_t)(2.0 / nodes_a_px) : RUN;
    float grey[RUN];
    for (int64_t row = 0; row < out_height; row++) {
        double start_x = m[1] * (double)row + m[2], start_y = m[4] * (double)row + m[5];
        for (int64_t column = 0, n; column < out_width; column += n) {
            double x, y, step_x, step_y;
            place(m, d, height, column, start_x, start_y, &x, &y);
            int64_t left = out_width - column;
            n = displaced_run_length(s, m, d, column, start_x, start_y, x, y, (int)(left < most ? left : most),
                                     &step_x, &step_y);
            if (n > 0) {
                const float *c = coefficients + ((int64_t)y - 1) * width + (int64_t)x - 1;
                grey_along(c, width, (float)(x - (double)(int64_t)x), (float)(y - (double)(int64_t)y),
                           (float)step_x, (float)step_y, (int)n, grey);
            } else {
                n = left < SHORT / 2 ? left : SHORT / 2; /* the next ones may lie side by side again */
                for (int i = 0; i < n; i++) {
                    place(m, d, height, column + i, start_x, start_y, &x, &y);
                    grey[i] = grey_at(s, x, y);
                }
            }
            store(grey, (int)n, pixel_bytes, out + row * out_row_bytes + column * pixel_bytes);
        }
    }
}

/* Checksum of this file as it was compiled: an installation may hold an older library. */
uint32_t source_crc32(void) { return SOURCE_CRC32; }
