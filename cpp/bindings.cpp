// The only file that knows Python: shapes, dtypes and the GIL. Docstrings are numpydoc, signatures stand in
// src/fastrefocus/native/_core.pyi.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "aperture_kernels.hpp"
#include "assignment.hpp"
#include "layers.hpp"
#include "light.hpp"
#include "patch_tree.hpp"
#include "scatter.hpp"
#include "scheduler.hpp"

namespace py = pybind11;
using namespace fastrefocus;

namespace {

// Squared distances of patches up to this size fit into 31 bits.
constexpr py::ssize_t kMostDims = 30000;

std::string str(const py::handle& object) { return py::str(object); }

// Checks the dtype, and makes the array C-contiguous: a copy where it is not. Nothing is converted.
template <class T>
py::array_t<T, py::array::c_style> contiguous(const py::array& array, const std::string& name) {
  if (!py::isinstance<py::array_t<T>>(array))
    throw py::type_error(name + " must have dtype " + str(py::dtype::of<T>()) + ", got " +
                         str(array.dtype()));
  return py::array_t<T, py::array::c_style>(array);
}

// The arrays behind a ConfidenceMap: they must outlive it.
struct MapArrays {
  MapArrays(const py::array& confidence, const std::optional<py::array>& mask) {
    const py::object shape = confidence.attr("shape");
    if (confidence.ndim() != 2 || confidence.size() == 0)
      throw py::value_error("confidence must have shape (H, W) with H, W >= 1, got " + str(shape));
    if (confidence.size() > std::numeric_limits<Pixel>::max())
      throw py::value_error("confidence must have fewer than 2^31 pixels, got shape " + str(shape));
    if (mask && !shape.equal(mask->attr("shape")))
      throw py::value_error("mask must have confidence's shape " + str(shape) + ", got " +
                            str(mask->attr("shape")));
    confidence_ = contiguous<float>(confidence, "confidence");
    if (mask) mask_ = contiguous<bool>(*mask, "mask");
  }

  ConfidenceMap map() const {
    return {confidence_.data(), mask_ ? mask_->data() : nullptr,
            static_cast<std::int32_t>(confidence_.shape(0)), static_cast<std::int32_t>(confidence_.shape(1))};
  }

 private:
  py::array_t<float, py::array::c_style> confidence_;
  std::optional<py::array_t<bool, py::array::c_style>> mask_;
};

py::array_t<Pixel> as_array(const std::vector<Pixel>& pixels) {
  return py::array_t<Pixel>(static_cast<py::ssize_t>(pixels.size()), pixels.data());
}

// Integers of any width, as int32.
std::vector<Pixel> as_pixels(const py::array& array) {
  if (array.ndim() != 1) throw py::value_error("pixels must have shape (N,), got " + str(array.attr("shape")));
  const char kind = array.dtype().kind();
  if (kind != 'i' && kind != 'u')
    throw py::type_error("pixels must hold integers, got dtype " + str(array.dtype()));
  const py::array_t<std::int64_t, py::array::c_style | py::array::forcecast> wide(array);
  std::vector<Pixel> pixels(static_cast<std::size_t>(wide.size()));
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    const std::int64_t pixel = wide.data()[i];
    if (pixel < 0 || pixel > std::numeric_limits<Pixel>::max())
      throw py::value_error("pixels must be raster indices, got " + std::to_string(pixel));
    pixels[i] = static_cast<Pixel>(pixel);
  }
  return pixels;
}

py::array_t<Pixel> order(const py::array& confidence, const std::optional<py::array>& mask) {
  const MapArrays arrays(confidence, mask);
  const ConfidenceMap map = arrays.map();
  std::vector<Pixel> pixels;
  {
    const py::gil_scoped_release unlocked;
    pixels = confidence_order(map);
  }
  return as_array(pixels);
}

py::list batches(const py::array& confidence, std::int64_t radius, const std::optional<py::array>& mask) {
  const MapArrays arrays(confidence, mask);
  const ConfidenceMap map = arrays.map();
  Batches found;
  {
    const py::gil_scoped_release unlocked;
    found = confidence_batches(map, radius);
  }
  const py::array_t<Pixel> pixels = as_array(found.pixels);
  py::list views;
  for (std::size_t i = 0; i + 1 < found.starts.size(); ++i)
    views.append(pixels[py::slice(static_cast<py::ssize_t>(found.starts[i]),
                                  static_cast<py::ssize_t>(found.starts[i + 1]), 1)]);
  return views;
}

py::array_t<Pixel> dynamic_order_of(const py::array& means, const py::array& confidence, std::int64_t radius,
                                    const std::optional<py::array>& mask) {
  const MapArrays arrays(means, mask), others(confidence, mask);
  const ConfidenceMap map = arrays.map(), own = others.map();
  if (map.height != own.height || map.width != own.width)
    throw py::value_error("means must have confidence's shape " + str(confidence.attr("shape")) + ", got " +
                          str(means.attr("shape")));
  std::vector<Pixel> pixels;
  {
    const py::gil_scoped_release unlocked;
    pixels = dynamic_order(map, own.values, radius);
  }
  return as_array(pixels);
}

std::unique_ptr<ConfidenceScheduler> make_scheduler(const py::array& confidence, std::int64_t radius,
                                                    const std::optional<py::array>& mask) {
  const MapArrays arrays(confidence, mask);
  const ConfidenceMap map = arrays.map();
  const py::gil_scoped_release unlocked;
  return std::make_unique<ConfidenceScheduler>(map, radius);
}

// Waits without the GIL, and looks up ten times a second so that Ctrl-C works.
py::array_t<Pixel> pop(ConfidenceScheduler& self, py::ssize_t max_count) {
  if (max_count < 1) throw py::value_error("max_count must be >= 1, got " + std::to_string(max_count));
  for (;;) {
    std::optional<std::vector<Pixel>> pixels;
    {
      const py::gil_scoped_release unlocked;
      pixels = self.pop_for(static_cast<std::size_t>(max_count), std::chrono::milliseconds(100));
    }
    if (pixels) return as_array(*pixels);
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  }
}

void done(ConfidenceScheduler& self, const py::array& pixels) {
  const std::vector<Pixel> list = as_pixels(pixels);
  const py::gil_scoped_release unlocked;
  self.done(list.data(), list.size());
}

void update(DynamicOrder& self, const py::array& pixels, const py::array& priorities) {
  const std::vector<Pixel> list = as_pixels(pixels);
  if (!priorities.attr("shape").equal(pixels.attr("shape")))
    throw py::value_error("priorities must have the shape of pixels " + str(pixels.attr("shape")) +
                          ", got " + str(priorities.attr("shape")));
  self.update(list.data(), contiguous<float>(priorities, "priorities").data(), list.size());
}

// Checks dtype and shape; -1 in `shape`: any length.
template <class T>
py::array_t<T, py::array::c_style> shaped(const py::array& array, const std::string& name,
                                          const std::vector<py::ssize_t>& shape) {
  bool fits = array.ndim() == static_cast<py::ssize_t>(shape.size());
  std::string wanted;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    fits = fits && (shape[i] < 0 || array.shape(static_cast<py::ssize_t>(i)) == shape[i]);
    wanted += (i ? ", " : "") + (shape[i] < 0 ? "N" : std::to_string(shape[i]));
  }
  if (!fits)
    throw py::value_error(name + " must have shape (" + wanted + "), got " + str(array.attr("shape")));
  return contiguous<T>(array, name);
}

std::unique_ptr<PatchTree> make_tree(const py::array& patches, const py::array& colours, const py::array& basis,
                                     const py::array& mean) {
  const auto rows = shaped<std::uint8_t>(patches, "patches", {-1, -1});
  if (rows.shape(0) > std::numeric_limits<std::int32_t>::max())
    throw py::value_error("patches must hold fewer than 2^31 patches, got " + std::to_string(rows.shape(0)));
  if (rows.shape(1) > kMostDims)
    throw py::value_error("patches must have at most " + std::to_string(kMostDims) + " values each, got " +
                          std::to_string(rows.shape(1)));
  const auto centres = shaped<Colour>(colours, "colours", {rows.shape(0)});
  const auto directions = shaped<double>(basis, "basis", {-1, rows.shape(1)});
  const auto origin = shaped<double>(mean, "mean", {rows.shape(1)});
  if (std::any_of(centres.data(), centres.data() + centres.size(), [](Colour colour) { return colour >> 24; }))
    throw py::value_error("colours must be below 2^24");
  const Patches library{rows.data(), centres.data(), static_cast<std::int32_t>(rows.shape(0)),
                        static_cast<std::int32_t>(rows.shape(1))};
  const Basis projections{directions.data(), origin.data(), static_cast<std::int32_t>(directions.shape(0))};
  const py::gil_scoped_release unlocked;
  return std::make_unique<PatchTree>(library, projections);
}

py::tuple nearest_colours(const PatchTree& self, const py::array& queries, py::ssize_t count) {
  if (count < 1) throw py::value_error("count must be >= 1, got " + std::to_string(count));
  const auto rows = shaped<std::uint8_t>(queries, "queries", {-1, self.dims()});
  const auto found = std::min(static_cast<std::size_t>(count), self.colour_count());
  const std::vector<py::ssize_t> shape{rows.shape(0), static_cast<py::ssize_t>(found)};
  py::array_t<std::int32_t> distances(shape), patches(shape);
  std::int32_t *distance = distances.mutable_data(), *patch = patches.mutable_data();
  {
    const py::gil_scoped_release unlocked;
    self.nearest_colours(rows.data(), static_cast<std::size_t>(rows.shape(0)), found, distance, patch);
  }
  return py::make_tuple(distances, patches);
}

// An AssignmentTask with the arrays that it works on.
class TextureAssignment {
 public:
  TextureAssignment(py::object contexts, const py::array& above, const py::array& below, const py::array& slots,
                  const std::optional<py::array>& ranks, py::ssize_t patch_size, const py::array& colours,
                  const py::array& distances, const py::array& patches, std::int64_t image_weight,
                  std::int64_t texture_weight, const py::array& picture)
      : contexts_(std::move(contexts)) {
    if (!py::isinstance<PatchTree>(contexts_))
      throw py::type_error("contexts must be a PatchTree, got " + str(py::type::of(contexts_)));
    const auto& tree = contexts_.cast<const PatchTree&>();
    picture_ = shaped<std::uint8_t>(picture, "picture", {-1, -1, -1}).attr("copy")();
    const py::ssize_t height = picture_.shape(0), width = picture_.shape(1), channels = picture_.shape(2);
    slots_ = shaped<std::int32_t>(slots, "slots", {height, width});
    colours_ = shaped<Colour>(colours, "colours", {-1, -1});
    const py::ssize_t count = colours_.shape(0), candidates = colours_.shape(1);
    distances_ = shaped<std::int32_t>(distances, "distances", {count, candidates});
    patches_ = shaped<std::int32_t>(patches, "patches", {count, candidates});
    if (ranks) ranks_ = shaped<std::int32_t>(*ranks, "ranks", {count});
    above_ = shaped<std::int32_t>(above, "above", {tree.count()});
    below_ = shaped<std::int32_t>(below, "below", {tree.count()});
    if (channels != 1 && channels != 3)
      throw py::value_error("picture must have 1 or 3 channels, got " + std::to_string(channels));
    if (patch_size < 1 || patch_size > kMostDims || patch_size % 2 == 0 ||
        channels * (patch_size * patch_size - 1) != tree.dims())
      throw py::value_error("patch_size must fit contexts of " + std::to_string(tree.dims()) + " values, got " +
                            std::to_string(patch_size));
    if (image_weight < 0 || texture_weight < 1 || std::max(image_weight, texture_weight) > kLargestWeight)
      throw py::value_error("weights must be >= 0 (image), >= 1 (texture) and <= 2^31, got " +
                            std::to_string(image_weight) + " and " + std::to_string(texture_weight));
    if (candidates < 1) throw py::value_error("candidates must be >= 1, got 0");
    for (py::ssize_t i = 0; i < slots_.size(); ++i)
      if (slots_.data()[i] < -1 || slots_.data()[i] >= count)
        throw py::value_error("slots must be -1 or rows of colours, got " + std::to_string(slots_.data()[i]));
    chosen_ = py::array_t<std::int32_t>(count);
    matches_ = py::array_t<std::int32_t>(count);
    std::fill_n(chosen_.mutable_data(), count, 0);
    std::fill_n(matches_.mutable_data(), count, -1);
    task_ = AssignmentTask{
        &tree, above_.data(), below_.data(), slots_.data(), ranks_ ? ranks_->data() : nullptr,
        static_cast<std::int32_t>(height), static_cast<std::int32_t>(width), static_cast<std::int32_t>(channels),
        static_cast<std::int32_t>(patch_size), colours_.data(), distances_.data(), patches_.data(),
        static_cast<std::int32_t>(candidates), image_weight, texture_weight, picture_.mutable_data(),
        chosen_.mutable_data(), matches_.mutable_data()};
  }

  void run(ConfidenceScheduler& scheduler) {
    const py::gil_scoped_release unlocked;
    assign_pixels(task_, scheduler);
  }

  py::array picture() const { return picture_; }
  py::array chosen() const { return chosen_; }

 private:
  template <class T>
  using Array = py::array_t<T, py::array::c_style>;

  static constexpr std::int64_t kLargestWeight = std::int64_t{1} << 31;

  py::object contexts_;  // keeps the tree alive
  Array<std::int32_t> above_, below_, slots_, distances_, patches_, chosen_, matches_;
  std::optional<Array<std::int32_t>> ranks_;
  Array<Colour> colours_;
  Array<std::uint8_t> picture_;
  AssignmentTask task_{};
};

template <void (*curve)(const float*, float*, std::ptrdiff_t)>
py::array_t<float> apply_curve(const py::array& values) {
  const auto input = contiguous<float>(values, "values");
  py::array_t<float> output(std::vector<py::ssize_t>(input.shape(), input.shape() + input.ndim()));
  float* out = output.mutable_data();
  const py::gil_scoped_release unlocked;
  curve(input.data(), out, input.size());
  return output;
}

// Checks shape and dtype of an array that is changed in place: it must be contiguous already.
template <class T>
T* writable(py::array& array, const std::vector<py::ssize_t>& shape, const std::string& name) {
  const py::tuple wanted = py::cast(shape);
  if (!py::isinstance<py::array_t<T, py::array::c_style>>(array) || !wanted.equal(py::tuple(array.attr("shape"))))
    throw py::value_error(name + " must be a C-contiguous array of dtype " + str(py::dtype::of<T>()) + " and shape " +
                          str(wanted) + ", got dtype " + str(array.dtype()) + " and shape " +
                          str(array.attr("shape")));
  return static_cast<T*>(array.mutable_data());
}

std::int32_t as_length(py::ssize_t length) { return static_cast<std::int32_t>(length); }

void check_rows(std::int32_t first, std::int32_t last, std::int32_t height) {
  if (first < 0 || first >= last || last > height)
    throw py::value_error("first and last must be rows, got " + std::to_string(first) + " and " +
                          std::to_string(last) + " of " + std::to_string(height));
}

ApertureKernels make_kernels(const py::array& spans, float max_radius, std::int32_t steps, std::int32_t width) {
  if (spans.ndim() != 3 || spans.size() == 0 || spans.shape(2) != 2)
    throw py::value_error("spans must have shape (S, N, 2) with S, N >= 1, got " + str(spans.attr("shape")));
  const auto ends = contiguous<float>(spans, "spans");
  for (py::ssize_t i = 0; i < ends.size(); ++i)
    if (!(ends.data()[i] >= -1 && ends.data()[i] <= 1)) throw py::value_error("spans must lie within -1..1");
  if (!(max_radius >= 0 && max_radius <= 64)) throw py::value_error("max_radius must be in 0..64");
  if (steps < 1 || steps > 256) throw py::value_error("steps must be in 1..256");
  if (width < 1 || width > (1 << 24)) throw py::value_error("width must be in 1..2^24");
  const std::int32_t margin = static_cast<std::int32_t>(max_radius + 0.5f) + 1;
  return ApertureKernels(ends.data(), as_length(spans.shape(0)), as_length(spans.shape(1)), max_radius, steps,
                         width + 2 * margin);
}

py::array_t<std::int64_t> neighbour_counts(const py::array& pixels, std::int32_t first, std::int32_t last,
                                           std::int32_t bins) {
  if (pixels.ndim() != 2 || pixels.size() == 0)
    throw py::value_error("pixels must have shape (H, W) with H, W >= 1, got " + str(pixels.attr("shape")));
  check_rows(first, last, as_length(pixels.shape(0)));
  const auto labels = contiguous<std::uint8_t>(pixels, "pixels");
  if (bins < 1 || *std::max_element(labels.data(), labels.data() + labels.size()) >= bins)
    throw py::value_error("pixels must be below bins, " + std::to_string(bins));
  py::array_t<std::int64_t> counts({bins, bins});
  std::int64_t* sums = counts.mutable_data();
  const py::gil_scoped_release unlocked;
  std::fill_n(sums, std::ptrdiff_t{bins} * bins, 0);
  count_neighbours(labels.data(), as_length(pixels.shape(1)), first, last, bins, sums);
  return counts;
}

void check_block(std::int32_t block) {
  if (block < 1 || block > (1 << 16)) throw py::value_error("block must be in 1..65536, got " + std::to_string(block));
}

py::tuple survey(const py::array& labels, std::int32_t groups, std::int32_t block) {
  if (labels.ndim() != 2 || labels.size() == 0)
    throw py::value_error("labels must have shape (H, W) with H, W >= 1, got " + str(labels.attr("shape")));
  const auto pixels = contiguous<std::uint8_t>(labels, "labels");
  check_block(block);
  if (groups <= *std::max_element(pixels.data(), pixels.data() + pixels.size()) || groups > 256)
    throw py::value_error("labels must be below groups, which are 256 at most, got " + std::to_string(groups));
  const py::ssize_t height = labels.shape(0), width = labels.shape(1);
  py::array_t<std::int32_t> boxes({py::ssize_t{groups}, py::ssize_t{4}});
  py::array_t<bool> blocks({py::ssize_t{groups}, (height + block - 1) / block, (width + block - 1) / block});
  std::int32_t* extents = boxes.mutable_data();
  auto* marks = reinterpret_cast<std::uint8_t*>(blocks.mutable_data());
  {
    const py::gil_scoped_release unlocked;
    survey_groups(pixels.data(), as_length(height), as_length(width), groups, block, extents, marks);
  }
  return py::make_tuple(boxes, blocks);
}

py::array_t<std::uint8_t> peel(const py::array& labels, std::uint8_t label) {
  if (labels.ndim() != 2 || labels.size() == 0)
    throw py::value_error("labels must have shape (H, W) with H, W >= 1, got " + str(labels.attr("shape")));
  const auto before = contiguous<std::uint8_t>(labels, "labels");
  if (*std::min_element(before.data(), before.data() + before.size()) >= label)
    throw py::value_error("labels must hold one below label, " + std::to_string(label));
  py::array_t<std::uint8_t> peeled({labels.shape(0), labels.shape(1)});
  std::uint8_t* after = peeled.mutable_data();
  const py::gil_scoped_release unlocked;
  peel_labels(before.data(), label, as_length(labels.shape(0)), as_length(labels.shape(1)), after);
  return peeled;
}

// A photo with the arrays that it borrows.
struct PhotoArrays {
  PhotoArrays(const py::array& light, const py::array& radius, const py::array& labels, std::int32_t margin,
              float jump, std::pair<float, float> range, py::array plate)
      : light_(contiguous<float>(light, "light")),
        radius_(contiguous<float>(radius, "radius")),
        labels_(contiguous<std::uint8_t>(labels, "labels")),
        plate_(std::move(plate)) {
    if (light.ndim() != 3 || light.size() == 0 || (light.shape(2) != 1 && light.shape(2) != 3))
      throw py::value_error("light must have shape (H, W, 1) or (H, W, 3), got " + str(light.attr("shape")));
    const py::tuple plane = py::make_tuple(light.shape(0), light.shape(1));
    if (!plane.equal(radius.attr("shape")) || !plane.equal(labels.attr("shape")))
      throw py::value_error("radius and labels must have the shape " + str(plane));
    photo = {light_.data(), radius_.data(), labels_.data(), as_length(light.shape(0)), as_length(light.shape(1)),
             as_length(light.shape(2)), margin, jump, range.first, range.second,
             writable<float>(plate_, {light.shape(0), light.shape(1), light.shape(2)}, "plate")};
  }

  LabelledPhoto photo;

 private:
  py::array_t<float, py::array::c_style> light_, radius_;
  py::array_t<std::uint8_t, py::array::c_style> labels_;
  py::array plate_;
};

// A layer in the making, with the arrays that it borrows and those that it fills.
class LayerArrays {
 public:
  LayerArrays(py::object photo, std::uint8_t label, const py::array& behind, std::array<std::int32_t, 4> box,
              const py::array& blocks, std::int32_t block)
      : owner_(std::move(photo)),
        behind_(contiguous<std::uint8_t>(behind, "behind")),
        blocks_(contiguous<bool>(blocks, "blocks")) {
    const LabelledPhoto& whole = owner_.cast<const PhotoArrays&>().photo;
    const auto [top, left, height, width] = box;
    if (top < 0 || left < 0 || height < 1 || width < 1 || top > whole.height - height || left > whole.width - width)
      throw py::value_error("box must lie within the photo");
    if (!py::make_tuple(whole.height, whole.width).equal(behind.attr("shape")))
      throw py::value_error("behind must have the photo's height and width");
    check_block(block);
    const std::int32_t across = (whole.width + block - 1) / block;
    const py::tuple grid = py::make_tuple((whole.height + block - 1) / block, across);
    if (!grid.equal(blocks.attr("shape"))) throw py::value_error("blocks must have the shape " + str(grid));
    values_ = py::array_t<float>({py::ssize_t{height}, py::ssize_t{width}, py::ssize_t{whole.channels + 1}});
    cover_ = py::array_t<std::uint8_t>({py::ssize_t{height}, py::ssize_t{width}});
    height_ = height;
    maker_ = make_layer_maker(whole, {label, behind_.data(), top, left, height, width,
                                      reinterpret_cast<const std::uint8_t*>(blocks_.data()), block, across,
                                      values_.mutable_data(), cover_.mutable_data()});
  }

  void look(std::int32_t first, std::int32_t last) {
    check_rows(first, last, height_);
    const py::gil_scoped_release unlocked;
    maker_->look(first, last);
  }

  void halve(std::int32_t first, std::int32_t last) {
    check_rows(first, last, (height_ + 1) / 2);
    const py::gil_scoped_release unlocked;
    maker_->halve(first, last);
  }

  void fill() {
    const py::gil_scoped_release unlocked;
    maker_->fill();
  }

  void finish(std::int32_t first, std::int32_t last) {
    check_rows(first, last, height_);
    const py::gil_scoped_release unlocked;
    maker_->finish(first, last);
  }

  py::array_t<float> values() const { return values_; }
  py::array_t<std::uint8_t> cover() const { return cover_; }

 private:
  py::object owner_;
  py::array_t<std::uint8_t, py::array::c_style> behind_;
  py::array_t<bool, py::array::c_style> blocks_;
  py::array_t<float> values_;
  py::array_t<std::uint8_t> cover_;
  std::int32_t height_ = 0;
  std::unique_ptr<LayerMaker> maker_;
};

// A layer with the arrays that it borrows.
class LayerScatter {
 public:
  LayerScatter(const py::array& values, const py::array& cover, float offset, py::object kernels, py::ssize_t top,
               py::ssize_t left, py::ssize_t photo_height, py::ssize_t photo_width, std::int32_t cells,
               float threshold, float second_moment)
      : kernels_(std::move(kernels)) {
    const auto& bank = kernels_.cast<const ApertureKernels&>();
    if (values.ndim() != 3 || values.size() == 0 || (values.shape(2) != 2 && values.shape(2) != 4))
      throw py::value_error("values must have shape (H, W, 2) or (H, W, 4), got " + str(values.attr("shape")));
    if (!py::make_tuple(values.shape(0), values.shape(1)).equal(cover.attr("shape")))
      throw py::value_error("cover must have the height and width of values");
    values_ = contiguous<float>(values, "values");
    cover_ = contiguous<std::uint8_t>(cover, "cover");
    scatter_.layer = {values_.data(), cover_.data(), as_length(values.shape(0)), as_length(values.shape(1)),
                      as_length(values.shape(2))};
    scatter_.offset = offset;
    scatter_.kernels = &bank;
    scatter_.field = {as_length(top), as_length(left), as_length(photo_height), as_length(photo_width), cells};
    scatter_.threshold = threshold;
    scatter_.second_moment = second_moment;
    if (top < 0 || left < 0 || top + values.shape(0) > photo_height || left + values.shape(1) > photo_width)
      throw py::value_error("the layer must lie within the photo");
    if (cells < 1 || cells % 2 == 0) throw py::value_error("cells must be odd, got " + std::to_string(cells));
    if (bank.shapes() != 2 * cells * cells)
      throw py::value_error("kernels must have 2 cells^2 shapes, got " + std::to_string(bank.shapes()));
    if (!(threshold > 0 && threshold <= bank.max_radius()) || !(second_moment > 0))
      throw py::value_error("threshold must be in 0..max_radius of the kernels, and second_moment > 0");
    if (bank.stride() < scatter_.layer.width + 2 * bank.margin())
      throw py::value_error("kernels were made for a narrower photo");
  }

  void rows(std::int32_t level, std::int32_t first, std::int32_t last, py::array members,
            py::array outside) const {
    check_level(level);
    const Layer& layer = scatter_.layer;
    const std::int32_t height = level_size(layer.height, level), width = level_size(layer.width, level);
    if (scatter_.kernels->stride() < width + 2 * scatter_.kernels->margin())  // a level has 2 cells at least
      throw py::value_error("kernels were made for a photo narrower than level " + std::to_string(level));
    check_rows(first, last, height);
    float* sums = writable<float>(members, {height, width, layer.channels}, "members");
    float* beyond = writable<float>(outside, {height, width}, "outside");
    const py::gil_scoped_release unlocked;
    scatter_rows(scatter_, level, first, last, sums + std::ptrdiff_t{first} * width * layer.channels,
                 beyond + std::ptrdiff_t{first} * width);
  }

  std::pair<float, float> radii(std::int32_t first, std::int32_t last) const {
    check_rows(first, last, scatter_.layer.height);
    const py::gil_scoped_release unlocked;
    return radius_range(scatter_, first, last);
  }

  void composite(const std::vector<std::tuple<std::int32_t, py::array, py::array>>& coarse, std::int32_t first, std::int32_t last, py::array canvas, std::int32_t top,
                 std::int32_t left) const {
    const Layer& layer = scatter_.layer;
    constexpr auto kSize = static_cast<py::ssize_t>(sizeof(float));
    if (!py::isinstance<py::array_t<float>>(canvas) || !canvas.writeable() || canvas.ndim() != 3 ||
        canvas.shape(2) != layer.channels - 1 || canvas.strides(2) != kSize ||
        canvas.strides(1) != canvas.shape(2) * kSize || canvas.strides(0) % kSize != 0)
      throw py::value_error("canvas must be rows of a float32 image with the layer's channels");
    if (top < 0 || left < 0 || canvas.shape(0) > layer.height - top || canvas.shape(1) > layer.width - left)
      throw py::value_error("canvas must lie within the layer");
    check_rows(first, last, as_length(canvas.shape(0)));
    std::vector<Sums> sums;
    for (const auto& [level, members, outside] : coarse) {
      check_level(level);
      const std::int32_t height = level_size(layer.height, level), width = level_size(layer.width, level);
      py::array light = members, coverage = outside;
      sums.push_back({writable<float>(light, {height, width, layer.channels}, "members"),
                      writable<float>(coverage, {height, width}, "outside"), level});
    }
    const Canvas target{static_cast<float*>(canvas.mutable_data()), top, left, as_length(canvas.shape(0)),
                        as_length(canvas.shape(1)), canvas.strides(0) / kSize};
    const py::gil_scoped_release unlocked;
    composite_rows(scatter_, sums, first, last, target);
  }

 private:
  static void check_level(std::int32_t level) {
    if (level < 1 || level > 16) throw py::value_error("level must be in 1..16, got " + std::to_string(level));
  }
  py::object kernels_;
  py::array_t<float, py::array::c_style> values_;
  py::array_t<std::uint8_t, py::array::c_style> cover_;
  Scatter scatter_;
};

constexpr const char* kOrderDoc = R"(Return the pixels in the serial order: highest confidence first.

Parameters
----------
confidence : ndarray
    (H, W) float32, H * W < 2**31. Infinity is accepted; NaN is not, but outside the mask.
mask : ndarray, optional
    (H, W) bool: only pixels where it is True are scheduled. None: all.

Returns
-------
ndarray
    (N,) int32 raster indices, ``row * W + column``; ties in raster order (0.0 and -0.0 tie).

Raises
------
TypeError
    If a dtype is not the one above.
ValueError
    If a shape is not the one above, or a confidence inside the mask is NaN.

Examples
--------
>>> import numpy as np
>>> from fastrefocus.native._core import confidence_order
>>> confidence_order(np.array([[0.2, 0.9, 0.2], [0.9, 0.5, 1.0]], np.float32))
array([5, 1, 3, 4, 0, 2], dtype=int32)
)";

constexpr const char* kBatchesDoc = R"(Return the pixels in the fewest batches that keep to the confidence order.

A pixel depends on those pixels of the (2 radius + 1)^2 window around it that come before it in the serial
order. All that it depends on stands in earlier batches, so that the pixels of one batch may be assigned side
by side.

Parameters
----------
confidence : ndarray
    (H, W) float32, as in `confidence_order`.
radius : int
    The window's radius in pixels, >= 0 (0: nothing depends on anything). Time grows with its square.
mask : ndarray, optional
    (H, W) bool: only pixels where it is True are scheduled, and only on them does a pixel depend. None: all.

Returns
-------
list of ndarray
    int32 raster indices, each batch in serial order. An empty list where the mask is empty.

Raises
------
TypeError, ValueError
    As `confidence_order`; ValueError also if `radius` is negative.

Examples
--------
>>> import numpy as np
>>> from fastrefocus.native._core import confidence_batches
>>> confidence_batches(np.array([[3.0, 2.0, 1.0, 5.0]], np.float32), 1)
[array([3, 0], dtype=int32), array([1], dtype=int32), array([2], dtype=int32)]
)";

constexpr const char* kDynamicOrderDoc = R"(Return the serial order in which a pixel counts as certain once it is assigned.

First comes the pixel whose window's mean confidence is highest, ties in raster order. Once it is assigned its own
confidence counts as 1 in the means of those around it.

Parameters
----------
means : ndarray
    (H, W) float32: the mean confidence over each pixel's window, as in `confidence_order`.
confidence : ndarray
    (H, W) float32: each pixel's own.
radius : int
    The window's radius in pixels, >= 0.
mask : ndarray, optional
    (H, W) bool: only pixels where it is True are scheduled, and only they count. None: all.

Returns
-------
ndarray
    (N,) int32 raster indices.

Raises
------
TypeError, ValueError
    As `confidence_order`; ValueError also if the shapes differ, a value is infinite, or `radius` is negative.

Examples
--------
>>> import numpy as np
>>> from fastrefocus.native._core import dynamic_order
>>> means = np.array([[0.0, 0.1, 0.3, 0.2, 0.1]], np.float32)
>>> dynamic_order(means, np.zeros((1, 5), np.float32), 1)
array([2, 3, 4, 1, 0], dtype=int32)
)";

constexpr const char* kSchedulerDoc = R"(Hand out pixels, most confident first, whose dependencies are done.

A pixel depends on those pixels of the (2 radius + 1)^2 window around it that come before it in the serial
order (see `confidence_order`). Any number of threads may call the methods. There are no barriers: a slow
thread holds up only the pixels near its own.

Parameters
----------
confidence : ndarray
    (H, W) float32, as in `confidence_order`. It is copied.
radius : int
    The window's radius in pixels, >= 0. Time grows with its square.
mask : ndarray, optional
    (H, W) bool: only pixels where it is True are scheduled, and only on them does a pixel depend. None: all.

Raises
------
TypeError, ValueError
    As `confidence_order`; ValueError also if `radius` is negative.

Examples
--------
What each thread does; if it fails, it calls ``cancel`` so that the others end too.

>>> import numpy as np
>>> from fastrefocus.native._core import ConfidenceScheduler
>>> scheduler = ConfidenceScheduler(np.array([[3.0, 2.0, 1.0, 5.0]], np.float32), radius=1)
>>> while (pixels := scheduler.pop(8)).size:
...     print(pixels)  # here they are assigned
...     scheduler.done(pixels)
[3 0]
[1]
[2]
)";

constexpr const char* kPopDoc = R"(Take ready pixels, most confident first; wait while none is ready.

One thread alone must call `done` before it pops again, or it may wait for itself.

Parameters
----------
max_count : int
    The most pixels to take, >= 1.

Returns
-------
ndarray
    int32 raster indices. Empty: every pixel has been handed out, or the run is cancelled.

Raises
------
ValueError
    If `max_count` is less than 1.
)";

constexpr const char* kDoneDoc = R"(Say that pixels handed out by `pop` are assigned.

Parameters
----------
pixels : ndarray
    (N,) raster indices, any integer dtype.

Raises
------
TypeError
    If `pixels` does not hold integers.
ValueError
    If a pixel is not in hand (never handed out, or done already); nothing is changed then.
)";

constexpr const char* kDynamicDoc = R"(The serial order where priorities change as neighbours are assigned.

For one thread at a time.

Parameters
----------
confidence : ndarray
    (H, W) float32, the priorities to start with, as in `confidence_order`.
mask : ndarray, optional
    (H, W) bool: only pixels where it is True are scheduled. None: all.

Raises
------
TypeError, ValueError
    As `confidence_order`.

Examples
--------
>>> import numpy as np
>>> from fastrefocus.native._core import DynamicOrder
>>> order = DynamicOrder(np.array([[0.3, 0.2, 0.1]], np.float32))
>>> order.pop()
0
>>> order.update(np.array([2]), np.array([0.5], np.float32))
>>> order.pop(), order.pop(), len(order)
(2, 1, 0)
)";

constexpr const char* kUpdateDoc = R"(Give waiting pixels new priorities.

Parameters
----------
pixels : ndarray
    (N,) raster indices, any integer dtype; of a pixel named twice, the last priority counts.
priorities : ndarray
    (N,) float32, not NaN.

Raises
------
TypeError
    If a dtype is not the one above.
ValueError
    If the shapes differ, a pixel does not wait (taken, or outside the mask), or a priority is NaN; nothing is
    changed then.
)";

constexpr const char* kTreeDoc = R"(Find the nearest of many patches, exactly.

Parameters
----------
patches : ndarray
    (N, D) uint8, 1 <= N < 2**31, D <= 30,000.
colours : ndarray
    (N,) uint32, below 2**24: the colour of each patch's centre, red + 256 green + 65536 blue, or its grey value.
basis : ndarray
    (K, D) float64, K <= 15: orthonormal rows, to 1e-9. The better they tell patches apart, as the first principal
    components do, the faster the search; what it finds does not depend on them.
mean : ndarray
    (D,) float64, 0..255: a point in the middle of the patches.

Raises
------
TypeError
    If a dtype is not the one above.
ValueError
    If a shape is not the one above, or a value is out of its range.

Examples
--------
>>> import numpy as np
>>> from fastrefocus.native._core import PatchTree
>>> patches = np.array([[0, 0], [9, 9], [3, 4]], np.uint8)
>>> tree = PatchTree(patches, np.array([7, 8, 9], np.uint32), np.eye(2), np.zeros(2))
>>> distances, found = tree.nearest_colours(np.array([[1, 0]], np.uint8), 2)
>>> distances, found
(array([[ 1, 20]], dtype=int32), array([[0, 2]], dtype=int32))
)";

constexpr const char* kNearestDoc = R"(Find the nearest patches of distinct colours.

Of each colour the nearest patch counts, of equally near ones the first. Runs without the GIL, on one thread.

Parameters
----------
queries : ndarray
    (M, D) uint8. Faster where neighbours are alike.
count : int
    How many, >= 1. Where the library has fewer colours, there are as many.

Returns
-------
distances : ndarray
    (M, k) int32: squared distances, rising; k = min(count, colour_count).
patches : ndarray
    (M, k) int32: indices of the patches. Of equal distances the lowest index comes first.

Raises
------
TypeError, ValueError
    If `queries` has another dtype or shape, or `count` is less than 1.
)";

constexpr const char* kAssignmentDoc = R"(Assign pixels in the order that a scheduler hands them out (paper B, section 3.2).

Each pixel takes of its candidates c the one that minimises, over the library's patches v too, ``image_weight
d(c) + texture_weight |v - N|^2``, N being the pixel's neighbourhood in the picture with c in its centre. The first of
equally good candidates wins. Neighbours outside the mask or the picture do not count.

Parameters
----------
contexts : PatchTree
    The library's patches without their centres, with the centres' colours.
above, below : ndarray
    (N,) int32: the patch whose centre lies one row further up, and down; -1: none. They only save time.
slots : ndarray
    (H, W) int32: for each pixel its row in the tables that follow; -1: outside the mask.
ranks : ndarray or None
    (M,) int32: each pixel's place in the order; only neighbours of lower rank count (causal). None: all.
patch_size : int
    Width of a patch, odd.
colours, distances, patches : ndarray
    (M, k) uint32, int32 and int32: candidates by rising distance d, and the patches that they come from.
image_weight, texture_weight : int
    At least 0 and 1, at most 2**31.
picture : ndarray
    (H, W, C) uint8: first guesses. It is copied.

Raises
------
TypeError, ValueError
    If a dtype, shape or value is not one of those above.
)";

constexpr const char* kCountsDoc = R"(Count how often pixels of each two values are neighbours.

Parameters
----------
pixels : ndarray
    (H, W) uint8, below `bins`.
first, last : int
    Pairs are counted of which one lies in rows first..last - 1 and the other to its left or above.
bins : int
    How many values there are.

Returns
-------
ndarray
    (bins, bins) int64, the lower value first; 0 on the diagonal.

Raises
------
TypeError, ValueError
    If an argument is not as above.
)";

constexpr const char* kSurveyDoc = R"(Find out where groups of pixels are.

Parameters
----------
labels : ndarray
    (H, W) uint8, below `groups`.
groups, block : int
    How many groups; how many pixels across a block.

Returns
-------
boxes : ndarray
    (groups, 4) int32: first and last row, first and last column; -1 for a group that is nowhere.
blocks : ndarray
    (groups, rows, columns) bool: the blocks that have any of the group.

Raises
------
TypeError, ValueError
    If an argument is not as above.
)";

constexpr const char* kPeelDoc = R"(Take a group of pixels and all nearer ones away.

Parameters
----------
labels : ndarray
    (H, W) uint8, 0 farthest.
label : int
    The group; there must be a lower one.

Returns
-------
ndarray
    (H, W) uint8: where `labels` is at least `label`, the label of the nearest pixel where it is less, by the sum of
    the distances along rows and columns; of equally near ones the lowest label.

Raises
------
TypeError, ValueError
    If an argument is not as above.
)";

constexpr const char* kLabelledPhotoDoc = R"(A photo, with a margin, that is to be taken apart into layers.

Parameters
----------
light : ndarray
    (H, W, 1) or (H, W, 3) float32, linear.
radius : ndarray
    (H, W) float32: signed radius of the circle of confusion.
labels : ndarray
    (H, W) uint8: the group of each pixel, 0 farthest.
margin : int
    Width of the margin, in which radius and labels go on and light is not known.
jump : float
    Neighbours whose radii differ by more are parts of different surfaces.
range : (float, float)
    The least and the most that light may be.
plate : ndarray
    (H, W, C) float32, C-contiguous: a copy of `light`; changed as layers are made.

Raises
------
TypeError, ValueError
    If a dtype or shape is not one of those above.
)";

constexpr const char* kLayerMakerDoc = R"(Make one layer: its visible pixels, what nearer layers hide of it, and its outline.

The layers of a photo are to be made one after the other, the farthest first. Methods release the GIL; different rows may
be given to different threads.

Parameters
----------
photo : LabelledPhoto
    The photo.
label : int
    The layer's group.
behind : ndarray
    (H, W) uint8: the photo's labels without nearer groups.
box : (int, int, int, int)
    Top, left, height and width of the part of the photo that is made.
blocks : ndarray
    bool, one for each block of the photo: where pixels that do not show the layer count.
block : int
    Width of the blocks.

Raises
------
TypeError, ValueError
    If an argument is not as above.
)";

constexpr const char* kKernelsDoc = R"(An aperture's blur for all radii from 0 to a largest.

Parameters
----------
spans : ndarray
    (S, N, 2) float32, within -1..1: of each shape the left and right ends on N scanlines that divide -1..1 evenly.
max_radius : float
    Pixels, 0..64.
steps : int
    Radii for each pixel of radius, 1..256.
width : int
    Of the photo, pixels.

Raises
------
TypeError, ValueError
    If a dtype, shape or value is not one of those above.
)";

constexpr const char* kLayerScatterDoc = R"(Spread the light of a layer's pixels over their circles of confusion.

Circles with a radius in (T 2^(l-1), T 2^l] are spread in a picture of level l, whose pixels are 2^l wide.

Parameters
----------
values : ndarray
    (H, W, C + 1) float32: C = 1 or 3 channels of linear light times the part covered, and the signed radius in pixels.
cover : ndarray
    (H, W) uint8: 0 too far away to matter; 1 outside the layer's outline, to 255 covered by it.
offset : float
    Added to all radii.
kernels : ApertureKernels
    With 2 cells**2 shapes: of each cell of the photo the aperture as it is, and turned by 180 degrees.
top, left, photo_height, photo_width : int
    Where the layer lies in which photo.
cells : int
    Odd: the photo is divided into cells x cells parts, each with shapes of its own.
threshold : float
    T, pixels, > 0.
second_moment : float
    The aperture's mean variance along the axes for radius 1.

Raises
------
TypeError, ValueError
    If a dtype, shape or value is not one of those above.
)";

constexpr const char* kScatterDoc = R"(Scatter the rows first..last - 1 of a level >= 1, without the GIL.

Parameters
----------
level, first, last : int
    The level, and its rows.
members : ndarray
    (h, w, C + 1) float32, of the level's size; light and coverage are written to its rows.
outside : ndarray
    (h, w) float32: coverage by what lies outside the layer.
)";

constexpr const char* kCompositeDoc = R"(Put rows first..last - 1 of the layer over a canvas, without the GIL.

Parameters
----------
coarse : list of (int, ndarray, ndarray)
    Level and sums of each level above 0 that any radius falls into.
first, last : int
    The rows.
canvas : ndarray
    (h, w, C) float32, may be a part of a larger one; changed.
top, left : int
    The canvas's place in the layer.
)";

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ algorithms. Raster indices are ``row * width + column``.";

  const py::arg_v no_mask = py::arg("mask") = py::none();
  m.def("confidence_order", order, py::arg("confidence"), no_mask, kOrderDoc);
  m.def("confidence_batches", batches, py::arg("confidence"), py::arg("radius"), no_mask, kBatchesDoc);

  m.def("dynamic_order", dynamic_order_of, py::arg("means"), py::arg("confidence"), py::arg("radius"), no_mask,
        kDynamicOrderDoc);

  py::class_<ConfidenceScheduler>(m, "ConfidenceScheduler", kSchedulerDoc)
      .def(py::init(&make_scheduler), py::arg("confidence"), py::arg("radius"), no_mask)
      .def("pop", pop, py::arg("max_count"), kPopDoc)
      .def("done", done, py::arg("pixels"), kDoneDoc)
      .def("cancel", &ConfidenceScheduler::cancel,
           "End the run, for example because a thread failed: wake all who wait in `pop`, which gives nothing more.")
      .def_property_readonly("remaining", &ConfidenceScheduler::remaining, "The number of pixels not yet done.");

  py::class_<DynamicOrder>(m, "DynamicOrder", kDynamicDoc)
      .def(py::init([](const py::array& confidence, const std::optional<py::array>& mask) {
             return DynamicOrder(MapArrays(confidence, mask).map());
           }),
           py::arg("confidence"), no_mask)
      .def("__len__", &DynamicOrder::size)
      .def("pop", &DynamicOrder::pop,
           "Take the pixel of highest priority, ties by raster index. Raises IndexError if none is left.")
      .def("update", update, py::arg("pixels"), py::arg("priorities"), kUpdateDoc);

  py::class_<PatchTree>(m, "PatchTree", kTreeDoc)
      .def(py::init(&make_tree), py::arg("patches"), py::arg("colours"), py::arg("basis"), py::arg("mean"))
      .def("__len__", &PatchTree::count)
      .def_property_readonly("colour_count", &PatchTree::colour_count, "The number of distinct colours.")
      .def("nearest_colours", nearest_colours, py::arg("queries"), py::arg("count"), kNearestDoc);

  py::class_<TextureAssignment>(m, "TextureAssignment", kAssignmentDoc)
      .def(py::init<py::object, const py::array&, const py::array&, const py::array&, const std::optional<py::array>&,
                    py::ssize_t, const py::array&, const py::array&, const py::array&, std::int64_t, std::int64_t,
                    const py::array&>(),
           py::arg("contexts"), py::arg("above"), py::arg("below"), py::arg("slots"), py::arg("ranks"),
           py::arg("patch_size"), py::arg("colours"), py::arg("distances"), py::arg("patches"),
           py::arg("image_weight"), py::arg("texture_weight"), py::arg("picture"))
      .def("run", &TextureAssignment::run, py::arg("scheduler"),
           "Assign pixels until the scheduler has none left. Any number of threads may call it; without the GIL.")
      .def_property_readonly("picture", &TextureAssignment::picture, "(H, W, C) uint8: the picture as it is now.")
      .def_property_readonly("chosen", &TextureAssignment::chosen, "(M,) int32: the candidate that each pixel took.");

  m.def("decode_srgb", apply_curve<decode_srgb>, py::arg("values"),
        "Return the linear light of sRGB-encoded float32 values, of any shape; without the GIL.");
  m.def("encode_srgb", apply_curve<encode_srgb>, py::arg("values"),
        "Return the sRGB encoding of linear light, float32 of any shape; without the GIL.");

  m.def("neighbour_counts", neighbour_counts, py::arg("pixels"), py::arg("first"), py::arg("last"), py::arg("bins"),
        kCountsDoc);
  m.def("survey_groups", survey, py::arg("labels"), py::arg("groups"), py::arg("block"), kSurveyDoc);
  m.def("peel_labels", peel, py::arg("labels"), py::arg("label"), kPeelDoc);

  py::class_<PhotoArrays>(m, "LabelledPhoto", kLabelledPhotoDoc)
      .def(py::init<const py::array&, const py::array&, const py::array&, std::int32_t, float,
                    std::pair<float, float>, py::array>(),
           py::arg("light"), py::arg("radius"), py::arg("labels"), py::arg("margin"), py::arg("jump"),
           py::arg("range"), py::arg("plate").noconvert());

  py::class_<LayerArrays>(m, "LayerMaker", kLayerMakerDoc)
      .def(py::init<py::object, std::uint8_t, const py::array&, std::array<std::int32_t, 4>, const py::array&,
                    std::int32_t>(),
           py::arg("photo"), py::arg("label"), py::arg("behind"), py::arg("box"), py::arg("blocks"),
           py::arg("block"))
      .def("look", &LayerArrays::look, py::arg("first"), py::arg("last"),
           "First, for all rows: say of the pixels of rows first..last - 1 what they are to the layer.")
      .def("halve", &LayerArrays::halve, py::arg("first"), py::arg("last"),
           "Then, for (h + 1) // 2 rows: halve what is known, for push-pull.")
      .def("fill", &LayerArrays::fill, "Then, once: fill in what is not known.")
      .def("finish", &LayerArrays::finish, py::arg("first"), py::arg("last"),
           "Then, for all rows: write `values` and `cover`, and bring the plate up to date.")
      .def_property_readonly("values", &LayerArrays::values, "(h, w, C + 1) float32: the part's light, and its radius.")
      .def_property_readonly("cover", &LayerArrays::cover, "(h, w) uint8: 0 nothing, 1 outside, to 255 covered.");

  py::class_<ApertureKernels>(m, "ApertureKernels", kKernelsDoc)
      .def(py::init(&make_kernels), py::arg("spans"), py::arg("max_radius"), py::arg("steps"), py::arg("width"));

  m.def("level_size", level_size, py::arg("length"), py::arg("level"),
        "Return how many pixels a level >= 0 of the scatter has along an axis of so many pixels.");

  py::class_<LayerScatter>(m, "LayerScatter", kLayerScatterDoc)
      .def(py::init<const py::array&, const py::array&, float, py::object, py::ssize_t, py::ssize_t, py::ssize_t,
                    py::ssize_t, std::int32_t, float, float>(),
           py::arg("values"), py::arg("cover"), py::arg("offset"), py::arg("kernels"), py::arg("top"), py::arg("left"),
           py::arg("photo_height"), py::arg("photo_width"), py::arg("cells"), py::arg("threshold"),
           py::arg("second_moment"))
      .def("radii", &LayerScatter::radii, py::arg("first"), py::arg("last"),
           "Return the least and the largest radius (magnitude, with the offset) of the pixels that matter in rows "
           "first..last - 1; infinity and 0 for none.")
      .def("scatter", &LayerScatter::rows, py::arg("level"), py::arg("first"), py::arg("last"),
           py::arg("members").noconvert(), py::arg("outside").noconvert(), kScatterDoc)
      .def("composite", &LayerScatter::composite, py::arg("coarse"), py::arg("first"),
           py::arg("last"), py::arg("canvas").noconvert(), py::arg("top"), py::arg("left"), kCompositeDoc);
}
