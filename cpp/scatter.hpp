// Scatters the pixels of a layer: every pixel's light is spread over its circle of confusion, each with its own
// radius, and added up.
//
// Large circles are scattered in smaller pictures, level l of which has pixels 2^l wide: pixels whose radius is in
// (T 2^(l-1), T 2^l] are joined into those of level l. So no kernel is larger than T, and the cost hardly grows with
// the radius.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "aperture_kernels.hpp"
#include "layers.hpp"

namespace fastrefocus {

// A part of a photo; borrowed.
struct Layer {
  // (height, width, channels): linear light times the part covered, and in the last channel the signed radius.
  const float* values;
  const std::uint8_t* cover;  // (height, width), see Cover
  std::int32_t height, width, channels;  // channels: 2 or 4
};

// Which of the kernels' shapes a pixel has; turned by 180 degrees behind the focal plane.
struct Field {
  std::int32_t top, left;      // the layer's place in the photo
  std::int32_t height, width;  // the photo's
  std::int32_t cells;          // odd; the photo is divided into cells x cells; shape 2 * cell is as given, the next turned
};

struct Scatter {
  Layer layer;
  float offset;  // added to all radii
  const ApertureKernels* kernels;
  Field field;
  float threshold;      // T, pixels
  float second_moment;  // of the aperture, for radius 1
};

// The sums of one level: light and coverage by members, (height, width, channels), and coverage from outside.
struct Sums {
  const float* members;
  const float* outside;
  std::int32_t level;    // >= 1
};

// The least and the largest radius of the pixels that matter in rows first..last - 1; infinity and 0 if there are none.
std::pair<float, float> radius_range(const Scatter& scatter, std::int32_t first, std::int32_t last);

// Pixels of a level >= 0 along an axis of `length` pixels.
std::int32_t level_size(std::int32_t length, std::int32_t level);

// The sums in rows first..last - 1 of a level: members (last - first, width, channels), outside (last - first, width).
void scatter_rows(const Scatter& scatter, std::int32_t level, std::int32_t first, std::int32_t last, float* members,
                  float* outside);

// Part of a picture, of which pixel (0, 0) is that of the layer at (top, left); borrowed. (height, width, channels - 1)
// with rows `stride` floats apart.
struct Canvas {
  float* light;
  std::int32_t top, left, height, width;
  std::ptrdiff_t stride;
};

// Puts the layer over rows first..last - 1 of the canvas. coarse: the sums of all levels above 0 that are in use.
void composite_rows(const Scatter& scatter, const std::vector<Sums>& coarse, std::int32_t first, std::int32_t last,
                    const Canvas& canvas);

}  // namespace fastrefocus
