#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "mms/lexicon.h"

namespace mms {
namespace {

using Spellings = std::vector<Lexicon::Spelling>;

void check(const Spellings& spellings) {
  if (spellings.empty()) throw std::invalid_argument("the lexicon has no words");
  for (std::size_t i = 0; i < spellings.size(); ++i) {
    const auto where = "spelling " + std::to_string(i) + " of the lexicon ";
    const std::vector<std::int32_t>& tokens = spellings[i].tokens;
    if (tokens.empty()) throw std::invalid_argument(where + "has no tokens");
    const std::int32_t least = *std::min_element(tokens.begin(), tokens.end());
    if (least < 0) throw std::invalid_argument(where + "has the token " + std::to_string(least));
    if (spellings[i].word < 0) throw std::invalid_argument(where + "has a negative word");
  }
}

bool precedes(const Lexicon::Spelling& a, const Lexicon::Spelling& b) {
  return a.tokens != b.tokens ? a.tokens < b.tokens : a.word < b.word;
}

/// Spellings [first, last) below one node.
struct Span {
  std::size_t first;
  std::size_t last;
};

}  // namespace

// Breadth first, so that siblings are adjacent.
Lexicon::Lexicon(Spellings spellings) {
  check(spellings);
  std::sort(spellings.begin(), spellings.end(), precedes);
  for (const Spelling& one : spellings) {
    max_token_ = std::max(max_token_, *std::max_element(one.tokens.begin(), one.tokens.end()));
    max_word_ = std::max(max_word_, one.word);
  }
  std::vector<Span> spans = {{0, spellings.size()}};
  tokens_ = {-1};
  std::size_t level_end = 1;
  for (std::size_t node = 0, depth = 0; node < spans.size(); ++node) {
    if (node == level_end) {
      ++depth;
      level_end = spans.size();
    }
    auto [first, last] = spans[node];
    first_word_.push_back(static_cast<std::int32_t>(words_.size()));
    for (; first < last && spellings[first].tokens.size() == depth; ++first) {
      const std::int32_t word = spellings[first].word;
      const bool is_first = std::ssize(words_) == first_word_.back();
      if (is_first || words_.back() != word) words_.push_back(word);
    }
    first_child_.push_back(static_cast<Node>(spans.size()));
    while (first < last) {
      const std::int32_t token = spellings[first].tokens[depth];
      const std::size_t start = first;
      while (first < last && spellings[first].tokens[depth] == token) ++first;
      spans.push_back({start, first});
      tokens_.push_back(token);
    }
    if (spans.size() > static_cast<std::size_t>(std::numeric_limits<Node>::max())) {
      throw std::invalid_argument("the lexicon has more than 2^31 nodes");
    }
  }
  first_child_.push_back(static_cast<Node>(spans.size()));
  first_word_.push_back(static_cast<std::int32_t>(words_.size()));
}

Lexicon::Node Lexicon::next(Node node, std::int32_t token) const {
  const auto begin = tokens_.begin() + first_child(node);
  const auto end = tokens_.begin() + last_child(node);
  const auto found = std::lower_bound(begin, end, token);
  if (found == end || *found != token) return kNone;
  return static_cast<Node>(found - tokens_.begin());
}

}  // namespace mms
