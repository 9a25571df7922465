#include "scatter.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>

namespace fastrefocus {
namespace {

// Coverage below this is rounding.
constexpr float kLeastCoverage = 1e-5f;

// How the pixels along an axis are joined into those of a level. These lie symmetrically in the picture, whose middle is
// between two of them; so that one of an odd number of pixels falls to two of them, half to each.
class Cells {
 public:
  Cells(std::int32_t length, std::int32_t level)
      : level_(level), size_(1 << level), count_(level_size(length, level)), twice_before_(count_ * size_ - length) {}

  std::int32_t count() const { return count_; }
  // The pixels first(cell)..end(cell) - 1 belong to a cell at least in part; some may lie outside the picture.
  std::int32_t first(std::int32_t cell) const { return (2 * size_ * cell - twice_before_) >> 1; }
  std::int32_t end(std::int32_t cell) const { return (2 * size_ * (cell + 1) - twice_before_ + 1) >> 1; }
  // The first cell of a pixel, and whether the next one has the other half of it.
  std::int32_t cell(std::int32_t pixel) const { return (2 * pixel + twice_before_) >> (level_ + 1); }
  bool is_split(std::int32_t pixel) const { return ((2 * pixel + twice_before_ + 2) & (2 * size_ - 1)) == 1; }
  // Of each cell that has a part of the pixel.
  float share(std::int32_t pixel) const { return is_split(pixel) ? 0.5f : 1.0f; }
  // The middle of a cell, in pixels from the picture's first edge.
  float middle(std::int32_t cell) const {
    return (static_cast<float>(cell) + 0.5f) * static_cast<float>(size_) - 0.5f * static_cast<float>(twice_before_);
  }
  // The middle of a pixel, in cells from the middle of the first cell.
  float place(std::int32_t pixel) const {
    return (static_cast<float>(pixel) + 0.5f * static_cast<float>(twice_before_ + 1)) / static_cast<float>(size_) - 0.5f;
  }

 private:
  std::int32_t level_, size_, count_, twice_before_;
};

// Adds a run of n neighbouring pixels, M floats each, with the same kernel.
template <int M>
void add_run(const Difference* first, const Difference* end, const float* __restrict amounts, std::int32_t n,
             float* centre) {
  for (const Difference* d = first; d != end; ++d) {
    float* __restrict sums = centre + std::ptrdiff_t{d->offset} * M;
    const float weight = d->weight;
    std::ptrdiff_t i = 0;
    for (; i + 16 <= std::ptrdiff_t{n} * M; i += 16)
      for (std::ptrdiff_t j = 0; j < 16; ++j) sums[i + j] += weight * amounts[i + j];
    for (; i < std::ptrdiff_t{n} * M; i += M)
      for (std::ptrdiff_t j = 0; j < M; ++j) sums[i + j] += weight * amounts[i + j];
  }
}

// The scatter of one level; N floats a pixel.
template <int N>
class Level {
 public:
  Level(const Scatter& scatter, std::int32_t level)
      : layer_(scatter.layer),
        kernels_(*scatter.kernels),
        field_(scatter.field),
        offset_(scatter.offset),
        level_(level),
        size_(1 << level),
        rows_(layer_.height, level),
        columns_(layer_.width, level),
        width_(columns_.count()),
        least_(level == 0 ? -1.0f : std::ldexp(scatter.threshold, level - 1)),
        most_(std::ldexp(scatter.threshold, level)),
        margin_(kernels_.margin()),
        stride_(kernels_.stride()) {
    share_ = 1 / (static_cast<float>(size_) * static_cast<float>(size_));
    const auto width = static_cast<std::size_t>(width_);
    light_.resize(width * N);
    beyond_.resize(width);
    radius_.resize(width);
    // Joining pixels and enlarging the level's picture blur, too: by (s^2 - 1) / 12 + s^2 / 12 + s^2 / 6 + 1 / 12
    // pixels^2 along each axis where a kernel at full size has 1 / 12. The radius makes up for it.
    const float s2 = static_cast<float>(size_) * static_cast<float>(size_);
    surplus_ = level == 0 ? 0.0f : (1.0f / 3 - 1 / (12 * s2)) / scatter.second_moment;
  }

  void run(std::int32_t first, std::int32_t last, float* members, float* outside) {
    first_ = first;
    last_ = last;
    const auto pixels = static_cast<std::size_t>(last - first) * static_cast<std::size_t>(stride_);
    members_.assign(pixels * N, 0.0f);
    outside_.assign(pixels, 0.0f);
    has_members_.assign(static_cast<std::size_t>(last - first), 0);
    has_outside_.assign(static_cast<std::size_t>(last - first), 0);
    const std::int32_t height = level_size(layer_.height, level_);
    for (std::int32_t y = std::max(first - margin_, 0); y < std::min(last + margin_, height); ++y)
      if (join(y)) scatter(y);
    for (std::int32_t y = 0; y < last - first; ++y) {
      const auto row = static_cast<std::size_t>(y);
      accumulate<N>(has_members_[row], members_.data() + std::ptrdiff_t{y} * stride_ * N,
                    members + std::ptrdiff_t{y} * width_ * N);
      accumulate<1>(has_outside_[row], outside_.data() + std::ptrdiff_t{y} * stride_,
                    outside + std::ptrdiff_t{y} * width_);
    }
  }

 private:
  // Row y of the level: what each of its pixels scatters. Pixels of the layer whose radius is of this level are joined.
  // False if there are none.
  bool join(std::int32_t y) {
    if (joined_) {  // else they still are
      std::fill(light_.begin(), light_.end(), 0.0f);
      std::fill(beyond_.begin(), beyond_.end(), 0.0f);
      std::fill(radius_.begin(), radius_.end(), 0.0);
      joined_ = false;
    }
    const std::int32_t top = std::max(rows_.first(y), 0), bottom = std::min(rows_.end(y), layer_.height);
    for (std::int32_t row = top; row < bottom; ++row)
      for (std::int32_t column = 0; column < layer_.width; ++column) {
        const std::ptrdiff_t i = std::ptrdiff_t{row} * layer_.width + column;
        const float* values = layer_.values + i * N;
        const float magnitude = std::abs(values[N - 1] + offset_);
        if (layer_.cover[i] == kNothing || magnitude <= least_ || magnitude > most_) continue;
        joined_ = true;
        const float share = share_ * rows_.share(row);
        const std::int32_t x = columns_.cell(column);
        if (columns_.is_split(column)) {
          add_pixel(x, values, layer_.cover[i], 0.5f * share);
          add_pixel(x + 1, values, layer_.cover[i], 0.5f * share);
        } else {
          add_pixel(x, values, layer_.cover[i], share);
        }
      }
    return joined_;
  }

  void add_pixel(std::int32_t cell, const float* values, std::uint8_t cover, float share) {
    const float alpha = static_cast<float>(cover - kOutside) * (1.0f / (kMember - kOutside));
    const auto x = static_cast<std::size_t>(cell);
    for (std::size_t c = 0; c < N - 1; ++c) light_[x * N + c] += share * values[c];
    light_[x * N + N - 1] += share * alpha;
    beyond_[x] += share * (1 - alpha);
    radius_[x] += static_cast<double>(share * (values[N - 1] + offset_));
  }

  // Scatters row y, pixels with the same kernel at once.
  void scatter(std::int32_t y) {
    Kind run = kind(y, 0);
    std::int32_t start = 0;
    for (std::int32_t x = 1; x < width_; ++x) {
      const Kind next = kind(y, x);
      if (next == run) continue;
      scatter_run(run, y, start, x);
      run = next;
      start = x;
    }
    scatter_run(run, y, start, width_);
  }

  struct Kind {
    std::int32_t shape, step;  // shape -1: scatters nothing
    bool member, outside;
    bool operator==(const Kind& other) const {
      return shape == other.shape && step == other.step && member == other.member && outside == other.outside;
    }
  };

  Kind kind(std::int32_t y, std::int32_t x) const {
    const auto i = static_cast<std::size_t>(x);
    const float coverage = light_[i * N + N - 1] + beyond_[i];
    if (coverage == 0) return {-1, 0, false, false};
    float radius = std::abs(static_cast<float>(radius_[i]));
    if (level_ > 0) {
      radius /= coverage * static_cast<float>(size_);
      radius = std::sqrt(std::max(radius * radius - surplus_, 0.0f));
    }
    return {shape(y, x, static_cast<float>(radius_[i])), kernels_.step(std::min(radius, kernels_.max_radius())),
            light_[i * N + N - 1] > 0, beyond_[i] > 0};
  }

  // Scatters the pixels first..last - 1 of row y.
  void scatter_run(const Kind& run, std::int32_t y, std::int32_t first, std::int32_t last) {
    if (run.shape < 0) return;
    const ApertureKernels::Kernel kernel = kernels_.at(run.shape, run.step);
    const std::int32_t top = std::max(first_ - y, -kernel.reach()), bottom = std::min(last_ - 1 - y, kernel.reach());
    if (top > bottom) return;
    const std::ptrdiff_t centre = std::ptrdiff_t{y - first_} * stride_ + margin_ + first;
    const auto i = static_cast<std::size_t>(first);
    const Difference *begin = kernel.begin(top), *end = kernel.end(bottom);
    if (run.member) {
      add_run<N>(begin, end, &light_[i * N], last - first, members_.data() + centre * N);
      mark(has_members_, y + top, y + bottom);
    }
    if (run.outside) {
      add_run<1>(begin, end, &beyond_[i], last - first, outside_.data() + centre);
      mark(has_outside_, y + top, y + bottom);
    }
  }

  // The shape at a pixel of the level.
  std::int32_t shape(std::int32_t y, std::int32_t x, float radius) const {
    const std::int32_t turned = radius > 0;
    if (field_.cells == 1) return turned;
    const auto cell = [&](float middle, std::int32_t length) {
      // From the picture's middle, so that of cells on either side of it the same are alike.
      const float place = (middle - 0.5f * static_cast<float>(length)) * static_cast<float>(field_.cells) / static_cast<float>(length);
      return std::clamp(static_cast<std::int32_t>(std::lround(place)) + field_.cells / 2, 0, field_.cells - 1);
    };
    const float middle_y = rows_.middle(y) + static_cast<float>(field_.top);
    const float middle_x = columns_.middle(x) + static_cast<float>(field_.left);
    return 2 * (cell(middle_y, field_.height) * field_.cells + cell(middle_x, field_.width)) + turned;
  }

  void mark(std::vector<std::uint8_t>& rows, std::int32_t first, std::int32_t last) const {
    std::fill(rows.begin() + (first - first_), rows.begin() + (last - first_) + 1, std::uint8_t{1});
  }

  // The running sum of a row of differences, in double so that rounding does not add up along the row.
  template <int M>
  void accumulate(bool any, const float* differences, float* sums) const {
    if (!any) {
      std::fill_n(sums, std::ptrdiff_t{width_} * M, 0.0f);
      return;
    }
    double running[M] = {};
    for (std::int32_t x = 0; x < margin_; ++x)
      for (int c = 0; c < M; ++c) running[c] += static_cast<double>(differences[std::ptrdiff_t{x} * M + c]);
    differences += std::ptrdiff_t{margin_} * M;
    for (std::int32_t x = 0; x < width_; ++x)
      for (int c = 0; c < M; ++c) {
        running[c] += static_cast<double>(differences[std::ptrdiff_t{x} * M + c]);
        sums[std::ptrdiff_t{x} * M + c] = static_cast<float>(running[c]);
      }
  }

  const Layer& layer_;
  const ApertureKernels& kernels_;
  const Field& field_;
  const float offset_;
  const std::int32_t level_, size_;
  const Cells rows_, columns_;
  const std::int32_t width_;
  const float least_, most_;
  const std::int32_t margin_, stride_;
  float surplus_ = 0, share_ = 1;
  std::int32_t first_ = 0, last_ = 0;
  bool joined_ = false;
  std::vector<float> members_, outside_;
  std::vector<std::uint8_t> has_members_, has_outside_;  // whether anything was added to a row
  std::vector<float> light_, beyond_;
  std::vector<double> radius_;  // exact: a mirrored picture has the same kernels
};

// Two neighbouring cells and their shares in a pixel.
struct Blend {
  Blend(const Cells& cells, std::int32_t pixel) {
    const float place = cells.place(pixel), floor = std::floor(place);
    const auto first = static_cast<std::int32_t>(floor);
    near = std::clamp(first, 0, cells.count() - 1);
    far = std::clamp(first + 1, 0, cells.count() - 1);
    share = place - floor;
  }

  std::ptrdiff_t near, far;
  float share;  // of far
};

// Adds row y of a coarse level, enlarged, to sums of M floats a pixel.
template <int M>
void add_enlarged(const float* coarse, std::ptrdiff_t coarse_width, const Blend& row, const std::vector<Blend>& columns,
                  std::vector<float>& scratch, float* sums) {
  const std::ptrdiff_t length = coarse_width * M;
  const float *above = coarse + row.near * length, *below = coarse + row.far * length;
  scratch.resize(static_cast<std::size_t>(length));
  float* blended = scratch.data();
  for (std::ptrdiff_t i = 0; i < length; ++i) blended[i] = above[i] + row.share * (below[i] - above[i]);
  for (const Blend& column : columns) {
    const float *left = blended + column.near * M, *right = blended + column.far * M;
    for (int c = 0; c < M; ++c) sums[c] += left[c] + column.share * (right[c] - left[c]);
    sums += M;
  }
}

// A coarse level, ready to be enlarged.
struct Enlarged {
  Enlarged(const Sums& level, std::int32_t height, std::int32_t pixels_across)
      : sums(level), rows(height, level.level) {
    const Cells cells(pixels_across, level.level);
    width = cells.count();
    columns.reserve(static_cast<std::size_t>(pixels_across));
    for (std::int32_t x = 0; x < pixels_across; ++x) columns.emplace_back(cells, x);
  }

  Sums sums;
  Cells rows;
  std::ptrdiff_t width;
  std::vector<Blend> columns;
};

template <int N>
void composite(const Scatter& scatter, const std::vector<Sums>& coarse, std::int32_t first, std::int32_t last,
               const Canvas& canvas) {
  const std::int32_t height = scatter.layer.height, width = scatter.layer.width;
  const auto pixels = static_cast<std::size_t>(last - first) * static_cast<std::size_t>(width);
  const std::unique_ptr<float[]> members(new float[pixels * N]), outside(new float[pixels]);
  Level<N>(scatter, 0).run(canvas.top + first, canvas.top + last, members.get(), outside.get());
  std::vector<float> scratch;
  std::vector<Enlarged> levels;
  for (const Sums& sums : coarse) levels.emplace_back(sums, height, width);
  for (std::int32_t y = first; y < last; ++y) {
    float* light = members.get() + std::ptrdiff_t{y - first} * width * N;
    float* beyond = outside.get() + std::ptrdiff_t{y - first} * width;
    for (const Enlarged& level : levels) {
      const Blend row(level.rows, canvas.top + y);
      add_enlarged<N>(level.sums.members, level.width, row, level.columns, scratch, light);
      add_enlarged<1>(level.sums.outside, level.width, row, level.columns, scratch, beyond);
    }
    float* under = canvas.light + y * canvas.stride;
    light += std::ptrdiff_t{canvas.left} * N;
    beyond += canvas.left;
    for (std::int32_t x = 0; x < canvas.width; ++x, light += N, under += N - 1) {
      const float coverage = light[N - 1];
      if (coverage < kLeastCoverage) continue;
      const float scale = 1 / (coverage + std::max(beyond[x], 0.0f));
      const float clear = 1 - coverage * scale;
      for (int c = 0; c < N - 1; ++c) under[c] = light[c] * scale + clear * under[c];
    }
  }
}

}  // namespace

std::pair<float, float> radius_range(const Scatter& scatter, std::int32_t first, std::int32_t last) {
  const Layer& layer = scatter.layer;
  float least = std::numeric_limits<float>::infinity(), most = 0;
  for (std::ptrdiff_t i = std::ptrdiff_t{first} * layer.width; i < std::ptrdiff_t{last} * layer.width; ++i) {
    if (layer.cover[i] == kNothing) continue;
    const float radius = std::abs(layer.values[(i + 1) * layer.channels - 1] + scatter.offset);
    least = std::min(least, radius);
    most = std::max(most, radius);
  }
  return {least, most};
}

std::int32_t level_size(std::int32_t length, std::int32_t level) {
  return level == 0 ? length : 2 * ((length + (2 << level) - 1) >> (level + 1));
}

void scatter_rows(const Scatter& scatter, std::int32_t level, std::int32_t first, std::int32_t last, float* members,
                  float* outside) {
  if (scatter.layer.channels == 4)
    Level<4>(scatter, level).run(first, last, members, outside);
  else
    Level<2>(scatter, level).run(first, last, members, outside);
}

void composite_rows(const Scatter& scatter, const std::vector<Sums>& coarse, std::int32_t first, std::int32_t last,
                    const Canvas& canvas) {
  if (scatter.layer.channels == 4)
    composite<4>(scatter, coarse, first, last, canvas);
  else
    composite<2>(scatter, coarse, first, last, canvas);
}

}  // namespace fastrefocus
