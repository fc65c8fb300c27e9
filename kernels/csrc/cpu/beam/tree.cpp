#include "tree.h"

namespace mms {

PrefixTree::PrefixTree() { root_ = make(kNone, -1); }

PrefixTree::Id PrefixTree::make(Id parent, std::int32_t token) {
  Id id;
  if (free_.empty()) {
    id = static_cast<Id>(nodes_.size());
    nodes_.emplace_back();
  } else {
    id = free_.back();
    free_.pop_back();
  }
  nodes_[index(id)] = {parent, token, 1, 0, kNone, kNone};
  ++live_;
  return id;
}

void PrefixTree::free_node(Id id) {
  free_.push_back(id);
  --live_;
}

void PrefixTree::unlink_ghost(Id id) {
  const Node& node = nodes_[index(id)];
  if (node.parent == kNone) return;
  Id* link = &nodes_[index(node.parent)].ghost;
  while (*link != id) link = &nodes_[index(*link)].next_ghost;
  *link = node.next_ghost;
}

PrefixTree::Id PrefixTree::enter(Id parent, std::int32_t token, bool* is_new) {
  *is_new = false;
  for (Id id = nodes_[index(parent)].ghost; id != kNone; id = nodes_[index(id)].next_ghost) {
    if (nodes_[index(id)].token != token) continue;
    unlink_ghost(id);
    ++nodes_[index(id)].refs;
    return id;
  }
  *is_new = true;
  const Id id = make(parent, token);
  ++nodes_[index(parent)].refs;
  return id;
}

void PrefixTree::leave(Id id) {
  Node& node = nodes_[index(id)];
  node.slot = -1;
  if (--node.refs > 0) {
    if (node.parent != kNone) {
      node.next_ghost = nodes_[index(node.parent)].ghost;
      nodes_[index(node.parent)].ghost = id;
    }
    return;
  }
  for (Id up = node.parent;; up = nodes_[index(id)].parent) {
    free_node(id);
    if (up == kNone || --nodes_[index(up)].refs > 0) return;
    id = up;
    unlink_ghost(id);
  }
}

void PrefixTree::advance_root(Id child) {
  free_node(root_);
  Node& node = nodes_[index(child)];
  node.parent = kNone;
  node.next_ghost = kNone;
  root_ = child;
}

}  // namespace mms
