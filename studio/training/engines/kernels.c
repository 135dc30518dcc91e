/* The steps of a layer between its matrix products, for bfloat16 on the CPU.
 *
 * torch makes five to twelve passes over memory for each of them; these make one or two, read and write
 * bfloat16, and reckon in float32. Rounding follows the model's own steps where they round. Compiled at the
 * start of a run if there is a compiler (kernels.py); without it torch's own steps give the same numbers.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint16_t half;   /* bfloat16: the upper half of a float */
typedef int64_t len;

static inline float wide(half x) {
    union { uint32_t bits; float value; } u = { (uint32_t)x << 16 };
    return u.value;
}

static inline half narrow(float x) {   /* to nearest, ties to even */
    union { float value; uint32_t bits; } u = { x };
    return (half)((u.bits + 0x7fffu + ((u.bits >> 16) & 1u)) >> 16);
}

static inline float rounded(float x) { return wide(narrow(x)); }

/* e to the x: 2 to the whole part of x / ln 2, times a polynomial; relative error 2e-7. */
static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float whole = rintf(x * 1.44269504f);
    float rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    float p = 1.0f + rest * (1.0f + rest * (0.5f + rest * (0.166666655f + rest * (0.0416657961f
              + rest * (0.00833345205f + rest * 0.00139370604f)))));
    union { int32_t bits; float value; } power = { ((int32_t)whole + 127) << 23 };
    return p * power.value;
}

/* Root mean square norm: out = weight * rounded(x * factor). A pitch is how many elements lie from one row of
 * an output to the next: more than the row has where whoever reads it wants room beside it. */
void norm_forward(const half *x, const half *weight, float epsilon, len tokens, len size, half *out, len pitch,
                  float *factor) {
    #pragma omp parallel for schedule(static)
    for (len t = 0; t < tokens; t++) {
        const half *row = x + t * size;
        float sum = 0;
        #pragma omp simd reduction(+:sum)
        for (len i = 0; i < size; i++) sum += wide(row[i]) * wide(row[i]);
        float f = factor[t] = 1.0f / sqrtf(sum / size + epsilon);
        #pragma omp simd
        for (len i = 0; i < size; i++) out[t * pitch + i] = narrow(wide(weight[i]) * rounded(wide(row[i]) * f));
    }
}

/* beside is the gradient that reaches x without passing the norm; it may be missing (0). */
void norm_backward(const half *grad, const half *beside, const half *x, const half *weight, const float *factor,
                   len tokens, len size, half *out) {
    #pragma omp parallel for schedule(static)
    for (len t = 0; t < tokens; t++) {
        const half *row = x + t * size, *g = grad + t * size, *b = beside + t * size;
        float f = factor[t], shared = 0, with = beside ? 1 : 0;
        if (!beside) b = row;
        #pragma omp simd reduction(+:shared)
        for (len i = 0; i < size; i++) shared += wide(g[i]) * wide(weight[i]) * wide(row[i]);
        shared *= f * f / size;
        #pragma omp simd
        for (len i = 0; i < size; i++)
            out[t * size + i] = narrow(with * wide(b[i]) + f * (wide(g[i]) * wide(weight[i]) - wide(row[i]) * shared));
    }
}

/* both [tokens, 2 * size], gate beside up: out = rounded(silu(gate)) * up. */
void gate_forward(const half *both, len tokens, len size, half *out, len pitch) {
    #pragma omp parallel for schedule(static)
    for (len t = 0; t < tokens; t++) {
        const half *gate = both + 2 * t * size, *up = gate + size;
        #pragma omp simd
        for (len i = 0; i < size; i++) {
            float g = wide(gate[i]);
            out[t * pitch + i] = narrow(rounded(g / (1.0f + exponential(-g))) * wide(up[i]));
        }
    }
}

void gate_backward(const half *grad, const half *both, len tokens, len size, half *out, len pitch) {
    #pragma omp parallel for schedule(static)
    for (len t = 0; t < tokens; t++) {
        const half *gate = both + 2 * t * size, *up = gate + size, *from = grad + t * size;
        half *to_gate = out + t * pitch, *to_up = to_gate + size;
        #pragma omp simd
        for (len i = 0; i < size; i++) {
            float g = wide(gate[i]), d = wide(from[i]), s = 1.0f / (1.0f + exponential(-g));
            to_up[i] = narrow(d * rounded(g * s));
            to_gate[i] = narrow(rounded(d * wide(up[i])) * s * (1.0f + g * (1.0f - s)));
        }
    }
}

/* One head's pairs (i, i + size / 2) turned by their angles; way -1 turns back. */
static inline void turn(const half *x, const float *cos, const float *sin, len size, float way, half *out) {
    len middle = size / 2;
    #pragma omp simd
    for (len i = 0; i < middle; i++) {
        float a = wide(x[i]), b = wide(x[i + middle]), s = way * sin[i];
        out[i] = narrow(a * cos[i] - b * s);
        out[i + middle] = narrow(b * cos[i] + a * s);
    }
}

/* A block of rows that lie end to end in a sequence, row r from begin[r] with sizes[r] tokens, against the
 * same rows padded to length: query [keys, rows, length, times, size], key and value without times. What is
 * padding is 0. cos and sin are [tokens, size / 2]; joined is [tokens, (times + 2) * keys * size]. */
void take(const half *joined, const float *cos, const float *sin, const len *begin, const len *sizes, len rows,
          len length, len keys, len times, len size, half *query, half *key, half *value) {
    len wide_row = (times + 2) * keys * size;
    #pragma omp parallel for schedule(static)
    for (len place = 0; place < rows * length; place++) {
        len row = place / length, column = place % length, token = begin[row] + column;
        for (len k = 0; k < keys; k++) {
            len at = (k * rows * length + place) * size;
            if (column >= sizes[row]) {
                memset(query + at * times, 0, times * size * sizeof(half));
                memset(key + at, 0, size * sizeof(half));
                memset(value + at, 0, size * sizeof(half));
                continue;
            }
            const half *from = joined + token * wide_row;
            const float *c = cos + token * (size / 2), *s = sin + token * (size / 2);
            for (len h = 0; h < times; h++)
                turn(from + (k * times + h) * size, c, s, size, 1, query + at * times + h * size);
            turn(from + (keys * times + k) * size, c, s, size, 1, key + at);
            memcpy(value + at, from + (keys * times + keys + k) * size, size * sizeof(half));
        }
    }
}

/* The gradient of take: from padded query, key and value back into joined. */
void give(const half *query, const half *key, const half *value, const float *cos, const float *sin,
          const len *begin, const len *sizes, len rows, len length, len keys, len times, len size, half *joined,
          len pitch) {
    #pragma omp parallel for schedule(static)
    for (len place = 0; place < rows * length; place++) {
        len row = place / length, column = place % length, token = begin[row] + column;
        if (column >= sizes[row]) continue;
        half *to = joined + token * pitch;
        const float *c = cos + token * (size / 2), *s = sin + token * (size / 2);
        for (len k = 0; k < keys; k++) {
            len at = (k * rows * length + place) * size;
            for (len h = 0; h < times; h++)
                turn(query + at * times + h * size, c, s, size, -1, to + (k * times + h) * size);
            turn(key + at, c, s, size, -1, to + (keys * times + k) * size);
            memcpy(to + (keys * times + keys + k) * size, value + at, size * sizeof(half));
        }
    }
}

/* Between flat [tokens, keys, size] and padded [keys, rows, length, size]; padding becomes 0. */
void spread(const half *flat, const len *begin, const len *sizes, len rows, len length, len keys, len size, half *padded) {
    #pragma omp parallel for schedule(static)
    for (len place = 0; place < rows * length; place++) {
        len row = place / length, column = place % length, token = begin[row] + column;
        for (len k = 0; k < keys; k++) {
            half *to = padded + (k * rows * length + place) * size;
            if (column < sizes[row]) memcpy(to, flat + (token * keys + k) * size, size * sizeof(half));
            else memset(to, 0, size * sizeof(half));
        }
    }
}

void collect(const half *padded, const len *begin, const len *sizes, len rows, len length, len keys, len size,
             half *flat, len pitch) {
    #pragma omp parallel for schedule(static)
    for (len place = 0; place < rows * length; place++) {
        len row = place / length, column = place % length, token = begin[row] + column;
        if (column >= sizes[row]) continue;
        for (len k = 0; k < keys; k++)
            memcpy(flat + token * pitch + k * size, padded + (k * rows * length + place) * size, size * sizeof(half));
    }
}

/* Scores [count, length * times, length] become probabilities of scale * score, in place; a query at place l
 * (times of them) sees the keys up to l. length is a multiple of VECTOR, so that loops have no remainder, and at most MOST. */
#define VECTOR 16
#define MOST 512

void probabilities(half *scores, float scale, len count, len length, len times) {
    #pragma omp parallel for collapse(2) schedule(static)
    for (len one = 0; one < count; one++) for (len place = 0; place < length; place++) for (len t = 0; t < times; t++) {
        half *row = scores + ((one * length + place) * times + t) * length;
        int seen = place + 1, end = (seen + VECTOR - 1) / VECTOR * VECTOR;
        float held[MOST], most = -INFINITY, sum = 0;
        for (int from = 0; from < end; from += VECTOR) {
            #pragma omp simd reduction(max:most)
            for (int i = from; i < from + VECTOR; i++) {
                float x = held[i] = i < seen ? wide(row[i]) * scale : -INFINITY;
                most = x > most ? x : most;
            }
        }
        for (int from = 0; from < end; from += VECTOR) {
            #pragma omp simd reduction(+:sum)
            for (int i = from; i < from + VECTOR; i++) sum += held[i] = exponential(held[i] - most);
        }
        float share = 1.0f / sum;
        for (int from = 0; from < end; from += VECTOR) {
            #pragma omp simd
            for (int i = from; i < from + VECTOR; i++) row[i] = i < seen ? narrow(held[i] * share) : 0;
        }
        memset(row + end, 0, (length - end) * sizeof(half));
    }
}

/* grad, of the probabilities, becomes that of the scores before scale. */
void probabilities_backward(const half *likely, half *grad, float scale, len count, len length, len times) {
    #pragma omp parallel for collapse(2) schedule(static)
    for (len one = 0; one < count; one++) for (len place = 0; place < length; place++) for (len t = 0; t < times; t++) {
        len r = (one * length + place) * times + t;
        const half *p = likely + r * length;   /* 0 for what is not seen */
        half *g = grad + r * length;
        int seen = place + 1, end = (seen + VECTOR - 1) / VECTOR * VECTOR;
        float shared = 0;
        for (int from = 0; from < end; from += VECTOR) {
            #pragma omp simd reduction(+:shared)
            for (int i = from; i < from + VECTOR; i++) shared += wide(p[i]) * wide(g[i]);
        }
        for (int from = 0; from < end; from += VECTOR) {
            #pragma omp simd
            for (int i = from; i < from + VECTOR; i++) g[i] = narrow(scale * wide(p[i]) * (wide(g[i]) - shared));
        }
        memset(g + end, 0, (length - end) * sizeof(half));
    }
}

/* The log-probability of each target, whether it is the likeliest, and with keep the probabilities in place of
 * the logits, the target's less 1. Returns 0 if there is no memory. */
int score(half *logits, const len *targets, len count, len vocabulary, len keep, float *scores, uint8_t *best) {
    int done = 1;
    #pragma omp parallel
    {
        float *held = malloc(vocabulary * sizeof(float));
        if (!held) done = 0;
        #pragma omp for schedule(static)
        for (len r = 0; r < count; r++) {
            if (!held) continue;
            half *row = logits + r * vocabulary;
            float most = -INFINITY, sum = 0, wanted = wide(row[targets[r]]);
            #pragma omp simd reduction(max:most)
            for (len i = 0; i < vocabulary; i++) { float x = wide(row[i]); most = x > most ? x : most; }
            #pragma omp simd reduction(+:sum)
            for (len i = 0; i < vocabulary; i++) sum += held[i] = exponential(wide(row[i]) - most);
            scores[r] = wanted - most - logf(sum);
            best[r] = wanted == most;
            if (!keep) continue;
            float share = 1.0f / sum;
            #pragma omp simd
            for (len i = 0; i < vocabulary; i++) row[i] = narrow(held[i] * share);
            row[targets[r]] = narrow(held[targets[r]] * share - 1.0f);
        }
        free(held);
    }
    return done;
}
