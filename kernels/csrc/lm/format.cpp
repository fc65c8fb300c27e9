#include "format.h"

#include <algorithm>
#include <cstring>

namespace mms::lm {
namespace {

constexpr std::uint64_t kPrime = 0x100000001b3;
constexpr std::uint64_t kOffsetBasis = 0xcbf29ce484222325;

std::uint64_t padded(std::uint64_t size) {
  return (size + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

// 32-bit counts cannot overflow; 64-bit counts have been bounded by the file size.
Layout::Layout(const Header& header)
    : unigrams(sizeof(Header)),
      states(padded(unigrams + std::uint64_t{header.vocab} * sizeof(NgramUnigram))),
      arcs(padded(states + (std::uint64_t{header.states} + 1) * sizeof(NgramState))),
      slots(padded(arcs + std::uint64_t{header.arcs} * sizeof(NgramArc))),
      offsets(padded(slots + header.slots * sizeof(std::uint32_t))),
      text(padded(offsets + (std::uint64_t{header.vocab} + 1) * sizeof(std::uint64_t))),
      end(padded(text + header.text)) {}

void Checksum::add(std::span<const std::byte> section) {
  std::array<std::uint64_t, 8> block;
  for (std::size_t at = 0; at < section.size(); at += sizeof(block)) {
    const std::size_t size = std::min(sizeof(block), section.size() - at);
    if (size < sizeof(block)) block = {};
    std::memcpy(block.data(), section.data() + at, size);
    for (std::size_t i = 0; i < 8; ++i) chains_[i] = (chains_[i] ^ block[i]) * kPrime;
  }
}

std::uint64_t Checksum::value() const {
  std::uint64_t value = kOffsetBasis;
  for (const std::uint64_t chain : chains_) {
    value = (value ^ chain) * kPrime;
    value ^= value >> 32U;
  }
  return value;
}

std::uint64_t hash_of(std::string_view word) {
  std::uint64_t hash = kOffsetBasis;
  for (const char byte : word) hash = (hash ^ static_cast<unsigned char>(byte)) * kPrime;
  return hash;
}

}  // namespace mms::lm
