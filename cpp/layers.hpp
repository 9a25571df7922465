// Takes a photo apart by depth: each layer with what nearer layers hide of it filled in, and with the mixed pixels of its
// outline parted into the layer's own light and that behind it.
#pragma once

#include <cstdint>
#include <memory>

namespace fastrefocus {

// How often pixels of each two of `bins` bins are neighbours, one of them in rows first..last - 1 and the other to its
// left or above: added to counts (bins, bins), the lower bin first. Neighbours in the same bin are not counted.
void count_neighbours(const std::uint8_t* pixels, std::int32_t width, std::int32_t first, std::int32_t last,
                      std::int32_t bins, std::int64_t* counts);

// Where each of `groups` groups is: boxes (groups, 4), its first and last row and its first and last column (-1: it is
// nowhere); blocks (groups, rows of blocks, columns of blocks), 1 where a block of `block` x `block` pixels has any of it.
void survey_groups(const std::uint8_t* labels, std::int32_t height, std::int32_t width, std::int32_t groups,
                   std::int32_t block, std::int32_t* boxes, std::uint8_t* blocks);

// Gives each pixel of the group `label` and of nearer ones, of higher labels, the label of the nearest pixel farther
// away; there must be one. labels, peeled: (height, width). Distances are sums of those along rows and columns.
void peel_labels(const std::uint8_t* labels, std::uint8_t label, std::int32_t height, std::int32_t width,
                 std::uint8_t* peeled);

// How much of a pixel a layer covers.
enum Cover : std::uint8_t {
  kNothing = 0,   // the pixel is too far away to matter
  kOutside = 1,   // it lies beyond the layer's outline: its circle shows how much of the circles around lies there
  kMember = 255,  // it is covered; between kOutside and kMember in part
};

// A photo with a margin around it in which labels and radii go on and light is not known; borrowed.
struct LabelledPhoto {
  const float* light;          // (height, width, channels), linear
  const float* radius;         // (height, width), signed
  const std::uint8_t* labels;  // (height, width): the group of each pixel, 0 farthest
  std::int32_t height, width, channels;  // channels: 1 or 3
  std::int32_t margin;
  float jump;       // neighbours whose radii differ by more are parts of different surfaces
  float low, high;  // range of the light
  float* plate;     // (height, width, channels): the light of what is behind the layers not yet made; begun as light
};

// What a layer is made of; borrowed.
struct LayerPlan {
  std::uint8_t label;
  const std::uint8_t* behind;            // the photo's labels without nearer groups
  std::int32_t top, left, height, width;  // the part of the photo
  const std::uint8_t* blocks;  // for each block of the whole photo: whether what the layer does not show counts there
  std::int32_t block, blocks_across;  // pixels across a block, blocks across the photo
  float* values;        // (height, width, channels + 1): made light times the part covered, and the signed radius
  std::uint8_t* cover;  // (height, width): made the part covered
};

// Makes a layer. Layers are to be made one after the other, the farthest first; the rows of one in any number of
// threads.
class LayerMaker {
 public:
  virtual ~LayerMaker() = default;
  // First, all rows.
  virtual void look(std::int32_t first, std::int32_t last) = 0;
  // Then, to fill in what is hidden (see PushPull), all rows of the image of half the size, rounded up, and all rows of
  // that of half the size of this; then, once, the latter is filled; then all rows of the former.
  virtual void halve(std::int32_t first, std::int32_t last) = 0;
  virtual void quarter(std::int32_t first, std::int32_t last) = 0;
  virtual void fill_quarter() = 0;
  virtual void fill_half(std::int32_t first, std::int32_t last) = 0;
  // Then, all rows.
  virtual void finish(std::int32_t first, std::int32_t last) = 0;
};

// The photo must outlive it.
std::unique_ptr<LayerMaker> make_layer_maker(const LabelledPhoto& photo, const LayerPlan& plan);

}  // namespace fastrefocus
