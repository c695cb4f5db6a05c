// A network of convolutions, normalisations, poolings and ReLUs, run forward and backward on the CPU in float32.
//
// A tape lists instructions over buffers of an arena. A buffer holds (side * side, images, channels) floats: with the
// images between position and channels, a convolution at one position is a short sum of dense products, and the taps
// that fall on the padding aren't computed at all. 3x3 convolutions of larger images are computed by
// Winograd's algorithm. Weights are (kernel, kernel, inputs, outputs).

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
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

// Winograd's F(4x4, 3x3): 36 products instead of 144 for a tile of 4x4 outputs of a 3x3 convolution. With a prime for the
// transpose, a tile is OUT ((TAP taps TAP') * (IN inputs IN')) OUT', and * multiplies place by place.
constexpr int TILE = 4, SPAN = 6, PLACES = SPAN * SPAN;
// Floats between the places of a tile: at distances of powers of two, places share a few sets of the cache.
constexpr int APART = 16;

template <int R, int C>
struct Matrix {
    static constexpr int ROWS = R, COLUMNS = C;
    float at[R][C];
    constexpr Matrix<C, R> transposed() const {
        Matrix<C, R> other{};
        for (int r = 0; r < R; r++)
            for (int c = 0; c < C; c++) other.at[c][r] = at[r][c];
        return other;
    }
};

// Polynomials are evaluated at 0, A, -A, B, -B and infinity; at the usual 1 and 2, rounding errors are four times as large.
constexpr float A = 0.70710678f, B = 1.41421356f;
constexpr Matrix<SPAN, SPAN> IN = {{{1, 0, -2.5f, 0, 1, 0},
                                    {0, -2 * A, -2, A, 1, 0},
                                    {0, 2 * A, -2, -A, 1, 0},
                                    {0, -B / 2, -0.5f, B, 1, 0},
                                    {0, B / 2, -0.5f, -B, 1, 0},
                                    {0, 1, 0, -2.5f, 0, 1}}};
constexpr Matrix<SPAN, 3> TAP = {{{1, 0, 0},
                                  {-2.0f / 3, -2 * A / 3, -1.0f / 3},
                                  {-2.0f / 3, 2 * A / 3, -1.0f / 3},
                                  {1.0f / 6, B / 6, 1.0f / 3},
                                  {1.0f / 6, -B / 6, 1.0f / 3},
                                  {0, 0, 1}}};
constexpr Matrix<TILE, SPAN> OUT = {
    {{1, 1, 1, 1, 1, 0}, {0, A, -A, B, -B, 0}, {0, 0.5f, 0.5f, 2, 2, 0}, {0, A / 2, -A / 2, 2 * B, -2 * B, 1}}};
constexpr Matrix<3, SPAN> TAP_BACK = TAP.transposed();
constexpr Matrix<SPAN, TILE> OUT_BACK = OUT.transposed();

// to = MATRIX from. Lines 1 and 2, and 3 and 4, of a matrix's longer side differ in the sign of every other place; what
// they share is computed once.
template <const auto& MATRIX, class V>
inline void transform_line(const V* from, V* to) {
    constexpr int R = MATRIX.ROWS, C = MATRIX.COLUMNS;
    static_assert(R == SPAN || C == SPAN);
    if constexpr (R == SPAN) {
        const auto sum = [&](int r, int first, int step) {
            V total{};
#pragma GCC unroll 6
            for (int c = first; c < C; c += step)
                if (MATRIX.at[r][c] != 0) total += MATRIX.at[r][c] * from[c];
            return total;
        };
#pragma GCC unroll 2
        for (int r = 1; r < R - 1; r += 2) {
            const V even = sum(r, 0, 2), odd = sum(r, 1, 2);
            to[r] = even + odd;
            to[r + 1] = even - odd;
        }
        to[0] = sum(0, 0, 1);
        to[R - 1] = sum(R - 1, 0, 1);
    } else {
        const V inner[2] = {from[1] + from[2], from[1] - from[2]}, outer[2] = {from[3] + from[4], from[3] - from[4]};
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) {
            to[r] = MATRIX.at[r][1] * inner[r % 2] + MATRIX.at[r][3] * outer[r % 2];
            if (MATRIX.at[r][0] != 0) to[r] += MATRIX.at[r][0] * from[0];
            if (MATRIX.at[r][C - 1] != 0) to[r] += MATRIX.at[r][C - 1] * from[C - 1];
        }
    }
}

// targets = or += MATRIX sources MATRIX', for one vector of each line.
template <const auto& MATRIX, class V>
inline void transform_vector(const float* const* sources, float* const* targets, int64_t j, bool adds) {
    constexpr int R = MATRIX.ROWS, C = MATRIX.COLUMNS;
    V half[R][C];
#pragma GCC unroll 6
    for (int x = 0; x < C; x++) {
        V column[C], result[R];
#pragma GCC unroll 6
        for (int y = 0; y < C; y++) column[y] = load<V>(sources[y * C + x] + j);
        transform_line<MATRIX>(column, result);
#pragma GCC unroll 6
        for (int r = 0; r < R; r++) half[r][x] = result[r];
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
        V row[R];
        transform_line<MATRIX>(half[r], row);
#pragma GCC unroll 6
        for (int c = 0; c < R; c++) {
            float* to = targets[r * R + c] + j;
            store(to, adds ? load<V>(to) + row[c] : row[c]);
        }
    }
}

// The same for lines of `size` floats; `from` and `to` say where line k is.
template <const auto& MATRIX, class From, class To>
void transform(int64_t size, From from, To to, bool adds = false) {
    constexpr int R = MATRIX.ROWS, C = MATRIX.COLUMNS;
    const float* sources[C * C];
    float* targets[R * R];
    for (int k = 0; k < C * C; k++) sources[k] = from(k);
    for (int k = 0; k < R * R; k++) targets[k] = to(k);
    int64_t j = 0;
    for (; j + LANES <= size; j += LANES) transform_vector<MATRIX, Wide>(sources, targets, j, adds);
    for (; j < size; j += 8) transform_vector<MATRIX, Half>(sources, targets, j, adds);
}

// Memory of a thread, one for each `USE`; it keeps the largest size asked for.
template <int USE>
float* workspace(int64_t size) {
    thread_local std::vector<float> memory;
    if (static_cast<int64_t>(memory.size()) < size) memory.resize(size);
    return memory.data();
}

constexpr int64_t PART = 512;  // weights that a thread transforms or sums at a time

int64_t parts_of(int64_t size, int64_t part) { return (size + part - 1) / part; }

// Whether tiles take fewer products than taps that don't fall on the padding; transforms count as half as many again.
bool tiled(const Instruction& i) {
    const int64_t tiles = parts_of(i.side, TILE), taps = 3 * i.side - 2;
    return i.kernel == 3 && i.stride == 1 && i.inputs % 8 == 0 && 3 * PLACES * tiles * tiles < 2 * taps * taps;
}

// A tile of so many images that its transformed values stay in cache.
struct Tile {
    static constexpr int64_t TOGETHER = 32;
    int64_t side, all, first, images, top, left;

    static int64_t count(int64_t side, int64_t all) {
        const int64_t tiles = parts_of(side, TILE);
        return tiles * tiles * parts_of(all, TOGETHER);
    }

    Tile(int64_t number, int64_t side, int64_t all) : side(side), all(all) {
        const int64_t tiles = parts_of(side, TILE), parts = parts_of(all, TOGETHER);
        first = number % parts * TOGETHER;
        images = std::min(TOGETHER, all - first);
        top = number / parts / tiles * TILE;
        left = number / parts % tiles * TILE;
    }

    // The values of the images at a position of the tile, or `outside` beyond the border.
    template <class Float>
    Float* line(Float* from, int64_t channels, int64_t y, int64_t x, Float* outside) const {
        y += top;
        x += left;
        return y >= 0 && y < side && x >= 0 && x < side ? from + ((y * side + x) * all + first) * channels : outside;
    }
};

// The transformed inputs of a tile, (36, images, channels); `padding` is zeros (images, channels).
void transform_inputs(const Tile& t, const float* source, int64_t channels, float* seen, const float* padding) {
    const int64_t size = t.images * channels;
    transform<IN>(
        size, [&](int k) { return t.line<const float>(source, channels, k / SPAN - 1, k % SPAN - 1, padding); },
        [&](int k) { return seen + k * (size + APART); });
}

// target = or += source convolved with taps (9, inputs, outputs), read from last to first if `turned`.
void convolve_tiles(const float* source, const float* taps, bool turned, float* target, int64_t side, int64_t inputs,
                    int64_t outputs, const Shape& s, bool adds) {
    const int64_t size = inputs * outputs, step = size + APART, tiles = Tile::count(side, s.images);
    float* weights = workspace<0>(PLACES * step);
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t start = 0; start < size; start += PART)
        transform<TAP>(
            std::min(PART, size - start), [&](int k) { return taps + (turned ? 8 - k : k) * size + start; },
            [&](int k) { return weights + k * step + start; });
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t number = 0; number < tiles; number++) {
        const Tile t(number, side, s.images);
        const int64_t in = t.images * inputs, out = t.images * outputs, in_step = in + APART, out_step = out + APART;
        float* seen = workspace<1>(PLACES * (in_step + out_step) + in + out);
        float *products = seen + PLACES * in_step, *padding = products + PLACES * out_step, *unused = padding + in;
        std::fill_n(padding, in, 0.0f);
        transform_inputs(t, source, inputs, seen, padding);
        for (int64_t k = 0; k < PLACES; k++) {
            const Pair pair = {k, k};
            multiply<false>(seen, weights, products + k * out_step, &pair, 1, t.images, inputs, outputs, in_step, step,
                            false);
        }
        transform<OUT>(
            out, [&](int k) { return products + k * out_step; },
            [&](int k) { return t.line(target, outputs, k / TILE, k % TILE, unused); }, adds);
    }
}

// Adds the other groups of `size` sums to the first. Groups don't depend on the number of threads, so that sums don't
// either.
void add_groups(float* sums, int64_t groups, int64_t size, const Shape& s) {
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t start = 0; start < size; start += PART) {
        const int64_t end = std::min(start + PART, size);
        for (int64_t group = 1; group < groups; group++)
            for (int64_t j = start; j < end; j++) sums[j] += sums[group * size + j];
    }
}

// The gradient of taps (9, inputs, outputs): each place sums products of inputs and gradients over the tiles of a group.
void differentiate_tiles(const Instruction& i, const Shape& s, const float* source, const float* incoming,
                         float* gradient) {
    const int64_t size = i.inputs * i.outputs, step = size + APART, tiles = Tile::count(i.side, s.images);
    const int64_t groups = std::min<int64_t>(8, tiles);
    float* sums = workspace<0>(groups * PLACES * step);
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t group = 0; group < groups; group++) {
        const int64_t start = group * tiles / groups, end = (group + 1) * tiles / groups;
        for (int64_t number = start; number < end; number++) {
            const Tile t(number, i.side, s.images);
            const int64_t in = t.images * i.inputs, out = t.images * i.outputs;
            const int64_t in_step = in + APART, out_step = out + APART;
            float* seen = workspace<1>(PLACES * (in_step + out_step) + std::max(in, out));
            float *wanted = seen + PLACES * in_step, *padding = wanted + PLACES * out_step;
            std::fill_n(padding, std::max(in, out), 0.0f);
            transform_inputs(t, source, i.inputs, seen, padding);
            transform<OUT_BACK>(
                out, [&](int k) { return t.line<const float>(incoming, i.outputs, k / TILE, k % TILE, padding); },
                [&](int k) { return wanted + k * out_step; });
            for (int64_t k = 0; k < PLACES; k++) {
                const Pair pair = {k, k};
                multiply<true>(seen, wanted, sums + (group * PLACES + k) * step, &pair, 1, i.inputs, t.images, i.outputs,
                               in_step, out_step, number > start);
            }
        }
    }
    add_groups(sums, groups, PLACES * step, s);
    transform<TAP_BACK>(
        size, [&](int k) { return sums + k * step; }, [&](int k) { return gradient + k * size; });
}

void convolve(const Instruction& i, const Shape& s, float* values, float* const* weights) {
    const int64_t n = s.images, size = i.inputs * i.outputs;
    if (tiled(i)) {
        convolve_tiles(values + i.source, weights[i.weight], false, values + i.target, i.side, i.inputs, i.outputs, s,
                       i.adds);
        return;
    }
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t p = 0; p < i.target_side * i.target_side; p++) {
        Pair pairs[9];
        const int count = reads(i, p, pairs);
        multiply<false>(values + i.source, weights[i.weight], values + i.target + p * n * i.outputs, pairs, count, n,
                        i.inputs, i.outputs, n * i.inputs, size, i.adds);
    }
}

void differentiate(const Instruction& i, const Shape& s, const float* source, const float* incoming, float* gradient) {
    const int64_t taps = i.kernel * i.kernel, size = i.inputs * i.outputs, positions = i.target_side * i.target_side;
    const int64_t groups = parts_of(positions, 32);
    float* sums = workspace<0>(groups * taps * size);
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t number = 0; number < groups * taps; number++) {
        const int64_t group = number / taps, tap = number % taps;
        const int64_t start = group * positions / groups, end = (group + 1) * positions / groups;
        std::vector<Pair> pairs;
        for (int64_t p = start; p < end; p++) {
            const int64_t y = p / i.target_side * i.stride + tap / i.kernel - padding(i);
            const int64_t x = p % i.target_side * i.stride + tap % i.kernel - padding(i);
            if (y >= 0 && y < i.side && x >= 0 && x < i.side) pairs.push_back({y * i.side + x, p});
        }
        multiply<true>(source, incoming, sums + number * size, pairs.data(), pairs.size(), i.inputs, s.images,
                       i.outputs, s.images * i.inputs, s.images * i.outputs, false);
    }
    add_groups(sums, groups, taps * size, s);
    std::copy_n(sums, taps * size, gradient);
}

// Where a normalisation follows, it has put the gradient of the target into the target's own place.
void convolve_back(const Instruction& i, const Shape& s, float* values, float* gradients, float* const* weights,
                   float* const* weight_gradients) {
    const int64_t n = s.images, taps = i.kernel * i.kernel, size = i.inputs * i.outputs;
    const float* incoming = i.target_gradient < 0 ? values + i.target : gradients + i.target_gradient;
    const bool by_tiles = tiled(i);
    (by_tiles ? differentiate_tiles : differentiate)(i, s, values + i.source, incoming, weight_gradients[i.weight]);
    if (!i.wants_gradient) return;
    std::vector<float> transposed(taps * size);
    for (int64_t tap = 0; tap < taps; tap++)
        for (int64_t o = 0; o < i.outputs; o++)
            for (int64_t k = 0; k < i.inputs; k++)
                transposed[tap * size + o * i.inputs + k] = weights[i.weight][tap * size + k * i.outputs + o];
    if (by_tiles) {
        convolve_tiles(incoming, transposed.data(), true, gradients + i.source_gradient, i.side, i.outputs, i.inputs, s,
                       i.gradient_adds);
        return;
    }
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t q = 0; q < i.side * i.side; q++) {
        Pair pairs[9];
        const int count = readers(i, q, pairs);
        multiply<false>(incoming, transposed.data(), gradients + i.source_gradient + q * n * i.inputs, pairs, count, n,
                        i.outputs, i.inputs, n * i.outputs, size, i.gradient_adds);
    }
}

// Two sums a channel over the images of every position; float sums never run over more than one position, so that
// they stay accurate. `terms` gives both terms of the channels at a place, whose first channel is `c`.
template <class Terms>
std::vector<double> sum_rows(const Instruction& i, const Shape& s, Terms terms) {
    const int64_t positions = i.side * i.side, channels = i.outputs;
    std::vector<float> parts(positions * 2 * channels);
#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (int64_t p = 0; p < positions; p++) {
        float* part = parts.data() + p * 2 * channels;
        const auto sum = [&](auto zero, int64_t c) {
            auto first = zero, second = zero;
            for (int64_t n = 0; n < s.images; n++) terms((p * s.images + n) * channels + c, c, first, second);
            store(part + c, first);
            store(part + channels + c, second);
        };
        int64_t c = 0;
        for (; c + LANES <= channels; c += LANES) sum(Wide{}, c);
        for (; c < channels; c += 8) sum(Half{}, c);
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
            sum_rows(i, s, [=](int64_t at, int64_t, auto& first, auto& second) {
                const auto value = load<std::decay_t<decltype(first)>>(source + at);
                first += value;
                second += value * value;
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
        sum_rows(i, s, [=](int64_t at, int64_t c, auto& first, auto& second) {
            using V = std::decay_t<decltype(first)>;
            const V gradient = load<V>(incoming + at);
            first += gradient;
            second += gradient * (load<V>(source + at) - load<V>(mean + c));
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
