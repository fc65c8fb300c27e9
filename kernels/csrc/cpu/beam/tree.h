// Prefix tree of a beam; unused nodes are freed at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mms {

/// Reference-counted nodes: one reference per child, and one while in the beam.
class PrefixTree {
 public:
  using Id = std::int32_t;
  static constexpr Id kNone = -1;

  struct Node {
    Id parent;
    std::int32_t token;  ///< Last token of the prefix; -1 for the empty prefix.
    std::int32_t refs;
    std::int32_t slot;  ///< Slot in the beam; -1 if not in the beam.
    Id ghost;           ///< First child that is not in the beam but has descendants.
    Id next_ghost;
  };

  /// Create a tree of the empty prefix, in the beam.
  PrefixTree();

  const Node& operator[](Id id) const { return nodes_[index(id)]; }
  Id root() const { return root_; }
  /// Nodes in use, and allocated nodes.
  std::int64_t live() const { return live_; }
  std::size_t capacity() const { return nodes_.size(); }

  void set_slot(Id id, std::int32_t slot) { nodes_[index(id)].slot = slot; }

  /// Put the extension of `parent` by `token`, which is not in the beam, into it, and return its
  /// node; `is_new` is set if the node was created.
  Id enter(Id parent, std::int32_t token, bool* is_new);

  /// Take a node out of the beam and free it and its ancestors as far as unused.
  void leave(Id id);

  /// Replace the root by `child`, its only child.
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
