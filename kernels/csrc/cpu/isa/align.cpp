#include <cstring>

#include "kernels.h"
#include "pairs.h"

namespace mms::MMS_ISA {
namespace {

constexpr int kVectors = 4;  // processed together
constexpr int kGroup = kVectors * kLanes;
constexpr int kGroups = static_cast<int>(kAlignPlaces) / kGroup;

/// One group of places over all frames of a tile, with its scores in registers.
template <bool kChoices>
inline void advance_group(const AlignTile& tile, int first) {
  Doubles blanks[kVectors];
  Doubles labels[kVectors];
  Mask skips[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    blanks[v] = load(tile.blanks + first + v * kLanes);
    labels[v] = load(tile.labels + first + v * kLanes);
    skips[v] = mask_of(tile.skips >> (first + v * kLanes));
  }
  for (std::int64_t frame = 0; frame < tile.frames; ++frame) {
    const float* emissions = tile.emissions + frame * kAlignPlaces + first;
    const Doubles blank = splat(tile.blank[frame]);
    Doubles before = shift_in(labels[kVectors - 1], tile.edge + frame);
    std::uint32_t from_label = 0;
    std::uint32_t entered = 0;
    for (int v = 0; v < kVectors; ++v) {
      const Doubles label = labels[v];
      const Doubles reached = max(before, blanks[v]);
      const Doubles entry = choose(skips[v], reached, blanks[v]);
      if constexpr (kChoices) {
        from_label |= bits_of(greater(before, blanks[v])) << (v * kLanes);
        entered |= bits_of(greater(entry, label)) << (v * kLanes);
      }
      labels[v] = max(entry, label) + widen(emissions + v * kLanes);
      blanks[v] = reached + blank;
      before = label;
    }
    if constexpr (kChoices) {
      tile.choices[frame][0] |= from_label << first;
      tile.choices[frame][1] |= entered << first;
    }
  }
  for (int v = 0; v < kVectors; ++v) {
    store(tile.blanks + first + v * kLanes, blanks[v]);
    store(tile.labels + first + v * kLanes, labels[v]);
  }
}

void advance(const AlignTile& tile) {
  if (tile.choices == nullptr) {
    for (int group = 0; group < kGroups; ++group) advance_group<false>(tile, group * kGroup);
    return;
  }
  std::memset(tile.choices, 0, static_cast<std::size_t>(tile.frames) * sizeof *tile.choices);
  for (int group = 0; group < kGroups; ++group) advance_group<true>(tile, group * kGroup);
}

void gather(const float* columns,
            const std::int32_t* tokens,
            std::int64_t frames,
            float* emissions) {
  constexpr int kSquare = 8;
  const float* rows[kSquare];
  for (std::int64_t place = 0; place < kAlignPlaces; place += kSquare) {
    for (int i = 0; i < kSquare; ++i) rows[i] = columns + tokens[place + i] * kAlignFrames;
    for (std::int64_t frame = 0; frame < frames; frame += kSquare) {
      transpose(rows, frame, emissions + frame * kAlignPlaces + place, kAlignPlaces);
    }
  }
}

}  // namespace

const AlignKernels kAlign{kLanes, gather, advance};

}  // namespace mms::MMS_ISA
