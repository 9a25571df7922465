// The curves between sRGB-encoded values and linear light (IEC 61966-2-1), continued oddly below 0.
#pragma once

#include <cstddef>

namespace fastrefocus {

void decode_srgb(const float* encoded, float* linear, std::ptrdiff_t count);
void encode_srgb(const float* linear, float* encoded, std::ptrdiff_t count);

}  // namespace fastrefocus
