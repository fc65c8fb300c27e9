#include "mms/hotwords.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace mms {
namespace {

constexpr double kGrid = 1.0 / 16384.0;
constexpr double kLimit = 1024.0;
constexpr std::size_t kMaxTokens = std::size_t{1} << 24U;
constexpr std::size_t kMaxBytes = std::size_t{1} << 30U;
constexpr std::uint32_t kMaxPageBits = 6;
constexpr std::uint32_t kNone = 0;  // Node 0 is the root, which is nobody's child or sibling.

double on_grid(double weight) { return std::nearbyint(weight / kGrid) * kGrid; }

std::string named(std::size_t phrase) { return "phrase " + std::to_string(phrase); }

/// A phrase as the automaton reads it: runs of boundaries made one, and one on either side.
struct Pattern {
  std::vector<std::int32_t> tokens;
  std::size_t margin;  ///< Boundaries on either side, 0 or 1.
  double weight;
};

Pattern pattern_of(const Phrase& phrase, std::int32_t boundary) {
  Pattern pattern{{}, boundary < 0 ? 0U : 1U, on_grid(phrase.weight)};
  pattern.tokens.reserve(phrase.tokens.size() + 2);
  if (boundary >= 0) pattern.tokens.push_back(boundary);
  for (const std::int32_t token : phrase.tokens) {
    if (token != boundary || pattern.tokens.back() != boundary) pattern.tokens.push_back(token);
  }
  if (boundary >= 0 && pattern.tokens.back() != boundary) pattern.tokens.push_back(boundary);
  return pattern;
}

void check_phrase(const Phrase& phrase, std::size_t index, std::int32_t vocab) {
  for (const std::int32_t token : phrase.tokens) {
    if (token < 0 || token >= vocab) {
      throw std::invalid_argument(named(index) + " holds token " + std::to_string(token) +
                                  ", the vocabulary has " + std::to_string(vocab));
    }
  }
  if (!std::isfinite(phrase.weight)) {
    throw std::invalid_argument(named(index) + " has a weight that is not a finite number");
  }
}

/// Sorted, so that the tree can be written from left to right; equal ones are made one.
std::vector<Pattern> patterns_of(const std::vector<Phrase>& phrases,
                                 std::int32_t vocab,
                                 std::int32_t boundary) {
  std::size_t total = 0;
  for (const Phrase& phrase : phrases) total += phrase.tokens.size() + 2;
  if (total > kMaxTokens) {
    throw std::invalid_argument("the phrases hold " + std::to_string(total) +
                                " tokens and boundaries, at most " + std::to_string(kMaxTokens) +
                                " are taken");
  }
  std::vector<Pattern> patterns;
  patterns.reserve(phrases.size());
  for (std::size_t i = 0; i < phrases.size(); ++i) {
    check_phrase(phrases[i], i, vocab);
    patterns.push_back(pattern_of(phrases[i], boundary));
    if (patterns[i].tokens.size() <= patterns[i].margin) {
      throw std::invalid_argument(named(i) + " is empty");
    }
  }
  std::sort(patterns.begin(), patterns.end(), [](const Pattern& a, const Pattern& b) {
    return a.tokens < b.tokens;
  });
  return patterns;
}

/// A node of the tree of patterns.
struct Branch {
  std::int32_t token = 0;
  std::uint32_t parent = kNone;
  std::uint32_t first_child = kNone;
  std::uint32_t last_child = kNone;
  std::uint32_t next_sibling = kNone;
  double ended = 0.0;  ///< Weights of the patterns that are this node.
  double lent = 0.0;   ///< By the patterns that go on from here.
};

class Tree {
 public:
  Tree() : branches_(1), path_(1, kNone) {}

  /// Patterns come in order.
  void add(const Pattern& pattern, const std::vector<std::int32_t>& earlier) {
    const auto& tokens = pattern.tokens;
    const auto shared = static_cast<std::size_t>(
        std::mismatch(tokens.begin(), tokens.end(), earlier.begin(), earlier.end()).first -
        tokens.begin());
    path_.resize(shared + 1);
    for (std::size_t i = shared; i < tokens.size(); ++i) path_.push_back(grow(path_[i], tokens[i]));
    const auto length = static_cast<double>(tokens.size() - 2 * pattern.margin);
    for (std::size_t i = 1; i < tokens.size(); ++i) {
      const double said = static_cast<double>(i - pattern.margin) / length;
      double& lent = branches_[path_[i]].lent;
      lent = std::max(lent, on_grid(pattern.weight * said));
    }
    branches_[path_.back()].ended += pattern.weight;
  }

  std::size_t size() const { return branches_.size(); }
  const Branch& operator[](std::size_t node) const { return branches_[node]; }

 private:
  std::uint32_t grow(std::uint32_t parent, std::int32_t token) {
    const auto child = static_cast<std::uint32_t>(branches_.size());
    Branch& above = branches_[parent];
    (above.last_child == kNone ? above.first_child : branches_[above.last_child].next_sibling) =
        child;
    above.last_child = child;
    Branch branch;
    branch.token = token;
    branch.parent = parent;
    branches_.push_back(branch);
    return child;
  }

  std::vector<Branch> branches_;
  std::vector<std::uint32_t> path_;  ///< Nodes of the latest pattern, the root first.
};

/// Weights are added up only once they are all there: they may cancel.
Tree tree_of(std::vector<Pattern> patterns) {
  std::size_t kept = 0;
  for (std::size_t i = 1; i < patterns.size(); ++i) {
    if (patterns[i].tokens == patterns[kept].tokens) {
      patterns[kept].weight += patterns[i].weight;
    } else if (++kept != i) {
      patterns[kept] = std::move(patterns[i]);
    }
  }
  if (!patterns.empty()) patterns.resize(kept + 1);
  Tree tree;
  const std::vector<std::int32_t> nothing;
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    tree.add(patterns[i], i == 0 ? nothing : patterns[i - 1].tokens);
  }
  return tree;
}

/// Rows of pages. Page 0 and row 0 lead to the root.
class Transitions {
 public:
  Transitions(std::int32_t vocab, std::size_t nodes) : taken_(nodes * sizeof(HotNode)) {
    while (page_bits < kMaxPageBits && (std::int64_t{1} << page_bits) < vocab) ++page_bits;
    pages_per_row = static_cast<std::uint32_t>((vocab - 1) >> page_bits) + 1U;
    pages.resize(std::size_t{1} << page_bits);
    rows.resize(pages_per_row);
  }

  /// Add a row that leads where another one does.
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

  /// Set a transition of the row that was added last.
  void set(std::uint32_t row, std::int32_t token, HotState to) {
    std::uint32_t& page = rows[page_of(row, token)];
    if (page < first_own_page_) {
      const std::size_t size = std::size_t{1} << page_bits;
      count(size * sizeof(HotState));
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

/// The automaton while it is built. A node's number is that of its branch: the nodes of a phrase
/// lie one after the other.
struct Draft {
  /// Where a token leads: `next` for `token`, for all others where `row` says.
  struct Exits {
    std::uint32_t row = 0;
    std::int32_t token = -1;
    HotState next = 0;
  };

  Draft(std::int32_t vocab, std::size_t count)
      : transitions(vocab, count), exits(count), ended(count), lent(count) {}

  HotState next(HotState state, std::int32_t token) const {
    const Exits& out = exits[state];
    return token == out.token ? out.next : transitions.next(out.row, token);
  }

  Transitions transitions;
  std::vector<Exits> exits;
  std::vector<double> ended;
  std::vector<double> lent;
};

/// The exits of a node: those of its failure state, and its children.
Draft::Exits exits_of(const Tree& tree,
                      std::uint32_t node,
                      const Draft::Exits& like,
                      Transitions& transitions) {
  const Branch& branch = tree[node];
  const std::uint32_t first = branch.first_child;
  if (first == kNone) return like;
  const std::int32_t token = tree[first].token;
  const bool is_only = first == branch.last_child && node != 0;
  if (is_only && (like.token < 0 || like.token == token)) return {like.row, token, first};
  const std::uint32_t row = transitions.add_row(like.row);
  if (like.token >= 0) transitions.set(row, like.token, like.next);
  for (auto child = first; child != kNone; child = tree[child].next_sibling) {
    transitions.set(row, tree[child].token, child);
  }
  return {row, -1, 0};
}

/// Nodes are visited in order of depth: a node's failure state, which is shorter, is complete.
Draft draft_of(const Tree& tree, std::int32_t vocab) {
  Draft draft(vocab, tree.size());
  std::vector<HotState> failures(tree.size());
  std::vector<std::uint32_t> queue{0};
  queue.reserve(tree.size());
  for (std::size_t i = 0; i < queue.size(); ++i) {
    const std::uint32_t node = queue[i];
    const Branch& branch = tree[node];
    if (branch.parent != 0) failures[node] = draft.next(failures[branch.parent], branch.token);
    const HotState failure = failures[node];
    draft.exits[node] = exits_of(tree, node, draft.exits[failure], draft.transitions);
    draft.ended[node] = branch.ended + draft.ended[failure];
    draft.lent[node] = std::max(branch.lent, draft.lent[failure]);
    for (auto child = branch.first_child; child != kNone; child = tree[child].next_sibling) {
      queue.push_back(child);
    }
  }
  return draft;
}

std::vector<HotNode> nodes_of(const Tree& tree, const Draft& draft, std::int32_t boundary) {
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
  const Tree tree = tree_of(patterns_of(phrases, vocab, boundary));
  Draft draft = draft_of(tree, vocab);
  nodes_ = nodes_of(tree, draft, boundary);
  // A state's failure state is lent at most what it is, and so is its parent, which any state
  // before it ends in: the greatest step to a state is the one from its parent.
  for (std::size_t i = 1; i < nodes_.size(); ++i) {
    max_bonus_ = std::max(max_bonus_, nodes_[i].arrival - nodes_[tree[i].parent].potential);
  }
  rows_ = std::move(draft.transitions.rows);
  pages_ = std::move(draft.transitions.pages);
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
  return nodes_.size() * sizeof(HotNode) + rows_.size() * sizeof(std::uint32_t) +
         pages_.size() * sizeof(HotState);
}

}  // namespace mms
