// The innermost loops of the patch search: squared distances to a block of patches, and to a node's boxes.
//
// All in integers, so that the versions of a kernel, for one instruction set or another, give the same numbers.
#pragma once

#include <cstdint>
#include <vector>

namespace fastrefocus {

// Patches are laid out in blocks, the values of equal place side by side, four places at a time:
// values[(quad * kLanes + lane) * 4 + i] is value 4 quad + i of the block's patch `lane`.
constexpr int kLanes = 16;

struct Block {
  const std::uint8_t* values;
  const std::int32_t* offsets;  // of each lane, the sum of v^2 - 256 v: see Query::shifted
};

// What distances are taken to. Places beyond the patch, up to a multiple of four and at least four, are 0.
class Query {
 public:
  explicit Query(int dims);

  // A patch of which every value counts.
  void set(const std::uint8_t* patch);
  // A patch of which values count where `known` is -1, and not where it is 0.
  void set(const std::uint8_t* patch, const std::int16_t* known);

  int dims() const { return dims_; }
  int quads() const { return static_cast<int>(values_.size()) / 4; }
  bool whole() const { return whole_; }
  const std::int16_t* values() const { return values_.data(); }
  const std::int16_t* known() const { return known_.data(); }
  // (q - 128), which fits into signed bytes: |v - q|^2 = |q|^2 - 2 v (q - 128) + v^2 - 256 v.
  const std::int8_t* shifted() const { return shifted_.data(); }
  std::int32_t square() const { return square_; }

 private:
  int dims_;
  bool whole_ = true;
  std::vector<std::int16_t> values_, known_;
  std::vector<std::int8_t> shifted_;
  std::int32_t square_ = 0;
};

// Squared distances of the block's patches to the query. Returns a bit for each lane within the limit; where there is
// none, out is undefined.
using BlockDistances = std::uint32_t (*)(const Block& block, const Query& query, std::int32_t limit, std::int32_t* out);

// A node has up to this many children.
constexpr int kChildren = 8;

// Boxes of the children in the coordinates of the tree, two coordinates at a time: low[pair][2 child + i].
constexpr int kCoordinates = 16;
struct Boxes {
  std::int16_t low[kCoordinates / 2][2 * kChildren];
  std::int16_t high[kCoordinates / 2][2 * kChildren];
};

// Squared distance of a point to each box. No coordinate may differ by 2^15 or more, no distance reach 2^31.
using BoxDistances = void (*)(const Boxes& boxes, const std::int16_t* point, std::int32_t* out);

// Boxes in pixel values, two places at a time: low[(pair * kChildren + child) * 2 + i].
struct ValueBoxes {
  const std::uint8_t* low;
  const std::uint8_t* high;
};

// Squared distance of the query's known values to each box.
using ValueBoxDistances = void (*)(const ValueBoxes& boxes, const Query& query, std::int32_t* out);

struct Kernels {
  BlockDistances whole_block;    // every value counts
  BlockDistances partial_block;  // those known
  BoxDistances boxes;
  ValueBoxDistances value_boxes;
};

// The fastest that this machine runs. FASTREFOCUS_SIMD=portable or =avx2 in the environment asks for less.
Kernels kernels();

}  // namespace fastrefocus
