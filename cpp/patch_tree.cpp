#include "patch_tree.hpp"

#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

namespace fastrefocus {
namespace {

// What coordinates are scaled to: differences fit into 16 bits, sums of their squares into 32.
constexpr double kReach = 16000;

// How far rounding may take a scaled coordinate: half a step for the query, the rest for the float of a patch.
constexpr double kMargin = 0.51;

// So many queries are searched for side by side.
constexpr std::size_t kTogether = 32;

std::uint64_t hash(const std::uint8_t* values, std::size_t count, Colour colour) {
  std::uint64_t state = 0xcbf29ce484222325u ^ colour;  // FNV-1a, eight values at a time
  for (std::size_t i = 0; i < count; i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, values + i, std::min<std::size_t>(8, count - i));
    state = (state ^ word) * 0x100000001b3u;
    state ^= state >> 29;
  }
  return state;
}

// For each patch the first one with the same values and the same colour: the others are never looked at. Flat
// areas hold thousands of equal patches. (Different patches of equal hash may hide a double: no harm.)
std::vector<std::int32_t> find_first_doubles(const Patches& patches) {
  const auto count = static_cast<std::size_t>(patches.count), dims = static_cast<std::size_t>(patches.dims);
  std::vector<std::pair<std::uint64_t, std::int32_t>> keys(count);
  for (std::size_t i = 0; i < count; ++i)
    keys[i] = {hash(patches.values + i * dims, dims, patches.colours[i]), static_cast<std::int32_t>(i)};
  std::sort(keys.begin(), keys.end());
  std::vector<std::int32_t> first(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto here = static_cast<std::size_t>(keys[i].second);
    first[here] = keys[i].second;
    if (i == 0 || keys[i - 1].first != keys[i].first) continue;
    const auto before = static_cast<std::size_t>(first[static_cast<std::size_t>(keys[i - 1].second)]);
    if (patches.colours[before] == patches.colours[here] &&
        std::equal(patches.values + before * dims, patches.values + (before + 1) * dims, patches.values + here * dims))
      first[here] = static_cast<std::int32_t>(before);
  }
  return first;
}

std::size_t count_distinct(const Colour* colours, std::int32_t count) {
  std::vector<Colour> sorted(colours, colours + count);
  std::sort(sorted.begin(), sorted.end());
  return static_cast<std::size_t>(std::unique(sorted.begin(), sorted.end()) - sorted.begin());
}

// Otherwise coordinates would bound nothing. NaN is refused as well.
void check_orthonormal(const Basis& basis, std::int32_t dims) {
  constexpr double tolerance = 1e-9;
  for (std::int32_t i = 0; i < basis.count; ++i)
    for (std::int32_t j = 0; j <= i; ++j) {
      const double product = std::inner_product(basis.directions + i * dims, basis.directions + (i + 1) * dims,
                                                basis.directions + j * dims, 0.0);
      if (!(std::abs(product - (i == j)) < tolerance))
        throw std::invalid_argument("basis must have orthonormal rows, got a product of " + std::to_string(product) +
                                    " of rows " + std::to_string(i) + " and " + std::to_string(j));
    }
  if (!std::all_of(basis.mean, basis.mean + dims, [](double value) { return value >= 0 && value <= 255; }))
    throw std::invalid_argument("mean must hold values of 0..255");
}

// The nearest patches of distinct colours: of each colour the nearest patch, of equally near ones the first.
class ColourSearch : public Aim {
 public:
  ColourSearch(int dims, std::size_t count) : Aim(dims), count_(count), seen_(kSeen) {}

  void clear() {
    found_.clear();
    std::fill(seen_.begin(), seen_.end(), Seen{});
  }

  std::int32_t limit() const { return found_.size() < count_ ? kFar : found_.back().distance; }

  void offer(const Neighbour& neighbour) {
    // Most are of a colour that had a nearer patch. Colours may share a place: then the slow way decides.
    Seen& seen = seen_[neighbour.colour * 2654435761u >> 24];
    if (seen.colour == neighbour.colour && neighbour.distance > seen.distance) return;
    if (insert(neighbour)) seen = {neighbour.colour, neighbour.distance};
  }

  const std::vector<Neighbour>& found() const { return found_; }  // nearest first

 private:
  static constexpr std::int32_t kFar = std::numeric_limits<std::int32_t>::max();
  static constexpr std::size_t kSeen = 256;
  struct Seen {
    Colour colour = std::numeric_limits<Colour>::max();  // none
    std::int32_t distance = 0;
  };

  bool insert(const Neighbour& neighbour) {
    if (found_.size() == count_ && !(neighbour < found_.back())) return false;
    const auto same = std::find_if(found_.begin(), found_.end(),
                                   [&](const Neighbour& other) { return other.colour == neighbour.colour; });
    if (same != found_.end()) {
      if (!(neighbour < *same)) return false;
      found_.erase(same);
    } else if (found_.size() == count_) {
      found_.pop_back();
    }
    found_.insert(std::upper_bound(found_.begin(), found_.end(), neighbour), neighbour);
    return true;
  }

  std::size_t count_;
  std::vector<Seen> seen_;
  std::vector<Neighbour> found_;
};

}  // namespace

struct PatchTree::Item {
  std::int32_t patch;
  float point[kCoordinates];  // as `locate` gives them
};

PatchTree::PatchTree(const Patches& patches, const Basis& basis)
    : kernels_(kernels()),
      dims_(patches.dims),
      places_(static_cast<std::size_t>(Query(dims_).quads()) * 4),
      colour_count_(count_distinct(patches.colours, patches.count)),
      basis_(static_cast<std::size_t>(dims_) * kMostDirections),
      mean_(basis.mean, basis.mean + dims_),
      // A patch is at most 255 sqrt(dims) from any other: no two coordinates differ by more than kReach.
      scale_(kReach / (255 * std::sqrt(std::max(dims_, 1)))) {
  if (patches.count < 1) throw std::invalid_argument("patches must hold at least one patch");
  if (basis.count > kMostDirections)
    throw std::invalid_argument("basis must have at most " + std::to_string(kMostDirections) + " directions, got " +
                                std::to_string(basis.count));
  check_orthonormal(basis, dims_);
  for (std::int32_t i = 0; i < basis.count; ++i)
    for (std::int32_t place = 0; place < dims_; ++place)
      basis_[static_cast<std::size_t>(place * kMostDirections + i)] = basis.directions[i * dims_ + place];

  const std::vector<std::int32_t> first_double = find_first_doubles(patches);
  std::vector<Item> items;
  for (std::int32_t patch = 0; patch < patches.count; ++patch) {
    if (first_double[static_cast<std::size_t>(patch)] != patch) continue;
    double point[kCoordinates];
    locate(patches.values + static_cast<std::ptrdiff_t>(patch) * dims_, point);
    items.push_back({patch, {}});
    std::copy_n(point, kCoordinates, items.back().point);
  }
  const std::size_t lanes = (items.size() + kLanes - 1) / kLanes * kLanes;
  values_.reserve(lanes * places_);
  offsets_.reserve(lanes);
  patches_.reserve(lanes);
  colours_.reserve(lanes);
  block_of_.resize(first_double.size());
  root_ = build(items.data(), items.data() + items.size(), patches);
  for (std::size_t i = 0; i < block_of_.size(); ++i)
    block_of_[i] = block_of_[static_cast<std::size_t>(first_double[i])];
}

// The coordinates of a patch, scaled: its projections, and the length of what they leave out.
void PatchTree::locate(const std::uint8_t* patch, double* point) const {
  double sums[kMostDirections] = {}, length = 0;
  for (std::int32_t place = 0; place < dims_; ++place) {
    const double value = patch[place] - mean_[static_cast<std::size_t>(place)];
    const double* directions = basis_.data() + static_cast<std::size_t>(place) * kMostDirections;
    for (int i = 0; i < kMostDirections; ++i) sums[i] += value * directions[i];
    length += value * value;
  }
  for (int i = 0; i < kMostDirections; ++i) {
    point[i] = scale_ * sums[i];
    length -= sums[i] * sums[i];
  }
  point[kMostDirections] = scale_ * std::sqrt(std::max(length, 0.0));
}

void PatchTree::set(Aim& aim, const std::uint8_t* patch) const {
  aim.query.set(patch);
  double point[kCoordinates];
  locate(patch, point);
  for (int k = 0; k < kCoordinates; ++k) aim.point[k] = static_cast<std::int16_t>(std::floor(point[k] + 0.5));
}

void PatchTree::set(Aim& aim, const std::uint8_t* patch, const std::int16_t* known) const {
  aim.query.set(patch, known);
}

void PatchTree::bounds(std::size_t node, const Aim& aim, std::int32_t* out) const {
  if (aim.query.whole()) {
    kernels_.boxes(nodes_[node].boxes, aim.point, out);
  } else {
    const std::size_t start = node * places_ * kChildren;
    kernels_.value_boxes({low_values_.data() + start, high_values_.data() + start}, aim.query, out);
  }
}

// Halves a range, at a whole number of blocks, along the coordinate that spreads widest.
template <class Item>
static Item* halve(Item* first, Item* last) {
  double sums[kCoordinates] = {}, squares[kCoordinates] = {};
  for (const Item* item = first; item != last; ++item)
    for (int k = 0; k < kCoordinates; ++k) {
      sums[k] += item->point[k];
      squares[k] += double{item->point[k]} * item->point[k];
    }
  const auto count = static_cast<double>(last - first);
  for (int k = 0; k < kCoordinates; ++k) squares[k] -= sums[k] * sums[k] / count;
  const std::ptrdiff_t widest = std::max_element(squares, squares + kCoordinates) - squares;
  const std::ptrdiff_t blocks = (last - first + kLanes - 1) / kLanes;
  Item* middle = first + blocks / 2 * kLanes;
  std::nth_element(first, middle, last,
                   [widest](const Item& a, const Item& b) { return a.point[widest] < b.point[widest]; });
  return middle;
}

std::int32_t PatchTree::build(Item* first, Item* last, const Patches& patches) {
  if (last - first <= kLanes) return ~make_block(first, last, patches);

  std::vector<std::pair<Item*, Item*>> ranges{{first, last}};
  for (int parts = 1; parts < kChildren; parts *= 2) {
    std::vector<std::pair<Item*, Item*>> halves;
    for (const auto& [begin, end] : ranges) {
      Item* middle = end - begin > kLanes ? halve(begin, end) : end;
      halves.push_back({begin, middle});
      if (middle != end) halves.push_back({middle, end});
    }
    ranges.swap(halves);
  }

  const std::size_t index = nodes_.size();
  nodes_.emplace_back();
  low_values_.resize((index + 1) * places_ * kChildren, 255);
  high_values_.resize((index + 1) * places_ * kChildren, 0);
  std::fill_n(nodes_[index].children, kChildren, kNoChild);
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    set_boxes(index, static_cast<int>(i), ranges[i].first, ranges[i].second, patches);
    const std::int32_t child = build(ranges[i].first, ranges[i].second, patches);
    nodes_[index].children[i] = child;
  }
  return static_cast<std::int32_t>(index);
}

void PatchTree::set_boxes(std::size_t node, int child, const Item* first, const Item* last, const Patches& patches) {
  Boxes& boxes = nodes_[node].boxes;
  for (int k = 0; k < kCoordinates; ++k) {
    const auto [low, high] =
        std::minmax_element(first, last, [k](const Item& a, const Item& b) { return a.point[k] < b.point[k]; });
    boxes.low[k / 2][2 * child + k % 2] = static_cast<std::int16_t>(std::floor(low->point[k] - kMargin));
    boxes.high[k / 2][2 * child + k % 2] = static_cast<std::int16_t>(std::ceil(high->point[k] + kMargin));
  }
  const std::size_t start = node * places_ * kChildren + 2 * static_cast<std::size_t>(child);
  for (const Item* item = first; item != last; ++item) {
    const std::uint8_t* patch = patches.values + static_cast<std::ptrdiff_t>(item->patch) * dims_;
    for (std::size_t place = 0; place < static_cast<std::size_t>(dims_); ++place) {
      const std::size_t i = start + place / 2 * kChildren * 2 + place % 2;
      low_values_[i] = std::min(low_values_[i], patch[place]);
      high_values_[i] = std::max(high_values_[i], patch[place]);
    }
  }
}

std::int32_t PatchTree::make_block(const Item* first, const Item* last, const Patches& patches) {
  const std::int32_t block = block_count();
  const std::size_t start = values_.size();
  values_.resize(start + kLanes * places_);
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    const bool used = lane < static_cast<std::size_t>(last - first);
    const std::int32_t patch = used ? first[lane].patch : -1;
    std::int32_t offset = 0;
    for (std::size_t place = 0; used && place < static_cast<std::size_t>(dims_); ++place) {
      const std::size_t row = static_cast<std::size_t>(patch) * static_cast<std::size_t>(dims_);
      const std::uint8_t value = patches.values[row + place];
      values_[start + (place / 4 * kLanes + lane) * 4 + place % 4] = value;
      offset += value * value - 256 * value;
    }
    offsets_.push_back(offset);
    patches_.push_back(patch);
    colours_.push_back(used ? patches.colours[patch] : 0);
    if (used) block_of_[static_cast<std::size_t>(patch)] = block;
  }
  return block;
}

void PatchTree::nearest_colours(const std::uint8_t* queries, std::size_t count, std::size_t wanted,
                                std::int32_t* distances, std::int32_t* patches) const {
  const std::size_t found = std::min(wanted, colour_count());
  std::vector<ColourSearch> searches(kTogether, ColourSearch(dims_, found));
  std::vector<ColourSearch*> put_off;
  const std::vector<Neighbour>* previous = nullptr;
  for (std::size_t start = 0; start < count; start += kTogether) {
    const std::size_t stop = std::min(start + kTogether, count);
    put_off.clear();
    for (std::size_t i = start; i < stop; ++i) {
      ColourSearch& search = searches[i - start];
      set(search, queries + i * static_cast<std::size_t>(dims_));
      search.clear();
      // Queries come as pixels side by side, and so do patches: what lies to the right of the last matches is near.
      if (previous)
        for (const Neighbour& match : *previous) guess(search, match.patch + 1);
      if (!find(search)) put_off.push_back(&search);
      previous = &search.found();
    }
    find_together(put_off);
    for (std::size_t i = start; i < stop; ++i)
      for (std::size_t j = 0; j < found; ++j) {
        distances[i * found + j] = searches[i - start].found()[j].distance;
        patches[i * found + j] = searches[i - start].found()[j].patch;
      }
  }
}

}  // namespace fastrefocus
