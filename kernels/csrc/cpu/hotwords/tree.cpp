#include "tree.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

namespace mms {
namespace {

constexpr double kGrid = 1.0 / 16384.0;
constexpr std::size_t kMaxTokens = std::size_t{1} << 24U;

double on_grid(double weight) { return std::nearbyint(weight / kGrid) * kGrid; }

std::string named(std::size_t phrase) { return "phrase " + std::to_string(phrase); }

HotPattern pattern_of(const Phrase& phrase, std::int32_t boundary) {
  HotPattern pattern{{}, boundary < 0 ? 0U : 1U, on_grid(phrase.weight)};
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

/// Sorted, so that the trie can be built from left to right.
std::vector<HotPattern> patterns_of(const std::vector<Phrase>& phrases,
                                    std::int32_t vocab,
                                    std::int32_t boundary) {
  std::size_t total = 0;
  for (const Phrase& phrase : phrases) total += phrase.tokens.size() + 2;
  if (total > kMaxTokens) {
    throw std::invalid_argument("the phrases hold " + std::to_string(total) +
                                " tokens and boundaries, at most " + std::to_string(kMaxTokens) +
                                " are taken");
  }
  std::vector<HotPattern> patterns;
  patterns.reserve(phrases.size());
  for (std::size_t i = 0; i < phrases.size(); ++i) {
    check_phrase(phrases[i], i, vocab);
    patterns.push_back(pattern_of(phrases[i], boundary));
    if (patterns[i].tokens.size() <= patterns[i].margin) {
      throw std::invalid_argument(named(i) + " is empty");
    }
  }
  std::sort(patterns.begin(), patterns.end(), [](const HotPattern& a, const HotPattern& b) {
    return a.tokens < b.tokens;
  });
  return patterns;
}

/// Sum the weights of equal phrases before anything is lent: they may cancel.
void merge_equals(std::vector<HotPattern>& patterns) {
  std::size_t kept = 0;
  for (std::size_t i = 1; i < patterns.size(); ++i) {
    if (patterns[i].tokens == patterns[kept].tokens) {
      patterns[kept].weight += patterns[i].weight;
    } else if (++kept != i) {
      patterns[kept] = std::move(patterns[i]);
    }
  }
  if (!patterns.empty()) patterns.resize(kept + 1);
}

}  // namespace

HotTree::HotTree(const std::vector<Phrase>& phrases, std::int32_t vocab, std::int32_t boundary)
    : branches_(1), path_(1, kNoBranch) {
  std::vector<HotPattern> patterns = patterns_of(phrases, vocab, boundary);
  merge_equals(patterns);
  const std::vector<std::int32_t> nothing;
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    add(patterns[i], i == 0 ? nothing : patterns[i - 1].tokens);
  }
}

/// Add a phrase; phrases come in sorted order.
void HotTree::add(const HotPattern& pattern, const std::vector<std::int32_t>& earlier) {
  const auto& tokens = pattern.tokens;
  const auto shared = static_cast<std::size_t>(
      std::mismatch(tokens.begin(), tokens.end(), earlier.begin(), earlier.end()).first -
      tokens.begin());
  path_.resize(shared + 1);
  for (std::size_t i = shared; i < tokens.size(); ++i) path_.push_back(grow(path_[i], tokens[i]));
  const auto length = static_cast<double>(tokens.size() - 2 * pattern.margin);
  for (std::size_t i = 1; i < tokens.size(); ++i) {
    const double share = static_cast<double>(i - pattern.margin) / length;
    double& lent = branches_[path_[i]].lent;
    lent = std::max(lent, on_grid(pattern.weight * share));
  }
  branches_[path_.back()].ended += pattern.weight;
}

std::uint32_t HotTree::grow(std::uint32_t parent, std::int32_t token) {
  const auto child = static_cast<std::uint32_t>(branches_.size());
  HotBranch& above = branches_[parent];
  (above.last_child == kNoBranch ? above.first_child : branches_[above.last_child].next_sibling) =
      child;
  above.last_child = child;
  HotBranch branch;
  branch.token = token;
  branch.parent = parent;
  branches_.push_back(branch);
  return child;
}

}  // namespace mms
