#include "bindings.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "scheduler.hpp"

namespace fastrefocus {
namespace {

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

}  // namespace

void bind_scheduler(py::module_& m) {
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
}

}  // namespace fastrefocus
