#include "bindings.hpp"

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "assignment.hpp"
#include "patch_tree.hpp"
#include "scheduler.hpp"

namespace fastrefocus {
namespace {

// Squared distances of patches up to this size fit into 31 bits.
constexpr py::ssize_t kMostDims = 30000;

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

void bind_synthesis(py::module_& m) {
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

}  // namespace fastrefocus
