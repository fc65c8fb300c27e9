// The phrases as a tree, on the way to their automaton.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "mms/hotwords.h"

namespace mms {

constexpr std::uint32_t kNoBranch = 0;  // Node 0 is the root, which is nobody's child or sibling.

/// A phrase as the automaton reads it: runs of boundaries made one, and one on either side.
struct HotPattern {
  std::vector<std::int32_t> tokens;
  std::size_t margin;  ///< Boundaries on either side, 0 or 1.
  double weight;       ///< A multiple of 2^-14.
};

/// A node of the tree of patterns.
struct HotBranch {
  std::int32_t token = 0;
  std::uint32_t parent = kNoBranch;
  std::uint32_t first_child = kNoBranch;
  std::uint32_t last_child = kNoBranch;
  std::uint32_t next_sibling = kNoBranch;
  double ended = 0.0;  ///< Weights of the patterns that are this node.
  double lent = 0.0;   ///< By the patterns that go on from here.
};

class HotTree {
 public:
  /// Throws std::invalid_argument for phrases that `Hotwords` does not take.
  HotTree(const std::vector<Phrase>& phrases, std::int32_t vocab, std::int32_t boundary);

  std::size_t size() const { return branches_.size(); }
  const HotBranch& operator[](std::size_t node) const { return branches_[node]; }

 private:
  void add(const HotPattern& pattern, const std::vector<std::int32_t>& earlier);
  std::uint32_t grow(std::uint32_t parent, std::int32_t token);

  std::vector<HotBranch> branches_;
  std::vector<std::uint32_t> path_;  ///< Nodes of the latest pattern, the root first.
};

}  // namespace mms
