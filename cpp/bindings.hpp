// What the bindings share. They alone know Python: shapes, dtypes and the GIL. Docstrings are numpydoc, signatures stand in
// src/fastrefocus/native/_core.pyi.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <string>
#include <vector>

namespace fastrefocus {

namespace py = pybind11;

void bind_scheduler(py::module_& m);
void bind_synthesis(py::module_& m);
void bind_rendering(py::module_& m);

inline std::string str(const py::handle& object) { return py::str(object); }

// Checks the dtype, and makes the array C-contiguous: a copy where it is not. Nothing is converted.
template <class T>
py::array_t<T, py::array::c_style> contiguous(const py::array& array, const std::string& name) {
  if (!py::isinstance<py::array_t<T>>(array))
    throw py::type_error(name + " must have dtype " + str(py::dtype::of<T>()) + ", got " +
                         str(array.dtype()));
  return py::array_t<T, py::array::c_style>(array);
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

}  // namespace fastrefocus
