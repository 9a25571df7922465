#include "scheduler.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

namespace fastrefocus {
namespace {

constexpr int kPixelBits = 32;

// Upper half: the confidence, mapped so that higher comes first; lower half: the raster index.
Key make_key(float confidence, Pixel pixel) {
  constexpr std::uint32_t sign = 0x80000000u;
  std::uint32_t bits;
  std::memcpy(&bits, &confidence, sizeof bits);
  if (bits == sign) bits = 0;  // -0.0 ties with 0.0
  // IEEE 754: positive floats sort as their bits do, negative ones the other way round.
  if ((bits & sign) == 0) bits ^= ~sign;
  return (Key{bits} << kPixelBits) | static_cast<std::uint32_t>(pixel);
}

Pixel pixel_of(Key key) { return static_cast<Pixel>(key & 0xffffffffu); }

std::size_t as_index(Pixel pixel) { return static_cast<std::size_t>(pixel); }

Pixel pixel_count(const ConfidenceMap& map) {
  const std::int64_t count = std::int64_t{map.height} * map.width;
  if (count > std::numeric_limits<Pixel>::max())
    throw std::invalid_argument("confidence must have fewer than 2^31 pixels, got " + std::to_string(count));
  return static_cast<Pixel>(count);
}

// Calls visit(pixel, confidence) for each pixel inside the mask, in raster order.
template <class Visit>
void for_each_pixel(const ConfidenceMap& map, Visit visit) {
  const Pixel count = pixel_count(map);
  for (Pixel pixel = 0; pixel < count; ++pixel) {
    if (map.mask != nullptr && !map.mask[pixel]) continue;
    const float confidence = map.values[pixel];
    if (std::isnan(confidence))
      throw std::invalid_argument("confidence must not be NaN inside the mask, got NaN at (" +
                                  std::to_string(pixel / map.width) + ", " +
                                  std::to_string(pixel % map.width) + ")");
    visit(pixel, confidence);
  }
}

// Radix sort, 11 bits at a time, over the upper halves: it is stable, and the lower halves are in order.
void sort_keys(std::vector<Key>& keys) {
  constexpr std::size_t digits = 2048;
  std::vector<Key> sorted(keys.size());
  for (const int shift : {kPixelBits, kPixelBits + 11, kPixelBits + 22}) {
    std::array<std::size_t, digits + 1> start{};
    for (const Key key : keys) ++start[(key >> shift) % digits + 1];
    std::partial_sum(start.begin(), start.end(), start.begin());
    for (const Key key : keys) sorted[start[(key >> shift) % digits]++] = key;
    keys.swap(sorted);
  }
}

std::vector<Key> sorted_keys(const ConfidenceMap& map) {
  std::vector<Key> keys;
  keys.reserve(as_index(pixel_count(map)));
  for_each_pixel(map, [&](Pixel pixel, float confidence) { keys.push_back(make_key(confidence, pixel)); });
  sort_keys(keys);
  return keys;
}

// Calls visit(first, last) for each row of a pixel's window, clipped to the map: raster indices, half open.
template <class Visit>
void for_each_window_row(const WindowGrid& grid, Pixel pixel, Visit visit) {
  const std::int32_t row = pixel / grid.width;
  const std::int32_t column = pixel % grid.width;
  const std::int32_t top = std::max(row - grid.radius, 0);
  const std::int32_t bottom = std::min(row, grid.height - 1 - grid.radius) + grid.radius;
  const std::int32_t left = std::max(column - grid.radius, 0);
  const std::int32_t right = std::min(column, grid.width - 1 - grid.radius) + grid.radius;
  for (std::int32_t y = top; y <= bottom; ++y)
    visit(as_index(y * grid.width + left), as_index(y * grid.width + right) + 1);
}

// For each pixel, the number of others in its window that come before it. `confidence` is NaN outside the
// mask; NaN compares false either way, so that no pair with such a pixel counts.
std::vector<std::int32_t> count_predecessors(const std::vector<float>& confidence, const WindowGrid& grid) {
  std::vector<std::int32_t> counts(confidence.size());
  const std::ptrdiff_t width = grid.width, radius = grid.radius, reach = std::min(radius, width - 1);
  for (std::ptrdiff_t row = 0; row < grid.height; ++row) {
    const std::ptrdiff_t top = std::max(row - radius, std::ptrdiff_t{0});
    const std::ptrdiff_t bottom = std::min(row + radius, grid.height - std::ptrdiff_t{1});
    for (std::ptrdiff_t y = top; y <= bottom; ++y) {
      for (std::ptrdiff_t shift = -reach; shift <= reach; ++shift) {
        const std::ptrdiff_t left = std::max(-shift, std::ptrdiff_t{0});
        const std::ptrdiff_t length = width - std::abs(shift);
        const float* here = confidence.data() + row * width + left;
        const float* there = confidence.data() + y * width + left + shift;
        std::int32_t* count = counts.data() + row * width + left;
        if (there < here)  // earlier in raster order: it wins a tie
          for (std::ptrdiff_t i = 0; i < length; ++i) count[i] += there[i] >= here[i];
        else
          for (std::ptrdiff_t i = 0; i < length; ++i) count[i] += there[i] > here[i];
      }
    }
  }
  return counts;
}

}  // namespace

WindowGrid::WindowGrid(const ConfidenceMap& map, std::int64_t window_radius)
    : height(map.height), width(map.width) {
  if (window_radius < 0)
    throw std::invalid_argument("radius must be >= 0, got " + std::to_string(window_radius));
  radius = static_cast<std::int32_t>(std::min<std::int64_t>(window_radius, std::max(height, width) - 1));
}

std::vector<Pixel> confidence_order(const ConfidenceMap& map) {
  const std::vector<Key> keys = sorted_keys(map);
  std::vector<Pixel> order(keys.size());
  std::transform(keys.begin(), keys.end(), order.begin(), pixel_of);
  return order;
}

Batches confidence_batches(const ConfidenceMap& map, std::int64_t radius) {
  const WindowGrid grid(map, radius);
  const std::vector<Pixel> order = confidence_order(map);

  // In serial order, a pixel's level is one more than the deepest in its window so far; 0: not yet reached.
  std::vector<std::size_t> sizes(1);
  std::vector<std::uint32_t> level(as_index(pixel_count(map)));
  for (const Pixel pixel : order) {
    std::uint32_t deepest = 0;
    for_each_window_row(grid, pixel, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) deepest = std::max(deepest, level[i]);
    });
    level[as_index(pixel)] = deepest + 1;
    if (sizes.size() == deepest + 1) sizes.push_back(0);
    ++sizes[deepest + 1];
  }

  Batches batches{std::vector<Pixel>(order.size()), std::move(sizes)};
  std::partial_sum(batches.starts.begin(), batches.starts.end(), batches.starts.begin());
  std::vector<std::size_t> next = batches.starts;
  for (const Pixel pixel : order) batches.pixels[next[level[as_index(pixel)] - 1]++] = pixel;
  return batches;
}

ConfidenceScheduler::ConfidenceScheduler(const ConfidenceMap& map, std::int64_t radius)
    : grid_(map, radius),
      confidence_(as_index(pixel_count(map)), std::numeric_limits<float>::quiet_NaN()),
      in_hand_(confidence_.size()) {
  for_each_pixel(map, [&](Pixel pixel, float value) {
    confidence_[as_index(pixel)] = value;
    ++to_do_;
  });
  pending_ = count_predecessors(confidence_, grid_);
  std::vector<Key> ready;
  for (std::size_t i = 0; i < pending_.size(); ++i)
    if (pending_[i] == 0 && !std::isnan(confidence_[i]))
      ready.push_back(make_key(confidence_[i], static_cast<Pixel>(i)));
  ready_ = decltype(ready_)(std::greater<Key>{}, std::move(ready));
  to_hand_out_ = to_do_;
}

std::vector<Pixel> ConfidenceScheduler::pop(std::size_t max_count) {
  std::unique_lock lock(mutex_);
  news_.wait(lock, [&] { return has_news(); });
  return take(max_count);
}

std::optional<std::vector<Pixel>> ConfidenceScheduler::pop_for(std::size_t max_count,
                                                               std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  if (!news_.wait_for(lock, timeout, [&] { return has_news(); })) return std::nullopt;
  return take(max_count);
}

bool ConfidenceScheduler::has_news() const { return !ready_.empty() || to_hand_out_ == 0 || cancelled_; }

std::vector<Pixel> ConfidenceScheduler::take(std::size_t max_count) {
  if (cancelled_) return {};
  std::vector<Pixel> pixels(std::min(max_count, ready_.size()));
  for (Pixel& pixel : pixels) {
    pixel = pixel_of(ready_.top());
    ready_.pop();
    in_hand_[as_index(pixel)] = true;
  }
  to_hand_out_ -= pixels.size();
  return pixels;
}

void ConfidenceScheduler::done(const Pixel* pixels, std::size_t count) {
  const std::lock_guard lock(mutex_);
  take_back(pixels, count);
  to_do_ -= count;
  const std::size_t ready_before = ready_.size();
  std::for_each_n(pixels, count, [&](Pixel pixel) { release_successors(pixel); });
  if (ready_.size() > ready_before) news_.notify_all();  // all: who comes too late for the last sees that it was
}

void ConfidenceScheduler::take_back(const Pixel* pixels, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const Pixel pixel = pixels[i];
    if (pixel < 0 || as_index(pixel) >= in_hand_.size() || !in_hand_[as_index(pixel)]) {
      while (i-- > 0) in_hand_[as_index(pixels[i])] = true;
      throw std::invalid_argument("pixels must be handed out by pop and not yet done, got " +
                                  std::to_string(pixel));
    }
    in_hand_[as_index(pixel)] = false;
  }
}

// Counts down the whole window. A neighbour that still waits comes after this pixel, since those before it were
// done long ago; the counts of all others are 0 or less and never come to 0 again.
void ConfidenceScheduler::release_successors(Pixel pixel) {
  for_each_window_row(grid_, pixel, [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i)
      if (--pending_[i] == 0) ready_.push(make_key(confidence_[i], static_cast<Pixel>(i)));
  });
}

void ConfidenceScheduler::cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  news_.notify_all();
}

std::size_t ConfidenceScheduler::remaining() const {
  const std::lock_guard lock(mutex_);
  return to_do_;
}

// A sorted list is a heap.
DynamicOrder::DynamicOrder(const ConfidenceMap& map)
    : heap_(sorted_keys(map)), slot_(as_index(pixel_count(map)), -1) {
  for (std::size_t slot = 0; slot < heap_.size(); ++slot) place(slot, heap_[slot]);
}

bool DynamicOrder::contains(Pixel pixel) const {
  return pixel >= 0 && as_index(pixel) < slot_.size() && slot_[as_index(pixel)] >= 0;
}

Pixel DynamicOrder::pop() {
  if (heap_.empty()) throw std::out_of_range("pop from an order in which no pixel waits");
  const Pixel first = pixel_of(heap_.front());
  const Key last = heap_.back();
  heap_.pop_back();
  if (!heap_.empty()) sift_down(0, last);
  slot_[as_index(first)] = -1;
  return first;
}

void DynamicOrder::update(const Pixel* pixels, const float* priorities, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    if (!contains(pixels[i]))
      throw std::invalid_argument("pixels must be waiting for pop, got " + std::to_string(pixels[i]));
    if (std::isnan(priorities[i]))
      throw std::invalid_argument("priorities must not be NaN, got NaN at index " + std::to_string(i));
  }
  for (std::size_t i = 0; i < count; ++i) {
    const Key key = make_key(priorities[i], pixels[i]);
    const auto slot = static_cast<std::size_t>(slot_[as_index(pixels[i])]);
    if (key < heap_[slot])
      sift_up(slot, key);
    else
      sift_down(slot, key);
  }
}

void DynamicOrder::place(std::size_t slot, Key key) {
  heap_[slot] = key;
  slot_[as_index(pixel_of(key))] = static_cast<std::int32_t>(slot);
}

void DynamicOrder::sift_up(std::size_t slot, Key key) {
  while (slot > 0) {
    const std::size_t parent = (slot - 1) / 4;
    if (heap_[parent] < key) break;
    place(slot, heap_[parent]);
    slot = parent;
  }
  place(slot, key);
}

void DynamicOrder::sift_down(std::size_t slot, Key key) {
  while (4 * slot + 1 < heap_.size()) {
    const std::size_t last = std::min(4 * slot + 5, heap_.size());
    std::size_t least = 4 * slot + 1;
    for (std::size_t child = least + 1; child < last; ++child)
      if (heap_[child] < heap_[least]) least = child;
    if (key < heap_[least]) break;
    place(slot, heap_[least]);
    slot = least;
  }
  place(slot, key);
}

std::vector<Pixel> dynamic_order(const ConfidenceMap& means, const float* confidence, std::int64_t radius) {
  const WindowGrid grid(means, radius);
  std::vector<float> priority(as_index(pixel_count(means)));
  std::vector<std::int32_t> neighbours(priority.size());  // of the mask, the pixel itself included
  for_each_pixel(means, [&](Pixel pixel, float mean) {
    priority[as_index(pixel)] = mean;
    if (!std::isfinite(mean) || !std::isfinite(confidence[pixel]))
      throw std::invalid_argument("means and confidence must be finite inside the mask, but one is not at raster index " +
                                  std::to_string(pixel));
    for_each_window_row(grid, pixel, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) ++neighbours[i];
    });
  });
  DynamicOrder waiting(means);
  std::vector<Pixel> order;
  order.reserve(waiting.size());
  while (waiting.size() > 0) {
    const Pixel pixel = waiting.pop();
    order.push_back(pixel);
    const float gain = 1 - confidence[pixel];
    for_each_window_row(grid, pixel, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) {
        const auto neighbour = static_cast<Pixel>(i);
        if (!waiting.contains(neighbour)) continue;
        priority[i] += gain / static_cast<float>(neighbours[i]);
        waiting.update(&neighbour, &priority[i], 1);
      }
    });
  }
  return order;
}

}  // namespace fastrefocus
