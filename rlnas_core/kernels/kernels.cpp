// A network of convolutions, normalisations, poolings and ReLUs, run forward and backward on the CPU in float32.
//
// A tape lists instructions over buffers of an arena. A buffer holds (side * side, images, channels) floats: with the
// images between position and channels, a convolution at one position is a short sum of dense products, and the taps
// that fall on the padding aren't computed at all. Weights are (kernel, kernel, inputs, outputs).

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

// As wide as the processor's registers: compilers keep wider vectors in memory, which is slower than no vectors at all.
// Register blocks of ROWS rows are two vectors wide, those of LONE_ROWS one.
#if defined(__AVX512F__)
constexpr int BYTES = 64, ROWS = 8, LONE_ROWS = 16;
#elif defined(__AVX__)
constexpr int BYTES = 32, ROWS = 6, LONE_ROWS = 12;
#else
constexpr int BYTES = 16, ROWS = 4, LONE_ROWS = 8;
#endif
constexpr int LANES = BYTES / sizeof(float);
typedef float Wide __attribute__((vector_size(BYTES)));
typedef float Half __attribute__((vector_size(32)));  // what is left of channels, which are multiples of 8

template <class V>
inline V load(const float* from) {
    V vector;
    std::memcpy(&vector, from, sizeof vector);
    return vector;
}

template <class V>
inline void store(float* to, const V& vector) {
    std::memcpy(to, &vector, sizeof vector);
}

// Both lists are given by tape.py when this file is compiled; tape.py says what an instruction's fields mean.
enum Operation { OPERATIONS };
struct Instruction {
    int64_t INSTRUCTION_FIELDS;
};

struct Shape {
    int64_t images, frozen, threads;  // frozen: normalise by the statistics that the last run left
};

struct Pair {
    int64_t position, tap;
};

int64_t padding(const Instruction& i) { return i.operation == CONVOLVE || i.stride == 1 ? i.kernel / 2 : 0; }

// The source positions that a target position reads, each with its tap.
int reads(const Instruction& i, int64_t target, Pair* pairs) {
    const int64_t top = target / i.target_side * i.stride - padding(i);
    const int64_t left = target % i.target_side * i.stride - padding(i);
    int count = 0;
    for (int64_t y = std::max<int64_t>(0, -top); y < i.kernel && top + y < i.side; y++)
        for (int64_t x = std::max<int64_t>(0, -left); x < i.kernel && left + x < i.side; x++)
            pairs[count++] = {(top + y) * i.side + left + x, y * i.kernel + x};
    return count;
}

// The target positions that read a source position.
int readers(const Instruction& i, int64_t source, Pair* pairs) {
    const int64_t row = source / i.side + padding(i), column = source % i.side + padding(i);
    int count = 0;
    for (int64_t y = 0; y < i.kernel; y++) {
        if (row < y || (row - y) % i.stride || (row - y) / i.stride >= i.target_side) continue;
        for (int64_t x = 0; x < i.kernel; x++) {
            if (column < x || (column - x) % i.stride || (column - x) / i.stride >= i.target_side) continue;
            pairs[count++] = {(row - y) / i.stride * i.target_side + (column - x) / i.stride, y * i.kernel + x};
        }
    }
    return count;
}

// c (M rows, N vectors) = or += sum over pairs of a (rows, depth) times b (depth, columns). With ACROSS, a lies in memory
// as (depth, rows). `stride` is the length of a's lines in memory.
template <class V, int M, int N, bool ACROSS>
inline void multiply_block(const float* a, const float* b, float* c, const Pair* pairs, int64_t count, int64_t depth,
                           int64_t columns, int64_t stride, int64_t a_step, int64_t b_step, bool adds) {
    constexpr int WIDTH = sizeof(V) / sizeof(float);
    V sums[M][N] = {};
    for (int64_t p = 0; p < count; p++) {
        const float* left = a + pairs[p].position * a_step;
        const float* right = b + pairs[p].tap * b_step;
        for (int64_t k = 0; k < depth; k++) {
            V row[N];
#pragma GCC unroll 4
            for (int n = 0; n < N; n++) row[n] = load<V>(right + k * columns + n * WIDTH);
#pragma GCC unroll 16
            for (int m = 0; m < M; m++)
#pragma GCC unroll 4
                for (int n = 0; n < N; n++) sums[m][n] += left[ACROSS ? k * stride + m : m * stride + k] * row[n];
        }
    }
#pragma GCC unroll 16
    for (int m = 0; m < M; m++)
#pragma GCC unroll 4
        for (int n = 0; n < N; n++) {
            float* to = c + m * columns + n * WIDTH;
            store(to, adds ? load<V>(to) + sums[m][n] : sums[m][n]);
        }
}

template <class V, int M, int N, bool ACROSS>
void multiply_rows(const float* a, const float* b, float* c, const Pair* pairs, int64_t count, int64_t rows,
                   int64_t depth, int64_t columns, int64_t stride, int64_t a_step, int64_t b_step, bool adds) {
    const int64_t line = ACROSS ? 1 : stride;
    int64_t r = 0;
    for (; r + M <= rows; r += M)
        multiply_block<V, M, N, ACROSS>(a + r * line, b, c + r * columns, pairs, count, depth, columns, stride, a_step,
                                        b_step, adds);
    if constexpr (M > 1)
        if (r < rows)
            multiply_rows<V, M / 2, N, ACROSS>(a + r * line, b, c + r * columns, pairs, count, rows - r, depth, columns,
                                               stride, a_step, b_step, adds);
}

template <bool ACROSS>
void multiply(const float* a, const float* b, float* c, const Pair* pairs, int64_t count, int64_t rows, int64_t depth,
              int64_t columns, int64_t a_step, int64_t b_step, bool adds) {
    const auto columns_of = [=](auto block, int64_t n) {
        block(a, b + n, c + n, pairs, count, rows, depth, columns, ACROSS ? rows : depth, a_step, b_step, adds);
    };
    int64_t n = 0;
    for (; n + 2 * LANES <= columns; n += 2 * LANES) columns_of(multiply_rows<Wide, ROWS, 2, ACROSS>, n);
    for (; n + LANES <= columns; n += LANES) columns_of(multiply_rows<Wide, LONE_ROWS, 1, ACROSS>, n);
    for (; n < columns; n += 8) columns_of(multiply_rows<Half, LONE_ROWS, 1, ACROSS>, n);
}

void convolve(const Instruction& i, const Shape& s, float* values, float* const* weights) {
    const int64_t n = s.images, size = i.inputs * i.outputs;
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t p = 0; p < i.target_side * i.target_side; p++) {
        Pair pairs[9];
        const int count = reads(i, p, pairs);
        multiply<false>(values + i.source, weights[i.weight], values + i.target + p * n * i.outputs, pairs, count, n,
                        i.inputs, i.outputs, n * i.inputs, size, i.adds);
    }
}

// Where a normalisation follows, it has put the gradient of the target into the target's own place.
void convolve_back(const Instruction& i, const Shape& s, float* values, float* gradients, float* const* weights,
                   float* const* weight_gradients) {
    const int64_t n = s.images, taps = i.kernel * i.kernel, size = i.inputs * i.outputs;
    const float* incoming = i.target_gradient < 0 ? values + i.target : gradients + i.target_gradient;
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t tap = 0; tap < taps; tap++) {
        std::vector<Pair> pairs;
        for (int64_t p = 0; p < i.target_side * i.target_side; p++) {
            const int64_t y = p / i.target_side * i.stride + tap / i.kernel - padding(i);
            const int64_t x = p % i.target_side * i.stride + tap % i.kernel - padding(i);
            if (y >= 0 && y < i.side && x >= 0 && x < i.side) pairs.push_back({y * i.side + x, p});
        }
        multiply<true>(values + i.source, incoming, weight_gradients[i.weight] + tap * size, pairs.data(), pairs.size(),
                       i.inputs, n, i.outputs, n * i.inputs, n * i.outputs, false);
    }
    if (!i.wants_gradient) return;
    std::vector<float> transposed(taps * size);
    for (int64_t tap = 0; tap < taps; tap++)
        for (int64_t o = 0; o < i.outputs; o++)
            for (int64_t k = 0; k < i.inputs; k++)
                transposed[tap * size + o * i.inputs + k] = weights[i.weight][tap * size + k * i.outputs + o];
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t q = 0; q < i.side * i.side; q++) {
        Pair pairs[9];
        const int count = readers(i, q, pairs);
        multiply<false>(incoming, transposed.data(), gradients + i.source_gradient + q * n * i.inputs, pairs, count, n,
                        i.outputs, i.inputs, n * i.outputs, size, i.gradient_adds);
    }
}

// Two sums a channel over the images of every position; float sums never run over more than one position, so that
// they stay accurate.
template <class Row>
std::vector<double> sum_rows(const Instruction& i, const Shape& s, Row add) {
    const int64_t positions = i.side * i.side, channels = i.outputs;
    std::vector<float> parts(positions * 2 * channels, 0.0f);
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t p = 0; p < positions; p++) {
        float* part = parts.data() + p * 2 * channels;
        for (int64_t n = 0; n < s.images; n++) add((p * s.images + n) * channels, part, part + channels);
    }
    std::vector<double> sums(2 * channels, 0.0);
    for (int64_t p = 0; p < positions; p++)
        for (int64_t j = 0; j < 2 * channels; j++) sums[j] += parts[p * 2 * channels + j];
    return sums;
}

constexpr double EPSILON = 1e-5;

// Weights of a normalisation: the scale in place `weight` and the shift in the next one. `statistics` holds the mean
// and the inverse standard deviation of each channel.
void normalise(const Instruction& i, const Shape& s, float* values, float* statistics, float* const* weights) {
    const int64_t rows = i.side * i.side * s.images, channels = i.outputs;
    const float* source = values + i.source;
    float* target = values + i.target;
    float *mean = statistics + i.statistics, *inverse = mean + channels;
    if (!s.frozen) {
        const std::vector<double> sums =
            sum_rows(i, s, [=](int64_t at, float* __restrict first, float* __restrict second) {
                for (int64_t c = 0; c < channels; c++) {
                    first[c] += source[at + c];
                    second[c] += source[at + c] * source[at + c];
                }
            });
        for (int64_t c = 0; c < channels; c++) {
            const double first = sums[c] / rows, second = sums[channels + c] / rows;
            mean[c] = first;
            inverse[c] = 1 / std::sqrt(std::max(second - first * first, 0.0) + EPSILON);
        }
    }
    std::vector<float> scale(channels), shift(channels);
    for (int64_t c = 0; c < channels; c++) {
        scale[c] = inverse[c] * (i.weight < 0 ? 1 : weights[i.weight][c]);
        shift[c] = (i.weight < 0 ? 0 : weights[i.weight + 1][c]) - mean[c] * scale[c];
    }
    const float *__restrict times = scale.data(), *__restrict plus = shift.data();
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t row = 0; row < rows; row++) {
        const float* __restrict from = source + row * channels;
        float* __restrict to = target + row * channels;
        if (i.adds)
            for (int64_t c = 0; c < channels; c++) to[c] += from[c] * times[c] + plus[c];
        else
            for (int64_t c = 0; c < channels; c++) to[c] = from[c] * times[c] + plus[c];
    }
}

// Without a place of its own, the gradient replaces the source, which nothing reads after this.
void normalise_back(const Instruction& i, const Shape& s, float* values, float* gradients, const float* statistics,
                    float* const* weights, float* const* weight_gradients) {
    const int64_t rows = i.side * i.side * s.images, channels = i.outputs;
    const float *source = values + i.source, *incoming = gradients + i.target_gradient;
    float* outgoing = i.source_gradient < 0 ? values + i.source : gradients + i.source_gradient;
    const float *mean = statistics + i.statistics, *inverse = mean + channels;
    const std::vector<double> sums =
        sum_rows(i, s, [=](int64_t at, float* __restrict first, float* __restrict second) {
            for (int64_t c = 0; c < channels; c++) {
                first[c] += incoming[at + c];
                second[c] += incoming[at + c] * (source[at + c] - mean[c]);
            }
        });
    std::vector<float> scale(channels), slope(channels), shift(channels);
    for (int64_t c = 0; c < channels; c++) {
        const double first = sums[c], second = sums[channels + c] * inverse[c];
        if (i.weight >= 0) {
            weight_gradients[i.weight][c] = second;
            weight_gradients[i.weight + 1][c] = first;
        }
        scale[c] = inverse[c] * (i.weight < 0 ? 1 : weights[i.weight][c]);
        slope[c] = -scale[c] * inverse[c] * second / rows;
        shift[c] = -scale[c] * first / rows - slope[c] * mean[c];
    }
    if (!i.wants_gradient) return;
    const float *__restrict times = scale.data(), *__restrict steep = slope.data(), *__restrict plus = shift.data();
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t row = 0; row < rows; row++) {
        const float *from = incoming + row * channels, *value = source + row * channels;
        float* to = outgoing + row * channels;
#pragma GCC ivdep
        for (int64_t c = 0; c < channels; c++) to[c] = from[c] * times[c] + value[c] * steep[c] + plus[c];
    }
}

// `to` = or += the sum of `count` lines of `size` floats, line k of `from` being pairs[k].position, times shares[k].
void blend(const float* from, float* to, const Pair* pairs, const float* shares, int count, int64_t size, bool adds) {
    constexpr int TOGETHER = 4;
    int64_t j = 0;
    for (; j + TOGETHER * LANES <= size; j += TOGETHER * LANES) {
        Wide sums[TOGETHER] = {};
        for (int k = 0; k < count; k++)
#pragma GCC unroll 4
            for (int t = 0; t < TOGETHER; t++)
                sums[t] += shares[k] * load<Wide>(from + pairs[k].position * size + j + t * LANES);
#pragma GCC unroll 4
        for (int t = 0; t < TOGETHER; t++) {
            float* place = to + j + t * LANES;
            store(place, adds ? load<Wide>(place) + sums[t] : sums[t]);
        }
    }
    for (; j < size; j++) {
        float sum = 0;
        for (int k = 0; k < count; k++) sum += shares[k] * from[pairs[k].position * size + j];
        to[j] = adds ? to[j] + sum : sum;
    }
}

// Averages without padding; one pixel wide it is the identity.
void pool(const Instruction& i, const Shape& s, float* values) {
    const int64_t size = s.images * i.inputs;
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t p = 0; p < i.target_side * i.target_side; p++) {
        std::vector<Pair> pairs(i.kernel * i.kernel);
        const int count = reads(i, p, pairs.data());
        const std::vector<float> shares(count, 1.0f / count);
        blend(values + i.source, values + i.target + p * size, pairs.data(), shares.data(), count, size, i.adds);
    }
}

void pool_back(const Instruction& i, const Shape& s, float* gradients) {
    const int64_t size = s.images * i.inputs;
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t q = 0; q < i.side * i.side; q++) {
        std::vector<Pair> pairs(i.kernel * i.kernel), others(i.kernel * i.kernel);
        const int count = readers(i, q, pairs.data());
        std::vector<float> shares(count);
        for (int k = 0; k < count; k++) shares[k] = 1.0f / reads(i, pairs[k].position, others.data());
        blend(gradients + i.target_gradient, gradients + i.source_gradient + q * size, pairs.data(), shares.data(),
              count, size, i.gradient_adds);
    }
}

void rectify(const Instruction& i, const Shape& s, float* values) {
    const int64_t size = i.side * i.side * s.images * i.inputs;
    const float* __restrict from = values + i.source;
    float* __restrict to = values + i.target;
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t j = 0; j < size; j++) to[j] = from[j] < 0 ? 0.0f : from[j];  // NaN stays
}

void rectify_back(const Instruction& i, const Shape& s, const float* values, float* gradients) {
    const int64_t size = i.side * i.side * s.images * i.inputs;
    const float *__restrict from = gradients + i.target_gradient, *__restrict output = values + i.target;
    float* __restrict to = gradients + i.source_gradient;
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t j = 0; j < size; j++) to[j] = (i.gradient_adds ? to[j] : 0.0f) + (output[j] > 0 ? from[j] : 0.0f);
}

}  // namespace

extern "C" {

void run_forward(const Instruction* tape, int64_t length, const Shape* shape, float* values, float* statistics,
                 float* const* weights) {
    for (int64_t k = 0; k < length; k++) {
        const Instruction& i = tape[k];
        switch (i.operation) {
            case CONVOLVE: convolve(i, *shape, values, weights); break;
            case NORMALISE: normalise(i, *shape, values, statistics, weights); break;
            case POOL: pool(i, *shape, values); break;
            case RECTIFY: rectify(i, *shape, values); break;
        }
    }
}

void run_backward(const Instruction* tape, int64_t length, const Shape* shape, float* values, float* gradients,
                  const float* statistics, float* const* weights, float* const* weight_gradients) {
    for (int64_t k = length; k-- > 0;) {
        const Instruction& i = tape[k];
        switch (i.operation) {
            case CONVOLVE: convolve_back(i, *shape, values, gradients, weights, weight_gradients); break;
            case NORMALISE: normalise_back(i, *shape, values, gradients, statistics, weights, weight_gradients); break;
            case POOL: pool_back(i, *shape, gradients); break;
            case RECTIFY: rectify_back(i, *shape, values, gradients); break;
        }
    }
}

// Each weight gains a linear combination of itself, its momentum and its gradient, and its momentum becomes another:
// the first and the last three numbers of row t of `factors` (count, 6).
void combine(int64_t count, float* const* weights, float* const* momenta, const float* const* gradients,
             const int64_t* sizes, const float* factors) {
    for (int64_t t = 0; t < count; t++) {
        const float* f = factors + 6 * t;
        float *__restrict w = weights[t], *__restrict m = momenta[t];
        const float* __restrict g = gradients[t];
        for (int64_t j = 0; j < sizes[t]; j++) {
            const float weight = w[j], momentum = m[j], gradient = g[j];
            w[j] = weight + (f[0] * weight + f[1] * momentum + f[2] * gradient);
            m[j] = f[3] * weight + f[4] * momentum + f[5] * gradient;
        }
    }
}
}
