// The blur of a point of light, for every radius: an aperture's shape scaled and laid on the pixel grid.
//
// A kernel's rows are kept as differences, so that a row costs as many additions as its ends have pixels however long
// it is; a running sum along the row gives the kernel. Each pixel of it holds the share of its area that the aperture
// covers; the kernel's sum is 1.
#pragma once

#include <cstdint>
#include <vector>

namespace fastrefocus {

// Adds `weight` to the differences at `offset`, counted in pixels from the kernel's centre in an image of the given
// stride.
struct Difference {
  std::int32_t offset;
  float weight;
};

class ApertureKernels {
 public:
  // spans: (shapes, scanlines, 2), the left and right ends of each shape on scanlines that divide y = -1..1 evenly;
  // within -1..1. Radii go from 0 to max_radius in steps of 1 / steps pixels.
  ApertureKernels(const float* spans, std::int32_t shapes, std::int32_t scanlines, float max_radius,
                  std::int32_t steps, std::int32_t stride);

  std::int32_t shapes() const { return shapes_; }
  std::int32_t stride() const { return stride_; }
  float max_radius() const { return max_radius_; }
  // The most rows or columns that any kernel reaches from its centre, the end of its last difference included.
  std::int32_t margin() const { return reach(max_radius_) + 1; }

  class Kernel {
   public:
    std::int32_t reach() const { return reach_; }
    // The differences of the rows first..last, counted from the centre, within -reach()..reach().
    const Difference* begin(std::int32_t first) const { return differences_ + rows_[first + reach_]; }
    const Difference* end(std::int32_t last) const { return differences_ + rows_[last + reach_ + 1]; }

   private:
    friend class ApertureKernels;
    const Difference* differences_;
    const std::uint32_t* rows_;
    std::int32_t reach_;
  };

  // The step whose radius is nearest; radius within 0..max_radius.
  std::int32_t step(float radius) const {
    return static_cast<std::int32_t>(radius * static_cast<float>(steps_) + 0.5f);
  }

  Kernel at(std::int32_t shape, std::int32_t step) const {
    const Place& place = places_[static_cast<std::size_t>(shape * radii_ + step)];
    Kernel kernel;
    kernel.differences_ = differences_.data();
    kernel.rows_ = rows_.data() + place.first_row;
    kernel.reach_ = place.reach;
    return kernel;
  }

 private:
  struct Place {
    std::size_t first_row;
    std::int32_t reach;
  };

  static std::int32_t reach(float radius) { return static_cast<std::int32_t>(radius + 0.5f); }
  void add_kernel(const float* spans, std::int32_t scanlines, float radius);
  void lay(const float* spans, std::int32_t scanlines, double radius);
  void lay_span(double left, double right, double height, std::int32_t row);

  std::int32_t shapes_, steps_, stride_, radii_;
  float max_radius_;
  std::vector<double> grid_;  // the differences of the kernel being made, (2 reach + 1, 2 reach + 2)
  std::int32_t grid_reach_ = 0;
  std::vector<Difference> differences_;
  std::vector<std::uint32_t> rows_;  // of each kernel the first difference of each row, and the end of the last
  std::vector<Place> places_;
};

}  // namespace fastrefocus
