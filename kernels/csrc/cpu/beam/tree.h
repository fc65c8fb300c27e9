// The prefixes of a beam as a tree whose nodes are freed as soon as nothing needs them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mms {

/// Nodes are reference counted: one for each child, one for being a hypothesis of the beam.
class PrefixTree {
 public:
  using Id = std::int32_t;
  static constexpr Id kNone = -1;

  struct Node {
    Id parent;
    std::int32_t token;  ///< The last of the prefix; -1 at the start of the utterance.
    std::int32_t refs;
    std::int32_t slot;  ///< Of the hypothesis in the beam; -1 where it is none.
    Id ghost;           ///< First of the children that are not in the beam but have descendants.
    Id next_ghost;
  };

  /// A tree of the empty prefix, in the beam.
  PrefixTree();

  const Node& operator[](Id id) const { return nodes_[index(id)]; }
  Id root() const { return root_; }
  /// Nodes in use, and the largest id there ever was, plus one.
  std::int64_t live() const { return live_; }
  std::size_t capacity() const { return nodes_.size(); }

  void set_slot(Id id, std::int32_t slot) { nodes_[index(id)].slot = slot; }

  /// The node of `parent` extended by `token`, which is not in the beam, put into the beam.
  /// `is_new` tells whether it was made just now.
  Id enter(Id parent, std::int32_t token, bool* is_new);

  /// Take a node out of the beam; it and its ancestors are freed where nothing needs them.
  void leave(Id id);

  /// Free the root and make its only child, `child`, the root.
  void advance_root(Id child);

 private:
  static std::size_t index(Id id) { return static_cast<std::size_t>(id); }
  Id make(Id parent, std::int32_t token);
  void unlink_ghost(Id id);
  void free_node(Id id);

  std::vector<Node> nodes_;
  std::vector<Id> free_;
  Id root_ = 0;
  std::int64_t live_ = 0;
};

}  // namespace mms
