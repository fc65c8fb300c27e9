#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "mms/hotwords.h"
#include "tree.h"

namespace mms {
namespace {

constexpr double kLimit = 1024.0;
constexpr std::size_t kMaxBytes = std::size_t{1} << 30U;
constexpr std::uint32_t kMaxPageBits = 6;

/// Transition rows, made of pages. Page 0 and row 0 lead to the root.
class Transitions {
 public:
  Transitions(std::int32_t vocab, std::size_t nodes)
      : taken_(nodes * (sizeof(HotNode) + sizeof(float))) {
    while (page_bits < kMaxPageBits && (std::int64_t{1} << page_bits) < vocab) ++page_bits;
    pages_per_row = static_cast<std::uint32_t>((vocab - 1) >> page_bits) + 1U;
    pages.resize(std::size_t{1} << page_bits);
    rows.resize(pages_per_row);
  }

  /// Add a copy of a row, which shares its pages.
  std::uint32_t add_row(std::uint32_t like) {
    count(pages_per_row * sizeof(std::uint32_t));
    const auto row = static_cast<std::uint32_t>(rows.size() / pages_per_row);
    rows.resize(rows.size() + pages_per_row);
    std::copy_n(rows.data() + offset(like), pages_per_row, rows.data() + offset(row));
    first_own_page_ = static_cast<std::uint32_t>(pages.size() >> page_bits);
    return row;
  }

  HotState next(std::uint32_t row, std::int32_t token) const {
    return pages[place(rows[page_of(row, token)], token)];
  }

  /// Set a transition of the last row, copying its page on first write.
  void set(std::uint32_t row, std::int32_t token, HotState to) {
    std::uint32_t& page = rows[page_of(row, token)];
    if (page < first_own_page_) {
      const std::size_t size = std::size_t{1} << page_bits;
      count(size * (sizeof(HotState) + sizeof(float)));
      const auto copy = static_cast<std::uint32_t>(pages.size() >> page_bits);
      pages.resize(pages.size() + size);
      std::copy_n(pages.data() + (std::size_t{page} << page_bits),
                  size,
                  pages.data() + (std::size_t{copy} << page_bits));
      page = copy;
    }
    pages[place(page, token)] = to;
  }

  std::uint32_t page_bits = 0;
  std::uint32_t pages_per_row = 1;
  std::vector<std::uint32_t> rows;
  std::vector<HotState> pages;

 private:
  std::size_t offset(std::uint32_t row) const { return std::size_t{row} * pages_per_row; }
  std::size_t page_of(std::uint32_t row, std::int32_t token) const {
    return offset(row) + (static_cast<std::uint32_t>(token) >> page_bits);
  }
  std::size_t place(std::uint32_t page, std::int32_t token) const {
    const std::uint32_t mask = (1U << page_bits) - 1U;
    return (std::size_t{page} << page_bits) + (static_cast<std::uint32_t>(token) & mask);
  }

  void count(std::size_t bytes) {
    taken_ += bytes;
    if (taken_ > kMaxBytes) {
      throw std::invalid_argument(
          "the phrases need more than 1 GiB of memory: give fewer or shorter ones");
    }
  }

  std::size_t taken_;
  std::uint32_t first_own_page_ = 0;
};

/// Automaton under construction. States are numbered like the branches of the tree, so the states
/// of a phrase are consecutive.
struct Draft {
  /// Transitions of a state: `token` leads to `next`, all others follow `row`.
  struct Exits {
    std::uint32_t row = 0;
    std::int32_t token = -1;
    HotState next = 0;
  };

  Draft(std::int32_t vocab, std::size_t count)
      : transitions(vocab, count), exits(count), ended(count), lent(count), failures(count) {
    order.reserve(count);
    order.push_back(0);
  }

  HotState next(HotState state, std::int32_t token) const {
    const Exits& out = exits[state];
    return token == out.token ? out.next : transitions.next(out.row, token);
  }

  Transitions transitions;
  std::vector<Exits> exits;
  std::vector<double> ended;
  std::vector<double> lent;
  std::vector<HotState> failures;  ///< Longest proper suffix that is a state.
  std::vector<HotState> order;     ///< States by depth.
};

/// Transitions of a node: those of its failure state, overridden by its children.
Draft::Exits exits_of(const HotTree& tree,
                      std::uint32_t node,
                      const Draft::Exits& like,
                      Transitions& transitions) {
  const HotBranch& branch = tree[node];
  const std::uint32_t first = branch.first_child;
  if (first == kNoBranch) return like;
  const std::int32_t token = tree[first].token;
  const bool is_only = first == branch.last_child && node != 0;
  if (is_only && (like.token < 0 || like.token == token)) return {like.row, token, first};
  const std::uint32_t row = transitions.add_row(like.row);
  if (like.token >= 0) transitions.set(row, like.token, like.next);
  for (auto child = first; child != kNoBranch; child = tree[child].next_sibling) {
    transitions.set(row, tree[child].token, child);
  }
  return {row, -1, 0};
}

/// Build breadth first: the failure state of a node, which is shorter, is complete.
Draft draft_of(const HotTree& tree, std::int32_t vocab) {
  Draft draft(vocab, tree.size());
  for (std::size_t i = 0; i < draft.order.size(); ++i) {
    const HotState node = draft.order[i];
    const HotBranch& branch = tree[node];
    HotState& failure = draft.failures[node];
    if (branch.parent != 0) failure = draft.next(draft.failures[branch.parent], branch.token);
    draft.exits[node] = exits_of(tree, node, draft.exits[failure], draft.transitions);
    draft.ended[node] = branch.ended + draft.ended[failure];
    draft.lent[node] = std::max(branch.lent, draft.lent[failure]);
    for (auto child = branch.first_child; child != kNoBranch; child = tree[child].next_sibling) {
      draft.order.push_back(child);
    }
  }
  return draft;
}

std::vector<HotNode> nodes_of(const HotTree& tree, const Draft& draft, std::int32_t boundary) {
  std::vector<HotNode> nodes(tree.size());
  double greatest_arrival = 0.0;
  double greatest_lent = 0.0;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const double lent = draft.lent[i];
    const bool after_boundary = i != 0 && tree[i].token == boundary;
    double ending = 0.0;
    if (boundary >= 0 && !after_boundary) {
      ending = draft.ended[draft.next(static_cast<HotState>(i), boundary)];
    }
    nodes[i].row = 2U * draft.exits[i].row + (after_boundary ? 1U : 0U);
    nodes[i].token = draft.exits[i].token;
    nodes[i].next = draft.exits[i].next;
    nodes[i].potential = static_cast<float>(lent);
    nodes[i].arrival = static_cast<float>(lent + draft.ended[i]);
    nodes[i].finish = static_cast<float>(ending - lent);
    greatest_lent = std::max(greatest_lent, lent);
    greatest_arrival = std::max(greatest_arrival, lent + std::abs(draft.ended[i]));
  }
  if (greatest_arrival + greatest_lent >= kLimit) {
    throw std::invalid_argument(
        "the phrases that can end together weigh too much: a bonus could reach 1024 nats");
  }
  return nodes;
}

/// Upper bounds of the bonuses by state, over its children and its failure state.
std::vector<float> highest_of(const HotTree& tree,
                              const Draft& draft,
                              const std::vector<HotNode>& nodes) {
  std::vector<float> highest(nodes.size());
  for (const HotState node : draft.order) {
    float& own = highest[node];
    own = highest[draft.failures[node]];
    for (auto child = tree[node].first_child; child != kNoBranch;
         child = tree[child].next_sibling) {
      own = std::max(own, nodes[child].arrival);
    }
    // A boundary after a boundary adds nothing.
    if ((nodes[node].row & 1U) != 0U) own = std::max(own, nodes[node].potential);
  }
  for (std::size_t i = 0; i < nodes.size(); ++i) highest[i] -= nodes[i].potential;
  return highest;
}

}  // namespace

Hotwords::Hotwords(const std::vector<Phrase>& phrases, std::int32_t vocab, std::int32_t boundary)
    : vocab_(vocab) {
  if (vocab < 1) {
    throw std::invalid_argument("vocab is " + std::to_string(vocab) + ", it must be at least 1");
  }
  if (boundary < -1 || boundary >= vocab) {
    throw std::invalid_argument("boundary is " + std::to_string(boundary) +
                                ", it must be a token below " + std::to_string(vocab) +
                                ", or -1 for none");
  }
  const HotTree tree(phrases, vocab, boundary);
  Draft draft = draft_of(tree, vocab);
  nodes_ = nodes_of(tree, draft, boundary);
  highest_ = highest_of(tree, draft, nodes_);
  // Every predecessor of a state has its parent as a suffix, and so at least the parent's
  // potential: the step from the parent has the greatest bonus.
  for (std::size_t i = 1; i < nodes_.size(); ++i) {
    max_bonus_ = std::max(max_bonus_, nodes_[i].arrival - nodes_[tree[i].parent].potential);
  }
  rows_ = std::move(draft.transitions.rows);
  pages_ = std::move(draft.transitions.pages);
  arrivals_.reserve(pages_.size());
  for (const HotState state : pages_) arrivals_.push_back(nodes_[state].arrival);
  view_.nodes = nodes_.data();
  view_.rows = rows_.data();
  view_.pages = pages_.data();
  view_.node_count = static_cast<std::uint32_t>(nodes_.size());
  view_.pages_per_row = draft.transitions.pages_per_row;
  view_.page_bits = draft.transitions.page_bits;
  view_.row_count = static_cast<std::uint32_t>(rows_.size() / view_.pages_per_row);
  view_.page_count = static_cast<std::uint32_t>(pages_.size() >> view_.page_bits);
  view_.boundary = boundary;
  view_.start = boundary < 0 ? 0U : view_.step(0, boundary).state;
}

std::size_t Hotwords::bytes() const {
  return nodes_.size() * (sizeof(HotNode) + sizeof(float)) + rows_.size() * sizeof(std::uint32_t) +
         pages_.size() * (sizeof(HotState) + sizeof(float));
}

}  // namespace mms
