// The order in which example-based synthesis assigns pixels, most confident first (paper B, section 2.3),
// and what of that order may run side by side.
//
// A pixel is rebuilt from the (2 radius + 1)^2 window around it, so it depends on the more confident pixels
// inside that window and on nothing else. Of two pixels in one window exactly one depends on the other: any
// order that keeps to the dependencies gives the very picture of the serial order.
#pragma once

#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <queue>
#include <vector>

namespace fastrefocus {

// Raster index of a pixel: row * width + column.
using Pixel = std::int32_t;

// A pixel and its confidence in one number; smaller keys come first in the serial order.
using Key = std::uint64_t;

// A borrowed (height, width) map, height * width <= 2^31 - 1. Pixels outside the mask are never scheduled,
// nobody depends on them, and their values are not looked at. Elsewhere infinity is fine and NaN is refused.
struct ConfidenceMap {
  const float* values;
  const bool* mask;  // nullptr: every pixel
  std::int32_t height;
  std::int32_t width;
};

// A map's shape and the window's radius.
struct WindowGrid {
  // Throws std::invalid_argument if the radius is negative.
  WindowGrid(const ConfidenceMap& map, std::int64_t window_radius);

  std::int32_t height;
  std::int32_t width;
  std::int32_t radius;  // no larger than the map: beyond it nothing changes
};

// The serial order: highest confidence first, ties by raster index.
// Throws std::invalid_argument if a confidence is NaN, as do all that follow.
std::vector<Pixel> confidence_order(const ConfidenceMap& map);

// Batch i is pixels[starts[i]] up to, not including, pixels[starts[i + 1]].
struct Batches {
  std::vector<Pixel> pixels;
  std::vector<std::size_t> starts;
};

// The fewest batches such that all that a pixel depends on stands in earlier ones; serial order in each.
Batches confidence_batches(const ConfidenceMap& map, std::int64_t radius);

// Hands out pixels whose dependencies are done, to any number of threads. Unlike batches it has no barriers:
// a slow thread holds up only the pixels near its own.
class ConfidenceScheduler {
 public:
  ConfidenceScheduler(const ConfidenceMap& map, std::int64_t radius);

  // Takes 1 to max_count (>= 1) of the ready pixels, most confident first, and waits while none is ready.
  // Empty: every pixel has been handed out, or the run is cancelled.
  std::vector<Pixel> pop(std::size_t max_count);

  // The same, but gives up after a time: std::nullopt.
  std::optional<std::vector<Pixel>> pop_for(std::size_t max_count, std::chrono::milliseconds timeout);

  // Says that pixels handed out are assigned. Throws std::invalid_argument, with nothing changed, if one of
  // them is not in hand.
  void done(const Pixel* pixels, std::size_t count);

  // Ends the run, for example because a worker failed: wakes all who wait, and pop gives nothing more.
  void cancel();

  // The number of pixels not yet done.
  std::size_t remaining() const;

  std::int32_t height() const { return grid_.height; }
  std::int32_t width() const { return grid_.width; }
  std::int32_t radius() const { return grid_.radius; }

  // Whether a pixel is scheduled at all.
  bool schedules(Pixel pixel) const { return !std::isnan(confidence_[static_cast<std::size_t>(pixel)]); }

 private:
  bool has_news() const;
  std::vector<Pixel> take(std::size_t max_count);
  void take_back(const Pixel* pixels, std::size_t count);
  void release_successors(Pixel pixel);

  const WindowGrid grid_;
  std::vector<float> confidence_;      // NaN outside the mask
  std::vector<std::int32_t> pending_;  // dependencies not yet done; 0 or less: the pixel does not wait
  mutable std::mutex mutex_;            // guards all that follows, and pending_
  std::condition_variable news_;
  std::priority_queue<Key, std::vector<Key>, std::greater<Key>> ready_;
  std::vector<bool> in_hand_;
  std::size_t to_hand_out_ = 0;
  std::size_t to_do_ = 0;
  bool cancelled_ = false;
};

// The serial order where a pixel's priority changes as its neighbours are assigned: a priority queue (an
// indexed 4-ary heap) with update. For one thread at a time.
class DynamicOrder {
 public:
  explicit DynamicOrder(const ConfidenceMap& map);

  // The number of pixels that wait.
  std::size_t size() const { return heap_.size(); }

  // Whether a pixel waits: inside the mask and not yet taken.
  bool contains(Pixel pixel) const;

  // Takes the pixel of highest priority, ties by raster index. Throws std::out_of_range if none is left.
  Pixel pop();

  // Gives pixels new priorities. Throws std::invalid_argument, with nothing changed, if a pixel does not wait
  // or a priority is NaN.
  void update(const Pixel* pixels, const float* priorities, std::size_t count);

 private:
  void place(std::size_t slot, Key key);
  void sift_up(std::size_t slot, Key key);
  void sift_down(std::size_t slot, Key key);

  std::vector<Key> heap_;           // the children of slot s are 4 s + 1 to 4 s + 4
  std::vector<std::int32_t> slot_;  // of each pixel in the heap; -1: it does not wait
};

// The serial order where a pixel counts as certain once it is assigned: of the pixels that wait, first the one
// whose window's mean confidence is highest, ties by raster index. `means` holds the means to start with, `confidence`,
// of the same shape, what each pixel adds to them: when it is assigned, each mean gains its share of 1 - confidence.
// All are finite.
std::vector<Pixel> dynamic_order(const ConfidenceMap& means, const float* confidence, std::int64_t radius);

}  // namespace fastrefocus
