// Assigns the pixels of the synthesized picture (paper B, sections 2.2 and 3.2): of a pixel's candidates the one
// whose neighbourhood looks most like some patch of the library and whose blurred patch fits the photo best.
//
// Minimised over the candidates c and the patches v, in integers, so that nothing is rounded:
//   image_weight d_image(c) + texture_weight (d(v, neighbourhood) + |v_centre - c|^2).
// A candidate changes the centre of the window alone, so one search serves all candidates of a pixel. Of equal
// sums the candidate that stands first wins.
#pragma once

#include <cstddef>
#include <cstdint>

#include "patch_tree.hpp"
#include "scheduler.hpp"

namespace fastrefocus {

// All borrowed. A slot is a pixel of the mask, in raster order. Neighbours outside the mask or the picture do not
// count.
struct AssignmentTask {
  const PatchTree* contexts;  // the library's patches without their centres
  // Of each patch the ones whose centres lie one row further up and down; -1: none. They only save time.
  const std::int32_t* above;
  const std::int32_t* below;

  const std::int32_t* slots;  // (height, width): -1 outside the mask
  const std::int32_t* ranks;  // of each slot: only neighbours of lower rank count (causal); nullptr: all
  std::int32_t height, width, channels, patch_size;

  const Colour* colours;          // (slots, candidates)
  const std::int32_t* distances;  // (slots, candidates), rising
  const std::int32_t* patches;    // (slots, candidates)
  std::int32_t candidates;
  std::int64_t image_weight, texture_weight;  // >= 0, >= 1

  std::uint8_t* picture;  // (height, width, channels), begun with first guesses; changed
  std::int32_t* chosen;   // (slots): the candidate taken
  std::int32_t* matches;  // (slots): the patch of the library that the neighbourhood looks like; -1: none yet
};

// Works until the scheduler has no pixels left. Any number of threads may do so. Throws std::invalid_argument if the
// scheduler is not one of the task's pixels, or its windows are smaller than the patches.
void assign_pixels(const AssignmentTask& task, ConfidenceScheduler& scheduler);

}  // namespace fastrefocus
