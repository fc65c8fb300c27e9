// Trie of the phrases, from which the automaton is built.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "mms/hotwords.h"

namespace mms {

constexpr std::uint32_t kNoBranch = 0;  // Node 0 is the root, never a child.

/// Normalised phrase: runs of boundaries collapsed, and one boundary on either side.
struct HotPattern {
  std::vector<std::int32_t> tokens;
  std::size_t margin;  ///< Boundaries on each side, 0 or 1.
  double weight;       ///< A multiple of 2^-14.
};

/// Node of the trie.
struct HotBranch {
  std::int32_t token = 0;
  std::uint32_t parent = kNoBranch;
  std::uint32_t first_child = kNoBranch;
  std::uint32_t last_child = kNoBranch;
  std::uint32_t next_sibling = kNoBranch;
  double ended = 0.0;  ///< Weight of the phrase that ends here.
  double lent = 0.0;   ///< Greatest share lent by phrases that continue.
};

class HotTree {
 public:
  /// Throws std::invalid_argument as `Hotwords` does.
  HotTree(const std::vector<Phrase>& phrases, std::int32_t vocab, std::int32_t boundary);

  std::size_t size() const { return branches_.size(); }
  const HotBranch& operator[](std::size_t node) const { return branches_[node]; }

 private:
  void add(const HotPattern& pattern, const std::vector<std::int32_t>& earlier);
  std::uint32_t grow(std::uint32_t parent, std::int32_t token);

  std::vector<HotBranch> branches_;
  std::vector<std::uint32_t> path_;  ///< Nodes of the latest phrase, root first.
};

}  // namespace mms
