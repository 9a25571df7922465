// The only file that knows Python: shapes, dtypes and the GIL. Docstrings are numpydoc, signatures stand in
// src/fastrefocus/native/_core.pyi.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "assignment.hpp"
#include "patch_tree.hpp"
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
}
