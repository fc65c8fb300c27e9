// Compact format: a header, then sections whose offsets follow from its counts.
//
// Each section begins at a multiple of 64 bytes and is padded with zeros. In this order:
//   unigrams  NgramUnigram[vocab]
//   states    NgramState[states + 1]
//   arcs      NgramArc[arcs]
//   slots     uint32[slots]
//   offsets   uint64[vocab + 1]
//   text      char[text]
// The checksum covers the whole file, with 0 in its own place.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "mms/ngram.h"

namespace mms::lm {

constexpr std::array<char, 8> kMagic = {'M', 'M', 'S', 'N', 'G', 'R', 'A', 'M'};
constexpr std::uint32_t kVersion = 1;
constexpr std::uint32_t kByteOrder = 0x01020304;
constexpr std::size_t kAlignment = 64;

struct Header {
  std::array<char, 8> magic = kMagic;
  std::uint32_t version = kVersion;
  std::uint32_t byte_order = kByteOrder;
  std::uint64_t checksum = 0;
  std::uint64_t file_size = 0;
  std::uint32_t order = 0;
  std::uint32_t vocab = 0;
  std::uint32_t states = 0;
  std::uint32_t arcs = 0;
  std::uint64_t slots = 0;
  std::uint64_t text = 0;
  LmState start = 0;
  LmUnit unknown = 0;
  LmUnit end = 0;
  std::array<std::uint32_t, 13> unused = {};
};
static_assert(sizeof(Header) == 2 * kAlignment);

/// Offsets of the sections in bytes.
struct Layout {
  explicit Layout(const Header& header);
  std::uint64_t unigrams;
  std::uint64_t states;
  std::uint64_t arcs;
  std::uint64_t slots;
  std::uint64_t offsets;
  std::uint64_t text;
  std::uint64_t end;
};

/// Eight interleaved chains h = (h ^ word) * prime over 64-bit words: detects any change of a
/// single word. It guards against damage; against malice, every index is checked.
class Checksum {
 public:
  /// Add a section, padded with zeros.
  void add(std::span<const std::byte> section);
  std::uint64_t value() const;

 private:
  std::array<std::uint64_t, 8> chains_ = {1, 2, 3, 4, 5, 6, 7, 8};
};

/// 64-bit FNV-1a.
std::uint64_t hash_of(std::string_view word);

}  // namespace mms::lm
