#include "push_pull.hpp"

#include <algorithm>
#include <cstddef>

namespace fastrefocus {
namespace {

std::int32_t halved(std::int32_t length) { return (length + 1) / 2; }

// The pixels that are joined into one of half the size. Of an odd length every second pixel is the middle of one; of an
// even length the middles lie between pixels.
struct Joined {
  Joined(std::int32_t place, std::int32_t length, bool smooth) {
    const auto join = [&](std::int32_t pixel, float weight) {
      if (pixel < 0 || pixel >= length) return;
      pixels[count] = pixel;
      weights[count++] = weight;
    };
    if (length % 2 == 1) {
      join(2 * place - 1, 0.25f);
      join(2 * place, 0.5f);
      join(2 * place + 1, 0.25f);
    } else {
      if (smooth) join(2 * place - 1, 0.125f);
      join(2 * place, smooth ? 0.375f : 0.5f);
      join(2 * place + 1, smooth ? 0.375f : 0.5f);
      if (smooth) join(2 * place + 2, 0.125f);
    }
  }

  int count = 0;
  std::int32_t pixels[4];
  float weights[4];
};

// Where a pixel lies between two of half the size.
struct Between {
  Between(std::int32_t place, std::int32_t length) : near(place / 2) {
    const std::int32_t last = halved(length) - 1;
    if (length % 2 == 1) {
      far = near + place % 2;
      share = place % 2 == 1 ? 0.5f : 0.0f;
    } else {
      far = std::clamp(near + (place % 2 == 1 ? 1 : -1), 0, last);
      share = 0.25f;
    }
  }

  std::int32_t near, far;
  float share;  // of far
};

// Makes rows first..last - 1 of the image of half the size.
template <int N, class Weight>
void halve(const float* values, Weight weight_of, std::int32_t height, std::int32_t width, bool smooth,
           std::int32_t first, std::int32_t last, WeightedImage<N>& half) {
  for (std::int32_t y = first; y < last; ++y) {
    const Joined rows(y, height, smooth);
    for (std::int32_t x = 0; x < half.width; ++x) {
      const Joined columns(x, width, smooth);
      double sums[N] = {}, total = 0;  // exact: a mirrored image gives the same bits
      for (int i = 0; i < rows.count; ++i)
        for (int j = 0; j < columns.count; ++j) {
          const std::ptrdiff_t k = std::ptrdiff_t{rows.pixels[i]} * width + columns.pixels[j];
          const double weight = rows.weights[i] * columns.weights[j] * weight_of(k);
          if (weight == 0) continue;  // the value need not have been set
          for (int c = 0; c < N; ++c) sums[c] += weight * static_cast<double>(values[k * N + c]);
          total += weight;
        }
      if (total == 0) continue;
      const std::ptrdiff_t k = std::ptrdiff_t{y} * half.width + x;
      for (int c = 0; c < N; ++c) half.values[static_cast<std::size_t>(k * N + c)] = static_cast<float>(sums[c] / total);
      half.weights[static_cast<std::size_t>(k)] = static_cast<float>(std::min(4 * total, 1.0));  // 1: as much as one pixel
    }
  }
}

// The image of half the size at a pixel, bilinear.
template <int N>
void enlarge(const WeightedImage<N>& half, std::int32_t y, std::int32_t x, std::int32_t height, std::int32_t width,
             float* value) {
  const Between rows(y, height), columns(x, width);
  const auto at = [&](std::int32_t row, std::int32_t column) {
    return half.values.data() + (std::ptrdiff_t{row} * half.width + column) * N;
  };
  const float *a = at(rows.near, columns.near), *b = at(rows.near, columns.far);
  const float *c = at(rows.far, columns.near), *d = at(rows.far, columns.far);
  for (int i = 0; i < N; ++i)
    value[i] = (1 - rows.share) * ((1 - columns.share) * a[i] + columns.share * b[i]) +
               rows.share * ((1 - columns.share) * c[i] + columns.share * d[i]);
}

// Fills rows first..last - 1 of an image from that of half the size.
template <int N>
void fill_rows(WeightedImage<N>& image, const WeightedImage<N>& half, std::int32_t first, std::int32_t last) {
  float filled[N];
  for (std::int32_t y = first; y < last; ++y)
    for (std::int32_t x = 0; x < image.width; ++x) {
      const std::ptrdiff_t i = std::ptrdiff_t{y} * image.width + x;
      const float weight = image.weights[static_cast<std::size_t>(i)];
      if (weight == 1) continue;
      enlarge(half, y, x, image.height, image.width, filled);
      float* value = image.values.data() + i * N;
      for (int c = 0; c < N; ++c) value[c] = weight * value[c] + (1 - weight) * filled[c];
    }
}

template <int N>
void halve_smoothly(const WeightedImage<N>& image, std::int32_t first, std::int32_t last, WeightedImage<N>& half) {
  halve<N>(image.values.data(), [&](std::ptrdiff_t i) { return image.weights[static_cast<std::size_t>(i)]; },
           image.height, image.width, true, first, last, half);
}

template <int N>
void fill(WeightedImage<N>& image) {
  const auto known = [](float weight) { return weight == 1; };
  if (image.weights.size() == 1 || std::all_of(image.weights.begin(), image.weights.end(), known)) return;
  WeightedImage<N> half(halved(image.height), halved(image.width));
  halve_smoothly(image, 0, half.height, half);
  fill(half);
  fill_rows(image, half, 0, image.height);
}

}  // namespace

template <int N>
WeightedImage<N>::WeightedImage(std::int32_t rows, std::int32_t columns)
    : height(rows),
      width(columns),
      values(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns) * N),
      weights(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns)) {}

template <int N>
PushPull<N>::PushPull(const float* values, const std::uint8_t* known, std::int32_t height, std::int32_t width)
    : values_(values),
      known_(known),
      height_(height),
      width_(width),
      half_(halved(height), halved(width)),
      quarter_(halved(half_.height), halved(half_.width)) {}

// Plain means of four for the first halving, which has the most pixels.
template <int N>
void PushPull<N>::halve(std::int32_t first, std::int32_t last) {
  fastrefocus::halve<N>(values_, [&](std::ptrdiff_t i) { return static_cast<float>(known_[i]) * (1.0f / 255); },
                        height_, width_, false, first, last, half_);
}

template <int N>
void PushPull<N>::quarter(std::int32_t first, std::int32_t last) {
  halve_smoothly(half_, first, last, quarter_);
}

template <int N>
void PushPull<N>::fill_quarter() {
  fill(quarter_);
}

template <int N>
void PushPull<N>::fill_half(std::int32_t first, std::int32_t last) {
  fill_rows(half_, quarter_, first, last);
}

template <int N>
void PushPull<N>::sample(std::int32_t y, std::int32_t x, float* value) const {
  enlarge(half_, y, x, height_, width_, value);
}

template struct WeightedImage<2>;
template struct WeightedImage<4>;
template class PushPull<2>;
template class PushPull<4>;

}  // namespace fastrefocus
