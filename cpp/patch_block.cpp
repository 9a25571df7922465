#include "patch_block.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <numeric>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define FASTREFOCUS_X86 1
#define FASTREFOCUS_AVX2 __attribute__((target("avx2")))
#define FASTREFOCUS_VNNI __attribute__((target("avx512f,avx512vnni")))
#include <immintrin.h>
#endif

namespace fastrefocus {

Query::Query(int dims)
    : dims_(dims),
      values_(static_cast<std::size_t>(std::max((dims + 3) / 4, 1) * 4)),
      known_(values_.size()),
      shifted_(values_.size()) {}

void Query::set(const std::uint8_t* patch) {
  whole_ = true;
  std::copy_n(patch, dims_, values_.begin());
  std::transform(patch, patch + dims_, shifted_.begin(),
                 [](std::uint8_t value) { return static_cast<std::int8_t>(value - 128); });
  square_ = std::inner_product(patch, patch + dims_, patch, std::int32_t{0});
}

void Query::set(const std::uint8_t* patch, const std::int16_t* known) {
  whole_ = false;
  std::copy_n(patch, dims_, values_.begin());
  std::copy_n(known, dims_, known_.begin());
}

namespace {

// After so many quads the distances so far are held against the limit.
constexpr int kQuadsBetweenChecks = 5;

std::uint32_t lanes_within(std::int32_t limit, const std::int32_t* distances) {
  std::uint32_t lanes = 0;
  for (int lane = 0; lane < kLanes; ++lane) lanes |= static_cast<std::uint32_t>(distances[lane] <= limit) << lane;
  return lanes;
}

// Written so that compilers turn the inner loop, over two lanes' four places, into whatever vectors there are.
template <bool partial>
std::uint32_t block_portable(const Block& block, const Query& query, std::int32_t limit, std::int32_t* out) {
  std::int32_t sums[4 * kLanes] = {};
  for (int quad = 0; quad < query.quads(); ++quad) {
    std::int16_t values[8], known[8];
    for (int i = 0; i < 8; ++i) values[i] = query.values()[4 * quad + i % 4];
    for (int i = 0; i < 8; ++i) known[i] = partial ? query.known()[4 * quad + i % 4] : std::int16_t{-1};
    const std::uint8_t* patches = block.values + 4 * kLanes * quad;
    for (int start = 0; start < 4 * kLanes; start += 8)
      for (int i = 0; i < 8; ++i) {
        const auto difference = static_cast<std::int16_t>((patches[start + i] - values[i]) & known[i]);
        sums[start + i] += difference * difference;
      }
  }
  for (int lane = 0; lane < kLanes; ++lane)
    out[lane] = sums[4 * lane] + sums[4 * lane + 1] + sums[4 * lane + 2] + sums[4 * lane + 3];
  return lanes_within(limit, out);
}

// Adds the squared distances of a pair of values to the children's intervals; sums[2 child + i] is of value i.
template <class Bound>
void add_squared_gaps(const std::int16_t* values, const Bound* low, const Bound* high, std::int32_t* sums) {
  for (int i = 0; i < 2 * kChildren; ++i) {
    const std::int32_t below = low[i] - values[i % 2], above = values[i % 2] - high[i];
    const std::int32_t gap = std::max(std::max(below, above), 0);
    sums[i] += gap * gap;
  }
}

void boxes_portable(const Boxes& boxes, const std::int16_t* point, std::int32_t* out) {
  std::int32_t sums[2 * kChildren] = {};
  for (int pair = 0; pair < kCoordinates / 2; ++pair)
    add_squared_gaps(point + 2 * pair, boxes.low[pair], boxes.high[pair], sums);
  for (int child = 0; child < kChildren; ++child) out[child] = sums[2 * child] + sums[2 * child + 1];
}

void value_boxes_portable(const ValueBoxes& boxes, const Query& query, std::int32_t* out) {
  std::fill_n(out, kChildren, 0);
  for (int pair = 0; pair < 2 * query.quads(); ++pair) {
    std::int32_t sums[2 * kChildren] = {};
    const std::ptrdiff_t start = 2 * kChildren * pair;
    add_squared_gaps(query.values() + 2 * pair, boxes.low + start, boxes.high + start, sums);
    for (int i = 0; i < 2; ++i)
      if (query.known()[2 * pair + i] != 0)
        for (int child = 0; child < kChildren; ++child) out[child] += sums[2 * child + i];
  }
}

#ifdef FASTREFOCUS_X86

// Bytes, widened to 16 bits.
FASTREFOCUS_AVX2 inline __m256i widened(const std::uint8_t* values) {
  return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values)));
}

// Two 16-bit values, repeated.
FASTREFOCUS_AVX2 inline __m256i pair_at(const std::int16_t* values) {
  std::int32_t pair;
  std::memcpy(&pair, values, sizeof pair);
  return _mm256_set1_epi32(pair);
}

// Four 16-bit values, repeated.
FASTREFOCUS_AVX2 inline __m256i quad_at(const std::int16_t* values) {
  std::int64_t quad;
  std::memcpy(&quad, values, sizeof quad);
  return _mm256_set1_epi64x(quad);
}

// Adds the two sums that each lane has: eight lanes of two registers, in order.
FASTREFOCUS_AVX2 inline __m256i joined(__m256i sums0, __m256i sums1) {
  return _mm256_permute4x64_epi64(_mm256_hadd_epi32(sums0, sums1), _MM_SHUFFLE(3, 1, 2, 0));
}

template <bool partial>
FASTREFOCUS_AVX2 std::uint32_t block_avx2(const Block& block, const Query& query, std::int32_t limit,
                                          std::int32_t* out) {
  __m256i sums[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
  const __m256i limits = _mm256_set1_epi32(limit);
  std::uint32_t within = 0;
  for (int quad = 0; quad < query.quads();) {
    for (const int stop = std::min(quad + kQuadsBetweenChecks, query.quads()); quad < stop; ++quad) {
      const __m256i values = quad_at(query.values() + 4 * quad);
      for (int i = 0; i < 4; ++i) {  // four lanes each
        __m256i difference = _mm256_sub_epi16(widened(block.values + 4 * (kLanes * quad + 4 * i)), values);
        if constexpr (partial) difference = _mm256_and_si256(difference, quad_at(query.known() + 4 * quad));
        sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(difference, difference));
      }
    }
    const __m256i distances0 = joined(sums[0], sums[1]), distances1 = joined(sums[2], sums[3]);
    const __m256i beyond0 = _mm256_cmpgt_epi32(distances0, limits), beyond1 = _mm256_cmpgt_epi32(distances1, limits);
    const int beyond = _mm256_movemask_ps(_mm256_castsi256_ps(beyond0)) |
                       _mm256_movemask_ps(_mm256_castsi256_ps(beyond1)) << 8;
    within = ~static_cast<std::uint32_t>(beyond) & 0xffffu;
    if (within == 0) return 0;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), distances0);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out) + 1, distances1);
  }
  return within;
}

// The dot products of four unsigned and four signed bytes are summed in 32 bits, for all lanes at once.
FASTREFOCUS_VNNI std::uint32_t block_vnni(const Block& block, const Query& query, std::int32_t limit,
                                          std::int32_t* out) {
  __m512i dot0 = _mm512_setzero_si512(), dot1 = dot0;  // two, since one would wait for itself
  const auto add = [&](__m512i dot, int quad) FASTREFOCUS_VNNI {
    std::int32_t shifted;
    std::memcpy(&shifted, query.shifted() + 4 * quad, sizeof shifted);
    return _mm512_dpbusd_epi32(dot, _mm512_loadu_si512(block.values + 4 * kLanes * quad), _mm512_set1_epi32(shifted));
  };
  int quad = 0;
  for (; quad + 1 < query.quads(); quad += 2) {
    dot0 = add(dot0, quad);
    dot1 = add(dot1, quad + 1);
  }
  if (quad < query.quads()) dot0 = add(dot0, quad);
  const __m512i rest = _mm512_add_epi32(_mm512_loadu_si512(block.offsets), _mm512_set1_epi32(query.square()));
  const __m512i distances = _mm512_sub_epi32(rest, _mm512_slli_epi32(_mm512_add_epi32(dot0, dot1), 1));
  _mm512_storeu_si512(out, distances);
  return _mm512_cmple_epi32_mask(distances, _mm512_set1_epi32(limit));
}

FASTREFOCUS_AVX2 inline __m256i gaps_between(__m256i values, __m256i low, __m256i high) {
  const __m256i outside = _mm256_max_epi16(_mm256_sub_epi16(low, values), _mm256_sub_epi16(values, high));
  return _mm256_max_epi16(outside, _mm256_setzero_si256());
}

FASTREFOCUS_AVX2 void boxes_avx2(const Boxes& boxes, const std::int16_t* point, std::int32_t* out) {
  __m256i sum = _mm256_setzero_si256();
  for (int pair = 0; pair < kCoordinates / 2; ++pair) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(boxes.low[pair]));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(boxes.high[pair]));
    const __m256i gaps = gaps_between(pair_at(point + 2 * pair), low, high);
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(gaps, gaps));
  }
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), sum);
}

FASTREFOCUS_AVX2 void value_boxes_avx2(const ValueBoxes& boxes, const Query& query, std::int32_t* out) {
  __m256i sum = _mm256_setzero_si256();
  for (int pair = 0; pair < 2 * query.quads(); ++pair) {
    const std::ptrdiff_t start = 2 * kChildren * pair;
    const __m256i between =
        gaps_between(pair_at(query.values() + 2 * pair), widened(boxes.low + start), widened(boxes.high + start));
    const __m256i gaps = _mm256_and_si256(between, pair_at(query.known() + 2 * pair));
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(gaps, gaps));
  }
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), sum);
}

#endif

}  // namespace

Kernels kernels() {
  const Kernels portable{block_portable<false>, block_portable<true>, boxes_portable, value_boxes_portable};
#ifdef FASTREFOCUS_X86
  const char* wish = std::getenv("FASTREFOCUS_SIMD");
  const auto wished = [wish](const char* name) { return wish && std::strcmp(wish, name) == 0; };
  if (!__builtin_cpu_supports("avx2") || wished("portable")) return portable;
  const bool vnni = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni") && !wished("avx2");
  return {vnni ? block_vnni : block_avx2<false>, block_avx2<true>, boxes_avx2, value_boxes_avx2};
#else
  return portable;
#endif
}

}  // namespace fastrefocus
