"""Hot loops without policy: C++ (`_core`), Cython (`_patches`) and Numba (`proximal`)."""
