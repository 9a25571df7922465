#include "bindings.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <tuple>
#include <utility>

#include "aperture_kernels.hpp"
#include "layers.hpp"
#include "light.hpp"
#include "scatter.hpp"

namespace fastrefocus {
namespace {

template <void (*curve)(const float*, float*, std::ptrdiff_t)>
py::array_t<float> apply_curve(const py::array& values) {
  const auto input = contiguous<float>(values, "values");
  py::array_t<float> output(std::vector<py::ssize_t>(input.shape(), input.shape() + input.ndim()));
  float* out = output.mutable_data();
  const py::gil_scoped_release unlocked;
  curve(input.data(), out, input.size());
  return output;
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

  void quarter(std::int32_t first, std::int32_t last) {
    check_rows(first, last, (height_ + 3) / 4);
    const py::gil_scoped_release unlocked;
    maker_->quarter(first, last);
  }

  void fill_quarter() {
    const py::gil_scoped_release unlocked;
    maker_->fill_quarter();
  }

  void fill_half(std::int32_t first, std::int32_t last) {
    check_rows(first, last, (height_ + 1) / 2);
    const py::gil_scoped_release unlocked;
    maker_->fill_half(first, last);
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

void bind_rendering(py::module_& m) {
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
      .def("quarter", &LayerArrays::quarter, py::arg("first"), py::arg("last"),
           "Then, for (h + 3) // 4 rows: halve it again.")
      .def("fill_quarter", &LayerArrays::fill_quarter, "Then, once: fill in what is not known at a quarter of the size.")
      .def("fill_half", &LayerArrays::fill_half, py::arg("first"), py::arg("last"),
           "Then, for (h + 1) // 2 rows: fill in what is not known at half the size.")
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

}  // namespace fastrefocus
