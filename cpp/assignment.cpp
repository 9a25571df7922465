#include "assignment.hpp"

#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace fastrefocus {
namespace {

// Pixels that one thread takes at a time; their searches may be done side by side.
constexpr std::size_t kTogether = 32;

std::int64_t squared_distance(Colour a, Colour b) {
  std::int64_t sum = 0;
  for (int shift = 0; shift < 24; shift += 8) {
    const auto difference = static_cast<std::int32_t>(a >> shift & 255) - static_cast<std::int32_t>(b >> shift & 255);
    sum += difference * difference;
  }
  return sum;
}

// The search for one pixel's best candidate.
class TextureSearch : public Aim {
 public:
  explicit TextureSearch(const AssignmentTask& task)
      : Aim(task.contexts->dims()),
        task_(task),
        values_(static_cast<std::size_t>(task.contexts->dims())),
        known_(values_.size()) {}

  void begin(Pixel pixel) {
    pixel_ = pixel;
    const std::ptrdiff_t first = std::ptrdiff_t{task_.slots[pixel]} * task_.candidates;
    colours_ = task_.colours + first;
    distances_ = task_.distances + first;
    score_ = std::numeric_limits<std::int64_t>::max();
    candidate_ = 0;
    match_ = -1;
    limit_ = kFar;
    if (read_neighbourhood())
      task_.contexts->set(*this, values_.data());
    else
      task_.contexts->set(*this, values_.data(), known_.data());
    guess(first);
  }

  std::int32_t limit() const { return limit_; }

  void offer(const Neighbour& neighbour) {
    for (std::int32_t i = 0; i < task_.candidates; ++i) {
      const std::int64_t image = task_.image_weight * distances_[i];
      if (image > score_) break;
      const std::int64_t score =
          image + task_.texture_weight * (neighbour.distance + squared_distance(neighbour.colour, colours_[i]));
      if (score < score_ || (score == score_ && i < candidate_)) {
        score_ = score;
        candidate_ = i;
        match_ = neighbour.patch;
      }
    }
    update_limit();
  }

  void finish() const {
    const std::int32_t slot = task_.slots[pixel_];
    task_.chosen[slot] = candidate_;
    task_.matches[slot] = match_;
    for (std::int32_t i = 0; i < task_.channels; ++i)
      task_.picture[std::ptrdiff_t{pixel_} * task_.channels + i] =
          static_cast<std::uint8_t>(colours_[candidate_] >> (8 * i) & 255);
  }

 private:
  static constexpr std::int32_t kFar = std::numeric_limits<std::int32_t>::max();

  // The largest distance of a neighbourhood with which some candidate may win. The first candidate has the smallest
  // distance of all; where it leads, a tie is lost.
  void update_limit() {
    const std::int64_t room = score_ - task_.image_weight * distances_[0] - (candidate_ == 0);
    limit_ = room < 0 ? -1 : static_cast<std::int32_t>(std::min<std::int64_t>(room / task_.texture_weight, kFar));
  }

  // Reads the pixels around the pixel, and says whether all of them count.
  bool read_neighbourhood() {
    const std::int32_t radius = task_.patch_size / 2, row = pixel_ / task_.width, column = pixel_ % task_.width;
    bool whole = true;
    std::size_t place = 0;
    for (std::int32_t y = row - radius; y <= row + radius; ++y)
      for (std::int32_t x = column - radius; x <= column + radius; ++x) {
        if (y == row && x == column) continue;
        const bool counts = y >= 0 && y < task_.height && x >= 0 && x < task_.width && known(y * task_.width + x);
        whole = whole && counts;
        const std::ptrdiff_t start = (std::ptrdiff_t{y} * task_.width + x) * task_.channels;
        for (std::int32_t i = 0; i < task_.channels; ++i, ++place) {
          values_[place] = counts ? task_.picture[start + i] : std::uint8_t{0};
          known_[place] = counts ? std::int16_t{-1} : std::int16_t{0};
        }
      }
    return whole;
  }

  bool known(Pixel neighbour) const {
    const std::int32_t slot = task_.slots[neighbour];
    return slot >= 0 && (!task_.ranks || task_.ranks[slot] < task_.ranks[task_.slots[pixel_]]);
  }

  // What the neighbours were found to look like, shifted; then the candidates' own patches.
  void guess(std::ptrdiff_t first) {
    const PatchTree& tree = *task_.contexts;
    const std::int32_t row = pixel_ / task_.width, column = pixel_ % task_.width;
    const auto match = [&](bool inside, Pixel neighbour) {
      return inside && task_.slots[neighbour] >= 0 ? task_.matches[task_.slots[neighbour]] : -1;
    };
    if (const auto left = match(column > 0, pixel_ - 1); left >= 0) tree.guess(*this, left + 1);
    if (const auto right = match(column + 1 < task_.width, pixel_ + 1); right >= 0) tree.guess(*this, right - 1);
    if (const auto up = match(row > 0, pixel_ - task_.width); up >= 0) tree.guess(*this, task_.below[up]);
    if (const auto down = match(row + 1 < task_.height, pixel_ + task_.width); down >= 0)
      tree.guess(*this, task_.above[down]);
    for (std::int32_t i = 0; i < task_.candidates && task_.image_weight * distances_[i] <= score_; ++i)
      tree.guess(*this, task_.patches[first + i]);
  }

  const AssignmentTask& task_;
  std::vector<std::uint8_t> values_;
  std::vector<std::int16_t> known_;
  Pixel pixel_ = 0;
  const Colour* colours_ = nullptr;
  const std::int32_t* distances_ = nullptr;
  std::int64_t score_ = 0;
  std::int32_t candidate_ = 0;
  std::int32_t match_ = -1;  // of the library
  std::int32_t limit_ = kFar;
};

void check(const AssignmentTask& task, const ConfidenceScheduler& scheduler) {
  if (scheduler.height() != task.height || scheduler.width() != task.width)
    throw std::invalid_argument("scheduler must have the slots' shape");
  // Neighbours share their guesses, so that a window of one pixel is too small.
  const std::int32_t radius = std::min(std::max(task.patch_size / 2, 1), std::max(task.height, task.width) - 1);
  if (scheduler.radius() < radius)
    throw std::invalid_argument("scheduler must have a radius of at least " + std::to_string(radius));
  for (Pixel pixel = 0; pixel < task.height * task.width; ++pixel)
    if (scheduler.schedules(pixel) && task.slots[pixel] < 0)
      throw std::invalid_argument("scheduler must schedule pixels with slots alone");
}

}  // namespace

void assign_pixels(const AssignmentTask& task, ConfidenceScheduler& scheduler) {
  check(task, scheduler);
  std::vector<TextureSearch> searches(kTogether, TextureSearch(task));
  std::vector<TextureSearch*> put_off;
  for (;;) {
    // What is ready at the same time does not depend on one another.
    const std::vector<Pixel> pixels = scheduler.pop(kTogether);
    if (pixels.empty()) return;
    put_off.clear();
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      searches[i].begin(pixels[i]);
      if (!task.contexts->find(searches[i])) put_off.push_back(&searches[i]);
    }
    task.contexts->find_together(put_off);
    for (std::size_t i = 0; i < pixels.size(); ++i) searches[i].finish();
    scheduler.done(pixels.data(), pixels.size());
  }
}

}  // namespace fastrefocus
