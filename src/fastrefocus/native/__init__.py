"""Hot loops without policy: C++ (`_core`), Cython (`_patches`, `_candidates`) and Numba (`proximal`)."""
