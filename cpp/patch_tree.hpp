// Exact nearest-patch search (paper B, sections 2.1 and 2.2; section 5.2 asks for it).
//
// A tree of boxes, eight children a node, over a few coordinates of the patches: projections onto orthonormal
// directions, the principal components say, and the length of what these leave out. Squared distances of
// coordinates never exceed those of patches (Bessel; the triangle inequality for the length), so that a box that
// is too far away holds no near patch. Coordinates are rounded to integers, boxes outwards. At the leaves the
// patches' own distances are taken. The tree thus finds what a search of all patches finds, ties included.
//
// The bound does not hold for distances over a part of the window. There the boxes of the values themselves do.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "patch_block.hpp"

namespace fastrefocus {

// Colour of a patch's centre pixel: red + 256 green + 65536 blue; a grey value stands for itself.
using Colour = std::uint32_t;

// Borrowed rows: count patches of `dims` values each, and the colours of their centres.
struct Patches {
  const std::uint8_t* values;
  const Colour* colours;
  std::int32_t count;
  std::int32_t dims;
};

// Borrowed orthonormal directions, (count, dims), and the point that coordinates are measured from.
struct Basis {
  const double* directions;
  const double* mean;
  std::int32_t count;
};

struct Neighbour {
  std::int32_t distance;
  std::int32_t patch;
  Colour colour;

  bool operator<(const Neighbour& other) const {
    return distance != other.distance ? distance < other.distance : patch < other.patch;
  }
};

// What a search needs to know of its query. A kind of search adds
//   limit(): the largest distance at which a patch may still matter, falling as patches are offered, asked often; and
//   offer(neighbour): called for patches within the limit, in any order, perhaps more than once.
struct Aim {
  explicit Aim(int dims) : query(dims) {}
  Query query;
  std::int16_t point[kCoordinates];  // the query's coordinates; unused where only a part of the values counts

  struct Step {
    std::int32_t bound;
    std::int32_t child;
  };
  std::vector<Step> stack;  // of the children still to be looked at
};

class PatchTree {
 public:
  static constexpr std::int32_t kMostDirections = kCoordinates - 1;

  // Throws std::invalid_argument if there is no patch, or more than kMostDirections.
  PatchTree(const Patches& patches, const Basis& basis);

  std::int32_t count() const { return static_cast<std::int32_t>(block_of_.size()); }
  std::int32_t block_count() const { return static_cast<std::int32_t>(patches_.size() / kLanes); }
  std::int32_t dims() const { return dims_; }
  std::size_t colour_count() const { return colour_count_; }

  // Of each query, (count, dims), the `wanted` nearest patches of distinct colours; where the library has fewer
  // colours, as many as there are. Rows of min(wanted, colour_count()).
  void nearest_colours(const std::uint8_t* queries, std::size_t count, std::size_t wanted, std::int32_t* distances,
                       std::int32_t* patches) const;

  // Sets an aim, at all values of a patch or at those for which `known` is -1.
  void set(Aim& aim, const std::uint8_t* patch) const;
  void set(Aim& aim, const std::uint8_t* patch, const std::int16_t* known) const;

  // Offers the patches of the block that holds a patch, or its double: a good guess makes a search shorter.
  template <class Search>
  void guess(Search& search, std::int32_t patch) const;

  // Offers all patches that matter, near ones first. A search that looks at many blocks is put off: false.
  template <class Search>
  bool find(Search& search) const;

  // Does the searches that were put off, side by side, so that each block is fetched once for all of them.
  template <class Search>
  void find_together(const std::vector<Search*>& searches) const;

 private:
  template <class Search>
  void find_below(std::int32_t child, const std::vector<Search*>& searches) const;

  struct Item;
  struct Node {
    Boxes boxes;
    std::int32_t children[kChildren];  // a node, or a block with all bits turned, or kNoChild
  };
  static constexpr std::int32_t kNoChild = std::numeric_limits<std::int32_t>::max();

  void locate(const std::uint8_t* patch, double* point) const;
  std::int32_t build(Item* first, Item* last, const Patches& patches);
  void set_boxes(std::size_t node, int child, const Item* first, const Item* last, const Patches& patches);
  std::int32_t make_block(const Item* first, const Item* last, const Patches& patches);

  void bounds(std::size_t node, const Aim& aim, std::int32_t* out) const;
  // The bound that answers to a distance.
  double reach(const Aim& aim, std::int32_t limit) const { return limit * (aim.query.whole() ? scale_ * scale_ : 1); }
  template <class Search>
  void scan(std::int32_t block, Search& search) const;

  Kernels kernels_;
  std::int32_t dims_;
  std::size_t places_;  // of a patch in a block, the padding included
  std::size_t colour_count_;
  std::vector<double> basis_;  // (dims, kMostDirections), so that a projection runs along the memory
  std::vector<double> mean_;
  double scale_;  // of the coordinates
  std::int32_t root_;
  std::vector<Node> nodes_;
  std::vector<std::uint8_t> low_values_, high_values_;  // of each node's children
  std::vector<std::uint8_t> values_;                    // blocks
  std::vector<std::int32_t> offsets_, patches_;         // of each lane; patches_ is -1 where there is none
  std::vector<Colour> colours_;
  std::vector<std::int32_t> block_of_;  // of each patch
};

template <class Search>
void PatchTree::guess(Search& search, std::int32_t patch) const {
  if (patch >= 0 && patch < count()) scan(block_of_[static_cast<std::size_t>(patch)], search);
}

template <class Search>
bool PatchTree::find(Search& search) const {
  // Beyond this many, near ones first no longer pays for fetching blocks again for every search.
  constexpr int most_blocks = 32;
  int blocks = 0;
  std::vector<Aim::Step>& stack = search.stack;
  stack.assign(1, {0, root_});
  while (!stack.empty()) {
    const Aim::Step step = stack.back();
    stack.pop_back();
    const double reach = this->reach(search, search.limit());
    if (step.bound > reach) continue;
    if (step.child < 0) {
      if (++blocks > most_blocks) return false;
      scan(~step.child, search);
      continue;
    }
    const auto index = static_cast<std::size_t>(step.child);
    std::int32_t bound[kChildren];
    bounds(index, search, bound);
    // Nearest last, to be taken first.
    const std::size_t base = stack.size();
    for (int i = 0; i < kChildren && nodes_[index].children[i] != kNoChild; ++i) {
      if (bound[i] > reach) continue;
      std::size_t slot = stack.size();
      stack.push_back({});
      for (; slot > base && stack[slot - 1].bound < bound[i]; --slot) stack[slot] = stack[slot - 1];
      stack[slot] = {bound[i], nodes_[index].children[i]};
    }
  }
  return true;
}

template <class Search>
void PatchTree::find_together(const std::vector<Search*>& searches) const {
  if (!searches.empty()) find_below(root_, searches);
}

template <class Search>
void PatchTree::find_below(std::int32_t child, const std::vector<Search*>& searches) const {
  if (child < 0) {
    for (Search* search : searches) scan(~child, *search);
    return;
  }
  const auto index = static_cast<std::size_t>(child);
  const Node& node = nodes_[index];
  std::vector<std::int32_t> bound(searches.size() * kChildren);
  for (std::size_t i = 0; i < searches.size(); ++i) bounds(index, *searches[i], &bound[i * kChildren]);
  std::vector<Search*> near;
  near.reserve(searches.size());
  for (std::size_t k = 0; k < kChildren && node.children[k] != kNoChild; ++k) {
    near.clear();
    for (std::size_t i = 0; i < searches.size(); ++i)
      if (bound[i * kChildren + k] <= reach(*searches[i], searches[i]->limit())) near.push_back(searches[i]);
    if (!near.empty()) find_below(node.children[k], near);
  }
}

template <class Search>
void PatchTree::scan(std::int32_t block, Search& search) const {
  const std::size_t first = static_cast<std::size_t>(block) * kLanes;
  const BlockDistances kernel = search.query.whole() ? kernels_.whole_block : kernels_.partial_block;
  std::int32_t distances[kLanes];
  const Block values{values_.data() + first * places_, offsets_.data() + first};
  const std::int32_t* patches = patches_.data() + first;
  const Colour* colours = colours_.data() + first;
  std::uint32_t lanes = kernel(values, search.query, search.limit(), distances);
  for (std::size_t lane = 0; lanes != 0; ++lane, lanes >>= 1)
    if (lanes & 1 && distances[lane] <= search.limit() && patches[lane] >= 0)
      search.offer(Neighbour{distances[lane], patches[lane], colours[lane]});
}

}  // namespace fastrefocus
