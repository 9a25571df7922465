#include "light.hpp"

#include <cmath>
#include <cstdint>
#include <cstring>

namespace fastrefocus {
namespace {

std::int32_t bits_of(float value) {
  std::int32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

float float_of(std::int32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// x^exponent for normal x > 0 and results within float, to some 2e-7 of the value: simple enough for compilers to do
// several at a time, which they do not with std::pow.
inline float power(float x, float exponent) {
  // log2: x = 2^n m with m in sqrt(1/2)..sqrt(2), and log m = 2 artanh((m - 1) / (m + 1))
  const std::int32_t n = (bits_of(x) - 0x3f3504f3) >> 23;
  const float m = float_of(bits_of(x) - n * (1 << 23));
  const float s = (m - 1) / (m + 1), s2 = s * s;
  const float series = 1 + s2 * (1.0f / 3 + s2 * (1.0f / 5 + s2 * (1.0f / 7 + s2 * (1.0f / 9))));
  const float y = exponent * (static_cast<float>(n) + 2.885390082f * s * series);
  // exp2: 2^y = 2^k 2^f with f in -1/2..1/2
  const auto k = static_cast<std::int32_t>(y + (y < 0 ? -0.5f : 0.5f));
  const float f = 0.6931471806f * (y - static_cast<float>(k));
  const float e =
      1 + f * (1 + f * (1.0f / 2 + f * (1.0f / 6 + f * (1.0f / 24 + f * (1.0f / 120 + f * (1.0f / 720 + f / 5040))))));
  return e * float_of((k + 127) * (1 << 23));
}

}  // namespace

void decode_srgb(const float* encoded, float* linear, std::ptrdiff_t count) {
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const float magnitude = std::abs(encoded[i]);
    const float curve = power((magnitude + 0.055f) / 1.055f, 2.4f);
    linear[i] = std::copysign(magnitude <= 0.04045f ? magnitude / 12.92f : curve, encoded[i]);
  }
}

void encode_srgb(const float* linear, float* encoded, std::ptrdiff_t count) {
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const float magnitude = std::abs(linear[i]);
    const float curve = 1.055f * power(magnitude < 0.0031308f ? 0.0031308f : magnitude, 1 / 2.4f) - 0.055f;
    encoded[i] = std::copysign(magnitude <= 0.0031308f ? magnitude * 12.92f : curve, linear[i]);
  }
}

}  // namespace fastrefocus
