#include "layers.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "push_pull.hpp"

namespace fastrefocus {

void count_neighbours(const std::uint8_t* pixels, std::int32_t width, std::int32_t first, std::int32_t last,
                      std::int32_t bins, std::int64_t* counts) {
  const auto count = [&](std::uint8_t a, std::uint8_t b) {
    if (a != b) ++counts[std::ptrdiff_t{std::min(a, b)} * bins + std::max(a, b)];
  };
  for (std::int32_t y = first; y < last; ++y) {
    const std::uint8_t* row = pixels + std::ptrdiff_t{y} * width;
    for (std::int32_t x = 0; x < width; ++x) {
      if (x > 0) count(row[x], row[x - 1]);
      if (y > 0) count(row[x], row[x - width]);
    }
  }
}

void survey_groups(const std::uint8_t* labels, std::int32_t height, std::int32_t width, std::int32_t groups,
                   std::int32_t block, std::int32_t* boxes, std::uint8_t* blocks) {
  const std::ptrdiff_t down = (height + block - 1) / block, across = (width + block - 1) / block;
  std::fill_n(boxes, std::ptrdiff_t{4} * groups, -1);
  std::fill_n(blocks, groups * down * across, std::uint8_t{0});
  for (std::int32_t y = 0; y < height; ++y)
    for (std::int32_t x = 0; x < width;) {
      const std::uint8_t label = labels[std::ptrdiff_t{y} * width + x];
      const std::int32_t first = x, stop = std::min(width, (x / block + 1) * block);
      while (x < stop && labels[std::ptrdiff_t{y} * width + x] == label) ++x;
      blocks[(label * down + y / block) * across + first / block] = 1;
      std::int32_t* box = boxes + std::ptrdiff_t{4} * label;
      if (box[0] < 0) box[0] = y;
      box[1] = y;
      if (box[2] < 0 || first < box[2]) box[2] = first;
      box[3] = std::max(box[3], x - 1);
    }
}

// A code is 256 times a distance, plus a label: the least of several is the nearest, and of equally near ones the
// farthest away. A pass along each axis and back gives distances along the axes, added up.
void peel_labels(const std::uint8_t* labels, std::uint8_t label, std::int32_t height, std::int32_t width,
                 std::uint8_t* peeled) {
  constexpr std::int32_t kStep = 256, kNone = 1 << 30;
  constexpr int kTogether = 4;  // rows along which passes go side by side, as each step waits for the one before
  const auto columns = static_cast<std::size_t>(width);
  std::vector<std::int32_t> codes(static_cast<std::size_t>(height + kTogether - 1) * columns, kNone);
  const auto pixels = static_cast<std::size_t>(height) * columns;
  for (std::size_t i = 0; i < pixels; ++i) codes[i] = labels[i] < label ? labels[i] : kNone;
  const auto row_at = [&](std::int32_t y) { return codes.data() + static_cast<std::size_t>(y) * columns; };
  const auto pass = [&](std::int32_t* row, const std::int32_t* before) {
    for (std::size_t x = 0; x < columns; ++x) row[x] = std::min(row[x], before[x] + kStep);
  };
  for (std::int32_t y = 1; y < height; ++y) pass(row_at(y), row_at(y - 1));
  for (std::int32_t y = height - 1; y-- > 0;) pass(row_at(y), row_at(y + 1));
  for (std::int32_t y = 0; y < height; y += kTogether) {
    std::int32_t* rows = row_at(y);
    std::int32_t code[kTogether] = {kNone, kNone, kNone, kNone};
    const auto step = [&](std::size_t x) {
      for (std::size_t i = 0; i < kTogether; ++i)
        rows[i * columns + x] = code[i] = std::min(rows[i * columns + x], code[i] + kStep);
    };
    for (std::size_t x = 0; x < columns; ++x) step(x);
    for (std::size_t x = columns; x-- > 0;) step(x);
  }
  for (std::size_t i = 0; i < pixels; ++i) peeled[i] = static_cast<std::uint8_t>(codes[i] & (kStep - 1));
}

namespace {

// What a pixel is to a layer.
enum Part : std::uint8_t {
  kAway = 0,     // nothing
  kBeyond = 1,   // outside the outline
  kHidden = 2,   // covered by nearer groups
  kVisible = 4,  // shown by the photo
  kUnsure = 8,   // visible, but the light is not the layer's alone, or not known
  kMixed = 16,   // on the outline, visible or beyond: holds light of the layer and of what is behind
};

// How much is known of the layer's light at a pixel: what is unsure counts where nothing else is near.
std::uint8_t known_weight(std::uint8_t part) {
  if (!(part & kVisible)) return 0;
  return part & kUnsure ? 2 : 255;
}

// Doubt in the share a that a pixel's colours tell, against that of its side of the outline: a little always, and more
// the less the colours fit.
constexpr float kLeastDoubt = 1e-3f, kErrorDoubt = 16;

// Parts a pixel's light c = a F + (1 - a) B, given F and B: returns a in steps of the cover, and a F by the way that it
// adds up to c where that is possible. The a returned minimises |c - a F - (1 - a) B|^2 + doubt (a - inside)^2.
std::uint8_t divide_light(const float* light, const float* behind, float* own, const LabelledPhoto& photo, bool inside) {
  float along = 0, across = 0, whole = 0;
  for (std::int32_t c = 0; c < photo.channels; ++c) {
    const float difference = own[c] - behind[c], rest = light[c] - behind[c];
    along += difference * difference;
    across += rest * difference;
    whole += rest * rest;
  }
  const float fit = std::clamp(across / std::max(along, 1e-12f), 0.0f, 1.0f);
  const float error = std::max(whole - fit * (2 * across - fit * along), 0.0f);
  const float doubt = kLeastDoubt + kErrorDoubt * error;
  constexpr float kSteps = kMember - kOutside;
  const float share = std::clamp((across + (inside ? doubt : 0)) / (along + doubt), 0.0f, 1.0f);
  const float step = std::floor(share * kSteps + 0.5f);
  const float alpha = step / kSteps;
  for (std::int32_t c = 0; c < photo.channels; ++c) {
    // Much more light than either surface has, or much less, tells of a highlight behind that B is wrong about.
    const float most = std::min(photo.high, 2 * std::max(own[c], behind[c]) + 0.1f);
    const float least = std::max(photo.low, std::min(own[c], behind[c]) / 2 - 0.05f);
    own[c] = std::clamp(light[c] - (1 - alpha) * behind[c], alpha * least, alpha * most);
  }
  return static_cast<std::uint8_t>(kOutside + static_cast<int>(step));
}

// C channels of light.
template <int C>
class Maker : public LayerMaker {
 public:
  Maker(const LabelledPhoto& photo, const LayerPlan& plan)
      : photo_(photo),
        plan_(plan),
        parts_(static_cast<std::size_t>(plan.height) * static_cast<std::size_t>(plan.width)),
        known_(parts_.size()),
        push_pull_(plan.values, known_.data(), plan.height, plan.width) {}

  void look(std::int32_t first, std::int32_t last) override {
    for (std::int32_t y = first; y < last; ++y)
      for (std::int32_t x = 0; x < plan_.width; ++x) {
        const std::ptrdiff_t i = index(y, x), j = photo_index(y, x);
        const std::uint8_t part = part_at(y + plan_.top, x + plan_.left);
        parts_[static_cast<std::size_t>(i)] = part;
        known_[static_cast<std::size_t>(i)] = known_weight(part);
        if (part == kAway) continue;
        float* value = plan_.values + i * (C + 1);
        std::copy_n(photo_.light + j * C, C, value);
        value[C] = photo_.radius[j];
      }
  }

  void halve(std::int32_t first, std::int32_t last) override { push_pull_.halve(first, last); }
  void quarter(std::int32_t first, std::int32_t last) override { push_pull_.quarter(first, last); }
  void fill_quarter() override { push_pull_.fill_quarter(); }
  void fill_half(std::int32_t first, std::int32_t last) override { push_pull_.fill_half(first, last); }

  void finish(std::int32_t first, std::int32_t last) override {
    for (std::int32_t y = first; y < last; ++y)
      for (std::int32_t x = 0; x < plan_.width; ++x) finish_pixel(y, x);
  }

 private:
  std::ptrdiff_t index(std::int32_t y, std::int32_t x) const { return std::ptrdiff_t{y} * plan_.width + x; }
  std::ptrdiff_t photo_index(std::int32_t y, std::int32_t x) const {
    return std::ptrdiff_t{y + plan_.top} * photo_.width + x + plan_.left;
  }

  // y, x: in the photo.
  std::uint8_t part_at(std::int32_t y, std::int32_t x) const {
    const std::ptrdiff_t i = std::ptrdiff_t{y} * photo_.width + x;
    const std::uint8_t own = photo_.labels[i];
    const bool visible = own == plan_.label;
    std::uint8_t part = kVisible;
    if (!visible) {
      const std::ptrdiff_t block = std::ptrdiff_t{y / plan_.block} * plan_.blocks_across + x / plan_.block;
      part = !plan_.blocks[block] ? kAway : plan_.behind[i] == plan_.label ? kHidden : kBeyond;
    }
    if (own > plan_.label) return part;
    if (in_margin(y, x)) return visible ? kVisible | kUnsure : part;
    const auto meet = [&](std::ptrdiff_t neighbour) {
      const std::uint8_t other = photo_.labels[neighbour];
      if (other == own || !(std::abs(photo_.radius[neighbour] - photo_.radius[i]) > photo_.jump)) return;
      if (visible) part |= kUnsure;
      if (visible ? other < own : other == plan_.label) part |= kMixed;
    };
    if (x > 0) meet(i - 1);
    if (x + 1 < photo_.width) meet(i + 1);
    if (y > 0) meet(i - photo_.width);
    if (y + 1 < photo_.height) meet(i + photo_.width);
    return part;
  }

  bool in_margin(std::int32_t y, std::int32_t x) const {
    return std::min({y, x, photo_.height - 1 - y, photo_.width - 1 - x}) < photo_.margin;
  }

  void finish_pixel(std::int32_t y, std::int32_t x) {
    const std::ptrdiff_t i = index(y, x), j = photo_index(y, x);
    const std::uint8_t part = parts_[static_cast<std::size_t>(i)];
    float* value = plan_.values + i * (C + 1);
    float* behind = photo_.plate + j * C;
    std::uint8_t& cover = plan_.cover[i];
    if (part == kVisible) {
      cover = kMember;
      return;
    }
    if (part == kAway) {
      cover = kNothing;
      return;
    }
    push_pull_.sample(y, x, value);
    if (part & kVisible) value[C] = photo_.radius[j];
    if (part & kMixed) {
      float filled[C];
      std::copy_n(value, C, filled);
      cover = divide_light(photo_.light + j * C, behind, value, photo_, (part & kVisible) != 0);
      if (part & kVisible) std::copy_n(filled, C, behind);
    } else if (part & kBeyond) {
      cover = kOutside;
      std::fill_n(value, C, 0.0f);
    } else {
      cover = kMember;
      std::copy_n(value, C, behind);
    }
  }

  const LabelledPhoto& photo_;
  const LayerPlan plan_;
  std::vector<std::uint8_t> parts_, known_;
  PushPull<C + 1> push_pull_;
};

}  // namespace

std::unique_ptr<LayerMaker> make_layer_maker(const LabelledPhoto& photo, const LayerPlan& plan) {
  if (photo.channels == 3) return std::make_unique<Maker<3>>(photo, plan);
  return std::make_unique<Maker<1>>(photo, plan);
}

}  // namespace fastrefocus
