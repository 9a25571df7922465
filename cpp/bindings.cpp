#include "bindings.hpp"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ algorithms. Raster indices are ``row * width + column``.";
  fastrefocus::bind_scheduler(m);
  fastrefocus::bind_synthesis(m);
  fastrefocus::bind_rendering(m);
}
