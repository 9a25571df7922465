#include "aperture_kernels.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace fastrefocus {

ApertureKernels::ApertureKernels(const float* spans, std::int32_t shapes, std::int32_t scanlines, float max_radius,
                                 std::int32_t steps, std::int32_t stride)
    : shapes_(shapes),
      steps_(steps),
      stride_(stride),
      radii_(static_cast<std::int32_t>(max_radius * static_cast<float>(steps) + 0.5f) + 1),
      max_radius_(max_radius) {
  for (std::int32_t shape = 0; shape < shapes; ++shape)
    for (std::int32_t i = 0; i < radii_; ++i)
      add_kernel(spans + std::ptrdiff_t{2} * shape * scanlines, scanlines,
                 std::min(static_cast<float>(i) / static_cast<float>(steps), max_radius));
}

void ApertureKernels::add_kernel(const float* spans, std::int32_t scanlines, float radius) {
  grid_reach_ = reach(radius);
  const std::int32_t side = 2 * grid_reach_ + 1;
  const auto row_length = static_cast<std::size_t>(side + 1);
  grid_.assign(static_cast<std::size_t>(side) * row_length, 0.0);
  if (grid_reach_ > 0) lay(spans, scanlines, static_cast<double>(radius));
  double sum = 0, peak = 0;
  for (std::size_t i = 0; i < grid_.size(); i += row_length) {
    double value = 0;
    for (std::size_t j = i; j < i + row_length; ++j) {
      value += grid_[j];
      sum += value;
      peak = std::max(peak, value);
    }
  }
  if (sum <= 0) {  // within one pixel, or nothing of the aperture is left: a point
    grid_.assign(grid_.size(), 0.0);
    const std::size_t centre = static_cast<std::size_t>(grid_reach_) * (row_length + 1);
    grid_[centre] = sum = peak = 1;
    grid_[centre + 1] = -1;
  }
  // Values are rounded to steps that floats can add up exactly: else the differences of a row would leave something
  // over, which goes on to the image's edge.
  const double step = std::ldexp(1.0, std::ilogb(peak / sum) - 22);
  places_.push_back({rows_.size(), grid_reach_});
  for (std::int32_t row = 0; row < side; ++row) {
    rows_.push_back(static_cast<std::uint32_t>(differences_.size()));
    double value = 0, before = 0;
    for (std::int32_t column = 0; column <= side; ++column) {
      value += grid_[static_cast<std::size_t>(row) * row_length + static_cast<std::size_t>(column)] / sum;
      const double rounded = step * std::round(value / step);
      if (rounded != before)
        differences_.push_back(
            {(row - grid_reach_) * stride_ + column - grid_reach_, static_cast<float>(rounded - before)});
      before = rounded;
    }
  }
  rows_.push_back(static_cast<std::uint32_t>(differences_.size()));
}

// Lays the strip around each scanline on the rows that it overlaps.
void ApertureKernels::lay(const float* spans, std::int32_t scanlines, double radius) {
  const double strip = 2 * radius / scanlines;
  for (std::int32_t i = 0; i < scanlines; ++i) {
    const double left = radius * static_cast<double>(spans[2 * i]);
    const double right = radius * static_cast<double>(spans[2 * i + 1]);
    if (right <= left) continue;
    const double top = strip * i - radius, bottom = top + strip;
    const double row = std::floor(top + 0.5);
    const double border = std::min(row + 0.5, bottom);
    lay_span(left, right, border - top, static_cast<std::int32_t>(row));
    if (bottom > border) lay_span(left, right, bottom - border, static_cast<std::int32_t>(row) + 1);
  }
}

// An end within a pixel is shared between the differences there and at the next pixel: the area is exact.
void ApertureKernels::lay_span(double left, double right, double height, std::int32_t row) {
  row = std::clamp(row, -grid_reach_, grid_reach_);
  double* differences = grid_.data() + std::ptrdiff_t{row + grid_reach_} * (2 * grid_reach_ + 2);
  const auto add_end = [&](double end, double weight) {
    const double pixel = std::floor(end + 0.5);
    const double share = pixel + 0.5 - end;
    const auto column = static_cast<std::ptrdiff_t>(std::clamp(pixel + grid_reach_, 0.0, 2.0 * grid_reach_));
    differences[column] += weight * share;
    differences[column + 1] += weight * (1 - share);
  };
  add_end(left, height);
  add_end(right, -height);
}

}  // namespace fastrefocus
