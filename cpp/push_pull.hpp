// Fills the unknown pixels of an image smoothly from the known ones around (push-pull: Gortler, Grzeszczuk, Szeliski
// and Cohen, "The Lumigraph", SIGGRAPH 1996, section 3.5).
//
// The image is halved again and again, each pixel the mean of what is known under it (pull); then, the coarsest first,
// what is unknown is taken from the coarser image, enlarged (push). All is symmetric: a mirrored image is filled as
// the image is.
#pragma once

#include <cstdint>
#include <vector>

namespace fastrefocus {

// An image with the weight, 0..1, to which each pixel is known.
template <int N>
struct WeightedImage {
  WeightedImage(std::int32_t rows, std::int32_t columns);

  std::int32_t height, width;
  std::vector<float> values, weights;
};

// The filling of an image of N channels, values (height, width, N); borrowed. known: (height, width), 255 for a pixel
// that is wholly known.
template <int N>
class PushPull {
 public:
  PushPull(const float* values, const std::uint8_t* known, std::int32_t height, std::int32_t width);

  // First, all rows of the image of half the size, then all rows of that of a quarter of the size; in any number of
  // threads. The quarter's rows are (height + 3) / 4.
  void halve(std::int32_t first, std::int32_t last);
  void quarter(std::int32_t first, std::int32_t last);
  // Then, once.
  void fill_quarter();
  // Then, all rows of the image of half the size.
  void fill_half(std::int32_t first, std::int32_t last);
  // Then, the value with which to fill a pixel.
  void sample(std::int32_t y, std::int32_t x, float* value) const;

 private:
  const float* values_;
  const std::uint8_t* known_;
  std::int32_t height_, width_;
  WeightedImage<N> half_, quarter_;
};

}  // namespace fastrefocus
