#include "mms/lexicon.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

namespace mms {
namespace {

/// Words [first, last) below one node.
struct Span {
  std::size_t first;
  std::size_t last;
};

using Words = std::vector<std::vector<std::int32_t>>;

std::int32_t check_words(const Words& words) {
  if (words.empty()) throw std::invalid_argument("the lexicon has no words");
  std::int32_t greatest = 0;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto where = "word " + std::to_string(i) + " of the lexicon ";
    if (words[i].empty()) throw std::invalid_argument(where + "has no tokens");
    const auto [low, high] = std::minmax_element(words[i].begin(), words[i].end());
    if (*low < 0) throw std::invalid_argument(where + "has the token " + std::to_string(*low));
    greatest = std::max(greatest, *high);
  }
  return greatest;
}

}  // namespace

// Breadth first, so that siblings are adjacent.
Lexicon::Lexicon(Words words) : max_token_(check_words(words)) {
  std::sort(words.begin(), words.end());
  std::vector<Span> spans = {{0, words.size()}};
  tokens_ = {-1};
  std::size_t level_end = 1;
  for (std::size_t node = 0, depth = 0; node < spans.size(); ++node) {
    if (node == level_end) {
      ++depth;
      level_end = spans.size();
    }
    auto [first, last] = spans[node];
    is_word_.push_back(words[first].size() == depth ? 1 : 0);
    while (first < last && words[first].size() == depth) ++first;
    first_child_.push_back(static_cast<Node>(spans.size()));
    while (first < last) {
      const std::int32_t token = words[first][depth];
      const std::size_t start = first;
      while (first < last && words[first][depth] == token) ++first;
      spans.push_back({start, first});
      tokens_.push_back(token);
    }
    if (spans.size() > static_cast<std::size_t>(std::numeric_limits<Node>::max())) {
      throw std::invalid_argument("the lexicon has more than 2^31 nodes");
    }
  }
  first_child_.push_back(static_cast<Node>(spans.size()));
}

Lexicon::Node Lexicon::next(Node node, std::int32_t token) const {
  const auto begin = tokens_.begin() + first_child_[static_cast<std::size_t>(node)];
  const auto end = tokens_.begin() + first_child_[static_cast<std::size_t>(node) + 1];
  const auto found = std::lower_bound(begin, end, token);
  if (found == end || *found != token) return kNone;
  return static_cast<Node>(found - tokens_.begin());
}

}  // namespace mms
